"""Runs of scripts in real workers: whatever a script does, its job ends once, soon, and says how."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio
from script_house import ADA, ADMIN, ScriptHouse, script_house

from kernel import Caller, Denied, TooLarge
from kernel.testing import Recording, TestClock

pytestmark = pytest.mark.asyncio(loop_scope="module")

GATE = '''
"""Holds whoever calls until the test opens."""
import asyncio
from kernel import Context, Event, Plugin

gate = Plugin("gate", version="1.0.0")
opened = asyncio.Event()

@gate.function("wait", effect="free")
async def wait(ctx: Context) -> str:
    """Return once it is open."""
    await opened.wait()
    return "open"

@gate.on("gate.open")
async def open(ctx: Context, event: Event) -> None:
    opened.set()
'''

POLICY = """
[capabilities.allow]
"user:nobody" = ["job:*:own"]
[limits."user:steps"]
steps = 5_000
[limits."user:active"]
active_s = 0.2
[limits."user:shallow"]
depth = 20
[limits."user:small"]
charged_mb = 8
text_mb = 1
items = 5_000
[limits."user:quiet"]
log_records = 10
output_kb = 1
[limits."user:hurried"]
wall_s = 5
"""

LIBRARY = {
    "tea.aether": "return { cups: parameters.cups, who: context.who, all: parameters }",
    "Kitchen/Kettle.aether": "# boils\nfn boil(ml) { return ml / 2 }\nlet heat = 100",
    "broken.aether": "fn f( {\n",
    "loop_a.aether": 'import "loop_b" as loop_b\nfn a() { return loop_b.b() }',
    "loop_b.aether": "import \"loop_a\" as loop_a\nfn b() { return 'b' }",
    "fails.aether": 'fn f() { return 1 }\nthrow "not today"',
    "system/logger.aether": 'fn log_event(a) { return "a false one" }',
}


def user(name: str) -> Caller:
    return Caller(f"user:{name}", ("role:user",))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ScriptHouse]:
    home = tmp_path_factory.mktemp("runs")
    async with script_house(home, policy=POLICY, scripts=LIBRARY) as house:
        yield house


def workers(kind: str = "run") -> list[psutil.Process]:
    """Return this process's own workers of that kind."""
    children = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    lines = [(child, " ".join(child.cmdline())) for child in children]
    return [child for child, line in lines if "worker.py" in line and ("--preload compile" in line) == (kind != "run")]


async def messages(house: ScriptHouse, row: dict[str, Any]) -> list[str]:
    return [line["data"]["message"] for line in await house.history(row, "job.log")]


# What scripts do -------------------------------------------------------------------------------------------------


async def test_a_script_completes_with_its_result(house: ScriptHouse) -> None:
    row = await house.outcome('return { n: 1, x: 1.5, s: "tea", l: [null, true], empty: {} }')
    assert row["state"] == "completed"
    assert row["result"] == {"n": 1, "x": 1.5, "s": "tea", "l": [None, True], "empty": {}}
    assert row["error"] is None
    assert row["attempt"] == 1


async def test_a_script_of_the_library_runs_with_parameters_and_context(house: ScriptHouse) -> None:
    row = await house.outcome(script_name="tea", parameters={"cups": 2}, context={"who": "ada"})
    assert (row["name"], row["result"]) == ("tea.aether", {"cups": 2, "who": "ada", "all": {"cups": 2}})
    assert await house.result("return [parameters, context]") == [{}, {}]


async def test_a_name_with_capitals_can_be_run_like_any_other(house: ScriptHouse) -> None:
    row = await house.outcome(script_name="Kitchen/Kettle")
    assert (row["name"], row["state"]) == ("Kitchen/Kettle.aether", "completed")


async def test_what_a_plugin_block_runs_takes_its_parameters_by_name(house: ScriptHouse) -> None:
    source = "plugin p {\n  fn on_run(cups, parameters) { return [cups, parameters.sort] }\n}"
    assert await house.result(source, parameters={"cups": 2, "sort": "green"}) == [2, "green"]


