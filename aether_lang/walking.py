"""The way down a syntax tree, for all that walk one with a list of work."""

from __future__ import annotations

from typing import Any

_NO_NODES = frozenset(
    {"Span", "str", "bool", "int", "int | float", "str | None", "int | None", "tuple[str, ...]", "Role"}
)
"""What is written behind the fields that hold no nodes."""
_PARTS: dict[type, tuple[str, ...]] = {}


def children(node: Any) -> list[Any]:
    """The nodes directly below a node, in the order of its fields."""
    found: list[Any] = []
    kind = type(node)
    for name in _PARTS.get(kind) or _parts(kind):
        value = getattr(node, name)
        if type(value) is tuple:
            found += [part for part in value if type(part) is not str]
        elif value is not None:
            found.append(value)
    return found


def _parts(kind: Any) -> tuple[str, ...]:
    """The fields of a kind of node that may hold nodes, worked out once."""
    if kind not in _PARTS:
        written = {name: text for base in kind.__mro__ for name, text in getattr(base, "__annotations__", {}).items()}
        _PARTS[kind] = tuple(
            name
            for name in kind.__struct_fields__
            if written[name] not in _NO_NODES and not written[name].startswith("Literal[")
        )
    return _PARTS[kind]
