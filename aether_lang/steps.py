"""Steps at run time: workflows, manifests and templates (language reference, 12.4, 14.2, 14.3)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .runtime import Runtime
    from .units import Unit

NAMES: Final[tuple[str, ...]] = ()
"""The helpers of `helpers`, by name."""


def helpers(_rt: "Runtime", _unit: "Unit") -> dict[str, Callable[..., Any]]:
    """What generated code calls for steps, by name."""
    return {}
