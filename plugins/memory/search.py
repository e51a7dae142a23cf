"""Finding entries by criteria: SQL narrows what is read, the tests themselves decide.

No name or value of a caller ever becomes SQL: fields are bound as JSON paths, values as parameters. The narrowing may
let through too much (SQLite rounds large numbers and cannot compare lists), never too little.
"""

from __future__ import annotations

import math
from typing import Any

from aether_lang.criteria import MOST, Criteria, Test, arranged, fits, suffixed, understand

from .entries import FIXED, Entry, read
from .refusals import in_kernel_words

PAGE = 1_000
"""Rows that are read, and judged on the loop, in one go."""

_LIST_MOST = 32

TAGGED = (
    "EXISTS (SELECT 1 FROM memory__tags t "
    "WHERE t.owner = ? AND t.tag = ? AND t.created_at = r.created_at AND t.seq = r.seq)"
)

Clause = tuple[str, list[Any]]


async def search(ctx: Any, owner: str, criteria: dict[str, Any]) -> list[Entry]:
    """Return the entries of `owner` that meet every criterion, oldest first unless they say otherwise."""
    keys = suffixed(criteria)
    with in_kernel_words():
        wanted = understand(criteria, _real_fields(ctx, owner, keys) if keys else ())
    if wanted.limit == 0:
        return []
    if wanted.sort_by == "created_at":
        return await _in_order_of_age(ctx, owner, wanted)
    return await _sorted(ctx, owner, wanted)


def _real_fields(ctx: Any, owner: str, keys: list[str]) -> list[str]:
    sql = "SELECT 1 FROM memory__suffixed WHERE owner = ? AND field = ? LIMIT 1"
    return [key for key in keys if ctx.store.one(sql, (owner, key)) is not None]


async def _in_order_of_age(ctx: Any, owner: str, wanted: Criteria) -> list[Entry]:
    found: list[Entry] = []
    pages = _Pages(owner, wanted, first=min(max(2 * wanted.limit, 50), PAGE))
    while (rows := await pages.next(ctx)) is not None:
        found.extend(entry for entry in map(read, rows) if fits(entry, wanted))
        if len(found) >= wanted.limit:
            break
    return found[: wanted.limit]


async def _sorted(ctx: Any, owner: str, wanted: Criteria) -> list[Entry]:
    found: list[Entry] = []
    pages = _Pages(owner, Criteria(wanted.tests), first=PAGE)
    while (rows := await pages.next(ctx)) is not None:
        found.extend(entry for entry in map(read, rows) if fits(entry, wanted))
        if len(found) > 2 * MOST:
            found = arranged(found, wanted)  # so that at most three times the cap is ever held
    return arranged(found, wanted)


class _Pages:
    """The rows that SQL lets through, page by page in order of age, each from where the one before it ended."""

    def __init__(self, owner: str, wanted: Criteria, *, first: int) -> None:
        clauses = [clause for test in wanted.tests if (clause := _narrowed(owner, test)) is not None]
        self._where = "".join(f" AND {sql}" for sql, _ in clauses)
        self._params = [owner, *(value for _, values in clauses for value in values)]
        self._after, self._order = ("<", "DESC") if wanted.descending else (">", "ASC")
        self._size: int | None = first
        self._at: tuple[float, int] | None = None

    async def next(self, ctx: Any) -> list[Any] | None:
        """Return the next rows, or None when there are no more."""
        if self._size is None:
            return None
        begin = "" if self._at is None else f" AND (r.created_at, r.seq) {self._after} (?, ?)"
        rows = await ctx.store.query(
            "SELECT r.* FROM memory__records r WHERE r.owner = ?"  # noqa: S608 - built of our own words only
            f"{self._where}{begin} ORDER BY r.created_at {self._order}, r.seq {self._order} LIMIT ?",
            [*self._params, *(self._at or ()), self._size],
        )
        if len(rows) < self._size:
            self._size = None
        else:
            self._size = PAGE
            self._at = (rows[-1]["created_at"], rows[-1]["seq"])
        return list(rows)


def _narrowed(owner: str, test: Test) -> Clause | None:
    """Return SQL that holds for every entry which meets the test, and for as few others as it can say."""
    if test.field == "tags" and test.operation == "include":
        return _tagged(owner, test.value)
    value = _value_of(test.field)
    if value is None:
        return None
    if test.operation == "eq":
        return _equal(value, test.value)
    if test.operation == "in" and 0 < len(test.value) <= _LIST_MOST:
        parts = [_equal(value, one) for one in test.value]
        if all(part is not None for part in parts):
            known = [part for part in parts if part is not None]
            return f"({' OR '.join(sql for sql, _ in known)})", [param for _, params in known for param in params]
    if test.operation in _BOUNDS:
        return _beyond(value, test)
    return None


_BOUNDS = {"gt": ">=", "gte": ">=", "lt": "<=", "lte": "<="}


def _value_of(field: str) -> Clause | None:
    if field in FIXED:
        return f"r.{field}", []
    if not field or '"' in field or "\\" in field or not field.isprintable():
        return None  # a JSON path cannot say it
    return "json_extract(r.document, ?)", [f'$."{field}"']


def _tagged(owner: str, wanted: list[Any]) -> Clause | None:
    texts = [tag for tag in wanted if isinstance(tag, str)]
    if len(texts) < len(wanted):
        return "0", []  # tags are texts
    return (" AND ".join([TAGGED] * len(texts)), [p for tag in texts for p in (owner, tag)]) if texts else None


def _equal(value: Clause, wanted: Any) -> Clause | None:
    sql, params = value
    if wanted is None:
        return f"{sql} IS NULL", params
    if isinstance(wanted, bool):
        return f"{sql} = ?", [*params, int(wanted)]
    if isinstance(wanted, str) and "\0" not in wanted:
        return f"{sql} = ?", [*params, wanted]
    if isinstance(wanted, int | float) and (bounds := _around(wanted)) is not None:
        return f"{sql} BETWEEN ? AND ?", [*params, *bounds]
    return f"{sql} IS NOT NULL", params


def _beyond(value: Clause, test: Test) -> Clause | None:
    sql, params = value
    sign = _BOUNDS[test.operation]
    if isinstance(test.value, str):
        return None if "\0" in test.value else (f"{sql} {sign} ?", [*params, test.value])
    if isinstance(test.value, int | float) and (bounds := _around(test.value)) is not None:
        return f"{sql} {sign} ?", [*params, bounds[0] if sign == ">=" else bounds[1]]
    return None


def _around(number: int | float) -> tuple[float, float] | None:
    # SQLite reads a decimal fraction to within its last digit, and a large integer as a float.
    try:
        value = float(number)
    except OverflowError:
        return None
    if not math.isfinite(value):
        return None
    slack = abs(value) * 1e-9 + 1e-300
    return value - slack, value + slack
