"""Which values exist, their truth, equality, order, text and fields (language reference, section 6).

null, bool, int, float, string, list and dict are the Python values of the same kind; functions of a script are plain
Python functions. Everything else a script can hold is a class of this file, or `Regex`. Truth is Python's own: each
class here answers `bool()` as section 6.2 wants it, so generated code tests a value without a call.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from json.encoder import encode_basestring as quoted
from types import FunctionType
from typing import Any, Final, TypeAlias

from .regex import Regex

Place: TypeAlias = tuple[str, int, int, str]
"""Where a call stands: file, line, column, and the plugin block or module around it ("" in the script itself)."""

MAX_INT_BITS: Final = 4096
"""The widest int a guarded operator gives."""
MAX_NESTING: Final = 100
"""How deep a value may nest when it becomes text or JSON."""
MAX_LEAVING: Final = 28
"""How deep a value may nest that leaves the script: a frame of 32 levels wraps it in up to four of its own."""
MAX_PIECES: Final = 1 << 20
"""How many pieces a value may have that is rendered, leaves the script or is looked up by value. A small value that
holds one list many times over has more of them than any memory, so they are counted and not only measured."""
MAX_ERROR_DATA: Final = 4096
"""How many pieces the data of an error may have that a script makes."""
MAX_RENDERED: Final = 16 << 20
"""The most characters a value is rendered to, or takes along when it leaves the script."""
_INT_BOUND: Final = 1 << MAX_INT_BITS
_PLAIN_HASH: Final = (1 << 61) - 1
"""Python hashes ints modulo this number, so that multiples of it all meet in one place of a table."""

Meter: TypeAlias = Callable[[int], None]
"""Hears how many pieces were gone over, and raises what ends the run when they were too many."""


def _unmetered(_pieces: int) -> None:
    """For work whose size is known to be small."""


class Halt(BaseException):
    """What ends a run and no `catch` sees (17.2). `type` names it in the script's words."""

    type: str = "InternalError"

    def __init__(self, message: str, data: Any = None) -> None:
        """`data` is plain data about the cause, shown with the error."""
        super().__init__(message)
        self.message = message
        self.data = data


class LimitError(Halt):
    """A limit was passed; `data` is `{limit, value}`."""

    type = "LimitError"


class BudgetError(Halt):
    """A budget the policy gave was used up."""

    type = "BudgetError"


class Cancelled(Halt):
    """The job was cancelled from outside."""

    type = "Cancelled"


class StopExecution(Halt):
    """`stop_execution(message)`: a clean end."""

    type = "StopExecution"


class Nondeterministic(Halt):
    """A replay met a host call that differs from the journal."""

    type = "Nondeterministic"


def limit_error(limit: str, value: int | float, what: str) -> LimitError:
    """The LimitError of the setting `limit`; `what` says in words what was too much."""
    return LimitError(f"{what} (limit {limit} = {value})", {"limit": limit, "value": value})


class ErrorValue:
    """An error as scripts see it: an immutable record that holds plain data and nothing of Python (17.1)."""

    __slots__ = ("cause", "column", "data", "file", "line", "message", "retryable", "stack", "type")

    type: str
    message: str
    line: int
    column: int
    file: str
    stack: tuple[tuple[str, str, int], ...]
    data: Any
    cause: "ErrorValue | None"
    retryable: bool

    def __init__(
        self,
        type: str,
        message: str,
        *,
        line: int = 0,
        column: int = 0,
        file: str = "",
        stack: tuple[tuple[str, str, int], ...] = (),
        data: Any = None,
        cause: "ErrorValue | None" = None,
        retryable: bool = False,
    ) -> None:
        """`stack` lists (function, file, line), innermost first."""
        put = object.__setattr__
        put(self, "type", type)
        put(self, "message", message)
        put(self, "line", line)
        put(self, "column", column)
        put(self, "file", file)
        put(self, "stack", stack)
        put(self, "data", copied(data))
        put(self, "cause", cause)
        put(self, "retryable", retryable)

    def __setattr__(self, name: str, value: object) -> None:
        """Refused: error values do not change."""
        raise AttributeError(name)

    def __bool__(self) -> bool:
        """An error is false in conditions."""
        return False

    def field(self, name: str) -> Any:
        """The field `name` as a script reads it, null when there is none."""
        if name == "stack":
            return [{"function": f, "file": file, "line": line} for f, file, line in self.stack]
        if name == "data":
            return copied(self.data)
        return getattr(self, name) if name in ErrorValue.__slots__ else None

    def record(self) -> dict[str, Any]:
        """All fields as plain data, for the host."""
        fields = {
            name: self.field(name) for name in ("type", "message", "line", "column", "file", "stack", "retryable")
        }
        if self.data is not None:
            fields["data"] = self.data
        if self.cause is not None:
            fields["cause"] = self.cause.record()
        return fields


