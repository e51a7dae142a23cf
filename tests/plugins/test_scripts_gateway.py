"""What a script can ask of the hub: every operation with real providers, under real rights, quotas and bounds."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import pytest_asyncio
from script_house import ADA, ADMIN, ScriptHouse, script_house

from aether_lang import host
from kernel import Caller, Denied
from kernel.testing import Recording

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEA = '''
"""Brews, and breaks, in every way a plugin's function can."""
from datetime import UTC, datetime
from typing import Any

from kernel import BadInput, Context, Denied, Overloaded, Plugin

tea = Plugin("tea", version="1.0.0", description="brews")

@tea.function("brew", effect="free")
async def brew(ctx: Context, cups: int, sort: str = "green") -> str:
    """Brew."""
    return f"{cups} cups of {sort} tea"

@tea.function("spill")
async def spill(ctx: Context) -> None:
    """Fail as nobody expects."""
    raise RuntimeError("secret: /etc/teapot")

@tea.function("refuse")
async def refuse(ctx: Context, kind: str = "TooHot") -> None:
    """Fail on purpose, with a type that is a word of this plugin's."""
    raise BadInput("the water is too hot", details={"type": kind, "field": "water", "data": {"stop": True}})

@tea.function("busy")
async def busy(ctx: Context) -> None:
    """Be overloaded."""
    raise Overloaded("all pots are in use")

@tea.function("forbid")
async def forbid(ctx: Context) -> None:
    """Say no without naming a right."""
    raise Denied("not on a Sunday")

@tea.function("reach")
async def reach(ctx: Context) -> Any:
    """Do what the caller may not."""
    return await ctx.service("modules").reload("memory")

@tea.function("give", effect="free")
async def give(ctx: Context, what: str, levels: int = 1) -> Any:
    """Give what may not fit."""
    nested: Any = "bottom"
    for _ in range(levels):
        nested = [nested]
    return {
        "time": datetime(2026, 1, 2, tzinfo=UTC), "set": {3}, "tuple": (1, 2), "keys": {1: "one"}, "bytes": b"tea",
        "wide": 2**70, "nan": float("nan"), "long": "x" * 9_000_000, "nested": nested,
    }[what]

@tea.function("key", effect="read")
async def key(ctx: Context) -> Any:
    """Tell under which key this effect is known, and through whom."""
    return [ctx.effect_key, list(ctx.chain.via)]

@tea.function("launch")
async def launch(ctx: Context, source: str) -> str:
    """Start a script for whoever calls."""
    row = await ctx.service("scripts").submit(source=source)
    return row["id"]

@tea.function("verb_backup", effect="free")
async def backup(ctx: Context, slots: Any, text: str) -> str:
    """Handle the verb."""
    return f"kept {text}"
