"""Aether Script: text to a typed tree, checks, and (by way of Python code objects) results on a host.

Names load at their first use: a worker that runs scripts imports this package and must never load the parser.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import nodes as nodes
    from .budget import Budget as Budget
    from .checker import capabilities as capabilities
    from .checker import check as check
    from .compiler import compile_module as compile
    from .errors import AetherError as AetherError
    from .errors import Diagnostic as Diagnostic
    from .formatter import FormattingError as FormattingError
    from .formatter import format_script as format_script
    from .host import Host as Host
    from .host import LocalHost as LocalHost
    from .parser import parse as parse
    from .program import Outcome as Outcome
    from .program import run as run
    from .scanner import Limits as Limits

_LAZY = {
    "AetherError": ("errors", "AetherError"),
    "Budget": ("budget", "Budget"),
    "Diagnostic": ("errors", "Diagnostic"),
    "FormattingError": ("formatter", "FormattingError"),
    "Host": ("host", "Host"),
    "Limits": ("scanner", "Limits"),
    "LocalHost": ("host", "LocalHost"),
    "Outcome": ("program", "Outcome"),
    "capabilities": ("checker", "capabilities"),
    "check": ("checker", "check"),
    "compile": ("compiler", "compile_module"),
    "format_script": ("formatter", "format_script"),
    "nodes": ("nodes", None),
    "parse": ("parser", "parse"),
    "run": ("program", "run"),
}

__all__ = [
    "AetherError",
    "Budget",
    "Diagnostic",
    "FormattingError",
    "Host",
    "Limits",
    "LocalHost",
    "Outcome",
    "capabilities",
    "check",
    "compile",
    "format_script",
    "nodes",
    "parse",
    "run",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _LAZY[name]
    loaded = import_module(f"{__name__}.{module}")
    return loaded if attribute is None else getattr(loaded, attribute)
