"""Notes on style: forms that are read without being recommended (section 24), each with a code of its own.

One pass over the tokens, which looks at few of them; `end` is noted by the layout, a missing colon by the shaper."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from .errors import Source, SyntaxProblem
from .tokens import Token
from .words import VERBS, verb_base

MOST_NOTES: Final = 50
"""Notes on style that one script gets; behind them the formatter is the better reader."""

_COMMENTS = re.compile(r"#[^\n]*|//[^\n]*|/\*.*?\*/", re.DOTALL)
_AT_START = frozenset({"NEWLINE", "BEGIN", "FINISH", "DASH"})
_LOGIC = {"AND": "and", "OR": "or", "NOT": "not", "True": "true", "False": "false", "None": "null"}

_Note = tuple[str, str]


def notes(source: Source, raw: list[Token], shaped: list[Token]) -> list[SyntaxProblem]:
    """What a script says in a way that the formatter would change: by its tokens as the scanner and as the shaper
    gave them. In time linear in their number."""
    found: list[SyntaxProblem] = []
    text, look_of = source.text, _LOOKS.get
    for at, token in enumerate(shaped):
        look = look_of(token.type)
        if look is not None:
            note = look(text, shaped, at)
            if note is not None:
                found.append(_at(token, *note))
    if "//" in source.text:
        found += _slashes(source.text, raw)
    return found


def bounded(warnings: list[SyntaxProblem]) -> list[SyntaxProblem]:
    """The warnings with the first `MOST_NOTES` notes on style among them, in the order of their places."""
    left = MOST_NOTES
    kept = []
    for warning in sorted(warnings, key=lambda problem: problem.start):
        left -= warning.code.startswith("AS")
        if left >= 0 or not warning.code.startswith("AS"):
            kept.append(warning)
    return kept


def _at(token: Token, code: str, message: str) -> SyntaxProblem:
    return SyntaxProblem(code, message, token.span.start, max(token.span.end, token.span.start + 1))


def _slashes(text: str, raw: list[Token]) -> list[SyntaxProblem]:
    """The comments that begin with `//`: they stand between two tokens."""
    found: list[SyntaxProblem] = []
    end = 0
    inside = False  # of a raw text block, whose lines follow its token
    for start, stop, lines in _gaps(text, raw):
        if start - end > 1 and not inside and text.find("//", end, start) >= 0:
            found += [
                SyntaxProblem("AS114", "a comment begins with `#`", comment.start(), comment.start() + 2)
                for comment in _COMMENTS.finditer(text, end, start)
                if comment.group().startswith("//")
            ]
        end, inside = max(end, stop), lines
    return found


def _gaps(text: str, raw: list[Token]) -> Iterator[tuple[int, int, bool]]:
    for token in raw:
        if token.type not in ("NL", ","):
            yield token.span.start, token.span.end, token.type == "RAW" and token.text == "|"
    yield len(text), len(text), False


# ---------------------------------------------------------------- one kind of token


def _raw(text: str, tokens: list[Token], at: int) -> _Note | None:
    if tokens[at].text == "|" or tokens[at - 1].text != "goal":
        return None
    return "AS115", "the text of a goal stands in quotes"


def _hyphens(text: str, tokens: list[Token], at: int) -> _Note:
    return "AS116", "a word with hyphens stands in quotes"


def _operator(text: str, tokens: list[Token], at: int) -> _Note | None:
    written = tokens[at].text
    if written in ("===", "!=="):
        return "AS123", f"`{written}` is `{written[:2]}`"
    return ("AS124", f"`{written}` is `{_LOGIC[written]}`") if written in _LOGIC else None


def _constant(text: str, tokens: list[Token], at: int) -> _Note | None:
    if tokens[at].text == "undefined":
        return "AS126", "`undefined` is `null`"
    return _operator(text, tokens, at)


def _function(text: str, tokens: list[Token], at: int) -> _Note | None:
    return ("AS127", "`def` is `fn`") if tokens[at].text == "def" else None


def _comma(text: str, tokens: list[Token], at: int) -> _Note | None:
    return ("AS112", "a comma is missing at the end of the line before") if not tokens[at].text else None


def _item(text: str, tokens: list[Token], at: int) -> _Note | None:
    if tokens[at].text != "-":
        return "AS125", "steps are written with `-`, without numbers"
    following = tokens[at + 1 : at + 4]
    if (
        len(following) == 3
        and following[0].type == "PHRASE"
        and following[1].type in ("NAME", "WORD")
        and following[2].type == "JUXT"
    ):
        return "AS118", "an item that is prose stands in quotes"
    return None


def _comparison(text: str, tokens: list[Token], at: int) -> _Note:
    return "AS119", "a bare comparison as a value stands for a check"


def _argument(text: str, tokens: list[Token], at: int) -> _Note | None:
    place = tokens[at].span.end
    while text[place] in " \t":
        place += 1
    name = tokens[at].text
    return ("AS122", f"an argument is named with `=`: `{name}=..`") if text[place] == ":" else None


def _bracket(text: str, tokens: list[Token], at: int) -> _Note | None:
    if not tokens[at].blank or at < 1 or tokens[at - 1].type != "NAME" or not verb_base(tokens[at - 1].text):
        return None
    if at > 1 and tokens[at - 2].type not in _AT_START:
        return None
    return "AS128", f"this is a call: write `{tokens[at - 1].text}(` without a blank"


def _verb(text: str, tokens: list[Token], at: int) -> _Note | None:
    word = tokens[at].text
    if word in VERBS:
        return None
    return "AS117", f"`{word}` stands for `{verb_base(word)} ..`"


def _key(text: str, tokens: list[Token], at: int) -> _Note | None:
    return ("AS121", "`else` is a key of this record, no branch") if tokens[at].text == "else" else None


def _guard(text: str, tokens: list[Token], at: int) -> _Note | None:
    while tokens[at].type not in ("BEGIN", "NEWLINE"):
        at += 1
    return ("AS120", "a guard `if` without a block") if tokens[at].type == "NEWLINE" else None


_LOOKS: Final[dict[str, Callable[[str, list[Token], int], _Note | None]]] = {
    "RAW": _raw, "HYPHWORD": _hyphens, "OP": _operator, "NOT": _operator, "CONST": _constant, "FN": _function,
    "COMMA": _comma, "DASH": _item, "CMPOP": _comparison, "ARGKEY": _argument, "CPAR": _bracket, "VERB": _verb,
    "KEY": _key, "IF": _guard,
}  # fmt: skip
