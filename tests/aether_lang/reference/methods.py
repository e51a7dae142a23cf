"""The methods of built-in types (section 9)."""

import functools
import math
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from .values import (
    Bag,
    Exhausted,
    Function,
    Mistake,
    Pattern,
    Unsaid,
    compact,
    fail,
    key,
    kind,
    number,
    order,
    read_field,
    same,
    text,
    truth,
    walked,
)

Back = Callable[..., Any]
Row = Callable[..., Any]

LIST: dict[str, Row] = {}
STRING: dict[str, Row] = {}
DICT: dict[str, Row] = {}
SET: dict[str, Row] = {}
NUMBER: dict[str, Row] = {}
REGEX: dict[str, Row] = {}
FUNCTION: dict[str, Row] = {}
TABLES: dict[str, dict[str, Row]] = {
    "list": LIST, "string": STRING, "dict": DICT, "set": SET, "int": NUMBER, "float": NUMBER, "regex": REGEX,
    "function": FUNCTION,
}  # fmt: skip


def method(receiver: Any, name: str, args: list[Any], named: dict[str, Any], back: Back) -> Any:
    """Calls a method of section 9."""
    if receiver is None:
        raise fail("TypeError", f"null has no method {name}")
    row = TABLES.get(kind(receiver), {}).get(name)
    if row is None and isinstance(receiver, bool) and name in NUMBER:
        raise Unsaid
    if row is None:
        raise fail("UnknownMethod", f"a {kind(receiver)} has no method {name}")
    try:
        return row(receiver, back, *args, **named)
    except (TypeError, AttributeError, ValueError, OverflowError) as error:
        raise Unsaid from error


def of(table: dict[str, Row], *names: str) -> Callable[[Row], Row]:
    def register(function: Row) -> Row:
        table.update(dict.fromkeys(names, function))
        return function

    return register


def chosen(back: Back, f: Any, element: Any, at: int) -> Any:
    """The value of an element by a function or by the name of a field."""
    if f is None:
        return element
    return read_field(element, f) if isinstance(f, str) else back(f, element, at)


def by(back: Back, xs: list[Any], f: Any) -> list[Any]:
    return [chosen(back, f, x, at) for at, x in enumerate(list(xs))]


# ---------------------------------------------------------------- lists


@of(LIST, "append", "push")
def _append(xs: list[Any], back: Back, x: Any) -> Any:
    if len(xs) > 20_000:
        raise Exhausted
    xs.append(x)
    return xs


@of(LIST, "extend")
def _extend(xs: list[Any], back: Back, more: Any) -> Any:
    xs += walked(more)
    return xs


@of(LIST, "filter")
def _filter(xs: list[Any], back: Back, f: Any) -> Any:
    return [x for at, x in enumerate(list(xs)) if truth(back(f, x, at))]


@of(LIST, "map")
def _map(xs: list[Any], back: Back, f: Any) -> Any:
    return by(back, xs, f)


def ranked(values: list[tuple[Any, Any]], backwards: bool) -> list[Any]:
    """The second of each pair in the order of the first; stable, nulls last."""

    def compare(a: tuple[Any, Any], b: tuple[Any, Any]) -> int:
        found = order(a[0], b[0]) or 0
        return -found if backwards else found

    there = sorted((v for v in values if v[0] is not None), key=functools.cmp_to_key(compare))
    return [x for _, x in [*there, *(v for v in values if v[0] is None)]]


@of(LIST, "sort_by")
def _sort_by(xs: list[Any], back: Back, f: Any, order: str = "asc", reverse: Any = False) -> Any:
    if order not in ("asc", "desc"):
        raise fail("ValueError", "order is asc or desc")
    keys = by(back, xs, f)
    return ranked(list(zip(keys, xs, strict=True)), (order == "desc") is not truth(reverse))


