"""The door through which the kernel hands over what goes on record: who did it, and what waits for the commit."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kernel import Caller, Denied, Kernel, StorageFull
from kernel.contribution import Owned
from kernel.errors import BadInput, StorageError
from kernel.testing import running_kernel

ALICE = Caller("user:alice", ("role:user",))

RULES = '''
"""Decides: what is called dark is denied, what is called grave is granted and audited, the rest is granted."""
from kernel import Chain, Decision, Plugin
rules = Plugin("rules", version="1.0.0")
@rules.decider
def decide(chain: Chain, capability: str) -> Decision:
    allowed, audited = not capability.startswith("dark"), capability.startswith("grave")
    return Decision(allowed, "by the test", source="test:1", effect="read", audited=audited, policy="abc")
'''

KEEPER = '''
"""Keeps what is put on record, when the test lets it."""
import asyncio
from kernel import AuditRecord, Context, Plugin
keeper = Plugin("keeper", version="1.0.0")
records, waiting = [], []
@keeper.auditor
def keep(record: AuditRecord) -> asyncio.Future[None]:
    records.append(record)
    done = asyncio.get_running_loop().create_future()
    waiting.append(done)
    return done
'''

DOER = '''
"""Does what is on record first."""
from kernel import Context, Plugin, needs
doer = Plugin("doer", version="1.0.0", topics=["door"])
done = []
@doer.post("/api/grave", needs="grave:do")
async def grave(ctx: Context) -> str:
    done.append("route")
    return "done"
@doer.function("grave", needs="grave:do", effect="read")
async def grave_function(ctx: Context) -> str:
    done.append("function")
    return "done"
@doer.service("digger")
class Digger:
    @needs("grave:do")
    async def dig(self, ctx: Context) -> str:
        done.append("service")
        return "done"
@doer.post("/api/light", needs="light:do")
async def light(ctx: Context) -> str:
    await ctx.audit("door.opened", number=3)
    done.append("light")
    return "done"
'''


@pytest.fixture
async def kernel(tmp_path: Path) -> AsyncIterator[Kernel]:
    plugins = {"rules": RULES, "keeper": KEEPER, "doer": DOER}
    async with running_kernel(tmp_path, plugins=plugins) as running:
        yield running


def module(kernel: Kernel, name: str) -> Any:
    generation = kernel.modules.get(name).generation
    assert generation is not None
    return generation.module


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def route(kernel: Kernel, path: str) -> Owned[Any]:
    return next(owned for owned in kernel.table.routes if owned.item.path == path)


def settle(kernel: Kernel, error: Exception | None = None) -> None:
    for done in module(kernel, "keeper").waiting:
        if not done.done():
            done.set_result(None) if error is None else done.set_exception(error)


WAYS = {
    "route": lambda kernel, ctx: kernel.serve(route(kernel, "/api/grave"), ctx, {}),
    "function": lambda kernel, ctx: ctx.call("doer.grave"),
    "service": lambda kernel, ctx: ctx.service("digger").dig(),
}


@pytest.mark.parametrize("way", WAYS)
async def test_what_an_audited_right_allows_begins_when_its_record_is_committed(kernel: Kernel, way: str) -> None:
    doing = asyncio.create_task(WAYS[way](kernel, kernel.context(ALICE, trace="t1")))
    await turns()
    assert module(kernel, "doer").done == []
    (record,) = module(kernel, "keeper").records
    assert (record.action, record.outcome, record.chain) == ("capability.granted", "ok", "user:alice")
    assert record.capability.startswith("grave:do")
    assert (record.trace, record.policy, record.source) == ("t1", "abc", "test:1")
    settle(kernel)
    assert await doing == "done"
    assert module(kernel, "doer").done == [way]


@pytest.mark.parametrize("way", WAYS)
async def test_what_an_audited_right_allows_never_begins_when_its_record_cannot_be_committed(
    kernel: Kernel, way: str
) -> None:
    doing = asyncio.create_task(WAYS[way](kernel, kernel.context(ALICE)))
    await turns()
    settle(kernel, StorageFull("no room"))
    with pytest.raises(StorageFull):
        await doing
    assert module(kernel, "doer").done == []


async def test_asking_for_an_audited_right_waits_for_its_record_too(kernel: Kernel) -> None:
    asking = asyncio.create_task(kernel.context(ALICE).require("grave:do", "own"))
    await turns()
    assert not asking.done()
    settle(kernel)
    assert (await asking).allowed


async def test_any_other_right_is_neither_recorded_nor_waited_for(kernel: Kernel) -> None:
    await kernel.context(ALICE).require("light:do")
    assert module(kernel, "keeper").records == []


async def test_a_refusal_is_on_record_and_not_waited_for(kernel: Kernel) -> None:
    with pytest.raises(Denied):
        await kernel.context(ALICE, trace="t2").through("script:a.aether").require("dark:do")
    (record,) = module(kernel, "keeper").records
    assert (record.action, record.outcome, record.capability) == ("capability.denied", "denied", "dark:do")
    assert (record.chain, record.trace, record.reason) == ("user:alice → script:a.aether", "t2", "by the test")


async def test_a_refusal_that_cannot_be_recorded_stays_a_refusal_and_is_counted(kernel: Kernel) -> None:
    with pytest.raises(Denied):
        await kernel.context(ALICE).require("dark:do")
    settle(kernel, StorageError("no store"))
    await turns()
    assert kernel.auditing.lost == 1


@pytest.mark.parametrize("broken", ["raise RuntimeError('bug')", "return None", "raise SystemExit"])
async def test_an_auditor_that_breaks_lets_nothing_audited_through(tmp_path: Path, broken: str) -> None:
    source = KEEPER.replace("    records.append(record)\n", f"    {broken}\n")
    async with running_kernel(tmp_path, plugins={"rules": RULES, "keeper": source, "doer": DOER}) as kernel:
        with pytest.raises(StorageError, match="could not be put on record") as caught:
            await kernel.context(ALICE).require("grave:do")
        assert "bug" not in caught.value.message
        with pytest.raises(Denied):
            await kernel.context(ALICE).require("dark:do")


async def test_who_leaves_while_his_record_is_written_does_not_undo_it(kernel: Kernel) -> None:
    asking = asyncio.create_task(kernel.context(ALICE).require("grave:do"))
    await turns()
    asking.cancel()
    await turns()
    assert not module(kernel, "keeper").waiting[0].cancelled()
    settle(kernel)


async def test_a_plugin_says_what_was_done_and_the_kernel_says_who_did_it(kernel: Kernel) -> None:
    doing = asyncio.create_task(kernel.serve(route(kernel, "/api/light"), kernel.context(ALICE, trace="t3"), {}))
    await turns()
    assert module(kernel, "doer").done == []
    (record,) = module(kernel, "keeper").records
    assert (record.action, record.outcome, record.details) == ("door.opened", "ok", {"number": 3})
    assert (record.chain, record.plugin, record.trace) == ("user:alice", "doer", "t3")
    settle(kernel)
    assert await doing == "done"


@pytest.mark.parametrize("action", ["capability.granted", "keeper.kept", "module.loaded", "kernel.started"])
async def test_no_plugin_puts_on_record_what_another_or_the_kernel_tells(kernel: Kernel, action: str) -> None:
    generation = kernel.modules.get("doer").generation
    assert generation is not None
    with pytest.raises(Denied):
        await generation.context().audit(action)
    assert module(kernel, "keeper").records == []


async def test_what_is_no_action_or_no_outcome_is_refused(kernel: Kernel) -> None:
    with pytest.raises(BadInput):
        await kernel.context(ALICE).audit("not a topic")
    with pytest.raises(BadInput, match="expected one of ok, denied, failed"):
        await kernel.context(ALICE).audit("door.opened", "perhaps")


async def test_without_an_auditor_nothing_waits(tmp_path: Path) -> None:
    async with running_kernel(tmp_path, plugins={"rules": RULES}) as kernel:
        await kernel.context(ALICE).require("grave:do")
        await kernel.context(ALICE).audit("door.opened")


async def test_two_plugins_cannot_keep_the_audit(tmp_path: Path) -> None:
    second = KEEPER.replace("keeper", "other")
    async with running_kernel(tmp_path, plugins={"rules": RULES, "keeper": KEEPER, "other": second}) as kernel:
        assert "two plugins claim the keeping of the audit" in str(kernel.modules.get("other").reason)
