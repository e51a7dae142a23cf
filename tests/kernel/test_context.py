"""Contexts: what is derived has never more rights than what it came from."""

from pathlib import Path

import pytest

from kernel.capabilities import Caller
from kernel.errors import BadInput, Denied, NotFound, TooLarge
from kernel.kernel import Kernel
from kernel.testing import ALLOW_ALL, Recording, running_kernel

NOTES = """
from collections.abc import AsyncIterator
from kernel import Context, Plugin
notes = Plugin(
    "notes", version="1.0.0", topics=["paper"], migrations=["CREATE TABLE notes__lines (text TEXT)"]
)

@notes.lifespan
async def open_up(ctx: Context):
    await ctx.publish("paper.opened", {})
    yield

@notes.function("add", effect="staged")
async def add(ctx: Context, text: str) -> int:
    def insert(tx):
        tx.execute("INSERT INTO notes__lines VALUES (?)", (text,))
        return tx.one("SELECT count(*) AS n FROM notes__lines")[0]
    return await ctx.store.write(insert)

@notes.function("shout", effect="deferred")
async def shout(ctx: Context, topic: str) -> None:
    await ctx.publish(topic, {"loud": True})

@notes.function("look", effect="read")
async def look(ctx: Context) -> None:
    await ctx.require("memory:write", "own")

@notes.function("count", effect="read")
async def count(ctx: Context) -> AsyncIterator[int]:
    try:
        for number in range(ctx.config.limits.call_items * 2):
            yield number
    finally:
        ended.append(number)

@notes.function("ended", effect="read")
async def last(ctx: Context) -> list[int]:
    return ended

ended: list[int] = []

@notes.function("pretend")
async def pretend(ctx: Context) -> None:
    ctx.on_behalf(ctx.chain.caller)
"""
TWIN = """
from kernel import Context, Plugin
twin = Plugin("twin", version="1.0.0")
@twin.function("add", effect="free")
async def add(ctx: Context) -> int:
    return 0
"""
STAGED = ALLOW_ALL.replace('effect="free"', 'effect="staged"').replace(
    "Decision(True,", 'Decision(not capability.startswith("event:emit:secret"),'
)


@pytest.fixture
async def kernel(tmp_path: Path):
    async with running_kernel(tmp_path, plugins={"allow_all": STAGED, "notes": NOTES}) as running:
        yield running


async def test_a_plugin_writes_its_own_tables_and_beneath_one_effect_key_only_once(kernel: Kernel) -> None:
    ctx = kernel.context(Caller("user:ada"))
    assert await ctx.call("notes.add", "one") == 1
    for _ in range(2):
        effect = ctx.through("script:tea.aether", effect_key="job:0:1")
        assert await effect.call("notes.add", "two") == 2
    assert await ctx.call("notes.add", "three") == 3


async def test_a_plugin_publishes_under_its_own_topics_freely_and_elsewhere_by_right(kernel: Kernel) -> None:
    ctx = kernel.context(Caller("user:ada"))
    with Recording(kernel.bus) as seen:
        for topic in ("notes.shouted", "paper.torn", "user.called"):
            await ctx.call("notes.shout", topic)
        with pytest.raises(Denied, match=r"user:ada → plugin:notes may not event:emit:secret\.told"):
            await ctx.call("notes.shout", "secret.told")
    assert [e.topic for e in seen.events if e.data == {"loud": True}] == ["notes.shouted", "paper.torn", "user.called"]
    assert {e.trace for e in seen.events if e.data == {"loud": True}} == {ctx.trace}


async def test_a_function_declared_read_cannot_write_through_the_gate(kernel: Kernel) -> None:
    with pytest.raises(Denied, match="declared read cannot do what is staged"):
        await kernel.context(Caller("user:ada")).call("notes.look")


async def test_acting_for_somebody_else_is_the_houses_own_privilege(kernel: Kernel) -> None:
    with pytest.raises(Denied, match="may not act for"):
        await kernel.context(Caller("user:ada")).call("notes.pretend")
    assert kernel.context(Caller("core:executions")).on_behalf(Caller("user:ada")).owner == "user:ada"


async def test_a_bare_function_name_serves_while_one_plugin_alone_offers_it(tmp_path: Path) -> None:
    plugins = {"allow_all": STAGED, "notes": NOTES, "twin": TWIN}
    async with running_kernel(tmp_path, plugins=plugins) as kernel:
        ctx = kernel.context(Caller("user:ada"))
        assert ctx.find_function("shout").item.name == "notes.shout"
        with pytest.raises(BadInput, match=r"notes\.add or twin\.add"):
            ctx.find_function("add")
        with pytest.raises(NotFound, match=r"did you mean (notes\.)?shout"):
            ctx.find_function("shuot")


async def test_a_deadline_only_comes_nearer(kernel: Kernel) -> None:
    ctx = kernel.context(Caller("user:ada"), deadline=50.0)
    assert ctx.through("script:a.aether", deadline=90.0).deadline == 50.0
    assert ctx.through("script:a.aether", deadline=10.0).deadline == 10.0


async def test_may_asks_without_leaving_a_trace(kernel: Kernel) -> None:
    ctx = kernel.context(Caller("user:ada"))
    assert not ctx.may("event:emit:secret.told")
    assert ctx.may("event:emit:user.called")
    assert list(kernel.gate.denials) == []


async def test_a_call_collects_what_is_streamed_up_to_its_bound(tmp_path: Path) -> None:
    given = {"plugins": {"allow_all": STAGED, "notes": NOTES}, "overrides": {"limits.call_items": 5}}
    async with running_kernel(tmp_path, **given) as kernel:
        ctx = kernel.context(Caller("user:ada"))
        with pytest.raises(TooLarge, match="call_items"):
            await ctx.call("notes.count")
        assert await ctx.call("notes.ended") == [5]
