"""List and dict functions, kinds and conversions (language reference, section 20)."""

from typing import Any

from .. import methods
from ..methods import Room
from ..values import (
    ErrorValue,
    ScriptError,
    ScriptSet,
    element,
    elements,
    field,
    identity,
    is_function,
    key_text,
    kind,
    pairs,
    text,
)
from ..values import equal as same
from ..values import number as as_number


def length(_rt: Room, v: Any = None) -> int:
    """The size of a value; null gives 0."""
    if v is None:
        return 0
    if type(v) in (list, dict, str, ScriptSet):
        return len(v)
    raise ScriptError("TypeError", f"{kind(v)} has no length")


def _over(rt: Room, v: Any) -> None:
    """Counts the elements of a value that are gone over."""
    if type(v) in (list, dict, str, ScriptSet):
        rt.worked(len(v))


def count(rt: Room, v: Any = None, f: Any = None) -> int:
    """The size of a value, or how many of its elements f holds for."""
    if f is None:
        return length(rt, v)
    holds = rt.callback(f, 2)
    _over(rt, v)
    return sum(1 for i, x in enumerate(elements(v)) if holds(x, i))


def any_of(rt: Room, v: Any = None, *more: Any) -> bool:
    """Whether some element is true; a plain bool is given as it is."""
    _over(rt, v)
    return bool(v) if type(v) is bool and not more else any([*elements(v), *more] if type(v) is list else [v, *more])


def all_of(rt: Room, v: Any = None, *more: Any) -> bool:
    """Whether all elements are true; a plain bool is given as it is."""
    _over(rt, v)
    return bool(v) if type(v) is bool and not more else all([*elements(v), *more] if type(v) is list else [v, *more])


def bounds(a: Any, b: Any = None, step: Any = 1) -> range:
    """The ints of `range(a, b, step)`, not yet a list."""
    start, end = (0, _whole(a)) if b is None else (_whole(a), _whole(b))
    stride = _whole(1 if step is None else step)
    if stride == 0:
        raise ScriptError("ValueError", "the step of a range cannot be 0")
    return range(start, end, stride)


def _whole(v: Any) -> int:
    n = as_number(0 if v is None else v, "range")
    if type(n) is float and not n.is_integer():
        raise ScriptError("TypeError", f"range needs whole numbers, not {text(n)}")
    return int(n)


def ints(rt: Room, a: Any, b: Any = None, step: Any = 1) -> list[Any]:
    """The ints from a up to b, which is left out."""
    numbers = bounds(a, b, step)
    rt.check_items(_size(numbers))
    return rt.listed(list(numbers))


def _size(numbers: range) -> int:
    try:
        return len(numbers)
    except OverflowError:
        return 1 << 62


def span(rt: Room, a: Any, b: Any) -> list[Any]:
    """`a..b`: the ints from a to b, both included."""
    return ints(rt, a, _whole(b) + 1)


def in_order(rt: Room, v: Any = None, key: Any = None, reverse: Any = False) -> list[Any]:
    """A sorted copy, nulls last."""
    return methods.sort(rt, elements(v), None, key, reverse)


def backwards(rt: Room, v: Any = None) -> list[Any]:
    """A copy, last element first."""
    return rt.listed(elements(v)[::-1])


def unique(rt: Room, v: Any = None) -> list[Any]:
    """Each element once."""
    return methods.unique(rt, elements(v))


def zipped(rt: Room, *lists: Any) -> list[Any]:
    """Lists of the first elements, the second elements and so on, as long as the shortest."""
    for one in lists:
        _over(rt, one)
    return rt.listed([list(row) for row in zip(*map(elements, lists), strict=False)])


def numbered(rt: Room, v: Any = None, start: Any = 0) -> list[Any]:
    """[index, element] for each element."""
    return rt.listed([[i, x] for i, x in enumerate(elements(v), _whole(start))])


def keys(rt: Room, d: Any = None) -> list[Any]:
    """The keys of a dict, the indexes of a list."""
    return rt.listed(list(range(len(d))) if type(d) is list else list(_dict(d)))


def values(rt: Room, d: Any = None) -> list[Any]:
    """The values of a dict, the elements of a list."""
    return elements(d) if type(d) is list else rt.listed(list(_dict(d).values()))


def items(rt: Room, d: Any = None) -> list[Any]:
    """The entries of a dict as [key, value]."""
    return methods.items(rt, _dict(d))


def _dict(d: Any) -> dict[str, Any]:
    if d is None:
        return {}
    if type(d) is not dict:
        raise ScriptError("TypeError", f"expected a dict, not {kind(d)}")
    return d


def merge(rt: Room, *dicts: Any) -> dict[str, Any]:
    """A new dict, the right side wins."""
    return methods.merge(rt, {}, *dicts)


def assign(rt: Room, target: Any, *dicts: Any) -> dict[str, Any]:
    """Puts the entries of the others into the first dict and gives it."""
    for other in dicts:
        methods.update(rt, _dict(target), other)
    return _dict(target)


def filtered(rt: Room, xs: Any = None, f: Any = None, **fields: Any) -> Any:
    """The elements for which f holds, or whose fields have these values."""
    if type(xs) is dict and f is not None:
        return methods.dict_filter(rt, xs, f)
    rows = elements(xs)
    rt.worked(4 * len(rows) * (1 + len(fields)))
    if f is not None:
        rows = methods.list_filter(rt, rows, f)
    return rt.listed(
        [row for row in rows if all(row is not None and same(field(row, k), v, rt.worked) for k, v in fields.items())]
    )


def mapped(rt: Room, xs: Any = None, f: Any = None) -> list[Any]:
    """f of each element; f may be the name of a field."""
    pick = methods.selector(rt, f)
    _over(rt, xs)
    return rt.listed([pick(x, i) for i, x in enumerate(elements(xs))])


def contains(rt: Room, x: Any, y: Any) -> bool:
    """Whether x holds y, as the methods."""
    return methods._includes(rt, x, y)


def to_list(rt: Room, v: Any = None) -> list[Any]:
    """The elements of a value as a new list."""
    return rt.listed(elements(v))


def to_dict(rt: Room, v: Any = None, **fields: Any) -> dict[str, Any]:
    """A new dict from a dict or a list of pairs, and from keywords."""
    _over(rt, v)
    return {**{key_text(k): x for k, x in pairs(v)}, **fields}


def array_from(rt: Room, v: Any = None, f: Any = None) -> list[Any]:
    """The elements as a list; of `{length: n}` n nulls; f changes each."""
    if type(v) is dict and type(v.get("length")) is int:
        rt.check_items(v["length"])
        source: list[Any] = [element(v, i) for i in range(v["length"])]
    else:
        source = elements(v)
    return rt.listed(source) if f is None else methods.list_map(rt, source, f)


def is_list(_rt: Room, v: Any = None) -> bool:
    """Whether the value is a list."""
    return type(v) is list


_BORROWED = {"bool": "boolean", "int": "number", "float": "number", "string": "string", "list": "array", "null": "null"}


def type_of(_rt: Room, v: Any = None) -> str:
    """One of null boolean number string array object function."""
    return "function" if is_function(v) else _BORROWED.get(kind(v), "object")


def kind_of(_rt: Room, v: Any = None) -> str:
    """The kind of the value in the words of section 6.1; of an error its type."""
    return str(v.type) if type(v) is ErrorValue else kind(v)


def new_set(rt: Room, v: Any = None) -> ScriptSet:
    """`new Set(xs)`."""
    _over(rt, v)
    made = ScriptSet(elements(v), rt.worked)
    rt.check_items(len(made))
    return made


__all__ = ["identity", "span"]
