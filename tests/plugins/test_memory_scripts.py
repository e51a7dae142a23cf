"""The bundled scripts and the examples, run against a real memory: what they do, and that what they count is so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from aether_lang import run
from aether_lang.formatter import format_script
from aether_lang.front import compiled
from aether_lang.host import LoadedModule
from aether_lang.values import ScriptError
from kernel import AetherraError, Caller, Kernel
from kernel.testing import ALLOW_ALL, Recording, TestClock, running_kernel

ROOT = Path(__file__).resolve().parent.parent.parent
SYSTEM = sorted((ROOT / "scripts" / "system").glob("*.aether"))
EXAMPLES = sorted((ROOT / "examples").glob("*.aether"))
ADA = Caller("user:ada", ("role:user",))

DOCUMENTED = {
    "logger": "log_event get_logs_since get_logs_by_type get_plugin_logs",
    "goals": "get_incomplete_goals resume_goal mark_goal_failed mark_goal_completed create_goal get_goal_statistics "
    "get_recent_goal_summary exists",
    "plugins": "check_plugin_health get_all_plugins mark_unhealthy disable_plugin exists get_recent_plugin_summary",
    "agents": "find_agent create_agent update_agent_role update_agent_plugins escalate_goal exists "
    "get_recent_agent_activity",
    "utils": "time_since hours_ago days_ago execution_time",
    "memory_ops": "get_all_memory_entries delete_memory",
    "goal_autopilot": "trigger_manual_run get_statistics",
}


class Bridge:
    """A host in the script's own thread, whose effects are calls of the services in the kernel's loop."""

    direct = False
    overlaps = False

    def __init__(self, kernel: Kernel, clock: TestClock) -> None:
        self.loop = asyncio.get_running_loop()
        self.lines: list[str] = []
        self.told: list[dict[str, Any]] = []
        self.reached = True
        ctx = kernel.context(ADA)
        memory, goals, modules = ctx.service("memory"), ctx.service("goals"), ctx.service("modules")

        async def plugins() -> Any:
            return [{"id": m["name"], "health": None, **m} for m in await modules.list()]

        async def set_goal(goal: dict[str, Any]) -> Any:
            return await goals.declare(**{name: value for name, value in goal.items() if value is not None})

        async def store(entry: dict[str, Any]) -> Any:
            return (await memory.replace(entry))["id"]

        async def remember(content: Any, tags: Any) -> Any:
            return (await memory.store(content, tags))["id"]

        async def delete(which: Any) -> bool:
            return bool(await memory.delete(which))

        async def now() -> float:
            return clock.now()

        async def nothing() -> list[str]:
            return []

        async def exists(name: str) -> bool:
            return name in [m["name"] for m in await modules.list()]

        self.served: dict[str, Callable[[dict[str, Any]], Awaitable[Any]]] = {
            "time.now": lambda _: now(),
            "memory.search": lambda a: memory.search(a.get("criteria") or {}),
            "memory.search_one": lambda a: memory.search_one(a.get("criteria") or {}),
            "memory.get": lambda a: memory.get(a["id"]),
            "memory.store": lambda a: store(a["entry"]),
            "memory.update": lambda a: memory.patch(a["id"], a["patch"]),
            "memory.delete": lambda a: delete(a["id"]),
            "memory.archive": lambda a: memory.archive(a["entry"]),
            "memory.remember": lambda a: remember(a["content"], a.get("as")),
            "memory.recall": lambda a: memory.recall(a.get("query") or "", a.get("tag")),
            "goal.all": lambda _: goals.list(),
            "goal.set": lambda a: set_goal(a["goal"]),
            "goal.update": lambda a: goals.update(a["goal"]["id"], a["goal"]),
            "goal.declare": lambda a: goals.declare(a["title"], priority=a.get("priority")),
            "plugin.available": lambda _: plugins(),
            "plugin.exists": lambda a: exists(a["name"]),
            "agent.escalate": self._escalate,
            "require.unmet": lambda _: nothing(),
        }

    async def _escalate(self, args: dict[str, Any]) -> None:
        if not self.reached:
            raise AetherraError("no agent is there to be told")
        self.told.append(args)

    def call(self, capability: str, operation: str, args: dict[str, Any], position: Any) -> Any:
        if operation not in self.served:
            raise ScriptError("PermissionError", f"{operation} is not served in this test", None)

        async def made() -> Any:
            return await self.served[operation](args)

        try:
            return asyncio.run_coroutine_threadsafe(made(), self.loop).result(timeout=20)
        except AetherraError as error:
            raise ScriptError("HostError", error.message, None) from None

    def log(self, level: str, message: str, position: Any) -> None:
        self.lines.append(f"{level}: {message}")

    def output(self, line: str) -> None:
        self.lines.append(line)

    def load_module(self, path: str, position: Any) -> LoadedModule:
        file = ROOT / "scripts" / f"{path.removesuffix('.aether')}.aether"
        return LoadedModule(code_of(file.read_text(), path), path, path)

    async def run(self, source: str, **parameters: Any) -> Any:
        outcome = await asyncio.to_thread(run, code_of(source), self, parameters)
        assert outcome.state == "completed", outcome.error or outcome.private
        return outcome.result

    async def example(self, name: str, **parameters: Any) -> Any:
        return await self.run((ROOT / "examples" / f"{name}.aether").read_text(), **parameters)

    async def autopilot(self, **parameters: Any) -> Any:
        return await self.run((ROOT / "scripts/system/goal_autopilot.aether").read_text(), **parameters)


def code_of(source: str, name: str = "test.aether") -> bytes:
    made = compiled(source, name)
    assert made["ok"], made["diagnostics"]
    return bytes(made["code"])


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture
async def kernel(tmp_path: Path, clock: TestClock) -> AsyncIterator[Kernel]:
    async with running_kernel(tmp_path, plugins={"allow_all": ALLOW_ALL}, bundled=["memory"], clock=clock) as kernel:
        yield kernel


@pytest.fixture
async def host(kernel: Kernel, clock: TestClock) -> Bridge:
    return Bridge(kernel, clock)


@pytest.fixture
def goals(kernel: Kernel) -> Any:
    return kernel.context(ADA).service("goals")


@pytest.mark.parametrize("path", [*SYSTEM, *EXAMPLES], ids=lambda path: path.stem)
def test_every_script_compiles_without_a_finding_and_says_what_it_does(path: Path) -> None:
    source = path.read_text()
    assert [one for one in compiled(source, path.name)["diagnostics"] if not one["code"].startswith("AS")] == []
    assert source.startswith("# ")
    if path.parent.name == "examples":
        assert f"aether run examples/{path.name}" in source
        assert format_script(source) == source


@pytest.mark.parametrize("module", DOCUMENTED)
async def test_the_library_ships_the_documented_functions(host: Bridge, module: str) -> None:
    names = DOCUMENTED[module].split()
    listed = ", ".join(f"typeof(m.{name})" for name in names)
    assert await host.run(f'import "system/{module}" as m\nreturn [{listed}]') == ["function"] * len(names)


# goal_autopilot --------------------------------------------------------------------------------------------------


async def test_the_autopilot_counts_what_it_really_did(host: Bridge, goals: Any, clock: TestClock) -> None:
    stalled = await goals.create("stalled", priority="high")
    failed = await goals.create("failed")
    await goals.fail(failed["id"], reason="no water")
    blocked = await goals.create("blocked")
    await goals.update(blocked["id"], {"status": "blocked"})
    await goals.complete((await goals.create("completed"))["id"])
    await clock.advance(1_000)
    fresh = await goals.create("fresh")

    done = await host.autopilot(scan_interval="10 minutes")

    counts = {name: done[name] for name in ("processed", "resumed", "retried", "escalated", "exhausted", "errors")}
    assert counts == {"processed": 4, "resumed": 1, "retried": 1, "escalated": 2, "exhausted": 0, "errors": []}
    assert (await goals.get(stalled["id"]))["resumed_at"] == clock.now()
    retried = await goals.get(failed["id"])
    assert (retried["status"], retried["attempts"]) == ("active", 1)
    assert await goals.get(fresh["id"]) == fresh
    assert [(told["who"], told["message"]) for told in host.told] == [
        ("operator", "goal 'stalled': stalled at priority high"),
        ("operator", "goal 'blocked': blocked"),
    ]


async def test_the_scan_interval_is_honoured_as_text_and_as_seconds(host: Bridge, goals: Any, clock: TestClock) -> None:
    await goals.create("a")
    await clock.advance(100)
    assert (await host.autopilot(scan_interval="2 minutes"))["resumed"] == 0
    assert (await host.autopilot(scan_interval=99))["resumed"] == 1
    assert (await host.autopilot(scan_interval=99))["resumed"] == 0
    assert (await host.autopilot())["scan_interval"] == 1_800


async def test_a_goal_is_escalated_once_for_each_reason(host: Bridge, goals: Any, clock: TestClock) -> None:
    goal = await goals.create("late", deadline=clock.now() + 10)
    await clock.advance(20)
    assert [(await host.autopilot())["escalated"] for _ in range(2)] == [1, 0]
    await goals.update(goal["id"], {"status": "blocked"})
    assert (await host.autopilot(who="ada"))["escalated"] == 1
    assert [told["who"] for told in host.told] == ["operator", "ada"]


async def test_a_failed_goal_is_tried_again_up_to_the_limit_and_then_escalated(host: Bridge, goals: Any) -> None:
    goal = await goals.create("hopeless")
    for attempt in range(1, 3):
        await goals.fail(goal["id"])
        assert (await host.autopilot(max_attempts=2))["retried"] == 1
        assert (await goals.get(goal["id"]))["attempts"] == attempt
    await goals.fail(goal["id"])
    done = await host.autopilot(max_attempts=2)
    assert (done["retried"], done["exhausted"], done["escalated"]) == (0, 1, 1)
    assert host.told[0]["message"] == "goal 'hopeless': failed 3 times"


async def test_an_escalation_that_reaches_nobody_is_kept_and_said(kernel: Kernel, host: Bridge, goals: Any) -> None:
    host.reached = False
    await goals.update((await goals.create("stuck"))["id"], {"status": "blocked"})
    done = await host.autopilot()
    assert done["escalated"] == 1
    assert done["errors"] == ["stuck: kept, but not delivered to operator: no agent is there to be told"]
    kept = await kernel.context(ADA).service("memory").search({"type": "escalation"})
    assert [(entry["title"], entry["delivered"], entry["status"]) for entry in kept] == [("stuck", False, "open")]


async def test_the_statistics_add_up_over_scans_and_a_manual_run(host: Bridge, goals: Any, clock: TestClock) -> None:
    await goals.create("a")
    await clock.advance(100)
    await host.autopilot(scan_interval=50)
    source = (
        'import "system/goal_autopilot" as pilot\npilot.trigger_manual_run("1 hour")\nreturn pilot.get_statistics()'
    )
    assert await host.run(source) == {
        "scans": 2,
        "processed": 2,
        "resumed": 1,
        "retried": 0,
        "escalated": 0,
        "last_scan": clock.now(),
    }


# The library -----------------------------------------------------------------------------------------------------


async def test_goals_are_found_by_id_title_or_themselves(host: Bridge, goals: Any) -> None:
    made = await goals.create("tea")
    source = """
