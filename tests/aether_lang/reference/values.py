"""Values as section 6 of the language reference has them: kinds, truth, equality, order, text, fields, elements."""

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Mistake:
    """An error value."""

    type: str
    message: str
    data: Any = None
    line: int = 0
    cause: Any = None


class Raised(Exception):
    """An error on its way up; a line of 0 is filled in by the place that raised it."""

    def __init__(self, error: Mistake) -> None:
        super().__init__(error.type, error.message)
        self.error = error


class Exhausted(Exception):
    """The program takes more steps, depth or room than the reference has."""


class Unsaid(Exhausted):
    """The program does what the page says nothing about."""


def fail(kind: str, message: str) -> Raised:
    return Raised(Mistake(kind, message))


@dataclass
class Pattern:
    """A regular expression."""

    source: str
    flags: str

    def compiled(self) -> re.Pattern[str]:
        flags = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL}
        return re.compile(self.source, sum(flags[f] for f in self.flags if f in flags))


@dataclass
class Bag:
    """A set; elements are told apart by `==` of the language."""

    elements: list[Any] = field(default_factory=list)

    def add(self, value: Any) -> None:
        if not any(same(value, one) for one in self.elements):
            self.elements.append(value)


@dataclass(eq=False)
class Function:
    """A function of the script (params) or of the language (call, which takes positional and named arguments)."""

    name: str
    params: tuple[Any, ...] = ()
    body: Any = None
    env: Any = None
    call: Callable[[list[Any], dict[str, Any]], Any] | None = None
    most: int = 99
    """How many positional arguments a function of the language takes."""


def number(value: Any) -> bool:
    return isinstance(value, int | float)


def kind(value: Any) -> str:
    if value is None:
        return "null"
    names: dict[type, str] = {bool: "bool", int: "int", float: "float", str: "string", list: "list", dict: "dict"}
    names |= {Function: "function", Mistake: "error", Pattern: "regex", Bag: "set"}
    return names[type(value)]


def truth(value: Any) -> bool:
    """6.2, first row."""
    if isinstance(value, Mistake):
        return False
    if isinstance(value, Bag):
        return bool(value.elements)
    if isinstance(value, Function | Pattern):
        return True
    return bool(value)


def same(a: Any, b: Any) -> bool:
    """`==`: deep and by value, with no conversion."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if number(a) and number(b):
        return bool(a == b)
    if type(a) is not type(b):
        return False
    if isinstance(a, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, Bag):
        return len(a.elements) == len(b.elements) and all(any(same(x, y) for y in b.elements) for x in a.elements)
    if isinstance(a, Function | Mistake):
        return a is b
    return bool(a == b)


def order(a: Any, b: Any) -> int | None:
    """-1, 0 or 1, and None where null stands on either side."""
    if a is None or b is None:
        return None
    if (number(a) and number(b)) or (isinstance(a, str) and isinstance(b, str)):
        return (a > b) - (a < b)
    if isinstance(a, list) and isinstance(b, list):
        for x, y in zip(a, b, strict=False):
            if not same(x, y):
                return order(x, y)
        return (len(a) > len(b)) - (len(a) < len(b))
    raise fail("TypeError", f"cannot compare {kind(a)} and {kind(b)}")


def held(value: Any, container: Any) -> bool:
    """`value in container`."""
    if container is None:
        return False
    if isinstance(container, Bag):
        return any(same(value, one) for one in container.elements)
    if isinstance(container, dict):
        if isinstance(value, list | dict | Bag | Mistake | Function | Pattern):
            raise Unsaid
        return key(value) in container
    if isinstance(container, str) and isinstance(value, str):
        return value in container
    if isinstance(container, str):
        raise Unsaid
    if isinstance(container, list):
        if any(same(value, one) for one in container):
            return True
        return isinstance(value, list) and bool(value) and all(any(same(v, c) for c in container) for v in value)
    raise fail("TypeError", f"cannot look for {kind(value)} in {kind(container)}")


def key(value: Any) -> str:
    """A dict's key: a string; other scalars become their text."""
    if value is None or isinstance(value, bool | int | float | str):
        return text(value)
    raise fail("TypeError", f"a {kind(value)} is no key")


