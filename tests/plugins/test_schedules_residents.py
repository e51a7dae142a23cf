"""Resident scripts in a hub with real scripts and workers: what they register is live, and bounded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from script_house import ADA, BUNDLED, ScriptHouse, script_house

from kernel import BadInput, Caller, Conflict
from kernel.testing import Recording, TestClock

BOB = Caller("user:bob", ("role:user",))
RESIDENT = {
    "beds.aether": """
plugin tidy {
  schedule: every 6 hours
  on_run { return "tidied" }
}
every 5 minutes:
  return "five"
on event "frost":
  remember(event_data.degrees) as "frost"
""",
    "echo.aether": 'on event "ping":\n  emit("pong", {})\n',
    "own.aether": 'on event "tick":\n  remember("tick") as "tick"\nemit("tick", {})\n',
    "reply.aether": 'on event "pong":\n  emit("ping", {})\n',
    "busy.aether": 'when load >= 0:\n  remember("looked") as "busy"\n',
    "plain.aether": "return 1",
}


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@asynccontextmanager
async def residence(home: Path, clock: TestClock | None = None, **settings: Any) -> AsyncIterator[ScriptHouse]:
    overrides = {f"plugins.schedules.{name}": value for name, value in settings.items()}
    async with script_house(
        home, scripts=RESIDENT, clock=clock, bundled=[*BUNDLED, "schedules"], overrides=overrides
    ) as house:
        yield house


async def until(found: Callable[[], Awaitable[Any]], within_s: float = 10) -> Any:
    """Return what is found as soon as it is there."""
    async with asyncio.timeout(within_s):
        while not (answer := await found()):
            await asyncio.sleep(0.01)
    return answer


async def remembered(house: ScriptHouse, tag: str, caller: Caller = ADA) -> list[Any]:
    return [one["content"] for one in await house.service("memory", caller).recall_tagged(tag, 100)]


async def test_timers_and_schedules_of_a_resident_script_are_schedules_of_their_own(tmp_path: Path) -> None:
    async with residence(tmp_path) as house:
        schedules = house.service("schedules")
        made = await schedules.install("beds")
        assert (made["kind"], made["script"], made["enabled"]) == ("resident", "beds.aether", True)
        listed = (await schedules.list(resident=made["id"]))["schedules"]
        assert sorted((one["entry"], one["written"], one["source"]) for one in listed) == [
            ("tidy.on_run", "every 6 hours", "script"),
            ("timer:every 5 minutes", "every 5 minutes", "script"),
        ]
        with pytest.raises(Conflict, match="remove the resident script"):
            await schedules.remove(listed[0]["id"])
        assert await schedules.remove(made["id"]) == 3
        assert (await schedules.list())["schedules"] == []


async def test_a_timer_of_a_resident_script_runs_when_it_is_due(tmp_path: Path, clock: TestClock) -> None:
    async with residence(tmp_path, clock, check_s=3600, signals_s=3600) as house:
        await house.service("schedules").install("beds")
        await clock.advance(301)
        rows = await until(lambda: _ended(house, "beds.aether"))
        assert (rows[0]["state"], rows[0]["result"]) == ("completed", "five")


async def _ended(house: ScriptHouse, script: str) -> list[dict[str, Any]]:
    executions = house.service("executions")
    page = await executions.list(name=script)
    rows = [await executions.get(one["id"]) for one in page["executions"]]
    return [row for row in rows if row["state"] in ("completed", "failed")]


async def test_a_handler_runs_for_an_event_that_another_script_of_the_same_user_emits(tmp_path: Path) -> None:
    async with residence(tmp_path) as house:
        made = await house.service("schedules").install("beds")
        await house.outcome('emit("frost", { degrees: -4 })', BOB)
        await house.outcome('emit("frost", { degrees: -3 })')
        found = await until(lambda: remembered(house, "frost"))
        assert found == [-3], "and not for another user's"
        row = await house.service("schedules").get(made["id"])
        assert (row["runs"], row["skipped"]) == (1, 0)


async def test_events_that_go_round_end_after_so_many_runs(tmp_path: Path) -> None:
    async with residence(tmp_path, chain=3) as house:
        schedules = house.service("schedules")
        ids = [(await schedules.install(name))["id"] for name in ("echo", "reply")]
        with Recording(house.kernel.bus, "schedule.skipped") as told:
            await house.outcome('emit("ping", {})')
            skipped = await told.wait_for("schedule.skipped", timeout_s=15)
        assert "chain" in skipped.data["reason"]
        rows = [await schedules.get(id) for id in ids]
        assert sum(row["runs"] for row in rows) == 3


async def test_a_script_never_runs_for_what_it_emits_itself(tmp_path: Path) -> None:
    async with residence(tmp_path) as house:
        made = await house.service("schedules").install("own")
        await house.outcome(script_name="own")
        await house.outcome('emit("tick", {})')
        rows = await until(lambda: _when(lambda: _ended(house, "own.aether"), lambda rows: len(rows) == 2))
        assert [row["state"] for row in rows] == ["completed", "completed"]
        await house.outcome("return 1")
        assert (await house.service("schedules").get(made["id"]))["runs"] == 1


async def test_what_comes_faster_than_a_script_may_run_is_counted(tmp_path: Path) -> None:
    async with residence(tmp_path, event_queue=2, events_per_minute=3) as house:
        made = await house.service("schedules").install("beds")
        await house.outcome('for n in 10 { emit("frost", { degrees: n }) }')

        async def all_told() -> Any:
            row = await house.service("schedules").get(made["id"])
            return row if row["runs"] + row["skipped"] == 10 else None

        row = await until(all_told)
        assert 1 <= row["runs"] <= 3
        assert "[plugins.schedules]" in row["skip_reason"]


async def test_a_condition_is_looked_at_when_it_becomes_true_and_not_again(tmp_path: Path, clock: TestClock) -> None:
    async with residence(tmp_path, clock, signals_s=1) as house:
        made = await house.service("schedules").install("busy")
        for _ in range(5):
            await clock.advance(1)
        assert await until(lambda: remembered(house, "busy")) == ["looked"]
        assert (await house.service("schedules").get(made["id"]))["runs"] == 1


async def test_a_script_that_registers_nothing_cannot_be_resident(tmp_path: Path) -> None:
    async with residence(tmp_path) as house:
        with pytest.raises(BadInput, match="registers nothing"):
            await house.service("schedules").install("plain")


async def test_a_changed_script_is_read_anew_and_one_that_is_gone_rests_until_it_is_back(tmp_path: Path) -> None:
    file = tmp_path / "scripts" / "beds.aether"
    async with residence(tmp_path) as house:
        schedules = house.service("schedules")
        made = await schedules.install("beds")

        async def entries() -> dict[str, str]:
            listed = (await schedules.list(resident=made["id"]))["schedules"]
            return {one["entry"]: one["id"] for one in listed if one["enabled"]}

        before = await entries()
        file.write_text("every 5 minutes:\n  return 1\nevery 10 minutes:\n  return 2\n")
        after = await until(lambda: _when(entries, lambda found: "timer:every 10 minutes" in found))
        assert after.keys() == {"timer:every 5 minutes", "timer:every 10 minutes"}
        assert after["timer:every 5 minutes"] == before["timer:every 5 minutes"], "what stayed the same keeps its times"
        file.write_text("every 5 minutes:\n  return (\n")
        row = await until(lambda: _when(lambda: schedules.get(made["id"]), lambda row: row["failure"] is not None))
        assert "beds.aether:" in row["failure"]
        assert (await entries()) == after, "a broken script changes nothing"
        file.unlink()
        row = await until(lambda: _when(lambda: schedules.get(made["id"]), lambda row: not row["enabled"]))
        assert "gone" in row["reason"]
        assert await entries() == {}
        file.write_text("every 5 minutes:\n  return 1\n")
        assert await until(entries) == {"timer:every 5 minutes": before["timer:every 5 minutes"]}


async def _when(find: Callable[[], Awaitable[Any]], fits: Callable[[Any], bool]) -> Any:
    found = await find()
    return found if fits(found) else None


async def test_a_script_schedules_itself_where_the_policy_lets_it(tmp_path: Path) -> None:
    source = (
        'fn sweep() { return "swept" }\n'
        'schedule_recurring_task("sweep", 5, "minutes")\nschedule_recurring_task("sweep", 10, "minutes")\n'
        'return schedule_daily_task("sweep", "06:00")\n'
    )
    policy = 'version = 1\n[capabilities.allow]\n"script:self.aether" = ["schedule:write:own"]\n'
    async with script_house(
        tmp_path, policy=policy, scripts={"self.aether": source}, bundled=[*BUNDLED, "schedules"]
    ) as house:
        refused = await house.caught('schedule_daily_task("sweep", "06:00")')
        assert refused["type"] == "PermissionError"
        ended = await house.outcome(script_name="self")
        assert ended["state"] == "completed", ended["error"]
        (row,) = (await house.service("schedules").list())["schedules"]
        assert (row["id"], row["source"], row["written"]) == (ended["result"], "run", "daily at 06:00")


async def test_a_script_waits_for_an_event_and_not_for_ever(tmp_path: Path) -> None:
    async with residence(tmp_path) as house:
        async with house.begun('log "here"\nawait event "thaw" for 20s -> data\nreturn data') as row:
            await house.outcome('emit("thaw", { degrees: 2 })', BOB)
            await house.outcome('emit("thaw", { degrees: 3 })')
            ended = await house.ended(row)
        assert ended["result"] == {"degrees": 3}, "the user's own, and not another's"
        late = await house.caught('await event "thaw" for 0.05s')
        assert (late["type"], late["data"]) == ("Timeout", {"event": "thaw"})
        asked = await house.caught('await approval "dig?"')
        assert "no list of open questions" in asked["message"]


async def test_an_interval_in_a_script_is_over_once(tmp_path: Path) -> None:
    async with residence(tmp_path) as house:
        source = 'let found = []\nfor n in 3 { found.append(time.interval(1, "hour")) }\nreturn found'
        assert await house.result(source) == [True, False, False]
        assert (await house.caught('time.interval(1, "moon")'))["type"] == "ValueError"


async def test_a_run_begins_where_the_request_says(tmp_path: Path) -> None:
    async with residence(tmp_path) as house:
        source = (
            'plugin p { config: { n: 1 }\n  on_run { return "run" }\n  fn sweep(x) { return x + config.n } }\n'
            'fn dig() { return "dug" }\nexpose_command "spade" -> dig\nreturn "top"'
        )
        assert await house.result(source) == "run"
        given = {"entry": "sweep", "parameters": {"x": 2}, "config": {"n": 5}}
        assert await house.result(source, **given) == 7
        assert await house.result(source, command="spade") == "dug"
        error = await house.error(source, entry="rake")
        assert (error["type"], "p.sweep" in error["message"] or "sweep" in error["message"]) == (
            "UnknownFunction",
            True,
        )
        with pytest.raises(BadInput):
            await house.submit(source, entry="a", command="b")
