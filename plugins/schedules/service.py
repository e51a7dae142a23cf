"""The service `schedules`: making, looking up, switching and removing them; one's own, or all with the plain right."""

from __future__ import annotations

import uuid
from functools import partial
from typing import Annotated, Any, Protocol

import msgspec

from kernel import AetherraError, BadInput, Conflict, Context, TooLarge, needs

from . import records, residents, timing
from .callers import acting_for, caller_of, house
from .clockwork import woken
from .intervals import passed
from .settings import Settings

Limit = Annotated[int, msgspec.Meta(ge=1, le=500)]
Skip = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]


class Scripts(Protocol):
    """What is asked of the scripts."""

    async def registers(self, name: str) -> dict[str, Any]:
        """Return what a script registers."""


class Schedules:
    """The methods of the service; one object for each generation, which holds nothing."""

    # Making ------------------------------------------------------------------------------------------------------

    @needs("schedule:write")
    async def create(
        self,
        ctx: Context,
        script: str,
        schedule: str | float,
        entry: str | None = None,
        parameters: dict[str, Any] | None = None,
        tz: str = "UTC",
        enabled: bool = True,
        idempotency_key: str | None = None,
    ) -> dict[str, Any]:
        """Have a script run when `schedule` is due in the zone `tz`, for the caller; return the schedule.

        `replayed` is true where the key was used for it within 24 hours. Raises `NotFound` for an unknown script,
        `Denied` where the caller may not run it, `BadInput` for a schedule that means nothing and for a script that
        cannot be compiled, `TooLarge` when there are too many.
        """
        when = timing.parsed(schedule, tz)
        found = await ctx.service("scripts", Scripts).registers(script)
        new = _new(
            ctx,
            found["name"],
            entry=entry,
            parameters=parameters or {},
            written=schedule,
            when=when,
            enabled=enabled,
            key=idempotency_key,
        )
        await _permit_run(ctx, found["name"])
        return await _made(ctx, new)

    @needs("schedule:write")
    async def install(
        self,
        ctx: Context,
        script: str,
        parameters: dict[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> dict[str, Any]:
        """Make a script resident for the caller: what it registers is live until it is removed; return the schedule.

        Its timers and schedules become schedules of their own, its handlers run for events that the caller and the
        script may read, its conditions when they become true. Raises as `create` does, and `BadInput` for a script that
        registers nothing.
        """
        found = await ctx.service("scripts", Scripts).registers(script)
        residents.check(found, ctx.settings)
        new = _new(ctx, found["name"], parameters=parameters or {}, kind="resident", key=idempotency_key)
        new = msgspec.structs.replace(new, hash=found["hash"], registers=residents.followed(found["registers"]))
        await _permit_run(ctx, found["name"])
        return await _made(ctx, new, residents.children(new, found["registers"], ctx.clock.now()))

    @needs("schedule:write")
    async def register(
        self, ctx: Context, script: str, schedule: str | float, entry: str | None = None, tz: str = "UTC"
    ) -> str:
        """Schedule an entry of the script that asks; the same entry again changes its schedule. Returns the id."""
        when = timing.parsed(schedule, tz)
        # As the user: that he may look at the script says nothing of what the script itself may do.
        asking = acting_for(house(), caller_of(ctx, script))
        found = await asking.service("scripts", Scripts).registers(script)
        known = found["registers"].get("entries", [])
        if entry is not None and entry not in known:
            raise BadInput(
                f"{script} has no function or handler {entry!r}; it has: {', '.join(known[:20]) or 'none'}",
                details={"type": "UnknownFunction", "data": {"entry": entry, "entries": known[:20]}},
            )
        new = _new(ctx, found["name"], entry=entry, written=schedule, when=when, source="run")
        id = await ctx.store.write(partial(_register, new, ctx.clock.now(), ctx.settings))
        woken.set()
        return str(id)

    # Looking up --------------------------------------------------------------------------------------------------

    @needs("schedule:read")
    async def get(self, ctx: Context, id: str) -> dict[str, Any]:
        """Return one schedule; `NotFound` for an unknown id, and for somebody else's."""
        return await _with_state(ctx, records.shown(_visible(ctx, id)))

    @needs("schedule:read")
    async def list(
        self,
        ctx: Context,
        script: str | None = None,
        enabled: bool | None = None,
        resident: str | None = None,
        limit: Limit = 50,
        skip: Skip = 0,
        before: int | None = None,
    ) -> dict[str, Any]:
        """Return schedules, newest first; `next` is the `before` of the next page."""
        asked = {
            "owner": None if ctx.may("schedule:read") else ctx.owner,
            "script": script,
            "enabled": None if enabled is None else int(enabled),
            "resident": resident,
        }
        given = {column: value for column, value in asked.items() if value is not None}
        wheres = [*(f"{column} = ?" for column in given), *(["seq < ?"] if before is not None else [])]
        where = f"WHERE {' AND '.join(wheres)}" if wheres else ""
        params = [*given.values(), *([before] if before is not None else [])]
        rows = await ctx.store.query(
            f"SELECT * FROM schedules__schedules {where} ORDER BY seq DESC LIMIT ? OFFSET ?",  # noqa: S608
            [*params, limit + 1, skip],
            limit=limit + 1,
        )
        listed = [await _with_state(ctx, records.shown(row)) for row in rows[:limit]]
        return {"schedules": listed, "next": rows[limit - 1]["seq"] if len(rows) > limit else None}

    # Changing ----------------------------------------------------------------------------------------------------

    @needs("schedule:write")
    async def switch(self, ctx: Context, id: str, on: bool) -> dict[str, Any]:
        """Enable or disable a schedule, and what belongs to it; what passes meanwhile is not caught up."""
        row = await _changeable(ctx, id)
        await ctx.store.write(partial(_switch, row["id"], on, ctx.clock.now()))
        woken.set()
        residents.changed.set()
        return records.shown(_visible(ctx, id))

    @needs("schedule:write")
    async def remove(self, ctx: Context, id: str) -> int:
        """Remove a schedule, and what belongs to it; return how many went. A run under way goes on."""
        row = await _changeable(ctx, id)
        if row["resident"] is not None:
            raise Conflict(
                f"{row['script']} registers this schedule itself: disable it, or remove the resident script",
                details={"id": id, "resident": row["resident"]},
                code="SCHEDULE_OF_RESIDENT",
            )
        gone = await ctx.store.write(partial(_remove, id))
        woken.set()
        residents.changed.set()
        return int(gone)

    # For scripts -------------------------------------------------------------------------------------------------

    @needs("time:read")
    async def interval(self, ctx: Context, place: str, seconds: float) -> bool:
        """Tell whether the caller's interval at this place is over, and begin the next one if so."""
        return await passed(ctx, place, seconds)


# Pieces ----------------------------------------------------------------------------------------------------------


def _new(
    ctx: Context,
    script: str,
    *,
    entry: str | None = None,
    parameters: dict[str, Any] | None = None,
    written: str | float | None = None,
    when: Any = None,
    kind: str = "time",
    source: str = "request",
    enabled: bool = True,
    key: str | None = None,
) -> records.New:
    size = len(msgspec.json.encode(parameters or {}))
    most = ctx.settings.parameters_kb
    if size > most * 1024:
        raise TooLarge(
            f"parameters: {size} bytes; at most {most} KiB are taken ([plugins.schedules] parameters_kb)",
            details={"field": "parameters"},
        )
    return records.New(
        id=str(uuid.uuid4()),
        owner=ctx.owner,
        caller=caller_of(ctx, script),
        kind=kind,
        source=source,
        script=script,
        entry=entry,
        parameters=parameters or {},
        written=written,
        schedule=None if when is None else timing.stored(when),
        every=None if when is None else when.seconds,
        tz="UTC" if when is None else when.tz,
        enabled=enabled,
        next_due=None if when is None else timing.due_after(when, ctx.clock.now()),
        key=key,
    )


async def _permit_run(ctx: Context, script: str) -> None:
    # As the one that the runs are for: to note a schedule runs nothing, whatever the class of this call.
    await acting_for(house(), caller_of(ctx, script)).require("script:run", script)


async def _made(ctx: Context, new: records.New, children: Any = ()) -> dict[str, Any]:
    id, is_replayed = await ctx.store.write(partial(_insert, new, children, ctx.clock.now(), ctx.settings))
    woken.set()
    residents.changed.set()
    return records.shown(_visible(ctx, id)) | {"replayed": is_replayed}


def _visible(ctx: Context, id: str) -> Any:
    row = ctx.store.one("SELECT * FROM schedules__schedules WHERE id = ?", (id,))
    if row is None or (row["owner"] != ctx.owner and not ctx.may("schedule:read")):
        raise records.unknown(id)
    return row


async def _changeable(ctx: Context, id: str) -> Any:
    row = _visible(ctx, id)
    if row["owner"] != ctx.owner:
        await ctx.require("schedule:write", id)
    return row


async def _with_state(ctx: Context, shown: dict[str, Any]) -> dict[str, Any]:
    """Add how the last run ended, or that it goes on; null when it is not known any more."""
    state = None
    if shown["last_job"] is not None:
        try:
            state = (await ctx.service("executions").get(shown["last_job"]))["state"]
        except AetherraError:
            state = None
    return shown | {"last_state": state}


# Run in the writer's thread, with the transaction.


def _insert(new: records.New, children: Any, now: float, settings: Settings, tx: Any) -> tuple[str, bool]:
    if new.key is not None:
        known = records.replayed(tx, new, now)
        if known is not None:
            return known, True
    for one in (new, *children):
        records.insert(tx, one, now, settings)
    return new.id, False


def _register(new: records.New, now: float, settings: Settings, tx: Any) -> str:
    row = tx.one(
        "SELECT * FROM schedules__schedules WHERE owner = ? AND script = ? AND entry IS ? AND source = 'run'",
        (new.owner, new.script, new.entry),
    )
    if row is None:
        records.insert(tx, new, now, settings)
        return new.id
    same = (row["schedule"], row["enabled"]) == (new.schedule, 1)
    tx.execute(
        "UPDATE schedules__schedules SET caller = ?, written = ?, schedule = ?, every = ?, tz = ?, enabled = 1, "
        "next_due = ? WHERE id = ?",
        (
            records.encode(new.caller).decode(),
            records.encode(new.written).decode(),
            new.schedule,
            new.every,
            new.tz,
            row["next_due"] if same else new.next_due,
            row["id"],
        ),
    )
    return str(row["id"])


def _switch(id: str, on: bool, now: float, tx: Any) -> None:
    due = {}
    for row in records.family(tx, id):
        if on and not row["enabled"] and row["schedule"] is not None:
            due[row["id"]] = timing.due_after(timing.restored(row["schedule"]), now)
    records.switch(tx, id, on=on, due=due)


def _remove(id: str, tx: Any) -> int:
    return records.remove(tx, id)