def text_of_number(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    if not math.isfinite(value):
        raise fail("ValueError", "a number beyond the range")
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    return repr(value)


def text(value: Any) -> str:
    """6.3."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mistake):
        return value.message
    if isinstance(value, Function):
        return f"<fn {value.name}>"
    if isinstance(value, Pattern):
        return f"/{value.source}/{value.flags}"
    return compact(value)


def compact(value: Any) -> str:
    """Compact JSON with Unicode kept."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if number(value):
        return text_of_number(value)
    if isinstance(value, list):
        return "[" + ",".join(compact(one) for one in value) + "]"
    if isinstance(value, Bag):
        return compact(value.elements)
    if isinstance(value, dict):
        return "{" + ",".join(f"{compact(k)}:{compact(v)}" for k, v in value.items()) + "}"
    return json.dumps(text(value), ensure_ascii=False)


def read_field(value: Any, name: str) -> Any:
    """6.4: `value.name`."""
    if value is None:
        raise fail("TypeError", f"cannot read .{name} of null")
    if isinstance(value, dict):
        if name in value:
            return value[name]
        return len(value) if name in ("length", "count") else None
    if isinstance(value, list):
        ends = {"length": len(value), "count": len(value)}
        ends |= {"first": value[0] if value else None, "last": value[-1] if value else None}
        return ends.get(name)
    if isinstance(value, str) and name == "length":
        return len(value)
    if isinstance(value, Mistake):
        return getattr(value, name) if name in ("type", "message", "data", "line", "cause") else None
    return None


def place(index: Any) -> int:
    """An index: an int, or a float without a fraction."""
    if isinstance(index, bool) or not number(index) or index != int(index):
        raise fail("TypeError", f"a {kind(index)} is no index")
    return int(index)


def read_element(value: Any, index: Any) -> Any:
    if isinstance(value, dict):
        return value.get(key(index))
    if isinstance(index, str) and value is not None:
        return read_field(value, index)
    if isinstance(value, list | str):
        at = place(index)
        return value[at] if -len(value) <= at < len(value) else None
    raise fail("TypeError", f"cannot read an element of {kind(value)}")


def cut(value: Any, lower: Any, upper: Any) -> Any:
    if not isinstance(value, list | str):
        raise fail("TypeError", f"cannot slice {kind(value)}")
    return value[None if lower is None else place(lower) : None if upper is None else place(upper)]


def write_element(owner: Any, index: Any, value: Any) -> None:
    if isinstance(owner, dict):
        owner[key(index)] = value
    elif isinstance(owner, list):
        at = place(index)
        if not -len(owner) <= at < len(owner):
            raise fail("IndexError", f"there is no element {at}")
        owner[at] = value
    else:
        raise fail("TypeError", f"cannot assign to an element of {kind(owner)}")


def walked(value: Any) -> list[Any]:
    """What a loop over the value goes through, one name."""
    if value is None:
        return []
    if isinstance(value, dict):
        return list(value)
    if isinstance(value, list | str):
        return list(value)
    if isinstance(value, Bag):
        return list(value.elements)
    if number(value) and not isinstance(value, bool) and value == int(value):
        if value > 100_000:
            raise Exhausted
        return list(range(int(value)))
    raise fail("TypeError", f"cannot loop over {kind(value)}")


def pairs(value: Any) -> list[Any]:
    """What a loop with two names goes through."""
    if isinstance(value, dict):
        return [[k, v] for k, v in value.items()]
    found = walked(value)
    for one in found:
        if not isinstance(one, list):
            raise fail("TypeError", f"a {kind(one)} is no pair")
    return found