'''

POLICY = """
[capabilities.allow]
"user:poor" = ["script:run", "job:*:own", "time:read", "plugin:call:tea.brew"]
"script:inline/may_manage.aether" = ["plugin:manage", "fs:read", "net:http", "schedule:write"]

"plugin:tea" = ["job:*:own", "script:run"]

[capabilities.deny]
"script:inline/no_memory.aether" = ["memory:*"]

[limits."user:few"]
host_calls = 4
ai_calls = 2
"""

POOR = Caller("user:poor")
FEW = Caller("user:few", ("role:user",))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ScriptHouse]:
    home: Path = tmp_path_factory.mktemp("gateway")
    async with script_house(home, plugins={"tea": TEA}, policy=POLICY) as house:
        yield house


@pytest.fixture(scope="module")
def scripts(load_plugin: Callable[[str], ModuleType]) -> ModuleType:
    return load_plugin("scripts")


# Every operation -------------------------------------------------------------------------------------------------

MEMORY = """
trace("debug")
let id = remember("green tea", as="tea,hot")
let pot = store_memory({ id: "pot", content: "a pot" })
let cup = store("cup", tag="cup", metadata={ size: 2 })
let entry = get_memory(id)
let done = {
  content: entry.content, tags: entry.tags, cup: get_memory_by_id(cup).metadata,
  patched: update_memory("pot", { level: 3 }).level, nobody: update_memory("nobody", { level: 3 }),
  tagged: recall_tagged("tea").length, found: search_memory({ level: 3 }).map(e => e.id),
  first: search_memory_one({ level: 3 }).id, words: query_memory("green").map(e => e.content),
  all: load_memory().length, cups: load_memory(tag="cup").length, count: memory.count(),
  recurs: memory.pattern("tea"), archived: archive_memory("pot"),
}
recall "green" with "tea"
done.recalled = $last_output.map(e => e.content)
tag entry with "kept"
done.kept = get_memory(id).tags
learn from "the spill"
pattern frequency tea timeframe=7
done.pattern = [$last_output.name, $last_output.count, $last_output.timeframe_days]
done.deleted = [delete_memory(cup), delete_memory(cup), delete_memory_entry("pot")]
forget tag: "learning"
done.forgotten = $last_output
return done
"""

COLLECTIONS = """
trace("debug")
let cup = memory.save("shelf", "a cup")
append "a pot" to shelf
let done = { has: memory.has("shelf"), items: search_memory({ collection: "shelf" }).map(e => e.content) }
update { id: cup, colour: "red" } in shelf
done.colour = get_memory(cup).colour
remove { id: cup } from shelf
done.left = search_memory({ collection: "shelf" }).length
clear shelf
done.cleared = $last_output
done.after = memory.has("shelf")
return done
"""

GOALS = """
trace("debug")
goal: "make tea" priority: high
goal("boil") {
  log "it boils"
}
set_goal("pour")
let drink = set_goal({ title: "drink", deadline: "2 days", room: "kitchen" })
update_goal({ id: drink.id, progress: 0.5 })
update_goal("wash")
check goal "pour"
let checked = $last_output.title
check goal "sleep"
return {
  all: get_all_goals().map(g => g.title), boil: get_all_goals().filter(g => g.title == "boil")[0].status,
  drink: get_all_goals().filter(g => g.title == "drink").map(g => [g.room, g.progress])[0],
  active: get_all_active_goals().length, count: count_active_goals(), total: goal_status().total,
  priority: get_all_goals()[0].priority, checked: checked, nobody: $last_output
}
"""

PLUGINS = """
trace("debug")
let done = {
  full: plugin("tea.brew", 2), named: run_plugin("tea.brew", cups=3, sort="black"), bare: brew(1),
  receiver: tea.brew(4), safe: call_plugin("tea.brew", 5), exists: [plugin_exists("tea"), plugin_exists("coffee")],
  function: plugin_exists("tea.brew"), has: [has_method("tea", "brew"), has_method("tea", "pour")],
  has_of: has_method(get_all_plugins()[0], "nothing"), active: get_active_plugins().map(p => p.status).unique(),
  all: get_all_plugins().map(p => p.name).contains("tea"), available: get_available_plugins().length,
  same: available_plugins().length, loaded: load_plugin("tea").status, again: activate("tea").name
}
list plugins
plugin info tea
done.info = $last_output
goal status
memory summary
memory tags
done.mentioned = $last_output
status
done.status = $last_output.script
return done
"""

THE_REST = """
trace("debug")
metrics({ cups: 2 })
let done = {
  now: now() > 1600000000, slept: sleep(1), random: random() < 1 && Math.random() >= 0, int: random_int(2, 2),
  id: generate_id().length, uuid: [generate_uuid().length, crypto.randomUUID().length],
  session: generate_session_id().startsWith("session_"), stream: new_log_stream("pot"),
  emitted: emit("tea.ready", { cups: 2 })
}
write_to_log("pot", { level: 3 })
if no_such_signal { done.signal = true }
deploy "the pot"
done.intent = [$last_output.verb, $last_output.status]
backup "the pot"
done.handled = $last_output
notify(user="ada@example.org", content="ready")
notify(team="kitchen", content="ready")
alert("boiling over")
speak "hello"
narrate "once upon a time"
narrate("there was tea")
done.story = narrate()
return done
"""


async def traced(house: ScriptHouse, row: dict[str, Any]) -> set[str]:
    return {line["data"]["operation"] for line in await house.history(row, "job.trace")}


async def test_every_operation_on_memory_works(house: ScriptHouse) -> None:
    assert await house.result(MEMORY, Caller("user:mem", ("role:user",))) == {
        "content": "green tea",
        "tags": ["tea", "hot"],
        "cup": {"size": 2},
        "patched": 3,
        "nobody": None,
        "tagged": 1,
        "found": ["pot"],
        "first": "pot",
        "words": ["green tea"],
        "all": 3,
        "cups": 1,
        "count": 3,
        "recurs": True,
        "archived": True,
        "recalled": ["green tea"],
        "kept": ["tea", "hot", "kept"],
        "pattern": ["tea", 1, 7.0],
        "deleted": [True, False, True],
        "forgotten": 1,
    }


async def test_every_operation_on_collections_works(house: ScriptHouse) -> None:
    assert await house.result(COLLECTIONS) == {
        "has": True,
        "items": ["a cup", "a pot"],
        "colour": "red",
        "left": 1,
        "cleared": 1,
        "after": False,
    }


async def test_every_operation_on_goals_works(house: ScriptHouse) -> None:
    assert await house.result(GOALS, Caller("user:goals", ("role:user",))) == {
        "all": ["make tea", "boil", "pour", "drink", "wash"],
        "boil": "completed",
        "drink": ["kitchen", 0.5],
        "active": 4,
        "count": 4,
        "total": 5,
        "priority": "high",
        "checked": "pour",
        "nobody": None,
    }


async def test_every_operation_on_plugins_works(house: ScriptHouse) -> None:
    done = await house.result(PLUGINS, ADMIN, script_name="may_manage")
    assert done.pop("available") == done.pop("same") == len(house.kernel.modules.known())
    info = done.pop("info")
    assert (info["name"], info["status"], info["description"], info["health"]) == ("tea", "active", "brews", "ok")
    assert done == {
        "full": "2 cups of green tea",
        "named": "3 cups of black tea",
        "bare": "1 cups of green tea",
        "receiver": "4 cups of green tea",
        "safe": {"success": True, "data": "5 cups of green tea", "error": None},
        "exists": [True, False],
        "function": True,
        "has": [True, False],
        "has_of": False,
        "active": ["active"],
        "all": True,
        "loaded": "active",
        "again": "tea",
        "mentioned": [],
        "status": "inline/may_manage.aether",
    }


async def test_every_other_operation_works_and_says_so_to_whoever_listens(house: ScriptHouse) -> None:
    with Recording(house.kernel.bus) as heard:
        row = await house.outcome(THE_REST)
    assert row["state"] == "completed", row["error"]
    assert row["result"] == {
        "now": True,
        "slept": None,
        "random": True,
        "int": 2,
        "id": 16,
        "uuid": [36, 36],
        "session": True,
        "stream": "pot",
        "emitted": 0,
        "intent": ["deploy", "recorded"],
        "handled": 'kept "the pot"',
        "story": "once upon a time there was tea",
    }
    emitted = heard.of("user.tea.ready")[0].data
    told_by = {"owner": row["owner"], "job_id": row["id"], "script": row["name"], "data_class": "internal"}
    assert emitted == {"data": {"cups": 2}, **told_by}
    assert heard.of("intent.recorded")[0].data["target"] == "the pot"
    told = [{k: v for k, v in event.data.items() if v is not None} for event in heard.of("ui.notified")]
    same = {"job_id": row["id"], "script": row["name"], "data_class": "internal"}
    assert told == [
        {"user": "ada@example.org", "content": "ready", **same},
        {"team": "kitchen", "content": "ready", **same},
        {"content": "boiling over", "level": "alert", **same},
        {"content": "hello", "channel": "voice", **same},
    ]
    assert (await house.history(row, "job.metrics"))[0]["data"]["values"] == {"cups": 2}
    stream = next(line["data"] for line in await house.history(row, "job.log") if line["data"].get("stream") == "pot")
    assert (stream["message"], stream["data"]) == ('{"level":3}', {"level": 3})


async def test_log_records_that_the_logger_kept_are_found_again(house: ScriptHouse) -> None:
    source = """use system/logger
logger.log_event("pot_empty", { ml: 0 }, level="warning")
logger.log_event("tea_ready", { cups: 2 })
return [
  load_logs().map(e => e.event_type), load_logs(tag="tea_ready").length, load_logs(hours=1).length,
  load_logs(since=now() + 60).length, load_logs(hours=1, since=now() + 60).length
]"""
    caller = Caller("user:logs", ("role:user",))
    assert await house.result(source, caller) == [["pot_empty", "tea_ready"], 1, 2, 0, 0]


async def test_the_tests_above_reach_every_operation_there_is(house: ScriptHouse, scripts: ModuleType) -> None:
    reached = {"memory.logs"}
    for source, caller, name in (
        (MEMORY, ADA, None),
        (COLLECTIONS, ADA, None),
        (GOALS, ADA, None),
        (PLUGINS, ADMIN, "may_manage"),
        (THE_REST, ADA, None),
    ):
        reached |= await traced(house, await house.outcome(source, caller, script_name=name))
    assert reached == {*scripts.operations.TABLE, *scripts.recollection.TABLE}


async def test_every_operation_of_the_language_is_served_or_names_the_service_that_would(scripts: ModuleType) -> None:
    tables = {*scripts.operations.TABLE, *scripts.recollection.TABLE, *scripts.scheduling.TABLE}
    tables |= {*scripts.commits.TABLE}
    rows = [*host.FUNCTIONS.values(), *host.BEHIND_THE_LANGUAGE.values()]
    unserved = {row.operation for row in rows} - tables
    assert unserved == {
        operation for operation in unserved if operation.partition(".")[0] in scripts.operations.SERVICES
    }
    assert tables <= {row.operation for row in rows}


@pytest.mark.parametrize(
    ("call", "type", "service"),
    [
        ('ask_ai("tea?")', "AIError", "ai"),
        ('summarize("tea", "pot")', "AIError", "ai"),
        ("detect_anomalies([1])", "AIError", "ai"),
        ("reflect()", "AIError", "ai"),
        ('evaluate_confidence("x")', "AIError", "ai"),
        ("self_heal()", "AIError", "ai"),
        ('think about "tea"', "AIError", "ai"),
        ('escalate_to("planner", message="x")', "AgentError", "agents"),
        ('run agent "planner"', "AgentError", "agents"),
        ('share "tea" with planner', "AgentError", "agents"),
        ('time.interval(1, "hour")', "HostError", "schedules"),
        ('read_file("/etc/passwd")', "FileError", "files"),
        ('http.get("https://example.org")', "NetworkError", "egress"),
        ('schedule_daily_task("x", "06:00")', "HostError", "schedules"),
        ('schedule_recurring_task("x", 1, "hours")', "HostError", "schedules"),
    ],
)
async def test_what_no_loaded_plugin_can_do_names_the_missing_service(
    house: ScriptHouse, call: str, type: str, service: str
) -> None:
    caller = Caller("core:console", ("role:admin",)) if "file" in call else ADMIN
    found = await house.caught(call, caller, script_name="may_manage")
    if call.startswith("read_file"):  # a deny of the shipped policy, which nothing overrides
        assert found["message"] == "missing capability: fs:read"
        return
    assert (found["type"], found["data"]) == (type, {"service": service})
    assert f"no loaded plugin provides the service '{service}'" in found["message"]


async def test_a_wait_longer_than_the_run_may_take_is_refused_at_once(house: ScriptHouse) -> None:
    found = await house.caught("wait 3 days", ADA)
    assert found["type"] == "HostError"
    assert "longer than the" in found["message"]
    assert "not available in this version" in found["message"]


# What a worker sends is data from a stranger ---------------------------------------------------------------------


class Stranger:
    """A run as the gateway sees it, for calls that no script of ours makes."""

    def __init__(self) -> None:
        self.id, self.name, self.story, self.trace_level = "job-1", "stranger.aether", list[str](), "info"
        self.noted: list[tuple[str, Any]] = []
        self.data_class, self.export_most, self.before = "internal", "restricted", dict[str, Any]()

    def remaining_s(self) -> float | None:
        return 60.0

    def refused(self, denial: dict[str, Any]) -> None:
        """Forget it."""

    def note(self, topic: str, data: dict[str, Any]) -> None:
        self.noted.append((topic, data))


@pytest.fixture
def gateway(house: ScriptHouse, scripts: ModuleType) -> Any:
    limits = dict(scripts.limits.SHIPPED)
    return scripts.gateway.Gateway(house.kernel.context(ADA), "stranger.aether", Stranger(), limits, {})


async def refused(gateway: Any, body: Any) -> tuple[str, str]:
    with pytest.raises(Exception, match=r".") as error:
        await gateway.call(body)
    assert set(error.value.details) <= {"type", "data", "retryable"}
    return error.value.details["type"], error.value.message


@pytest.mark.parametrize(
    "body",
    [None, 5, "time.now", [], {}, {"op": 5}, {"op": "time.now", "args": []}, {"op": "time.now", "args": {1: 2}}],
)
async def test_a_call_that_cannot_be_read_is_refused(gateway: Any, body: Any) -> None:
    type, message = await refused(gateway, body)
    assert type in ("HostError", "TypeError")
    assert message


@pytest.mark.parametrize("op", ["", "tea", "time.Now", "operations.TABLE", "__class__", "memory.__init__", "x" * 5000])
async def test_an_unknown_operation_is_refused(gateway: Any, op: str) -> None:
    type, message = await refused(gateway, {"op": op})
    assert type == "UnknownFunction"
    assert len(message) < 200


async def test_the_capability_that_a_worker_claims_counts_for_nothing(gateway: Any) -> None:
    body = {"op": "plugin.load", "capability": "time.read", "args": {"name": "memory"}}
    assert await refused(gateway, body) == ("PermissionError", "missing capability: plugin:manage")


@pytest.mark.parametrize(
    ("op", "args", "field"),
    [
        ("time.sleep", {"seconds": "1"}, "seconds"),
        ("time.sleep", {}, "seconds"),
        ("random.int", {"a": 1, "b": None}, "b"),
        ("random.int", {"a": True, "b": 3}, "a"),
        ("memory.remember", {"content": 1, "as": 5}, "as"),
        ("memory.update", {"id": "x", "patch": [1]}, "patch"),
        ("memory.delete", {"id": [1]}, "id"),
        ("memory.recall", {"query": "x", "limit": "9"}, "limit"),
        ("memory.logs", {"since": "24h"}, "since"),
        ("plugin.call", {"name": None, "args": []}, "name"),
        ("plugin.call", {"name": "tea.brew", "args": {"cups": 1}}, "args"),
        ("metrics.record", {"values": 5}, "values"),
        ("event.emit", {"event": 5}, "event"),
        ("goal.declare", {"title": ["x"]}, "title"),
        ("time.now", {"tz": "UTC"}, "tz"),
    ],
)
async def test_an_argument_of_a_wrong_type_is_named(gateway: Any, op: str, args: dict[str, Any], field: str) -> None:
    type, message = await refused(gateway, {"op": op, "args": args})
    assert type == "TypeError"
    assert message.startswith(f"{op}: ")
    assert f"`{field}`" in message or f"`$.{field}" in message


@pytest.mark.parametrize(
    ("op", "args"),
    [
        ("time.sleep", {"seconds": float("nan")}),
        ("time.sleep", {"seconds": float("inf")}),
        ("random.int", {"a": float("nan"), "b": 3}),
        ("random.int", {"a": 0, "b": float("inf")}),
        ("random.int", {"a": 5, "b": 1}),
    ],
)
async def test_numbers_that_no_script_can_make_are_refused(gateway: Any, op: str, args: dict[str, Any]) -> None:
    assert (await refused(gateway, {"op": op, "args": args}))[0] == "ValueError"


async def test_load_and_idleness_are_measured_and_an_unknown_signal_is_null(gateway: Any) -> None:
    read = {
        name: await gateway.call({"op": "signal.read", "args": {"name": name}}) for name in ("load", "idle", "tide")
    }
    assert isinstance(read["load"], float)
    assert read["load"] >= 0
    assert read["idle"] is (read["load"] < 0.25)
    assert read["tide"] is None


async def test_a_whole_number_stays_exact(gateway: Any) -> None:
    wide = 2**62 + 1
    assert await gateway.call({"op": "random.int", "args": {"a": wide, "b": wide}}) == wide


async def test_an_error_nobody_expected_says_nothing_of_the_hub_and_is_in_its_log(
    house: ScriptHouse, scripts: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Stranger):
        def note(self, topic: str, data: dict[str, Any]) -> None:
            raise OSError("/var/lib/secret: permission denied")

    gateway = scripts.gateway.Gateway(house.kernel.context(ADA), "s.aether", Broken(), dict(scripts.limits.SHIPPED), {})
    with caplog.at_level(logging.ERROR):
        type, message = await refused(gateway, {"op": "metrics.record", "args": {"values": {}}})
    assert (type, message) == ("HostError", "metrics.record failed in the hub; the reason is in its log")
    assert "/var/lib/secret" in caplog.text
    assert "job-1" in caplog.text


# Rights ----------------------------------------------------------------------------------------------------------


async def test_a_missing_right_is_an_error_that_names_it(house: ScriptHouse) -> None:
    assert await house.caught('load_plugin("tea")') == {
        "type": "PermissionError",
        "message": "missing capability: plugin:manage",
        "data": {"capability": "plugin:manage"},
    }
    source = 'try { load_plugin("tea") } except CapabilityError as e { return "caught" }'
    assert await house.result(source) == "caught"


async def test_a_script_can_do_no_more_than_its_user(house: ScriptHouse) -> None:
    assert await house.result('return [now() > 0, plugin("tea.brew", 1)]', POOR) == [True, "1 cups of green tea"]
    for call, capability in (
        ('remember("x")', "memory:write:own"),
        ("get_all_goals()", "goal:read:own"),
        ('emit("x", 1)', "event:emit:user.x"),
        ('alert("x")', "ui:notify:everybody"),
        ('plugin("tea.key")', "plugin:call:tea.key"),
        ("get_all_plugins()", "plugin:read"),
        ("random()", "random:read"),
    ):
        assert (await house.caught(call, POOR))["data"] == {"capability": capability}, call


async def test_a_user_can_do_more_than_the_scripts_he_runs(house: ScriptHouse) -> None:
    assert (await house.service("modules", ADMIN).reload("tea"))["status"] == "active"
    assert (await house.caught('load_plugin("tea")', ADMIN))["data"] == {"capability": "plugin:manage"}
    assert await house.result('return load_plugin("tea").status', ADMIN, script_name="may_manage") == "active"
    assert (await house.caught('load_plugin("tea")', ADA, script_name="may_manage"))["type"] == "PermissionError"


async def test_a_deny_for_one_script_wins_over_what_all_may(house: ScriptHouse) -> None:
    found = await house.caught('remember("x")', script_name="no_memory")
    assert found["data"] == {"capability": "memory:write:own"}
    assert await house.result('return remember("x").length', script_name="other") > 0


async def test_a_name_from_a_request_never_has_the_rights_of_the_systems_scripts(house: ScriptHouse) -> None:
    row = await house.outcome('emit("module.loaded", {})', ADMIN, script_name="system/goals")
    assert row["name"] == "inline/system/goals.aether"
    assert row["state"] == "completed"
    assert [event.topic for event in house.kernel.bus.since(0, "user.module.loaded")[0]] == ["user.module.loaded"]


async def test_a_function_is_called_through_the_script_so_it_lends_its_plugins_rights_to_nobody(
    house: ScriptHouse,
) -> None:
    found = await house.caught("reach()")
    assert (found["type"], found["message"]) == ("PermissionError", "missing capability: plugin:manage:own")
    _, via = await house.result("return tea.key()")
    assert via[0] == "script:inline/script.aether"


async def test_a_script_that_a_plugin_starts_can_do_no_more_than_the_plugin(house: ScriptHouse) -> None:
    ctx = house.kernel.context(ADA)
    goals = "if true { get_all_goals() }"
    for call, state in (('remember("launched")', "completed"), (goals, "failed"), ("tea.key()", "failed")):
        assert await house.result(f"{call}\nreturn 1") == 1
        final = await house.ended({"id": await ctx.call("tea.launch", call)})
        assert (final["owner"], final["state"]) == ("user:ada", state)
        if state == "failed":
            assert final["error"]["code"] == "CAPABILITY_DENIED"


async def test_a_script_can_do_no_more_than_the_scopes_of_the_token_it_was_started_with(house: ScriptHouse) -> None:
    scoped = Caller("user:ada", ("role:user",), ("script:run", "job:*:own", "time:read"))
    assert await house.result("return now() > 0", scoped) is True
    assert (await house.caught('remember("x")', scoped))["type"] == "PermissionError"


async def test_nobody_but_the_house_speaks_to_the_runner(house: ScriptHouse) -> None:
    runner = house.service("runner.script")
    execution = {"id": "x", "attempt": 1, "name": "a.aether", "caller": {"id": "user:root"}, "trace": "", "input": {}}
    with pytest.raises(Denied, match="system:admin"):
        await runner.start(execution)
    with pytest.raises(Denied, match="system:admin"):
        await runner.stop("x")
    await house.service("runner.script", ADMIN).stop("of no run")


async def test_one_users_entries_are_not_anothers(house: ScriptHouse) -> None:
    await house.result('store_memory({ id: "diary", content: "mine" })', Caller("user:eve", ("role:user",)))
    assert await house.result('return [get_memory("diary"), delete_memory("diary")]', ADA) == [None, False]


# Quotas, keys and bounds -----------------------------------------------------------------------------------------


async def test_calls_that_may_have_an_effect_are_counted_and_free_ones_are_not(house: ScriptHouse) -> None:
    source = (
        'for i in range(20) { now()\n random()\n metrics({ i: i }) }\nfor i in range(4) { memory.count() }\nlog "ok"'
    )
    assert (await house.outcome(source, FEW))["state"] == "completed"
    row = await house.outcome(source + "\nmemory.count()", FEW)
    assert row["state"] == "failed"
    assert row["error"]["code"] == "LIMIT_EXCEEDED"
    assert row["error"]["data"] == {"limit": "host_calls", "value": 4}
    assert row["error"]["message"] == "the script made too many calls (limit host_calls = 4)"


async def test_a_limit_cannot_be_caught(house: ScriptHouse) -> None:
    source = 'for i in range(9) { try { memory.count() } catch e { log "caught" } }'
    row = await house.outcome(source, FEW)
    assert row["error"]["data"]["limit"] == "host_calls"
    assert [line for line in await house.history(row, "job.log") if line["data"]["message"] == "caught"] == []


async def test_calls_of_a_model_have_a_quota_of_their_own_even_where_none_answers(house: ScriptHouse) -> None:
    source = 'let n = 0\ntry { ask_ai("a") } catch e { n = n + 1 }\ntry { ask_ai("b") } catch e { n = n + 1 }\n'
    assert await house.result(source + "return n", FEW) == 2
    error = await house.error(source + 'ask_ai("c")', FEW)
    assert error["data"] == {"limit": "ai_calls", "value": 2}


async def test_each_effect_has_a_key_of_job_branch_and_sequence(house: ScriptHouse) -> None:
    source = "let first = tea.key()[0]\nnow()\nmemory.count()\nreturn [first, tea.key()[0]]"
    row = await house.outcome(source)
    assert row["result"] == [f"{row['id']}:0:1", f"{row['id']}:0:3"]


@pytest.mark.parametrize(
    ("what", "got"),
    [
        ("time", "2026-01-02T00:00:00Z"),
        ("set", [3]),
        ("tuple", [1, 2]),
        ("keys", {"1": "one"}),
        ("bytes", b"tea"),
    ],
)
async def test_a_result_arrives_as_plain_data(house: ScriptHouse, what: str, got: Any) -> None:
    expected = "dGVh" if got == b"tea" else got
    assert await house.result(f'return tea.give("{what}")') == expected


async def test_a_result_is_as_deep_as_a_frame_allows_and_no_deeper(house: ScriptHouse) -> None:
    found = await house.result('return tea.give("nested", 28)')
    for _ in range(28):
        (found,) = found
    assert found == "bottom"
    error = await house.caught('tea.give("nested", 29)')
    assert error["type"] == "ValueError"
    assert "nested deeper than 28" in error["message"]


@pytest.mark.parametrize("what", ["wide", "nan", "long"])
async def test_a_result_that_no_script_can_hold_is_an_error_of_the_call(house: ScriptHouse, what: str) -> None:
    found = await house.caught(f'tea.give("{what}")')
    assert found["type"] in ("ValueError", "PluginError", "HostError")
    assert await house.result("return tea.brew(1)") == "1 cups of green tea"


async def test_an_argument_may_nest_as_deep_as_a_frame_allows_and_no_deeper(house: ScriptHouse) -> None:
    source = 'let x = "bottom"\nfor i in range({n}) {{ x = [x] }}\nreturn call_plugin("tea.brew", x).error'
    assert "int" in await house.result(source.format(n=25))
    error = await house.error(source.format(n=40))
    assert (error["type"], error["code"]) == ("ValueError", "VALUE_ERROR")


# What goes wrong in a plugin -------------------------------------------------------------------------------------


async def test_a_function_that_breaks_is_a_plugin_error_without_its_reason(
    house: ScriptHouse, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        for call in ("tea.spill()", 'plugin("tea.spill")', 'run_plugin("tea.spill")', "spill()"):
            found = await house.caught(call)
            assert found["type"] == "PluginError", call
            assert found["message"].startswith("the function ")
            assert found["message"].endswith("failed; the reason is in the hub's log")
    assert "secret: /etc/teapot" in caplog.text


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("tea.spill", "the reason is in the hub's log"),
        ("tea.refuse", "the water is too hot"),
        ("tea.busy", "all pots are in use"),
        ("tea.forbid", "not on a Sunday"),
        ("tea.reach", "missing capability: plugin:manage"),
        ("tea.brew", "`cups`"),
        ("tea.pour", "no plugin offers the function 'tea.pour'"),
        ("coffee", "no plugin offers the function 'coffee'"),
    ],
)
async def test_call_plugin_never_raises(house: ScriptHouse, call: str, said: str) -> None:
    found = await house.result(f'return call_plugin("{call}")')
    assert (found["success"], found["data"]) == (False, None)
    assert said in found["error"]
    assert "teapot" not in found["error"]


async def test_what_a_function_refuses_is_a_plugin_error_with_its_words(house: ScriptHouse) -> None:
    for kind in ("TooHot", "LimitError", "Cancelled", "StopExecution"):
        found = await house.caught(f'tea.refuse("{kind}")')
        assert (found["type"], found["message"]) == ("PluginError", "the water is too hot")
        assert found["data"] == {"field": "water"}


async def test_only_what_may_pass_by_itself_is_worth_a_retry(house: ScriptHouse) -> None:
    source = "try {{ tea.{0}() }} catch e {{ return e.retryable }}"
    assert await house.result(source.format("busy")) is True
    assert await house.result(source.format("refuse")) is False
    assert await house.result(source.format("reach")) is False


async def test_a_refusal_without_a_right_keeps_its_own_words(house: ScriptHouse) -> None:
    found = await house.caught("tea.forbid()")
    assert (found["type"], found["message"]) == ("PermissionError", "not on a Sunday")


async def test_a_wrong_argument_of_a_function_is_named(house: ScriptHouse) -> None:
    found = await house.caught('tea.brew("many")')
    assert found["type"] == "PluginError"
    assert found["data"]["field"] == "cups"
    assert "takes 2 arguments at most, got 3" in (await house.caught('tea.brew(1, "a", 2)'))["message"]


async def test_a_receiver_that_is_no_plugin_is_an_unbound_name(house: ScriptHouse) -> None:
    assert (await house.caught("kettle.boil()"))["type"] == "NameError"
    assert (await house.caught("tea.boil()"))["type"] == "UnknownFunction"


async def test_an_event_without_a_proper_name_is_refused(house: ScriptHouse) -> None:
    assert (await house.caught('emit("tea ready", 1)'))["type"] == "ValueError"
    assert (await house.caught('emit("user.a..b", 1)'))["type"] == "ValueError"


async def test_what_is_wrong_with_an_entry_is_said_in_the_scripts_words(house: ScriptHouse) -> None:
    assert (await house.caught("update_memory(5, {})"))["type"] == "TypeError"
    assert (await house.caught('set_goal({ priority: "high" })'))["type"] == "TypeError"
    assert "SELECT" in (await house.caught('query_memory("select * from memory")'))["message"]