class ScriptError(Exception):
    """A catchable error on its way up. `catch` turns it into an `ErrorValue` and drops it."""

    def __init__(self, type: str, message: str, data: Any = None, *, retryable: bool = False) -> None:
        """`type` is a name of 17.2; `data` is plain data."""
        super().__init__(message)
        self.type = type
        self.message = message
        self.data = data
        self.retryable = retryable
        self.cause: ErrorValue | None = None
        self.value: ErrorValue | None = None

    @classmethod
    def again(cls, value: ErrorValue) -> "ScriptError":
        """The error that throws `value` once more, place and stack unchanged."""
        error = cls(value.type, value.message, value.data, retryable=value.retryable)
        error.value = value
        return error


CATCHABLE: Final = (ScriptError, OverflowError, ValueError)
"""What a `catch` sees of Python's exceptions; inline arithmetic raises the last two."""


class ScriptSet:
    """A set that keeps insertion order and compares its elements as `==` does."""

    __slots__ = ("elements",)

    def __init__(self, values: Iterable[Any] = (), meter: Meter = _unmetered) -> None:
        """Equal values are kept once, the first one of them."""
        self.elements: dict[Any, Any] = {}
        for value in values:
            self.elements.setdefault(identity(value, meter), value)

    def __len__(self) -> int:
        """The number of elements; an empty set is therefore false."""
        return len(self.elements)

    def __iter__(self) -> Iterator[Any]:
        """The elements in the order they came."""
        return iter(self.elements.values())


class Builtin:
    """A function that no script wrote: `call(*args, **kwargs)` runs it, `name` is how scripts write it."""

    __slots__ = ("call", "name")

    def __init__(self, name: str, call: Callable[..., Any]) -> None:
        """`call` checks its own arguments and raises ScriptError for wrong ones."""
        self.name = name
        self.call = call


class Future:
    """The value of something begun and not yet awaited; `get()` waits for it."""

    __slots__ = ("get",)

    def __init__(self, get: Callable[[], Any]) -> None:
        """`get` may be called many times and raises the error of what was begun."""
        self.get = get


class Receiver:
    """A name before a dot that stands for something outside the script: a module, a plugin or an agent."""

    __slots__ = ("call", "field", "name")

    def __init__(
        self, name: str, call: Callable[[str, list[Any], dict[str, Any]], Any], field: Callable[[str], Any]
    ) -> None:
        """`call(function, args, kwargs)` runs a function of it, `field(name)` reads a field."""
        self.name = name
        self.call = call
        self.field = field


_KINDS: Final[dict[type, str]] = {
    type(None): "null",
    bool: "bool",
    int: "int",
    float: "float",
    str: "string",
    list: "list",
    dict: "dict",
    FunctionType: "function",
    Builtin: "function",
    ErrorValue: "error",
    Future: "future",
    Regex: "regex",
    ScriptSet: "set",
    Receiver: "module",
}

NUMBERS: Final = frozenset({int, float, bool})
"""The types that count as numbers in arithmetic and in order comparisons."""


def kind(value: Any) -> str:
    """The name of the value's type in the words of section 6.1."""
    return _KINDS.get(type(value), "unknown")


def is_function(value: Any) -> bool:
    """Whether the value can be called."""
    return type(value) is FunctionType or type(value) is Builtin


def function_name(value: Any) -> str:
    """The name a function was given in the script, `lambda` if none."""
    if type(value) is Builtin:
        return value.name
    name = str(value.__code__.co_name)
    return name[2:].partition("@")[0] if name.startswith("v_") else "lambda"