import "system/goals" as goals
let g = goals.create_goal("tea", priority="high")
goals.mark_goal_failed("tea", "no pot")
let again = goals.resume_goal(g)
goals.mark_goal_completed(g.id, "at last")
return [again.attempts, goals.exists("tea"), goals.exists("coffee"), goals.get_goal_statistics(),
  goals.get_recent_goal_summary().completed]
"""
    attempts, there, missing, statistics, completed = await host.run(source)
    assert (attempts, there, missing, completed) == (1, True, False, 1)
    assert (statistics["total"], statistics["completed"], statistics["success_rate"]) == (1, 1, 1)
    done = await goals.get(made["id"])
    assert (done["priority"], done["reason"], done["note"]) == ("high", "no pot", "at last")
    with pytest.raises(AssertionError, match="there is no goal 'coffee'"):
        await host.run('import "system/goals" as goals\ngoals.resume_goal("coffee")')


async def test_log_records_are_kept_and_found(host: Bridge, clock: TestClock) -> None:
    await host.run('import "system/logger" as logger\nlogger.log_event("old", { plugin_name: "pot" })')
    await clock.advance(7_200)
    source = """
import "system/logger" as logger
logger.log_event("new", { ml: 3 }, level="error")
return [logger.get_logs_since("1 hour"), logger.get_logs_by_type("old"), logger.get_plugin_logs("pot")]
"""
    since, of_type, of_plugin = await host.run(source)
    assert [(r["event_type"], r["level"], r["data"]) for r in since] == [("new", "error", {"ml": 3})]
    assert [r["event_type"] for r in of_type] == [r["event_type"] for r in of_plugin] == ["old"]
    assert 'error: new: {"ml":3}' in host.lines


async def test_the_roster_of_agents_is_kept(host: Bridge) -> None:
    source = """
