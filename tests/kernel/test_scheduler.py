"""Lanes, limits, deadlines and cancellation, on a clock that jumps."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from kernel.errors import BadInput, DeadlineExceeded, Overloaded, ServiceUnavailable
from kernel.scheduler import Scheduler
from kernel.testing import TestClock


def work(
    clock: TestClock, seconds: float, log: list[Any] | None = None, name: Any = None
) -> Callable[[], Awaitable[Any]]:
    async def working() -> Any:
        await clock.sleep(seconds)
        if log is not None:
            log.append(name)
        return name

    return working


def make(clock: TestClock, **settings: Any) -> Scheduler:
    settings.setdefault("limits", {"high_priority": 4, "background": 1})
    return Scheduler(clock, **settings)


async def test_a_ticket_returns_the_result_and_raises_what_was_raised() -> None:
    clock = TestClock()
    scheduler = make(clock)

    async def breaks() -> None:
        raise ValueError("broken")

    good, bad = scheduler.submit("background", work(clock, 0, name=7), name="good"), None
    assert await good == 7
    bad = scheduler.submit("background", breaks, name="bad")
    with pytest.raises(ValueError, match="broken"):
        await bad
    assert (good.state, bad.state) == ("done", "failed")


async def test_a_lane_runs_as_many_as_its_limit_in_the_order_of_submission() -> None:
    clock, ended = TestClock(), []
    scheduler = make(clock, limits={"background": 2})
    for name in range(5):
        scheduler.submit("background", work(clock, 10, ended, name), name=str(name))
    await clock.advance(10)
    assert ended == [0, 1]
    lane = scheduler.stats().lanes["background"]
    assert (lane.queued, lane.running, lane.limit) == (1, 2, 2)
    await clock.advance(20)
    assert ended == [0, 1, 2, 3, 4]


async def test_a_full_lane_does_not_hold_up_another() -> None:
    clock = TestClock()
    scheduler = make(clock)
    slow = [scheduler.submit("background", work(clock, 100), name="slow") for _ in range(3)]
    assert await scheduler.submit("high_priority", work(clock, 0, name="quick"), name="quick") == "quick"
    assert [ticket.state for ticket in slow] == ["running", "queued", "queued"]
    await scheduler.stop(0)


async def test_a_full_queue_is_overloaded_and_says_so() -> None:
    clock = TestClock()
    scheduler = make(clock, queue=2)
    for _ in range(3):
        scheduler.submit("background", work(clock, 10), name="x")
    with pytest.raises(Overloaded, match="2 pieces") as caught:
        scheduler.submit("background", work(clock, 10), name="x")
    assert caught.value.retry_after_s
    await scheduler.stop(0)


async def test_an_unknown_lane_is_refused_with_the_nearest() -> None:
    with pytest.raises(BadInput, match="did you mean background"):
        make(TestClock()).submit("backgruond", work(TestClock(), 0), name="x")


async def test_a_waiting_ticket_is_cancelled_before_it_starts_and_frees_its_place() -> None:
    clock, ended = TestClock(), []
    scheduler = make(clock, queue=1)
    scheduler.submit("background", work(clock, 10, ended, "first"), name="first")
    waiting = scheduler.submit("background", work(clock, 10, ended, "second"), name="second")
    assert waiting.cancel()
    assert not waiting.cancel()
    third = scheduler.submit("background", work(clock, 10, ended, "third"), name="third")
    await clock.advance(30)
    assert ended == ["first", "third"]
    assert (waiting.state, third.state) == ("cancelled", "done")
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_running_work_is_cancelled_even_before_its_first_step() -> None:
    clock = TestClock()
    scheduler = make(clock)
    at_once = scheduler.submit("background", work(clock, 10), name="x")
    assert at_once.cancel()
    await clock.settle()
    running = scheduler.submit("background", work(clock, 10), name="y")
    await clock.advance(1)
    running.cancel()
    await clock.settle()
    assert (at_once.state, running.state) == ("cancelled", "cancelled")
    stats = scheduler.stats()
    assert (stats.cancelled, stats.tasks_processed, stats.lanes["background"].running) == (2, 2, 0)


async def test_who_stops_waiting_does_not_cancel_the_work() -> None:
    clock = TestClock()
    scheduler = make(clock)
    ticket = scheduler.submit("background", work(clock, 10, name="kept"), name="x")

    async def wait() -> Any:
        return await ticket

    waiter = asyncio.create_task(wait())
    await clock.advance(1)
    waiter.cancel()
    await clock.advance(9)
    assert ticket.state == "done"
    assert await ticket == "kept"


async def test_a_deadline_counts_from_the_submit_and_ends_running_work() -> None:
    clock = TestClock()
    scheduler = make(clock)
    scheduler.submit("background", work(clock, 4), name="before")
    late = scheduler.submit("background", work(clock, 10), name="late", deadline_s=5)
    await clock.advance(4.5)
    assert late.state == "running"
    await clock.advance(0.5)
    with pytest.raises(DeadlineExceeded, match="5 s while it ran"):
        await late


async def test_a_deadline_that_passes_in_the_queue_means_the_work_never_begins() -> None:
    clock, ended = TestClock(), []
    scheduler = make(clock)
    scheduler.submit("background", work(clock, 10), name="before")
    late = scheduler.submit("background", work(clock, 0, ended, "late"), name="late", deadline_s=5)
    await clock.advance(5)
    assert late.state == "failed"
    with pytest.raises(DeadlineExceeded, match="before it began"):
        await late
    await clock.advance(10)
    assert ended == []
    assert clock.waiting == 0


async def test_a_timeout_of_the_works_own_is_not_the_deadline() -> None:
    clock = TestClock()
    scheduler = make(clock)

    async def own() -> None:
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match="mine"):
        await scheduler.submit("background", own, name="x", deadline_s=5)


async def test_a_changed_limit_takes_effect_at_once() -> None:
    clock = TestClock()
    scheduler = make(clock, limits={"background": 0})
    tickets = [scheduler.submit("background", work(clock, 10), name="x") for _ in range(3)]
    await clock.settle()
    assert {ticket.state for ticket in tickets} == {"queued"}
    scheduler.set_limit("background", 2)
    assert [ticket.state for ticket in tickets] == ["running", "running", "queued"]
    scheduler.set_limit("background", 1)
    await clock.advance(10)
    assert scheduler.stats().lanes["background"].running == 1
    with pytest.raises(BadInput, match="from 0"):
        scheduler.set_limit("background", -1)
    await scheduler.stop(0)


async def test_the_figures_are_measured() -> None:
    clock = TestClock()
    scheduler = make(clock)
    for _ in range(2):
        scheduler.submit("background", work(clock, 2), name="x")
    await clock.advance(4)
    stats = scheduler.stats()
    assert (stats.tasks_processed, stats.failed, stats.cancelled) == (2, 0, 0)
    assert (stats.avg_wait_ms, stats.avg_run_ms, stats.avg_task_latency_ms) == (1000.0, 2000.0, 3000.0)
    assert stats.cycles == 4


async def test_stopping_cancels_what_waits_and_gives_what_runs_its_grace() -> None:
    clock, ended = TestClock(), []
    scheduler = make(clock, limits={"background": 2})
    short = scheduler.submit("background", work(clock, 3, ended, "short"), name="short")
    long = scheduler.submit("background", work(clock, 30, ended, "long"), name="long")
    waiting = scheduler.submit("background", work(clock, 1, ended, "waiting"), name="waiting")
    stopping = asyncio.create_task(scheduler.stop(5))
    await clock.advance(4)
    assert not stopping.done()
    await clock.advance(1)
    assert await stopping == []
    assert [short.state, long.state, waiting.state] == ["done", "cancelled", "cancelled"]
    assert ended == ["short"]
    with pytest.raises(ServiceUnavailable, match="stopping"):
        scheduler.submit("background", work(clock, 1), name="x")


async def test_work_that_ignores_its_cancellation_is_named() -> None:
    clock, release = TestClock(), asyncio.Event()
    scheduler = make(clock)

    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                pass

    ticket = scheduler.submit("background", stubborn, name="stubborn")
    await clock.settle()
    stopping = asyncio.create_task(scheduler.stop(1))
    await clock.advance(1)
    await clock.advance(5)
    assert await stopping == ["stubborn"]
    release.set()
    await clock.settle()
    assert ticket.done()


async def test_no_task_is_left_behind() -> None:
    clock = TestClock()
    scheduler = make(clock)
    tickets = [scheduler.submit("background", work(clock, 1), name="x", deadline_s=50) for _ in range(20)]
    for ticket in tickets[::3]:
        ticket.cancel()
    await clock.advance(20)  # before the deadlines: those who watched them are gone as well
    assert all(ticket.done() for ticket in tickets)
    assert asyncio.all_tasks() == {asyncio.current_task()}
