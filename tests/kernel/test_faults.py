"""A plugin that raises what no plugin may, an exit or a cancellation of its own making, harms itself only."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from kernel.capabilities import Caller
from kernel.errors import AetherraError, Denied, PluginError
from kernel.kernel import Kernel
from kernel.testing import ALLOW_ALL, Recording, TestClock, kernel_config, running_kernel

ALICE = Caller("user:alice", ("role:user",))

RAISERS = """
import asyncio
from collections.abc import AsyncIterator
from typing import Any
from kernel import Context, Plugin, needs
bad = Plugin("bad", version="1.0.0")

def fail(kind: str) -> None:
    raise {"exit": SystemExit, "interrupt": KeyboardInterrupt, "cancel": asyncio.CancelledError}[kind](kind)

@bad.function("call", effect="free")
async def call(ctx: Context, kind: str) -> None:
    fail(kind)

@bad.function("wait", effect="free")
async def wait(ctx: Context) -> None:
    await asyncio.Event().wait()

@bad.function("stream", effect="free")
async def stream(ctx: Context, kind: str) -> AsyncIterator[int]:
    yield 1
    fail(kind)

@bad.function("submit", effect="free")
async def submit(ctx: Context, kind: str) -> None:
    async def work() -> None:
        fail(kind)
    await ctx.submit("background", work, name="work")

@bad.service("bad")
class Bad:
    @needs("plugin:read")
    async def call(self, ctx: Context, kind: str) -> None:
        fail(kind)

@bad.on("user.spoke")
async def heard(ctx: Context, data: Any) -> None:
    if data["kind"] != "none":
        fail(data["kind"])
    await ctx.publish("bad.heard")

@bad.health
def health() -> None:
    raise SystemExit

@bad.lifespan
async def lifespan(ctx: Context):
    yield
    raise SystemExit
"""


@pytest.fixture
async def kernel(tmp_path: Path) -> AsyncIterator[Kernel]:
    async with running_kernel(tmp_path, plugins={"allow_all": ALLOW_ALL, "bad": RAISERS}) as running:
        yield running


@pytest.mark.parametrize("kind", ["exit", "interrupt", "cancel"])
@pytest.mark.parametrize("door", ["call", "stream"])
async def test_a_door_that_raises_it_is_an_error_of_the_plugin_and_is_counted(
    kernel: Kernel, door: str, kind: str
) -> None:
    with pytest.raises(PluginError, match="^bad raised ") as caught:
        await kernel.context(ALICE).call(f"bad.{door}", kind)
    assert caught.value.details == {"plugin": "bad"}
    generation = kernel.modules.get("bad").generation
    assert generation is not None
    assert (generation.tally.errors, generation.in_flight) == (1, 0)


@pytest.mark.parametrize("kind", ["exit", "interrupt"])
async def test_work_in_a_lane_that_raises_it_fails_its_ticket_alone(kernel: Kernel, kind: str) -> None:
    with pytest.raises(PluginError, match="bad.work raised"):
        await kernel.context(ALICE).call("bad.submit", kind)
    assert kernel.scheduler.stats().failed == 1


async def test_work_that_was_cancelled_is_told_to_who_waits_and_does_not_cancel_him(kernel: Kernel) -> None:
    with pytest.raises(PluginError, match="a cancellation that nobody asked for"):
        await kernel.context(ALICE).call("bad.submit", "cancel")
    assert kernel.scheduler.stats().cancelled == 1


async def test_a_service_that_raises_it_fails_its_caller_with_an_error(kernel: Kernel) -> None:
    with pytest.raises(PluginError):
        await kernel.context(ALICE).service("bad").call("exit")


async def test_a_handler_of_events_that_raises_it_is_told_of_and_hears_the_next(kernel: Kernel) -> None:
    with Recording(kernel.bus) as seen:
        for kind in ("exit", "cancel", "none"):
            await kernel.bus.publish("user.spoke", {"kind": kind})
        await seen.wait_for("bad.heard")
        assert len(seen.of("plugin.error")) == 2


async def test_a_health_that_exits_is_a_reason_and_a_set_down_that_exits_is_logged(
    kernel: Kernel, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await kernel.ready())["bad"] == "its health function failed: SystemExit"
    await kernel.modules.unload("bad")
    await kernel.modules.settled()
    assert "closing generation 1 failed" in caplog.text


async def test_a_cancellation_from_outside_stays_one(kernel: Kernel) -> None:
    calling = asyncio.create_task(kernel.context(ALICE).call("bad.wait"))
    generation = kernel.modules.get("bad").generation
    assert generation is not None
    while not generation.in_flight:
        await asyncio.sleep(0)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert (generation.tally.errors, generation.in_flight) == (0, 0)


DYING = """
from kernel import Context, Plugin
dying = Plugin("dying", version="1.0.0")

