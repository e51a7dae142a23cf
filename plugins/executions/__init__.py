"""Executions: one life cycle for script jobs, agent tasks, agent executions and training jobs.

The service `executions` keeps them; what a kind means is a *runner*, which another plugin provides as the service
`runner.<kind>`:

    start(execution) -> {"wall_s": seconds or None}    begin the run; returns as soon as it is under way
    stop(id) -> None                                   make it end soon; an unknown id is ignored

A runner tells what happens with `executions.report(...)` and, once, the end with `executions.finish(...)`. So a run
under way is inside no call of either plugin, and either may be reloaded meanwhile.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Annotated, Any, Literal

import msgspec

from kernel import BadInput, Context, Event, Overloaded, Plugin, ServiceUnavailable, TooLarge, iso, nearest, needs

from . import records
from .dispatch import RUN_S, WAIT_S, Dispatcher
from .follow import Follower
from .states import CANCELLED, KINDS, STATES, TERMINAL, Failure, Outcome, State, priority_of

executions = Plugin(
    "executions",
    version="1.0.0",
    description="One life cycle for everything that is run: queued, carried out, cancelled, kept.",
    category="system",
    topics=["job"],
    migrations="migrations",
)

LONGEST_S = 30 * 86_400.0
PRUNE_EVERY_S = 3_600.0

Count = Annotated[int, msgspec.Meta(ge=1)]
Limit = Annotated[int, msgspec.Meta(ge=1, le=500)]
Skip = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]

dispatcher = Dispatcher()
follower = Follower()

started_total = executions.counter("aetherra_executions_submitted_total", "Executions accepted", ["kind"])
ended_total = executions.counter("aetherra_executions_ended_total", "Executions that ended", ["kind", "state"])
executions.gauge(
    "aetherra_executions_waiting",
    "Executions that wait for a place, or for the plugin that runs their kind",
    read=lambda: len(dispatcher.queue),
)
executions.gauge("aetherra_executions_running", "Executions under way", ["kind"], read=lambda: dispatcher.running())
executions.histogram(WAIT_S, "From submit to begin", ["kind"], buckets=(0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3600.0))
executions.histogram(RUN_S, "From begin to end", ["kind"], buckets=(0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0))


@executions.settings
class Settings(msgspec.Struct, frozen=True):
    """`[plugins.executions]`."""

    waiting: Count = 50_000
    """Executions that may wait; beyond it a submit is refused with 503."""
    input_kb: Count = 1_024
    """How large the input of one may be."""
    history_rows: Count = 20_000
    """Lines that one execution may leave in its history."""
    keep_days: Count = 7
    """How long an execution is kept once it has ended."""


@executions.service("executions")
class Executions:
    """Submit, look up, cancel and follow executions; one's own, or all with the right `job:read`."""

    @needs("job:read")
    async def submit(
        self,
        ctx: Context,
        kind: str,
        name: str,
        input: dict[str, Any],
        priority: int | str = "normal",
        idempotency_key: str | None = None,
        deadline_s: float | None = None,
        parent: str | None = None,
    ) -> dict[str, Any]:
        """Accept an execution and return its row, committed; needs the right of its kind on `name`.

        Under a key that was used within 24 hours the first execution is returned (`replayed` is true), or `Conflict`
        raised when it was another request. `deadline_s` is how long it may run, without the time it waits.
        """
        if kind not in KINDS:
            close = nearest(kind, list(KINDS))
            raise BadInput(
                f"a kind is one of {', '.join(KINDS)}; got {kind!r}" + (f"; did you mean {close}?" if close else "")
            )
        await ctx.require(KINDS[kind], name)
        settings: Settings = ctx.settings
        _check_room(settings)
        if f"runner.{kind}" not in ctx.table.services:
            raise ServiceUnavailable.named(f"runner.{kind}")
        if deadline_s is not None and not 0 < deadline_s <= LONGEST_S:
            raise BadInput(
                f"deadline_s is above 0 and at most {LONGEST_S:g}, got {deadline_s}", details={"field": "deadline_s"}
            )
        size = len(msgspec.json.encode(input))
        if size > settings.input_kb * 1024:
            raise TooLarge(
                f"the input has {size} bytes; at most {settings.input_kb} KiB are taken ([plugins.executions] input_kb)"
            )
        new = records.New(
            id=str(uuid.uuid4()),
            kind=kind,
            owner=ctx.owner,
            caller=_caller(ctx),
            name=name,
            input=input,
            priority=priority_of(priority),
            parent=parent,
            trace=ctx.trace,
            deadline_s=deadline_s,
            key=idempotency_key if idempotency_key is not None else ctx.idempotency_key,
        )
        row = await ctx.store.write(partial(_insert, new, ctx.clock.now()))
        if not row["replayed"]:
            ctx.metric(started_total).labels(kind).inc()
        if row["state"] == "pending":
            dispatcher.add(row)
        return row

    @needs("job:read")
    async def get(self, ctx: Context, id: str, kind: str | None = None) -> dict[str, Any]:
        """Return one execution; `NotFound` for an unknown id, another kind, or somebody else's."""
        return _visible(ctx, id, kind)

    @needs("job:read")
    async def list(
        self,
        ctx: Context,
        kind: str | None = None,
        state: State | None = None,
        name: str | None = None,
        limit: Limit = 50,
        skip: Skip = 0,
        before: int | None = None,
        parent: str | None = None,
    ) -> dict[str, Any]:
        """Return executions, newest first, without inputs and results; `next` is the `before` of the next page.

        `parent` is what set them going, as it was named at their submit.
        """
        wheres: list[str] = []
        params: list[Any] = []
        asked = {"owner": None if ctx.may("job:read") else ctx.owner, "kind": kind, "state": state, "name": name}
        asked["parent"] = parent
        for column, value in asked.items():
            if value is not None:
                wheres.append(f"{column} = ?")
                params.append(value)
        if before is not None:
            wheres.append("seq < ?")
            params.append(before)
        where = f"WHERE {' AND '.join(wheres)}" if wheres else ""
        rows = await ctx.store.query(
            f"SELECT {records.SUMMARY} FROM executions__executions {where} ORDER BY seq DESC LIMIT ? OFFSET ?",  # noqa: S608
            [*params, limit + 1, skip],
            limit=limit + 1,
        )
        listed = [records.shown(row) for row in rows[:limit]]
        return {"executions": listed, "next": listed[-1]["seq"] if len(rows) > limit else None}

    @needs("job:cancel")
    async def cancel(self, ctx: Context, id: str, kind: str | None = None) -> dict[str, Any]:
        """Cancel what is pending at once, ask what is running to stop; `Conflict` when it is over already.

        Returns the row; after this the execution never completes, and a run ends within a second.
        """
        row = _visible(ctx, id, kind)
        if row["owner"] != ctx.owner:
            await ctx.require("job:cancel", id)
        state = await ctx.store.write(partial(_ask_to_cancel, id, ctx.clock.now()))
        if state == "running":
            await dispatcher.stop(id, None)
        else:
            dispatcher.queue.drop(id)
            dispatcher.tell(id)
        return _visible(ctx, id, kind)

    @needs("job:read")
    async def history(self, ctx: Context, id: str, kind: str | None = None, limit: int = 10_000) -> dict[str, Any]:
        """Return what happened to an execution so far, oldest first, each as (`topic`, `at`, `data`, `seq`).

        `position` is where a stream of events goes on, so that together they tell everything once; `seq` is the number
        that the event had, or 0 where that is not known any more. Of a longer history the latest lines are given.
        """
        upto, position = follower.mark()
        row = _visible(ctx, id, kind)
        rows = await ctx.store.query(
            "SELECT seq, at, topic, data FROM executions__history WHERE execution = ? AND seq <= ? "
            "ORDER BY seq DESC LIMIT ?",
            (id, upto, limit),
            limit=limit,
        )
        entries = [
            {
                "topic": line["topic"],
                "at": line["at"],
                "data": records.event_data(id, line["seq"], msgspec.json.decode(line["data"])),
                "seq": follower.number(line["seq"]),
            }
            for line in reversed(rows)
        ]
        return {"execution": row, "entries": entries, "position": position}

    @needs("job:read")
    async def watch(self, ctx: Context, id: str, kind: str | None = None) -> AsyncIterator[dict[str, Any]]:
        """Yield the row once the execution is over. Ends without it when this plugin is replaced: ask again then."""
        over = dispatcher.watched.setdefault(id, asyncio.Event())
        row = _visible(ctx, id, kind)
        if row["state"] not in TERMINAL:
            await over.wait()
            row = _visible(ctx, id, kind)
        else:
            dispatcher.tell(id)
        yield row

    @needs("job:cancel")
    async def cleanup(self, ctx: Context, older_than_s: float, everybody: bool = False) -> dict[str, Any]:
        """Delete what ended longer ago than that, in the background; return how many there are to delete.

        One's own, or with `everybody` all, which needs the right `job:cancel` on all. `job.cleaned` tells the end.
        """
        if older_than_s < 0:
            raise BadInput(f"older_than_s is a number from 0, got {older_than_s}", details={"field": "older_than_s"})
        if everybody:
            await ctx.require("job:cancel")
        owner = None if everybody else ctx.owner
        before = ctx.clock.now() - older_than_s
        whose = "" if owner is None else " AND owner = ?"
        rows = await ctx.store.query(
            f"SELECT count(*) AS n FROM executions__executions WHERE completed_at < ?{whose}",  # noqa: S608
            (before,) if owner is None else (before, owner),
        )
        count = int(rows[0]["n"])
        if count:
            dispatcher.ctx.submit("background", partial(_clean, dispatcher.ctx, before, owner), name="cleanup")
        return {"jobs": count, "before": iso(before)}

    @needs("job:read")
    async def stats(self, ctx: Context, kind: str | None = None, name: str | None = None) -> dict[str, Any]:
        """Return how many executions there are by state, how many wait and run, and how long completed ones ran."""
        wheres, params = ["1"], []
        whose = None if ctx.may("job:read") else ctx.owner
        for column, value in (("owner", whose), ("kind", kind), ("name", name)):
            if value is not None:
                wheres.append(f"{column} = ?")
                params.append(value)
        rows = await ctx.store.query(
            "SELECT state, count(*) AS n, avg(completed_at - started_at) AS took "  # noqa: S608
            f"FROM executions__executions WHERE {' AND '.join(wheres)} GROUP BY state",
            params,
        )
        counted = {row["state"]: row["n"] for row in rows}
        took = next((row["took"] for row in rows if row["state"] == "completed"), None)
        return {
            "by_state": {state: counted.get(state, 0) for state in STATES},
            "total": sum(counted.values()),
            "waiting": len(dispatcher.queue),
            "running": len(dispatcher.flights),
            "mean_run_s": None if took is None else round(took, 6),
        }

    # For runners -------------------------------------------------------------------------------------------------

    @needs("system:admin")
    async def report(self, ctx: Context, id: str, attempt: int, entries: Sequence[records.Entry]) -> None:
        """Append lines to the history of a run under way, and publish them; above `history_rows` they are dropped."""
        flight = dispatcher.flights.get(id)
        if flight is None or flight["attempt"] != attempt:
            return
        room = max(0, ctx.settings.history_rows - flight["rows"])
        kept = entries[:room]
        flight["rows"] += len(kept)
        if kept:
            await ctx.store.write(partial(_append, id, ctx.clock.now(), kept))

    @needs("system:admin")
    async def finish(
        self,
        ctx: Context,
        id: str,
        attempt: int,
        how: Literal["completed", "failed", "cancelled"],
        result: Any = None,
        error: Failure | None = None,
    ) -> bool:
        """Give an attempt its end; False when it has one already. What was asked of the run meanwhile may change it."""
        return await dispatcher.finish(id, attempt, Outcome(how, result, error))


