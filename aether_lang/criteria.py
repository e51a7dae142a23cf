"""The criteria of `search_memory` (language reference, section 21) as tests on entries. All pure.

A plain key compares for equality; an ending of the key says more: `_gte _lte _gt _lt` and their names for times
`_after _before`, `_in` (the given list holds the value), `_include` (the entry's list holds all given), `_ne`,
`_contains`. Where an entry really has a field of the whole name, the key means that field.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import msgspec

from .refusals import Refused

MOST = 10_000
"""The hard cap of a search's result."""

SUFFIXES = ("_include", "_contains", "_before", "_after", "_gte", "_lte", "_gt", "_lt", "_in", "_ne")
"""Endings by which a criterion says more than equality."""

Entry = dict[str, Any]

Operation = Literal["eq", "ne", "gt", "gte", "lt", "lte", "in", "include", "contains"]

_OPERATIONS: dict[str, Operation] = {
    "_gte": "gte", "_lte": "lte", "_gt": "gt", "_lt": "lt", "_after": "gt", "_before": "lt",
    "_in": "in", "_include": "include", "_ne": "ne", "_contains": "contains",
}  # fmt: skip


class Test(msgspec.Struct, frozen=True):
    """One criterion: what the entry's `field` must be."""

    field: str
    operation: Operation
    value: Any


class Criteria(msgspec.Struct, frozen=True):
    """All criteria of one search, and the shape of its result."""

    tests: tuple[Test, ...]
    limit: int = MOST
    sort_by: str = "created_at"
    descending: bool = False


def suffixed(criteria: Mapping[str, Any]) -> list[str]:
    """Return the keys that could be either a criterion with a suffix or the whole name of a field."""
    return [key for key in criteria if key.endswith(SUFFIXES)]


def understand(criteria: Mapping[str, Any], real_fields: Iterable[str] = ()) -> Criteria:
    """Return what a dict of criteria asks for; `real_fields` are those of its keys that some entry has as a field."""
    tests, real = [], set(real_fields)
    for key, value in criteria.items():
        if key in ("limit", "sort_by", "sort_order"):
            continue
        suffix = next((s for s in SUFFIXES if key.endswith(s) and key != s), None)
        if suffix is None or key in real:
            tests.append(Test(key, "eq", value))
        else:
            tests.append(_suffix_test(key, key.removesuffix(suffix), _OPERATIONS[suffix], value))
    return Criteria(tuple(tests), *_shape(criteria))


def _suffix_test(key: str, field: str, operation: Operation, value: Any) -> Test:
    if operation == "in" and not isinstance(value, list | tuple):
        raise Refused(f"{key}: expected a list of values, got {value!r:.60}", {"field": key})
    if operation == "include" and not isinstance(value, list | tuple):
        value = [value]
    return Test(field, operation, value)


def _shape(criteria: Mapping[str, Any]) -> tuple[int, str, bool]:
    limit, sort_by, order = criteria.get("limit"), criteria.get("sort_by"), criteria.get("sort_order")
    limit = MOST if limit is None else limit
    if isinstance(limit, bool) or not isinstance(limit, int | float) or limit < 0 or limit % 1:
        raise Refused(f"limit: expected a whole number from 0, got {limit!r:.60}", {"field": "limit"})
    sort_by = "created_at" if sort_by is None else sort_by
    if not isinstance(sort_by, str):
        raise Refused(f"sort_by: expected a field's name, got {sort_by!r:.60}", {"field": "sort_by"})
    order = "asc" if order is None else order
    if order not in ("asc", "desc"):
        raise Refused(f"sort_order: expected 'asc' or 'desc', got {order!r:.60}", {"field": "sort_order"})
    return int(min(limit, MOST)), sort_by, order == "desc"


# Judging an entry ------------------------------------------------------------------------------------------------


def fits(entry: Entry, criteria: Criteria) -> bool:
    """Tell whether an entry meets every test."""
    return all(_JUDGES[test.operation](entry.get(test.field), test.value) for test in criteria.tests)


def equal(left: Any, right: Any) -> bool:
    """Compare deeply and by value, as the language's `==` does: 1 is 1.0, but neither true nor "1"."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(equal, left, right))
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(equal(left[key], right[key]) for key in left)
    return bool(left == right)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def judge(value: Any, bound: Any) -> bool:
        for kinds in ((int, float), (str,)):
            if isinstance(value, kinds) and isinstance(bound, kinds):
                return compare(value, bound)
        return False  # missing, null, or of two kinds that have no order between them

    return judge


def _includes(value: Any, wanted: list[Any]) -> bool:
    return isinstance(value, list) and all(any(equal(item, one) for item in value) for one in wanted)


def _contains(value: Any, part: Any) -> bool:
    if isinstance(value, str):
        return isinstance(part, str) and part in value
    if isinstance(value, Mapping):
        return isinstance(part, str) and part in value
    return isinstance(value, list) and any(equal(item, part) for item in value)


_JUDGES: dict[Operation, Callable[[Any, Any], bool]] = {
    "eq": equal,
    "ne": lambda value, other: not equal(value, other),
    "gt": _ordered(operator.gt),
    "gte": _ordered(operator.ge),
    "lt": _ordered(operator.lt),
    "lte": _ordered(operator.le),
    "in": lambda value, listed: any(equal(value, one) for one in listed),
    "include": _includes,
    "contains": _contains,
}


def sort_key(value: Any) -> tuple[int, Any]:
    """Return what a field's value is sorted by: numbers before texts before all else. Null has no place; it is last."""
    if isinstance(value, int | float):
        return 0, value
    return (1, value) if isinstance(value, str) else (2, str(value))


def arranged(found: list[Entry], wanted: Criteria) -> list[Entry]:
    """Return the first `limit` of entries in the wanted order: nulls last, equal ones as they came."""
    known = [entry for entry in found if entry.get(wanted.sort_by) is not None]
    known.sort(key=lambda entry: sort_key(entry[wanted.sort_by]), reverse=wanted.descending)
    unknown = [entry for entry in found if entry.get(wanted.sort_by) is None]
    return (known + unknown)[: wanted.limit]
