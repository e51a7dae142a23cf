"""`time.interval`: true at most once in each interval, for each user and place of a script, over restarts too."""

from __future__ import annotations

from functools import partial
from typing import Any

from kernel import BadInput, Context

PLACE_CHARS = 500
LONGEST_S = 366 * 86_400.0


async def passed(ctx: Context, place: str, seconds: float) -> bool:
    """Tell whether the interval at this place is over, and begin the next one if so; the first time it is."""
    if not 0 < seconds <= LONGEST_S:
        raise BadInput(f"an interval lies between 0 and 366 days, got {seconds:g} s", details={"field": "seconds"})
    owner, place, now = ctx.owner, place[:PLACE_CHARS], ctx.clock.now()
    row = ctx.store.one("SELECT at FROM schedules__intervals WHERE owner = ? AND place = ?", (owner, place))
    # Asked before the write, since most answers are no. A clock that went back begins a new interval.
    if row is not None and row["at"] <= now < row["at"] + seconds:
        return False
    return bool(await ctx.store.write(partial(_begin, owner, place, seconds, now, ctx.settings.intervals_per_owner)))


def _begin(owner: str, place: str, seconds: float, now: float, most: int, tx: Any) -> bool:
    row = tx.one("SELECT at FROM schedules__intervals WHERE owner = ? AND place = ?", (owner, place))
    if row is not None and row["at"] <= now < row["at"] + seconds:
        return False
    tx.execute(
        "INSERT INTO schedules__intervals (owner, place, at) VALUES (?, ?, ?) "
        "ON CONFLICT (owner, place) DO UPDATE SET at = excluded.at",
        (owner, place, now),
    )
    if row is None:
        tx.execute(
            "DELETE FROM schedules__intervals WHERE owner = ? AND place IN (SELECT place FROM schedules__intervals "
            "WHERE owner = ? ORDER BY at DESC LIMIT -1 OFFSET ?)",
            (owner, owner, most),
        )
    return True