# The plugin's own life -------------------------------------------------------------------------------------------


@executions.lifespan
async def lifespan(ctx: Context) -> AsyncIterator[None]:
    """Open the dispatcher; at the end let go of what it holds."""
    dispatcher.open(ctx)
    newest = ctx.store.one("SELECT max(seq) AS n FROM executions__history")
    follower.begin(0 if newest is None or newest["n"] is None else newest["n"], ctx.position())
    yield
    await dispatcher.close()


@executions.task("dispatcher", restart="always")
async def dispatch(ctx: Context) -> None:
    """Keep the queue going."""
    await dispatcher.keep()


@executions.task("pruner")
async def prune(ctx: Context) -> None:
    """Delete what ended longer ago than `keep_days`, and keys that are over, once an hour."""
    while True:
        await ctx.clock.sleep(PRUNE_EVERY_S)
        await _clean(ctx, ctx.clock.now() - ctx.settings.keep_days * 86_400, None)
        while await ctx.store.write(partial(_forget_keys, ctx.clock.now())) == records.BATCH:
            pass


@executions.on("job.#", limit=10_000)
async def follow(ctx: Context, event: Event) -> None:
    """Note which history row was published as which event."""
    if event.source == "executions" and isinstance(event.data, dict) and isinstance(event.data.get("n"), int):
        follower.published(event.data["n"], event.seq)
        state = event.topic.removeprefix("job.")
        if state in TERMINAL:
            ctx.metric(ended_total).labels(event.data["kind"], state).inc()


