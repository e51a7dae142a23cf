"""Three lanes of work, each with a limit of its own, so that background work never stands in the way of a person.

Work is submitted as a call without arguments and comes back as a `Ticket`: await it, or cancel it before or after it
began. Every figure of `stats` is measured.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Generator, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Literal

import msgspec

from kernel.clock import Clock
from kernel.errors import BadInput, DeadlineExceeded, Overloaded, PluginError, ServiceUnavailable
from kernel.suggest import nearest

State = Literal["queued", "running", "done", "failed", "cancelled"]

LIMITS: Mapping[str, int] = MappingProxyType({"high_priority": 64, "normal_priority": 32, "background": 8})
"""How much of each lane runs at once, unless told otherwise."""

LEAVE_S = 5.0
"""How long `stop` waits for cancelled work that does not leave."""

log = logging.getLogger("kernel.scheduler")


class LaneStats(msgspec.Struct, frozen=True):
    """One lane at this instant."""

    queued: int
    running: int
    limit: int


class SchedulerStats(msgspec.Struct, frozen=True):
    """Measured since the scheduler was made; the means are over every task that ended, in milliseconds.

    `avg_task_latency_ms` is submit to end: `avg_wait_ms` in the queue and `avg_run_ms` at work. `cycles` counts the
    rounds in which a lane was looked at for work to start; `tasks_processed` counts what ended, however it ended.
    `wait_s` and `run_s` are the sums of both, in seconds.
    """

    lanes: dict[str, LaneStats]
    tasks_processed: int
    failed: int
    cancelled: int
    avg_task_latency_ms: float
    avg_wait_ms: float
    avg_run_ms: float
    cycles: int
    wait_s: float
    run_s: float


class Ticket:
    """Work that was accepted. `await ticket` returns its result or raises what it raised; to stop waiting does not
    cancel it."""

    def __init__(self, scheduler: Scheduler, lane: _Lane, fn: Callable[[], Awaitable[Any]], name: str) -> None:
        self.name = name
        self.lane = lane.name
        self.state: State = "queued"
        self._scheduler = scheduler
        self._lane = lane
        self._fn: Callable[[], Awaitable[Any]] | None = fn
        self._result: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._task: asyncio.Task[None] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._submitted = scheduler._clock.monotonic()
        self._started: float | None = None
        self._due: float | None = None

    def __await__(self) -> Generator[Any, None, Any]:
        # Shielded: who waits may be cancelled without taking the work along.
        return asyncio.shield(self._result).__await__()

    def done(self) -> bool:
        """Tell whether it has ended, one way or another."""
        return self._result.done()

    def cancel(self) -> bool:
        """Take it out of the queue, or cancel it at work; False when it had ended already."""
        if self.state == "queued":
            self._scheduler._end(self, "cancelled", None)
            return True
        if self.state == "running" and self._task is not None:
            return self._task.cancel()
        return False


class _Lane:
    def __init__(self, name: str, limit: int) -> None:
        self.name = name
        self.limit = limit
        self.running: set[Ticket] = set()
        self.queue: OrderedDict[Ticket, None] = OrderedDict()


class Scheduler:
    """Lanes by name, in `limits`; at most `queue` pieces of work wait in each of them."""

    def __init__(self, clock: Clock, *, limits: Mapping[str, int] = LIMITS, queue: int = 10_000) -> None:
        self._clock = clock
        self._queue = queue
        self._lanes: dict[str, _Lane] = {}
        for name, limit in limits.items():
            _check_limit(name, limit)
            self._lanes[name] = _Lane(name, limit)
        self._stopping = False
        self._ended = self._failed = self._cancelled = self._cycles = self._begun = 0
        self._waited_s = self._ran_s = 0.0

    def submit(
        self, lane: str, fn: Callable[[], Awaitable[Any]], *, name: str, deadline_s: float | None = None
    ) -> Ticket:
        """Accept work and return its ticket; it starts as soon as its lane has room.

        `deadline_s` counts from now and includes the wait: when it is over the ticket raises `DeadlineExceeded`,
        whether the work has begun or not. Raises `Overloaded` when the lane's queue is full, `BadInput` for an unknown
        lane, `ServiceUnavailable` once the scheduler stops.
        """
        where = self._lane(lane)
        if self._stopping:
            raise ServiceUnavailable(
                "the scheduler is stopping and takes no more work", details={"service": "scheduler"}
            )
        if len(where.queue) >= self._queue:
            raise Overloaded(
                f"lane {lane!r} has {self._queue} pieces of work waiting, which is its bound; try again later",
                details={"lane": lane, "queued": len(where.queue)},
            )
        ticket = Ticket(self, where, fn, name)
        if deadline_s is not None:
            ticket._due = ticket._submitted + deadline_s
        where.queue[ticket] = None
        self._dispatch(where)
        if ticket.state == "queued" and deadline_s is not None:
            ticket._watch = asyncio.create_task(self._expire(ticket, deadline_s), name=f"deadline of {name}")
        return ticket

    def set_limit(self, lane: str, limit: int) -> None:
        """Change how much of a lane runs at once; what runs beyond a lower limit ends by itself. 0 pauses the lane."""
        where = self._lane(lane)
        _check_limit(lane, limit)
        where.limit = limit
        self._dispatch(where)

    def stats(self) -> SchedulerStats:
        """Return the figures at this instant."""
        ended = max(1, self._begun)
        wait_ms, run_ms = self._waited_s * 1000 / ended, self._ran_s * 1000 / ended
        return SchedulerStats(
            lanes={
                name: LaneStats(len(lane.queue), len(lane.running), lane.limit) for name, lane in self._lanes.items()
            },
            tasks_processed=self._ended,
            failed=self._failed,
            cancelled=self._cancelled,
            avg_task_latency_ms=wait_ms + run_ms,
            avg_wait_ms=wait_ms,
            avg_run_ms=run_ms,
            cycles=self._cycles,
            wait_s=self._waited_s,
            run_s=self._ran_s,
        )

    async def stop(self, grace_s: float) -> list[str]:
        """Refuse new work, cancel what waits, give what runs `grace_s`, then cancel it and wait for it to leave.

        Returns the names of what ignored its cancellation for `LEAVE_S`; they are logged too.
        """
        self._stopping = True
        for lane in self._lanes.values():
            for ticket in list(lane.queue):
                ticket.cancel()
        tasks = [ticket._task for lane in self._lanes.values() for ticket in lane.running if ticket._task is not None]
        await self._wait(tasks, grace_s)
        left = [task for task in tasks if not task.done()]
        for task in left:
            task.cancel()
        await self._wait(left, LEAVE_S)
        names = [task.get_name() for task in left if not task.done()]
        for name in names:
            log.error("work %s ignored its cancellation for %g s", name, LEAVE_S)
        return names

    async def _wait(self, tasks: list[asyncio.Task[None]], seconds: float) -> None:
        if not tasks:
            return
        try:
            async with self._clock.timeout(seconds):
                await asyncio.wait(tasks)
        except TimeoutError:
            pass  # the caller looks at what is left

    def _lane(self, name: str) -> _Lane:
        if (lane := self._lanes.get(name)) is not None:
            return lane
        near = nearest(name, self._lanes)
        hint = f"; did you mean {near}?" if near else ""
        raise BadInput(f"a lane is one of {', '.join(self._lanes)}, got {name!r}{hint}")

    def _dispatch(self, lane: _Lane) -> None:
        self._cycles += 1
        while lane.queue and len(lane.running) < lane.limit:
            ticket, _ = lane.queue.popitem(last=False)
            lane.running.add(ticket)
            ticket.state = "running"
            ticket._started = self._clock.monotonic()
            if ticket._watch is not None:
                ticket._watch.cancel()
            ticket._task = asyncio.create_task(self._run(ticket), name=ticket.name)
            # A task cancelled before its first step never enters _run; this is then the only one to notice.
            ticket._task.add_done_callback(partial(self._left, ticket))

    async def _run(self, ticket: Ticket) -> None:
        assert ticket._fn is not None
        left = None if ticket._due is None else ticket._due - self._clock.monotonic()
        scope = None
        try:
            async with self._clock.timeout(left) as scope:
                result = await ticket._fn()
        except asyncio.CancelledError:
            self._end(ticket, "cancelled", None)
            raise
        except TimeoutError as error:
            late = scope is not None and scope.expired()
            self._end(ticket, "failed", _late(ticket) if late else error)
        except Exception as error:
            self._end(ticket, "failed", error)
        except (SystemExit, KeyboardInterrupt) as error:
            text = f"{ticket.name} raised {type(error).__name__}, which would end the hub; only the hub itself ends"
            self._end(ticket, "failed", PluginError(text))
        else:
            self._end(ticket, "done", result)

    def _left(self, ticket: Ticket, _: asyncio.Task[None]) -> None:
        self._end(ticket, "cancelled", None)

    async def _expire(self, ticket: Ticket, deadline_s: float) -> None:
        await self._clock.sleep(deadline_s)
        if ticket.state == "queued":
            self._end(ticket, "failed", _late(ticket))

    def _end(self, ticket: Ticket, state: State, outcome: Any) -> None:
        if ticket._result.done():
            return
        lane = ticket._lane
        now = self._clock.monotonic()
        if ticket._started is None:
            del lane.queue[ticket]
            if ticket._watch is not None and ticket._watch is not asyncio.current_task():
                ticket._watch.cancel()
        else:
            lane.running.discard(ticket)
            self._begun += 1
            self._waited_s += ticket._started - ticket._submitted
            self._ran_s += now - ticket._started
        ticket.state = state
        ticket._fn = None  # a ticket may be kept; what the work holds, a retired plugin among it, must not be
        self._ended += 1
        if state == "done":
            ticket._result.set_result(outcome)
        elif state == "failed":
            self._failed += 1
            ticket._result.set_exception(outcome)
            ticket._result.exception()  # seen: a ticket nobody awaits is the submitter's choice, not a warning
        else:
            self._cancelled += 1
            ticket._result.cancel()
        self._dispatch(lane)


def _check_limit(lane: str, limit: int) -> None:
    if limit < 0:
        raise BadInput(f"the limit of lane {lane!r} is a number from 0, got {limit}")


def _late(ticket: Ticket) -> DeadlineExceeded:
    assert ticket._due is not None
    began = "before it began" if ticket._started is None else "while it ran"
    return DeadlineExceeded(
        f"{ticket.name!r} missed its deadline of {ticket._due - ticket._submitted:g} s {began}",
        details={"name": ticket.name, "lane": ticket.lane},
    )