async def test_a_mistake_in_the_source_fails_the_job_at_its_place(house: ScriptHouse) -> None:
    error = await house.error("let a = 1\nlet box = { size: 2\n")
    assert (error["code"], error["type"], error["message"]) == ("SCRIPT_SYNTAX", "SyntaxError", "'{' was never closed")
    assert (error["file"], error["line"], error["column"]) == ("inline/script.aether", 2, 11)
    assert error["diagnostics"][0]["message"] == error["message"]


async def test_a_script_that_throws_fails_with_its_record(house: ScriptHouse) -> None:
    source = 'fn pour(n) {\n  throw { message: "the pot is empty", data: { n: n } }\n}\npour(2)'
    error = await house.error(source, script_name="pour")
    assert error == {
        "code": "USER_ERROR",
        "type": "UserError",
        "message": "the pot is empty",
        "line": 2,
        "column": 3,
        "file": "inline/pour.aether",
        "data": {"n": 2},
        "stack": [
            {"function": "pour", "file": "inline/pour.aether", "line": 2},
            {"function": "main", "file": "inline/pour.aether", "line": 4},
        ],
    }


@pytest.mark.parametrize(
    ("source", "code", "type", "said"),
    [
        ("return frobnicate(1)", "UNKNOWN_FUNCTION", "UnknownFunction", "frobnicate"),
        (
            'if true { load_plugin("memory") }',
            "CAPABILITY_DENIED",
            "PermissionError",
            "missing capability: plugin:manage",
        ),
        ("return 1 / 0", "DIVISION_BY_ZERO", "DivisionByZero", "zero"),
        ("return tea", "NAME_ERROR", "NameError", "tea"),
        ("null.x", "TYPE_ERROR", "TypeError", "cannot read .x of null"),
        ('ask_ai("x")', "AI_ERROR", "AIError", "'ai'"),
        ("fn f() { return 1 }\nreturn f", "TYPE_ERROR", "TypeError", "functions are no data"),
        ("return 2 ** 70", "VALUE_ERROR", "ValueError", "beyond 64 bits"),
    ],
)
async def test_what_nobody_caught_has_a_code_a_type_and_a_message(
    house: ScriptHouse, source: str, code: str, type: str, said: str
) -> None:
    error = await house.error(source)
    assert (error["code"], error["type"]) == (code, type)
    assert said in error["message"]


@pytest.mark.parametrize(
    ("source", "caller", "limit", "value"),
    [
        ("while true { }", "steps", "steps", 5_000),
        ('while true { let s = "x".repeat(1000) }', "active", "active_s", 0.2),
        ("fn f(n) { return f(n + 1) }\nf(0)", "shallow", "depth", 20),
        ("let xs = [1]\nwhile true { xs = xs + xs }", "small", "items", 5_000),
        ('let s = "x"\nwhile true { s = s + s }', "small", "text_mb", 1),
        ('let xs = []\nwhile true { xs.push("x".repeat(100000)) }', "small", "charged_mb", 8),
    ],
)
async def test_a_script_without_end_meets_its_limit_which_nothing_catches(
    house: ScriptHouse, source: str, caller: str, limit: str, value: float
) -> None:
    body = source.replace("\n", "\n  ")
    error = await house.error(f"try {{\n  {body}\n}} catch e {{\n  return e.message\n}}", user(caller))
    assert (error["code"], error["type"]) == ("LIMIT_EXCEEDED", "LimitError")
    assert error["data"] == {"limit": limit, "value": value}
    assert f"limit {limit}" in error["message"]