@dying.task("exits")
async def exits(ctx: Context) -> None:
    raise SystemExit(1)
"""


async def test_a_task_that_exits_dies_as_any_other_and_stays_down_at_last(tmp_path: Path) -> None:
    clock = TestClock()
    async with running_kernel(tmp_path, plugins={"allow_all": ALLOW_ALL, "dying": DYING}, clock=clock) as kernel:
        with Recording(kernel.bus) as seen:
            await clock.advance(60)
            assert seen.of("plugin.task_failed")[0].data["plugin"] == "dying"
        assert kernel.supervisor.stats().failed == 1
        assert kernel.modules.get("dying").status == "active"


@pytest.mark.parametrize("body", ["raise SystemExit", "return True", "return None"])
async def test_a_decider_that_cannot_decide_says_no(tmp_path: Path, body: str) -> None:
    source = ALLOW_ALL[: ALLOW_ALL.index("    return Decision")] + f"    {body}\n"
    async with running_kernel(tmp_path, plugins={"allow_all": source}) as kernel:
        with pytest.raises(Denied, match="could not be evaluated"):
            await kernel.context(ALICE).require("memory:read")
        assert "could not be evaluated" in ((await kernel.ready())["policy"] or "")


async def test_who_decides_about_folders_and_cannot_trusts_none(tmp_path: Path) -> None:
    source = ALLOW_ALL + "\n@allow_all.trusts\ndef trusts(folder: str) -> Any:\n    raise SystemExit\n"
    config = kernel_config(tmp_path, plugins={"other": DYING.replace("dying", "other")})
    bundled = tmp_path / "bundled" / "allow_all"
    bundled.mkdir()
    (bundled / "__init__.py").write_text("from typing import Any\n" + source)
    config.paths = msgspec.structs.replace(config.paths, trusted=())
    kernel = Kernel(config)
    await kernel.start()
    try:
        assert kernel.modules.get("allow_all").status == "active"
        assert kernel.modules.get("other").status == "refused"
    finally:
        await kernel.stop()


SLOW = """
import asyncio
from kernel import Context, Plugin
slow = Plugin("slow", version="1.0.0")

@slow.lifespan
async def lifespan(ctx: Context):
    yield
    await ctx.publish("slow.closed", {"version": "VERSION"})

@slow.function("wait", effect="free")
async def wait(ctx: Context) -> None:
    await asyncio.Event().wait()
"""


async def test_a_generation_that_still_drains_is_closed_when_the_kernel_stops(tmp_path: Path) -> None:
    plugins = {"allow_all": ALLOW_ALL, "slow": SLOW.replace("VERSION", "old")}
    async with running_kernel(tmp_path, plugins=plugins) as kernel:
        seen = Recording(kernel.bus)
        waiting = asyncio.create_task(kernel.context(ALICE).call("slow.wait"))
        old = kernel.modules.get("slow").generation
        assert old is not None
        while not old.in_flight:
            await asyncio.sleep(0)
        (kernel.config.paths.plugins / "slow.py").write_text(SLOW.replace("VERSION", "new"))
        await seen.wait_for("module.reloaded")
        del old
    assert [event.data["version"] for event in seen.of("slow.closed")] == ["old", "new"]
    with pytest.raises(AetherraError) as caught:
        await waiting
    assert caught.value.code == "GENERATION_ENDED"
