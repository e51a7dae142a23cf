"""What to say about text that seems to be of another language: shell, Python, JavaScript, JSON (section 17.3)."""

from __future__ import annotations

import re

from .tokens import Token

SHELL = "this looks like a shell script"
PYTHON = "this looks like Python"
JSON = "this looks like JSON"

_SHELL = frozenset({"echo", "fi", "esac", "done", "sudo", "then"})
_PYTHON = frozenset({"class", "with", "pass", "nonlocal", "del", "elif", "global"})
_INSTEAD = {
    "elseif": "write `elif` or `else if`",
    "elsif": "write `elif` or `else if`",
    "foreach": "write `for x in xs`",
    "switch": "write `match x` with `case` lines",
    "async": "every function may wait: leave `async` out",
    "func": "write `fn`",
    "do": "write `while c:`",
    "assert": "write assert(condition, message)",
}
_THEN = frozenset({"then", "do"})
_CHARACTERS = {
    "“": 'write "',
    "”": 'write "',
    "„": 'write "',
    "‘": "write '",
    "’": "write '",
    "–": "write -",
    "—": "write -",
    "−": "write -",
    "×": "write *",
    "÷": "write /",
    "≤": "write <=",
    "≥": "write >=",
    "≠": "write !=",
    "…": "write ...",
    "\u00a0": "write a plain blank",
    "`": 'strings stand in quotes: "a {b}"',
    "\\": "a backslash joins lines, at the end of one only",
}
_FIRST_LINE = re.compile(r"#![^\n]*\b(sh|bash|dash|zsh|ksh|python[0-9.]*)\b")
_PYTHON_LINE = re.compile(r"[ \t]*(?:self\.|import\s+\w+(?:\.\w+)*\s*(?:,|\s+as\b)|async\s+def\b|@\w)", re.A)


def foreign(tokens: list[Token]) -> str | None:
    """The language a line seems to be written in, if it is another one."""
    word = tokens[0].text
    second = tokens[1] if len(tokens) > 1 else None
    if word in _SHELL or _opens_test(tokens) or _is_test(tokens):
        return SHELL
    if word in _PYTHON and (second is None or second.type in ("NAME", "STRING")):
        return PYTHON
    return None


def instead(word: str) -> str | None:
    """What to write in place of a word that other languages have."""
    return _INSTEAD.get(word)


def opens_body(token: Token) -> bool:
    """Is this the `then` or `do` that other languages write before a body?"""
    return token.type == "NAME" and token.text in _THEN


def line_hint(line: str) -> str | None:
    """The language a whole line seems to be written in, for a line that could not be read."""
    return PYTHON if _PYTHON_LINE.match(line) else None


def first_line_hint(text: str) -> str | None:
    """The language that the first line names, for a script with mistakes: `#!/bin/bash`."""
    found = _FIRST_LINE.match(text)
    return None if found is None else PYTHON if found[1].startswith("python") else SHELL


def character_hint(text: str, at: int) -> str | None:
    """What to write in place of a character that no script holds outside strings."""
    if text.startswith(("$(", "${"), at):
        return SHELL
    character = text[at]
    if character == "@" and text[at + 1 : at + 2].isalpha() and not text[text.rfind("\n", 0, at) + 1 : at].strip():
        return PYTHON
    if character in _CHARACTERS:
        return _CHARACTERS[character]
    return "names are made of the letters a to z, digits and _" if character.isalpha() else None


def _opens_test(tokens: list[Token]) -> bool:
    """The `[[ ` of a shell: two brackets that touch and a blank behind them, which a list of lists has not."""
    if tokens[0].text in ("if", "while", "until"):
        tokens = tokens[1:]
    if len(tokens) < 3 or tokens[0].type != "[" or tokens[1].type != "[":
        return False
    first, second, third = (token.span for token in tokens[:3])
    return first.end == second.start and second.end < third.start


def _is_test(tokens: list[Token]) -> bool:
    """`if [ .. ]` with nothing behind."""
    return (
        len(tokens) > 2
        and tokens[0].text in ("if", "while")
        and tokens[1].type == "["
        and tokens[1].close is tokens[-1]
        and tokens[1].span.end < tokens[2].span.start
    )
