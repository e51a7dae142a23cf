"""What resident scripts follow: events of the bus and conditions over signals, each a run of its own, one at a time.

A script never runs for what it did itself, and one event sets only so many runs going one behind the other. What
cannot run is counted and told: where the queue is full, the events of the minute are had, or events go round.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Mapping
from functools import partial
from typing import Any

from kernel import AetherraError, Context, Event, iso

from . import records
from .callers import acting_for
from .conditions import edge
from .firing import TRANSIENT, under_way

OWN = frozenset({"scripts", "memory", "executions", "schedules"})
"""Plugins of the house that say in `owner` whose an event is."""
TOPIC_QUEUE = 512
REMEMBERED = 10_000
"""Runs of resident scripts of which it is known how far they are from the event that began it."""
MINUTE_S = 60.0
OTHERS_CHECK_S = 30.0
"""After how long a run whose end was not told is asked for."""


def topics_of(event: str, source: str | None) -> tuple[str, ...]:
    """Return the topics under which an event of a script's handler may be published."""
    if source == "memory":
        return (event if event.startswith("memory.") else f"memory.{event}",)
    under_user = event if event.startswith("user.") else f"user.{event}"
    # A dotted name may be one of the hub's own, or one that a script has emitted under `user.`.
    return (event, under_user) if "." in event and under_user != event else (under_user,)


class Resident:
    """A resident script as it is followed: its row, what waits for it, and the run under way."""

    def __init__(self, row: Any) -> None:
        self.queue: deque[dict[str, Any]] = deque()
        self.busy: str | None = None
        self.busy_since = 0.0
        self.skipped: dict[str, int] = {}
        self.minute: deque[float] = deque()
        self.seen: dict[str, Any] = {}
        """By the place of a condition, what it was when it was last looked at."""
        self.adopt(row)

    def adopt(self, row: Any) -> None:
        """Take a row that was read anew."""
        self.row = dict(row)
        self.caller = records.decode(row["caller"])
        registers = records.decode(row["registers"])
        self.conditions: list[dict[str, Any]] = registers["conditions"]
        self.entries: dict[str, list[str]] = {}
        for one in registers["events"]:
            for topic in topics_of(one["event"], one["source"]):
                self.entries.setdefault(topic, []).append(one["entry"])

    def skip(self, why: str) -> None:
        """Count an event for which it does not run."""
        self.skipped[why] = self.skipped.get(why, 0) + 1


