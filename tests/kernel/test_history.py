"""Rollback tokens: one for each switch, never the same twice, as many of each plugin as the setting says."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from kernel.capabilities import Caller
from kernel.errors import NotFound, ServiceUnavailable
from kernel.kernel import Kernel
from kernel.testing import ALLOW_ALL, Recording, TestClock, running_kernel

ALICE = Caller("user:alice", ("role:user",))

WORD = """
from kernel import Context, Plugin
NAME = Plugin("NAME", version="1.0.0")

@NAME.function("word", effect="free")
async def word(ctx: Context) -> str:
    return "TEXT"
"""


def source(name: str, text: str) -> str:
    return WORD.replace("NAME", name).replace("TEXT", text)


async def save(kernel: Kernel, seen: Recording, name: str, text: str) -> dict[str, Any]:
    """Save another version and return the switch to it."""
    count = len(seen.of("module.reloaded"))
    beside = kernel.config.paths.plugins / f".{name}.new"
    beside.write_text(source(name, text))
    beside.rename(kernel.config.paths.plugins / f"{name}.py")
    data: dict[str, Any] = (await seen.wait_for("module.reloaded", count + 1)).data
    return data


async def word(kernel: Kernel, name: str) -> str:
    answer: str = await kernel.context(ALICE).call(f"{name}.word")
    return answer


async def test_each_plugin_keeps_its_own_ways_back_however_often_others_change(tmp_path: Path) -> None:
    plugins = {"allow_all": ALLOW_ALL, "quiet": source("quiet", "0"), "busy": source("busy", "0")}
    async with running_kernel(tmp_path, plugins=plugins, overrides={"limits.generations_kept": 3}) as kernel:
        with Recording(kernel.bus) as seen:
            quiet = await save(kernel, seen, "quiet", "1")
            busy = [await save(kernel, seen, "busy", str(n)) for n in range(1, 13)]
        tokens = [switched.token for switched in kernel.modules.history()]
        assert len(tokens) == len(set(tokens))
        assert [switched.token for switched in kernel.modules.history() if switched.plugin == "busy"] == [
            data["token"] for data in reversed(busy[-3:])
        ]
        assert kernel.modules.way_back("busy") == busy[-1]["token"]
        assert kernel.modules.way_back("allow_all") is None
        with pytest.raises(NotFound):
            await kernel.modules.roll_back(busy[0]["token"])
        await kernel.modules.roll_back(quiet["token"])
        assert [await word(kernel, "quiet"), await word(kernel, "busy")] == ["0", "12"]


async def test_a_token_names_the_hash_it_goes_back_to(tmp_path: Path) -> None:
    plugins = {"allow_all": ALLOW_ALL, "quiet": source("quiet", "0")}
    async with running_kernel(tmp_path, plugins=plugins) as kernel:
        first = kernel.modules.get("quiet").generation
        assert first is not None
        with Recording(kernel.bus) as seen:
            switched = await save(kernel, seen, "quiet", "1")
        assert switched["previous_hash"] == first.source.hash
        module = await kernel.modules.roll_back(switched["token"])
        assert module.generation is not None
        assert module.generation.source.hash == first.source.hash


async def test_a_token_has_the_day_and_a_number_that_starts_anew_with_it(tmp_path: Path) -> None:
    clock = TestClock(now=1_795_305_600.0 - 60)  # a minute before midnight, UTC
    plugins = {"allow_all": ALLOW_ALL, "quiet": source("quiet", "0")}
    async with running_kernel(tmp_path, plugins=plugins, clock=clock) as kernel:
        await kernel.modules.reload("quiet")
        clock.jump_wall(120)
        await kernel.modules.reload("quiet")
        clock.jump_wall(-120)  # the clock is set back: the day it had before must not yield its tokens again
        await kernel.modules.reload("quiet")
        tokens = [switched.token for switched in reversed(kernel.modules.history())]
    assert tokens == [
        "hmr-2026-11-21-001",
        "hmr-2026-11-21-002",
        "hmr-2026-11-21-003",
        "hmr-2026-11-22-001",
        "hmr-2026-11-22-002",
    ]


async def test_a_touch_is_no_edit_and_takes_no_rollback_back(tmp_path: Path) -> None:
    plugins = {"allow_all": ALLOW_ALL, "quiet": source("quiet", "0"), "busy": source("busy", "0")}
    async with running_kernel(tmp_path, plugins=plugins) as kernel:
        with Recording(kernel.bus) as seen:
            switched = await save(kernel, seen, "quiet", "1")
            await kernel.modules.roll_back(switched["token"])
            await kernel.modules.unload("busy")
            for name in ("quiet", "busy"):
                (kernel.config.paths.plugins / f"{name}.py").touch()
            (kernel.config.paths.plugins / "zeta.py").write_text(source("zeta", "here"))  # told after both
            await seen.wait_for("module.loaded")
        assert await word(kernel, "quiet") == "0"
        assert kernel.modules.get("busy").status == "disabled"


CARRIES = """
count = 0

@carries.export_state
def export() -> dict:
    return FORMAT

@carries.import_state
def take(version: str, state: dict) -> None:
    global count
    count = state["count"] if version == "2.0.0" else state["n"]

@carries.function("next", effect="free")
async def next_number(ctx: Context) -> int:
    global count
    count += 1
    return count
"""


async def test_state_goes_both_ways_with_the_version_it_comes_from(tmp_path: Path) -> None:
    head = source("carries", "x")
    old = head + CARRIES.replace("FORMAT", '{"n": count}')
    new = head.replace("1.0.0", "2.0.0") + CARRIES.replace("FORMAT", '{"count": count}')
    async with running_kernel(tmp_path, plugins={"allow_all": ALLOW_ALL, "carries": old}) as kernel:
        ctx = kernel.context(ALICE)
        counted = [await ctx.call("carries.next")]
        with Recording(kernel.bus) as seen:
            (kernel.config.paths.plugins / "carries.py").write_text(new)
            switched = await seen.wait_for("module.reloaded")
        counted.append(await ctx.call("carries.next"))
        await kernel.modules.roll_back(switched.data["token"])
        counted.append(await ctx.call("carries.next"))
        assert counted == [1, 2, 3]


async def test_a_request_that_waits_when_the_kernel_stops_is_told(tmp_path: Path) -> None:
    hangs = source("hangs", "x") + (
        "import asyncio\n@hangs.lifespan\nasync def f(ctx: Context):\n    await asyncio.Event().wait()\n    yield\n"
    )
    plugins = {"allow_all": ALLOW_ALL, "quiet": source("quiet", "0"), "hangs": source("hangs", "x")}
    async with running_kernel(tmp_path, plugins=plugins) as kernel:
        (kernel.config.paths.plugins / "hangs.py").write_text(hangs)
        first = asyncio.create_task(kernel.modules.reload("hangs"))
        await asyncio.sleep(0)
        behind = asyncio.create_task(kernel.modules.reload("quiet"))
        await asyncio.sleep(0)
    for asked in (first, behind):
        with pytest.raises(ServiceUnavailable, match="stopping"):
            await asked