def identity(value: Any, meter: Meter = _unmetered) -> Any:
    """A hashable key, equal for two values exactly when `==` holds between them."""
    kind_of = type(value)
    if kind_of is str or value is None:
        return value
    if kind_of is bool:
        return ("b", value)
    if kind_of is int or kind_of is float:
        if -_PLAIN_HASH < value < _PLAIN_HASH or not is_whole(value):
            return ("n", value)
        return ("n", hex(int(value)))
    if kind_of is list or kind_of is dict:
        left = [MAX_PIECES]
        key = _identity_of_parts(value, left, 0)
        meter(MAX_PIECES - left[0])
        return key
    if kind_of is ScriptSet:
        return ("s", frozenset(value.elements))
    if kind_of is ErrorValue:
        return ("e", value.type, value.message, value.line, value.column)
    if kind_of is Regex:
        return ("r", value.pattern, value.flags)
    return ("o", id(value))


def is_whole(number: int | float) -> bool:
    """Whether the number has nothing behind the point."""
    return type(number) is int or (math.isfinite(number) and float(number).is_integer())


def _identity_of_parts(value: Any, left: list[int], depth: int) -> Any:
    """`identity` of a list or dict; `left` holds how many pieces are still allowed."""
    kind_of = type(value)
    if kind_of is not list and kind_of is not dict:
        return identity(value)
    _count_pieces(left, value)
    if depth >= MAX_NESTING:
        raise too_deep(MAX_NESTING)
    if kind_of is list:
        return ("l", *[_identity_of_parts(v, left, depth + 1) for v in value])
    return ("d", frozenset((key, _identity_of_parts(v, left, depth + 1)) for key, v in value.items()))


def _count_pieces(left: list[int], value: Any) -> None:
    left[0] -= len(value) + 1
    if left[0] < 0:
        raise limit_error("pieces", MAX_PIECES, "the value has too many pieces")


def too_deep(levels: int) -> ScriptError:
    """The error of a value that nests deeper than something can take."""
    return ScriptError("ValueError", f"the value nests deeper than {levels}, or holds itself")


def equal(a: Any, b: Any, meter: Meter = _unmetered) -> bool:
    """`a == b`: deep, by value, without conversion; bools are no numbers here (6.2)."""
    of_a, of_b = type(a), type(b)
    if of_a is of_b:
        if of_a is list or of_a is dict:
            return a is b or _equal_parts(a, b, meter)
        if of_a is ScriptSet or of_a is ErrorValue or of_a is Regex:
            return bool(identity(a) == identity(b))
        return bool(a == b)
    if (of_a is int and of_b is float) or (of_a is float and of_b is int):
        return bool(a == b)
    return False


_ABSENT: Final = object()


def _equal_parts(a: Any, b: Any, meter: Meter) -> bool:
    """Two lists or two dicts, without recursion: each pair of parts is looked at once, however often it is held. Two
    values that go round in circles of different lengths still have very many pairs, so they are counted."""
    work = [(a, b)]
    seen: set[tuple[int, int]] = set()
    left = 4 * MAX_PIECES
    while work:
        a, b = work.pop()
        if len(a) != len(b):
            return False
        meter(len(a) + 1)
        left -= len(a) + 1
        if left < 0 or len(seen) > MAX_PIECES:
            raise limit_error("pieces", MAX_PIECES, "the values have too many pieces to compare")
        rows = zip(a, b, strict=True) if type(a) is list else ((v, b.get(key, _ABSENT)) for key, v in a.items())
        for x, y in rows:
            of = type(x)
            if (of is list or of is dict) and type(y) is of:
                pair_of = (id(x), id(y))
                if x is not y and pair_of not in seen:
                    seen.add(pair_of)
                    work.append((x, y))
            elif not equal(x, y, meter):
                return False
    return True