async def test_what_is_too_large_for_a_job_is_said_and_costs_no_worker(house: ScriptHouse) -> None:
    before = {worker.pid for worker in workers()}
    error = await house.error('return "x".repeat(2000000)')
    assert (error["code"], error["data"]["limit"]) == ("LIMIT_EXCEEDED", "frame_bytes")
    odd = "fn f() { return 1 }\nlet round = {}\nround.a = round\nlet deep = [1]\nfor i in range(60) { deep = [deep] }\n"
    for value in ("f", "2 ** 70", "deep", "round"):
        error = await house.error(odd + f'throw {{ message: "odd", data: {{ v: {value} }} }}')
        assert (error["code"], error["message"], "data" in error) == ("USER_ERROR", "odd", False)
    assert before <= {worker.pid for worker in workers()}
    with pytest.raises(TooLarge, match="input_kb"):
        await house.submit("return 1", parameters={"x": "x" * 1_100_000})


async def test_a_flood_of_log_records_is_cut_with_a_mark_and_no_error(house: ScriptHouse) -> None:
    row = await house.outcome('for i in range(500) { log "line {i}" }\nreturn "done"', user("quiet"))
    assert (row["state"], row["result"]) == ("completed", "done")
    logged = await messages(house, row)
    assert logged == [*[f"line {i}" for i in range(10)], "the log is full, later records are dropped"]


async def test_what_else_is_noted_counts_with_the_log(house: ScriptHouse) -> None:
    row = await house.outcome("for i in range(500) { metrics({ i: i }) }", user("quiet"))
    assert row["state"] == "completed"
    assert len(await house.history(row, "job.metrics")) == 10
    assert await messages(house, row) == ["the log is full, later records are dropped"]


@pytest.mark.parametrize("line", ["x" * 99, "é" * 70, "x" * 5_000, "x" * 1_023])
async def test_a_flood_of_output_is_cut_with_a_mark_and_no_error(house: ScriptHouse, line: str) -> None:
    row = await house.outcome(f'for i in range(500) {{ print("{line}") }}\nreturn "done"', user("quiet"))
    assert (row["state"], row["result"]) == ("completed", "done")
    lines = [entry["data"]["text"] for entry in await house.history(row, "job.output")]
    assert sum(len(text.encode()) + 1 for text in lines) <= 1024 + len(" [output cut]") + 1
    assert lines[-1].endswith(" [output cut]")
    assert all(text == line for text in lines[:-1])


async def test_a_long_record_is_cut(house: ScriptHouse) -> None:
    row = await house.outcome('log "x".repeat(100000)')
    (message,) = await messages(house, row)
    assert message == "x" * 8192 + " [cut]"


async def test_log_and_output_are_told_in_order_before_the_end_with_their_place(house: ScriptHouse) -> None:
    with Recording(house.kernel.bus, "job.#") as heard:
        source = 'log "one"\nprint("two")\nwarn("three")\nprint("four")\nlog("five", level="error")\nreturn 6'
        row = await house.outcome(source)
    assert heard.topics == [
        "job.created",
        "job.started",
        "job.log",
        "job.output",
        "job.log",
        "job.output",
        "job.log",
        "job.completed",
    ]
    history = await house.history(row)
    assert [line["topic"] for line in history] == heard.topics
    said = [line["data"].get("message") or line["data"].get("text") for line in history[2:7]]
    assert said == ["one", "two", "three", "four", "five"]
    logged = [line["data"] for line in history if line["topic"] == "job.log"]
    assert [(one["level"], one["line"]) for one in logged] == [("info", 1), ("warning", 3), ("error", 5)]
    assert {one["file"] for one in logged} == {"inline/script.aether"}


async def test_a_thousand_lines_keep_their_order(house: ScriptHouse) -> None:
    row = await house.outcome('for i in range(1000) { log "{i}" }')
    assert await messages(house, row) == [str(i) for i in range(1000)]


async def test_a_warning_of_the_checker_is_the_first_of_the_log(house: ScriptHouse) -> None:
    row = await house.outcome('log "begun"\nif false { frobnicate(1) }')
    logged = [line["data"] for line in await house.history(row, "job.log")]
    assert (logged[0]["level"], logged[0]["line"]) == ("warning", 2)
    assert "frobnicate" in logged[0]["message"]
    assert logged[1]["message"] == "begun"


