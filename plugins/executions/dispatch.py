"""From pending to its end: takes what waits into the kernel's lanes, has its runner start it, and records how it ended.

A run is under way between `start` and `finish`; in between nothing of this plugin is inside a call. What is under way
is plain data, held by reference, so that a reload of this plugin neither stops a run nor forgets one.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Protocol, TypedDict

import msgspec

from kernel import AetherraError, Context, Overloaded, ServiceUnavailable, Ticket

from . import records
from .queue import Queue, Waiting
from .states import HUB_STOPPED, HUB_STOPPING, KINDS, End, Failure, Outcome, conclude, too_long

AHEAD = 64
"""Tickets that wait in one lane of the kernel's at a time; what else waits does so here, in order of priority."""
RETRY_S = 1.0
"""How long until another attempt to enter a lane, or to claim a row, that was refused."""
PAGE = 1_000
WAIT_S = "aetherra_executions_wait_seconds"
RUN_S = "aetherra_executions_run_seconds"


class Flight(TypedDict):
    """A run under way. `stopped` is why the house has asked it to end, as plain data."""

    kind: str
    attempt: int
    over: asyncio.Event
    due: float | None
    wall_s: float | None
    asked: bool
    stopped: dict[str, Any] | None
    rows: int
    began: float


class Runner(Protocol):
    """What executes a kind; a plugin provides it as the service `runner.<kind>`."""

    async def start(self, execution: dict[str, Any]) -> dict[str, Any]:
        """Begin; the end is told with `finish`. Returns `wall_s`, the seconds it may take, or None there."""

    async def stop(self, execution: str) -> None:
        """Make a run end soon; unknown ones are ignored."""


class Slot:
    """A place in a lane, held from `begin` until the run is over; it keeps nothing of this plugin while it waits."""

    __slots__ = ("_begin",)

    def __init__(self, begin: Callable[[], Awaitable[asyncio.Event | None]]) -> None:
        self._begin: Callable[[], Awaitable[asyncio.Event | None]] | None = begin

    async def hold(self) -> None:
        """Begin a run and hold the place until it is over."""
        assert self._begin is not None
        begin, self._begin = self._begin, None
        over = await begin()
        del begin
        if over is not None:
            await over.wait()


