"""What the kernel and its plugins tell of themselves at a scrape: measured, and never going back at a reload."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kernel import Caller, Kernel
from kernel.testing import ALLOW_ALL, Recording, running_kernel

ALICE = Caller("user:alice", ("role:user",))


def plugin(word: str, more: str = "") -> str:
    return f"""
from kernel import Context, Plugin
counting = Plugin("counting", version="1.0.0")
said = []
counting.counter("aetherra_counting_total", "Counted", ["word"])
counting.histogram("aetherra_counting_seconds", "Took")
counting.gauge("aetherra_counting_said", "Words said by this version", read=lambda: len(said))

@counting.function("say", effect="free")
async def say(ctx: Context) -> str:
    said.append("{word}")
    ctx.metric("aetherra_counting_total").labels("word").inc()
    ctx.metric("aetherra_counting_seconds").observe(0.01)
    return "{word}"

@counting.function("fail", effect="free")
async def fail(ctx: Context) -> None:
    raise KeyError("a bug")
{more}
"""


def scrape(kernel: Kernel, *kinds: str) -> dict[str, float]:
    """Return the value of each sample by its name and labels as they are written; with `kinds` of these alone."""
    samples, kind = {}, ""
    for line in kernel.metrics.expose().decode().splitlines():
        if line.startswith("# TYPE"):
            kind = line.split()[-1]
        elif not line.startswith("#") and (kind in kinds or not kinds):
            name, _, value = line.rpartition(" ")
            samples[name] = float(value)
    return samples


def growing(kernel: Kernel) -> dict[str, float]:
    """Return what may only grow."""
    return scrape(kernel, "counter", "histogram")


def drop(kernel: Kernel, name: str, text: str) -> None:
    beside = kernel.config.paths.plugins / f".{name}.new"
    beside.write_text(text)
    beside.rename(kernel.config.paths.plugins / f"{name}.py")


@pytest.fixture
async def kernel(tmp_path: Path) -> AsyncIterator[Kernel]:
    async with running_kernel(tmp_path, plugins={"allow_all": ALLOW_ALL, "counting": plugin("one")}) as running:
        yield running


async def test_no_counter_goes_back_at_a_reload(kernel: Kernel) -> None:
    ctx = kernel.context(ALICE)
    labels = '{plugin="counting"}'
    earlier = growing(kernel)
    for n in range(1, 4):
        with Recording(kernel.bus, "module.*") as seen:
            assert await ctx.call("counting.say") in ("one", f"{n - 1}")
            with pytest.raises(KeyError):
                await ctx.call("counting.fail")
            drop(kernel, "counting", plugin(str(n)))
            await seen.wait_for("module.reloaded")
        at_switch = growing(kernel)
        await kernel.modules.settled()
        later = growing(kernel)
        for older, newer in ((earlier, at_switch), (at_switch, later)):
            assert {key: (value, newer.get(key)) for key, value in older.items() if newer.get(key, -1) < value} == {}
        assert later['aetherra_counting_total{word="word"}'] == n
        assert later["aetherra_counting_seconds_count"] == n
        assert later["aetherra_plugins_calls_total" + labels] == 2 * n
        assert later["aetherra_plugins_errors_total" + labels] == n
        earlier = later
    await kernel.modules.unload("counting")
    await kernel.modules.settled()
    assert growing(kernel)["aetherra_plugins_calls_total" + labels] == 6


async def test_a_read_gauge_is_that_of_the_version_that_serves_and_goes_with_the_plugin(kernel: Kernel) -> None:
    said = "aetherra_counting_said"
    await kernel.context(ALICE).call("counting.say")
    assert scrape(kernel)[said] == 1
    await kernel.modules.reload("counting")
    assert scrape(kernel)[said] == 0
    await kernel.modules.settled()
    assert kernel.modules.counts().leaked == 0
    await kernel.modules.unload("counting")
    assert said not in scrape(kernel)


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ('counting.gauge("aetherra_bus_topics", "Mine", read=lambda: 1)', "already"),
        ('counting.gauge("aetherra_bus_topics", "Mine")', "already"),
        ('counting.gauge("mine", "Mine", read=lambda: 1)', "aetherra_"),
        ('counting.gauge("aetherra_mine", "Mine", read=lambda x: 1)', "read"),
        ('counting.gauge("aetherra_counting_said", "Mine", read=lambda: 1)', "2 times"),
        ("async def later(): return 1\ncounting.gauge('aetherra_mine', 'Mine', read=later)", "not async"),
    ],
)
async def test_a_gauge_that_could_not_be_read_is_refused_at_load(kernel: Kernel, declared: str, words: str) -> None:
    with Recording(kernel.bus, "module.*") as seen:
        drop(kernel, "counting", plugin("two", declared))
        failed = await seen.wait_for("module.reload_failed")
    assert words in failed.data["error"]
    assert await kernel.context(ALICE).call("counting.say") == "one"


async def test_two_plugins_cannot_read_into_one_gauge(kernel: Kernel) -> None:
    with Recording(kernel.bus, "module.*") as seen:
        drop(kernel, "second", plugin("x").replace('Plugin("counting"', 'Plugin("second"'))
        failed = await seen.wait_for("module.reload_failed")
    assert "two plugins claim the metric aetherra_counting_said" in failed.data["error"]


async def test_the_figures_are_those_of_the_parts(kernel: Kernel) -> None:
    ticket = kernel.scheduler.submit("background", lambda: asyncio.sleep(0, "done"), name="work")
    assert await ticket == "done"
    await kernel.store.migrate("probe", ((1, "begin", "CREATE TABLE probe__x (a);"),))
    samples, status = scrape(kernel), kernel.scheduler.stats()
    assert samples["aetherra_kernel_cycle_count"] == status.cycles > 0
    assert samples['aetherra_scheduler_tasks_total{outcome="done"}'] == 1
    assert samples["aetherra_scheduler_run_seconds_total"] == status.run_s > 0
    assert samples['aetherra_store_writes_total{outcome="committed"}'] == kernel.store.stats().writes > 0
    assert samples["aetherra_store_database_bytes"] == kernel.store.path.stat().st_size
    assert samples["aetherra_bus_events_published_total"] == kernel.bus.stats().published > 0
    assert samples["aetherra_plugins_loaded"] == 2
    assert samples['aetherra_plugins_by_status{status="active"}'] == 2
    assert samples['aetherra_plugins_up{plugin="counting"}'] == 1
    assert samples['aetherra_ready{component="policy"}'] == 1
    assert samples["process_resident_memory_bytes"] > 1e6
    assert samples["process_open_fds"] > 3


async def test_a_broken_edit_and_a_lost_policy_are_seen(kernel: Kernel) -> None:
    with Recording(kernel.bus, "module.*") as seen:
        drop(kernel, "counting", "def broken(:")
        await seen.wait_for("module.reload_failed")
    samples = scrape(kernel)
    assert samples['aetherra_plugins_edit_refused{plugin="counting"}'] == 1
    assert samples['aetherra_plugins_up{plugin="counting"}'] == 1
    await kernel.modules.unload("allow_all")
    samples = scrape(kernel)
    assert samples['aetherra_ready{component="policy"}'] == 0
    assert samples['aetherra_plugins_up{plugin="allow_all"}'] == 0
