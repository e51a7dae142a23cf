"""Arithmetic as section 6.1 of the language reference has it."""

import math
import operator
from collections.abc import Callable
from typing import Any

from .values import Exhausted, Unsaid, fail, kind, number, text

BITS = 4096
Warn = Callable[[], None]


def in_range(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise fail("ValueError", "a number beyond the range")
    if isinstance(value, int) and abs(value).bit_length() > BITS:
        raise Exhausted
    return value


def unguarded(value: Any) -> Any:
    """`+` and `-` may give what is too large; where that shows is not laid down, so such programs compare nothing."""
    if (isinstance(value, float) and not math.isfinite(value)) or (
        isinstance(value, int) and value.bit_length() > BITS
    ):
        raise Exhausted
    return value


def counted(value: Any, warn: Warn) -> Any:
    """An operand as a number: bools are 0 or 1, null is 0 with a warning."""
    if value is None:
        warn()
        return 0
    return int(value) if isinstance(value, bool) else value


def bits(value: Any, warn: Warn) -> int:
    value = counted(value, warn)
    if not number(value):
        raise fail("TypeError", f"a {kind(value)} has no bits")
    return signed(math.trunc(value))


def signed(value: int) -> int:
    low = value & 0xFFFFFFFF
    return low - (1 << 32) if low >= 1 << 31 else low


BITWISE: dict[str, Callable[[int, int], int]] = {
    "&": operator.and_,
    "|": operator.or_,
    "^": operator.xor,
    "<<": lambda a, b: a << (b & 31),
    ">>": lambda a, b: a >> (b & 31),
}


def add(a: Any, b: Any, warn: Warn) -> Any:
    if isinstance(a, str) or isinstance(b, str):
        joined = text(a) + text(b)
        if len(joined) > 100_000:
            raise Exhausted
        return joined
    if isinstance(a, list) and isinstance(b, list):
        if len(a) + len(b) > 20_000:
            raise Exhausted
        return a + b
    return unguarded(numeric("+", a, b, warn, operator.add))


def numeric(op: str, a: Any, b: Any, warn: Warn, work: Callable[[Any, Any], Any]) -> Any:
    for one in (a, b):
        if one is not None and not number(one):
            if a is None or b is None:
                raise Unsaid  # whether the warning comes before the error
            raise fail("TypeError", f"cannot apply '{op}' to {kind(a)} and {kind(b)}")
    a, b = counted(a, warn), counted(b, warn)
    try:
        return work(a, b)
    except OverflowError:
        raise fail("ValueError", "a number beyond the range") from None


def multiply(a: Any, b: Any, warn: Warn) -> Any:
    if isinstance(b, str) and not isinstance(a, str):
        a, b = b, a
    if isinstance(a, str) and b is None:
        raise Unsaid
    if isinstance(a, str) and number(b):
        if b != int(b):
            raise fail("TypeError", "a text repeats a whole number of times")
        if len(a) * b > 100_000:
            raise Exhausted
        return a * int(b)
    return in_range(numeric("*", a, b, warn, operator.mul))


def divide(a: Any, b: Any) -> Any:
    if b == 0:
        raise fail("DivisionByZero", "division by zero")
    if isinstance(a, int) and isinstance(b, int) and a % b == 0:
        return a // b
    return a / b


def remainder(a: Any, b: Any) -> Any:
    if b == 0:
        raise fail("DivisionByZero", "division by zero")
    return a % b


def power(a: Any, b: Any) -> Any:
    if isinstance(a, int) and isinstance(b, int) and abs(a) > 1 and b * abs(a).bit_length() > 2 * BITS:
        raise Exhausted
    if a == 0 and b < 0:
        raise fail("DivisionByZero", "division by zero")
    found = a**b
    if isinstance(found, complex):
        raise fail("ValueError", "no real number")
    return found


def binary(op: str, a: Any, b: Any, warn: Warn) -> Any:
    """`a op b`; `warn` is told when null counts as 0."""
    if op in BITWISE:
        left = bits(a, warn)
        return signed(BITWISE[op](left, bits(b, warn)))
    if op == "+":
        return add(a, b, warn)
    if op == "*":
        return multiply(a, b, warn)
    if op == "-":
        return unguarded(numeric(op, a, b, warn, operator.sub))
    work = {"/": divide, "%": remainder, "**": power}[op]
    return in_range(numeric(op, a, b, warn, work))


def unary(op: str, a: Any, warn: Warn) -> Any:
    if op == "~":
        return signed(~bits(a, warn))
    if a is not None and not number(a):
        raise fail("TypeError", f"cannot apply '{op}' to {kind(a)}")
    a = counted(a, warn)
    return -a if op == "-" else a
