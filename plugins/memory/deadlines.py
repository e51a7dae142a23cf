"""The watch over deadlines: an unfinished goal whose deadline has passed is told of once; its state stays."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from kernel import Context

BATCH = 500
"""Goals told of in one write; the rest follow in the next."""

woken = asyncio.Event()
"""Set when a goal was written, so that a deadline nearer than the one waited for is not missed."""

_OPEN = "deadline IS NOT NULL AND overdue_at IS NULL AND status IN ('active', 'paused', 'blocked')"


async def watch(ctx: Context) -> None:
    """Publish `goal.overdue` for each goal whose deadline passes, for as long as the plugin runs."""
    while True:
        woken.clear()
        pause = _pause(ctx)
        if pause <= 0:
            await ctx.store.write(partial(_overdue, now=ctx.clock.now()))
            continue
        try:
            async with ctx.clock.timeout(pause):
                await woken.wait()
        except TimeoutError:
            pass  # time to look again


def _overdue(tx: Any, now: float) -> None:
    sql = f"SELECT * FROM memory__goals WHERE {_OPEN} AND deadline <= ? ORDER BY deadline LIMIT ?"  # noqa: S608
    rows = tx.all(sql, (now, BATCH))
    tx.executemany("UPDATE memory__goals SET overdue_at = ? WHERE seq = ?", [(now, row["seq"]) for row in rows])
    for row in rows:
        shown = ("id", "owner", "title", "priority", "status", "progress", "deadline")
        tx.publish("goal.overdue", {name: row[name] for name in shown})


def _pause(ctx: Context) -> float:
    """Return the seconds until the next look: none or fewer when a deadline has passed already."""
    row = ctx.store.one(f"SELECT min(deadline) AS next FROM memory__goals WHERE {_OPEN}")  # noqa: S608
    longest: float = ctx.settings.deadline_check_s
    return longest if row is None or row["next"] is None else min(row["next"] - ctx.clock.now(), longest)