import "system/agents" as agents
agents.create_agent("Brewer", "brewer", ["pot"])
agents.create_agent("Brewer", "other")
agents.update_agent_role("Brewer", "taster")
agents.update_agent_plugins("Brewer", ["cup"])
let found = agents.find_agent(role="taster")
return [found.name, found.plugins, agents.exists("Brewer"), agents.exists("Nobody"),
  agents.get_recent_agent_activity().length]
"""
    assert await host.run(source) == ["Brewer", ["cup"], True, False, 1]


async def test_plugins_are_healthy_until_marked(host: Bridge) -> None:
    source = """
import "system/plugins" as plugins
let before = plugins.check_plugin_health("memory")
plugins.mark_unhealthy("memory", "slow")
let after = plugins.check_plugin_health("memory")
let summary = plugins.get_recent_plugin_summary()
plugins.clear_mark("memory")
return [before.healthy, after.healthy, after.reason, summary.unhealthy, plugins.get_unhealthy(),
  plugins.check_plugin_health("nothing").known, plugins.exists("memory"), plugins.get_all_plugins().length]
"""
    assert await host.run(source) == [True, False, "marked: slow", ["memory"], [], False, True, 2]
    with pytest.raises(AssertionError, match="an administrator does"):
        await host.run('import "system/plugins" as plugins\nplugins.disable_plugin("memory")')


async def test_times_are_in_seconds(host: Bridge, clock: TestClock) -> None:
    source = """