@of(LIST, "sort")
def _sort(xs: list[Any], back: Back, cmp: Any = None, key: Any = None, reverse: Any = False) -> Any:
    if isinstance(cmp, Function) and len(cmp.params) >= 2:
        xs.sort(key=functools.cmp_to_key(lambda a, b: back(cmp, a, b)), reverse=truth(reverse))
    else:
        keys = by(back, xs, cmp if key is None else key)
        xs[:] = ranked(list(zip(keys, xs, strict=True)), truth(reverse))
    return xs


@of(LIST, "reverse")
def _reverse(xs: list[Any], back: Back) -> Any:
    return xs[::-1]


@of(LIST, "slice")
@of(STRING, "slice")
def _slice(xs: Any, back: Back, a: Any = None, b: Any = None) -> Any:
    return xs[a:b]


@of(LIST, "take")
def _take(xs: list[Any], back: Back, n: int) -> Any:
    return xs[: max(n, 0)]


@of(LIST, "skip")
def _skip(xs: list[Any], back: Back, n: int) -> Any:
    return xs[max(n, 0) :]


def total(values: list[Any]) -> Any:
    for one in values:
        if one is not None and not number(one):
            raise fail("TypeError", f"a {kind(one)} is no number")
    return sum(0 if one is None else one for one in values)


@of(LIST, "sum")
def _sum(xs: list[Any], back: Back, f: Any = None) -> Any:
    return total(by(back, xs, f))


@of(LIST, "average")
def _average(xs: list[Any], back: Back, f: Any = None) -> Any:
    values = by(back, xs, f)
    return mean(values)


def mean(values: list[Any]) -> Any:
    if not values:
        return 0
    if None in values:
        raise Unsaid
    whole = total(values)
    return whole // len(values) if isinstance(whole, int) and whole % len(values) == 0 else whole / len(values)


def extreme(values: list[Any], sign: int) -> Any:
    best = None
    for one in values:
        if best is None or (order(one, best) or 0) * sign > 0:
            best = one
    return best


@of(LIST, "min")
def _min(xs: list[Any], back: Back, f: Any = None) -> Any:
    return extreme(by(back, xs, f), -1)


@of(LIST, "max")
def _max(xs: list[Any], back: Back, f: Any = None) -> Any:
    return extreme(by(back, xs, f), 1)


@of(LIST, "join")
def _join(xs: list[Any], back: Back, sep: str = "") -> Any:
    return sep.join(text(x) for x in xs)


@of(LIST, "includes", "contains")
def _includes(xs: list[Any], back: Back, x: Any) -> Any:
    return any(same(x, one) for one in xs)


@of(LIST, "index_of")
def _index_of(xs: list[Any], back: Back, x: Any) -> Any:
    return next((at for at, one in enumerate(xs) if same(x, one)), -1)


@of(LIST, "find")
def _find(xs: list[Any], back: Back, f: Any) -> Any:
    return next((x for at, x in enumerate(list(xs)) if truth(back(f, x, at))), None)


@of(LIST, "any", "some")
def _any(xs: list[Any], back: Back, f: Any = None) -> Any:
    return any(truth(chosen(back, f, x, at)) for at, x in enumerate(list(xs)))


@of(LIST, "all", "every")
def _all(xs: list[Any], back: Back, f: Any = None) -> Any:
    return all(truth(chosen(back, f, x, at)) for at, x in enumerate(list(xs)))


@of(LIST, "reduce")
def _reduce(xs: list[Any], back: Back, f: Any, *init: Any) -> Any:
    rest = list(xs)
    if not init and not rest:
        raise fail("ValueError", "nothing to reduce")
    value = init[0] if init else rest.pop(0)
    for x in rest:
        value = back(f, value, x)
    return value


@of(LIST, "each", "forEach")
def _each(xs: list[Any], back: Back, f: Any) -> Any:
    by(back, xs, f)


@of(LIST, "intersection")
def _intersection(xs: list[Any], back: Back, ys: Any) -> Any:
    ys = list_of(ys)
    return distinct([x for x in xs if any(same(x, y) for y in ys)])


@of(LIST, "union")
def _union(xs: list[Any], back: Back, ys: list[Any]) -> Any:
    return distinct([*xs, *list_of(ys)])


