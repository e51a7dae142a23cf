"""Tables of Markdown, as the generated parts of the docs are made of them."""

from __future__ import annotations

import re
from collections.abc import Iterable


def cell(text: str) -> str:
    """Return text that cannot break a row of a table."""
    return re.sub(r"[ \t\n]+", " ", text).strip(" ").replace("|", "\\|")


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Return a table of Markdown."""
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    lines += ["| " + " | ".join(cell(c) for c in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def code(text: str) -> str:
    """Return a piece of code as a cell shows it, a line below the other."""
    return "<br>".join(f"`{line.replace(' ', chr(0xA0))}`" for line in text.rstrip().splitlines())
