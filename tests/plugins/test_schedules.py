"""Schedules on a clock that the test moves: each due time once, over skips, restarts, jumps and refusals."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio
from schedule_house import BOB, ScheduleHouse, schedule_house

from kernel import BadInput, Caller, Conflict, NotFound, TooLarge
from kernel.testing import Recording, TestClock

ROOT = Caller("core:root")


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


START = at("2027-03-26T05:59:30")  # a Friday

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def clock() -> TestClock:
    """A clock for a hub of the test's own."""
    return TestClock(START)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ScheduleHouse]:
    settings = {"plugins.schedules.per_owner": 5}
    async with schedule_house(tmp_path_factory.mktemp("schedules"), TestClock(START), settings) as house:
        yield house


@pytest_asyncio.fixture(loop_scope="module")
async def house(shared: ScheduleHouse) -> AsyncIterator[ScheduleHouse]:
    """The shared house on that Friday, without schedules, for a user of the test's own."""
    shared.user = Caller(f"user:{uuid.uuid4()}", ("role:user",))
    shared.clock.jump_wall(START - shared.clock.now())
    await shared.clock.advance(60)
    shared.clock.jump_wall(-60)
    yield shared
    for mode in ("refuse", "hold", "gone"):
        await shared.set(mode, "")
    for user in (shared.user, BOB):
        for one in (await shared.schedules(user).list())["schedules"]:
            await shared.schedules(user).remove(one["id"])


async def test_a_schedule_runs_its_script_for_its_owner_when_it_is_due(house: ScheduleHouse) -> None:
    made = await house.schedules().create("tidy", "0 6 * * 1-5", entry="sweep", parameters={"n": 3})
    assert (made["script"], made["entry"], made["next_due"]) == ("tidy.aether", "sweep", "2027-03-26T06:00:00.000Z")
    assert made["schedule"]["kind"] == "cron"
    await house.clock.advance(29)
    assert await house.jobs() == []
    with Recording(house.kernel.bus, "schedule.#") as told:
        await house.clock.advance(2)
        assert told.topics == ["schedule.fired"]
    (job,) = await house.jobs()
    row = await house.schedules().get(made["id"])
    assert (job["owner"], job["name"]) == (house.user.id, "tidy.aether")
    executions = house.kernel.context(ROOT).service("executions")
    assert (await executions.get(job["id"]))["input"] == {
        "parameters": {"n": 3},
        "context": {"schedule": {"id": made["id"], "due": "2027-03-26T06:00:00.000Z"}},
        "entry": "sweep",
    }
    assert (row["runs"], row["last_job"], row["last_state"]) == (1, job["id"], "completed")
    assert row["next_due"] == "2027-03-29T06:00:00.000Z", "the weekend is left out"


async def test_an_interval_counts_from_the_last_start(house: ScheduleHouse) -> None:
    made = await house.schedules().create("tidy", "every 90s")
    await house.clock.advance(90 * 3 + 1)
    assert await house.dues() == ["2027-03-26T06:01:00.000Z", "2027-03-26T06:02:30.000Z", "2027-03-26T06:04:00.000Z"]
    assert (await house.schedules().get(made["id"]))["missed"] == 0


async def test_a_run_that_is_still_going_is_not_doubled(house: ScheduleHouse) -> None:
    await house.set("hold", "yes")
    made = await house.schedules().create("tidy", 60)
    await house.clock.advance(61)
    with Recording(house.kernel.bus, "schedule.#") as told:
        await house.clock.advance(60)
        assert told.topics == ["schedule.skipped"]
    (job,) = await house.jobs()
    row = await house.schedules().get(made["id"])
    assert (row["runs"], row["skipped"], row["last_state"]) == (1, 1, "running")
    assert job["id"] in row["skip_reason"]
    await house.end(job)
    await house.clock.advance(60)
    assert len(await house.jobs()) == 2


async def test_what_was_missed_is_caught_up_once(tmp_path: Path, clock: TestClock) -> None:
    async with schedule_house(tmp_path, clock) as house:
        daily = await house.schedules().create("tidy", "daily at 06:00")
        often = await house.schedules().create("sweep", "every 1 hour")
    clock.jump_wall(3 * 86_400)  # the hub is down for three days
    async with schedule_house(tmp_path, clock) as house:
        jobs = await house.jobs_once(2)
        await clock.settle()
        assert sorted(job["name"] for job in jobs) == ["sweep.aether", "tidy.aether"]
        row = await house.schedules().get(daily["id"])
        assert (row["runs"], row["missed"], row["next_due"]) == (1, 2, "2027-03-29T06:00:00.000Z")
        row = await house.schedules().get(often["id"])
        assert (row["runs"], row["missed"], row["next_due"]) == (1, 71, "2027-03-29T06:59:30.000Z")


