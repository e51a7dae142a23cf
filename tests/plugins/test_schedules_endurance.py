"""Thousands of due times over a clock that moves, with restarts and reloads in between: none doubled, none lost."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pytest
from schedule_house import schedule_house

from aether_lang.schedules import next_after, parse_schedule
from kernel import Caller
from kernel.testing import TestClock

SCHEDULES = ("*/7 * * * *", "0 * * * *", "30 2 * * *", "daily at 06:00", "5,35 1-23/2 * * *")
ZONES = ("UTC", "Europe/Berlin")


async def lived(
    home: Path, rounds: int, seed: int, texts: Sequence[str] = SCHEDULES
) -> tuple[Counter[str], list[dict[str, object]]]:
    """Live through rounds of time that passes, reloads, restarts and hubs without room; return what was submitted."""
    draw, clock = random.Random(seed), TestClock(1_803_513_600.0)  # some days before Berlin's clocks go on
    made: list[dict[str, object]] = []
    seen: Counter[str] = Counter()
    left = rounds
    while left:
        async with schedule_house(home, clock, {"plugins.schedules.check_s": 86_400}) as house:
            if not made:
                for text in texts:
                    for zone in ZONES:
                        made.append(await house.schedules().create("tidy", text, tz=zone))
            for _ in range(min(left, draw.randrange(2, 6))):
                left -= 1
                await house.set("refuse", draw.choice(("", "", "busy")))
                await clock.advance(draw.randrange(60, 6 * 3600))
                if draw.random() < 0.3:
                    await house.kernel.modules.reload("schedules")
                await house.set("refuse", "")
                await clock.advance(10)
            rows = [await house.schedules().get(str(one["id"])) for one in made]
            executions = house.kernel.context(Caller("core:test")).service("executions")
            seen.clear()
            before = None
            while True:
                page = await executions.list(limit=500, before=before)
                seen.update(str(job["parent"]) for job in page["executions"])
                before = page["next"]
                if before is None:
                    break
        clock.jump_wall(draw.randrange(0, 3 * 3600))  # the hub is down
    return seen, rows


def check(seen: Counter[str], rows: list[dict[str, object]]) -> int:
    """Assert that each due time had one job or is counted as missed or skipped; return how many there were."""
    assert max(seen.values()) == 1, "a due time had two runs"
    total = 0
    for row in rows:
        schedule = parse_schedule(str(row["written"]), str(row["tz"]))
        moment = datetime.fromisoformat(str(row["created_at"]))
        until, due = datetime.fromisoformat(str(row["next_due"])), 0
        while (moment := next_after(schedule, moment)) < until:  # type: ignore[assignment, operator]
            due += 1
        fired = sum(1 for name in seen if name.startswith(f"schedule:{row['id']}:"))
        assert (fired, row["failed"]) == (row["runs"], 0)
        assert fired + int(str(row["missed"])) + int(str(row["skipped"])) == due, row
        total += due
    return total


async def test_no_due_time_is_doubled_or_lost_over_restarts_and_reloads(tmp_path: Path) -> None:
    seen, rows = await lived(tmp_path, 3, seed=7, texts=SCHEDULES[1:3])
    assert check(seen, rows) > 10


@pytest.mark.soak
@pytest.mark.timeout(14_400)
async def test_no_due_time_is_doubled_or_lost_over_weeks(tmp_path: Path) -> None:
    size = os.environ.get("AETHERRA_SOAK", "C")
    rounds, seed, began = {"C": 40, "L": 1_000}[size], int.from_bytes(os.urandom(4)), time.perf_counter()
    seen, rows = await lived(tmp_path, rounds, seed)
    total = check(seen, rows)
    print(f"\nschedules seed={seed} size={size} due={total} runs={len(seen)} s={time.perf_counter() - began:.0f}")
