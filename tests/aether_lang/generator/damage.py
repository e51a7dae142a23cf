"""What can happen to a text: damage of all kinds, noise, and breakages whose finding is known beforehand."""

from __future__ import annotations

import re
from random import Random
from typing import NamedTuple

from .scripts import Generated, expression_of, generated

_TOKEN = re.compile(r"\w+|\s+|[^\w\s]")
_PIECES = (
    "{", "}", "(", ")", "[", "]", ":", ";", ",", "=", "==", "=>", "->", "?", "?.", "...", "..", "|", "/", "//", "/*",
    "*/", "#", "'", '"', '"""', "\\", "\n", "\r\n", "\t", "    ", "\ufeff", "\x00", "\u202e", "é", "\U0001f680",
    "\ud800",
    "if ", "else", "end\n", "case ", "default:", "when ", "goal: ", "goal", "- ", "1. ", "lambda ", "not ", "in ",
    "for ",
    "as ", "plugin ",
    "fn f(", "match x:", "try:", "catch", "{{x}}", 'f"{', "x: |\n", "steps:\n  - ", "policy:", "$x", "80%",
    "-1", "function(", "await ", "call ", "new ", "exists", "++", ".5", "0x", "1e", "30_days_ago", "🚀", "&&", "`", "@",
)  # fmt: skip


def damaged(draw: Random, texts: list[str]) -> str | bytes:
    """A script with a few bytes, tokens, brackets or indentations that are not as they were."""
    text = draw.choice(texts)
    for _ in range(draw.choice((1, 1, 1, 2, 3, 8))):
        at = draw.randrange(len(text) + 1)
        to = min(len(text), at + draw.choice((1, 1, 2, 5, 20, 200)))
        match draw.randrange(9):
            case 0:
                text = text[:at] + text[to:]
            case 1:
                text = text[:to] + text[at:]
            case 2:
                text = text[:at] + text[at + 1 : at + 2] + text[at : at + 1] + text[at + 2 :]
            case 3:
                text = text[:at] + draw.choice(_PIECES) + text[at:]
            case 4:
                text = text[:at] + _tokens(draw, draw.choice(texts)) + text[at:]
            case 5:
                brackets = [found.start() for found in re.finditer(r"[][(){}]", text)]
                place = draw.choice(brackets or [0])
                text = text[:place] + text[place + 1 :]
            case 6:
                lines = text.split("\n")
                line = draw.randrange(len(lines))
                lines[line] = draw.choice(("", " ", "  ", "      ", "\t")) + lines[line].lstrip(" ")
                text = "\n".join(lines)
            case 7:
                lines = text.split("\n")
                one, other = draw.randrange(len(lines)), draw.randrange(len(lines))
                lines[one], lines[other] = lines[other], lines[one]
                text = "\n".join(lines)
            case 8:
                other_text = draw.choice(texts)
                text = text[:at] + other_text[draw.randrange(len(other_text) + 1) :]
    if draw.random() < 0.05:
        raw = bytearray(text.encode("utf-8", "replace"))
        raw[draw.randrange(len(raw) or 1) : 1] = bytes([draw.randrange(256)])
        return bytes(raw)
    return text


def _tokens(draw: Random, text: str) -> str:
    tokens = _TOKEN.findall(text) or [""]
    start = draw.randrange(len(tokens))
    return "".join(tokens[start : start + draw.choice((1, 2, 5, 15))])


