"""The plugin itself comes and goes while scripts run: reloaded, broken, taken out, stopped with the hub, killed."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import signal
import time
import weakref
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
import pytest_asyncio
from hub_process import HubProcess, hub_process
from script_house import ADMIN, ScriptHouse, script_house

from kernel import Caller, ServiceUnavailable
from kernel.testing import Recording

pytestmark = pytest.mark.asyncio(loop_scope="module")

GATE = '''
"""Holds whoever calls until the test opens that gate."""
import asyncio
from kernel import Context, Event, Plugin

gate = Plugin("gate", version="1.0.0")
gates: dict[str, asyncio.Event] = {}

@gate.function("wait", effect="free")
async def wait(ctx: Context, name: str) -> None:
    """Return once it is open."""
    await gates.setdefault(name, asyncio.Event()).wait()

@gate.on("gate.open")
async def open(ctx: Context, event: Event) -> None:
    gates.setdefault(event.data["name"], asyncio.Event()).set()
'''

POLICY = """
[limits."user:few"]
host_calls = 10
"""

FEW = Caller("user:few", ("role:user",))
WAITS = 'log "here"\ngate.wait(parameters.gate)\n'
MARK = re.compile(r"session_|generation_\d+_")
"""What `generate_session_id` begins with: by it a script sees which generation served it."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ScriptHouse]:
    home = tmp_path_factory.mktemp("reload")
    async with script_house(home, plugins={"gate": GATE}, policy=POLICY) as house:
        await house.result("return 1")
        yield house


def source_file(house: ScriptHouse, name: str) -> Path:
    """Return a file of the running plugin's own copy."""
    return house.home / "bundled" / "scripts" / name


async def reloaded(house: ScriptHouse) -> str:
    """Edit the plugin, wait until the new generation serves, and return its mark."""
    with Recording(house.kernel.bus, "module.reloaded") as heard:
        file = source_file(house, "operations.py")
        mark = f"generation_{time.monotonic_ns()}_"
        file.write_text(MARK.sub(mark, file.read_text()))
        assert (await heard.wait_for("module.reloaded")).data["plugin"] == "scripts"
    return mark


async def open_gate(house: ScriptHouse, name: str) -> None:
    await house.kernel.bus.publish("gate.open", {"name": name})


async def test_a_run_goes_on_over_a_reload_and_its_next_call_reaches_the_new_generation(house: ScriptHouse) -> None:
    async with house.begun(
        WAITS + "let id = generate_session_id()\nlog id\nreturn id", parameters={"gate": "a"}
    ) as row:
        mark = await reloaded(house)
        await open_gate(house, "a")
        final = await house.ended(row)
    assert final["state"] == "completed", final["error"]
    assert final["result"].startswith(mark)
    logged = [line["data"]["message"] for line in await house.history(row, "job.log")]
    assert logged == ["here", final["result"]]
    assert (await house.service("scripts", ADMIN).stats())["runs_under_way"] == 0
    assert (await house.result("return generate_session_id()")).startswith(mark)


async def test_lines_that_are_being_told_at_a_reload_are_told_once_and_in_order(house: ScriptHouse) -> None:
    source = 'log "here"\nfor i in range(4000) { print("{i}") }\ngate.wait(parameters.gate)\nprint("4000")'
    async with house.begun(source, parameters={"gate": "b"}) as row:
        await reloaded(house)
        await open_gate(house, "b")
        final = await house.ended(row)
    assert final["state"] == "completed", final["error"]
    said = [line["data"]["text"] for line in await house.history(row, "job.output")]
    assert said == [str(i) for i in range(4001)]


async def test_counts_go_over_a_reload_with_the_run(house: ScriptHouse) -> None:
    count = "for i in range(6) { memory.count() }\n"
    async with house.begun(count + WAITS + count, FEW, parameters={"gate": "c"}) as row:
        await reloaded(house)
        await open_gate(house, "c")
        error = (await house.ended(row))["error"]
    assert error["data"] == {"limit": "host_calls", "value": 10}


async def test_a_run_is_cancelled_after_a_reload(house: ScriptHouse) -> None:
    async with house.begun('log "here"\nwhile true { }') as row:
        await reloaded(house)
        await house.service("executions").cancel(row["id"])
        assert (await house.ended(row, within_s=1))["state"] == "cancelled"