async def test_a_time_of_day_that_the_clocks_leave_out_or_show_twice_is_due_once(tmp_path: Path) -> None:
    seldom = {"plugins.schedules.check_s": 86_400}
    gap = TestClock(at("2027-03-28T00:00:00"))
    async with schedule_house(tmp_path / "gap", gap, seldom) as house:
        await house.schedules().create("tidy", "30 2 * * *", tz="Europe/Berlin")
        await gap.advance(2 * 86_400)
        assert await house.dues() == ["2027-03-28T01:00:00.000Z", "2027-03-29T00:30:00.000Z"]
    fold = TestClock(at("2027-10-30T23:00:00"))
    async with schedule_house(tmp_path / "fold", fold, seldom) as house:
        await house.schedules().create("tidy", "30 2 * * *", tz="Europe/Berlin")
        await fold.advance(2 * 86_400)
        assert await house.dues() == ["2027-10-31T00:30:00.000Z", "2027-11-01T01:30:00.000Z"]


async def test_a_clock_put_back_doubles_nothing_and_delays_no_interval(house: ScheduleHouse) -> None:
    await house.schedules().create("tidy", "daily at 06:00")
    often = await house.schedules().create("sweep", "every 5 minutes")
    await house.clock.advance(301)
    house.clock.jump_wall(-3600)
    await house.clock.advance(60)
    row = await house.schedules().get(often["id"])
    assert at(row["next_due"].removesuffix("Z")) <= house.clock.now() + 300
    await house.clock.advance(3600)
    names = [job["name"] for job in await house.jobs()]
    assert names.count("tidy.aether") == 1
    assert names.count("sweep.aether") == 1 + 12


async def test_a_clock_that_was_wrong_by_a_year_is_not_waited_for(house: ScheduleHouse) -> None:
    made = await house.schedules().create("tidy", "daily at 06:00")
    house.clock.jump_wall(365 * 86_400)
    await house.clock.advance(60)
    await house.fired(made["id"])
    house.clock.jump_wall(-365 * 86_400)
    await house.clock.advance(60)
    assert (await house.schedules().get(made["id"]))["next_due"] == "2027-03-27T06:00:00.000Z"


async def test_a_refused_run_is_noted_and_the_next_time_tried_again(house: ScheduleHouse) -> None:
    made = await house.schedules().create("tidy", 60)
    await house.set("refuse", "denied")
    with Recording(house.kernel.bus, "schedule.#") as told:
        await house.clock.advance(61)
        assert told.topics == ["schedule.failed"]
    row = await house.schedules().get(made["id"])
    assert (row["failed"], row["runs"], row["enabled"]) == (1, 0, True)
    assert "may not script:run" in row["failure"]
    await house.set("refuse", "")
    await house.clock.advance(60)
    row = await house.schedules().get(made["id"])
    assert (row["runs"], row["failure"]) == (1, None)


async def test_a_hub_with_no_room_is_asked_again_for_the_same_due_time(house: ScheduleHouse) -> None:
    made = await house.schedules().create("tidy", "daily at 06:00")
    await house.set("refuse", "busy")
    await house.clock.advance(40)
    assert (await house.schedules().get(made["id"]))["next_due"] == "2027-03-26T06:00:00.000Z"
    await house.set("refuse", "")
    await house.clock.advance(6)
    assert await house.dues() == ["2027-03-26T06:00:00.000Z"]
    assert (await house.schedules().get(made["id"]))["failed"] == 0


async def test_a_submit_that_was_not_noted_is_found_again_and_not_doubled(tmp_path: Path, clock: TestClock) -> None:
    """As after a crash between the submit and the note, soon after it and when its key is long forgotten."""
    for wait_s in (60.0, 30 * 3600.0):
        home = tmp_path / str(wait_s)
        async with schedule_house(home, clock) as house:
            made = await house.schedules().create("tidy", "monthly on 1 at 00:00")
            await clock.settle()
            clock.jump_wall(at(made["next_due"].removesuffix("Z")) + 1 - clock.now())
            context = house.kernel.context(Caller("user:ada"))
            parent = f"schedule:{made['id']}:{made['next_due']}"
            given = {
                "parameters": {},
                "context": {"schedule": {"id": made["id"], "due": made["next_due"]}},
                "entry": None,
            }
            await context.service("executions").submit(
                "script", "tidy.aether", given, idempotency_key=parent, parent=parent
            )
            assert (await house.schedules().get(made["id"]))["runs"] == 0
        clock.jump_wall(wait_s)
        async with schedule_house(home, clock) as house:
            await house.fired(made["id"])
            assert await house.dues() == [made["next_due"]]
            assert (await house.schedules().get(made["id"]))["runs"] == 1


