"""Resident scripts in a hub with real scripts and workers: what they register is live, and bounded."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from script_house import BUNDLED, ScriptHouse, script_house

from kernel import BadInput, Caller, Conflict, Denied
from kernel.testing import Recording

pytestmark = pytest.mark.asyncio(loop_scope="module")

BOB = Caller("user:bob", ("role:user",))
BEDS = """
plugin tidy {
  schedule: every 6 hours
  on_run { return "tidied" }
}
every 1 second:
  return "ticked"
on event "frost":
  remember(event_data.degrees) as "frost"
"""
SCRIPTS = {
    "beds.aether": BEDS,
    "changing.aether": BEDS,
    "echo.aether": 'on event "ping":\n  emit("pong", {})\n',
    "reply.aether": 'on event "pong":\n  emit("ping", {})\n',
    "own.aether": 'on event "tick":\n  remember("tick") as "tick"\nemit("tick", {})\n',
    "busy.aether": 'when load >= 0:\n  remember("looked") as "busy"\n',
    "plain.aether": "return 1",
    "barred.aether": "every 1 hour:\n  return 1\n",
    "self.aether": (
        'fn sweep() { return "swept" }\n'
        'schedule_recurring_task("sweep", 5, "minutes")\nschedule_recurring_task("sweep", 10, "minutes")\n'
        'return schedule_daily_task("sweep", "06:00")\n'
    ),
}
POLICY = 'version = 1\n[capabilities.allow]\n"script:self.aether" = ["schedule:write:own"]\n'
POLICY += '[capabilities.deny]\n"role:user" = ["script:run:barred.aether"]\n'
SETTINGS = {"chain": 3, "event_queue": 2, "events_per_minute": 3, "signals_s": 0.05}


class Guest:
    """A user of the test's own in the shared house."""

    def __init__(self, house: ScriptHouse) -> None:
        self.house = house
        self.user = Caller(f"user:{uuid.uuid4()}", ("role:user",))
        self.schedules = house.service("schedules", self.user)

    async def run(self, source: str | None = None, **given: Any) -> dict[str, Any]:
        """Run a source, or a script of the library, to its end."""
        return await self.house.outcome(source, self.user, **given)

    async def caught(self, call: str) -> dict[str, Any]:
        """Return what a script catches when it makes that call."""
        return await self.house.caught(call, self.user)

    async def remembered(self, tag: str) -> list[Any]:
        """Return what was remembered under a tag."""
        return [one["content"] for one in await self.house.service("memory", self.user).recall_tagged(tag, 100)]

    async def ended(self, script: str) -> list[dict[str, Any]]:
        """Return the jobs of a script that are over."""
        executions = self.house.service("executions", self.user)
        page = await executions.list(name=script)
        rows = [await executions.get(one["id"]) for one in page["executions"]]
        return [row for row in rows if row["state"] in ("completed", "failed")]

    async def entries(self, resident: str) -> dict[str, str]:
        """Return the schedules that a resident has and that are enabled: their ids by their entries."""
        listed = (await self.schedules.list(resident=resident))["schedules"]
        return {one["entry"]: one["id"] for one in listed if one["enabled"]}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ScriptHouse]:
    overrides = {f"plugins.schedules.{name}": value for name, value in SETTINGS.items()}
    home, bundled = tmp_path_factory.mktemp("residents"), [*BUNDLED, "schedules"]
    async with script_house(home, policy=POLICY, scripts=SCRIPTS, bundled=bundled, overrides=overrides) as house:
        yield house


@pytest_asyncio.fixture(loop_scope="module")
async def ada(house: ScriptHouse) -> AsyncIterator[Guest]:
    guest = Guest(house)
    yield guest
    for one in (await guest.schedules.list())["schedules"]:
        if one["resident"] is None:
            await guest.schedules.remove(one["id"])


async def until(find: Callable[[], Awaitable[Any]], fits: Callable[[Any], Any] = bool, within_s: float = 15) -> Any:
    """Return what is found as soon as it fits."""
    async with asyncio.timeout(within_s):
        while not fits(found := await find()):
            await asyncio.sleep(0.01)
    return found