@executions.on("module.*")
async def providers_changed(ctx: Context, event: Event) -> None:
    """A runner may be there now."""
    dispatcher.look_again()


@executions.on("kernel.stopping")
async def hub_stops(ctx: Context, event: Event) -> None:
    """Begin nothing any more, and ask what runs to end."""
    await dispatcher.stop_all()


@executions.export_state
def export_state() -> dict[str, Any]:
    """Hand over what waits and what runs."""
    return {"dispatcher": dispatcher.export(), "follower": follower.export()}


@executions.import_state
def import_state(version: str, state: dict[str, Any]) -> None:
    """Go on with it."""
    dispatcher.adopt(state["dispatcher"])
    follower.adopt(state["follower"])


# Pieces ----------------------------------------------------------------------------------------------------------


def _caller(ctx: Context) -> dict[str, Any]:
    caller = ctx.chain.caller
    # Members of the house may do everything, so they narrow nothing; a dropped plugin on the way does, and stays.
    via = [member for member in ctx.chain.via if not member.startswith("core:")]
    return {
        "id": caller.id,
        "roles": list(caller.roles),
        "scopes": None if caller.scopes is None else list(caller.scopes),
        "via": via,
        "proof": caller.proof,
    }


def _visible(ctx: Context, execution: str, kind: str | None) -> dict[str, Any]:
    """Return the row if there is one that the caller may see; `NotFound` otherwise, without telling which it was."""
    wheres, params = ["id = ?"], [execution]
    for column, value in (("owner", None if ctx.may("job:read") else ctx.owner), ("kind", kind)):
        if value is not None:
            wheres.append(f"{column} = ?")
            params.append(value)
    row = ctx.store.one(
        f"SELECT {records.WHOLE} FROM executions__executions WHERE {' AND '.join(wheres)}",  # noqa: S608
        params,
    )
    if row is None:
        raise records.unknown(execution)
    return records.shown(row)