async def test_many_runs_at_once_each_have_their_own_end_and_history(house: ScriptHouse) -> None:
    source = (
        'log "{parameters.n}"\nset_global("n", parameters.n)\nsleep(1)\nlog "{parameters.n}"\nreturn get_global("n")'
    )
    callers = [user(f"many{n % 3}") for n in range(60)]
    rows = [await house.submit(source, caller, parameters={"n": n}) for n, caller in enumerate(callers)]
    finals = [await house.ended(row) for row in rows]
    assert [(final["state"], final["result"]) for final in finals] == [("completed", n) for n in range(60)]
    assert [final["owner"] for final in finals] == [caller.id for caller in callers]
    for n, row in enumerate(rows):
        assert await messages(house, row) == [str(n), str(n)]
    stats = await house.service("scripts", ADMIN).stats()
    assert stats["runs_under_way"] == 0
    assert 1 <= stats["workers"]["run"]["alive"] <= 4


async def test_a_run_leaves_nothing_of_itself_to_the_next_in_its_worker(house: ScriptHouse) -> None:
    await house.result('set_global("pot", "mine")\nx = 5\nreturn 1')
    source = 'let y = null\ntry { y = x } catch e { y = e.type }\nreturn [get_global("pot"), y]'
    for _ in range(5):
        assert await house.result(source, user("other")) == [None, "NameError"]


async def test_check_says_what_a_script_can_reach_and_runs_nothing(house: ScriptHouse) -> None:
    scripts = house.service("scripts")
    found = await scripts.check(source='remember("x")\nnow()')
    assert (found["ok"], found["name"]) == (True, "inline/script.aether")
    assert set(found["capabilities"]) >= {"memory.write", "time.read"}
    assert await house.result("return memory.count()", user("checker")) == 0
    broken = await scripts.check(name="broken")
    assert (broken["ok"], broken["name"]) == (False, "broken.aether")
    assert broken["diagnostics"][0]["line"] == 1
    assert (await scripts.stats())["scripts"] >= len(LIBRARY) - 1


async def test_who_may_not_run_a_script_is_refused_before_anything_is_accepted(house: ScriptHouse) -> None:
    with pytest.raises(Denied, match="script:run"):
        await house.submit("return 1", Caller("user:nobody"))


# Modules ---------------------------------------------------------------------------------------------------------


async def test_a_module_of_the_library_is_used_and_noted_with_its_hash(house: ScriptHouse) -> None:
    row = await house.outcome('import "Kitchen/Kettle" as kettle\nreturn [kettle.boil(10), kettle.heat]')
    assert row["result"] == [5, 100]
    (noted,) = await house.history(row, "job.module")
    assert noted["data"]["name"] == "Kitchen/Kettle.aether"
    assert len(noted["data"]["hash"]) == 64


async def test_the_systems_modules_are_the_bundled_ones_whatever_lies_elsewhere(house: ScriptHouse) -> None:
    source = 'use {0}\nlet id = logger.log_event("tea", {{}})\nreturn get_memory(id).event_type'
    for path in ("system/logger", "vendor/system/logger"):
        assert await house.result(source.format(path)) == "tea"


async def test_modules_that_use_each_other_are_loaded_once_each(house: ScriptHouse) -> None:
    row = await house.outcome('import "loop_a" as loop_a\nreturn loop_a.a() + loop_a.a()')
    assert row["result"] == "bb"
    assert len(await house.history(row, "job.module")) == 2


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("nowhere", "there is no module 'nowhere'"),
        ("broken", "broken.aether:1:"),
        ("../broken", "cannot be the name of a script"),
        ("/etc/passwd", "cannot be the name of a script"),
        ("inline/script", "there is no module"),
    ],
)
async def test_a_module_that_cannot_be_loaded_is_an_import_error_that_can_be_caught(
    house: ScriptHouse, path: str, said: str
) -> None:
    source = f'import "{path}" as m\ntry {{\n  m.f()\n}} catch e {{\n  return [e.type, e.message]\n}}'
    found = await house.outcome(source)
    if found["state"] == "failed":  # a path that never can be one is a mistake of the source
        assert found["error"]["code"] == "SCRIPT_SYNTAX"
        return
    assert found["result"][0] == "ImportError"
    assert said in found["result"][1]
    assert str(house.home) not in found["result"][1]


