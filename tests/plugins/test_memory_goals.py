"""Goals in a running kernel: their life, their deadlines, their figures."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kernel import BadInput, Caller, Conflict, Kernel, NotFound, TooLarge
from kernel.testing import ALLOW_ALL, Recording, TestClock, running_kernel

ADA = Caller("user:ada", ("role:user",))
BOB = Caller("user:bob", ("role:user",))


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture
async def kernel(tmp_path: Path, clock: TestClock) -> AsyncIterator[Kernel]:
    async with running_kernel(
        tmp_path,
        plugins={"allow_all": ALLOW_ALL},
        bundled=["memory"],
        clock=clock,
        overrides={"plugins.memory.goals_per_owner": 5, "plugins.memory.entry_kb": 1},
    ) as kernel:
        yield kernel


@pytest.fixture
def goals(kernel: Kernel) -> Any:
    return kernel.context(ADA).service("goals")


async def test_a_goal_is_created_active_and_comes_back(goals: Any, clock: TestClock) -> None:
    goal = await goals.create("keep the pot full", priority="high", metrics={"level": 0.8}, fields={"room": "kitchen"})
    assert goal == await goals.get(goal["id"])
    assert (goal["status"], goal["progress"], goal["attempts"], goal["deadline"]) == ("active", 0.0, 0, None)
    assert (goal["priority"], goal["metrics"], goal["room"]) == ("high", {"level": 0.8}, "kitchen")
    assert goal["created_at"] == goal["updated_at"] == clock.now()
    assert await goals.get("unknown") is None


async def test_a_goal_of_somebody_else_is_as_if_it_were_not_there(kernel: Kernel, goals: Any) -> None:
    goal = await goals.create("mine")
    other = kernel.context(BOB).service("goals")
    assert await other.get(goal["id"]) is await other.update(goal["id"], {"title": "yours"}) is None
    assert await other.list() == []
    assert (await other.statistics())["total"] == await other.count() == 0
    for call in (other.complete(goal["id"]), other.fail(goal["id"]), other.resume(goal["id"])):
        with pytest.raises(NotFound):
            await call
    assert (await other.declare("mine"))["id"] != goal["id"]


async def test_declaring_a_goal_again_finds_it_until_it_is_finished(goals: Any) -> None:
    first = await goals.declare("keep the pot full")
    again = await goals.declare("keep the pot full", priority="high")
    assert (again["id"], again["priority"]) == (first["id"], "high")
    assert (await goals.declare("keep the pot full"))["priority"] == "high"
    await goals.complete(first["id"])
    assert (await goals.declare("keep the pot full"))["id"] != first["id"]


async def test_a_span_until_the_deadline_counts_from_the_first_declaration(goals: Any, clock: TestClock) -> None:
    first = await goals.declare("keep the pot full", deadline="2 days")
    await clock.advance(100)
    assert (await goals.declare("keep the pot full", deadline="2 days"))["deadline"] == first["deadline"]
    moved = await goals.declare("keep the pot full", deadline="2030-01-01T00:00:00Z")
    assert moved["deadline"] == 1_893_456_000.0


async def test_an_update_merges_and_null_removes_a_free_field(goals: Any, clock: TestClock) -> None:
    goal = await goals.create("a", fields={"room": "kitchen"})
    await clock.advance(3)
    changed = await goals.update(goal["id"], {"progress": 0.5, "room": None, "note": "half"})
    assert changed["progress"] == 0.5
    assert changed["note"] == "half"
    assert "room" not in changed
    assert changed["updated_at"] == clock.now()
    whole = await goals.update(goal["id"], {**changed, "title": "b"})
    assert (whole["title"], whole["created_at"]) == ("b", goal["created_at"])
    assert await goals.update("unknown", {"title": "x"}) is None


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"status": "done"}, "status: expected one of active, paused, blocked, completed, failed, cancelled"),
        ({"progress": 80}, "progress: expected a number from 0 to 1"),
        ({"progress": True}, "progress: expected a number from 0 to 1"),
        ({"title": ""}, "title: expected a text"),
        ({"title": None}, "title: expected a text"),
        ({"priority": 3}, "priority: expected a text"),
        ({"metrics": [1]}, "metrics: expected names"),
        ({"deadline": "someday"}, "deadline: expected seconds since 1970"),
        ({"deadline": True}, "deadline: expected"),
        ({"deadline": [1]}, "deadline: expected"),
        ({"id": "other"}, "keeps its id"),
        ({"note": "x" * 1_100}, "entry_kb"),
    ],
)
async def test_a_change_that_cannot_be_right_is_named_and_undone(goals: Any, changes: Any, says: str) -> None:
    goal = await goals.create("a")
    with pytest.raises(BadInput, match=says):
        await goals.update(goal["id"], changes)
    assert await goals.get(goal["id"]) == goal


async def test_a_failed_goal_is_resumed_as_a_further_attempt(goals: Any) -> None:
    goal = await goals.create("a")
    failed = await goals.fail(goal["id"], reason="no water")
    assert (failed["status"], failed["reason"], failed["attempts"]) == ("failed", "no water", 0)
    assert (await goals.resume(goal["id"]))["attempts"] == 1
    await goals.update(goal["id"], {"status": "blocked"})
    resumed = await goals.resume(goal["id"])
    assert (resumed["status"], resumed["attempts"]) == ("active", 1)


async def test_a_completed_goal_says_when_and_is_not_resumed(goals: Any, clock: TestClock) -> None:
    goal = await goals.create("a")
    await clock.advance(9)
    done = await goals.complete(goal["id"], note="at last")
    assert (done["status"], done["progress"], done["completed_at"], done["note"]) == (
        "completed",
        1.0,
        clock.now(),
        "at last",
    )
    with pytest.raises(Conflict, match="is completed"):
        await goals.resume(goal["id"])
    with pytest.raises(Conflict, match="is completed"):
        await goals.update(goal["id"], {"status": "blocked"})


async def test_a_status_set_by_an_update_means_the_same(goals: Any) -> None:
    goal = await goals.create("a")
    await goals.update(goal["id"], {"status": "failed"})
    assert (await goals.update(goal["id"], {"status": "active"}))["attempts"] == 1
    done = await goals.update(goal["id"], {"status": "completed"})
    assert (done["progress"], "completed_at" in done) == (1.0, True)


async def test_goals_are_listed_by_state_oldest_first_and_paged(goals: Any) -> None:
    made = [await goals.create(title) for title in "abcd"]
    await goals.fail(made[1]["id"])
    await goals.complete(made[2]["id"])
    titles = [[g["title"] for g in await goals.list(*args)] for args in [(), ("active",), (["failed", "completed"],)]]
    assert titles == [["a", "b", "c", "d"], ["a", "d"], ["b", "c"]]
    assert [g["title"] for g in await goals.list(limit=2, skip=1)] == ["b", "c"]
    assert await goals.list([]) == []
    with pytest.raises(BadInput):
        await goals.list("done")


async def test_a_user_may_have_so_many_goals(goals: Any) -> None:
    for title in "abcde":
        await goals.create(title)
    with pytest.raises(TooLarge, match="goals_per_owner"):
        await goals.create("f")


async def test_statistics_are_counted(goals: Any, clock: TestClock) -> None:
    first = await goals.create("a", deadline="10 seconds", fields={"progress": 0.5})
    await goals.create("b")
    for title, end in (("c", goals.complete), ("d", goals.fail)):
        await end((await goals.create(title))["id"])
    await clock.advance(11)
    assert await goals.statistics() == {
        "total": 4,
        "active": 2,
        "paused": 0,
        "blocked": 0,
        "completed": 1,
        "failed": 1,
        "cancelled": 0,
        "overdue": 1,
        "average_progress": 0.25,
        "success_rate": 0.5,
    }
    assert first["deadline"] == first["created_at"] + 10


async def test_a_missed_deadline_is_told_of_once_and_changes_no_state(
    kernel: Kernel, goals: Any, clock: TestClock
) -> None:
    with Recording(kernel.bus, "goal.overdue") as told:
        goal = await goals.create("a", deadline=clock.now() + 30)
        await clock.settle()
        await clock.advance(29)
        assert told.events == []
        await clock.advance(2)
        event = await told.wait_for("goal.overdue")
        assert (event.data["id"], event.data["owner"]) == (goal["id"], "user:ada")
        late = await goals.get(goal["id"])
        assert (late["status"], late["overdue_at"] >= late["deadline"]) == ("active", True)
        second = await goals.create("b", deadline=clock.now() - 1)
        assert (await told.wait_for("goal.overdue", 2)).data["id"] == second["id"]
        await clock.advance(300)
    assert len(told.events) == 2


async def test_a_new_deadline_can_be_missed_anew_and_a_finished_goal_cannot(
    kernel: Kernel, goals: Any, clock: TestClock
) -> None:
    with Recording(kernel.bus, "goal.overdue") as told:
        goal = await goals.create("a", deadline=clock.now() - 1)
        await told.wait_for("goal.overdue")
        moved = await goals.update(goal["id"], {"deadline": "1 hour"})
        assert "overdue_at" not in moved
        done = await goals.create("b", deadline=clock.now() + 5)
        await goals.complete(done["id"])
        await clock.settle()
        for _ in range(70):
            await clock.advance(60)
        await told.wait_for("goal.overdue", 2)
    assert [event.data["title"] for event in told.events] == ["a", "a"]


async def test_a_deadline_missed_while_nothing_ran_is_told_of_after_the_start(tmp_path: Path, clock: TestClock) -> None:
    options: dict[str, Any] = {"plugins": {"allow_all": ALLOW_ALL}, "bundled": ["memory"]}
    async with running_kernel(tmp_path, clock=clock, **options) as kernel:
        goal = await kernel.context(ADA).service("goals").create("a", deadline="1 day")
    late = TestClock(clock.now() + 2 * 86_400)
    async with running_kernel(tmp_path, clock=late, **options) as kernel:
        ctx = kernel.context(ADA).service("goals")
        with Recording(kernel.bus, "goal.overdue") as told:
            if "overdue_at" not in await ctx.get(goal["id"]):
                await told.wait_for("goal.overdue")
        assert (await ctx.get(goal["id"]))["overdue_at"] == late.now()


async def test_every_change_of_state_is_told_of(kernel: Kernel, goals: Any) -> None:
    with Recording(kernel.bus, "goal.*") as told:
        goal = await goals.create("a")
        await goals.update(goal["id"], {"progress": 0.1})
        await goals.fail(goal["id"])
        await goals.resume(goal["id"])
        await goals.update(goal["id"], {"status": "completed"})
        await told.wait_for("goal.completed")
    assert told.topics == ["goal.created", "goal.updated", "goal.failed", "goal.resumed", "goal.completed"]


async def test_beneath_a_scripts_effect_a_goal_is_made_once(kernel: Kernel) -> None:
    for _ in range(2):
        run = kernel.context(ADA).through("script:plan.aether", effect_key="job-9:0:1")
        await run.service("goals").create("once")
    assert await kernel.context(ADA).service("goals").count() == 1