async def test_timers_and_schedules_of_a_resident_script_are_schedules_of_their_own(ada: Guest) -> None:
    made = await ada.schedules.install("beds")
    assert (made["kind"], made["script"], made["enabled"]) == ("resident", "beds.aether", True)
    listed = (await ada.schedules.list(resident=made["id"]))["schedules"]
    assert sorted((one["entry"], one["written"], one["source"]) for one in listed) == [
        ("tidy.on_run", "every 6 hours", "script"),
        ("timer:every 1 second", "every 1 second", "script"),
    ]
    with pytest.raises(Conflict, match="remove the resident script"):
        await ada.schedules.remove(listed[0]["id"])
    rows = await until(lambda: ada.ended("beds.aether"))
    assert (rows[0]["state"], rows[0]["result"]) == ("completed", "ticked")
    assert await ada.schedules.remove(made["id"]) == 3
    assert (await ada.schedules.list())["schedules"] == []


async def test_a_handler_runs_for_an_event_that_another_script_of_the_same_user_emits(ada: Guest) -> None:
    made = await ada.schedules.install("beds")
    await ada.house.outcome('emit("frost", { degrees: -4 })', BOB)
    await ada.run('emit("frost", { degrees: -3 })')
    assert await until(lambda: ada.remembered("frost")) == [-3], "and not for another user's"
    row = await ada.schedules.get(made["id"])
    assert (row["runs"], row["skipped"]) == (1, 0)


async def test_events_that_go_round_end_after_so_many_runs(ada: Guest) -> None:
    ids = [(await ada.schedules.install(name))["id"] for name in ("echo", "reply")]
    with Recording(ada.house.kernel.bus, "schedule.skipped") as told:
        await ada.run('emit("ping", {})')
        skipped = await told.wait_for("schedule.skipped", timeout_s=15)
    assert "chain" in skipped.data["reason"]
    rows = [await ada.schedules.get(id) for id in ids]
    assert sum(row["runs"] for row in rows) == 3


async def test_a_script_never_runs_for_what_it_emits_itself(ada: Guest) -> None:
    made = await ada.schedules.install("own")
    await ada.run(script_name="own")
    await ada.run('emit("tick", {})')
    rows = await until(lambda: ada.ended("own.aether"), lambda rows: len(rows) == 2)
    assert [row["state"] for row in rows] == ["completed", "completed"]
    await ada.run("return 1")
    assert (await ada.schedules.get(made["id"]))["runs"] == 1


async def test_what_comes_faster_than_a_script_may_run_is_counted(ada: Guest) -> None:
    made = await ada.schedules.install("beds")
    await ada.run('for n in 10 { emit("frost", { degrees: n }) }')
    row = await until(lambda: ada.schedules.get(made["id"]), lambda row: row["runs"] + row["skipped"] == 10)
    assert 1 <= row["runs"] <= 3
    assert "[plugins.schedules]" in row["skip_reason"]


async def test_a_condition_is_looked_at_when_it_becomes_true_and_not_again(ada: Guest) -> None:
    made = await ada.schedules.install("busy")
    assert await until(lambda: ada.remembered("busy")) == ["looked"]
    for _ in range(3):
        await ada.run("wait 0.1")  # in which the signals are looked at twice
    assert (await ada.schedules.get(made["id"]))["runs"] == 1


async def test_a_script_that_registers_nothing_cannot_be_resident(ada: Guest) -> None:
    with pytest.raises(BadInput, match="registers nothing"):
        await ada.schedules.install("plain")


async def test_nobody_schedules_a_script_that_he_may_not_run(ada: Guest) -> None:
    for asked in (ada.schedules.install("barred"), ada.schedules.create("barred", "daily")):
        with pytest.raises(Denied, match=r"script:run:barred\.aether"):
            await asked