def compare(a: Any, b: Any, meter: Meter = _unmetered) -> int | None:
    """-1, 0 or 1 for the order of two values; None when null takes part, for then each comparison is false (6.2)."""
    of_a, of_b = type(a), type(b)
    if a is None or b is None:
        return None
    if (of_a in NUMBERS and of_b in NUMBERS) or (of_a is str and of_b is str):
        return -1 if a < b else (1 if a > b else 0)
    if of_a is list and of_b is list:
        return _compare_lists(a, b, meter, set(), 0)
    raise ScriptError("TypeError", f"cannot compare {kind(a)} with {kind(b)}")


def _compare_lists(a: Any, b: Any, meter: Meter, seen: set[tuple[int, int]], depth: int) -> int | None:
    """The order of the first elements that differ, else of the lengths. Two lists that were looked at, or are being
    looked at, decide nothing any more."""
    if (id(a), id(b)) in seen:
        return 0
    seen.add((id(a), id(b)))
    if depth >= MAX_NESTING:
        raise too_deep(MAX_NESTING)
    if len(seen) > MAX_PIECES:
        raise limit_error("pieces", MAX_PIECES, "the values have too many pieces to compare")
    meter(min(len(a), len(b)) + 1)
    for x, y in zip(a, b, strict=False):
        if type(x) is list and type(y) is list:
            first = _compare_lists(x, y, meter, seen, depth + 1)
        else:
            first = 0 if equal(x, y, meter) else compare(x, y, meter)
        if first != 0:
            return first
    return (len(a) > len(b)) - (len(a) < len(b))


def contains(container: Any, x: Any, meter: Meter = _unmetered) -> bool:
    """`x in container`: element, key, substring; a list in a list by the wider rule of 6.2; null holds nothing."""
    of = type(container)
    if container is None:
        return False
    if of is list:
        if any(equal(x, element, meter) for element in container):
            return True
        return type(x) is list and bool(x) and _holds_all(container, x, meter)
    if of is dict:
        return type(x) in _SCALARS and key_text(x) in container
    if of is str:
        return (x if type(x) is str else text(x)) in container
    if of is ScriptSet:
        return identity(x, meter) in container.elements
    raise ScriptError("TypeError", f"cannot look for a value in {kind(container)}")


def _holds_all(container: list[Any], wanted: list[Any], meter: Meter) -> bool:
    if len(container) * len(wanted) < _WORTH_A_TABLE:
        return all(any(equal(part, e, meter) for e in container) for part in wanted)
    known = {identity(e, meter) for e in container}
    return all(identity(part, meter) in known for part in wanted)


_WORTH_A_TABLE: Final = 10_000
_SCALARS: Final = frozenset({str, int, float, bool, type(None)})


def key_text(key: Any) -> str:
    """A dict key: strings as they are, other scalars as their text; TypeError for anything else."""
    if type(key) is str:
        return key
    if type(key) in _SCALARS:
        return text(key)
    raise ScriptError("TypeError", f"a dict key must be a scalar, not {kind(key)}")


def checked(number: Any) -> Any:
    """The number itself when it is finite and not too wide; ValueError or LimitError when not (6.1)."""
    if type(number) is int:
        if -_INT_BOUND < number < _INT_BOUND:
            return number
        raise limit_error("int_bits", MAX_INT_BITS, "the number has too many digits")
    if type(number) is float and not math.isfinite(number):
        raise ScriptError("ValueError", "the result is not a finite number")
    return number


def number_text(number: float) -> str:
    """Digits of an int; a float in the shortest form that reads back, integral ones below 1e15 without `.0`."""
    checked(number)
    if type(number) is float:
        return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)
    return str(number)


def text(value: Any) -> str:
    """The text of a value (6.3), as interpolation, `+`, `str` and `join` use it."""
    of = type(value)
    if of is str:
        return str(value)
    if of is bool:
        return "true" if value else "false"
    if value is None:
        return "null"
    if of is int or of is float:
        return number_text(value)
    if of is ErrorValue:
        return str(value.message)
    if of is FunctionType or of is Builtin:
        return f"<fn {function_name(value)}>"
    if of is Regex:
        return f"/{value.pattern}/{value.flags}"
    if of is Receiver:
        return f"<module {value.name}>"
    if of is Future:
        return text(value.get())
    return json_text(value)


