"""A string token to its node: escapes, and the expressions between braces (section 2.4)."""

from __future__ import annotations

import re
from collections.abc import Callable

from . import literals, nodes
from .errors import Source, SyntaxProblem
from .nodes import Span
from .tokens import CONSTANTS, Token, dotted_name

_SIMPLE = re.compile(r"\{\s*(\$?)([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\s*\}", re.A)
_SPEC = re.compile(r":((?:\.[0-9]{1,3})?[fe%]|d)$")
_WORDS = frozenset(CONSTANTS) | {"not", "NOT", "if", "call", "new", "await", "lambda", "and", "or", "in", "is", "else"}


def read_string(
    token: Token, source: Source, parse: Callable[[int, int], nodes.Expr], warn: list[SyntaxProblem]
) -> nodes.Text | nodes.TextTemplate:
    """The string as text, or as a template where it holds expressions."""
    prefix = token.data
    quoted = token.text[len(prefix) :]
    size = 3 if len(quoted) >= 6 and quoted[:3] in ('"""', "'''") else 1
    text = quoted[size:-size]
    start = token.span.start + len(prefix) + size
    if prefix == "r":
        return nodes.Text(token.span, text.replace("\r\n", "\n"))
    if (prefix != "f" and quoted[0] == "'") or not ("{" in text or (prefix == "f" and "}" in text)):
        return nodes.Text(token.span, literals.unescape(text.replace("\r\n", "\n"), start))
    parts = _Reader(text, start, prefix == "f", source, parse, warn).run()
    if not any(isinstance(part, nodes.Interpolation) for part in parts):
        return nodes.Text(token.span, "".join(part for part in parts if isinstance(part, str)))
    return nodes.TextTemplate(token.span, tuple(parts))


class _Reader:
    def __init__(
        self, text: str, start: int, formatted: bool, source: Source, parse: Callable[[int, int], nodes.Expr],
        warn: list[SyntaxProblem],
    ) -> None:  # fmt: skip
        self.text = text
        self.start = start
        self.formatted = formatted
        self.source = source
        self.parse = parse
        self.warn = warn

    def run(self) -> list[str | nodes.Interpolation]:
        text = self.text
        parts: list[str | nodes.Interpolation] = []
        pieces: list[str] = []
        at = begin = 0
        closes = _closing_braces(text, self.formatted)
        while at < len(text):
            character = text[at]
            if character == "\\":
                at = _behind_escape(text, at)
            elif self.formatted and text.startswith(("{{", "}}"), at):
                pieces.append(self._plain(begin, at) + character)
                at = begin = at + 2
            elif character != "{":
                at = _next(text, at + 1)
            else:
                end = closes.get(at)
                part = None if end is None else self._interpolation(at, end)
                if part is None:
                    stop = at + 1 if end is None else end + 1
                    self._stays_text(at, stop)
                    at = stop
                    continue
                assert end is not None
                pieces.append(self._plain(begin, at))
                if literal := "".join(pieces):
                    parts.append(literal)
                parts.append(part)
                pieces = []
                at = begin = end + 1
        pieces.append(self._plain(begin, len(text)))
        if literal := "".join(pieces):
            parts.append(literal)
        return parts

    def _plain(self, begin: int, end: int) -> str:
        return literals.unescape(self.text[begin:end].replace("\r\n", "\n"), self.start + begin)

    def _interpolation(self, at: int, end: int) -> nodes.Interpolation | None:
        """The interpolation between two braces, or None when the text stays as it is."""
        text, start = self.text, self.start
        first, last = at + 1, end
        if not self.formatted and text.startswith("{{", at) and text[end - 1] == "}":
            first, last = at + 2, end - 1
        span = self._span(start + at, start + end + 1)
        simple = _SIMPLE.fullmatch(text, first - 1, last + 1)
        if simple is not None and (simple[1] or simple[2] not in _WORDS):
            inner = self._span(start + simple.start(2), start + simple.end(2))
            return nodes.Interpolation(span, dotted_name(inner, simple[2].split("."), sigil=bool(simple[1])))
        if not text[first:last].strip():
            if self.formatted:
                raise SyntaxProblem(
                    "AE120", "an expression is missing", span.start, span.end, expected=("an expression",)
                )
            return None
        try:
            return nodes.Interpolation(span, self.parse(start + first, start + last))
        except SyntaxProblem:
            spec = _SPEC.search(text, first, last)
            value = None if spec is None else self._before_spec(start + first, start + spec.start())
            if value is not None and spec is not None:
                return nodes.Interpolation(span, value, spec[1])
            if self.formatted:
                raise
        return None

    def _before_spec(self, start: int, end: int) -> nodes.Expr | None:
        try:
            return self.parse(start, end)
        except SyntaxProblem:
            return None

    def _stays_text(self, at: int, stop: int) -> None:
        start = self.start
        if self.formatted:
            raise SyntaxProblem(
                "AE120", "'{' was never closed", start + at, start + at + 1, expected=("'}'",),
                suggestion="write {{ for a brace",
            )  # fmt: skip
        if stop == at + 1 or self.text[at:stop].strip("{} "):
            self.warn.append(
                SyntaxProblem("AW120", "these braces hold no expression and stay text", start + at, start + stop)
            )

    def _span(self, start: int, end: int) -> Span:
        line, column = self.source.position(start)
        end_line, end_column = self.source.position(end)
        return Span(line, column, end_line, end_column, start, end)


_CODE = re.compile(r"\\u\{[0-9A-Fa-f]{1,6}\}")
_INTERESTING = re.compile(r"[\\{}]")


def _behind_escape(text: str, at: int) -> int:
    """The place behind the escape that begins at a backslash; the braces of `\\u{..}` belong to it."""
    found = _CODE.match(text, at)
    return at + 2 if found is None else found.end()


def _next(text: str, at: int) -> int:
    found = _INTERESTING.search(text, at)
    return found.start() if found is not None else len(text)


def _closing_braces(text: str, formatted: bool) -> dict[int, int]:
    """For each `{` that is closed, where. Quotes inside braces hide what they hold."""
    closes: dict[int, int] = {}
    opened: list[int] = []
    at, end = 0, len(text)
    while at < end:
        character = text[at]
        if character == "\\":
            at = _behind_escape(text, at)
            continue
        if formatted and not opened and text.startswith(("{{", "}}"), at):
            at += 2
            continue
        if character == "{":
            opened.append(at)
        elif character == "}" and opened:
            closes[opened.pop()] = at
        elif character in "\"'" and opened:
            close = text.find(character, at + 1)
            at = close if close >= 0 else at
        at += 1
    return closes