@of(LIST, "difference")
def _difference(xs: list[Any], back: Back, ys: Any) -> Any:
    ys = list_of(ys)
    return [x for x in xs if not any(same(x, y) for y in ys)]


def list_of(value: Any) -> list[Any]:
    """What a list is united with and the like; that of null is not laid down."""
    if not isinstance(value, list):
        raise Unsaid
    return value


def distinct(xs: list[Any]) -> list[Any]:
    bag = Bag()
    for x in xs:
        bag.add(x)
    return bag.elements


@of(LIST, "unique")
def _unique(xs: list[Any], back: Back) -> Any:
    return distinct(xs)


@of(LIST, "group_by")
def _group_by(xs: list[Any], back: Back, f: Any) -> Any:
    made: dict[str, list[Any]] = {}
    for at, x in enumerate(list(xs)):
        made.setdefault(key(chosen(back, f, x, at)), []).append(x)
    return made


@of(LIST, "flatten")
def _flatten(xs: list[Any], back: Back) -> Any:
    return [one for x in xs for one in (x if isinstance(x, list) else [x])]


@of(LIST, "concat")
def _concat(xs: list[Any], back: Back, *more: Any) -> Any:
    return [*xs, *(one for x in more for one in (x if isinstance(x, list) else [x]))]


@of(LIST, "pop")
def _pop(xs: list[Any], back: Back) -> Any:
    return xs.pop() if xs else None


@of(LIST, "remove")
def _remove(xs: list[Any], back: Back, x: Any) -> Any:
    at = _index_of(xs, back, x)
    if at >= 0:
        del xs[at]
    return xs


@of(LIST, "insert")
def _insert(xs: list[Any], back: Back, at: int, x: Any) -> Any:
    xs.insert(at, x)
    return xs


@of(LIST, "clear")
def _clear(xs: list[Any], back: Back) -> Any:
    xs.clear()
    return xs


# ---------------------------------------------------------------- strings

STRING["lower"] = STRING["toLowerCase"] = lambda s, back: s.lower()
STRING["upper"] = STRING["toUpperCase"] = lambda s, back: s.upper()
STRING["trim"] = STRING["strip"] = lambda s, back: s.strip()
STRING["starts_with"] = STRING["startsWith"] = lambda s, back, start: s.startswith(start)
STRING["ends_with"] = STRING["endsWith"] = lambda s, back, end: s.endswith(end)
STRING["includes"] = STRING["contains"] = lambda s, back, part: part in s
STRING["index_of"] = lambda s, back, part: s.find(part)
STRING["charAt"] = lambda s, back, at: s[at] if 0 <= at < len(s) else ""
STRING["charCodeAt"] = lambda s, back, at: ord(s[at]) if 0 <= at < len(s) else None


@of(STRING, "repeat")
def _repeat(s: str, back: Back, n: int) -> Any:
    if len(s) * n > 100_000:
        raise Exhausted
    return s * n


@of(STRING, "pad_start")
def _pad_start(s: str, back: Back, width: int, fill: str = " ") -> Any:
    missing = max(width - len(s), 0)
    return (fill * missing)[:missing] + s


@of(STRING, "split")
def _split(s: str, back: Back, sep: Any = None) -> Any:
    if isinstance(sep, Pattern):
        return sep.compiled().split(s)
    return list(s) if sep == "" else s.split(sep)


@of(STRING, "substring")
def _substring(s: str, back: Back, a: int, b: int | None = None) -> Any:
    low, high = sorted((max(a, 0), max(len(s) if b is None else b, 0)))
    return s[low:high]


@of(STRING, "replace")
def _replace(s: str, back: Back, a: Any, b: Any) -> Any:
    if isinstance(a, str):
        return s.replace(a, b if isinstance(b, str) else text(back(b, a)), 1)
    count = 0 if "g" in a.flags else 1
    if isinstance(b, Function):
        return a.compiled().sub(lambda m: text(back(b, m.group(), *m.groups())), s, count=count)
    assert "$" not in b, "references are not part of the generated programs"
    return a.compiled().sub(lambda _: b, s, count=count)


