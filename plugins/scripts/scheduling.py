"""The operations on time that outlast a call: schedules of the script itself, intervals, waiting for an event."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from aether_lang.stdlib.times import seconds as span
from kernel import Context, DeadlineExceeded, matcher

from .faults import fault, missing, not_yet
from .names import INLINE
from .operations import RunView
from .questions import ask

UNITS: Final[Mapping[str, float]] = {
    "second": 1.0,
    "minute": 60.0,
    "hour": 3_600.0,
    "day": 86_400.0,
    "week": 7 * 86_400.0,
}
OWN: Final = frozenset({"scripts", "memory", "executions", "schedules"})
"""Plugins of the house that say in `owner` whose an event is."""
EMITTED: Final[Mapping[str, str]] = {"scripts": "data"}
"""What a script has emitted stands in this field of the event."""


class Scheduling:
    """One run's operations on schedules and waits; `TABLE` maps their names to the functions."""

    def __init__(self, run: RunView) -> None:
        self.run = run

    async def recurring(self, ctx: Context, name: str, n: int | float, unit: str) -> str:
        """Run a function or handler of the script every n units; the schedule's id."""
        return await self.register(ctx, name, f"every {n:g} {unit}")

    async def daily(self, ctx: Context, name: str, at: str) -> str:
        """Run a function or handler of the script at a time of day; the schedule's id."""
        return await self.register(ctx, name, f"daily at {at}")

    async def register(self, ctx: Context, owner: str | None, schedule: str | float, tz: str = "UTC") -> str:
        """Run an entry of the script on a schedule, or what it runs without one; the schedule's id."""
        _there(ctx, "a schedule of the script itself")
        if self.run.name.startswith(f"{INLINE}/"):
            raise fault(
                "ValueError", "a source that came with a request cannot be scheduled: put it into a script folder"
            )
        made = await ctx.service("schedules").register(script=self.run.name, schedule=schedule, entry=owner, tz=tz)
        return str(made)

    async def interval(self, ctx: Context, n: int | float | str, unit: str | None = None, at: Any = None) -> bool:
        """True at most once in each interval, for the user and the place of the call."""
        _there(ctx, "time.interval")
        place = ":".join(str(part) for part in at[:3]) if isinstance(at, list | tuple) else ""
        return bool(await ctx.service("schedules").interval(f"{self.run.name} {place}", _seconds(n, unit)))

    async def event(self, ctx: Context, name: str, seconds: float | None = None) -> Awaitable[Any]:
        """Wait for an event, in the kernel; its data, as it was emitted."""
        topics = _topics(name)
        if not ctx.may("event:read:own") and not any(ctx.may(f"event:read:{topic}") for topic in topics):
            await ctx.require("event:read", topics[0])
        left = self.run.remaining_s()
        if seconds is not None and left is not None and seconds > left:
            raise not_yet(
                f"waiting {seconds:g} s for an event, longer than the {max(left, 0):.0f} s that are left of this run",
                "make the script resident, with a handler of the event",
            )
        for_how_long = "" if seconds is None else f" within {seconds:g} s"
        late = DeadlineExceeded(
            f"no event {name!r} came{for_how_long}", details={"type": "Timeout", "data": {"event": name}}
        )
        return ctx.next_event(topics, timeout_s=seconds, late=late, own=OWN, give=EMITTED)

    async def approval(self, ctx: Context, text: str, seconds: float | None = None) -> Awaitable[bool]:
        """Ask whoever may cancel the job, and wait in the kernel; true or false, as it was decided."""
        await ctx.require("ui:notify", ctx.owner)
        left = self.run.remaining_s()
        if seconds is not None and left is not None and seconds > left:
            raise not_yet(
                f"waiting {seconds:g} s for a decision, longer than the {max(left, 0):.0f} s that are left of this run",
                "ask in a run of its own, and schedule it again",
            )
        late = DeadlineExceeded("nobody has decided in time", details={"type": "Timeout", "data": {"text": text}})
        question = ask(self.run.questions, text, now=ctx.clock.now(), seconds=seconds, late=late)
        about = {"question": question["id"], "text": text}
        self.run.note("job.question", about)
        told = {"user": ctx.owner, "content": text, "level": "question", "question": question["id"]}
        await ctx.publish("ui.notified", {**told, "job_id": self.run.id, "script": self.run.name})
        return question["answer"]


def _there(ctx: Context, what: str) -> None:
    if "schedules" not in ctx.table.services:
        raise missing(ctx, "schedules", what)


def _topics(name: str) -> tuple[str, ...]:
    """Return the topics under which an event of that name may be published."""
    if any(letter in name for letter in "*#"):
        raise fault("ValueError", f"the name of one event is expected, without * or #, got {name!r}")
    under_user = name if name.startswith("user.") else f"user.{name}"
    topics = (name, under_user) if "." in name and under_user != name else (under_user,)
    matcher(topics)  # raises for what no topic can be
    return topics


def _seconds(n: int | float | str, unit: str | None) -> float:
    if isinstance(n, str):
        return float(span(n))
    size = 1.0 if unit is None else UNITS.get(unit.lower().removesuffix("s"))
    if size is None:
        raise fault("ValueError", f"unknown unit {unit!r}, expected one of {', '.join(UNITS)}")
    if not math.isfinite(n):
        raise fault("ValueError", "an interval is a finite number")
    return n * size


TABLE: Final[dict[str, Callable[..., Any]]] = {
    "schedule.register": Scheduling.register,
    "schedule.recurring": Scheduling.recurring,
    "schedule.daily": Scheduling.daily,
    "time.interval": Scheduling.interval,
    "park.event": Scheduling.event,
    "park.approval": Scheduling.approval,
}
