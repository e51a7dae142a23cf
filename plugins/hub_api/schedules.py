"""Schedules and resident scripts: one's own, or all with the plain rights `schedule:read` and `schedule:write`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Protocol

import msgspec

from kernel import BadInput, Conflict, Context, NotFound, Plugin, Reply, StorageFull, TooLarge

from .jobs import Before, Limit, ScriptName, Skip
from .scripts import Entry

Written = Annotated[str, msgspec.Meta(min_length=1, max_length=200)] | float
Zone = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
Id = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class Schedules(Protocol):
    """What this part asks of the schedules."""

    async def create(
        self,
        script: str,
        schedule: str | float,
        entry: str | None,
        parameters: dict[str, Any] | None,
        tz: str,
        enabled: bool,
        idempotency_key: str | None,
    ) -> dict[str, Any]:
        """Make one."""

    async def install(
        self, script: str, parameters: dict[str, Any] | None, idempotency_key: str | None
    ) -> dict[str, Any]:
        """Make a script resident."""

    async def get(self, id: str) -> dict[str, Any]:
        """Return one."""

    async def list(
        self, script: str | None, enabled: bool | None, resident: str | None, limit: int, skip: int, before: int | None
    ) -> dict[str, Any]:
        """Return a page."""

    async def switch(self, id: str, on: bool) -> dict[str, Any]:
        """Enable or disable one."""

    async def remove(self, id: str) -> int:
        """Remove one."""


class Normalised(msgspec.Struct):
    """A schedule as it is kept: every `seconds`, or at the time `at` on `days`, or by the fields of `cron`, in `tz`."""

    kind: Literal["interval", "wall", "monthly", "cron"]
    seconds: float | None
    cron: str | None
    at: str | None
    days: list[int]
    tz: str


class Schedule(msgspec.Struct):
    """When a script runs for its owner (`kind` time), or that it is resident.

    `written` is the schedule as it was given. `source` says who made it: a request, the text of a resident script
    (`resident` is that one's id) or a run. `runs`, `skipped` (its run before was still going, or too many events),
    `missed` (no run of their own, the hub being down) and `failed` (not accepted, for the reason `failure`) are counts.
    `reason` says why the hub has disabled it.
    """

    id: str
    kind: Literal["time", "resident"]
    source: Literal["request", "script", "run"]
    owner: str
    script: str
    entry: str | None
    parameters: dict[str, Any]
    written: str | float | None
    schedule: Normalised | None
    tz: str
    enabled: bool
    reason: str | None
    resident: str | None
    registers: dict[str, Any] | None
    created_at: str
    next_due: str | None
    last_due: str | None
    last_started_at: str | None
    last_job: str | None
    runs: int
    skipped: int
    skip_reason: str | None
    missed: int
    failed: int
    failure: str | None
    last_state: str | None = None


class ScheduleList(msgspec.Struct):
    """A page of schedules, newest first; `next` is the `before` of the next page."""

    schedules: list[Schedule]
    count: int
    next: int | None


class Removed(msgspec.Struct):
    """The schedule that is gone, and how many went with it where it was a resident script's."""

    id: str
    deleted: bool
    count: int


def add(p: Plugin) -> None:
    """Collect the doors on `p`."""
    p.uses("schedules")(Schedules)
    writes: dict[str, Any] = {"needs": "schedule:write:own", "effect": "deferred"}
    p.get("/api/schedules", needs="schedule:read:own", raises=())(list_schedules)
    p.post("/api/schedules", **writes, status=201, keyed=True, raises=(NotFound, Conflict, TooLarge, StorageFull))(
        make_schedule
    )
    p.get("/api/schedules/{id}", needs="schedule:read:own", raises=(NotFound,))(show_schedule)
    p.post("/api/schedules/{id}/enable", **writes, raises=(NotFound, StorageFull))(enable_schedule)
    p.post("/api/schedules/{id}/disable", **writes, raises=(NotFound, StorageFull))(disable_schedule)
    p.delete("/api/schedules/{id}", **writes, raises=(NotFound, Conflict, StorageFull))(remove_schedule)


async def list_schedules(
    ctx: Context,
    script: str | None = None,
    enabled: bool | None = None,
    resident: Id | None = None,
    limit: Limit = 50,
    skip: Skip = 0,
    before: Before | None = None,
) -> ScheduleList:
    """List schedules, newest first: one's own, or all with the right to read all.

    `resident` is the id of a resident script, for the schedules that it registers.
    """
    page = await ctx.service("schedules", Schedules).list(
        script=script, enabled=enabled, resident=resident, limit=limit, skip=skip, before=before
    )
    found = [msgspec.convert(one, Schedule) for one in page["schedules"]]
    return ScheduleList(found, len(found), page["next"])


async def make_schedule(
    ctx: Context,
    script: ScriptName,
    schedule: Written | None = None,
    entry: Entry | None = None,
    parameters: dict[str, Any] | None = None,
    tz: Zone = "UTC",
    enabled: bool = True,
    resident: bool = False,
) -> Reply[Schedule]:
    """Have a script of the library run when `schedule` is due, or with `resident` keep it resident.

    A schedule is a text (`every 30 minutes`, `daily at 06:00`, `weekly on Friday at 18:00`, `0 6 * * 1-5`) or a number
    of seconds, read in the zone `tz`; `entry` is a function or handler of the script. A resident script brings its own:
    timers, schedules, event handlers and conditions are live until it is removed, and read anew when it changes.

    Each run is the caller's, with the rights that he has by then.
    """
    service = ctx.service("schedules", Schedules)
    if resident:
        given = {"schedule": schedule, "entry": entry, "tz": None if tz == "UTC" else tz}
        extra = next((name for name, value in given.items() if value is not None), None)
        if extra is not None or not enabled:
            name = extra or "enabled"
            raise BadInput(
                f"{name}: a resident script brings its own schedules; leave `{name}` out", details={"field": name}
            )
        made = await service.install(script, parameters, ctx.idempotency_key)
    elif schedule is None:
        raise BadInput(
            "schedule: expected a text or a number of seconds, or `resident`: true", details={"field": "schedule"}
        )
    else:
        made = await service.create(script, schedule, entry, parameters, tz, enabled, ctx.idempotency_key)
    headers = {"Idempotency-Replayed": "true"} if made.pop("replayed") else {}
    return Reply(msgspec.convert(made, Schedule), status=201, headers=headers)


async def show_schedule(ctx: Context, id: Id) -> Schedule:
    """Return one schedule."""
    return msgspec.convert(await ctx.service("schedules", Schedules).get(id), Schedule)


async def enable_schedule(ctx: Context, id: Id) -> Schedule:
    """Enable a schedule again, and what belongs to it; what has passed meanwhile is not caught up."""
    return msgspec.convert(await ctx.service("schedules", Schedules).switch(id, True), Schedule)


async def disable_schedule(ctx: Context, id: Id) -> Schedule:
    """Disable a schedule, and what belongs to it where it is a resident script."""
    return msgspec.convert(await ctx.service("schedules", Schedules).switch(id, False), Schedule)


async def remove_schedule(ctx: Context, id: Id) -> Removed:
    """Remove a schedule, and what it registers where it is a resident script; a run under way goes on."""
    return Removed(id, True, await ctx.service("schedules", Schedules).remove(id))