# ---------------------------------------------------------------- dicts, sets, numbers, regexes, functions

DICT["keys"] = lambda d, back: list(d)
DICT["values"] = lambda d, back: list(d.values())
DICT["items"] = DICT["entries"] = lambda d, back: [[k, v] for k, v in d.items()]
DICT["get"] = lambda d, back, k, default=None: d.get(key(k), default)
DICT["has"] = DICT["hasOwnProperty"] = DICT["contains"] = lambda d, back, k: key(k) in d
DICT["merge"] = lambda d, back, other: {**d, **other}
DICT["remove"] = lambda d, back, k: d.pop(key(k), None)
DICT["pick"] = lambda d, back, names: {k: d[k] for k in names if k in d}
DICT["omit"] = lambda d, back, names: {k: v for k, v in d.items() if k not in names}
DICT["map_values"] = lambda d, back, f: {k: back(f, v, k) for k, v in list(d.items())}
DICT["filter"] = lambda d, back, f: {k: v for k, v in list(d.items()) if truth(back(f, k, v))}
SET["has"] = lambda s, back, x: any(same(x, one) for one in s.elements)
SET["size"] = lambda s, back: len(s.elements)
NUMBER["abs"] = lambda n, back: abs(n)
NUMBER["clamp"] = lambda n, back, low, high: min(max(n, low), high)
NUMBER["round"] = lambda n, back, digits=0: rounded(n, digits)
REGEX["test"] = lambda r, back, s: r.compiled().search(s) is not None
FUNCTION["apply"] = lambda f, back, this, args=(): back(f, *args)
FUNCTION["call"] = lambda f, back, this, *args: back(f, *args)


@of(DICT, "update")
def _update(d: dict[str, Any], back: Back, other: dict[str, Any]) -> Any:
    d.update(other)
    return d


@of(DICT, "set")
def _set(d: dict[str, Any], back: Back, k: Any, v: Any) -> Any:
    d[key(k)] = v
    return d


@of(SET, "add")
def _add(s: Bag, back: Back, x: Any) -> Any:
    s.add(x)
    return s


@of(SET, "delete")
def _delete(s: Bag, back: Back, x: Any) -> Any:
    before = len(s.elements)
    s.elements = [one for one in s.elements if not same(one, x)]
    return len(s.elements) < before


def rounded(n: Any, digits: int = 0) -> Any:
    """Half away from zero, of the number as it is written."""
    found = Decimal(repr(n)).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
    return float(found) if digits else int(found)


@of(NUMBER, "toFixed")
def _to_fixed(n: Any, back: Back, digits: int = 0) -> Any:
    return str(Decimal(repr(n)).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))


@of(NUMBER, "toString")
def _to_string(n: Any, back: Back, base: int = 10) -> Any:
    if base == 10:
        return text(n)
    digits, left = "", abs(n)
    while left:
        digits, left = "0123456789abcdefghijklmnopqrstuvwxyz"[left % base] + digits, left // base
    return ("-" if n < 0 else "") + (digits or "0")


@of(REGEX, "match")
def _match(r: Pattern, back: Back, s: str) -> Any:
    found = r.compiled().search(s)
    return None if found is None else [found.group(), *found.groups()]


def count_of(value: Any) -> int:
    """The number of elements; null has none."""
    if value is None:
        return 0
    if isinstance(value, Bag):
        return len(value.elements)
    if isinstance(value, str | list | dict):
        return len(value)
    raise fail("TypeError", f"a {kind(value)} has no size")


def whole(value: Any, how: Callable[[Any], int]) -> int:
    if value is not None and not number(value):
        raise fail("TypeError", f"a {kind(value)} is no number")
    return how(0 if value is None else value)


FLOOR = math.floor
CEIL = math.ceil
__all__ = ["Mistake", "compact", "count_of", "method", "rounded", "whole"]
