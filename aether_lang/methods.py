"""The methods of built-in types: one table, keyed by exact type and name (language reference, section 9).

Every method takes the runtime first, then the value, then what the script passed. Callbacks get (element, index).
"""

from collections.abc import Callable
from functools import cmp_to_key
from operator import itemgetter
from types import FunctionType
from typing import Any, Final, Protocol

from .regex import Regex
from .values import (
    NUMBERS,
    Builtin,
    ErrorValue,
    ScriptError,
    ScriptSet,
    checked,
    compare,
    contains,
    element,
    elements,
    equal,
    field,
    identity,
    key_text,
    kind,
    number,
    number_text,
    part,
    text,
    whole,
)


class Room(Protocol):
    """What methods and library functions ask of the runtime."""

    def sized(self, value: str) -> str:
        """The string, once its length is checked and charged."""

    def listed(self, value: list[Any]) -> list[Any]:
        """The list, once its length is checked and charged."""

    def check_text(self, length: int) -> None:
        """LimitError when a string of that length may not be made."""

    def check_items(self, count: int) -> None:
        """LimitError when a list of that many elements may not be made."""

    def spend(self, steps: int) -> None:
        """Charges steps at once."""

    at: Any

    def call(self, depth: Any, f: Any, *args: Any) -> Any:
        """f(args), checked as any call of a script."""

    def callback(self, function: Any, most: int) -> Callable[..., Any]:
        """The script's function as a callable that drops arguments beyond its own and beyond `most`."""

    def worked(self, size: int) -> None:
        """Counts elements gone over without a step drawn, and looks at the clock when they are many."""

    def add(self, a: Any, b: Any) -> Any:
        """The guarded `+`."""

    def div(self, a: Any, b: Any) -> Any:
        """The guarded `/`."""


Method = Callable[..., Any]


def _some_list(value: Any, what: str) -> list[Any]:
    if type(value) is list:
        return value
    if type(value) is ScriptSet:
        return list(value)
    raise ScriptError("TypeError", f"{what} needs a list, not {kind(value)}")


def _string(value: Any, what: str) -> str:
    if type(value) is str:
        return value
    if value is None or type(value) in (list, dict):
        raise ScriptError("TypeError", f"{what} needs a string, not {kind(value)}")
    return text(value)


def selector(rt: Room, by: Any) -> Callable[[Any, int], Any]:
    """What picks a value out of an element: a function, or the name of a field."""
    if type(by) is str:
        return lambda x, _: None if x is None else field(x, by)
    return rt.callback(by, 2)


# ---------------------------------------------------------------- lists


def append(rt: Room, xs: list[Any], x: Any) -> list[Any]:
    """Adds at the end, gives the list."""
    rt.check_items(len(xs) + 1)
    xs.append(x)
    return xs


def extend(rt: Room, xs: list[Any], more: Any) -> list[Any]:
    """Adds all elements, gives the list."""
    added = elements(more)
    rt.check_items(len(xs) + len(added))
    xs.extend(added)
    return rt.listed(xs)


def list_filter(rt: Room, xs: list[Any], f: Any) -> list[Any]:
    """The elements for which f holds."""
    keep = rt.callback(f, 2)
    return rt.listed([x for i, x in enumerate(xs[:]) if keep(x, i)])


def list_map(rt: Room, xs: list[Any], f: Any) -> list[Any]:
    """f of each element."""
    change = rt.callback(f, 2)
    return rt.listed([change(x, i) for i, x in enumerate(xs[:])])


def nulls_last(rt: Room, values: list[tuple[Any, Any]], descending: bool) -> list[Any]:
    """The second parts of (key, value), ordered by key, stable, null keys last in either direction."""
    known = [item for item in values if item[0] is not None]
    kinds = {type(item[0]) for item in known}
    if kinds <= NUMBERS or kinds == {str}:
        known.sort(key=_FIRST, reverse=descending)  # Python orders these alone as the language does
    else:
        order = cmp_to_key(lambda a, b: _in_order(rt, a, b))
        known.sort(key=lambda item: order(item[0]), reverse=descending)
    return [item[1] for item in known] + [item[1] for item in values if item[0] is None]


