"""Durable events: in the store before anybody sees them, kept for a while, and read again by whoever comes back.

Which topics are durable, plugins declare (`Plugin(..., durable=[...])`) and the operator adds to (`[events] durable`).
An event of such a topic gets its number and its row in the very transaction it belongs to, in the writer's thread, just
before the commit; after the commit the loop delivers it. So what is acknowledged is committed, and what was not
committed was never seen. What a crash left committed and perhaps not delivered is published again at the next start.

What is kept is bounded by age and by number; both cut the oldest, from the beginning and without holes.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import msgspec

from kernel.bus import Bus
from kernel.clock import Clock, iso
from kernel.crashpoints import crashpoint
from kernel.errors import AetherraError, BadInput, Conflict, Overloaded, TooLarge
from kernel.events import Event
from kernel.outbox import Draft
from kernel.patterns import check_topic, covers, in_sql, matcher
from kernel.settings import EventSettings
from kernel.store import Store
from kernel.transaction import Tx

TABLES = (
    """CREATE TABLE IF NOT EXISTS kernel__events (
        seq INTEGER PRIMARY KEY, topic TEXT NOT NULL, time REAL NOT NULL, data BLOB NOT NULL,
        source TEXT NOT NULL, trace TEXT NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS kernel__event_log (
        id INTEGER PRIMARY KEY CHECK (id = 1), delivered INTEGER NOT NULL, position INTEGER NOT NULL,
        pruned INTEGER NOT NULL, kept INTEGER NOT NULL)""",
    "INSERT OR IGNORE INTO kernel__event_log (id, delivered, position, pruned, kept) VALUES (1, 0, 0, 0, 0)",
    """CREATE TABLE IF NOT EXISTS kernel__event_topics (
        pattern TEXT NOT NULL PRIMARY KEY, since INTEGER NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS kernel__event_offsets (
        name TEXT NOT NULL PRIMARY KEY, seq INTEGER NOT NULL, at REAL NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS kernel__event_answers (
        owner TEXT NOT NULL, key TEXT NOT NULL, digest TEXT NOT NULL, seq INTEGER NOT NULL, at REAL NOT NULL,
        PRIMARY KEY (owner, key)) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS kernel__event_answers_at ON kernel__event_answers (at)",
)

OPERATOR = "the operator"
BATCH = 1_000
"""Rows that the pruner deletes in one write (promise P18)."""
LEAP = 2**28
"""How far numbers leap over a restart, since those of other topics are not written down; `KEEP_HOUSE_S` times the
fastest a bus can publish is less than half of it."""
KEEP_HOUSE_S = 60.0
KEY_CHARS = 255
DAY_S = 86_400.0

log = logging.getLogger("kernel.events")


class SubscriptionStats(msgspec.Struct, frozen=True):
    """A durable subscription, measured since its plugin was loaded: published = delivered + dropped + pending."""

    name: str
    pattern: str
    offset: int
    published: int
    delivered: int
    dropped: int
    pending: int
    retried: int


class Subscribed(Protocol):
    """A durable subscription, as the log has it."""

    name: str
    pattern: str

    def offer(self, events: Sequence[Event]) -> None:
        """Take note of events that are published now."""
        ...

    def lose(self, gone: Sequence[tuple[int, str]]) -> None:
        """Count those that are about to be pruned before they were read, told by number and topic."""
        ...

    def catch_up(self) -> None:
        """Move on past events that do not fit."""
        ...

    def stats(self) -> SubscriptionStats:
        """Return the figures at this instant."""
        ...


class EventLogStats(msgspec.Struct, frozen=True):
    """Measured: `kept`, `oldest` and `newest` are of the store, the others were counted since the start.

    `waiting` are events whose commit is under way; `unkept` those that were emitted from synchronous code and published
    without having been committed; `again` those of a former process that were published again.
    """

    topics: tuple[str, ...]
    kept: int
    oldest: int | None
    oldest_at: str | None
    age: float
    """Of the oldest, in seconds."""
    newest: int
    committed: int
    waiting: int
    unkept: int
    again: int
    pruned: int
    subscriptions: tuple[SubscriptionStats, ...]


class Published(msgspec.Struct, frozen=True):
    """An event that a caller asked for: number, topic, whether it is kept, and whether an earlier request had it."""

    seq: int
    topic: str
    durable: bool
    replayed: bool


class EventLog:
    """The durable topics of one kernel. Unless told otherwise, all of it belongs to the loop's thread."""

    tables = TABLES

    def __init__(self, store: Store, bus: Bus, clock: Clock, settings: EventSettings, retention_days: float) -> None:
        self._store = store
        self._bus = bus
        self._clock = clock
        self.settings = settings
        self._retention_s = retention_days * DAY_S
        self._largest = settings.event_kb * 1024
        self._declared: dict[str, tuple[str, ...]] = {OPERATOR: tuple(dict.fromkeys(settings.durable))}
        self._since: dict[str, int] = {}
        """From which number on the events of a durable pattern are kept without a break."""
        self._fits: Callable[[str], bool] = matcher(())
        self._subscriptions: dict[str, Subscribed] = {}
        self._state_written = (0, 0)
        self._left_behind = 0
        self._new_here = False
        """The store has never had an event: nothing can be missing from before."""
        self.newest = 0
        """The number of the newest durable event that was published, here or in a former process."""
        self.pruned = 0
        """Every event up to this number is gone from the store, or about to go."""
        self._delivered = 0
        self._kept = self._committed = self._waiting = self._unkept = self._again = self._pruned = 0

    # -- opening and closing

    async def open(self) -> None:
        """Read how far things were, and let the bus ask; the store is open, and nothing has been published yet."""
        state = self._store.one("kernel", "SELECT delivered, position, pruned, kept FROM kernel__event_log")
        assert state is not None
        last = self._store.one("kernel", "SELECT max(seq) AS seq FROM kernel__events")
        self.newest = (last["seq"] if last is not None else None) or 0
        self._delivered, self.pruned, self._kept = state["delivered"], state["pruned"], state["kept"]
        self._left_behind = self.newest
        known = max(state["position"], self.newest, self._delivered, self.pruned)
        self._new_here = not known
        self._bus.keep_in(self, after=known + LEAP if known else 0)
        self._state_written = (self._delivered, state["position"])
        rows = self._store.all("kernel", "SELECT pattern, since FROM kernel__event_topics")
        self._since = {row["pattern"]: row["since"] for row in rows}
        # Those of the former process hold until every plugin is loaded: a topic is durable before its plugin is there.
        self._declared["the former process"] = tuple(self._since)
        await self._declare(OPERATOR, self._declared[OPERATOR])
        self._new_here = False

    async def opened(self) -> None:
        """Publish again what a former process may have left undelivered. Every plugin is loaded by now."""
        self._declared.pop("the former process", None)
        await self._declare(OPERATOR, self._declared[OPERATOR])
        if self._delivered >= self._left_behind:
            return
        after, everything = self._delivered, matcher(("#",))
        while after < self._left_behind:
            events, after = await self.page(
                ("#",), everything, after=after, through=self._left_behind, most=self.settings.page
            )
            for event in events:
                self._again += 1
                await self._bus.again(event)
        self._delivered = max(self._delivered, self._left_behind)
        await self._write_state()

    async def close(self) -> None:
        """Write down how far things are; the store is closed next."""
        if self._state_written != (self._delivered, self._bus.position):
            await self._write_state()

    async def _write_state(self) -> None:
        state = (self._delivered, self._bus.position)

        def write(tx: Tx) -> None:
            tx.execute("UPDATE kernel__event_log SET delivered = max(delivered, ?), position = ?", state)

        try:
            await self._store.write(write, namespace="kernel")
            self._state_written = state
        except AetherraError as error:
            log.warning("how far events were delivered could not be written: %s", error.message)

    # -- which topics

    def keeps(self, topic: str) -> bool:
        """Tell whether the topic is durable; raise `BadInput` for a malformed one. From any thread."""
        check_topic(topic)
        return self._fits(topic)

    def covers(self, pattern: str) -> bool:
        """Tell whether every topic that fits the pattern is durable."""
        return any(covers(durable, pattern) for durable in self._since)

    def declared_by(self, owner: str) -> tuple[str, ...]:
        """Return the durable patterns that the owner, a plugin, declared last."""
        return self._declared.get(owner, ())

    def covers_without(self, owner: str, patterns: Sequence[str], pattern: str) -> bool:
        """Tell whether `pattern` would be durable if the owner declared `patterns` instead of what it does."""
        others = [p for name, given in self._declared.items() if name != owner for p in given]
        return any(covers(durable, pattern) for durable in (*others, *patterns))

    async def declare(self, owner: str, patterns: Sequence[str]) -> None:
        """Let these patterns of the owner be durable, instead of those that it declared before.

        They stay so while the owner is unloaded or broken: whoever subscribes durably must not miss what comes.
        """
        if self._declared.get(owner, ()) != tuple(patterns):
            await self._declare(owner, tuple(patterns))

    async def _declare(self, owner: str, patterns: tuple[str, ...]) -> None:
        self._declared[owner] = patterns
        wanted = {pattern for given in self._declared.values() for pattern in given}
        new = dict.fromkeys(wanted - self._since.keys(), 0 if self._new_here else self._bus.position)
        gone = self._since.keys() - wanted
        self._since |= new
        self._decide_by(self._since)
        if new or gone:
            # Forgotten in the store before it holds here: otherwise a later process would take the break for none.
            await self._store.write(partial(_write_topics, dict(new), set(gone)), namespace="kernel")
        if gone:
            for pattern in gone & self._since.keys():
                if not any(pattern in given for given in self._declared.values()):
                    del self._since[pattern]
            self._decide_by(self._since)

    def _decide_by(self, patterns: Iterable[str]) -> None:
        self._fits = matcher(patterns)
        self._bus.reconsider()

    def whole(self, patterns: Iterable[str], after: int) -> bool:
        """Tell whether every event that fits one of the patterns and came after that number is still kept."""
        if after < self.pruned:
            return False
        return all(
            any(since <= after and covers(durable, pattern) for durable, since in self._since.items())
            for pattern in patterns
        )

    # -- publishing

    def draft(self, topic: str, data: Any, source: str, trace: str) -> Draft:
        """Return the event as it will be kept; raise `TooLarge`, or `BadInput` for data that is not plain.

        From any thread.
        """
        return Draft(topic, data, self._encoded(topic, data), source, trace)

    def _encoded(self, topic: str, data: Any) -> bytes:
        try:
            blob = msgspec.msgpack.encode(data)
        except (TypeError, NotImplementedError, OverflowError, RecursionError) as error:
            raise BadInput(f"the data of an event is plain data; that of {topic} is not: {error}") from error
        if len(blob) > self._largest:
            raise TooLarge(
                f"the data of an event {topic} has {len(blob)} bytes, more than {self._largest} ([events] event_kb)",
                code="EVENT_TOO_LARGE",
                details={"topic": topic, "bytes": len(blob), "most": self._largest},
            )
        return blob

    async def publish(self, topic: str, data: Any, source: str, trace: str) -> Event:
        """Publish an event of a durable topic: commit it, then return it once every listener has run."""
        draft = self.draft(topic, data, source, trace)
        await self._commit(draft, lambda tx: tx.drafts.append(draft))
        assert draft.event is not None
        return draft.event

    async def _commit(self, draft: Draft, fn: Callable[[Tx], Any]) -> Any:
        draft.waited = True
        self._waiting += 1
        try:
            result = await self._store.write(fn, namespace="kernel")
        except BaseException:
            draft.waited = False
            if draft.delivery is not None:
                self._bus.abandon(draft.delivery)  # it was published, and only its publisher has left
            raise
        finally:
            self._waiting -= 1
        if draft.delivery is not None:
            await self._bus.finish(draft.delivery)
        return result

    def emit(self, topic: str, data: Any, source: str, trace: str) -> Event:
        """Queue an event of a durable topic for its commit, after which it is published; return it without a number.

        Nobody waits for the outcome. Where it cannot be committed, because the disk is full or the store closed, it is
        published without being kept, and counted as `unkept`: who looks on now should see it all the same.
        """
        try:
            draft = self.draft(topic, data, source, trace)
            future = self._store.submit(lambda tx: tx.drafts.append(draft), namespace="kernel")
        except AetherraError as error:
            return self._emit_unkept(topic, data, source, trace, error)
        self._waiting += 1
        future.add_done_callback(partial(self._emitted, draft))
        return Event(0, topic, self._clock.now(), data, source, trace)

    def _emitted(self, draft: Draft, future: asyncio.Future[Any]) -> None:
        self._waiting -= 1
        if not future.cancelled() and (error := future.exception()) is not None:
            self._emit_unkept(draft.topic, draft.data, draft.source, draft.trace, error)

    def _emit_unkept(self, topic: str, data: Any, source: str, trace: str, error: BaseException) -> Event:
        self._unkept += 1
        log.warning("an event %s of %s is published but not kept: %s", topic, source or "the hub", error)
        return self._bus.emit_unkept(topic, data, source, trace)

    async def publish_for(
        self, topic: str, data: Any, source: str, trace: str, *, owner: str, key: str | None
    ) -> Published:
        """Publish an event that `owner` asked for, whatever the topic; with a key only once. See `publish_once`."""
        if key is not None:
            return await self.publish_once(topic, data, source, trace, owner=owner, key=key)
        durable = self.keeps(topic)
        if not durable:
            self._encoded(topic, data)
        event = await self._bus.publish(topic, data, source, trace)
        return Published(event.seq, topic, durable, replayed=False)

    async def publish_once(self, topic: str, data: Any, source: str, trace: str, *, owner: str, key: str) -> Published:
        """Publish an event, unless `owner` did so with this key before: then return what that was answered with.

        Topic and data are what the request asks for; raises `Conflict` where they are others under the same key. The
        key is kept for `[events] answers_h`, in the transaction of the event. An event of another topic than a durable
        one is numbered there as well, so that its number is known, and is not kept.
        """
        if not 0 < len(key) <= KEY_CHARS:
            raise BadInput(f"Idempotency-Key: expected 1 to {KEY_CHARS} characters, got {len(key)}")
        durable, blob = self.keeps(topic), self._encoded(topic, data)
        draft = Draft(topic, data, blob if durable else None, source, trace)
        asked = msgspec.json.encode({"topic": topic, "data": data}, order="sorted")
        draft.answer = owner, key, hashlib.sha256(asked).hexdigest()
        before = await self._commit(draft, partial(self._answer, draft))
        if before is not None:
            return Published(before, topic, durable, replayed=True)
        assert draft.event is not None
        return Published(draft.event.seq, topic, durable, replayed=False)

    def _answer(self, draft: Draft, tx: Tx) -> int | None:
        """In the writer's thread: return the number that this key was answered with, or let the event be published."""
        assert draft.answer is not None
        owner, key, digest = draft.answer
        oldest = self._clock.now() - self.settings.answers_h * 3_600
        row = tx.one(
            "SELECT digest, seq FROM kernel__event_answers WHERE owner = ? AND key = ? AND at >= ?",
            (owner, key, oldest),
        )
        if row is not None:
            if row["digest"] != digest:
                raise Conflict(
                    "this Idempotency-Key came with another body before; use a new key for a new request",
                    code="IDEMPOTENCY_KEY_REUSED",
                    details={"key": key},
                )
            return int(row["seq"])
        most = self.settings.answers_per_owner
        full = "SELECT 1 FROM kernel__event_answers WHERE owner = ? LIMIT 1 OFFSET ?"
        if tx.one(full, (owner, most - 1)) is not None:
            tx.execute("DELETE FROM kernel__event_answers WHERE owner = ? AND at < ?", (owner, oldest))
            if tx.one(full, (owner, most - 1)) is not None:
                raise Overloaded(
                    f"{most} answers to requests with an Idempotency-Key are kept already, which is [events] "
                    "answers_per_owner; leave the key out, or try again when the oldest has expired",
                    retry_after_s=3_600,
                )
        tx.drafts.append(draft)
        return None

    # -- the writer's thread, and the loop after it

    def write(self, connection: sqlite3.Connection, drafts: Sequence[Draft]) -> None:
        """In the writer's thread, last before the commit: number the events of the group, and write their rows."""
        first = self._bus.reserve(len(drafts))
        try:
            self._write(connection, drafts, first)
        except BaseException:
            self._bus.release()
            raise
        crashpoint("events.written")

    def _write(self, connection: sqlite3.Connection, drafts: Sequence[Draft], first: int) -> None:
        now = self._clock.now()
        for seq, draft in enumerate(drafts, first):
            draft.event = Event(seq, draft.topic, now, draft.data, draft.source, draft.trace)
        rows = [
            (draft.event.seq, draft.topic, now, draft.blob, draft.source, draft.trace)
            for draft in drafts
            if draft.event is not None and draft.blob is not None
        ]
        connection.executemany(
            "INSERT INTO kernel__events (seq, topic, time, data, source, trace) VALUES (?, ?, ?, ?, ?, ?)", rows
        )
        connection.executemany(
            "INSERT OR REPLACE INTO kernel__event_answers (owner, key, digest, seq, at) VALUES (?, ?, ?, ?, ?)",
            [(*draft.answer, draft.event.seq, now) for draft in drafts if draft.answer and draft.event],
        )
        connection.execute(
            "UPDATE kernel__event_log SET delivered = max(delivered, ?), position = ?, kept = kept + ?",
            (self._delivered, first + len(drafts) - 1, len(rows)),
        )

    def undone(self) -> None:
        """In the writer's thread: the group was not committed after all."""
        self._bus.release()

    def deliver(self, drafts: Sequence[Draft]) -> None:
        """On the loop, after the commit: publish the events of the group."""
        crashpoint("events.before_delivery")
        events = [draft.event for draft in drafts if draft.event is not None]
        kept = [draft.event for draft in drafts if draft.blob is not None and draft.event is not None]
        self._kept += len(kept)
        self._committed += len(kept)
        if kept:
            self.newest = kept[-1].seq
            for subscription in self._subscriptions.values():
                subscription.offer(kept)
        deliveries = self._bus.deliver(events, [draft.waited for draft in drafts])
        for draft, delivery in zip(drafts, deliveries, strict=True):
            draft.delivery = delivery
        self._delivered = events[-1].seq
        crashpoint("events.after_delivery")

    # -- reading

    async def page(
        self, patterns: Sequence[str], fits: Callable[[str], bool], *, after: int, through: int, most: int
    ) -> tuple[list[Event], int]:
        """Return at most `most` kept events that fit, after one number and up to another, and how far they reach.

        Everything up to the number returned beside them has been read; it is `through` at the end.
        """
        condition, parameters = in_sql(patterns, "topic")
        columns = "seq, topic, time, data, source, trace"
        where = f"seq > ? AND seq <= ? AND {condition}"
        rows = await self._store.query(
            "kernel",
            f"SELECT {columns} FROM kernel__events WHERE {where} ORDER BY seq LIMIT ?",  # noqa: S608
            (max(after, self.pruned), through, *parameters, most),
            limit=most,
        )
        reached = through if len(rows) < most else rows[-1]["seq"]
        # What was pruned while it was read counts as gone.
        return [_event(row) for row in rows if fits(row["topic"]) and row["seq"] > self.pruned], reached

    async def count(self, pattern: str, fits: Callable[[str], bool], *, after: int, through: int) -> int:
        """Return how many kept events fit, after one number and up to another."""
        condition, parameters = in_sql((pattern,), "topic")
        rows = await self._store.query(
            "kernel",
            f"SELECT topic, count(*) AS n FROM kernel__events WHERE seq > ? AND seq <= ? AND {condition} "  # noqa: S608
            "GROUP BY topic",
            (max(after, self.pruned), through, *parameters),
        )
        return sum(row["n"] for row in rows if fits(row["topic"]))

    async def position_at(self, time: float) -> int:
        """Return the number after which events came at this wall time and later."""
        newest = self._bus.newest_before(time)
        if newest is not None:
            return newest
        older = await self._store.query(
            "kernel", "SELECT seq FROM kernel__events WHERE time < ? ORDER BY seq DESC LIMIT 1", (time,)
        )
        first = self._store.one(
            "kernel",
            "SELECT seq FROM kernel__events WHERE seq > ? ORDER BY seq LIMIT 1",
            (older[0]["seq"] if older else 0,),
        )
        # Below where the ring begins: others than durable events may be missing between that time and its beginning.
        reach = self._bus.reach
        return max(0, min(first["seq"] if first is not None else reach, reach) - 1)

    # -- durable subscriptions

    def attach(self, subscription: Subscribed) -> None:
        """Offer it every durable event from now on."""
        self._subscriptions[subscription.name] = subscription

    def detach(self, subscription: Subscribed) -> None:
        """Offer it nothing more."""
        if self._subscriptions.get(subscription.name) is subscription:
            del self._subscriptions[subscription.name]

    def subscribed(self) -> Iterator[tuple[str, str]]:
        """Yield name and pattern of every durable subscription that is open."""
        for subscription in self._subscriptions.values():
            yield subscription.name, subscription.pattern

    async def offset(self, name: str, start: int) -> int:
        """Return the offset of the subscription of this name; one that is new begins at `start`."""

        def find(tx: Tx) -> int:
            tx.execute(
                "INSERT INTO kernel__event_offsets (name, seq, at) VALUES (?, ?, ?) "
                "ON CONFLICT (name) DO UPDATE SET at = excluded.at",
                (name, start, self._clock.now()),
            )
            row = tx.one("SELECT seq FROM kernel__event_offsets WHERE name = ?", (name,))
            assert row is not None
            return int(row["seq"])

        return await self._store.write(find, namespace="kernel")

    async def commit_offset(self, name: str, seq: int) -> None:
        """Keep how far the subscription has come."""

        def keep(tx: Tx) -> None:
            tx.execute(
                "INSERT INTO kernel__event_offsets (name, seq, at) VALUES (?, ?, ?) "
                "ON CONFLICT (name) DO UPDATE SET seq = max(seq, excluded.seq), at = excluded.at",
                (name, seq, self._clock.now()),
            )

        await self._store.write(keep, namespace="kernel")

    # -- keeping house

    async def keep_house(self) -> None:
        """Every minute: forget what is too old or too much, in batches, and write down how far things are."""
        while True:
            await self._clock.sleep(KEEP_HOUSE_S)
            try:
                await self.prune()
                for subscription in list(self._subscriptions.values()):
                    subscription.catch_up()
                delivered, position = self._state_written
                if self._delivered != delivered or self._bus.position > position + LEAP // 4:
                    await self._write_state()
            except AetherraError as error:
                log.warning("old events could not be pruned, the next attempt is in a minute: %s", error.message)

    async def prune(self) -> int:
        """Delete events beyond `[store] retention_days` and `[events] kept`, and old keys; return how many events."""
        pruned = 0
        while count := await self._prune_events():
            pruned += count
        oldest = self._clock.now() - self.settings.answers_h * 3_600
        while await self._delete_answers(oldest):
            pass
        await self._delete_offsets(self._clock.now() - self._retention_s)
        return pruned

    async def _prune_events(self) -> int:
        oldest, excess = self._clock.now() - self._retention_s, self._kept - self.settings.kept
        first = self._store.one("kernel", "SELECT time FROM kernel__events ORDER BY seq LIMIT 1")
        if first is None or (excess <= 0 and first["time"] >= oldest):
            return 0
        rows = await self._store.query(
            "kernel", "SELECT seq, topic, time FROM kernel__events ORDER BY seq LIMIT ?", (BATCH,), limit=BATCH
        )
        count = 0
        while count < len(rows) and (count < excess or rows[count]["time"] < oldest):
            count += 1
        if not count:
            return 0
        gone = rows[:count]
        # Told before they go, in one step of the loop: whoever reads meanwhile neither counts one twice nor misses one.
        self.pruned = max(self.pruned, gone[-1]["seq"])
        for subscription in self._subscriptions.values():
            subscription.lose([(row["seq"], row["topic"]) for row in gone])
        through = gone[-1]["seq"]

        def delete(tx: Tx) -> int:
            deleted = tx.execute("DELETE FROM kernel__events WHERE seq <= ?", (through,)).rowcount
            tx.execute("UPDATE kernel__event_log SET pruned = max(pruned, ?), kept = kept - ?", (through, deleted))
            crashpoint("events.mid_prune")
            return deleted

        deleted = await self._store.write(delete, namespace="kernel")
        self._kept -= deleted
        self._pruned += deleted
        return deleted

    async def _delete_answers(self, oldest: float) -> int:
        def delete(tx: Tx) -> int:
            return tx.execute(
                "DELETE FROM kernel__event_answers WHERE (owner, key) IN "
                "(SELECT owner, key FROM kernel__event_answers WHERE at < ? LIMIT ?)",
                (oldest, BATCH),
            ).rowcount

        if self._store.one("kernel", "SELECT 1 FROM kernel__event_answers WHERE at < ? LIMIT 1", (oldest,)) is None:
            return 0
        return await self._store.write(delete, namespace="kernel")

    async def _delete_offsets(self, oldest: float) -> None:
        """Forget the offsets of subscriptions that nobody has had for so long that all they missed is gone."""
        rows = await self._store.query("kernel", "SELECT name FROM kernel__event_offsets WHERE at < ?", (oldest,))
        names = [(row["name"],) for row in rows if row["name"] not in self._subscriptions]
        if names:

            def delete(tx: Tx) -> None:
                tx.executemany("DELETE FROM kernel__event_offsets WHERE name = ?", names)

            await self._store.write(delete, namespace="kernel")

    def stats(self) -> EventLogStats:
        """Return the figures at this instant."""
        oldest = self._store.one("kernel", "SELECT seq, time FROM kernel__events ORDER BY seq LIMIT 1")
        return EventLogStats(
            topics=tuple(sorted(self._since)),
            kept=self._kept,
            oldest=oldest["seq"] if oldest is not None else None,
            oldest_at=iso(oldest["time"]) if oldest is not None else None,
            age=max(0.0, self._clock.now() - oldest["time"]) if oldest is not None else 0.0,
            newest=self.newest,
            committed=self._committed,
            waiting=self._waiting,
            unkept=self._unkept,
            again=self._again,
            pruned=self._pruned,
            subscriptions=tuple(subscription.stats() for subscription in self._subscriptions.values()),
        )


def _event(row: sqlite3.Row) -> Event:
    data = msgspec.msgpack.decode(row["data"])
    return Event(row["seq"], row["topic"], row["time"], data, row["source"], row["trace"])


def _write_topics(new: Mapping[str, int], gone: set[str], tx: Tx) -> None:
    tx.executemany("DELETE FROM kernel__event_topics WHERE pattern = ?", [(pattern,) for pattern in gone])
    tx.executemany("INSERT OR REPLACE INTO kernel__event_topics (pattern, since) VALUES (?, ?)", list(new.items()))
