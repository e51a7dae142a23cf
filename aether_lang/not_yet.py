"""What the language has and this version does not run: the checker says it, the compiler refuses it."""

from typing import Final

from . import nodes
from .errors import AetherError, Diagnostic

STATEMENTS: Final[dict[type, str]] = {
    nodes.Workflow: "`workflow:` blocks",
    nodes.Item: "manifest items",
    nodes.Manifest: "manifests",
}
FUNCTIONS: Final = frozenset({"manifest", "setTimeout", "clearTimeout", "retry"})
"""Functions of the library; to look for plugins of that name would mislead."""


def refused(module: nodes.Module, line: int, column: int, message: str) -> AetherError:
    """The error for a construct that this version does not run, at its place."""
    lines = module.source.splitlines()
    source = lines[line - 1] if 0 < line <= len(lines) else ""
    caret = "".join(c if c == "\t" else " " for c in source[: column - 1]) + "^"
    return AetherError([Diagnostic("check", "AE190", module.name, line, column, column + 1, message, source, caret)])
