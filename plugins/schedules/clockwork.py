"""The clockwork: one task that sleeps until the nearest due time and carries out what is due then."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec

from kernel import Context

from . import timing
from .firing import fire

JUMP_S = 1.0
"""By how much wall time and monotonic time part before the clock counts as put back."""

woken = asyncio.Event()
"""Set when a schedule was made or changed, so that one nearer than the one waited for is not missed."""

_DUE = "enabled = 1 AND next_due IS NOT NULL"
_FREE = "id NOT IN (SELECT value FROM json_each(?))"


class Clockwork:
    """What the task knows between two looks. `held` are schedules to be tried again, and when."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._held: dict[str, float] = {}
        self._ahead = ctx.clock.now() - ctx.clock.monotonic()

    async def keep(self) -> None:
        """Carry out what is due, until cancelled."""
        # What the clock did while nobody looked is not known: nothing is due later than its own interval.
        await self._correct(0.0)
        while True:
            woken.clear()
            await self._notice_jump()
            rows = self._due()
            if rows:
                await self._carry_out(rows)
                continue
            try:
                async with self._ctx.clock.timeout(self._pause()):
                    await woken.wait()
            except TimeoutError:
                pass  # time to look again

    def _due(self) -> list[Mapping[str, Any]]:
        now, monotonic = self._ctx.clock.now(), self._ctx.clock.monotonic()
        self._held = {id: until for id, until in self._held.items() if until > monotonic}
        most = self._ctx.settings.at_once
        rows: list[Any] = self._ctx.store.all(
            f"SELECT * FROM schedules__schedules WHERE {_DUE} AND {_FREE} AND next_due <= ? "  # noqa: S608
            "ORDER BY next_due LIMIT ?",
            (self._held_ids(), now, most),
            limit=most,
        )
        return rows

    def _held_ids(self) -> str:
        return msgspec.json.encode(list(self._held)).decode()

    async def _carry_out(self, rows: list[Mapping[str, Any]]) -> None:
        done = await asyncio.gather(*(self._one(row) for row in rows))
        until = self._ctx.clock.monotonic() + self._ctx.settings.retry_s
        self._held |= {row["id"]: until for row, ok in zip(rows, done, strict=True) if not ok}

    async def _one(self, row: Mapping[str, Any]) -> bool:
        try:
            return await fire(self._ctx, row)
        except Exception:
            # One that cannot be carried out keeps no other from its time.
            self._ctx.log.exception("schedule %s could not be carried out", row["id"])
            return False

    def _pause(self) -> float | None:
        """Seconds until it has to look again; None where nothing can become due before somebody makes a schedule."""
        clock, longest = self._ctx.clock, float(self._ctx.settings.check_s)
        row = self._ctx.store.one(
            f"SELECT min(next_due) AS next FROM schedules__schedules WHERE {_DUE} AND {_FREE}",  # noqa: S608
            (self._held_ids(),),
        )
        pauses = [until - clock.monotonic() for until in self._held.values()]
        if row is not None and row["next"] is not None:
            pauses.append(row["next"] - clock.now())
        return max(0.0, min([longest, *pauses])) if pauses else None

    async def _notice_jump(self) -> None:
        ahead = self._ctx.clock.now() - self._ctx.clock.monotonic()
        back_s, self._ahead = self._ahead - ahead, ahead
        if back_s > JUMP_S:
            await self._correct(back_s)

    async def _correct(self, back_s: float) -> None:
        now = self._ctx.clock.now()
        moved = await self._ctx.store.write(partial(_correct, now, back_s))
        if back_s:
            self._ctx.log.warning("the clock went back by %.1f s; %d schedules are due at another time", back_s, moved)


def _correct(now: float, back_s: float, tx: Any) -> int:
    """Move what a clock put back would keep waiting too long; return how many those were."""
    intervals = tx.execute(
        f"UPDATE schedules__schedules SET next_due = ? + every WHERE {_DUE} AND every IS NOT NULL "  # noqa: S608
        "AND next_due > ? + every",
        (now, now),
    ).rowcount
    if back_s <= timing.CORRECTED_S:
        return int(intervals)
    rows = tx.all(f"SELECT id, schedule FROM schedules__schedules WHERE {_DUE} AND every IS NULL", limit=1_000_000)  # noqa: S608
    tx.executemany(
        "UPDATE schedules__schedules SET next_due = ? WHERE id = ?",
        [(timing.due_after(timing.restored(row["schedule"]), now), row["id"]) for row in rows],
    )
    return int(intervals) + len(rows)