def _in_order(rt: Room, a: Any, b: Any) -> int:
    rt.worked(_PIECES_OF_A_CALL)
    order = compare(a, b, rt.worked)
    if order is not None:
        return order
    return (a is None) - (b is None)


_PIECES_OF_A_CALL: Final = 16
"""One comparison by a helper of ours takes about as long as so many elements gone over."""
_FIRST: Final = itemgetter(0)


def sort_by(rt: Room, xs: list[Any], by: Any, order: Any = "asc", reverse: Any = False) -> list[Any]:
    """A new list, stable, by a function or the name of a field, nulls last."""
    if order not in ("asc", "desc"):
        raise ScriptError("ValueError", f'order must be "asc" or "desc", not {text(order)}')
    key = selector(rt, by)
    keyed = [(key(x, i), x) for i, x in enumerate(xs[:])]
    rt.spend(len(keyed))
    return rt.listed(nulls_last(rt, keyed, (order == "desc") != bool(reverse)))


def sort(rt: Room, xs: list[Any], cmp: Any = None, key: Any = None, reverse: Any = False) -> list[Any]:
    """Sorts in place: by a two-parameter comparator, by `key`, or by the elements themselves."""
    rt.spend(len(xs))
    rt.worked(len(xs))
    if type(cmp) is FunctionType and cmp.__code__.co_argcount > 2:
        judge = rt.callback(cmp, 2)
        ordered = sorted(xs, key=cmp_to_key(lambda a, b: _sign(judge(a, b))), reverse=bool(reverse))
    else:
        pick = selector(rt, key if cmp is None else cmp) if (key is not None or cmp is not None) else None
        ordered = nulls_last(rt, [(x if pick is None else pick(x, i), x) for i, x in enumerate(xs[:])], bool(reverse))
    xs[:] = ordered
    return xs


def _sign(n: Any) -> int:
    n = number(0 if n is None else n, "a comparator")
    return int(n > 0) - int(n < 0)


def list_reverse(rt: Room, xs: list[Any]) -> list[Any]:
    """A new list, last element first."""
    return rt.listed(xs[::-1])


def _cut(rt: Room, xs: Any, a: Any = None, b: Any = None) -> Any:
    """The part from index a up to b, which is left out; negative ones count from the end."""
    return rt.listed(part(xs, a, b)) if type(xs) is list else rt.sized(part(xs, a, b))


def take(rt: Room, xs: list[Any], n: Any) -> list[Any]:
    """The first n elements."""
    return rt.listed(xs[: max(whole(n, "take"), 0)])


def skip(rt: Room, xs: list[Any], n: Any) -> list[Any]:
    """All but the first n elements."""
    return rt.listed(xs[max(whole(n, "skip"), 0) :])


def picked(rt: Room, xs: list[Any], f: Any) -> list[Any]:
    """The elements, or what f (function or field name) picks out of each."""
    rt.worked(len(xs))
    if f is None:
        return xs
    pick = selector(rt, f)
    return [pick(x, i) for i, x in enumerate(xs[:])]


def total(rt: Room, xs: list[Any], f: Any = None) -> Any:
    """The sum; null elements count as 0."""
    result: Any = 0
    for value in picked(rt, xs, f):
        rt.worked(_PIECES_OF_A_CALL)
        result = rt.add(result, 0 if value is None else number(value, "sum"))
    return result


def average(rt: Room, xs: list[Any], f: Any = None) -> Any:
    """The mean; of nothing it is 0."""
    values = [v for v in picked(rt, xs, f) if v is not None]
    return rt.div(total(rt, values), len(values)) if values else 0


def least(rt: Room, xs: list[Any], f: Any = None) -> Any:
    """The smallest value, null when there is none; nulls do not take part."""
    return _extreme(rt, xs, f, -1)


def greatest(rt: Room, xs: list[Any], f: Any = None) -> Any:
    """The greatest value, null when there is none."""
    return _extreme(rt, xs, f, 1)


def _extreme(rt: Room, xs: list[Any], f: Any, wanted: int) -> Any:
    best = None
    for value in picked(rt, xs, f):
        rt.worked(_PIECES_OF_A_CALL)
        if value is not None and (best is None or compare(value, best, rt.worked) == wanted):
            best = value
    return best


