"""What literals mean: numbers with their units, strings with their escapes, regular expressions (sections 2.3 to
2.5)."""

from __future__ import annotations

import math
import re
from typing import Any

from .errors import SyntaxProblem

MINUTE, HOUR, DAY = 60, 3600, 86400
SHORT_UNITS: dict[str, float] = {"ms": 0.001, "s": 1, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}
LONG_UNITS = {
    "second": 1, "minute": MINUTE, "hour": HOUR, "day": DAY, "week": 7 * DAY, "month": 30 * DAY,
}  # fmt: skip
SIZES = {"KB": 1024, "MB": 1024**2, "GB": 1024**3}
MOST_BITS = 4096
LONGEST_PATTERN = 500

_NUMBER = re.compile(
    r"""(?P<hex>0[xX][0-9a-fA-F]+(?:_[0-9a-fA-F]+)*)
      | (?P<plain>(?:[0-9]+(?:_[0-9]+)*(?:\.[0-9]+(?:_[0-9]+)*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)
        (?:(?P<percent>%(?![A-Za-z0-9_"'$(]))
         | (?P<short>ms|[smhdw])(?![A-Za-z0-9_])
         | _(?P<long>second|minute|hour|day|week|month)s?(?P<ago>_ago)?(?![A-Za-z0-9_])
         | _(?P<size>[KMG]B)(?![A-Za-z0-9_]))?
    """,
    re.X | re.A,
)
_WORD_BEHIND = re.compile(r"[A-Za-z0-9_]+", re.A)
_REGEX = re.compile(r"/((?:[^/\\\n\[]|\\[^\n]|\[(?:[^\]\\\n]|\\[^\n])*\])+)/([A-Za-z0-9_]*)")
_UNSUPPORTED = re.compile(r"(?<!\\)(?:\\\\)*(\(\?(?:[=!]|<[=!])|\\[1-9]|\\k<)")
_ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|u\{([0-9A-Fa-f]{1,6})\}|(.))", re.S)
_SIMPLE = {
    "n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'", "{": "{", "}": "}", "$": "$", "0": "\0",
}  # fmt: skip


def number(text: str, start: int, limit: int) -> tuple[str, int, Any]:
    """Token type, end and value of the number at a place. Units give `UNITNUM` with (value, unit); `ago` stands for a
    time before now."""
    found = _NUMBER.match(text, start, limit)
    assert found is not None
    end = found.end()
    behind = _WORD_BEHIND.match(text, end, limit)
    if behind is not None:
        raise SyntaxProblem(
            "AE101", f"'{text[start : behind.end()]}' is neither a number nor a name", start, behind.end(),
            suggestion="a name begins with a letter; units are ms s m h d w, _minutes, _MB and so on",
        )  # fmt: skip
    if found["hex"]:
        return "NUMBER", end, _whole(int(found["hex"].replace("_", ""), 16), start, end)
    value = _value(found["plain"].replace("_", ""), start, end)
    if found["percent"]:
        return "PERCENT", end, value / 100
    if found["short"]:
        return "UNITNUM", end, (_tidy(value * SHORT_UNITS[found["short"]]), "duration")
    if found["long"]:
        return "UNITNUM", end, (_tidy(value * LONG_UNITS[found["long"]]), "ago" if found["ago"] else "duration")
    if found["size"]:
        return "UNITNUM", end, (_tidy(value * SIZES[found["size"]]), "size")
    return "NUMBER", end, value


def _tidy(value: float) -> float:
    whole = int(value)
    return whole if whole == value else value


def _value(digits: str, start: int, end: int) -> int | float:
    if digits.isdecimal():
        if len(digits) > MOST_BITS:
            raise _too_large(start, end)
        return _whole(int(digits), start, end)
    value = float(digits)
    if not math.isfinite(value):
        raise _too_large(start, end)
    return value


def _whole(value: int, start: int, end: int) -> int:
    if value.bit_length() > MOST_BITS:
        raise _too_large(start, end)
    return value


def _too_large(start: int, end: int) -> SyntaxProblem:
    return SyntaxProblem(
        "AE110", f"this number is too large, more than {MOST_BITS} bits or no finite float", start, end
    )


# ---------------------------------------------------------------- strings