async def test_a_disabled_schedule_rests_and_an_enabled_one_catches_nothing_up(house: ScheduleHouse) -> None:
    made = await house.schedules().create("tidy", 60)
    await house.schedules().switch(made["id"], False)
    await house.clock.advance(200)
    assert await house.jobs() == []
    again = await house.schedules().switch(made["id"], True)
    assert again["next_due"] == "2027-03-26T06:03:50.000Z"
    await house.clock.advance(61)
    assert len(await house.jobs()) == 1


async def test_a_removed_schedule_is_never_due(house: ScheduleHouse) -> None:
    made = await house.schedules().create("tidy", 60)
    assert await house.schedules().remove(made["id"]) == 1
    await house.clock.advance(100)
    assert await house.jobs() == []
    with pytest.raises(NotFound):
        await house.schedules().get(made["id"])


async def test_what_cannot_be_a_schedule_is_refused_with_the_reason(house: ScheduleHouse) -> None:
    for wrong, tz in (("every blue moon", "UTC"), ("0 6 30 2 *", "UTC"), ("daily", "Mars/Olympus"), (0.5, "UTC")):
        with pytest.raises(BadInput):
            await house.schedules().create("tidy", wrong, tz=tz)
    with pytest.raises(TooLarge, match="parameters_kb"):
        await house.schedules().create("tidy", 60, parameters={"x": "x" * 70_000})
    await house.set("gone", "yes")
    with pytest.raises(NotFound):
        await house.schedules().create("tidy", 60)


async def test_the_number_of_schedules_is_bounded_for_each_user(house: ScheduleHouse) -> None:
    for _ in range(5):
        await house.schedules().create("tidy", "daily")
    with pytest.raises(TooLarge, match="per_owner"):
        await house.schedules().create("tidy", "daily")
    await house.schedules(BOB).create("tidy", "daily")


async def test_a_create_that_is_repeated_with_its_key_makes_one_schedule(house: ScheduleHouse) -> None:
    first = await house.schedules().create("tidy", 60, idempotency_key="k")
    again = await house.schedules().create("tidy", 60, idempotency_key="k")
    assert (again["id"], first["replayed"], again["replayed"]) == (first["id"], False, True)
    with pytest.raises(Conflict):
        await house.schedules().create("tidy", 61, idempotency_key="k")
    assert len((await house.schedules().list())["schedules"]) == 1


async def test_schedules_are_listed_newest_first_in_pages_and_filtered(house: ScheduleHouse) -> None:
    for name in ("a", "b", "c"):
        await house.schedules().create(name, "daily")
    page = await house.schedules().list(limit=2)
    assert [one["script"] for one in page["schedules"]] == ["c.aether", "b.aether"]
    rest = await house.schedules().list(limit=2, before=page["next"])
    assert [one["script"] for one in rest["schedules"]] == ["a.aether"]
    assert rest["next"] is None
    assert [one["script"] for one in (await house.schedules().list(script="b.aether"))["schedules"]] == ["b.aether"]
    assert (await house.schedules().list(enabled=False))["schedules"] == []


async def test_an_interval_of_a_script_is_over_once_for_each_user_and_place(house: ScheduleHouse) -> None:
    async def passed(place: str, caller: Caller | None = None) -> bool:
        return bool(await house.schedules(caller).interval(place, 60))

    assert [await passed("a"), await passed("a"), await passed("b"), await passed("a", BOB)] == [
        True,
        False,
        True,
        True,
    ]
    await house.clock.advance(60)
    assert [await passed("a"), await passed("a")] == [True, False]
    house.clock.jump_wall(-3600)
    assert await passed("a"), "a clock that went back begins a new interval"


async def test_any_number_of_schedules_that_wait_hold_one_timer(tmp_path: Path, clock: TestClock) -> None:
    async with schedule_house(tmp_path, clock) as house:
        without = clock.waiting
        for n in range(100):
            await house.schedules().create("tidy", f"every {n + 2} hours")
        await clock.settle()
        assert clock.waiting == without + 1