def noise(draw: Random) -> str | bytes:
    """Anything at all."""
    size = draw.choice((0, 1, 3, 10, 40, 200))
    kind = draw.randrange(3)
    if kind == 0:
        return bytes(draw.randrange(256) for _ in range(size))
    if kind == 1:
        alphabet = " \n\t(){}[]:;,.=-><?!|/\\\"'#%$_&^~+*aeinx01é"
        return "".join(draw.choice(alphabet) for _ in range(size))
    return "".join(draw.choice(_PIECES) + draw.choice(("", " ", " x ", "\n")) for _ in range(size // 3 + 1))


# ---------------------------------------------------------------- known breakages


class Broken(NamedTuple):
    """A script that is wrong at one place: what was done, and the finding as code, line and column."""

    what: str
    text: str
    expected: tuple[str, int, int]


# Lines with `¶` where the finding stands and `@` for an expression; by code and what was done.
_STATEMENTS = (
    ("AE113", "= for == in an if", ("if alpha ¶= @ {", "  beta()", "}")),
    ("AE113", "= for == in a while", ("while alpha ¶= @:", "  beta()")),
    ("AE113", "= for == in an elif", ("if @ {", "  beta()", "} elif alpha ¶= 3 {", "  beta()", "}")),
    ("AE112", "nothing behind =", ("alpha =¶ ;",)),
    ("AE112", "nothing behind +=", ("alpha +=¶ ;",)),
    ("AE112", "nothing behind the = of a let", ("let alpha =¶ ;",)),
    ("AE107", "a verb that is none", ('¶remembr "tea"',)),
    ("AE107", "prose", ("¶please brew the tea",)),
    ("AE108", "else without if", ("alpha = @", "¶else {", "  beta()", "}")),
    ("AE108", "catch without try", ("alpha = @", "¶catch (e) {", "  beta()", "}")),
    ("AE104", "a deeper line behind an assignment", ("alpha = @", "    ¶beta()")),
    ("AE111", "two operands side by side", ("alpha = @ ¶gamma",)),
    ("AE111", "two operands side by side in an argument", ("beta(alpha ¶gamma)",)),
    ("AE102", "a string that is not closed", ('alpha = ¶"tea',)),
    ("AE101", "a character that is none", ("alpha = @ + ¶`tea`",)),
    ("AE117", "try alone", ("¶try {", "  beta()", "}", "alpha = @")),
    ("AE114", "a head without a block", ("if alpha¶", "beta = @")),
    ("AE114", "a head with a colon and no block", ("if alpha:¶", "beta = @")),
    ("AE105", "an end that closes nothing", ("alpha = @", "¶end")),
    ("AE116", "a statement in a match", ("match alpha {", "  ¶beta()", "}")),
    ("AE122", "for without in", ("for ¶alpha {", "  beta()", "}")),
    ("AE123", "an assignment to a call", ("¶beta(@) = 3",)),
    ("AE123", "let without a name", ("let ¶3 = alpha",)),
    ("AE103", "a bracket of the wrong kind", ("beta(alpha¶])",)),
    ("AE103", "a semicolon in a bracket", ("beta(alpha¶; gamma)",)),
    ("AE130", "a pattern that is none", ("alpha = /¶(a/",)),
)  # fmt: skip
_LAST = (
    ("AE103", "a bracket that is not closed", ("alpha = beta¶(@, 2",)),
    ("AE103", "a list that is not closed", ("alpha = ¶[@, 2",)),
    ("AE103", "a dict that is not closed", ("alpha = ¶{ a: @, b: 2",)),
    ("AE103", "a block that is not closed", ("if alpha ¶{", "  beta()")),
    ("AE103", "a brace that closes nothing", ("alpha = @", "¶}")),
    ("AE112", "nothing behind = at the end", ("alpha =¶",)),
)
_AROUND = (
    ((), "", ()),
    (("fn omega() {",), "  ", ("}",)),
    (("when omega:",), "    ", ()),
    (("plugin omega {", "  on_run {"), "    ", ("  }", "}")),
    (("for omega in [1]:", "  if omega {"), "   ", ("  }",)),
)


def breakages(draw: Random, seed: object) -> list[Broken]:
    """A generated script with each of some mistakes put into it."""
    script = generated(seed, size=3, fuel=15)
    found = []
    for code, what, lines in draw.sample(_STATEMENTS, 5):
        around = draw.choice(_AROUND)
        at = draw.randint(0, len(script.parts))
        found.append(_broken(draw, script, at, (code, what, lines), around))
    found.append(_broken(draw, script, len(script.parts), draw.choice(_LAST), _AROUND[0]))
    return found


def _broken(
    draw: Random, script: Generated, at: int, wrong: tuple[str, str, tuple[str, ...]],
    around: tuple[tuple[str, ...], str, tuple[str, ...]],
) -> Broken:  # fmt: skip
    code, what, lines = wrong
    before, indent, behind = around
    body = [indent + line.replace("@", expression_of(draw)) for line in lines]
    text = script.joined(0, at) + "\n".join((*before, *body, *behind)) + "\n" + script.joined(at)
    place = text.index("¶")
    text = text.replace("¶", "")
    line = text.count("\n", 0, place) + 1
    return Broken(what, text, (code, line, place - text.rfind("\n", 0, place)))
