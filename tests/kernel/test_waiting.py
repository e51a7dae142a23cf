"""Waiting for an event on somebody's behalf: only for what that one may read, and not for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kernel import Caller, Context, DeadlineExceeded, Denied, Kernel
from kernel.testing import TestClock, running_kernel

DECIDES = """
from kernel import Decision, Plugin
allow = Plugin("allow", version="1.0.0", topics=["tea", "pot"])

@allow.decider
def decide(chain, capability):
    given = {"user:ada": ("event:read:own",), "user:bob": ("event:read:tea.ready",)}
    core = chain.caller.id.startswith("core:")
    return Decision(core or capability in given.get(chain.caller.id, ()), "by the test")
"""
LATE = DeadlineExceeded("no tea came")
OWN = frozenset({"allow"})


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture
async def kernel(tmp_path: Path, clock: TestClock) -> AsyncIterator[Kernel]:
    async with running_kernel(tmp_path, plugins={"allow": DECIDES}, clock=clock) as kernel:
        yield kernel


def waiting(ctx: Context, timeout_s: float | None = None) -> asyncio.Task[object]:
    wait = ctx.next_event(("tea.ready",), timeout_s=timeout_s, late=LATE, own=OWN, give={"allow": "cups"})
    return asyncio.ensure_future(wait)


async def test_a_wait_ends_with_what_its_caller_may_read_and_passes_over_the_rest(
    kernel: Kernel, clock: TestClock
) -> None:
    ada, bob, eve = (waiting(kernel.context(Caller(f"user:{name}"))) for name in ("ada", "bob", "eve"))
    await clock.settle()
    await kernel.bus.publish("tea.ready", {"owner": "user:bob", "cups": 1}, source="allow")
    await clock.settle()
    assert bob.done()
    assert bob.result() == 1, "by the right on the topic"
    await kernel.bus.publish("tea.ready", {"owner": "user:ada", "cups": 2}, source="evil")
    await clock.settle()
    assert not ada.done(), "whose it is says only who may be believed"
    await kernel.bus.publish("tea.ready", {"owner": "user:ada", "cups": 3}, source="allow")
    await clock.settle()
    assert ada.result() == 3, "its own"
    assert not eve.done()
    eve.cancel()


async def test_a_wait_that_is_over_raises_what_it_was_given_and_leaves_the_bus(
    kernel: Kernel, clock: TestClock
) -> None:
    before = kernel.bus.stats().subscribers
    wait = waiting(kernel.context(Caller("user:bob")), timeout_s=5)
    await clock.settle()
    assert kernel.bus.stats().subscribers == before + 1
    await clock.advance(6)
    with pytest.raises(DeadlineExceeded, match="no tea came"):
        await wait
    assert kernel.bus.stats().subscribers == before


async def test_only_the_house_follows_events_without_a_right(kernel: Kernel) -> None:
    with pytest.raises(Denied):
        kernel.context(Caller("user:ada")).follow(("tea.#",), limit=10)
    subscription = kernel.context(Caller("core:test")).follow(("tea.#",), limit=10)
    await kernel.bus.publish("tea.ready", 1, source="allow")
    assert (await anext(subscription)).data == 1
    subscription.close()