async def test_runs_that_end_while_the_plugin_is_replaced_end_once(house: ScriptHouse) -> None:
    with Recording(house.kernel.bus, "job.completed") as ends:
        rows = [await house.submit(f'log "{n}"\nreturn {n}') for n in range(20)]
        await reloaded(house)
        finals = [await house.ended(row) for row in rows]
        await ends.wait_for("job.completed", 20)
    assert [(final["state"], final["result"]) for final in finals] == [("completed", n) for n in range(20)]
    assert len(ends.events) == 20
    for n, row in enumerate(rows):
        assert [line["data"]["message"] for line in await house.history(row, "job.log")] == [str(n)]


async def test_a_run_whose_source_is_compiled_during_a_reload_ends_properly(house: ScriptHouse) -> None:
    (compiler,) = [child for child in psutil.Process().children() if "compile" in child.cmdline()]
    with Recording(house.kernel.bus, "job.started") as started:
        compiler.send_signal(signal.SIGSTOP)
        row = await house.submit("# compiled during a reload\nreturn generate_session_id()")
        await started.wait_for("job.started")
    mark = await reloaded(house)
    compiler.send_signal(signal.SIGCONT)
    final = await house.ended(row)
    assert final["state"] == "completed", final["error"]
    assert final["result"].startswith(mark)
    assert (await house.service("scripts", ADMIN).stats())["runs_under_way"] == 0


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("operations.py", "class Operations:", "class Operations("),
        ("__init__.py", 'for one in state["runs"]:', 'for one in state["walks"]:'),
    ],
    ids=["a syntax error", "a handover that fails"],
)
async def test_an_edit_that_cannot_serve_leaves_the_run_where_it_is(
    house: ScriptHouse, file: str, old: str, new: str
) -> None:
    mark = (await house.result("return generate_session_id()"))[: -len("0123456789abcdef")]
    path = source_file(house, file)
    whole = path.read_text()
    assert old in whole
    async with house.begun(WAITS + "return generate_session_id()", parameters={"gate": file}) as row:
        with Recording(house.kernel.bus, "module.reload_failed") as failed:
            path.write_text(whole.replace(old, new))
            await failed.wait_for("module.reload_failed")
        await open_gate(house, file)
        final = await house.ended(row)
    assert final["state"] == "completed", final["error"]
    assert final["result"].startswith(mark)
    path.write_text(whole)
    await house.kernel.modules.reload("scripts")


async def test_taking_the_plugin_out_ends_its_runs_and_says_why(house: ScriptHouse) -> None:
    loop = 'log "here"\nlog "before"\nwhile true { }'
    async with house.begun(loop) as loops, house.begun(WAITS, parameters={"gate": "never"}) as waits:
        await house.kernel.modules.unload("scripts")
        for row in (loops, waits):
            final = await house.ended(row)
            assert (final["state"], final["error"]["code"]) == ("failed", "RUNNER_STOPPED")
            assert "submit it again" in final["error"]["message"]
        logged = [line["data"]["message"] for line in await house.history(loops, "job.log")]
        assert logged == ["here", "before"]
    with pytest.raises(ServiceUnavailable):
        await house.submit("return 1")
    await house.kernel.modules.reload("scripts")
    assert await house.result("return 1") == 1


async def test_a_run_outlives_a_reload_of_the_plugin_that_keeps_its_job(house: ScriptHouse) -> None:
    async with house.begun(WAITS + 'log "after"\nreturn 1', parameters={"gate": "e"}) as row:
        await house.kernel.modules.reload("executions")
        await open_gate(house, "e")
        final = await house.ended(row)
    assert (final["state"], final["result"]) == ("completed", 1), final["error"]
    logged = [line["data"]["message"] for line in await house.history(row, "job.log")]
    assert logged == ["here", "after"]


async def test_taking_out_the_plugin_that_keeps_the_jobs_ends_them_and_its_return_tells_how(house: ScriptHouse) -> None:
    async with house.begun('log "here"\nwhile true { }') as row:
        await house.kernel.modules.unload("executions")
        with Recording(house.kernel.bus, "job.failed") as failed:
            await house.kernel.modules.reload("executions")
            await failed.wait_for("job.failed")
    final = await house.service("executions").get(row["id"])
    assert (final["state"], final["error"]["code"]) == ("failed", "HUB_STOPPED")
    assert await house.result("return 1") == 1