async def test_what_a_module_throws_when_it_is_loaded_reaches_whoever_uses_it(house: ScriptHouse) -> None:
    source = 'import "fails" as m\ntry {\n  m.f()\n} catch e {\n  return [e.type, e.message, e.file]\n}'
    assert await house.result(source) == ["UserError", "not today", "fails.aether"]


# Ends from outside -----------------------------------------------------------------------------------------------


async def cancelled_within_a_second(house: ScriptHouse, row: dict[str, Any], caller: Caller = ADA) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    asked = loop.time()
    await house.service("executions", caller).cancel(row["id"])
    final = await house.ended(row)
    assert loop.time() - asked < 1
    assert (final["state"], final["error"]["code"]) == ("cancelled", "CANCELLED")
    return final


@pytest.mark.parametrize(
    "rest",
    [
        "while true { }",
        "wait 300",
        "try { while true { } } finally { while true { } }",
        "while true { memory.count() }",
        'while true { log "x" }',
    ],
    ids=["loop", "wait", "stubborn", "calls", "log"],
)
async def test_a_cancelled_run_is_over_within_a_second(house: ScriptHouse, rest: str) -> None:
    async with house.begun(f'log "here"\n{rest}') as row:
        await cancelled_within_a_second(house, row)
    assert await house.result("return 1") == 1


async def test_a_cancelled_run_still_does_what_finally_says(house: ScriptHouse) -> None:
    async with house.begun('try { log "here"\nwait 300 } finally { log "tidied" }') as row:
        await cancelled_within_a_second(house, row)
        assert (await messages(house, row))[-1] == "tidied"


async def test_a_worker_that_is_killed_fails_its_job_and_the_next_gets_another(house: ScriptHouse) -> None:
    async with house.begun('log "here"\nwhile true { }') as row:
        killed = workers()
        for worker in killed:
            worker.send_signal(signal.SIGKILL)
        final = await house.ended(row)
    assert (final["state"], final["error"]["code"]) == ("failed", "WORKER_LOST")
    assert final["error"]["type"] == "InternalError"
    assert "killed by signal 9" in final["error"]["message"]
    assert await house.result("return 1") == 1
    assert {worker.pid for worker in workers()}.isdisjoint(worker.pid for worker in killed)


async def test_a_worker_that_is_killed_while_it_waits_for_an_answer_fails_its_job(house: ScriptHouse) -> None:
    async with house.begun('log "here"\nwait 300') as row:
        for worker in workers():
            worker.send_signal(signal.SIGKILL)
        assert (await house.ended(row))["error"]["code"] == "WORKER_LOST"


async def test_a_cancelled_run_whose_worker_does_not_obey_is_cancelled_all_the_same(house: ScriptHouse) -> None:
    async with house.begun('log "here"\nwhile true { }') as row:
        for worker in workers():
            worker.send_signal(signal.SIGSTOP)
        await cancelled_within_a_second(house, row)
    for worker in workers():  # those that were idle
        worker.send_signal(signal.SIGCONT)


async def idle_compiler(house: ScriptHouse) -> psutil.Process:
    """The compile worker, once it has started and does nothing."""
    while not house.kernel.workers.stats()["compile"]["idle"]:
        await asyncio.sleep(0)
    (compiler,) = workers("compile")
    return compiler


async def test_a_run_is_cancelled_while_its_source_is_compiled(house: ScriptHouse) -> None:
    compiler = await idle_compiler(house)
    compiler.send_signal(signal.SIGSTOP)
    try:
        with Recording(house.kernel.bus, "job.started") as started:
            row = await house.submit("return 'never seen before'")
            await started.wait_for("job.started")
        await cancelled_within_a_second(house, row)
    finally:
        compiler.send_signal(signal.SIGCONT)
    assert await house.result("return 'never seen before'") == "never seen before"


