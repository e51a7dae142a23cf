"""A kernel's life: what it starts, what it says of itself, and the order in which it stops."""

import asyncio
import sqlite3
import threading
from pathlib import Path
from typing import Any

from kernel.capabilities import Caller
from kernel.kernel import Kernel
from kernel.testing import ALLOW_ALL, kernel_config, running_kernel

ALICE = Caller("user:alice", ("role:user",))

KEEPER = """
import asyncio

from kernel import Context, Plugin

keeper = Plugin("keeper", version="1.0.0", migrations=["CREATE TABLE keeper__notes (x TEXT);"])


def note(text: str):
    def write(tx) -> None:
        tx.execute("INSERT INTO keeper__notes (x) VALUES (?)", (text,))
        tx.publish("keeper.noted", text)

    return write


@keeper.lifespan
async def lifespan(ctx: Context):
    await ctx.store.write(note("opened"))
    yield
    await ctx.store.write(note("closed"))
    unwaited = asyncio.ensure_future(ctx.store.write(note("handed in and not waited for")))
    await asyncio.sleep(0)


@keeper.task("beat", restart="always")
async def beat(ctx: Context) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        await ctx.store.write(note("task ended"))


@keeper.function("notes", effect="free")
async def notes(ctx: Context) -> list[str]:
    return [row["x"] for row in await ctx.store.query("SELECT x FROM keeper__notes")]
"""
BROKEN = "from kernel import Plugin\nbroken = Plugin('broken', version='1.0.0')\nraise RuntimeError('no beans')\n"
SICK = """
from kernel import Plugin
sick = Plugin("sick", version="1.0.0")

@sick.health
def health() -> str:
    return "out of tea"
"""
HANGS = """
import asyncio
from kernel import Plugin
sick = Plugin("sick", version="1.0.0")
asked = 0

@sick.health
async def health() -> None:
    global asked
    asked += 1
    if asked > 1:
        await asyncio.Event().wait()
"""
NAMED = """
from kernel import Context, Plugin
named = Plugin("named", version="1.0.0")
count = 0

@named.function("next", effect="free")
async def next_one(ctx: Context) -> str:
    global count
    count += 1
    return f"WORD {count}"
"""


def notes(kernel: Kernel) -> list[str]:
    connection = sqlite3.connect(kernel.config.paths.database)
    try:
        return [row[0] for row in connection.execute("SELECT x FROM keeper__notes ORDER BY rowid")]
    finally:
        connection.close()


async def test_it_is_starting_then_ready_then_stopping_then_stopped(tmp_path: Path) -> None:
    kernel = Kernel(kernel_config(tmp_path, plugins={"allow_all": ALLOW_ALL}))
    seen = [kernel.state]
    kernel.bus.listen("kernel.#", lambda event: seen.append(f"{event.topic} {kernel.state}"), name="test")
    assert (await kernel.ready())["database"] == "the store is closed"
    await kernel.start()
    seen.append(kernel.state)
    await kernel.stop()
    seen.append(kernel.state)
    await kernel.stop()
    assert seen == ["starting", "kernel.started ready", "ready", "kernel.stopping stopping", "stopped"]
    assert (await kernel.ready())["kernel"] == "stopped"


async def test_a_kernel_that_was_never_started_stops_all_the_same(tmp_path: Path) -> None:
    kernel = Kernel(kernel_config(tmp_path))
    await kernel.stop()
    assert kernel.state == "stopped"


async def test_plugins_are_closed_while_the_store_still_commits_and_the_bus_still_delivers(tmp_path: Path) -> None:
    kernel = Kernel(kernel_config(tmp_path, plugins={"allow_all": ALLOW_ALL, "keeper": KEEPER}))
    await kernel.start()
    subscription = kernel.bus.subscribe("keeper.noted", name="test", limit=100, when_full="drop_new")
    delivered: list[Any] = []

    async def read() -> None:
        async for event in subscription:
            delivered.append(event.data)

    reading = asyncio.create_task(read())
    await kernel.stop()
    last = ["task ended", "closed", "handed in and not waited for"]
    assert notes(kernel) == ["opened", *last]
    await asyncio.wait_for(reading, 5)  # the bus was closed, so the reader's loop ended
    assert delivered == last
    assert kernel.bus.stats().dropped == 0


