"""Due times as a state machine: whatever the clock, the runs and the hub do, each one comes once or is counted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from aether_lang.schedules import Schedule, next_after

START = datetime(2027, 1, 1, tzinfo=UTC).timestamp()
TEXTS = ("every 7 minutes", "every 1 hour", "daily at 06:00", "30 2 * * *", "*/20 * * * *", "monthly on 1 at 03:00")
ZONES = ("UTC", "Europe/Berlin", "America/New_York")


@pytest.fixture(scope="module")
def timing(load_plugin: Callable[[str], ModuleType]) -> ModuleType:
    module: ModuleType = load_plugin("schedules").timing
    return module


def dues(schedule: Schedule, since: float, until: float) -> list[float]:
    """The slow way: every due time behind `since` and not behind `until`, of an interval from `since` on."""
    found = []
    moment = datetime.fromtimestamp(since, UTC)
    while (one := next_after(schedule, moment)) is not None and one.timestamp() <= until:
        found.append(one.timestamp())
        moment = one
    return found


@settings(max_examples=30, deadline=None)
@given(text=st.sampled_from(TEXTS), tz=st.sampled_from(ZONES), late_s=st.floats(0, 2 * 86_400))
def test_what_passed_is_counted_and_the_next_due_time_lies_ahead(
    timing: ModuleType, text: str, tz: str, late_s: float
) -> None:
    schedule = timing.parsed(text, tz)
    due = timing.due_after(schedule, START)
    now = due + late_s
    passed = dues(schedule, due, now)
    for step in (timing.after_skip(schedule, due, now), timing.after_start(schedule, due, now)):
        assert step.next_due > now
        assert step.missed == len(passed)
    if schedule.kind == "interval":
        assert timing.after_start(schedule, due, now).next_due == pytest.approx(now + schedule.seconds)
        skipped = timing.after_skip(schedule, due, now).next_due
        assert (skipped - due) / schedule.seconds == pytest.approx(round((skipped - due) / schedule.seconds))
    else:
        assert (
            timing.after_start(schedule, due, now).next_due
            == next_after(schedule, datetime.fromtimestamp(now, UTC)).timestamp()
        )


def test_of_very_many_times_of_a_calendar_only_so_many_are_counted(timing: ModuleType) -> None:
    schedule = timing.parsed("* * * * *", "UTC")
    due = timing.due_after(schedule, START)
    step = timing.after_skip(schedule, due, due + 86_400)
    assert (step.missed, step.next_due) == (timing.MISSED_MOST, due + 86_460)


def test_a_schedule_is_kept_as_it_was(timing: ModuleType) -> None:
    for text in TEXTS:
        schedule = timing.parsed(text, "Europe/Berlin")
        assert timing.restored(timing.stored(schedule)) == schedule


def test_due_times_come_once_or_are_counted_whatever_happens(timing: ModuleType) -> None:
    class Life(RuleBasedStateMachine):
        """A calendar schedule, a clock that jumps, runs that take their time, and a hub that is down now and then."""

        def __init__(self) -> None:
            super().__init__()
            self.schedule = timing.parsed("*/20 * * * *", "Europe/Berlin")
            self.now = self.newest = START
            self.next_due = timing.due_after(self.schedule, START)
            self.fired: list[float] = []
            self.counted = 0
            self.going, self.up = False, True

        @rule(seconds=st.floats(1, 3 * 3600))
        def time_passes(self, seconds: float) -> None:
            self.now += seconds
            self.newest = max(self.newest, self.now)
            self.look()

        @rule(seconds=st.floats(1, 3 * 3600))
        def the_clock_is_put_back(self, seconds: float) -> None:
            self.now -= seconds
            self.look()

        @rule()
        def the_hub_goes_down_or_comes_up(self) -> None:
            self.up = not self.up
            self.look()

        @precondition(lambda self: self.going)
        @rule()
        def a_run_ends(self) -> None:
            self.going = False

        def look(self) -> None:
            if not self.up or self.next_due > self.now:
                return
            if self.going:
                step = timing.after_skip(self.schedule, self.next_due, self.now)
                self.counted += 1
            else:
                step = timing.after_start(self.schedule, self.next_due, self.now)
                self.fired.append(self.next_due)
                self.going = True
            self.counted += step.missed
            self.next_due = step.next_due

        @invariant()
        def each_due_time_came_once(self) -> None:
            assert len(set(self.fired)) == len(self.fired)
            assert self.fired == sorted(self.fired)
            told = len(self.fired) + self.counted
            behind = dues(self.schedule, self.next_due - 1, self.newest)
            assert told + len(behind) == len(dues(self.schedule, START, self.newest))

    run_state_machine_as_test(Life, settings=settings(max_examples=15, stateful_step_count=12, deadline=None))