async def test_a_compile_worker_that_is_killed_fails_the_job_and_the_next_gets_another(house: ScriptHouse) -> None:
    compiler = await idle_compiler(house)
    compiler.send_signal(signal.SIGSTOP)
    with Recording(house.kernel.bus, "job.started") as started:
        row = await house.submit("return 'killed while it was compiled'")
        await started.wait_for("job.started")
    while house.kernel.workers.stats()["compile"]["idle"]:  # until it has the source
        await asyncio.sleep(0)
    compiler.send_signal(signal.SIGKILL)
    assert (await house.ended(row))["error"]["code"] == "WORKER_LOST"
    assert await house.result("return 'killed while it was compiled'") == "killed while it was compiled"


async def test_a_job_that_waits_for_a_place_or_a_worker_is_cancelled_at_once(tmp_path: Path) -> None:
    async with script_house(
        tmp_path, overrides={"limits.lane_normal_priority": 2, "plugins.scripts.workers": 1}
    ) as house:
        async with house.begun('log "here"\nwait 300') as first:
            with Recording(house.kernel.bus, "job.started") as started:
                second, third = await house.submit("return 2"), await house.submit("return 3")
                await started.wait_for("job.started")
            while not house.kernel.workers.stats()["run"]["waiting"]:
                await asyncio.sleep(0)
            assert house.kernel.workers.stats()["run"]["alive"] == 1
            # The second has its place in the lane and waits for the one worker; the third waits for a place.
            assert (await house.service("executions").get(second["id"]))["state"] == "running"
            assert (await house.service("executions").get(third["id"]))["state"] == "pending"
            await cancelled_within_a_second(house, third)
            await cancelled_within_a_second(house, second)
            await cancelled_within_a_second(house, first)
        assert await house.result("return 4") == 4


async def test_a_policy_that_changed_while_a_job_waited_is_asked_again(tmp_path: Path) -> None:
    async with script_house(tmp_path, plugins={"gate": GATE}, overrides={"limits.lane_normal_priority": 1}) as house:
        async with house.begun('log "here"\ngate.wait()') as first:
            second = await house.submit("return 2", script_name="late")
            with Recording(house.kernel.bus, "policy.loaded") as loaded:
                text = '[capabilities.deny]\n"user:ada" = ["script:run:inline/late.aether"]\n'
                (tmp_path / "policies" / "later.toml").write_text(text)
                await loaded.wait_for("policy.loaded")
            await house.kernel.bus.publish("gate.open", {})
            assert (await house.ended(first))["state"] == "completed"
        final = await house.ended(second)
        assert (final["state"], final["error"]["code"]) == ("failed", "CAPABILITY_DENIED")


# Time, on a clock that stands still ------------------------------------------------------------------------------


async def test_a_wait_ends_when_its_time_has_come_and_a_run_when_its_time_is_over(tmp_path: Path) -> None:
    clock = TestClock()
    async with script_house(tmp_path, policy=POLICY, plugins={"gate": GATE}, clock=clock) as house:
        async with house.begun('log "here"\ngate.wait()\nlet from = now()\nwait 30\nreturn now() - from') as row:
            before = clock.waiting
            await house.kernel.bus.publish("gate.open", {})
            while clock.waiting == before:
                await asyncio.sleep(0)
            await clock.advance(29)
            assert (await house.service("executions").get(row["id"]))["state"] == "running"
            await clock.advance(1)
            assert (await house.ended(row))["result"] == 30
        async with house.begun('log "here"\nwhile true { }', user("hurried")) as row:
            await clock.advance(5)
            error = (await house.ended(row))["error"]
        assert (error["code"], error["type"]) == ("DEADLINE_EXCEEDED", "LimitError")
        assert error["data"] == {"limit": "wall_s", "value": 5}
        async with house.begun('log "here"\nwhile true { }', deadline_s=2) as row:
            await clock.advance(2)
            assert (await house.ended(row))["error"]["data"] == {"limit": "wall_s", "value": 2}