class Following:
    """Everything that is followed, for as long as the plugin runs."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self.residents: dict[str, Resident] = {}
        self._topics: dict[str, asyncio.Task[None]] = {}
        self._depths: OrderedDict[str, tuple[int, str]] = OrderedDict()
        """By job, how many runs lie between it and the event that began it, and whose it is."""

    # What is followed --------------------------------------------------------------------------------------------

    def read_anew(self) -> None:
        """Follow what the rows say, and nothing else."""
        rows = self._ctx.store.all(
            "SELECT * FROM schedules__schedules WHERE kind = 'resident' AND enabled = 1", limit=1_000_000
        )
        found = {row["id"]: row for row in rows}
        self.residents = {id: one for id, one in self.residents.items() if id in found}
        for id, row in found.items():
            if id in self.residents:
                self.residents[id].adopt(row)
            else:
                self.residents[id] = Resident(row)
        wanted = {topic for one in self.residents.values() for topic in one.entries}
        for topic in self._topics.keys() - wanted:
            self._topics.pop(topic).cancel()
        for topic in wanted - self._topics.keys():
            self._topics[topic] = asyncio.create_task(self._follow(topic), name=f"residents follow {topic}")

    async def _follow(self, topic: str) -> None:
        subscription = self._ctx.follow((topic,), limit=TOPIC_QUEUE)
        try:
            async for event in subscription:
                try:
                    await self.offer(event)
                except Exception:
                    self._ctx.log.exception("%s could not be given to the resident scripts", event.topic)
        finally:
            subscription.close()

    async def close(self) -> None:
        """Follow nothing any more."""
        for task in self._topics.values():
            task.cancel()
        await asyncio.gather(*self._topics.values(), return_exceptions=True)
        self._topics.clear()

    # Events ------------------------------------------------------------------------------------------------------

    async def offer(self, event: Event) -> None:
        """Have every resident run that follows the event, may read it, and did not cause it."""
        for one in list(self.residents.values()):
            entries = one.entries.get(event.topic, ())
            if not entries or self._is_by(one, event) or not self._may_read(one, event):
                continue
            data = event.data
            if event.source == "scripts" and isinstance(data, dict) and "data" in data:
                data = data["data"]
            told = {"topic": event.topic, "at": iso(event.time), "seq": event.seq}
            for entry in entries:
                key = f"{event.seq}:{entry}"
                work = {"key": key, "entry": entry, "event_data": data, "event": told, "depth": self._depth(event)}
                await self._queue(one, work)

    def _may_read(self, one: Resident, event: Event) -> bool:
        ctx = acting_for(self._ctx, one.caller).through(f"script:{one.row['script']}")
        return ctx.can_read(event, OWN)

    def _is_by(self, one: Resident, event: Event) -> bool:
        """Tell whether a script's own run has caused the event."""
        data = event.data if isinstance(event.data, dict) else {}
        job = data.get("job_id")
        if isinstance(job, str) and self._depths.get(job, (0, ""))[1] == one.row["id"]:
            return True
        script = data.get({"scripts": "script", "executions": "name", "schedules": "script"}.get(event.source, ""))
        return bool(script == one.row["script"] and data.get("owner") == one.row["owner"])

    def _depth(self, event: Event) -> int:
        job = event.data.get("job_id") if isinstance(event.data, dict) else None
        return self._depths.get(job, (0, ""))[0] + 1 if isinstance(job, str) else 1

    async def _queue(self, one: Resident, work: dict[str, Any]) -> None:
        settings, now = self._ctx.settings, self._ctx.clock.monotonic()
        while one.minute and one.minute[0] <= now - MINUTE_S:
            one.minute.popleft()
        if work["depth"] > settings.chain:
            one.skip(f"one event set {settings.chain} runs going one behind the other ([plugins.schedules] chain)")
        elif len(one.minute) >= settings.events_per_minute:
            one.skip(f"{settings.events_per_minute} events in a minute ([plugins.schedules] events_per_minute)")
        elif len(one.queue) >= settings.event_queue:
            one.skip(f"{settings.event_queue} events wait already ([plugins.schedules] event_queue)")
        else:
            one.minute.append(now)
            one.queue.append(work)
        await self.pump(one)

    # Runs --------------------------------------------------------------------------------------------------------

    async def pump(self, one: Resident) -> None:
        """Begin the next run of a resident, unless one is under way."""
        if one.busy is not None:
            return
        if not one.queue:
            await self._note(one)
            return
        one.busy = ""  # taken, before anything is waited for
        work = one.queue.popleft()
        try:
            job = await self._submit(one, work)
        except TRANSIENT as error:
            self._ctx.log.warning("resident %s is tried again: %s", one.row["script"], error)
            one.queue.appendleft(work)
            one.busy = None
            return  # the next look at the signals, or the next event, tries again
        except AetherraError as error:
            one.busy = None
            await self._note(one, failure=f"{error.code}: {error.message}")
            await self.pump(one)
            return
        self._remember(job, work["depth"], one.row["id"])
        one.busy, one.busy_since = job, self._ctx.clock.monotonic()
        await self._note(one, job=job)

    async def _submit(self, one: Resident, work: Mapping[str, Any]) -> str:
        ctx = acting_for(self._ctx, one.caller)
        given = {} if work["event"] is None else {"event_data": work["event_data"]}
        accepted = await ctx.service("scripts").submit(
            script_name=one.row["script"],
            parameters={**records.decode(one.row["parameters"]), **given},
            context={"schedule": {"id": one.row["id"]}, "event": work["event"]},
            idempotency_key=f"resident:{one.row['id']}:{work['key']}",
            entry=work["entry"],
            parent=f"resident:{one.row['id']}",
        )
        return str(accepted["id"])

    def _remember(self, job: str, depth: int, resident: str) -> None:
        self._depths[job] = depth, resident
        while len(self._depths) > REMEMBERED:
            self._depths.popitem(last=False)

    async def ended(self, job: str) -> None:
        """Go on with whose run is over."""
        for one in list(self.residents.values()):
            if one.busy == job:
                one.busy = None
                await self.pump(one)

    async def _note(self, one: Resident, *, job: str | None = None, failure: str | None = None) -> None:
        """Write down a run, and what was skipped since the last one."""
        skipped, one.skipped = one.skipped, {}
        if job is None and failure is None and not skipped:
            return
        why = "; ".join(skipped)[: records.REASON_CHARS]
        short = None if failure is None else failure[: records.REASON_CHARS]
        count, now = sum(skipped.values()), self._ctx.clock.now()
        await self._ctx.store.write(
            partial(_noted, one.row, now, {"job": job, "skipped": count, "why": why, "failure": short})
        )

    # Conditions --------------------------------------------------------------------------------------------------

    async def look(self) -> None:
        """Look at the signals, and at what was not told: ends of runs, and runs that could not be begun."""
        watched = [one for one in self.residents.values() if one.conditions]
        signals = await self._ctx.service("scripts").signals() if watched else {}
        for one in watched:
            for condition in one.conditions:
                place = f"{condition['line']}:{','.join(condition['signals'])}"
                again, one.seen[place] = edge(condition, one.seen.get(place), signals)
                if again:
                    key = f"when:{place}:{self._ctx.clock.now():.3f}"
                    entry = f"when:{','.join(condition['signals'])}"[:200]
                    await self._queue(one, {"key": key, "entry": entry, "event": None, "event_data": None, "depth": 1})
        now = self._ctx.clock.monotonic()
        for one in list(self.residents.values()):
            told_late = one.busy and now - one.busy_since > OTHERS_CHECK_S
            if told_late and not await under_way(self._ctx, one.busy):
                one.busy = None
            await self.pump(one)

    # Reload ------------------------------------------------------------------------------------------------------

    def export(self) -> dict[str, Any]:
        """Return what waits and what is known, as plain data."""
        names = ("queue", "busy", "busy_since", "skipped", "minute", "seen")
        kept = {id: {name: _plain(getattr(one, name)) for name in names} for id, one in self.residents.items()}
        return {"residents": kept, "depths": {job: list(depth) for job, depth in self._depths.items()}}

    def take_over(self, state: Mapping[str, Any]) -> None:
        """Go on with what another generation knew."""
        self._depths = OrderedDict((job, (depth, resident)) for job, (depth, resident) in state["depths"].items())
        for id, kept in state["residents"].items():
            if id in self.residents:
                one = self.residents[id]
                for name, value in kept.items():
                    setattr(one, name, deque(value) if isinstance(getattr(one, name), deque) else value)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, deque) else value


def _noted(row: dict[str, Any], now: float, what: dict[str, Any], tx: Any) -> None:
    records.noted(tx, row, now, **what)
