"""Does something recur? Counting the entries that have a tag or a text, over time."""

from __future__ import annotations

from typing import Any

from kernel import BadInput

from .recall import tokens

PERIODS = {"hourly": 3_600.0, "daily": 86_400.0, "weekly": 604_800.0}

DAY = 86_400.0

# Entries with the tag or the words; an entry with both counts once.
_MATCHING = (
    "SELECT t.seq, t.created_at FROM memory__tags t "
    "WHERE t.owner = :owner AND t.tag = :name AND t.created_at >= :since "
    "UNION SELECT r.seq, r.created_at FROM memory__fts CROSS JOIN memory__records r ON r.seq = memory__fts.rowid "
    "WHERE memory__fts MATCH :words AND r.owner = :owner AND r.created_at >= :since AND memory__fts.rowid >= coalesce("
    "(SELECT min(seq) FROM memory__records WHERE owner = :owner AND created_at >= :since), 9223372036854775807)"
)
_ANY = (
    "SELECT EXISTS (SELECT 1 FROM memory__tags t WHERE t.owner = :owner AND t.tag = :name) OR EXISTS "
    "(SELECT 1 FROM memory__fts CROSS JOIN memory__records r ON r.seq = memory__fts.rowid "
    "WHERE memory__fts MATCH :words AND r.owner = :owner)"
)


async def recurs(ctx: Any, owner: str, name: str, frequency: str | None) -> bool:
    """Tell whether entries with that tag or text exist, or recur.

    `hourly`, `daily`, `weekly`: there was at least one in each of the last two such periods. `growing`: more in the
    last day than in the day before.
    """
    if frequency is None:
        return bool((await ctx.store.query(_ANY, _named(ctx, owner, name)))[0][0])
    if frequency != "growing" and frequency not in PERIODS:
        raise BadInput(
            f"frequency: expected hourly, daily, weekly or growing, got {frequency!r:.60}",
            details={"field": "frequency"},
        )
    last, before = await _last_two(ctx, owner, name, PERIODS.get(frequency, DAY))
    return last > before if frequency == "growing" else last > 0 and before > 0


async def statistics(ctx: Any, owner: str, name: str, days: float) -> dict[str, Any]:
    """Return how often entries with that tag or text came in the last so many days, and whether that grows."""
    sql = f"SELECT count(*), min(created_at), max(created_at) FROM ({_MATCHING})"  # noqa: S608 - our own words
    since = ctx.clock.now() - days * DAY
    row = (await ctx.store.query(sql, {**_named(ctx, owner, name), "since": since}))[0]
    last, before = await _last_two(ctx, owner, name, DAY)
    return {
        "name": name,
        "timeframe_days": days,
        "count": row[0],
        "per_day": round(row[0] / days, 3),
        "first": row[1],
        "last": row[2],
        "growing": last > before,
    }


async def _last_two(ctx: Any, owner: str, name: str, period: float) -> tuple[int, int]:
    """Return how many matching entries the last period had, and the one before it."""
    now = ctx.clock.now()
    later, earlier = "coalesce(sum(created_at > :middle), 0)", "coalesce(sum(created_at <= :middle), 0)"
    sql = f"SELECT {later}, {earlier} FROM ({_MATCHING})"  # noqa: S608 - our own words
    bounds = {"middle": now - period, "since": now - 2 * period}
    row = (await ctx.store.query(sql, {**_named(ctx, owner, name), **bounds}))[0]
    return row[0], row[1]


def _named(ctx: Any, owner: str, name: str) -> dict[str, Any]:
    words = tokens(name, ctx.settings)
    return {"owner": owner, "name": name, "words": " AND ".join(words) if words else '""'}
