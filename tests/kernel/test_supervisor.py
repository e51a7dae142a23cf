"""Tasks that come back, and tasks that died too often."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kernel.bus import Bus
from kernel.errors import Conflict
from kernel.supervisor import Supervisor
from kernel.testing import Recording, TestClock


class House:
    """A supervisor with its bus and clock, and what it told."""

    def __init__(self) -> None:
        self.clock = TestClock()
        self.bus = Bus(self.clock)
        self.told: list[tuple[str, str, str]] = []
        self.events = Recording(self.bus)
        self.supervisor = Supervisor(self.clock, self.bus, lambda *told: self.told.append((*told[:2], str(told[2]))))
        self.group = self.supervisor.group("hello")


class Mortal:
    """Dies at once, each time, and notes when."""

    def __init__(self, clock: TestClock, *, lives_s: float = 0.0, error: BaseException | None = None) -> None:
        self.clock = clock
        self.lives_s = lives_s
        self.error = error or ValueError("died")
        self.births: list[float] = []

    async def __call__(self) -> None:
        self.births.append(self.clock.monotonic())
        await self.clock.sleep(self.lives_s)
        raise self.error


async def test_a_task_that_dies_comes_back_after_a_doubling_pause() -> None:
    house = House()
    mortal = Mortal(house.clock)
    house.group.start("mortal", mortal)
    await house.clock.advance(1)
    assert mortal.births == pytest.approx([0, 0.1, 0.3, 0.7])


async def test_the_fourth_death_in_five_minutes_is_the_last() -> None:
    house = House()
    mortal = Mortal(house.clock, lives_s=60)
    house.group.start("mortal", mortal)
    await house.clock.advance(10_000)
    assert len(mortal.births) == 4
    assert house.group.states() == {"mortal": "failed"}
    assert [event.data["name"] for event in house.events.of("plugin.task_failed")] == ["mortal"]
    assert len(house.events.of("plugin.error")) == 4
    assert "4 deaths in 300 s" in house.told[-1][2]
    stats = house.supervisor.stats()
    assert (stats.failed, stats.deaths, stats.restarts) == (1, 4, 3)
    assert "ValueError: died" in stats.tasks[0].last_error
    assert await house.group.stop() == []


async def test_deaths_far_enough_apart_never_end_it_and_the_pause_is_bounded() -> None:
    house = House()
    mortal = Mortal(house.clock, lives_s=110)
    house.group.start("mortal", mortal)
    await house.clock.advance(110 * 30)
    assert house.group.states()["mortal"] in ("running", "waiting")
    pauses = [later - earlier - 110 for earlier, later in zip(mortal.births, mortal.births[1:], strict=False)]
    assert max(pauses) == pytest.approx(30)
    assert pauses == sorted(pauses)
    await house.group.stop()


async def test_a_task_that_lived_through_a_period_begins_with_the_shortest_pause() -> None:
    house = House()
    mortal = Mortal(house.clock, lives_s=301)
    house.group.start("mortal", mortal)
    await house.clock.advance(301 * 5)
    pauses = [later - earlier - 301 for earlier, later in zip(mortal.births, mortal.births[1:], strict=False)]
    assert pauses == pytest.approx([0.1] * len(pauses))
    await house.group.stop()


@pytest.mark.parametrize(
    ("restart", "runs", "state"), [("on_error", 1, "ended"), ("never", 1, "ended"), ("always", 4, "failed")]
)
async def test_what_ends_by_itself_comes_back_only_when_told_always(restart: Any, runs: int, state: str) -> None:
    house, births = House(), []

    async def brief() -> None:
        births.append(1)

    house.group.start("brief", brief, restart=restart)
    await house.clock.advance(100)
    assert (len(births), house.group.states()["brief"]) == (runs, state)


async def test_never_means_never_also_after_an_error() -> None:
    house = House()
    mortal = Mortal(house.clock)
    house.group.start("mortal", mortal, restart="never")
    await house.clock.advance(100)
    assert len(mortal.births) == 1
    assert house.group.states() == {"mortal": "failed"}
    assert len(house.events.of("plugin.task_failed")) == 1


async def test_a_cancellation_the_task_made_up_is_a_death() -> None:
    house = House()
    mortal = Mortal(house.clock, error=asyncio.CancelledError())
    house.group.start("mortal", mortal)
    await house.clock.advance(100)
    assert len(mortal.births) == 4


async def test_stopping_cancels_running_and_waiting_tasks_and_waits_for_them() -> None:
    house, cleaned = House(), []

    async def cleans_up() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await house.clock.sleep(1)
            cleaned.append(True)

    house.group.start("cleans_up", cleans_up)
    house.group.start("mortal", Mortal(house.clock))
    await house.clock.settle()
    assert house.group.states() == {"cleans_up": "running", "mortal": "waiting"}
    stopping = asyncio.create_task(house.group.stop())
    await house.clock.advance(1)
    assert await stopping == []
    assert cleaned == [True]
    assert set(house.group.states().values()) == {"stopped"}
    assert asyncio.all_tasks() == {asyncio.current_task()}
    with pytest.raises(Conflict, match="being stopped"):
        house.group.start("late", cleans_up)
    assert house.supervisor.group("hello") is not house.group


async def test_a_task_stopped_before_its_first_step_never_runs() -> None:
    house, births = House(), []

    async def unborn() -> None:
        births.append(1)

    house.group.start("unborn", unborn)
    await house.group.stop()
    assert births == []
    assert house.group.states() == {"unborn": "stopped"}


async def test_a_task_that_ignores_its_cancellation_is_reported_by_name() -> None:
    house, release = House(), asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                pass

    house.group.start("stubborn", stubborn)
    await house.clock.settle()
    stopping = asyncio.create_task(house.supervisor.stop())
    await house.clock.advance(4.9)
    assert not stopping.done()
    await house.clock.advance(0.1)
    assert await stopping == ["hello.stubborn"]
    assert house.told[-1][:2] == ("hello", "stubborn")
    assert "5 s" in house.told[-1][2]
    assert house.supervisor.stats().stuck == 1
    release.set()
    await house.clock.settle()


async def test_two_tasks_of_one_name_are_refused_until_the_first_is_over() -> None:
    house, release = House(), asyncio.Event()

    async def waits() -> None:
        await release.wait()

    house.group.start("waits", waits)
    with pytest.raises(Conflict, match="already"):
        house.group.start("waits", waits)
    release.set()
    await house.clock.settle()
    house.group.start("waits", waits)
    await house.clock.settle()
    assert house.group.states() == {"waits": "ended"}


async def test_an_on_error_that_raises_does_not_end_the_supervision() -> None:
    clock, problems = TestClock(), []

    def broken(owner: str, name: str, error: BaseException) -> None:
        raise RuntimeError("the callback")

    asyncio.get_running_loop().set_exception_handler(lambda loop, context: problems.append(context["message"]))
    mortal = Mortal(clock)
    Supervisor(clock, Bus(clock), broken).group("hello").start("mortal", mortal)
    await clock.advance(10)
    assert len(mortal.births) == 4
    assert len(problems) == 5