def _check_room(settings: Settings) -> None:
    if dispatcher.stopping:
        raise Overloaded("the hub is stopping and takes no more jobs", code="SHUTTING_DOWN", retry_after_s=5.0)
    if len(dispatcher.queue) >= settings.waiting:
        raise Overloaded(
            f"{len(dispatcher.queue)} jobs wait already, the bound ([plugins.executions] waiting); try again later",
            details={"waiting": len(dispatcher.queue)},
        )


async def _clean(ctx: Context, before: float, owner: str | None) -> None:
    removed, more = 0, True
    while more:
        gone, more = await ctx.store.write(partial(_forget_old, before, owner))
        removed += gone
    if removed:
        await ctx.publish("job.cleaned", {"jobs": removed, "before": iso(before)})


# Run in the writer's thread, with the transaction.


def _insert(new: records.New, now: float, tx: records.Tx) -> dict[str, Any]:
    return records.insert(tx, new, now)


def _ask_to_cancel(execution: str, now: float, tx: records.Tx) -> str:
    return records.ask_to_cancel(tx, execution, CANCELLED, now)


def _append(execution: str, now: float, entries: Sequence[records.Entry], tx: records.Tx) -> None:
    records.append(tx, execution, now, entries)


def _forget_old(before: float, owner: str | None, tx: records.Tx) -> tuple[int, bool]:
    return records.forget_old(tx, before, owner)


def _forget_keys(now: float, tx: records.Tx) -> int:
    return records.forget_keys(tx, now)
