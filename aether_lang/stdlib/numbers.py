"""Number functions (language reference, section 20). Those that take a list also take their arguments one by one."""

import math
from typing import Any, Final

from .. import methods
from ..methods import Room
from ..operators import Operators
from ..values import ScriptError, ScriptSet, checked, kind, number, number_text, text, whole

PI: Final = math.pi


def _values(args: tuple[Any, ...]) -> list[Any]:
    if len(args) == 1 and type(args[0]) is list:
        return args[0]
    if len(args) == 1 and type(args[0]) is ScriptSet:
        return list(args[0])
    if len(args) == 1 and args[0] is None:
        return []
    return list(args)


def total(rt: Room, *values: Any) -> Any:
    """The sum."""
    return methods.total(rt, _values(values))


def average(rt: Room, *values: Any) -> Any:
    """The mean; of nothing it is 0."""
    return methods.average(rt, _values(values))


def least(rt: Room, *values: Any) -> Any:
    """The smallest, null of nothing."""
    return methods.least(rt, _values(values))


def greatest(rt: Room, *values: Any) -> Any:
    """The greatest, null of nothing."""
    return methods.greatest(rt, _values(values))


def rounded(rt: Room, x: Any, digits: Any = 0) -> Any:
    """Rounded, halves away from zero."""
    return methods.rounded(rt, number(x, "round"), digits)


def floor(_rt: Room, x: Any) -> int:
    """The next int below."""
    result: int = math.floor(checked(number(x, "floor")))
    return result


def ceil(_rt: Room, x: Any) -> int:
    """The next int above."""
    result: int = math.ceil(checked(number(x, "ceil")))
    return result


def absolute(_rt: Room, x: Any) -> Any:
    """The size without the sign."""
    return abs(number(x, "abs"))


def sqrt(_rt: Room, x: Any) -> Any:
    """The square root; an int when it is one."""
    n = checked(number(x, "sqrt"))
    if n < 0:
        raise ScriptError("ValueError", "the root of a negative number is not a number")
    if type(n) is int:
        root = math.isqrt(n)
        if root * root == n:
            return root
    try:
        return math.sqrt(n)
    except OverflowError:
        raise ScriptError("ValueError", "the number is beyond the range of floats") from None


def power(rt: Operators, x: Any, y: Any) -> Any:
    """x raised to y, as `**`."""
    return rt.pow(x, y)


def to_int(_rt: Room, v: Any = 0, base: Any = 10) -> int:
    """The whole part of a number or of the number a text spells; ValueError for other text."""
    if type(v) is str:
        try:
            return int(checked(int(v.strip().replace("_", "")[:1300], whole(base, "int"))))
        except ValueError:
            found = to_float(_rt, v)
            return int(found)
    if v is None:
        return 0
    return int(checked(number(v, "int")))


def to_float(_rt: Room, v: Any = 0.0) -> float:
    """The number as float, text read as such; ValueError for other text."""
    if type(v) is str:
        try:
            found = float(v.strip())
        except ValueError:
            raise ScriptError("ValueError", f"{v[:40]!r} is not a number") from None
        return float(checked(found))
    try:
        return float(number(0 if v is None else v, "float"))
    except OverflowError:
        raise ScriptError("ValueError", "the number is beyond the range of floats") from None


def parse_int(_rt: Room, s: Any, base: Any = 10) -> int | None:
    """The int at the start of a text, null when there is none."""
    radix = whole(base, "parseInt")
    if not 2 <= radix <= 36:
        raise ScriptError("ValueError", "the base must lie between 2 and 36")
    source = text(s).strip().lower()
    sign = -1 if source.startswith("-") else 1
    source = source.lstrip("+-") if source[:1] in ("+", "-") else source
    if radix == 16:
        source = source.removeprefix("0x")
    allowed = methods._DIGITS[:radix]
    digits = ""
    for c in source[:1300]:
        if c not in allowed:
            break
        digits += c
    return sign * int(checked(int(digits, radix))) if digits else None


def parse_float(_rt: Room, s: Any) -> float | int | None:
    """The number at the start of a text, null when there is none."""
    source = text(s).strip()
    best: float | None = None
    end = 0
    while end < min(len(source), 400) and source[end] in "+-.0123456789eE":
        end += 1
    while end and best is None:
        try:
            best = float(source[:end])
        except ValueError:
            end -= 1
    if best is None:
        return None
    checked(best)
    return int(best) if best.is_integer() and "." not in source[:end] and "e" not in source[:end].lower() else best


def to_bool(_rt: Room, v: Any = False) -> bool:
    """The truth of a value."""
    return bool(v)


def formatted(value: Any, spec: str) -> str:
    """The text of a number under a format spec: `d`, or `[.digits]` with `f`, `e` or `%` (section 2.4)."""
    n = number(0 if value is None else value, f"the format ':{spec}'")
    if spec == "d":
        if type(n) is float and not n.is_integer():
            raise ScriptError("TypeError", f"the format ':d' needs a whole number, not {number_text(n)}")
        return number_text(int(n))
    if spec[-1:] not in ("f", "e", "%") or (spec[:-1] and not (spec[0] == "." and spec[1:-1].isdecimal())):
        raise ScriptError("ValueError", f"unknown format ':{spec}', expected [.digits] and one of f e %, or d")
    digits = int(spec[1:-1] or "6") if len(spec) > 1 else 6
    if digits > 100:
        raise ScriptError("ValueError", "a format takes at most 100 digits")
    try:
        return f"{checked(n):.{digits}{spec[-1]}}"
    except OverflowError:
        raise ScriptError("ValueError", "the number is beyond the range of floats") from None


__all__ = ["PI", "formatted", "kind"]
