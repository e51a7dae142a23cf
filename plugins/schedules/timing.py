"""When a schedule is due next, and how many of its times have passed meanwhile. Pure: times are given, none is read."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from aether_lang.schedules import Schedule, ScheduleError, next_after, parse_schedule
from kernel import BadInput

MISSED_MOST = 1_000
"""Times of a calendar that are counted as missed at once; beyond it the count stops."""
CORRECTED_S = 86_400.0
"""A clock that goes back by more than this was wrong before, and what it was due by then is worked out anew."""


class Step(NamedTuple):
    """What follows a due time: the next one (None: never again), and how many passed in between without a run."""

    next_due: float | None
    missed: int


def parsed(written: Any, tz: str) -> Schedule:
    """Return the schedule that a text or a number of seconds means; raise `BadInput` with the reason."""
    if not isinstance(written, str | int | float) or (isinstance(written, str) and len(written) > 200):
        raise BadInput(
            "schedule: expected a text of at most 200 characters such as `every 30 minutes`, or a number of seconds",
            details={"field": "schedule"},
        )
    try:
        return parse_schedule(written, tz)
    except ScheduleError as error:
        field = "tz" if "time zone" in str(error) else "schedule"
        raise BadInput(f"{field}: {error}", details={"field": field}, code="BAD_SCHEDULE") from None


def stored(schedule: Schedule) -> str:
    """Return a schedule as text, to be read by `restored`."""
    return msgspec.json.encode(schedule).decode()


def restored(text: str) -> Schedule:
    """Return a schedule that was stored."""
    return msgspec.json.decode(text, type=Schedule)


def due_after(schedule: Schedule, moment: float) -> float | None:
    """Return when it is due first after a moment; of an interval the moment is the last start."""
    found = next_after(schedule, datetime.fromtimestamp(moment, UTC))
    return None if found is None else found.timestamp()


def after_start(schedule: Schedule, due: float, now: float) -> Step:
    """Return what follows a due time whose run started now: an interval counts from this start."""
    passed = _passed(schedule, due, now)
    if schedule.kind == "interval":
        return Step(due_after(schedule, now), passed.missed)
    return passed


def after_skip(schedule: Schedule, due: float, now: float) -> Step:
    """Return what follows a due time that was skipped: an interval goes on counting from the last start."""
    return _passed(schedule, due, now)


def _passed(schedule: Schedule, due: float, now: float) -> Step:
    if schedule.kind == "interval":
        every = schedule.seconds or 1.0
        missed = max(0, math.floor((now - due) / every))
        following = due + every * (missed + 1)
        # A sum of floats may fall on the moment itself.
        return Step(following if following > now else following + every, missed)
    missed, next_due = 0, due_after(schedule, due)
    while next_due is not None and next_due <= now:
        missed += 1
        next_due = due_after(schedule, next_due if missed < MISSED_MOST else now)
    return Step(next_due, missed)