_ENDS = {
    ('"', False): re.compile(r'[^"\\\n]*(?:\\[^\n][^"\\\n]*)*"'),
    ("'", False): re.compile(r"[^'\\\n]*(?:\\[^\n][^'\\\n]*)*'"),
    ('"', True): re.compile(r'[^"\n]*"'),
    ("'", True): re.compile(r"[^'\n]*'"),
}
_LONG_ENDS = {
    ('"', False): re.compile(r'[^"\\]*(?:(?:\\.|"(?!""))[^"\\]*)*"""', re.S),
    ("'", False): re.compile(r"[^'\\]*(?:(?:\\.|'(?!''))[^'\\]*)*'''", re.S),
    ('"', True): re.compile(r'[^"]*(?:"(?!"")[^"]*)*"""'),
    ("'", True): re.compile(r"[^']*(?:'(?!'')[^']*)*'''"),
}


def string_end(text: str, start: int, limit: int, *, raw: bool) -> int:
    """The offset behind the string whose opening quote stands at `start`."""
    quote = text[start]
    long = text.startswith(quote * 3, start)
    ends = _LONG_ENDS if long else _ENDS
    found = ends[quote, raw].match(text, start + (3 if long else 1), limit)
    if found is None:
        mark = quote * 3 if long else quote
        raise SyntaxProblem(
            "AE102", "this string is never closed", start, start + 1, expected=(f"a closing {mark}",),
            suggestion=None if long else "a string over several lines needs three quotes",
        )  # fmt: skip
    return found.end()


def unescape(text: str, start: int) -> str:
    """A piece of a string with its escapes resolved; `start` is where it stands. An unknown escape keeps its
    backslash."""
    if "\\" not in text:
        return text

    def resolve(found: re.Match[str]) -> str:
        code = found[1] or found[2] or found[3]
        if code is None:
            return _SIMPLE.get(found[4], found[0])
        value = int(code, 16)
        if value > 0x10FFFF or 0xD800 <= value <= 0xDFFF:
            raise SyntaxProblem(
                "AE102", f"'{found[0]}' is no Unicode character", start + found.start(), start + found.end()
            )
        return chr(value)

    return _ESCAPE.sub(resolve, text)


def dedent(lines: list[str]) -> str:
    """The lines of a raw text block without their common indentation."""
    filled = [line for line in lines if line.strip()]
    margin = min((len(line) - len(line.lstrip(" \t")) for line in filled), default=0)
    return "".join(line[margin:] + "\n" for line in lines)


# ---------------------------------------------------------------- regular expressions


def regex(text: str, start: int, limit: int) -> tuple[int, tuple[str, str]]:
    """End, pattern and flags of the regular expression at a place; refused here is what the engine would refuse."""
    found = _REGEX.match(text, start, limit)
    if found is None:
        raise SyntaxProblem(
            "AE130", "an operand is expected here, and this '/' begins no regular expression", start, start + 1,
            expected=("an expression",),
        )  # fmt: skip
    pattern, flags = found[1], found[2]
    for place, flag in enumerate(flags):
        if flag not in "gimsu" or flag in flags[:place]:
            at = found.start(2) + place
            raise SyntaxProblem("AE130", f"'{flag}' is no flag here", at, at + 1, expected=("g", "i", "m", "s", "u"))
    if len(pattern) > LONGEST_PATTERN:
        raise SyntaxProblem("AE110", f"the pattern has more than {LONGEST_PATTERN} characters", start, found.end(1))
    _check_pattern(pattern, found.start(1))
    return found.end(), (pattern, flags)


def _check_pattern(pattern: str, start: int) -> None:
    unsupported = _UNSUPPORTED.search(pattern)
    if unsupported is not None:
        what = "back-references" if unsupported[1].startswith("\\") else "lookaround"
        raise SyntaxProblem(
            "AE130", f"regular expressions here have no {what}", start + unsupported.start(1),
            start + unsupported.end(1),
            suggestion="the engine runs in linear time, which these would break",
        )  # fmt: skip
    import re2  # loaded only for scripts that hold a pattern

    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(pattern.replace("\\/", "/"), options)
    except re2.error as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error.args[0])
        raise SyntaxProblem("AE130", f"this is no regular expression: {reason}", start, start + len(pattern)) from None
