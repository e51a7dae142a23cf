"""What an event handler is given, and streams that outlive or leave their generation."""

import asyncio
from pathlib import Path

import pytest

from kernel.capabilities import Caller
from kernel.errors import AetherraError
from kernel.kernel import Kernel
from kernel.testing import ALLOW_ALL, Recording, running_kernel

CLOCKS = """
import asyncio
from collections.abc import AsyncIterator
import msgspec
from kernel import Context, Event, Plugin

clocks = Plugin("clocks", version="1.0.0")
closed: list[str] = []

class Tick(msgspec.Struct):
    n: int

@clocks.get("/api/ticks")
@clocks.function("ticks", effect="free")
async def ticks(ctx: Context, most: int = 1_000_000) -> AsyncIterator[Tick]:
    try:
        for n in range(most):
            yield Tick(n)
    finally:
        closed.append("closed")

@clocks.get("/api/stuck")
async def stuck(ctx: Context) -> AsyncIterator[Tick]:
    yield Tick(0)
    await asyncio.Event().wait()
    yield Tick(1)

@clocks.on("user.whole")
async def whole(ctx: Context, event: Event) -> None:
    await ctx.publish("clocks.heard", {"topic": event.topic, "n": event.data["n"]})

@clocks.on("user.struct")
async def struct(ctx: Context, tick: Tick) -> None:
    await ctx.publish("clocks.heard", {"n": tick.n})

@clocks.on("user.field")
async def field(ctx: Context, n: int) -> None:
    await ctx.publish("clocks.heard", {"n": n})

@clocks.on("user.map")
async def mapped(ctx: Context, data: dict[str, int]) -> None:
    await ctx.publish("clocks.heard", data)

@clocks.on("user.fields")
async def fields(ctx: Context, n: int, word: str = "none") -> None:
    await ctx.publish("clocks.heard", {"n": n, "word": word})
"""


@pytest.fixture
async def kernel(tmp_path: Path):
    async with running_kernel(tmp_path, plugins={"allow_all": ALLOW_ALL, "clocks": CLOCKS}) as running:
        yield running


@pytest.mark.parametrize(
    ("topic", "data", "heard"),
    [
        ("user.whole", {"n": 1}, {"topic": "user.whole", "n": 1}),
        ("user.struct", {"n": 2, "other": True}, {"n": 2}),
        ("user.fields", {"n": 3}, {"n": 3, "word": "none"}),
        ("user.field", {"n": 4, "other": True}, {"n": 4}),
        ("user.map", {"n": 5}, {"n": 5}),
    ],
)
async def test_a_handler_gets_the_event_its_struct_or_its_fields(
    kernel: Kernel, topic: str, data: dict[str, int], heard: dict[str, object]
) -> None:
    with Recording(kernel.bus, "clocks.*") as seen:
        await kernel.bus.publish(topic, data)
        assert (await seen.wait_for("clocks.heard")).data == heard


async def test_a_handler_that_cannot_read_an_event_is_told_of_and_the_next_event_is_handled(kernel: Kernel) -> None:
    with Recording(kernel.bus, "#") as seen:
        await kernel.bus.publish("user.struct", {"n": "many"})
        failure = await seen.wait_for("plugin.error")
        assert failure.data["where"] == "clocks.struct"
        await kernel.bus.publish("user.struct", {"n": 5})
        assert (await seen.wait_for("clocks.heard")).data == {"n": 5}


async def test_a_handler_that_misses_its_field_is_told_which(kernel: Kernel) -> None:
    with Recording(kernel.bus, "#") as seen:
        await kernel.bus.publish("user.field", {"m": 1})
        assert (await seen.wait_for("plugin.error")).data["error"] == "Object missing required field `n`"


def route(kernel: Kernel, path: str):
    return next(owned for owned in kernel.table.routes if owned.item.path == path)


async def test_a_reader_that_leaves_closes_the_stream_at_once(kernel: Kernel) -> None:
    stream = await kernel.serve(route(kernel, "/api/ticks"), kernel.context(Caller("user:ada")), {})
    assert (await anext(stream)).n == 0
    generation = kernel.modules.get("clocks").generation
    assert generation is not None
    await stream.aclose()
    assert generation.module.closed == ["closed"]
    assert generation.in_flight == 0


async def test_a_stream_that_waits_when_its_generation_ends_is_cut_with_a_code(tmp_path: Path) -> None:
    plugins = {"allow_all": ALLOW_ALL, "clocks": CLOCKS}
    async with running_kernel(tmp_path, plugins=plugins, overrides={"limits.drain_s": 0.05}) as kernel:
        stream = await kernel.serve(route(kernel, "/api/stuck"), kernel.context(Caller("user:ada")), {})
        assert (await anext(stream)).n == 0
        waiting = asyncio.create_task(anext(stream))
        await asyncio.sleep(0)
        await kernel.modules.reload("clocks")
        with pytest.raises(AetherraError) as caught:
            await waiting
        assert caught.value.code == "GENERATION_ENDED"


async def test_a_function_that_streams_gives_a_script_a_list(kernel: Kernel) -> None:
    assert await kernel.context(Caller("user:ada")).call("clocks.ticks", most=2) == [{"n": 0}, {"n": 1}]


async def test_calls_and_errors_are_counted_by_generation(tmp_path: Path) -> None:
    failing = """
from kernel import Context, Plugin
failing = Plugin("failing", version="1.0.0")
@failing.function("fail", effect="free")
async def fail(ctx: Context) -> None:
    raise RuntimeError("on purpose")
"""
    async with running_kernel(tmp_path, plugins={"allow_all": ALLOW_ALL, "failing": failing}) as kernel:
        for _ in range(2):
            with pytest.raises(RuntimeError):
                await kernel.context(Caller("user:ada")).call("failing.fail")
        generation = kernel.modules.get("failing").generation
        assert generation is not None
        assert (generation.tally.calls, generation.tally.errors) == (2, 2)