def json_text(value: Any, indent: int = 0, most: int = MAX_RENDERED) -> str:
    """The value as JSON, compact or indented; errors and functions become their text, sets lists. LimitError beyond
    that many characters."""
    out = _Rendered(most)
    _write_json(value, indent, "\n", out, 0)
    return "".join(out.parts)


class _Rendered:
    """JSON under way. Strings are counted as they come: a list that holds one long string often is rendered to far more
    than the memory it takes."""

    __slots__ = ("left", "most", "parts")

    def __init__(self, most: int) -> None:
        """At most that many characters of strings."""
        self.parts: list[str] = []
        self.left = self.most = most

    def string(self, value: str) -> None:
        """Adds a string in quotes."""
        self.left -= len(value)
        if self.left < 0:
            raise limit_error("text_mb", round(self.most / (1 << 20), 3), "the value is too long as text")
        self.parts.append(quoted(value))


def _write_json(value: Any, indent: int, margin: str, rendered: _Rendered, depth: int) -> None:
    of = type(value)
    out = rendered.parts
    if of is str:
        rendered.string(value)
    elif value is None or of is bool or of is int or of is float:
        out.append(text(value))
    elif of is list or of is ScriptSet or of is dict:
        if depth >= MAX_NESTING:
            raise too_deep(MAX_NESTING)
        if len(out) > 5 * MAX_PIECES // 2:
            raise limit_error("pieces", MAX_PIECES, "the value has too many pieces")
        inner = margin + " " * indent if indent else ""
        opening, closing = "{}" if of is dict else "[]"
        out.append(opening)
        for n, element in enumerate(value.items() if of is dict else value):
            out.append("," + inner if n else inner)
            if of is dict:
                rendered.string(element[0])
                out.append(": " if indent else ":")
                element = element[1]
            _write_json(element, indent, inner, rendered, depth + 1)
        out.append((margin if indent and value else "") + closing)
    else:
        rendered.string(text(value))


def plain(value: Any) -> Any:
    """A copy of the value as plain data that may leave the script: null, bool, number, string, list, dict.

    Sets become lists, errors records, regexes and modules text. ValueError for numbers beyond 64 bits or not
    finite and for nesting beyond `MAX_LEAVING`; TypeError for functions; LimitError beyond `MAX_PIECES`.
    """
    return _plain(value, 0, [MAX_PIECES, MAX_RENDERED])


def _plain(value: Any, depth: int, left: list[int]) -> Any:
    of = type(value)
    if of is str:
        left[1] -= len(value)
        if left[1] < 0:
            raise limit_error("text_mb", MAX_RENDERED >> 20, "the value holds too much text to leave the script")
        return value
    if value is None or of is bool:
        return value
    if of is int:
        if -(1 << 63) <= value < 1 << 64:
            return value
        raise ScriptError("ValueError", "a number beyond 64 bits cannot leave the script")
    if of is float:
        return checked(value)
    if depth >= MAX_LEAVING:
        raise too_deep(MAX_LEAVING)
    if of is dict:
        _count_pieces(left, value)
        return {key: _plain(v, depth + 1, left) for key, v in value.items()}
    if of is list or of is ScriptSet:
        _count_pieces(left, value)
        return [_plain(v, depth + 1, left) for v in value]
    if of is ErrorValue:
        return _plain(value.record(), depth + 1, left)
    if of is Future:
        return _plain(value.get(), depth + 1, left)
    if of is Regex or of is Receiver:
        return text(value)
    raise ScriptError("TypeError", f"{text(value)} cannot leave the script: functions are no data")


def check_error_data(data: Any) -> Any:
    """The data of an error that a script makes, ValueError when it has too many pieces: each reading copies it."""
    work, seen, left = [data], set(), MAX_ERROR_DATA
    while work:
        value = work.pop()
        if (type(value) is list or type(value) is dict) and id(value) not in seen:
            seen.add(id(value))
            left -= len(value)
            if left < 0:
                raise ScriptError("ValueError", f"the data of an error has more than {MAX_ERROR_DATA} pieces")
            work.extend(value.values() if type(value) is dict else value)
    return data


def copied(value: Any) -> Any:
    """A deep copy of plain data; anything else is given as it is. What the value holds twice, or within itself, its
    copy holds in the same way."""
    return _copied(value, {}) if type(value) is dict or type(value) is list else value