async def test_tasks_of_the_house_end_while_the_store_still_commits(tmp_path: Path) -> None:
    kernel = Kernel(kernel_config(tmp_path, plugins={"allow_all": ALLOW_ALL, "keeper": KEEPER}))
    await kernel.start()
    started = asyncio.Event()

    async def tick() -> None:
        try:
            started.set()
            await asyncio.Event().wait()
        finally:
            insert = "INSERT INTO keeper__notes (x) VALUES ('the house')"
            await kernel.store.write(lambda tx: tx.execute(insert).rowcount, namespace="keeper")

    kernel.supervisor.group("house").start("tick", tick)
    await started.wait()
    await kernel.stop()
    # After the plugins: whoever keeps them company may use them until they are gone.
    assert notes(kernel).index("the house") > notes(kernel).index("closed")
    assert kernel.supervisor.stats().tasks == []


async def test_two_kernels_with_a_plugin_of_the_same_name_live_in_one_process(tmp_path: Path) -> None:
    async def call(kernel: Kernel) -> str:
        answer: str = await kernel.context(ALICE).call("named.next")
        return answer

    sources = [{"allow_all": ALLOW_ALL, "named": NAMED.replace("WORD", word)} for word in ("tea", "coffee")]
    async with running_kernel(tmp_path / "a", plugins=sources[0]) as tea:
        async with running_kernel(tmp_path / "b", plugins=sources[1]) as coffee:
            assert [await call(tea), await call(coffee), await call(tea)] == ["tea 1", "coffee 1", "tea 2"]
        assert coffee.state == "stopped"
        assert await call(tea) == "tea 3"
        assert (await tea.modules.reload("named")).loads == 2
        assert await call(tea) == "tea 1"


async def test_a_plugin_that_fails_does_not_keep_the_kernel_from_being_ready_and_is_named(tmp_path: Path) -> None:
    plugins = {"allow_all": ALLOW_ALL, "broken": BROKEN, "sick": SICK, "keeper": KEEPER}
    async with running_kernel(tmp_path, plugins=plugins) as kernel:
        assert kernel.state == "ready"
        assert await kernel.context(ALICE).call("keeper.notes") == ["opened"]
        reasons = await kernel.ready()
        assert reasons["kernel"] is None
        assert reasons["database"] is None
        assert "no beans" in (reasons["broken"] or "")
        assert reasons["sick"] == "out of tea"


async def test_a_health_function_that_hangs_is_named_as_well(tmp_path: Path) -> None:
    plugins = {"allow_all": ALLOW_ALL, "sick": HANGS}
    async with running_kernel(tmp_path, plugins=plugins, overrides={"limits.open_s": 0.2}) as kernel:
        assert kernel.modules.get("sick").status == "active"
        assert (await kernel.ready())["sick"] == "its health function did not answer in time"


async def test_no_task_is_left_after_the_stop(tmp_path: Path) -> None:
    before = asyncio.all_tasks()
    async with running_kernel(tmp_path, plugins={"allow_all": ALLOW_ALL, "keeper": KEEPER}) as kernel:
        await kernel.context(ALICE).call("keeper.notes")
        names = {task.get_name() for task in asyncio.all_tasks() - before}
        assert {"modules", "watch plugins", "keeper.beat"} <= names
    assert asyncio.all_tasks() == before


def test_no_thread_is_left_after_the_stop(tmp_path: Path) -> None:
    def names() -> list[str]:
        return sorted(thread.name for thread in threading.enumerate())

    during: list[str] = []
    after: list[str] = []

    async def live() -> None:
        async with running_kernel(tmp_path, plugins={"allow_all": ALLOW_ALL, "keeper": KEEPER}) as kernel:
            await kernel.context(ALICE).call("keeper.notes")
            during.extend(names())
        after.extend(names())

    before = names()
    asyncio.run(live())
    assert "store writer" in during
    assert any("_connection_worker_thread" in name for name in during)
    assert not any(name == "store writer" or "_connection_worker_thread" in name for name in after)
    for thread in threading.enumerate():
        if thread.name.startswith("AnyIO"):
            thread.join(10)  # told to end when the loop closed, and ending
    assert names() == before
