"""The guarded operators: what generated code calls where Python's own does not mean the same (sections 6.1, 22).

Each knows null as 0, renders beside a string, and checks the size and finiteness of what it makes.
"""

import math
from typing import Any, Final, Protocol

from .values import (
    MAX_INT_BITS,
    NUMBERS,
    ScriptError,
    checked,
    compare,
    contains,
    equal,
    kind,
    limit_error,
    text,
)

_BOUND: Final = 1 << MAX_INT_BITS
_MAX_FLOAT: Final = 1.7976931348623157e308
_WORD: Final = 0xFFFFFFFF
_SIGN: Final = 0x80000000
_WIDE: Final = frozenset({list, dict, str})


class Room(Protocol):
    """What the operators ask of the runtime."""

    strict_null: bool

    def warn(self, code: str, message: str) -> None:
        """Writes a warning once per place of the script."""

    def sized(self, value: str) -> str:
        """The string, once its length is checked and charged."""

    def listed(self, value: list[Any]) -> list[Any]:
        """The list, once its length is checked and charged."""

    def check_text(self, length: int) -> None:
        """LimitError when a string of that length may not be made."""

    def worked(self, size: int) -> None:
        """Counts elements gone over without a step drawn, and looks at the clock when they are many."""


class Operators:
    """The operators of one run."""

    def __init__(self, room: Room) -> None:
        """`room` gives limits and takes warnings."""
        self._room = room

    def _operands(self, op: str, a: Any, b: Any) -> tuple[Any, Any]:
        """Both operands as int or float: bools count, null is 0 with a warning; TypeError for anything else."""
        return self._operand(op, a, b, a), self._operand(op, a, b, b)

    def _operand(self, op: str, a: Any, b: Any, value: Any) -> Any:
        of = type(value)
        if of is int or of is float:
            return value
        if of is bool:
            return int(value)
        if value is None and not self._room.strict_null:
            self._room.warn("AW501", f"null counts as 0 in '{op}'")
            return 0
        raise ScriptError("TypeError", f"cannot apply '{op}' to {kind(a)} and {kind(b)}")

    def _alone(self, op: str, a: Any) -> Any:
        """The operand of a sign."""
        if a is not None and type(a) not in NUMBERS:
            raise ScriptError("TypeError", f"cannot apply '{op}' to {kind(a)}")
        return self._operand(op, a, a, a)

    def add(self, a: Any, b: Any) -> Any:
        """`a + b`: numbers, lists, and text as soon as one side is a string."""
        of_a, of_b = type(a), type(b)
        if of_a in NUMBERS and of_b in NUMBERS:
            try:
                result = a + b
            except OverflowError:
                raise _too_big("+") from None
            if type(result) is int and -_BOUND < result < _BOUND:
                return result
            return checked(result)
        if of_a is str or of_b is str:
            left = a if of_a is str else text(a)
            right = b if of_b is str else text(b)
            self._room.check_text(len(left) + len(right))
            return self._room.sized(left + right)
        if of_a is list and of_b is list:
            return self._room.listed(a + b)
        a, b = self._operands("+", a, b)
        return self.add(a, b)

    def sub(self, a: Any, b: Any) -> Any:
        """`a - b`."""
        if type(a) not in NUMBERS or type(b) not in NUMBERS:
            a, b = self._operands("-", a, b)
        try:
            return checked(a - b)
        except OverflowError:
            raise _too_big("-") from None

    def mul(self, a: Any, b: Any) -> Any:
        """`a * b`; a string times a whole number repeats."""
        if type(a) is int and type(b) is int:
            # The widths are added first: a product of two wide ints must not be computed just to be refused.
            if a.bit_length() + b.bit_length() <= MAX_INT_BITS:
                return a * b
            return checked(a * b) if a.bit_length() + b.bit_length() <= 4 * MAX_INT_BITS else _wide()
        if type(a) is str or type(b) is str:
            return self._repeat(a, b)
        a, b = self._operands("*", a, b)
        if type(a) is int and type(b) is int:
            return self.mul(a, b)
        try:
            return checked(a * b)
        except OverflowError:
            raise _too_big("*") from None

    def _repeat(self, a: Any, b: Any) -> str:
        string, times = (a, b) if type(a) is str else (b, a)
        if type(string) is str and type(times) is str:
            raise ScriptError("TypeError", "cannot multiply two strings")
        n = self._operand("*", a, b, times)
        if type(n) is float:
            if not n.is_integer():
                raise ScriptError("TypeError", "a string can only be repeated a whole number of times")
            n = int(n)
        self._room.check_text(len(string) * max(n, 0))
        return self._room.sized(string * n)

    def div(self, a: Any, b: Any) -> Any:
        """`a / b`, exact; an integral result of two ints stays an int."""
        if type(a) not in NUMBERS or type(b) not in NUMBERS:
            a, b = self._operands("/", a, b)
        if b == 0:
            raise ScriptError("DivisionByZero", "division by zero")
        if type(a) is not float and type(b) is not float:
            whole, rest = divmod(a, b)
            if rest == 0:
                return checked(whole)
        try:
            return checked(a / b)
        except OverflowError:
            raise _too_big("/") from None

    def mod(self, a: Any, b: Any) -> Any:
        """`a % b`, with the sign of the divisor."""
        if type(a) not in NUMBERS or type(b) not in NUMBERS:
            a, b = self._operands("%", a, b)
        if b == 0:
            raise ScriptError("DivisionByZero", "modulo by zero")
        try:
            return checked(a % b)
        except OverflowError:
            raise _too_big("%") from None

    def pow(self, a: Any, b: Any) -> Any:
        """`a ** b`; the width of an int result is estimated before it is computed."""
        a, b = self._operands("**", a, b)
        try:
            if type(a) is int and type(b) is int and b >= 0:
                if a not in (0, 1, -1) and (abs(a).bit_length() - 1) * b > MAX_INT_BITS:
                    return _wide()
                return checked(a**b)
            if a == 0 and b < 0:
                raise ScriptError("DivisionByZero", "0 cannot be raised to a negative power")
            if a < 0 and type(b) is float and not b.is_integer():
                raise ScriptError("ValueError", "the root of a negative number is not a number")
            return checked(float(a) ** b if type(b) is float else a**b)
        except OverflowError:
            raise _too_big("**") from None

    def neg(self, a: Any) -> Any:
        """`-a`."""
        return checked(-self._alone("-", a))

    def pos(self, a: Any) -> Any:
        """`+a`."""
        return checked(self._alone("+", a))

    def _word(self, op: str, a: Any, b: Any, value: Any) -> int:
        n = self._operand(op, a, b, value)
        if type(n) is float:
            n = int(n) if math.isfinite(n) else checked(n)
        return int(n) & _WORD

    def _words(self, op: str, a: Any, b: Any) -> tuple[int, int]:
        return self._word(op, a, b, a), self._word(op, a, b, b)

    def band(self, a: Any, b: Any) -> int:
        """`a & b` on 32 bits."""
        a, b = self._words("&", a, b)
        return _signed(a & b)

    def bor(self, a: Any, b: Any) -> int:
        """`a | b` on 32 bits."""
        a, b = self._words("|", a, b)
        return _signed(a | b)

    def bxor(self, a: Any, b: Any) -> int:
        """`a ^ b` on 32 bits."""
        a, b = self._words("^", a, b)
        return _signed(a ^ b)

    def shl(self, a: Any, b: Any) -> int:
        """`a << b`, the count taken modulo 32."""
        a, b = self._words("<<", a, b)
        return _signed(a << (b & 31))

    def shr(self, a: Any, b: Any) -> int:
        """`a >> b`, keeping the sign, the count taken modulo 32."""
        a, b = self._words(">>", a, b)
        return int(_signed(a) >> (b & 31))

    def inv(self, a: Any) -> int:
        """`~a` on 32 bits."""
        return _signed(~self._word("~", 0, 0, self._alone("~", a)))

    def lt(self, a: Any, b: Any) -> bool:
        """`a < b`; false as soon as null takes part."""
        return compare(a, b, self._room.worked) == -1

    def le(self, a: Any, b: Any) -> bool:
        """`a <= b`."""
        order = compare(a, b, self._room.worked)
        return order is not None and order <= 0

    def gt(self, a: Any, b: Any) -> bool:
        """`a > b`."""
        return compare(a, b, self._room.worked) == 1

    def ge(self, a: Any, b: Any) -> bool:
        """`a >= b`."""
        order = compare(a, b, self._room.worked)
        return order is not None and order >= 0

    def eq(self, a: Any, b: Any) -> bool:
        """`a == b`."""
        if type(a) in _WIDE:
            self._room.worked(len(a))
        return equal(a, b, self._room.worked)

    def ne(self, a: Any, b: Any) -> bool:
        """`a != b`."""
        return not self.eq(a, b)

    def has(self, x: Any, container: Any) -> bool:
        """`x in container`."""
        if type(container) in _WIDE:
            self._room.worked(len(container) * (len(x) if type(x) is list else 1))
        return contains(container, x, self._room.worked)

    def hasnt(self, x: Any, container: Any) -> bool:
        """`x not in container`."""
        return not self.has(x, container)


def _signed(word: int) -> int:
    word &= _WORD
    return word - (_WORD + 1) if word & _SIGN else word


def _too_big(op: str) -> ScriptError:
    return ScriptError("ValueError", f"the result of '{op}' is beyond the range of numbers ({_MAX_FLOAT:.3g})")


def _wide() -> Any:
    raise limit_error("int_bits", MAX_INT_BITS, "the number has too many digits")