def _copied(value: Any, made: dict[int, Any]) -> Any:
    if type(value) is not dict and type(value) is not list:
        return value
    found = made.get(id(value))
    if found is not None:
        return found
    copy: Any = {} if type(value) is dict else []
    made[id(value)] = copy
    if type(value) is dict:
        copy.update({key: _copied(v, made) for key, v in value.items()})
    else:
        copy.extend([_copied(v, made) for v in value])
    return copy


def field(value: Any, name: str) -> Any:
    """`value.name` as 6.4 reads it: null for a missing key, TypeError on null."""
    of = type(value)
    if of is dict:
        found = value.get(name, value)
        if found is not value:
            return found
        return len(value) if name == "length" or name == "count" else None
    if value is None:
        raise ScriptError("TypeError", f"cannot read .{name} of null")
    if of is list:
        if name == "length" or name == "count":
            return len(value)
        if name == "first":
            return value[0] if value else None
        return value[-1] if name == "last" and value else None
    if of is str:
        return len(value) if name == "length" else None
    if of is ErrorValue:
        return value.field(name)
    if of is ScriptSet:
        return len(value) if name in ("size", "length", "count") else None
    if of is Receiver:
        return value.field(name)
    if of is Future:
        return field(value.get(), name)
    return None


def position(index: Any) -> int:
    """An index as an int: ints and integral floats; TypeError for anything else."""
    if type(index) is int:
        return index
    if type(index) is float and index.is_integer():
        return int(index)
    raise ScriptError("TypeError", f"an index must be a whole number, not {kind(index)}")


def element(value: Any, index: Any) -> Any:
    """`value[index]` as 6.4 reads it: null out of range and for a missing key."""
    of = type(value)
    if of is list or of is str:
        if type(index) is str:
            return field(value, index)
        at = position(index)
        return value[at] if -len(value) <= at < len(value) else None
    if of is dict:
        return value.get(key_text(index))
    if value is None:
        raise ScriptError("TypeError", f"cannot read [{text(index)}] of null")
    if of is Future:
        return element(value.get(), index)
    if type(index) is str:
        return field(value, index)
    raise ScriptError("TypeError", f"{kind(value)} has no elements")


def part(value: Any, start: Any, end: Any) -> Any:
    """`value[start:end]` of a list or string, both ends optional and clamped."""
    if type(value) is not list and type(value) is not str:
        raise ScriptError("TypeError", f"only lists and strings have slices, not {kind(value)}")
    return value[None if start is None else position(start) : None if end is None else position(end)]


def elements(value: Any) -> list[Any]:
    """What `for x in value` walks over, as a list of its own (section 10)."""
    of = type(value)
    if of is list:
        return list(value)
    if of is dict or of is str or of is ScriptSet:
        return list(value)
    if value is None:
        return []
    if of is Future:
        return elements(value.get())
    raise ScriptError("TypeError", f"cannot loop over {kind(value)}")


def pairs(value: Any) -> list[tuple[Any, Any]]:
    """What `for k, v in value` walks over: keys and values of a dict, or a list of pairs."""
    if type(value) is dict:
        return list(value.items())
    return [pair(item) for item in elements(value)]


def pair(item: Any) -> tuple[Any, Any]:
    """A list of two as its two elements; missing ones are null."""
    if type(item) is not list:
        raise ScriptError("TypeError", f"expected a pair to take apart, got {kind(item)}")
    return (item[0] if item else None, item[1] if len(item) > 1 else None)


def number(value: Any, what: str) -> Any:
    """The value as a number for the function or method `what`: bools as 0 or 1; TypeError for anything else."""
    of = type(value)
    if of is int or of is float:
        return value
    if of is bool:
        return int(value)
    raise ScriptError("TypeError", f"{what} needs a number, not {kind(value)}")


def whole(value: Any, what: str) -> int:
    """The value as a whole number for `what`."""
    n = number(value, what)
    if type(n) is float and not n.is_integer():
        raise ScriptError("TypeError", f"{what} needs a whole number, not {number_text(n)}")
    return int(n)