async def test_a_changed_script_is_read_anew_and_one_that_is_gone_rests_until_it_is_back(ada: Guest) -> None:
    file = ada.house.home / "scripts" / "changing.aether"
    made = await ada.schedules.install("changing")
    file.write_text("every 5 minutes:\n  return 1\nevery 10 minutes:\n  return 2\n")
    after = await until(lambda: ada.entries(made["id"]), lambda found: "timer:every 10 minutes" in found)
    assert after.keys() == {"timer:every 5 minutes", "timer:every 10 minutes"}
    file.write_text("every 5 minutes:\n  return (\n")
    row = await until(lambda: ada.schedules.get(made["id"]), lambda row: row["failure"] is not None)
    assert "changing.aether:" in row["failure"]
    assert await ada.entries(made["id"]) == after, "a broken script changes nothing"
    file.unlink()
    row = await until(lambda: ada.schedules.get(made["id"]), lambda row: not row["enabled"])
    assert "gone" in row["reason"]
    assert await ada.entries(made["id"]) == {}
    file.write_text("every 5 minutes:\n  return 1\n")
    kept = {"timer:every 5 minutes": after["timer:every 5 minutes"]}
    assert await until(lambda: ada.entries(made["id"])) == kept, "what stayed the same keeps its times"


async def test_a_resident_script_goes_on_over_a_reload(ada: Guest) -> None:
    await ada.schedules.install("beds")
    generation = ada.house.kernel.modules.get("schedules").generation
    assert generation is not None
    assert generation.contribution.export_state is not None
    exported = generation.contribution.export_state()
    assert msgspec.json.decode(msgspec.json.encode(exported)) == exported, "plain data, and nothing of this version"
    await ada.house.kernel.modules.reload("schedules")
    await ada.run('emit("frost", { degrees: -5 })')
    assert await until(lambda: ada.remembered("frost")) == [-5]


async def test_a_script_schedules_itself_where_the_policy_lets_it(ada: Guest) -> None:
    ended = await ada.run(script_name="self")
    assert ended["state"] == "completed", ended["error"]
    (row,) = (await ada.schedules.list())["schedules"]
    assert (row["id"], row["source"], row["written"]) == (ended["result"], "run", "daily at 06:00")
    assert (await ada.caught('schedule_daily_task("sweep", "06:00")'))["type"] == "PermissionError"


async def test_a_script_waits_for_an_event_and_not_for_ever(ada: Guest) -> None:
    async with ada.house.begun('log "here"\nawait event "thaw" for 20s -> data\nreturn data', ada.user) as row:
        await ada.house.outcome('emit("thaw", { degrees: 2 })', BOB)
        await ada.run('emit("thaw", { degrees: 3 })')
        ended = await ada.house.ended(row)
    assert ended["result"] == {"degrees": 3}, "the user's own, and not another's"
    late = await ada.caught('await event "thaw" for 0.05s')
    assert (late["type"], late["data"]) == ("Timeout", {"event": "thaw"})


async def test_an_interval_in_a_script_is_over_once(ada: Guest) -> None:
    source = 'let found = []\nfor n in 3 { found.append(time.interval(1, "hour")) }\nreturn found'
    assert (await ada.run(source))["result"] == [True, False, False]
    assert (await ada.caught('time.interval(1, "moon")'))["type"] == "ValueError"


async def test_a_run_begins_where_the_request_says(ada: Guest) -> None:
    source = (
        'plugin p { config: { n: 1 }\n  on_run { return "run" }\n  fn sweep(x) { return x + config.n } }\n'
        'fn dig() { return "dug" }\nexpose_command "spade" -> dig\nreturn "top"'
    )
    assert (await ada.run(source))["result"] == "run"
    assert (await ada.run(source, entry="sweep", parameters={"x": 2}, config={"n": 5}))["result"] == 7
    assert (await ada.run(source, command="spade"))["result"] == "dug"
    error = (await ada.run(source, entry="rake"))["error"]
    assert error["type"] == "UnknownFunction"
    assert "sweep" in error["message"]
    with pytest.raises(BadInput):
        await ada.run(source, entry="a", command="b")
