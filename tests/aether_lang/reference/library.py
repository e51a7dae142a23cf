"""The pure functions of the standard library (section 20), as far as they depend on nothing outside."""

import inspect
import json
import math
from collections.abc import Callable
from typing import Any

from .methods import count_of, extreme, mean, method, ranked, rounded, total
from .values import Bag, Function, Mistake, Raised, Unsaid, compact, fail, held, key, kind, number, text, truth, walked
from .walk import Walk


def spread(args: tuple[Any, ...]) -> list[Any]:
    """A list, or the arguments themselves."""
    return listed(args[0]) if len(args) == 1 and isinstance(args[0], list | Bag) else list(args)


def listed(value: Any) -> list[Any]:
    """What a function goes through; that of a number is not laid down."""
    if number(value):
        raise Unsaid
    return walked(value)


def numeric(value: Any) -> Any:
    if value is None:
        raise Unsaid
    if not number(value):
        raise fail("TypeError", f"a {kind(value)} is no number")
    return value


def to_int(value: Any) -> int:
    if isinstance(value, str):
        try:
            return int(value.strip())
        except ValueError:
            raise fail("ValueError", f"'{value}' is no number") from None
    return math.trunc(numeric(value))


def to_float(value: Any) -> float:
    if isinstance(value, str):
        try:
            return float(value.strip())
        except ValueError:
            raise fail("ValueError", f"'{value}' is no number") from None
    return float(numeric(value))


def typeof(value: Any) -> str:
    names = {"null": "null", "bool": "boolean", "int": "number", "float": "number", "string": "string"}
    names |= {"list": "array", "function": "function"}
    return names.get(kind(value), "object")


def parse_json(value: str) -> Any:
    try:
        return json.loads(value, parse_constant=lambda _: [][0])
    except (ValueError, IndexError):
        raise fail("ValueError", "this is no JSON") from None


def root(value: Any) -> Any:
    found = math.sqrt(numeric(value))
    return int(found) if found == int(found) else found


def make_error(message: Any, type: str = "UserError", data: Any = None) -> Mistake:
    return Mistake(type, text(message), data)


def insist(condition: Any, message: Any = "assertion failed") -> None:
    if not truth(condition):
        raise Raised(Mistake("UserError", text(message)))


def merged(*dicts: Any) -> dict[str, Any]:
    return {k: v for d in dicts for k, v in d.items()}


PURE: dict[str, Callable[..., Any]] = {
    "len": count_of,
    "sum": lambda *args: total(spread(args)),
    "average": lambda *args: mean(spread(args)),
    "avg": lambda *args: mean(spread(args)),
    "min": lambda *args: extreme(spread(args), -1),
    "max": lambda *args: extreme(spread(args), 1),
    "Math.min": lambda *args: extreme(spread(args), -1),
    "Math.max": lambda *args: extreme(spread(args), 1),
    "round": lambda n, digits=0: rounded(numeric(n), digits),
    "floor": lambda n: math.floor(numeric(n)),
    "ceil": lambda n: math.ceil(numeric(n)),
    "Math.floor": lambda n: math.floor(numeric(n)),
    "Math.ceil": lambda n: math.ceil(numeric(n)),
    "abs": lambda n: abs(numeric(n)),
    "Math.abs": lambda n: abs(numeric(n)),
    "sqrt": root,
    "any": lambda v: v if isinstance(v, bool) else any(truth(x) for x in listed(v)),
    "all": lambda v: v if isinstance(v, bool) else all(truth(x) for x in listed(v)),
    "range": lambda a, b=None, step=1: list(range(a) if b is None else range(a, b, step)),
    "sorted": lambda xs, reverse=False: ranked([(x, x) for x in listed(xs)], truth(reverse)),
    "reversed": lambda xs: listed(xs)[::-1],
    "zip": lambda a, b: [[x, y] for x, y in zip(listed(a), listed(b), strict=False)],
    "enumerate": lambda xs: [[at, x] for at, x in enumerate(listed(xs))],
    "keys": lambda d: list(d),
    "values": lambda d: list(d.values()),
    "items": lambda d: [[k, v] for k, v in d.items()],
    "Object.keys": lambda d: list(d),
    "Object.values": lambda d: list(d.values()),
    "Object.entries": lambda d: [[k, v] for k, v in d.items()],
    "merge": merged,
    "str": text,
    "int": to_int,
    "float": to_float,
    "bool": truth,
    "list": listed,
    "dict": lambda pairs: {key(k): v for k, v in pairs},
    "typeof": typeof,
    "type": kind,
    "contains": lambda container, x: held(x, container),
    "JSON.stringify": compact,
    "to_json": compact,
    "JSON.parse": parse_json,
    "from_json": parse_json,
    "Array.isArray": lambda v: isinstance(v, list),
    "error": make_error,
    "assert": insist,
}
METHODS = ("lower", "upper", "trim", "split", "replace", "join")
"""Functions that are the methods of their first argument."""


def library(w: Walk) -> dict[str, Any]:
    """The functions by name; `w` takes what they print."""

    def back(f: Any, *values: Any) -> Any:
        return w.call(f, list(values), {}, None, callback=True)

    def method_of(name: str) -> Callable[..., Any]:
        return lambda v, *args: method(listed(v), name, list(args), {}, back)

    def as_method(name: str) -> Callable[..., Any]:
        def called(v: Any, *args: Any) -> Any:
            if v is None:
                raise Unsaid
            return method(v, name, list(args), {}, back)

        return called

    def say(*values: Any) -> None:
        w.lines.append(" ".join(text(one) for one in values))

    def count(v: Any, f: Any = None) -> int:
        return count_of(v) if f is None else len(method(listed(v), "filter", [f], {}, back))

    rows: dict[str, Callable[..., Any]] = {"print": say, "count": count}
    rows |= {name: method_of(name) for name in ("unique", "filter", "map")}
    rows |= {name: as_method(name) for name in METHODS}
    return {**_PURE, **{name: _function(name, row) for name, row in rows.items()}}


def _function(name: str, row: Callable[..., Any]) -> Function:
    return Function(name, call=_called(row), most=_most(row))


def _most(row: Callable[..., Any]) -> int:
    """Without the optional ones: a callback's index is not meant for those."""
    params = inspect.signature(row).parameters.values()
    if any(one.kind is one.VAR_POSITIONAL for one in params):
        return 99
    return sum(one.default is one.empty for one in params)


def _called(row: Callable[..., Any]) -> Callable[[list[Any], dict[str, Any]], Any]:
    def called(args: list[Any], named: dict[str, Any]) -> Any:
        try:
            return row(*args, **named)
        except (TypeError, AttributeError, ValueError, OverflowError) as error:
            raise Unsaid from error

    return called


_PURE = {name: _function(name, row) for name, row in PURE.items()}
