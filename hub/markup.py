"""HTML built from parts: every text is escaped on its way in, so that none can become an element.

Names, reasons, events and results are the words of others. `tag` takes them as text, always; only what `tag` itself
returned goes in as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Final, TypeAlias


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Child: TypeAlias = "str | int | float | Iterable[Child] | None"

_VOID: Final = frozenset({"br", "wbr"})


def tag(name: str, /, *children: Child, **attributes: str | float | None) -> Markup:
    """Return an element. Children are text, numbers, other elements, or lists of them; None stands for nothing.

    An attribute is written with `_` for `-` and may end in one (`class_`, `data_key`); None and False leave it out.
    """
    shown = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Markup(f"<{name}{shown}>")
    return Markup(f"<{name}{shown}>{joined(children)}</{name}>")


def joined(child: Child) -> Markup:
    """Return children side by side, without an element around them."""
    if child is None:
        return Markup("")
    if isinstance(child, Markup):
        return child
    if isinstance(child, str | int | float):
        return Markup(escape(str(child)))
    return Markup("".join(map(joined, child)))


def _attribute(key: str, value: str | float | None) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(str(value))}"'