import "system/utils" as utils
return [utils.time_since(now() - 5), utils.hours_ago(2), utils.days_ago(), utils.execution_time(now() - 1.23456)]
"""
    now = clock.now()
    assert await host.run(source) == [5, now - 7_200, now - 86_400, 1.235]


async def test_memory_as_a_whole(kernel: Kernel, host: Bridge, clock: TestClock) -> None:
    await kernel.context(ADA).service("memory").store("tea")
    await clock.advance(86_400 * 2)
    await kernel.context(ADA).service("memory").store("tea")
    source = """
import "system/memory_ops" as ops
let doubles = ops.get_duplicates()
return [ops.get_all_memory_entries().length, ops.get_entries_before("1 day").length, doubles.length,
  ops.delete_memory(doubles), ops.delete_memory("unknown"), ops.delete_memory(null),
  ops.get_all_memory_entries().length]
"""
    assert await host.run(source) == [2, 1, 1, True, False, False, 1]


# The examples ----------------------------------------------------------------------------------------------------


async def test_daily_note_keeps_a_note_and_shows_it(host: Bridge) -> None:
    await host.example("daily_note")
    assert any(line.startswith("the day began at 20") for line in host.lines)


async def test_word_count_counts(host: Bridge, kernel: Kernel) -> None:
    counted = await host.example("word_count", text="Tea, tea and MORE tea!", most=1)
    assert counted == {"words": 5, "different": 3, "most": [{"word": "tea", "count": 3}]}
    await kernel.context(ADA).service("memory").store("green green pot")
    assert (await host.example("word_count"))["words"] == 3


async def test_tag_report_counts_tags(host: Bridge, kernel: Kernel) -> None:
    memory = kernel.context(ADA).service("memory")
    await memory.store("a", tags=["tea"])
    await memory.store("b", tags=["tea", "pot"])
    report = await host.example("tag_report")
    assert [(row["tag"], row["count"]) for row in report["tags"]] == [("tea", 2), ("pot", 1)]


async def test_log_summary_counts_levels_and_kinds(host: Bridge) -> None:
    source = 'import "system/logger" as logger\nlogger.log_event("a")\nlogger.log_event("b", "it broke", level="error")'
    await host.run(source)
    summary = await host.example("log_summary", span="1 hour")
    assert (summary["records"], summary["levels"]) == (2, {"info": 1, "error": 1})
    assert summary["latest_errors"] == ["b: it broke"]
    assert (await host.example("log_summary"))["kinds"]["log_summary"] == 1


async def test_memory_cleaner_changes_nothing_until_told(host: Bridge, kernel: Kernel, clock: TestClock) -> None:
    memory = kernel.context(ADA).service("memory")
    await memory.replace({"type": "log", "content": "old"})
    await memory.replace({"type": "log", "content": "kept", "tags": ["keep"]})
    await memory.store("double")
    await memory.store("double")
    clock.jump_wall(86_400 * 31)
    said = await host.example("memory_cleaner")
    assert (said["old"], said["doubles"], said["archived"], said["deleted"]) == (1, 1, 0, 0)
    assert await memory.count() == 4
    done = await host.example("memory_cleaner", really=True)
    assert (done["archived"], done["deleted"]) == (1, 1)
    assert await memory.count() == 3
    assert [entry["content"] for entry in await memory.search({"archived": True})] == ["old"]


async def test_goal_review_tells_what_is_late(host: Bridge, goals: Any, clock: TestClock) -> None:
    await goals.create("late", deadline=clock.now() + 5)
    await goals.complete((await goals.create("reached"))["id"])
    await clock.advance(10)
    review = await host.example("goal_review")
    assert {**review, "open": 0} == {"open": 0, "overdue": 1, "stale": 0, "completed": 1}
    assert any(line.startswith("overdue: late (priority normal") for line in host.lines)


async def test_event_watcher_handles_what_it_emits(host: Bridge) -> None:
    assert await host.example("event_watcher") == {"level": 1_000, "refills": 3, "poured": 12}
    assert await host.example("event_watcher", cups=5, size=100) == {"level": 500, "refills": 0, "poured": 5}


async def test_habit_tracker_counts_streaks_of_days(host: Bridge, clock: TestClock) -> None:
    await host.example("habit_tracker", done="walk")
    await clock.advance(86_400)
    await host.example("habit_tracker", done="walk")
    told = await host.example("habit_tracker", done="walk")
    walk = told["habits"][0]
    assert (walk["streak"], walk["total"], walk["today"]) == (2, 2, True)
    assert told["missing"] == ["read", "water the plants"]
    with pytest.raises(AssertionError, match="none of your habits"):
        await host.example("habit_tracker", done="sleep")


async def test_note_digest_keeps_one_digest_of_the_notes_there_are(host: Bridge) -> None:
    assert (await host.example("note_digest"))["notes"] == 0
    assert await host.run('return search_memory({ type: "note_digest" })') == []
    await host.run('remember("tea for two") as "daily_note"\nremember("one cup") as "daily_note"')
    for _ in range(2):
        await host.example("note_digest")
    kept = await host.run('return search_memory({ type: "note_digest" }).map(one => one.content)')
    assert kept == [{"notes": 2, "latest": "one cup", "words": 5}]
    assert host.lines[-1] == "2 notes, the latest: one cup"


async def test_house_check_names_the_checks_that_are_broken(host: Bridge) -> None:
    assert (await host.example("house_check"))["broken"] == []
    await host.run('for n in 10 { store_memory({ type: "log", level: "error", id: "e{n}" }) }')
    found = await host.example("house_check")
    assert (found["figures"]["errors"], found["broken"]) == (10, ["errors"])


async def test_an_overdue_goal_can_be_watched_while_scripts_run(
    kernel: Kernel, host: Bridge, goals: Any, clock: TestClock
) -> None:
    with Recording(kernel.bus, "goal.overdue") as told:
        await host.run('set_goal({ title: "soon", deadline: "10 seconds" })')
        await clock.advance(11)
        assert (await told.wait_for("goal.overdue")).data["title"] == "soon"