def join(rt: Room, xs: list[Any], sep: Any = "") -> str:
    """The texts of the elements with `sep` between them."""
    parts: list[str] = []
    sep = text(sep)
    size = 0
    for x in xs:
        parts.append(x if type(x) is str else text(x))
        size += len(parts[-1]) + len(sep)
        if type(x) is list or type(x) is dict:  # the text of the others is there already
            rt.worked(len(parts[-1]))
            rt.check_text(size)
    rt.check_text(size - len(sep) if parts else 0)
    rt.worked(len(parts))
    return rt.sized(sep.join(parts))


def _includes(rt: Room, container: Any, x: Any) -> bool:
    """Whether it holds x."""
    if type(container) is list or type(container) is str:
        rt.worked(len(container))
    if type(container) is list:
        return any(equal(x, element, rt.worked) for element in container)
    return contains(container, x, rt.worked)


def list_index_of(rt: Room, xs: list[Any], x: Any) -> int:
    """Where x stands first, -1 if nowhere."""
    rt.worked(len(xs))
    return next((i for i, element in enumerate(xs) if equal(element, x, rt.worked)), -1)


def find(rt: Room, xs: list[Any], f: Any) -> Any:
    """The first element for which f holds, else null."""
    wanted = rt.callback(f, 2)
    return next((x for i, x in enumerate(xs[:]) if wanted(x, i)), None)


def list_any(rt: Room, xs: list[Any], f: Any = None) -> bool:
    """Whether f, or the element itself, is true for some element."""
    return any(picked(rt, xs, f)) if f is None else find_index(rt, xs, f) >= 0


def find_index(rt: Room, xs: list[Any], f: Any) -> int:
    """Where the first element stands for which f holds, -1 if nowhere."""
    wanted = rt.callback(f, 2)
    return next((i for i, x in enumerate(xs[:]) if wanted(x, i)), -1)


def list_all(rt: Room, xs: list[Any], f: Any = None) -> bool:
    """Whether f, or the element itself, is true for all elements."""
    if f is None:
        rt.worked(len(xs))
        return all(xs)
    holds = rt.callback(f, 2)
    return all(holds(x, i) for i, x in enumerate(xs[:]))


_NOTHING: Final = object()


def reduce(rt: Room, xs: list[Any], f: Any, init: Any = _NOTHING) -> Any:
    """f(so far, element, index) over the list; without `init` the first element begins."""
    step = rt.callback(f, 3)
    rest = list(enumerate(xs))
    if init is _NOTHING:
        if not rest:
            raise ScriptError("ValueError", "reduce of an empty list needs a start value")
        init = rest.pop(0)[1]
    for i, x in rest:
        init = step(init, x, i)
    return init


def each(rt: Room, xs: list[Any], f: Any) -> None:
    """Calls f with each element."""
    call = rt.callback(f, 2)
    for i, x in enumerate(xs[:]):
        call(x, i)


def _set(rt: Room, values: list[Any]) -> ScriptSet:
    """The values as a set, what it takes to tell them apart counted."""
    rt.worked(4 * len(values))
    return ScriptSet(values, rt.worked)


def intersection(rt: Room, xs: list[Any], other: Any) -> list[Any]:
    """The elements that both lists hold, in the order of the first."""
    wanted = _set(rt, _some_list(other, "intersection")).elements
    return rt.listed([x for key, x in _set(rt, xs).elements.items() if key in wanted])


def union(rt: Room, xs: list[Any], other: Any) -> list[Any]:
    """The elements of both lists, each once."""
    return rt.listed(list(_set(rt, [*xs, *_some_list(other, "union")])))


def difference(rt: Room, xs: list[Any], other: Any) -> list[Any]:
    """The elements of the first list that the second has not."""
    unwanted = _set(rt, _some_list(other, "difference")).elements
    rt.worked(len(xs))
    return rt.listed([x for x in xs if identity(x, rt.worked) not in unwanted])


def unique(rt: Room, xs: list[Any]) -> list[Any]:
    """Each element once, first order kept."""
    return rt.listed(list(_set(rt, xs)))


