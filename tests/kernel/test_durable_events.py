"""Durable topics: what is acknowledged is committed, what was not committed is not seen, and the past is read again."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.bus import Bus
from kernel.errors import BadInput, ConfigError, Conflict, Overloaded, ServiceUnavailable, TooLarge
from kernel.event_log import BATCH, DAY_S, EventLog
from kernel.events import Event
from kernel.patterns import covers, in_sql, matcher
from kernel.replay import Replay
from kernel.settings import EventSettings
from kernel.store import Store
from kernel.testing import Recording, TestClock, kernel_config
from kernel.transaction import Tx

PROGRAM = Path(__file__).parent / "programs" / "durable_notes.py"


class House:
    """A store, a bus and the log between them, as a kernel has them."""

    def __init__(self, path: Path, clock: TestClock, *, ring: int = 10_000, days: float = 90, **settings: Any) -> None:
        self.clock = clock
        self.bus = Bus(clock, ring=ring, on_error=lambda name, topic, error: None)
        self.store = Store(path, clock=clock, bus=self.bus)
        self.log = EventLog(self.store, self.bus, clock, EventSettings(**settings), days)
        self.store.log = self.log

    def kept(self) -> list[tuple[int, str, Any]]:
        rows = self.store.all("kernel", "SELECT seq, topic, data FROM kernel__events ORDER BY seq")
        return [(row["seq"], row["topic"], msgspec.msgpack.decode(row["data"])) for row in rows]


@asynccontextmanager
async def house(path: Path, clock: TestClock | None = None, **settings: Any) -> AsyncIterator[House]:
    made = House(path, clock or TestClock(), **settings)
    await made.store.open()
    await made.log.open()
    await made.log.opened()
    try:
        yield made
    finally:
        await made.log.close()
        await made.store.close()
        await made.bus.close()


async def read(replay: Replay) -> list[list[Event]]:
    """Everything a replay gives, by page; the last is what `rest` gave."""
    pages = []
    while not replay.near:
        pages.append(await replay.page())
    return [*pages, replay.rest()]


def flat(pages: list[list[Event]]) -> list[Event]:
    return [event for page in pages for event in page]


# -- publishing


async def test_an_acknowledged_event_is_committed_and_keeps_its_number_over_a_restart(tmp_path: Path) -> None:
    async with house(tmp_path / "hub.db") as first:
        event = await first.bus.publish("user.note", {"text": "tea"}, "probe", "t-1")
        connection = sqlite3.connect(tmp_path / "hub.db")
        assert connection.execute("SELECT seq, topic FROM kernel__events").fetchall() == [(event.seq, "user.note")]
        connection.close()
        passing = await first.bus.publish("job.done")
        assert first.kept() == [(event.seq, "user.note", {"text": "tea"})]
    async with house(tmp_path / "hub.db") as second:
        assert second.bus.position > passing.seq
        again = flat(await read(second.bus.replay(0, ["user.#"])))
        assert again == [event]


async def test_numbers_rise_over_a_restart_even_when_the_clock_was_set_back(tmp_path: Path) -> None:
    async with house(tmp_path / "hub.db") as first:
        await first.bus.publish("user.note")
        last = first.bus.emit("job.done")
    async with house(tmp_path / "hub.db", TestClock(now=1_000_000_000.0)) as second:
        assert second.bus.emit("job.done").seq > last.seq
        assert (await second.bus.publish("user.note")).seq > last.seq
        assert not second.bus.reaches(last.seq)


async def test_others_published_during_a_commit_have_lower_numbers_and_come_first(tmp_path: Path) -> None:
    async with house(tmp_path / "hub.db") as hub:
        with Recording(hub.bus) as seen:
            publishing = asyncio.create_task(hub.bus.publish("user.note"))
            while not publishing.done():
                hub.bus.emit("job.step")
                await asyncio.sleep(0)
            hub.bus.emit("job.step")
            numbers = [event.seq for event in seen.events]
            assert numbers == sorted(set(numbers))
            assert seen.topics.index("user.note") > 0
            assert seen.topics[-1] == "job.step"
            assert [event.seq for event in hub.bus.since(numbers[0] - 1)[0]] == numbers
            assert hub.bus.stats().published == len(numbers)


async def test_publish_returns_when_every_listener_has_run_and_a_full_subscription_has_room(tmp_path: Path) -> None:
    async with house(tmp_path / "hub.db") as hub:
        order = []

        async def later(event: Event) -> None:
            await asyncio.sleep(0)
            order.append("async")

        hub.bus.listen("user.*", later, name="later")
        hub.bus.listen("user.*", lambda event: order.append("plain"), name="plain")
        queue = hub.bus.subscribe("user.*", name="queue", limit=1, when_full="block")
        await hub.bus.publish("user.note", 1)
        assert order == ["plain", "async"]
        second = asyncio.create_task(hub.bus.publish("user.note", 2))
        while not queue._waiting:
            await asyncio.sleep(0)
        assert not second.done()
        assert (await anext(queue)).data == 1
        await second
        assert (await anext(queue)).data == 2
        assert queue.published == queue.delivered == 2


async def test_a_publisher_that_leaves_loses_neither_the_event_nor_the_count(tmp_path: Path) -> None:
    async with house(tmp_path / "hub.db") as hub:
        heard = []

        async def later(event: Event) -> None:
            heard.append(event.data)

        hub.bus.listen("user.*", later, name="later")
        full = hub.bus.subscribe("user.*", name="full", limit=1, when_full="block")
        await hub.bus.publish("user.note", 0)
        leaving = asyncio.create_task(hub.bus.publish("user.note", 1))
        while not full._waiting:
            await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.wait([leaving])
        begun = asyncio.create_task(hub.bus.publish("user.note", 2))
        await asyncio.sleep(0)
        begun.cancel()
        await asyncio.wait([begun])
        await hub.store.write(lambda tx: None, namespace="t")
        await asyncio.sleep(0)
        kept = [data for _, _, data in hub.kept()]
        assert heard == kept
        assert full.published == full.delivered + full.dropped + full.pending == len(kept)


async def test_an_event_of_a_write_is_part_of_it(tmp_path: Path) -> None:
    async with house(tmp_path / "hub.db") as hub:
        await hub.store.migrate("t", [(1, "rows", "CREATE TABLE t__rows (x TEXT UNIQUE);")])

        def insert(tx: Tx) -> None:
            tx.publish("job.made")
            tx.publish("user.made", "tea")
            tx.execute("INSERT INTO t__rows (x) VALUES ('tea')")

        with Recording(hub.bus) as seen:
            await hub.store.write(insert, namespace="t", trace="t-1")
            assert seen.topics == ["user.made", "job.made"]
            assert (seen.events[0].source, seen.events[0].trace) == ("t", "t-1")
            results = await asyncio.gather(
                *(hub.store.write(insert, namespace="t") for _ in range(3)), return_exceptions=True
            )
            assert all(isinstance(result, Conflict) for result in results)
            assert seen.topics == ["user.made", "job.made"]
        assert [topic for _, topic, _ in hub.kept()] == ["user.made"]
        assert hub.log.stats().kept == 1


async def test_data_that_is_too_large_or_not_plain_is_refused_and_not_seen(tmp_path: Path) -> None:
    async with house(tmp_path / "hub.db", event_kb=1) as hub:
        with Recording(hub.bus, "user.#") as seen:
            with pytest.raises(TooLarge, match=r"more than 1024 \(\[events\] event_kb\)"):
                await hub.bus.publish("user.note", "x" * 2_000)
            with pytest.raises(TooLarge):
                await hub.store.write(lambda tx: tx.publish("user.note", "x" * 2_000), namespace="t")
            with pytest.raises(BadInput, match="plain data"):
                await hub.bus.publish("user.note", object())
            with pytest.raises(BadInput, match="a topic is"):
                await hub.bus.publish("user.*")
            assert seen.events == []
        assert hub.kept() == []
        await hub.bus.publish("job.note", "x" * 2_000)


async def test_an_emitted_event_is_seen_after_its_commit(tmp_path: Path) -> None:
    async with house(tmp_path / "hub.db") as hub:
        with Recording(hub.bus, "user.#") as seen:
            assert hub.bus.emit("user.note", 1).seq == 0
            assert (seen.events, hub.log.stats().waiting) == ([], 1)
            event = await seen.wait_for("user.note")
            assert hub.kept() == [(event.seq, "user.note", 1)]
            await asyncio.sleep(0)
            assert hub.log.stats().waiting == 0


async def test_an_emitted_event_that_cannot_be_kept_is_published_and_counted(tmp_path: Path) -> None:
    async with house(tmp_path / "hub.db", event_kb=1) as hub:
        with Recording(hub.bus, "user.#") as seen:
            hub.bus.emit("user.note", "x" * 2_000)
            await hub.store.close()
            hub.bus.emit("user.note", "late")
            assert len(seen.of("user.note")) == 2
            assert hub.log._unkept == 2
            with pytest.raises(ServiceUnavailable):
                await hub.bus.publish("user.note")
            assert len(seen.of("user.note")) == 2


async def test_a_commit_that_fails_publishes_nothing_and_the_numbers_go_on(tmp_path: Path) -> None:
    async with house(tmp_path / "hub.db") as hub:
        blocker = sqlite3.connect(tmp_path / "hub.db", isolation_level=None)
        await hub.bus.publish("user.before")
        blocker.execute("CREATE TRIGGER no BEFORE INSERT ON kernel__events BEGIN SELECT raise(ABORT, 'no'); END")
        with Recording(hub.bus) as seen:
            with pytest.raises(Conflict):
                await hub.bus.publish("user.note")
            assert seen.events == []
            blocker.execute("DROP TRIGGER no")
            event = await hub.bus.publish("user.note")
            after = hub.bus.emit("job.done")
            assert after.seq == event.seq + 1
        assert hub.bus._sequence._reserved == 0
        blocker.close()


async def test_a_bad_pattern_in_the_settings_is_refused_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\[events\] does not hold together: a topic pattern"):
        kernel_config(tmp_path, overrides={"events.durable": "user.#.x"})


# -- answered once


async def test_a_key_answers_the_same_request_with_the_first_event(tmp_path: Path) -> None:
    async with house(tmp_path / "hub.db", answers_per_owner=2) as hub:

        async def post(topic: str, data: Any, owner: str = "user:a", key: str = "k") -> Any:
            return await hub.log.publish_for(topic, data, "hub_api", "", owner=owner, key=key)

        with Recording(hub.bus) as seen:
            first = await post("user.note", {"a": 1, "b": 2})
            assert (first.durable, first.replayed) == (True, False)
            again = await post("user.note", {"b": 2, "a": 1})
            assert again == msgspec.structs.replace(first, replayed=True)
            with pytest.raises(Conflict, match="another body") as caught:
                await post("user.note", {"a": 2})
            assert caught.value.code == "IDEMPOTENCY_KEY_REUSED"
            other = await post("user.note", {"a": 1, "b": 2}, owner="user:b")
            assert (other.replayed, other.seq > first.seq) == (False, True)
            passing = await post("job.note", 1, key="k2")
            assert (passing.durable, passing.seq) == (False, seen.of("job.note")[0].seq)
            assert (await post("job.note", 1, key="k2")).replayed
            assert len(seen.events) == 3
            with pytest.raises(Overloaded, match="answers_per_owner"):
                await post("user.note", 1, key="k3")
            with pytest.raises(BadInput, match="1 to 255"):
                await post("user.note", 1, key="x" * 256)
            await hub.clock.advance(24 * 3_600 + 1)
            assert not (await post("user.note", 5)).replayed
        assert [topic for _, topic, _ in hub.kept()] == ["user.note"] * 3
    async with house(tmp_path / "hub.db", hub.clock) as later:
        assert (await later.log.publish_for("user.note", 5, "hub_api", "", owner="user:a", key="k")).replayed


# -- reading the past


async def test_the_past_comes_from_the_store_then_from_the_ring_each_once_and_in_order(tmp_path: Path) -> None:
    clock = TestClock()
    async with house(tmp_path / "hub.db", clock) as first:
        events = [await first.bus.publish(f"user.{n % 3}", n) for n in range(30)]
    async with house(tmp_path / "hub.db", clock, ring=10) as hub:
        for n in range(30, 50):
            events.append(await hub.bus.publish(f"user.{n % 3}", n))
            hub.bus.emit("job.step")
        replay = hub.bus.replay(events[4].seq, ["user.1", "user.2"], page=4)
        pages = await read(replay)
        assert flat(pages) == [event for event in events[5:] if event.topic != "user.0"]
        assert max(map(len, pages)) == 4
        assert not replay.gap
        mixed = hub.bus.replay(events[4].seq, ["#"], page=4)
        assert mixed.gap
        found = flat(await read(mixed))
        assert [event for event in found if event.topic != "job.step"] == events[5:]
        assert len([event for event in found if event.topic == "job.step"]) == 5


async def test_what_leaves_the_ring_while_a_slow_reader_has_a_page_is_read_from_the_store(tmp_path: Path) -> None:
    async with house(tmp_path / "hub.db", ring=5) as hub:
        start = hub.bus.position
        events = [await hub.bus.publish("user.note", n) for n in range(20)]
        replay, found = hub.bus.replay(start, ["user.#"], page=3), []
        while not replay.near:
            found += await replay.page()
            if len(events) < 60:
                events += [await hub.bus.publish("user.note", n) for n in range(7)]
        found += replay.rest()
        assert (found, replay.gap) == (events, False)


async def test_a_gap_that_opens_while_a_slow_reader_has_a_page_is_told(tmp_path: Path) -> None:
    async with house(tmp_path / "hub.db", ring=5) as hub:
        start = hub.bus.position
        for n in range(5):
            hub.bus.emit("job.step", n)
        replay = hub.bus.replay(start, ["job.*"], page=2)
        assert not replay.gap
        assert [event.data for event in await replay.page()] == [0, 1]
        for n in range(5, 10):
            hub.bus.emit("job.step", n)
        assert [event.data for event in flat(await read(replay))] == [5, 6, 7, 8, 9]
        assert replay.gap


async def test_a_gap_is_told_only_where_something_may_be_missing(tmp_path: Path) -> None:
    clock = TestClock()
    async with house(tmp_path / "hub.db", clock) as first:
        before = await first.bus.publish("note.made")
        await first.log.declare("notes", ["note.*"])
        note = await first.bus.publish("note.made")
        user = await first.bus.publish("user.note")
    async with house(tmp_path / "hub.db", clock) as hub:
        await hub.log.declare("notes", ["note.*"])

        def gap(since: int, *patterns: str) -> bool:
            return hub.bus.replay(since, patterns).gap

        assert not gap(user.seq, "user.#")
        assert not gap(0, "user.note")
        assert gap(user.seq, "#")
        assert gap(user.seq, "user.#", "job.*")
        assert not gap(hub.bus.position, "#")
        assert gap(hub.bus.position + 1, "user.#")
        # It is durable since the former process ended, and was not without a break before: nobody declared it for a
        # moment, at this very start.
        assert gap(before.seq - 1, "note.*")
        assert gap(note.seq, "note.*")


async def test_a_topic_stays_durable_without_a_break_over_a_restart(tmp_path: Path) -> None:
    clock = TestClock()
    async with house(tmp_path / "hub.db", clock) as first:
        await first.log.declare("notes", ["note.*"])
        note = await first.bus.publish("note.made")
    second = House(tmp_path / "hub.db", clock)
    await second.store.open()
    await second.log.open()
    assert second.log.keeps("note.made")  # before its plugin is loaded
    await second.log.declare("notes", ["note.*"])
    await second.log.opened()
    assert not second.bus.replay(note.seq, ["note.*"]).gap
    await second.log.declare("notes", [])
    assert not second.log.keeps("note.made")
    assert second.bus.replay(note.seq, ["note.*"]).gap
    await second.store.close()


async def test_what_was_committed_and_not_delivered_is_published_at_the_next_start(tmp_path: Path) -> None:
    clock = TestClock()
    async with house(tmp_path / "hub.db", clock) as first:
        seen = await first.bus.publish("user.seen")
    connection = sqlite3.connect(tmp_path / "hub.db")
    for n in range(300):
        row = (seen.seq + 1 + n, "user.left", 0.0, msgspec.msgpack.encode(n), "probe", "t")
        connection.execute("INSERT INTO kernel__events VALUES (?, ?, ?, ?, ?, ?)", row)
    connection.commit()
    connection.close()
    second = House(tmp_path / "hub.db", clock)
    await second.store.open()
    await second.log.open()
    with Recording(second.bus) as recording:
        await second.log.opened()
        assert [event.data for event in recording.events] == list(range(300))
        assert recording.events[0] == Event(seen.seq + 1, "user.left", 0.0, 0, "probe", "t")
    assert second.log.stats().again == second.bus.stats().published == 300
    await second.store.close()
    async with house(tmp_path / "hub.db", clock) as third:
        assert third.log.stats().again == 0


# -- retention


async def test_events_go_after_their_days_in_batches_and_who_resumes_before_is_told(tmp_path: Path) -> None:
    async with house(tmp_path / "hub.db", days=10, ring=2) as hub:
        total = 2 * BATCH + 10
        await asyncio.gather(*(hub.bus.publish("user.old", n) for n in range(total)))
        start = hub.kept()[0][0]
        await hub.clock.advance(5 * DAY_S)
        young = await hub.bus.publish("user.young")
        assert not hub.bus.replay(start, ["user.#"]).gap
        deletes = hub.store.stats().writes
        house_keeping = asyncio.create_task(hub.log.keep_house())
        await hub.clock.advance(5 * DAY_S + 1)
        async with asyncio.timeout(20):
            while hub.log.stats().kept > 1:
                await hub.clock.advance(60)  # its minutes pass while its reads and writes are in their threads
        house_keeping.cancel()
        assert hub.store.stats().writes - deletes >= 3
        assert [topic for _, topic, _ in hub.kept()] == ["user.young"]
        assert hub.bus.replay(start, ["user.#"]).gap
        assert not hub.bus.replay(young.seq - 1, ["user.#"]).gap
        stats = hub.log.stats()
        assert (stats.kept, stats.pruned, stats.oldest) == (1, total, young.seq)


async def test_no_more_events_are_kept_than_may_be(tmp_path: Path) -> None:
    async with house(tmp_path / "hub.db", kept=20) as hub:
        events = [await hub.bus.publish("user.note", n) for n in range(50)]
        assert await hub.log.prune() == 30
        assert [seq for seq, _, _ in hub.kept()] == [event.seq for event in events[30:]]
        assert await hub.log.prune() == 0
    async with house(tmp_path / "hub.db", kept=20) as later:
        assert (later.log.stats().kept, later.log.pruned) == (20, events[29].seq)


# -- patterns

WORDS = st.sampled_from(["a", "b", "ab", "c"])
TOPICS = st.lists(WORDS, min_size=1, max_size=4).map(".".join)
PATTERNS = st.one_of(
    st.just("#"),
    st.tuples(st.lists(st.one_of(WORDS, st.just("*")), min_size=1, max_size=3), st.booleans()).map(
        lambda made: ".".join([*made[0], "#"] if made[1] else made[0])
    ),
)


def instances(pattern: str) -> list[str]:
    """Topics that fit the pattern, with words that stand in no other: if these fit another pattern, all do."""
    words = ["zz" if word == "*" else word for word in pattern.split(".")]
    if words[-1] != "#":
        return [".".join(words)]
    return [".".join([*words[:-1], *["zz"] * count]) for count in range(5) if count or len(words) > 1]


@given(wide=PATTERNS, narrow=PATTERNS)
def test_a_pattern_covers_another_when_every_topic_of_it_fits(wide: str, narrow: str) -> None:
    assert all(map(matcher([narrow]), instances(narrow)))
    assert covers(wide, narrow) == all(map(matcher([wide]), instances(narrow)))


@given(patterns=st.lists(PATTERNS, min_size=1, max_size=3), topics=st.lists(TOPICS, max_size=20))
def test_the_condition_in_sql_lets_every_fitting_topic_through(patterns: list[str], topics: list[str]) -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (topic TEXT)")
    connection.executemany("INSERT INTO t VALUES (?)", [(topic,) for topic in topics])
    condition, parameters = in_sql(patterns, "topic")
    found = [row[0] for row in connection.execute(f"SELECT topic FROM t WHERE {condition}", parameters)]
    fits = matcher(patterns)
    assert set(filter(fits, topics)) <= set(found)
    if not any("*" in pattern for pattern in patterns):
        assert set(found) == set(filter(fits, topics))
    connection.close()


# -- processes that die


def run(home: Path, first: int, crashpoint: str = "") -> tuple[int, list[list[str]]]:
    environment = os.environ | {"AETHERRA_CRASHPOINT": crashpoint, "PYTHONPATH": os.getcwd()}
    command = [sys.executable, str(PROGRAM), str(home), str(first)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    return done.returncode, [line.split() for line in done.stdout.splitlines()]


def said(lines: list[list[str]], word: str) -> list[tuple[int, ...]]:
    return [tuple(map(int, line[1:])) for line in lines if line[0] == word]


@pytest.mark.timeout(200)
@pytest.mark.parametrize(
    "crashpoint",
    [
        "events.written:5",
        "store.after_commit:12",
        "events.before_delivery:1",
        "events.before_delivery:6",
        "events.after_delivery:4",
        "events.before_offset:1",
        "events.after_offset:1",
    ],
)
def test_a_kill_loses_nothing_committed_and_shows_nothing_uncommitted(tmp_path: Path, crashpoint: str) -> None:
    status, before = run(tmp_path, 0, crashpoint)
    assert status == 137
    connection = sqlite3.connect(tmp_path / "aetherra.db")
    kept = {n: seq for seq, n in connection.execute("SELECT seq, data FROM kernel__events ORDER BY seq")}
    kept = {msgspec.msgpack.decode(blob): seq for blob, seq in kept.items()}
    made = {n for (n,) in connection.execute("SELECT n FROM notes__made")}
    connection.close()
    # An event and the write it tells of are one; what was acknowledged is there, what was shown is too.
    assert made == {n for n in kept if n % 2}
    assert {n for (n,) in said(before, "made")} <= made
    assert all(kept[n] == seq for word in ("posted", "saw", "handled") for seq, n in said(before, word))

    status, after = run(tmp_path, 100)
    assert (status, after[-1]) == (0, ["over"])
    seen = {n: seq for lines in (before, after) for seq, n in said(lines, "saw")}
    assert {n: seq for n, seq in seen.items() if n < 100} == kept
    for lines in (before, after):
        numbers = [seq for seq, _ in said(lines, "handled")]
        assert numbers == sorted(set(numbers))
    handled = {n for lines in (before, after) for _, n in said(lines, "handled")}
    assert handled == set(kept) | set(range(100, 140))
    newer = [seq for seq, n in said(after, "saw") if n >= 100]
    assert min(newer) > max(kept.values(), default=0)
    if crashpoint.startswith("events.before_delivery"):
        told = {n for _, n in said(before, "saw")}
        assert set(kept) - told  # the point is where it says: committed, and shown to nobody yet
    if crashpoint.startswith("events.before_offset"):
        again = {n for _, n in said(before, "handled")} & {n for _, n in said(after, "handled")}
        assert again  # handled, and killed before its offset was kept: handled again
