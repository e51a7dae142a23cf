"""The token, and the questions about tokens that scanner, layout and shaping all ask."""

from __future__ import annotations

from typing import Any, NamedTuple

from .nodes import Field, Name, Span


class Token:
    """A piece of the text. `type` is what the scanner, later the shaper, takes it for; `text` how it is written;
    `data` what it means, where that was computed. `blank` says that a blank stands before it, `first` that it is
    the first on its line, `indent` then is the width of the indentation and `white` the blanks it is made of."""

    __slots__ = ("blank", "close", "data", "first", "indent", "span", "text", "type", "white")

    def __init__(self, type: str, text: str, span: Span, blank: bool = False, data: Any = None) -> None:
        self.type = type
        self.text = text
        self.span = span
        self.blank = blank
        self.data = data
        self.first = False
        self.indent = 0
        self.white = ""
        self.close: Token | None = None

    def __repr__(self) -> str:
        return f"{self.type}:{self.text!r}"

    def retyped(self, type: str, data: Any = None) -> Token:
        """The same piece of text as another kind of token."""
        if type == self.type and data is None:
            return self
        token = Token(type, self.text, self.span, self.blank, data)
        token.close = self.close
        return token


class KeyPlace(NamedTuple):
    """Where the key of an entry stands, which decides what the entry is: the kind of its block, and whether it heads an
    item. It is the `data` of a KEY."""

    block: str
    item: bool


def join(first: Span, last: Span) -> Span:
    """The span from the start of one to the end of another."""
    return Span(first.line, first.column, last.end_line, last.end_column, first.start, last.end)


LITERALS = frozenset({"NUMBER", "UNITNUM", "PERCENT", "STRING", "REGEX", "VAR", "PATH", "TEMPLATE", "WORD", "CLOCK"})
ENDS = LITERALS | {"NAME", ")", "]", "}", "++", "--"}
ASSIGN_OPS = frozenset({"=", "+=", "-=", "*=", "/=", "%="})
# Words that are operators wherever an operand stands before them.
AFTER_OPERAND = frozenset({"and", "or", "not", "in", "is", "if", "else", "elif", "AND", "OR", "NOT"})
# Words that may head a block.
HEADS = frozenset({
    "if", "elif", "else", "for", "while", "when", "every", "try", "catch", "except", "finally", "case", "default",
    "match", "fn", "function", "def", "define",
})  # fmt: skip
# Words that go on with the statement before them.
TRIES = frozenset({"else", "elif", "catch", "except", "finally"})
# Words that join or end operands: none of them begins one.
JOINING = frozenset({"and", "or", "in", "is", "if", "else"})
CONSTANTS = {
    "true": True, "True": True, "false": False, "False": False,
    "null": None, "None": None, "none": None, "undefined": None,
}  # fmt: skip


def dotted_name(span: Span, names: list[str], *, sigil: bool) -> Name | Field:
    """`a.b.c` as a node; `sigil` says that it was written as a variable."""
    value: Name | Field = Name(span, names[0], "value", sigil)
    for name in names[1:]:
        value = Field(span, value, name)
    return value