def group_by(rt: Room, xs: list[Any], by: Any) -> dict[str, Any]:
    """A dict from what `by` picks to the elements it was picked from."""
    groups: dict[str, Any] = {}
    pick = selector(rt, by)
    rt.worked(4 * len(xs))
    for i, x in enumerate(xs[:]):
        groups.setdefault(key_text(pick(x, i)), []).append(x)
    return groups


def flatten(rt: Room, xs: list[Any]) -> list[Any]:
    """The list with the lists in it replaced by their elements, one level deep."""
    flat: list[Any] = []
    rt.worked(len(xs))
    for x in xs:
        if type(x) is list:
            rt.check_items(len(flat) + len(x))
            flat.extend(x)
        else:
            flat.append(x)
    return rt.listed(flat)


def concat(rt: Room, xs: list[Any], *more: Any) -> list[Any]:
    """A new list with the elements of the others, or the values themselves, behind."""
    result = xs[:]
    for other in more:
        extra = other if type(other) is list else [other]
        rt.check_items(len(result) + len(extra))
        result.extend(extra)
    return rt.listed(result)


def list_pop(rt: Room, xs: list[Any], at: Any = -1) -> Any:
    """Takes the last element out, or the one at an index; null when there is none."""
    n = whole(at, "pop")
    if n != -1:
        rt.worked(len(xs))
    return xs.pop(n) if -len(xs) <= n < len(xs) else None


def list_remove(rt: Room, xs: list[Any], x: Any) -> list[Any]:
    """Takes the first element out that equals x, gives the list."""
    rt.worked(len(xs))
    at = next((i for i, element in enumerate(xs) if equal(element, x, rt.worked)), -1)
    if at >= 0:
        del xs[at]
    return xs


def insert(rt: Room, xs: list[Any], at: Any, x: Any) -> list[Any]:
    """Puts x before index `at`, gives the list."""
    rt.check_items(len(xs) + 1)
    rt.worked(len(xs))
    xs.insert(whole(at, "insert"), x)
    return xs


def clear(_rt: Room, value: Any) -> Any:
    """Empties the list or dict and gives it."""
    value.clear()
    return value


# ---------------------------------------------------------------- strings


def split(rt: Room, s: str, sep: Any = None) -> list[Any]:
    """The parts between `sep` (string or regex); blanks when there is none, characters when it is empty."""
    rt.worked(len(s))
    if type(sep) is Regex:
        return rt.listed(sep.split(s, _found(rt)))
    if sep is None:
        return rt.listed(list(s.split()))
    between = text(sep)
    rt.check_items(s.count(between) if between else len(s))
    return rt.listed(s.split(between) if between else list(s))


def _found(rt: Room) -> Callable[[int], None]:
    """Hears of each match of a regex, how many there are so far."""

    def found(count: int) -> None:
        rt.worked(_PIECES_OF_A_CALL)
        rt.check_items(count)

    return found


def substring(rt: Room, s: str, a: Any, b: Any = None) -> str:
    """The characters from a up to b; the two in either order, negative ones are 0."""
    start = max(whole(a, "substring"), 0)
    end = len(s) if b is None else max(whole(b, "substring"), 0)
    return rt.sized(s[min(start, end) : max(start, end)])


def char_at(_rt: Room, s: str, i: Any = 0) -> str:
    """The character at i, empty when there is none."""
    n = whole(i, "charAt")
    return s[n] if 0 <= n < len(s) else ""


def char_code_at(_rt: Room, s: str, i: Any = 0) -> int | None:
    """The code point at i, null when there is none."""
    n = whole(i, "charCodeAt")
    return ord(s[n]) if 0 <= n < len(s) else None


def replace(rt: Room, s: str, a: Any, b: Any) -> str:
    """The first match of a string, or of a regex (all with flag g), replaced by text with `$1`, or by a function."""
    if type(b) is FunctionType or type(b) is Builtin:
        call = rt.callback(b, 10)
        put: Callable[[list[str | None]], str] = lambda groups: text(call(*groups))  # noqa: E731
    else:
        template = text(b)
        put = lambda groups: _fill(template, groups)  # noqa: E731
    if type(a) is Regex:
        size = 0

        def sized(groups: list[str | None]) -> str:
            nonlocal size
            piece = put(groups)
            size += len(piece)
            rt.check_text(size)
            rt.worked(_PIECES_OF_A_CALL)
            return piece

        rt.worked(len(s))
        return rt.sized(a.replace(s, sized))
    wanted = _string(a, "replace")
    rt.worked(len(s))
    at = s.find(wanted)
    if at < 0:
        return s
    piece = put([wanted]) if type(b) is not str else b
    return rt.sized(s[:at] + piece + s[at + len(wanted) :])


