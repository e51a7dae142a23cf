"""The manifest of a script as data, as `manifest()` reads it (language reference, 14.3, 20).

Each `steps:` and its like under its key, and beside them the other keys of the top level (`validation:`, `checks:`). A
literal is itself, a bare comparison is `{op, value}`, and what would be computed is the text it stands as.
"""

from __future__ import annotations

from typing import Any

from . import nodes
from .data import NO_VALUE, plain

_DEEPEST = 28
"""How deep it may nest, which is how deep a value may nest that leaves a script."""


def whole(module: nodes.Module) -> dict[str, Any]:
    """The manifest of the whole script; lists under one key that stands twice become one list."""
    found: dict[str, Any] = {}
    for node in module.body:
        if isinstance(node, nodes.Manifest):
            key, data = node.key, _datum(node.data, module, 0)
        elif isinstance(node, nodes.Assign) and node.colon and isinstance(node.target, nodes.Name) and node.value:
            key, data = node.target.name, _datum(node.value, module, 0)
        else:
            continue
        before = found.get(key)
        found[key] = [*before, *data] if isinstance(before, list) and isinstance(data, list) else data
    return found


def _datum(value: Any, module: nodes.Module, level: int) -> Any:
    if level < _DEEPEST and isinstance(value, nodes.ListExpr):
        return [_datum(element, module, level + 1) for element in value.elements]
    if level < _DEEPEST and isinstance(value, nodes.DictExpr) and all(type(p.key) is nodes.Text for p in value.pairs):
        return {pair.key.value: _datum(pair.value, module, level + 1) for pair in value.pairs}  # type: ignore[union-attr]
    literal = plain(value, level) if not isinstance(value, nodes.ListExpr | nodes.DictExpr) else NO_VALUE
    return module.source[value.span.start : value.span.end] if literal is NO_VALUE else literal