async def gone(generation: weakref.ref[Any]) -> None:
    """Return once nothing holds a retired generation any more."""
    async with asyncio.timeout(5):
        while generation() is not None:
            await asyncio.sleep(0)
            gc.collect()


@pytest.mark.parametrize("rest", ["while true { }", "wait 300"], ids=["computes", "waits"])
async def test_an_old_generation_is_gone_though_a_run_of_its_time_goes_on(house: ScriptHouse, rest: str) -> None:
    await house.result('import "system/utils" as u\nreturn u.hours_ago(1) > 0')
    await house.caught("tea.pour()")
    async with house.begun(f'log "here"\n{rest}') as row:
        held = weakref.ref(house.kernel.modules.get("scripts").generation)
        await reloaded(house)
        await gone(held)
        assert (await house.service("executions").get(row["id"]))["state"] == "running"
        await house.service("executions").cancel(row["id"])
        assert (await house.ended(row, within_s=1))["state"] == "cancelled"


async def test_a_run_that_waits_for_a_worker_when_the_plugin_leaves_never_runs(tmp_path: Path) -> None:
    options = {"plugins.scripts.workers": 1}
    async with script_house(tmp_path, plugins={"gate": GATE}, overrides=options) as house:
        async with house.begun(WAITS, parameters={"gate": "never"}) as first:
            second = await house.submit('remember("it ran")')
            while not house.kernel.workers.stats()["run"]["waiting"]:
                await asyncio.sleep(0)
            assert house.kernel.workers.stats()["run"]["alive"] == 1
            await house.kernel.modules.unload("scripts")
            for row in (first, second):
                assert (await house.ended(row))["error"]["code"] == "RUNNER_STOPPED"
        assert house.kernel.workers.stats()["run"]["waiting"] == 0
        assert await house.service("memory").count() == 0


async def test_a_kernel_that_stops_ends_its_runs_and_a_later_one_tells_how(tmp_path: Path) -> None:
    before = {child.pid for child in psutil.Process().children()}
    async with (
        script_house(tmp_path) as house,
        house.begun('log "here"\nwhile true { }') as loops,
        house.begun('log "here"\nwait 300') as waits,
    ):
        await house.kernel.stop()
    assert {child.pid for child in psutil.Process().children()} <= before
    async with script_house(tmp_path, bundled=["security", "executions"]) as house:
        for row in (loops, waits):
            final = await house.service("executions").get(row["id"])
            assert (final["state"], final["error"]["code"]) == ("failed", "HUB_STOPPING")


# A hub in a process of its own -----------------------------------------------------------------------------------


async def logged_here(hub: HubProcess, session: aiohttp.ClientSession) -> str:
    """Run a script that never ends; return its job's id once it has begun."""
    body = {"source": 'log "here"\nwait 300', "name": "endless"}
    async with session.post(f"{hub.url}/api/scripts/run", json=body) as answer:
        job = str((await answer.json())["job_id"])
    async with session.get(f"{hub.url}/api/jobs/{job}/events") as stream:
        async for line in stream.content:
            if b'"here"' in line:
                break
    return job


async def test_a_hub_that_is_killed_leaves_no_worker_and_says_after_its_restart_what_became_of_the_job(
    tmp_path: Path,
) -> None:
    async with hub_process(tmp_path) as hub, aiohttp.ClientSession() as session:
        job = await logged_here(hub, session)
        left = psutil.Process(hub.process.pid).children(recursive=True)
        assert len(left) >= 2
        os.kill(hub.process.pid, signal.SIGKILL)
        _, alive = await asyncio.to_thread(psutil.wait_procs, left, timeout=5)
        assert alive == []
    async with hub_process(tmp_path) as hub, aiohttp.ClientSession() as session:
        async with session.get(f"{hub.url}/api/jobs/{job}/events") as stream:
            assert b"event: job.failed" in await stream.read()
        async with session.get(f"{hub.url}/api/jobs/{job}") as answer:
            found = await answer.json()
    assert (found["status"], found["error"]["code"]) == ("failed", "HUB_STOPPED")