class Dispatcher:
    """Owns the queue, the runs under way, and those who wait for an end."""

    def __init__(self) -> None:
        self.queue = Queue()
        self.flights: dict[str, Flight] = {}
        self.watched: dict[str, asyncio.Event] = {}
        self.wake = asyncio.Event()
        self.stopping = False
        self.serving = False
        self._ctx: Context | None = None
        self._tickets: dict[str, list[Ticket]] = {}
        self._refused = False
        self._closed = False
        self._beginning = 0
        self._exported: dict[str, Any] | None = None

    @property
    def ctx(self) -> Context:
        """The plugin's own context."""
        if self._ctx is None:
            raise ServiceUnavailable("executions is not open yet", details={"service": "executions"})
        return self._ctx

    def open(self, ctx: Context) -> None:
        """Take the context in which everything here happens."""
        self._ctx = ctx

    # Waiting and beginning ---------------------------------------------------------------------------------------

    def add(self, row: dict[str, Any]) -> None:
        """Queue a pending row and fill the lanes."""
        self.queue.add(row)
        self.pump()

    def runnable(self, kind: str) -> bool:
        """Tell whether some plugin runs this kind at the moment."""
        return f"runner.{kind}" in self.ctx.table.services

    def running(self) -> Mapping[str, int]:
        """Return how many runs are under way, by kind."""
        return {**dict.fromkeys(KINDS, 0), **Counter(flight["kind"] for flight in self.flights.values())}

    def pump(self) -> None:
        """Ask the kernel for places in its lanes, as many as there is work for."""
        if self.stopping:
            return
        for lane, heap in self.queue.lanes.items():
            queued = [ticket for ticket in self._tickets.get(lane, ()) if ticket.state == "queued"]
            self._tickets[lane] = queued
            for _ in range(min(len(heap), AHEAD) - len(queued)):
                slot = Slot(partial(self._begin, lane))
                try:
                    queued.append(self.ctx.submit(lane, slot.hold, name="run"))
                except (Overloaded, ServiceUnavailable):
                    self._try_again()
                    break

    def _try_again(self) -> None:
        self._refused = True
        self.wake.set()

    async def _begin(self, lane: str) -> asyncio.Event | None:
        """Begin the best of the lane; return what is set when it is over, or None when nothing waits."""
        self._beginning += 1
        try:
            while not self.stopping:
                waiting = self.queue.take(lane, self.runnable)
                if waiting is None:
                    return None
                self.pump()
                over = await self._fly(waiting)
                if over is not None:
                    return over
            return None
        finally:
            self._beginning -= 1
            self._let_go()

    async def _fly(self, waiting: Waiting) -> asyncio.Event | None:
        _, _, execution, kind = waiting
        if execution in self.flights:  # queued twice: a key was sent again just before this was claimed
            return None
        over = asyncio.Event()
        flight = Flight(
            kind=kind, attempt=0, over=over, due=None, wall_s=None, asked=False, stopped=None, rows=0, began=0.0
        )
        # Known before it is claimed: whoever looks for runs that nobody owns must not find it.
        self.flights[execution] = flight
        try:
            row = await self.ctx.store.write(partial(_claim, execution, self.ctx.clock.now()))
        except AetherraError as error:
            del self.flights[execution]
            self.queue.put_back(waiting)
            self._try_again()
            self.ctx.log.error("job %s could not be begun: %s", execution, error)
            return None
        if row is None:
            del self.flights[execution]
            return None
        flight["attempt"] = row["attempt"]
        flight["began"] = self.ctx.clock.monotonic()
        waited = datetime.fromisoformat(row["started_at"]) - datetime.fromisoformat(row["created_at"])
        self.ctx.metric(WAIT_S).labels(row["kind"]).observe(max(0.0, waited.total_seconds()))
        await self._start(execution, flight, row)
        return over

    async def _start(self, execution: str, flight: Flight, row: dict[str, Any]) -> None:
        try:
            begun = await self.ctx.service(f"runner.{flight['kind']}", Runner).start(row)
        except AetherraError as error:
            await self.finish(execution, flight["attempt"], Outcome("failed", error=_failure(error)))
            return
        except Exception:
            self.ctx.log.exception("the runner of job %s failed", execution)
            broken = Failure("INTERNAL", "what runs this kind of job failed; the reason is in the hub's log")
            await self.finish(execution, flight["attempt"], Outcome("failed", error=broken))
            return
        limits = [limit for limit in (row["deadline_s"], begun.get("wall_s")) if limit is not None]
        if limits:
            flight["wall_s"] = min(limits)
            flight["due"] = self.ctx.clock.monotonic() + min(limits)
            self.wake.set()
        if flight["asked"]:
            await self._stop(execution, flight)

    # Ending ------------------------------------------------------------------------------------------------------

    async def finish(self, execution: str, attempt: int, outcome: Outcome) -> bool:
        """Record the end of an attempt; False when it had one already."""
        flight = self.flights.get(execution)
        mine = flight is not None and flight["attempt"] == attempt
        stopped = flight["stopped"] if mine and flight is not None else None
        reason = None if stopped is None else msgspec.convert(stopped, Failure)
        end = partial(_end, execution, attempt, outcome, reason, self.ctx.clock.now())
        done = await self.ctx.store.write(end)
        if mine and flight is not None:
            self.flights.pop(execution, None)
            self.ctx.metric(RUN_S).labels(flight["kind"]).observe(self.ctx.clock.monotonic() - flight["began"])
            flight["over"].set()
            self.pump()
        self.tell(execution)
        return done

    def tell(self, execution: str) -> None:
        """Wake those who wait for the end of an execution."""
        watched = self.watched.pop(execution, None)
        if watched is not None:
            watched.set()

    async def stop(self, execution: str, why: Failure | None) -> None:
        """Ask a run to end: for its owner (no reason), or for the house, whose reason it then fails with."""
        flight = self.flights.get(execution)
        if flight is None:
            return
        if why is not None and flight["stopped"] is None:
            flight["stopped"] = msgspec.to_builtins(why)
        flight["asked"] = True
        await self._stop(execution, flight)

    async def _stop(self, execution: str, flight: Flight) -> None:
        try:
            await self.ctx.service(f"runner.{flight['kind']}", Runner).stop(execution)
        except AetherraError as error:
            self.ctx.log.warning("job %s could not be told to stop: %s", execution, error)

    async def stop_all(self) -> None:
        """Begin nothing any more and ask every run to end, because the hub stops."""
        self.stopping = True
        await asyncio.gather(*(self.stop(execution, HUB_STOPPING) for execution in list(self.flights)))

    # Keeping it going --------------------------------------------------------------------------------------------

    async def keep(self) -> None:
        """Recover what an earlier hub left, then look after deadlines and refused places until cancelled."""
        self.serving, self._exported = True, None
        await self._recover()
        self.pump()
        while True:
            try:
                async with self.ctx.clock.timeout(self._patience()):
                    await self.wake.wait()
            except TimeoutError:
                if self._refused:
                    self._refused = False
                    self.pump()
            self.wake.clear()
            await self._expire()

    def _patience(self) -> float | None:
        dues = [
            flight["due"] for flight in self.flights.values() if flight["due"] is not None and not flight["stopped"]
        ]
        patience = min(dues) - self.ctx.clock.monotonic() if dues else None
        if self._refused:
            patience = RETRY_S if patience is None else min(patience, RETRY_S)
        return patience

    async def _expire(self) -> None:
        now = self.ctx.clock.monotonic()
        for execution, flight in list(self.flights.items()):
            if flight["due"] is not None and flight["due"] <= now and flight["stopped"] is None:
                await self.stop(execution, too_long(flight["wall_s"] or 0.0))

    async def _recover(self) -> None:
        """End what an earlier hub left running, and queue what it left pending."""
        store, after = self.ctx.store, 0
        left = await store.query("SELECT id, attempt FROM executions__executions WHERE state = 'running'")
        for row in left:
            if row["id"] not in self.flights:
                end = partial(_orphaned, row["id"], row["attempt"], self.ctx.clock.now())
                await store.write(end)
                self.tell(row["id"])
        while True:
            rows = await store.query(
                "SELECT seq, id, kind, priority FROM executions__executions "
                "WHERE state = 'pending' AND seq > ? ORDER BY seq LIMIT ?",
                (after, PAGE),
            )
            for row in rows:
                if row["id"] not in self.flights:
                    self.queue.add(dict(row))
                after = row["seq"]
            if len(rows) < PAGE:
                return

    def look_again(self) -> None:
        """A plugin came or went: what was held for a runner may run now."""
        self.queue.release(self.runnable)
        self.pump()

    # Reload and end ----------------------------------------------------------------------------------------------

    def export(self) -> dict[str, Any]:
        """Return the containers themselves: both generations see the same runs until the old one is retired."""
        self._exported = {
            "queue": self.queue.export(),
            "flights": self.flights,
            "watched": self.watched,
            "taken": False,
        }
        return self._exported

    def adopt(self, state: dict[str, Any]) -> None:
        """Go on with another generation's runs."""
        self.queue.adopt(state["queue"])
        self.flights, self.watched = state["flights"], state["watched"]
        state["taken"] = True

    async def close(self) -> None:
        """Give up places not yet used; unless the runs were handed over, stop them and let go of their places."""
        for tickets in self._tickets.values():
            for ticket in tickets:
                if ticket.state == "queued":
                    ticket.cancel()
        handed_over = self._exported is not None and self._exported["taken"]
        if self.serving and not handed_over:
            await self.stop_all()
            for flight in self.flights.values():
                flight["over"].set()
        self._closed = True
        self._let_go()

    def _let_go(self) -> None:
        # The context holds the generation; a module that held the context in turn would keep itself alive.
        if self._closed and not self._beginning:
            self._ctx = None


def _claim(execution: str, now: float, tx: Any) -> dict[str, Any] | None:
    return records.claim(tx, execution, now)


def _end(execution: str, attempt: int, outcome: Outcome, stopped: Failure | None, now: float, tx: Any) -> bool:
    asked = records.cancel_requested(tx, execution, attempt)
    return records.finish(tx, execution, attempt, conclude(outcome, cancel_requested=asked, stopped=stopped), now)


def _orphaned(execution: str, attempt: int, now: float, tx: Any) -> bool:
    asked = records.cancel_requested(tx, execution, attempt)
    outcome = Outcome("failed", error=HUB_STOPPED)
    end: End = conclude(outcome, cancel_requested=asked, stopped=None)
    return records.finish(tx, execution, attempt, end, now)


def _failure(error: AetherraError) -> Failure:
    named = error.details.get("type")
    return Failure(
        error.code,
        error.message,
        type=named if isinstance(named, str) else "HostError",
        data={key: value for key, value in error.details.items() if key != "type"} or None,
    )