def _fill(template: str, groups: list[str | None]) -> str:
    """The template with `$1`..`$9` and `$&` put in; `$$` is a dollar."""
    if "$" not in template:
        return template
    out: list[str] = []
    rest = iter(range(len(template)))
    for i in rest:
        following = template[i + 1 : i + 2]
        if template[i] != "$" or not following:
            out.append(template[i])
        elif following == "$":
            out.append("$")
            next(rest)
        elif following == "&" or (following in "123456789" and int(following) < len(groups)):
            out.append(groups[0 if following == "&" else int(following)] or "")
            next(rest)
        else:
            out.append("$")
    return "".join(out)


def string_index_of(rt: Room, s: str, x: Any) -> int:
    """Where x stands first, -1 if nowhere."""
    rt.worked(len(s))
    return s.find(text(x))


def repeat(rt: Room, s: str, n: Any) -> str:
    """The string n times over."""
    times = max(whole(n, "repeat"), 0)
    rt.check_text(len(s) * times)
    return rt.sized(s * times)


def pad_start(rt: Room, s: str, width: Any, fill: Any = " ") -> str:
    """The string with `fill` before it until it has that width."""
    missing = whole(width, "pad_start") - len(s)
    fill = text(fill)
    if missing <= 0 or not fill:
        return s
    rt.check_text(len(s) + missing)
    return rt.sized((fill * (missing // len(fill) + 1))[:missing] + s)


# ---------------------------------------------------------------- dicts


def get(_rt: Room, d: dict[str, Any], k: Any, default: Any = None) -> Any:
    """The value of key k, else the default."""
    return d.get(key_text(k), default)


def has(_rt: Room, d: dict[str, Any], k: Any) -> bool:
    """Whether the dict has the key."""
    return key_text(k) in d


def _some_dict(value: Any, what: str) -> dict[str, Any]:
    if type(value) is dict:
        return value
    if value is None:
        return {}
    raise ScriptError("TypeError", f"{what} needs a dict, not {kind(value)}")


def merge(rt: Room, d: dict[str, Any], *others: Any) -> dict[str, Any]:
    """A new dict; the right side wins."""
    result = dict(d)
    for other in others:
        result.update(_some_dict(other, "merge"))
        rt.check_items(len(result))
    rt.spend(len(result))
    return result


def update(rt: Room, d: dict[str, Any], other: Any) -> dict[str, Any]:
    """Puts all entries of the other into the dict and gives it."""
    d.update(_some_dict(other, "update"))
    rt.worked(len(_some_dict(other, "update")))
    rt.check_items(len(d))
    return d


def put(rt: Room, d: dict[str, Any], k: Any, v: Any) -> dict[str, Any]:
    """Sets one entry and gives the dict."""
    d[key_text(k)] = v
    rt.check_items(len(d))
    return d


def dict_remove(_rt: Room, d: dict[str, Any], k: Any) -> Any:
    """Takes the entry out and gives its value, null when there was none."""
    return d.pop(key_text(k), None)


def pick(rt: Room, d: dict[str, Any], keys: Any) -> dict[str, Any]:
    """A new dict with these keys only."""
    wanted = [key_text(k) for k in _some_list(keys, "pick")]
    rt.worked(4 * len(wanted))
    return {k: d[k] for k in wanted if k in d}


def omit(rt: Room, d: dict[str, Any], keys: Any) -> dict[str, Any]:
    """A new dict without these keys."""
    unwanted = {key_text(k) for k in _some_list(keys, "omit")}
    rt.worked(4 * (len(unwanted) + len(d)))
    return {k: v for k, v in d.items() if k not in unwanted}


def map_values(rt: Room, d: dict[str, Any], f: Any) -> dict[str, Any]:
    """A new dict with f(value, key) in place of each value."""
    change = rt.callback(f, 2)
    rt.worked(len(d))
    return {k: change(v, k) for k, v in list(d.items())}


def dict_filter(rt: Room, d: dict[str, Any], f: Any) -> dict[str, Any]:
    """A new dict with the entries for which f(key, value) holds."""
    keep = rt.callback(f, 2)
    rt.worked(len(d))
    return {k: v for k, v in list(d.items()) if keep(k, v)}


def items(rt: Room, d: dict[str, Any]) -> list[Any]:
    """The entries as [key, value] lists."""
    rt.worked(4 * len(d))
    return rt.listed([[k, v] for k, v in d.items()])


# ---------------------------------------------------------------- numbers, functions, sets


_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


def to_string(_rt: Room, n: Any, base: Any = 10) -> str:
    """The digits of the number in a base from 2 to 36; a fraction keeps up to 20 places."""
    radix = whole(base, "toString")
    if not 2 <= radix <= 36:
        raise ScriptError("ValueError", "the base must lie between 2 and 36")
    if radix == 10 or type(n) is bool:
        return text(n)
    size = abs(checked(n))
    digits = ""
    head, tail = int(size), size - int(size)
    while head:
        head, digit = divmod(head, radix)
        digits = _DIGITS[digit] + digits
    behind = ""
    while tail and len(behind) < 20:
        tail *= radix
        behind += _DIGITS[int(tail)]
        tail -= int(tail)
    return ("-" if n < 0 else "") + (digits or "0") + ("." + behind if behind else "")


def to_fixed(_rt: Room, n: Any, digits: Any = 0) -> str:
    """The number with that many digits behind the point, at most 100."""
    places = whole(digits, "toFixed")
    if not 0 <= places <= 100:
        raise ScriptError("ValueError", "toFixed takes 0 to 100 digits")
    return f"{checked(n):.{places}f}"


def clamp(_rt: Room, n: Any, lo: Any, hi: Any) -> Any:
    """The number, no less than lo and no more than hi."""
    return min(max(n, number(lo, "clamp")), number(hi, "clamp"))


def rounded(_rt: Room, n: Any, digits: Any = 0) -> Any:
    """Rounded to that many digits behind the point, halves away from zero; without digits an int."""
    places = whole(digits, "round")
    n = checked(number(n, "round"))
    if type(n) is int and places >= 0:
        return n
    if not -MAX_PLACES <= places <= MAX_PLACES:
        raise ScriptError("ValueError", f"round takes at most {MAX_PLACES} digits")
    scale = 10**places if places >= 0 else 1
    if places == 0:
        return int(n + (0.5 if n >= 0 else -0.5))
    if places < 0:
        return int(round(n, places))
    scaled = float(n) * scale
    if abs(scaled) >= 1e15:
        return n
    return int(scaled + (0.5 if n >= 0 else -0.5)) / scale


MAX_PLACES: Final = 300


def apply(rt: Room, f: Any, _self: Any = None, args: Any = None) -> Any:
    """Calls the function with the elements of a list; the first argument is ignored, functions have no receiver."""
    return rt.call(rt.at, f, *([] if args is None else _some_list(args, "apply")))


def call(rt: Room, f: Any, _self: Any = None, *args: Any) -> Any:
    """Calls the function with the arguments behind the first."""
    return rt.call(rt.at, f, *args)


def set_add(rt: Room, s: ScriptSet, x: Any) -> ScriptSet:
    """Adds x unless the set holds an equal value, gives the set."""
    s.elements.setdefault(identity(x, rt.worked), x)
    rt.check_items(len(s))
    return s


def set_delete(rt: Room, s: ScriptSet, x: Any) -> bool:
    """Takes x out; whether it was there."""
    return s.elements.pop(identity(x, rt.worked), s) is not s


def regex_test(rt: Room, regex: Regex, s: Any) -> bool:
    """Whether the pattern occurs in the text."""
    subject = _string(s, "test")
    rt.worked(len(subject))
    return regex.test(subject)


def regex_match(rt: Room, regex: Regex, s: Any) -> list[Any] | None:
    """The first match and its groups, or null; with flag g all matches."""
    subject = _string(s, "match")
    rt.worked(len(subject))
    found = regex.match(subject, _found(rt))
    return None if found is None else rt.listed(list(found))


_LIST: Final[dict[str, Method]] = {
    "append": append,
    "push": append,
    "extend": extend,
    "filter": list_filter,
    "map": list_map,
    "sort_by": sort_by,
    "sort": sort,
    "reverse": list_reverse,
    "slice": _cut,
    "take": take,
    "skip": skip,
    "sum": total,
    "average": average,
    "min": least,
    "max": greatest,
    "join": join,
    "includes": _includes,
    "contains": _includes,
    "index_of": list_index_of,
    "indexOf": list_index_of,
    "find": find,
    "any": list_any,
    "some": list_any,
    "all": list_all,
    "every": list_all,
    "reduce": reduce,
    "each": each,
    "forEach": each,
    "intersection": intersection,
    "union": union,
    "difference": difference,
    "unique": unique,
    "group_by": group_by,
    "flatten": flatten,
    "concat": concat,
    "pop": list_pop,
    "remove": list_remove,
    "insert": insert,
    "clear": clear,
}

_STRING: Final[dict[str, Method]] = {
    "lower": lambda rt, s: rt.sized(s.lower()),
    "toLowerCase": lambda rt, s: rt.sized(s.lower()),
    "upper": lambda rt, s: rt.sized(s.upper()),
    "toUpperCase": lambda rt, s: rt.sized(s.upper()),
    "trim": lambda rt, s: rt.sized(s.strip()),
    "strip": lambda rt, s: rt.sized(s.strip()),
    "split": split,
    "substring": substring,
    "slice": _cut,
    "charAt": char_at,
    "charCodeAt": char_code_at,
    "replace": replace,
    "starts_with": lambda _rt, s, x: s.startswith(text(x)),
    "startsWith": lambda _rt, s, x: s.startswith(text(x)),
    "ends_with": lambda _rt, s, x: s.endswith(text(x)),
    "endsWith": lambda _rt, s, x: s.endswith(text(x)),
    "includes": _includes,
    "contains": _includes,
    "index_of": string_index_of,
    "indexOf": string_index_of,
    "repeat": repeat,
    "pad_start": pad_start,
    "padStart": pad_start,
    "match": lambda rt, s, regex: regex_match(rt, _regex(regex), s),
}


def _regex(value: Any) -> Regex:
    if type(value) is not Regex:
        raise ScriptError("TypeError", f"match needs a regex, not {kind(value)}")
    return value


_DICT: Final[dict[str, Method]] = {
    "keys": lambda rt, d: rt.listed(list(d)),
    "values": lambda rt, d: rt.listed(list(d.values())),
    "items": items,
    "entries": items,
    "get": get,
    "has": has,
    "hasOwnProperty": has,
    "contains": has,
    "merge": merge,
    "update": update,
    "set": put,
    "remove": dict_remove,
    "pick": pick,
    "omit": omit,
    "map_values": map_values,
    "filter": dict_filter,
    "clear": clear,
}

_NUMBER: Final[dict[str, Method]] = {
    "toString": to_string,
    "toFixed": to_fixed,
    "clamp": clamp,
    "round": rounded,
    "abs": lambda _rt, n: abs(n),
}

_FUNCTION: Final[dict[str, Method]] = {"apply": apply, "call": call}

METHODS: Final[dict[type, dict[str, Method]]] = {
    list: _LIST,
    str: _STRING,
    dict: _DICT,
    int: _NUMBER,
    float: _NUMBER,
    bool: _NUMBER,
    FunctionType: _FUNCTION,
    Builtin: _FUNCTION,
    Regex: {"test": regex_test, "match": regex_match},
    ScriptSet: {
        "add": set_add,
        "has": lambda rt, s, x: identity(x, rt.worked) in s.elements,
        "delete": set_delete,
        "size": lambda _rt, s: len(s),
    },
    ErrorValue: {"toString": lambda _rt, e: e.message},
}
"""What `v.name(..)` runs: first the exact type of v, then the name."""

__all__ = ["METHODS", "Method", "Room", "element", "number_text", "selector"]
