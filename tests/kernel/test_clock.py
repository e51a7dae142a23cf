"""Time: the machine's, and the clock that jumps."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from kernel.clock import Clock, SystemClock, iso
from kernel.testing import TestClock


def test_iso_is_utc_with_milliseconds_and_z() -> None:
    assert iso(0) == "1970-01-01T00:00:00.000Z"
    assert iso(1_795_202_252.125) == "2026-11-20T19:17:32.125Z"


async def test_the_system_clock_sleeps_and_times_out() -> None:
    clock: Clock = SystemClock()
    start = clock.monotonic()
    await clock.sleep(0.01)
    assert clock.monotonic() - start >= 0.009
    assert clock.now() > 1_700_000_000
    with pytest.raises(TimeoutError):
        async with clock.timeout(0.01) as scope:
            await asyncio.Event().wait()
    assert scope.expired()


async def test_sleepers_wake_in_the_order_of_their_time() -> None:
    clock, woken = TestClock(), []

    async def sleeper(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((seconds, clock.monotonic()))

    async with asyncio.TaskGroup() as tasks:
        for seconds in (3.0, 1.0, 2.0):
            tasks.create_task(sleeper(seconds))
        await clock.advance(2.5)
        assert woken == [(1.0, 1.0), (2.0, 2.0)]
        assert clock.waiting == 1
        await clock.advance(0.5)
    assert woken[-1] == (3.0, 3.0)


async def test_a_chain_of_sleeps_runs_within_one_advance() -> None:
    clock, ticks = TestClock(), []

    async def ticking() -> None:
        while True:
            await clock.sleep(10)
            ticks.append(clock.monotonic())

    task = asyncio.create_task(ticking())
    await clock.advance(35)
    task.cancel()
    assert ticks == [10, 20, 30]


async def test_a_timeout_obeys_the_test_clock() -> None:
    clock = TestClock()

    async def waits() -> str:
        try:
            async with clock.timeout(5):
                await asyncio.Event().wait()
        except TimeoutError:
            return "timed out"
        return "never"

    task = asyncio.create_task(waits())
    await clock.advance(4.9)
    assert not task.done()
    await clock.advance(0.1)
    assert task.result() == "timed out"
    assert clock.waiting == 0


async def test_a_timeout_that_is_already_over_and_one_that_never_comes() -> None:
    clock = TestClock()
    with pytest.raises(TimeoutError):
        async with clock.timeout(0):
            await asyncio.Event().wait()
    async with clock.timeout(None) as scope:
        await clock.advance(1e9)
    assert not scope.expired()


async def test_a_cancellation_inside_a_timeout_stays_a_cancellation() -> None:
    clock = TestClock()

    async def waits() -> None:
        async with clock.timeout(5):
            await asyncio.Event().wait()

    task = asyncio.create_task(waits())
    await clock.settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_jump_of_the_wall_leaves_monotonic_time_alone() -> None:
    clock = TestClock(now=1000.0)
    clock.jump_wall(-500)
    await clock.advance(1)
    assert clock.now() == 501.0
    assert clock.monotonic() == 1.0


async def test_what_a_cancelled_timeout_would_have_woken_does_not_stay_in_memory() -> None:
    clock = TestClock()

    class Held:
        pass

    async def waits(held: Held) -> None:
        async with clock.timeout(5):
            await clock.sleep(10)

    held = Held()
    gone = weakref.ref(held)
    task = asyncio.create_task(waits(held))
    await clock.settle()
    task.cancel()
    await asyncio.wait([task])
    del held, task
    gc.collect()
    assert gone() is None


async def test_time_stands_still_while_what_it_watches_is_busy() -> None:
    clock, done, turns = TestClock(), asyncio.Event(), []

    async def works_in_a_thread() -> None:
        for _ in range(3):
            await clock.sleep(1)
            turns.append(await asyncio.to_thread(clock.monotonic))
        done.set()

    task = asyncio.create_task(works_in_a_thread())
    clock.watch(lambda: not done.is_set() and not clock.waiting)
    await clock.advance(10)
    assert turns == [1.0, 2.0, 3.0]
    await task
