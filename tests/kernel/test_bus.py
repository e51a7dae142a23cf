"""The event bus: who gets what, in which order, and that nothing is lost without being counted."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from kernel.bus import Bus, Subscription, check_pattern
from kernel.errors import BadInput, Conflict
from kernel.events import Event
from kernel.testing import Recording, TestClock


def make_bus(**settings: Any) -> Bus:
    settings.setdefault("on_error", lambda name, topic, error: None)
    return Bus(TestClock(), **settings)


def turn() -> Any:
    return asyncio.sleep(0)


@pytest.mark.parametrize(
    ("pattern", "topic", "fits"),
    [
        ("job.done", "job.done", True),
        ("job.done", "job.done.twice", False),
        ("job.*", "job.done", True),
        ("job.*", "job", False),
        ("job.*", "job.a.b", False),
        ("*.done", "job.done", True),
        ("job.#", "job", True),
        ("job.#", "job.a.b.c", True),
        ("job.#", "jobs.a", False),
        ("#", "anything.at.all", True),
        ("*.*.#", "a", False),
        ("*.*.#", "a.b", True),
    ],
)
async def test_a_pattern_fits_as_documented(pattern: str, topic: str, fits: bool) -> None:
    bus, seen = make_bus(), []
    bus.listen(pattern, seen.append, name="listener")
    queue = bus.subscribe(pattern, name="queue")
    await bus.publish(topic)
    assert (len(seen), queue.pending) == ((1, 1) if fits else (0, 0))
    assert bool(bus.since(0, pattern)[0]) is fits


@pytest.mark.parametrize(
    "pattern", ["", ".", "a.", ".a", "a..b", "#.a", "a.#.b", "a*", "a.b#", "a b", "x" * 256, "a.##"]
)
def test_a_malformed_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(BadInput, match="topic pattern"):
        check_pattern(pattern)


@pytest.mark.parametrize("topic", ["", "a.*", "#", "a..b", "a b", "x" * 256])
async def test_a_malformed_topic_is_refused_and_nothing_is_published(topic: str) -> None:
    bus = make_bus()
    with pytest.raises(BadInput, match="a topic is"):
        await bus.publish(topic)
    with pytest.raises(BadInput, match="a topic is"):
        bus.emit(topic)
    assert bus.stats().published == 0


async def test_an_event_says_what_who_when_and_in_which_order() -> None:
    bus = make_bus()
    first = await bus.publish("a.b", {"x": 1}, source="hello", trace="t-1")
    second = bus.emit("a.c")
    assert (first.topic, first.data, first.source, first.trace) == ("a.b", {"x": 1}, "hello", "t-1")
    assert first.time == TestClock().now()
    assert second.seq == first.seq + 1 == bus.position


async def test_numbers_go_on_rising_over_a_restart() -> None:
    clock = TestClock()
    before = Bus(clock)
    for _ in range(500):
        before.emit("a.b")
    await clock.advance(0.5)
    after = Bus(clock)
    assert after.emit("a.b").seq > before.position


async def test_async_and_plain_listeners_have_run_when_publish_returns() -> None:
    bus, order = make_bus(), []

    async def later(event: Event) -> None:
        await turn()
        order.append("async")

    class Called:
        async def __call__(self, event: Event) -> None:
            order.append("object")

    bus.listen("a", later, name="later")
    bus.listen("a", lambda event: order.append("plain"), name="plain")
    bus.listen("a", functools.partial(later), name="partial")
    bus.listen("a", Called(), name="object")
    await bus.publish("a")
    assert order == ["plain", "async", "async", "object"]
    assert bus.stats().delivered == 4


async def test_emit_runs_async_listeners_in_a_task_of_the_bus() -> None:
    bus, done = make_bus(), asyncio.Event()

    async def later(event: Event) -> None:
        done.set()

    bus.listen("a", later, name="later")
    bus.emit("a")
    assert not done.is_set()
    async with asyncio.timeout(5):
        await done.wait()


async def test_emitted_events_beyond_the_bound_of_tasks_count_as_dropped() -> None:
    bus, gate = make_bus(tasks=2), asyncio.Event()

    async def slow(event: Event) -> None:
        await gate.wait()

    bus.listen("a", slow, name="slow")
    for _ in range(5):
        bus.emit("a")
    assert bus.stats().dropped == 3
    gate.set()
    await TestClock().settle()
    assert bus.stats().delivered == 2
    await bus.close()


async def test_a_listener_that_raises_harms_neither_publisher_nor_neighbours() -> None:
    told: list[tuple[str, str, str]] = []
    bus = make_bus(on_error=lambda name, topic, error: told.append((name, topic, str(error))))
    seen: list[str] = []

    async def breaks(event: Event) -> None:
        raise ValueError("async")

    def breaks_too(event: Event) -> None:
        raise ValueError("plain")

    async def works(event: Event) -> None:
        seen.append("works")

    with Recording(bus, "plugin.error") as errors:
        for name, handler in (("breaks", breaks), ("breaks_too", breaks_too), ("works", works)):
            bus.listen("a", handler, name=name)
        await bus.publish("a", source="hello", trace="t")
        bus.emit("a")
        await TestClock().settle()
    assert seen == ["works", "works"]
    assert told.count(("breaks", "a", "async")) == told.count(("breaks_too", "a", "plain")) == 2
    assert errors.events[0].data["name"] == "breaks_too"
    assert (errors.events[0].source, errors.events[0].trace) == ("hello", "t")
    assert bus.stats().errors == len(errors.events) == 4


async def test_a_broken_listener_of_errors_does_not_feed_itself() -> None:
    bus = make_bus()

    def breaks(event: Event) -> None:
        raise ValueError("again")

    bus.listen("#", breaks, name="breaks")
    await bus.publish("a")
    assert bus.stats().published == 2
    assert bus.stats().errors == 2


async def test_an_on_error_that_raises_is_contained() -> None:
    def broken(name: str, topic: str, error: BaseException) -> None:
        raise RuntimeError("the callback")

    bus = make_bus(on_error=broken)
    bus.listen("a", lambda event: 1 / 0, name="divides")
    await bus.publish("a")
    assert bus.stats().errors == 1


async def test_a_plain_listener_that_returns_a_coroutine_is_told_to_be_async() -> None:
    told: list[str] = []
    bus = make_bus(on_error=lambda name, topic, error: told.append(str(error)))

    async def work() -> None: ...

    bus.listen("a", lambda event: work(), name="forgetful")
    await bus.publish("a")
    assert "async def" in told[0]


async def test_a_cancellation_a_listener_made_up_is_its_own_error() -> None:
    bus, seen = make_bus(), []

    async def cancels(event: Event) -> None:
        raise asyncio.CancelledError

    async def works(event: Event) -> None:
        seen.append(event)

    bus.listen("a", cancels, name="cancels")
    bus.listen("a", works, name="works")
    await bus.publish("a")
    assert len(seen) == 1
    assert bus.stats().errors == 1


async def test_a_cancelled_publisher_counts_whom_it_did_not_reach() -> None:
    bus, entered = make_bus(), asyncio.Event()

    async def hangs(event: Event) -> None:
        entered.set()
        await asyncio.Event().wait()

    async def never(event: Event) -> None:
        raise AssertionError("not reached")

    bus.listen("a", hangs, name="hangs")
    bus.listen("a", never, name="never")
    task = asyncio.create_task(bus.publish("a"))
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (bus.stats().delivered, bus.stats().dropped) == (1, 1)


async def test_an_undone_listener_is_not_called_not_even_by_a_publish_under_way() -> None:
    bus, seen = make_bus(), []
    undo: list[Callable[[], None]] = []
    bus.listen("a", lambda event: undo[0](), name="first")
    undo.append(bus.listen("a", seen.append, name="second"))
    await bus.publish("a")
    undo[0]()
    await bus.publish("a")
    assert seen == []
    assert bus.stats().subscribers == 1


async def test_nothing_is_left_of_undone_listeners_and_closed_subscriptions() -> None:
    bus = make_bus()
    undo = bus.listen("a.*.#", lambda event: None, name="listener")
    queue = bus.subscribe(["a.b", "#"], name="queue")
    await bus.publish("a.b")
    undo()
    queue.close()
    assert (bus._tree.children, bus._tree.ends, bus._tree.rests) == ({}, [], [])
    assert bus._memo == {}


async def test_a_queue_keeps_the_order_of_numbers_even_when_listeners_suspend() -> None:
    bus, gate = make_bus(), asyncio.Event()

    async def slow_once(event: Event) -> None:
        if event.data == 1:
            await gate.wait()

    bus.listen("a", slow_once, name="slow")
    queue = bus.subscribe("a", name="queue")
    first = asyncio.create_task(bus.publish("a", 1))
    await turn()
    await bus.publish("a", 2)
    gate.set()
    await first
    assert [event.data for event in await queue.batch()] == [1, 2]


async def test_an_event_that_fits_two_patterns_is_queued_once() -> None:
    bus = make_bus()
    queue = bus.subscribe(["a.*", "a.b", "#"], name="queue")
    await bus.publish("a.b")
    assert queue.pending == 1


async def test_a_full_queue_drops_the_oldest_and_counts_it() -> None:
    bus = make_bus()
    queue = bus.subscribe("a", name="queue", limit=2)
    for number in range(5):
        await bus.publish("a", number)
    assert [event.data for event in await queue.batch()] == [3, 4]
    assert (queue.dropped, queue.delivered, queue.published) == (3, 2, 5)


async def test_a_full_queue_refuses_the_new_when_told_so() -> None:
    bus = make_bus()
    queue = bus.subscribe("a", name="queue", limit=2, when_full="drop_new")
    for number in range(5):
        await bus.publish("a", number)
    assert [event.data for event in await queue.batch()] == [0, 1]
    assert queue.dropped == 3


async def test_a_full_blocking_queue_makes_publishers_wait_in_their_order() -> None:
    bus, seen = make_bus(), []
    queue = bus.subscribe("a", name="queue", limit=1, when_full="block")
    bus.listen("a", lambda event: seen.append(event.data), name="listener")
    tasks = [asyncio.create_task(bus.publish("a", number)) for number in range(4)]
    await TestClock().settle()
    assert [task.done() for task in tasks] == [True, False, False, False]
    assert seen == [0, 1, 2, 3]
    assert queue.pending == 4
    got = []
    async for event in queue:
        got.append(event.data)
        if len(got) == 4:
            break
    await asyncio.gather(*tasks)
    assert got == [0, 1, 2, 3]
    assert (queue.delivered, queue.pending, queue.dropped) == (4, 0, 0)


async def test_a_publisher_cancelled_while_it_waits_for_room_drops_its_event() -> None:
    bus = make_bus()
    queue = bus.subscribe("a", name="queue", limit=1, when_full="block")
    await bus.publish("a", 0)
    waiting = asyncio.create_task(bus.publish("a", 1))
    behind = asyncio.create_task(bus.publish("a", 2))
    await TestClock().settle()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    got = [event.data for event in await queue.batch()] + [event.data for event in await queue.batch()]
    await behind
    assert got == [0, 2]
    assert (queue.dropped, queue.published) == (1, 3)


async def test_emit_drops_at_a_full_blocking_queue() -> None:
    bus = make_bus()
    queue = bus.subscribe("a", name="queue", limit=1, when_full="block")
    bus.emit("a")
    bus.emit("a")
    assert (queue.pending, queue.dropped) == (1, 1)


async def test_a_subscription_outlives_its_reader() -> None:
    bus = make_bus()
    queue = bus.subscribe("a", name="queue")
    old = asyncio.create_task(queue.batch())
    await turn()
    with pytest.raises(Conflict, match="reader"):
        await queue.batch()
    await bus.publish("a", 1)
    old.cancel()
    await asyncio.gather(old, return_exceptions=True)
    await bus.publish("a", 2)
    assert [event.data for event in await queue.batch()] == [1, 2]


async def test_closing_ends_the_reader_and_frees_the_publishers() -> None:
    bus = make_bus()
    queue = bus.subscribe("a", name="queue", limit=1, when_full="block")
    await bus.publish("a")
    publisher = asyncio.create_task(bus.publish("a"))
    await turn()
    queue.close()
    await publisher
    assert await queue.batch() == []
    assert [event async for event in queue] == []
    assert (queue.dropped, queue.pending) == (2, 0)
    await bus.publish("a")
    assert queue.published == 2
    assert bus.stats().dropped == 2


async def test_closing_the_bus_ends_every_reader() -> None:
    bus = make_bus()
    reader = asyncio.create_task(bus.subscribe("a", name="queue").batch())
    await turn()
    await bus.close()
    assert await reader == []


@pytest.mark.parametrize(
    ("arguments", "match"),
    [({"limit": 0}, "at least 1"), ({"when_full": "wait"}, "drop_oldest"), ({"pattern_or_patterns": []}, "no topic")],
)
def test_a_subscription_with_wrong_arguments_is_refused(arguments: dict[str, Any], match: str) -> None:
    with pytest.raises(BadInput, match=match):
        make_bus().subscribe(**({"pattern_or_patterns": "a", "name": "queue"} | arguments))


async def test_the_ring_tells_what_came_after_a_number_and_whether_some_are_missing() -> None:
    bus = make_bus(ring=3)
    start = bus.position
    assert bus.since(start) == ([], False)
    events = [await bus.publish(f"a.{number}") for number in range(3)]
    assert bus.since(start) == (events, False)
    assert bus.since(events[0].seq, ["a.2", "b"]) == ([events[2]], False)
    last = await bus.publish("a.3")
    assert bus.since(start) == ([*events[1:], last], True)
    assert bus.since(events[0].seq) == ([*events[1:], last], False)
    assert bus.since(last.seq) == ([], False)


async def test_a_number_of_another_process_is_a_gap() -> None:
    bus = make_bus()
    event = await bus.publish("a")
    assert bus.since(bus.position - 1000) == ([event], True)
    assert bus.since(bus.position + 1) == ([], True)


async def test_memo_and_topics_stay_bounded() -> None:
    bus, seen = make_bus(memo=16), []
    bus.listen("job.*", seen.append, name="listener")
    for number in range(200):
        await bus.publish(f"job.{number}")
    assert len(seen) == 200
    assert len(bus._memo) == bus.stats().topics == 16


async def test_a_topic_resolved_before_reaches_a_later_subscriber() -> None:
    bus, seen = make_bus(), []
    await bus.publish("a")
    bus.listen("a", seen.append, name="late")
    await bus.publish("a")
    assert len(seen) == 1


async def test_a_recording_waits_for_what_has_not_come_yet() -> None:
    bus = make_bus()
    with Recording(bus, "a.#") as recording:
        waiting = asyncio.create_task(recording.wait_for("a.c"))
        await bus.publish("a.b")
        await bus.publish("b")
        await bus.publish("a.c", 1)
        assert (await waiting).data == 1
        assert recording.topics == ["a.b", "a.c"]
        with pytest.raises(TimeoutError, match=r"a\.b"):
            await recording.wait_for("a.d", timeout_s=0.01)
    await bus.publish("a.b")
    assert len(recording.events) == 2


TOPICS = ["a", "a.b", "a.b.c", "x.b"]


class Counting(RuleBasedStateMachine):
    """P15 against a model that knows only what was published, and to whom: nothing vanishes, nothing appears."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.bus = make_bus()
        self.model: dict[Subscription, list[int]] = {}
        self.taken: dict[Subscription, list[int]] = {}
        self.publishers: list[asyncio.Task[Event]] = []
        self.number = 0

    def run(self, coroutine: Any) -> Any:
        return self.loop.run_until_complete(coroutine)

    def matching(self, topic: str) -> list[Subscription]:
        def fits(pattern: str) -> bool:
            words, parts = topic.split("."), pattern.split(".")
            if parts[-1] == "#":
                parts, words = parts[:-1], words[: len(parts) - 1]
            return len(parts) == len(words) and all(map(fnmatchcase, words, parts))

        return [queue for queue in self.model if not queue.closed and any(map(fits, queue.patterns))]

    @rule(
        patterns=st.lists(st.sampled_from(["a", "a.*", "a.#", "#", "*.b"]), min_size=1, max_size=3),
        limit=st.integers(1, 3),
        policy=st.sampled_from(["drop_oldest", "drop_new", "block"]),
    )
    def subscribe(self, patterns: list[str], limit: int, policy: Any) -> None:
        queue = self.bus.subscribe(patterns, name="queue", limit=limit, when_full=policy)
        self.model[queue], self.taken[queue] = [], []

    @rule(topic=st.sampled_from(TOPICS))
    def publish(self, topic: str) -> None:
        self.number += 1
        for queue in self.matching(topic):
            self.model[queue].append(self.number)
        self.publishers.append(self.loop.create_task(self.bus.publish(topic, self.number)))
        self.run(turn())

    @rule(topic=st.sampled_from(TOPICS))
    def emit(self, topic: str) -> None:
        self.number += 1
        for queue in self.matching(topic):
            self.model[queue].append(self.number)

        async def emitting() -> None:
            self.bus.emit(topic, self.number)

        self.run(emitting())

    @rule(data=st.data(), all_of_it=st.booleans())
    def read(self, data: st.DataObject, all_of_it: bool) -> None:
        ready = [queue for queue in self.model if queue.pending]
        if ready:
            queue = data.draw(st.sampled_from(ready))
            events = self.run(queue.batch()) if all_of_it else [self.run(queue.__anext__())]
            self.taken[queue] += [event.data for event in events]
            self.run(turn())

    @rule(data=st.data())
    def cancel_a_publisher(self, data: st.DataObject) -> None:
        waiting = [task for task in self.publishers if not task.done()]
        if waiting:
            data.draw(st.sampled_from(waiting)).cancel()
            self.run(turn())
            self.run(turn())

    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        if self.model:
            data.draw(st.sampled_from(list(self.model))).close()

    @invariant()
    def nothing_is_lost_uncounted(self) -> None:
        for queue, published in self.model.items():
            assert len(published) == queue.delivered + queue.dropped + queue.pending
            assert queue.delivered == len(self.taken[queue])
            assert self.taken[queue] == sorted(set(self.taken[queue]))
            assert set(self.taken[queue]) <= set(published)
        stats = self.bus.stats()
        assert sum(map(len, self.model.values())) == stats.delivered + stats.dropped + stats.pending
        assert stats.published == self.number

    def teardown(self) -> None:
        async def end() -> None:
            await self.bus.close()
            await asyncio.gather(*self.publishers, return_exceptions=True)

        try:
            self.run(end())
        finally:
            self.loop.close()


TestCounting = Counting.TestCase
TestCounting.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
