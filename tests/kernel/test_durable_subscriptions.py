"""Durable subscriptions: at least once, in order, from an offset that survives everything; and the count is right."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kernel.bus import Bus
from kernel.durable_subscription import DurableSubscription
from kernel.errors import LoadError
from kernel.event_log import EventLog, SubscriptionStats
from kernel.kernel import Kernel
from kernel.modules import Module
from kernel.patterns import matcher
from kernel.settings import EventSettings
from kernel.store import Store
from kernel.testing import ALLOW_ALL, Recording, TestClock, running_kernel

NOTES = """
from kernel import Context, Plugin
notes = Plugin("notes", version="1.0.0", durable=["notes.*"])
"""

READER = """
from kernel import Context, Event, Plugin
reader = Plugin("reader", version="1.0.0", durable=["reader.#"])

@reader.on("PATTERN", durable=True)
async def read(ctx: Context, event: Event) -> None:
    HANDLE
    await ctx.publish("reader.read", event.data)
"""


def reader(handle: str = "pass", pattern: str = "notes.*") -> str:
    return READER.replace("HANDLE", handle).replace("PATTERN", pattern)


@asynccontextmanager
async def house(home: Path, clock: TestClock | None = None, **plugins: str) -> AsyncIterator[Kernel]:
    sources = {"allow_all": ALLOW_ALL, "notes": NOTES, "reader": reader(), **plugins}
    overrides = {"events.attempts": 3, "events.page": 4}
    async with running_kernel(home, plugins=sources, clock=clock, overrides=overrides) as kernel:
        yield kernel


async def publish(kernel: Kernel, *data: Any) -> None:
    for one in data:
        await kernel.bus.publish("notes.made", one, source="notes")


def stats(kernel: Kernel) -> SubscriptionStats:
    (only,) = kernel.event_log.stats().subscriptions
    assert only.published == only.delivered + only.dropped + only.pending
    return only


async def until(fulfilled: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not fulfilled():
            await asyncio.sleep(0.001)


async def edit(kernel: Kernel, source: str) -> Module:
    path = kernel.modules.get("reader").path
    path.write_text(source)
    return await kernel.modules.reload("reader")


async def test_every_event_reaches_the_handler_once_and_in_order(tmp_path: Path) -> None:
    async with house(tmp_path) as kernel:
        with Recording(kernel.bus, "reader.read") as seen:
            await asyncio.gather(*(publish(kernel, n) for n in range(50)))
            await until(lambda: stats(kernel).pending == 0)
            assert sorted(event.data for event in seen.events) == list(range(50))
            assert [event.data for event in seen.events] == [event.data for event in kernel.bus.since(0, "notes.*")[0]]
        assert (stats(kernel).published, stats(kernel).delivered) == (50, 50)
        assert stats(kernel).name == "reader.read"


async def test_it_goes_on_after_its_offset_when_its_plugin_was_away(tmp_path: Path) -> None:
    async with house(tmp_path) as kernel:
        with Recording(kernel.bus, "reader.read") as seen:
            await publish(kernel, 1, 2)
            await until(lambda: stats(kernel).pending == 0)
            await kernel.modules.unload("reader")
            await publish(kernel, *range(3, 13))
            assert kernel.event_log.stats().subscriptions == ()
            await kernel.modules.reload("reader")
            await until(lambda: len(seen.events) == 12)
            assert [event.data for event in seen.events] == list(range(1, 13))
            assert (stats(kernel).published, stats(kernel).delivered) == (10, 10)


async def test_a_plugin_that_is_loaded_has_an_offset_and_misses_nothing_though_it_leaves_at_once(
    tmp_path: Path,
) -> None:
    async with house(tmp_path) as kernel:
        rows = kernel.store.all("kernel", "SELECT name FROM kernel__event_offsets")
        assert [row["name"] for row in rows] == ["reader.read"]
        with Recording(kernel.bus, "reader.read") as seen:
            await kernel.modules.unload("reader")
            await publish(kernel, 1, 2)
            await kernel.modules.reload("reader")
            await until(lambda: len(seen.events) == 2)
            assert [event.data for event in seen.events] == [1, 2]


async def test_it_goes_on_after_its_offset_over_a_restart_and_a_new_one_begins_where_it_is_loaded(
    tmp_path: Path,
) -> None:
    async with house(tmp_path) as kernel:
        await kernel.modules.unload("reader")
        await publish(kernel, "before")
        await kernel.modules.reload("reader")
        await publish(kernel, "read")
        await until(lambda: stats(kernel).pending == 0)
    (tmp_path / "plugins" / "reader.py").unlink()
    async with running_kernel(tmp_path, plugins={"allow_all": ALLOW_ALL, "notes": NOTES}) as kernel:
        await publish(kernel, *range(20))
    async with running_kernel(tmp_path, plugins={"reader": reader("ctx.log.info('x')")}) as kernel:
        await until(lambda: stats(kernel).published == 20 and stats(kernel).pending == 0)
        assert [event.data for event in kernel.bus.since(0, "reader.read")[0]] == list(range(20))


async def test_a_reload_keeps_the_offset_and_the_new_version_gets_what_the_old_one_failed_on(tmp_path: Path) -> None:
    clock = TestClock()
    failing = reader("if event.data == 2: raise ValueError('not this one')")
    async with house(tmp_path, clock, reader=failing) as kernel:
        with Recording(kernel.bus, "reader.read") as seen:
            await publish(kernel, 1, 2, 3)
            await until(lambda: stats(kernel).retried == 1)
            await edit(kernel, reader("pass  # mended"))
            await until(lambda: stats(kernel).pending == 0)
            assert [event.data for event in seen.events] == [1, 2, 3]
            assert (stats(kernel).delivered, stats(kernel).dropped) == (3, 0)


async def test_a_handler_that_raises_is_called_again_later_and_then_the_event_is_passed_over_and_told_of(
    tmp_path: Path,
) -> None:
    clock = TestClock()
    failing = reader("if event.data == 2: raise ValueError('not this one')")
    async with house(tmp_path, clock, reader=failing) as kernel:
        with Recording(kernel.bus, "reader.read") as seen, Recording(kernel.bus, "plugin.error") as errors:
            await publish(kernel, 1, 2, 3)
            await until(lambda: stats(kernel).retried == 1)
            assert errors.events == []
            await clock.advance(0.05)
            assert stats(kernel).retried == 1
            await clock.advance(0.05)
            await until(lambda: stats(kernel).retried == 2)
            await clock.advance(0.2)
            error = await errors.wait_for("plugin.error")
            assert {name: error.data[name] for name in ("plugin", "where", "topic", "attempts", "error")} == {
                "plugin": "reader",
                "where": "reader.read",
                "topic": "notes.made",
                "attempts": 3,
                "error": "not this one",
            }
            await until(lambda: stats(kernel).pending == 0)
            assert [event.data for event in seen.events] == [1, 3]
            assert (stats(kernel).delivered, stats(kernel).dropped) == (2, 1)


async def test_a_backlog_larger_than_a_page_is_read_in_pages(tmp_path: Path) -> None:
    async with house(tmp_path) as kernel:
        await kernel.modules.unload("reader")
        await publish(kernel, *range(100))
        await kernel.modules.reload("reader")
        state = kernel.modules.get("reader").durable["reader.read"]
        held: list[int] = []
        kernel.bus.listen("reader.read", lambda event: held.append(len(state._buffer)), name="held")
        await until(lambda: state.delivered == 100)
        assert held
        assert max(held) <= 4


async def test_another_pattern_in_a_new_version_goes_on_from_the_same_offset(tmp_path: Path) -> None:
    async with house(tmp_path, reader=reader(pattern="notes.made")) as kernel:
        with Recording(kernel.bus, "reader.read") as seen:
            await publish(kernel, 1)
            await kernel.bus.publish("notes.gone", 2)
            await until(lambda: stats(kernel).pending == 0)
            await edit(kernel, reader(pattern="notes.*"))
            await publish(kernel, 3)
            await until(lambda: stats(kernel).pending == 0 and len(seen.events) >= 3)
            assert [event.data for event in seen.events] == [1, 2, 3]


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("#", r"name it in \[events\] durable"),
        ("notes.#", "notes would have to declare it in durable="),
        ("module.*", r"name it in \[events\] durable|kernel would have to"),
    ],
)
async def test_it_is_refused_on_a_topic_that_is_not_durable(tmp_path: Path, pattern: str, why: str) -> None:
    async with house(tmp_path) as kernel:
        with pytest.raises(LoadError, match=why):
            await edit(kernel, reader(pattern=pattern))
        assert stats(kernel).pattern == "notes.*"


async def test_it_waits_for_the_plugin_that_declares_its_topics(tmp_path: Path) -> None:
    async with house(tmp_path, reader=reader(pattern="later.*")) as kernel:
        module = kernel.modules.get("reader")
        assert module.status == "waiting"
        assert "later.*" in (module.reason or "")
        later = NOTES.replace("notes", "later")
        (module.path.parent / "later.py").write_text(later)
        await until(lambda: module.status == "active")


async def test_a_plugin_cannot_take_durability_away_from_a_durable_subscription(tmp_path: Path) -> None:
    async with house(tmp_path) as kernel:
        notes = kernel.modules.get("notes")
        notes.path.write_text(NOTES.replace('["notes.*"]', '["notes.gone"]'))
        with pytest.raises(LoadError, match=r"reader\.read subscribes to it durably"):
            await kernel.modules.reload("notes")
        assert kernel.event_log.keeps("notes.made")
        await kernel.modules.unload("reader")
        await kernel.modules.reload("notes")
        assert not kernel.event_log.keeps("notes.made")
        assert kernel.event_log.keeps("notes.gone")


@pytest.mark.parametrize(
    ("declared", "why"),
    [
        ('durable=["user.*"]', "not under notes"),
        ('durable=["#"]', "not under notes"),
        ('durable=["notes..x"]', "a topic pattern is"),
    ],
)
async def test_a_plugin_declares_only_its_own_topics_durable(tmp_path: Path, declared: str, why: str) -> None:
    async with house(tmp_path, notes=NOTES.replace('durable=["notes.*"]', declared)) as kernel:
        module = kernel.modules.get("notes")
        assert module.status == "failed"
        assert why in (module.reason or "")


async def test_one_function_has_one_durable_subscription(tmp_path: Path) -> None:
    twice = reader().replace('@reader.on("notes.*", durable=True)', '@reader.on("notes.a", durable=True)\n' * 2)
    twice = twice.replace("notes.a", "notes.b", 1)
    async with house(tmp_path, reader=twice) as kernel:
        assert "the durable subscription 'reader.read' is declared 2 times" in kernel.modules.get("reader").reason


async def test_offsets_of_subscriptions_that_are_gone_are_forgotten_after_the_retention(tmp_path: Path) -> None:
    clock = TestClock()
    async with house(tmp_path, clock) as kernel:
        await publish(kernel, 1)
        await until(lambda: stats(kernel).pending == 0)
        await kernel.modules.unload("reader")
        names = "SELECT name FROM kernel__event_offsets"
        assert len(kernel.store.all("kernel", names)) == 1
        clock.jump_wall(91 * 86_400)
        await kernel.event_log.prune()
        assert kernel.store.all("kernel", names) == []


class Reading(RuleBasedStateMachine):
    """P15 against a model, for a durable subscription: published, handled, failed, pruned, restarted and killed."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = TestClock()
        self.fits = matcher(["user.*"])
        self.wanted: list[int] = []
        """Every event that fits, in order."""
        self.handled: set[int] = set()
        self.lost: set[int] = set()
        self.latest = 0
        self.run(self.start())

    def run(self, coroutine: Any) -> Any:
        async def bounded() -> Any:
            async with asyncio.timeout(30):
                return await coroutine

        return self.loop.run_until_complete(bounded())

    async def start(self) -> None:
        self.bus = Bus(self.clock, ring=4)
        self.store = Store(Path(self.folder.name) / "hub.db", clock=self.clock, bus=self.bus)
        self.log = EventLog(self.store, self.bus, self.clock, EventSettings(durable=("#",), page=3, kept=6), 90)
        self.store.log = self.log
        await self.store.open()
        await self.log.open()
        await self.log.opened()
        await self.subscribe()

    async def subscribe(self) -> None:
        self.state = DurableSubscription("t.read", "user.*", self.log, self.clock, self.bus)
        await self.state.open()
        self.latest = self.state._handled

    @rule(topic=st.sampled_from(["user.a", "user.b", "job.a"]), count=st.integers(1, 5))
    def publish(self, topic: str, count: int) -> None:
        async def together() -> list[Any]:
            return await asyncio.gather(*(self.bus.publish(topic) for _ in range(count)))

        events = self.run(together())
        self.wanted += [event.seq for event in events if self.fits(event.topic)]

    @precondition(lambda self: self.state.pending)
    @rule(fails=st.booleans())
    def handle(self, fails: bool) -> None:
        event = self.run(self.state.next())
        due = [seq for seq in self.wanted if seq > self.latest and seq not in self.lost]
        assert event.seq == due[0]
        self.state.done(dropped=fails)
        self.handled.add(event.seq)
        self.latest = event.seq

    @precondition(lambda self: self.state.pending)
    @rule()
    def look(self) -> None:
        self.run(self.state.next())

    @rule()
    def prune(self) -> None:
        in_memory = {event.seq for event in self.state._buffer}
        before = self.log.pruned
        self.run(self.log.prune())
        self.lost |= {seq for seq in self.wanted if before < seq <= self.log.pruned and seq > self.latest} - in_memory

    @rule()
    def catch_up(self) -> None:
        self.state.catch_up()

    @rule()
    def reopen(self) -> None:
        self.run(self.state.close())
        self.run(self.subscribe())
        self.lost |= {seq for seq in self.wanted if seq <= self.log.pruned and seq not in self.handled}

    @rule(clean=st.booleans())
    def restart(self, clean: bool) -> None:
        async def restarting() -> None:
            if clean:
                await self.state.close()
                await self.log.close()
            elif self.state._committer is not None:
                self.state._committer.cancel()  # what it had not committed is not committed, as after a kill
            await self.store.close()
            await self.bus.close()
            await self.start()

        self.run(restarting())
        self.lost |= {seq for seq in self.wanted if seq <= self.log.pruned and seq not in self.handled}

    @invariant()
    def nothing_vanishes(self) -> None:
        state = self.state
        assert state.published == state.delivered + state.dropped + state.pending
        rows = self.store.all("kernel", "SELECT seq, topic FROM kernel__events")
        waiting = {row["seq"] for row in rows if self.fits(row["topic"]) and row["seq"] > state._handled}
        assert state.pending == len(waiting | {event.seq for event in state._buffer})
        assert len(state._buffer) <= 3
        assert state.offset <= state._handled
        passed = {seq for seq in self.wanted if seq <= state._handled}
        assert passed <= self.handled | self.lost

    def teardown(self) -> None:
        async def end() -> None:
            await self.state.close()
            await self.store.close()
            await self.bus.close()

        self.run(end())
        self.loop.close()
        self.folder.cleanup()


TestReading = Reading.TestCase
TestReading.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
