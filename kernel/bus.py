"""Publish and subscribe on dotted topics, in one process, on one event loop.

What a topic reaches is resolved once and remembered. Two ways to receive: a *listener* is called inside the publish, a
*subscription* is a bounded queue with one reader. A receiver that fails harms neither the publisher nor its neighbours.

At any instant, for each subscription: published = delivered + dropped + pending (promise P15).

A topic may be durable (`kernel/event_log.py`): its events are committed before anybody sees them. The bus asks the log
only about topics that it does not remember as others, so that publishing those costs what it did.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, Literal, Protocol

import msgspec

from kernel.clock import Clock
from kernel.errors import BadInput, Conflict
from kernel.events import PLUGIN_ERROR, Event
from kernel.patterns import check_pattern, check_topic, matcher
from kernel.redaction import redactions
from kernel.replay import Kept, Replay
from kernel.sequence import Sequence as Numbers

WhenFull = Literal["drop_oldest", "drop_new", "block"]
Handler = Callable[[Event], Any]
OnError = Callable[[str, str, BaseException], None]
"""Called with the listener's name, the topic and what was raised."""


class BusStats(msgspec.Struct, frozen=True):
    """Measured since the bus was made. `published` counts events; the four others count their way to receivers.

    `topics` is how many different topics were seen, and stops counting at the bound of the memo.
    """

    topics: int
    subscribers: int
    published: int
    delivered: int
    dropped: int
    pending: int
    errors: int


class Log(Kept, Protocol):
    """What the bus asks of the log of durable events."""

    def keeps(self, topic: str) -> bool: ...
    async def publish(self, topic: str, data: Any, source: str, trace: str) -> Event: ...
    def emit(self, topic: str, data: Any, source: str, trace: str) -> Event: ...


class _Listener:
    """A handler called inside the publish. `call` becomes a no-op when it is undone, also for a publish under way."""

    __slots__ = ("awaited", "call", "name")

    def __init__(self, name: str, handler: Handler) -> None:
        self.name = name
        self.call = handler
        called = getattr(handler, "__call__", None)  # noqa: B004 - an object whose __call__ is async is async
        self.awaited = inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(called)

    def silence(self) -> None:
        self.call = _ignored_async if self.awaited else _ignored


def _ignored(event: Event) -> None:
    return None


async def _ignored_async(event: Event) -> None:
    return None


class Subscription:
    """A bounded queue of events that outlives its reader: `async for event in sub`, or `batch()` for all there is.

    One reader at a time; it may go and another come, and nothing is lost in between but by the declared policy.
    """

    def __init__(self, bus: Bus, patterns: tuple[str, ...], name: str, limit: int, when_full: WhenFull) -> None:
        self.name = name
        self.patterns = patterns
        self.limit = limit
        self.when_full = when_full
        self.delivered = 0
        """Events a reader has taken."""
        self.dropped = 0
        """Events lost here: the queue was full, or it was closed over them."""
        self.closed = False
        self._bus = bus
        self._queue: deque[Event] = deque()
        self._room = limit
        self._parked: asyncio.Future[None] | None = None
        self._waiting: deque[tuple[asyncio.Future[None], Event]] = deque()

    @property
    def pending(self) -> int:
        """Events that wait here, with those whose publisher waits for room."""
        return len(self._queue) + len(self._waiting)

    @property
    def published(self) -> int:
        """Events that matched since it was opened."""
        return self.delivered + self.dropped + self.pending

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Event:
        while not self._queue:
            if self.closed:
                raise StopAsyncIteration
            await self._park()
        event = self._queue.popleft()
        self.delivered += 1
        if self._waiting:
            self._admit()
        return event

    async def batch(self) -> list[Event]:
        """Return every event that is there, waiting for the first; an empty list means closed."""
        while not self._queue:
            if self.closed:
                return []
            await self._park()
        queue = self._queue
        events = list(queue)
        queue.clear()
        self.delivered += len(events)
        if self._waiting:
            self._admit()
        return events

    def close(self) -> None:
        """End it: the reader's loop ends, waiting publishers go on, what was pending counts as dropped."""
        if self.closed:
            return
        self._bus._forget(self)
        self.closed = True
        self._room = -1
        self.dropped += self.pending
        self._queue.clear()
        for room, _ in self._waiting:
            if not room.done():
                room.set_result(None)
        self._waiting.clear()
        self._wake()

    def _offer(self, event: Event) -> bool:
        """Queue the event by policy; False means that the publisher must wait for room (policy block)."""
        if len(self._queue) < self._room:
            self._queue.append(event)
            self._wake()
            return True
        return self._full(event)

    def _full(self, event: Event) -> bool:
        if self.closed:
            return True  # unsubscribed by a neighbour during this very publish: no longer counted here
        if self.when_full == "block":
            return False
        self.dropped += 1
        if self.when_full == "drop_oldest":
            self._queue.popleft()
            self._queue.append(event)
        return True

    def _wait_for_room(self, event: Event) -> asyncio.Future[None]:
        """Line up behind the publishers that already wait, so that events keep their order."""
        room = asyncio.get_running_loop().create_future()
        self._waiting.append((room, event))
        return room

    def _give_up(self, room: asyncio.Future[None]) -> None:
        """Drop the event of a publisher that was cancelled while it waited."""
        for index, (waiting, _) in enumerate(self._waiting):
            if waiting is room:
                del self._waiting[index]
                self.dropped += 1
                return

    def _admit(self) -> None:
        while self._waiting and len(self._queue) < self.limit:
            room, event = self._waiting.popleft()
            self._queue.append(event)
            if not room.done():
                room.set_result(None)

    async def _park(self) -> None:
        if self._parked is not None and not self._parked.done():
            raise Conflict(f"subscription {self.name!r} has a reader already; it serves one at a time")
        self._parked = asyncio.get_running_loop().create_future()
        await self._parked

    def _wake(self) -> None:
        parked, self._parked = self._parked, None
        if parked is not None and not parked.done():
            parked.set_result(None)


class _Node:
    """One word of the patterns' tree; `ends` are those that end here, `rests` those that go on with `#`."""

    __slots__ = ("children", "ends", "rests")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.ends: list[_Listener | Subscription] = []
        self.rests: list[_Listener | Subscription] = []

    def add(self, words: Sequence[str], receiver: _Listener | Subscription) -> None:
        if not words:
            self.ends.append(receiver)
        elif words[0] == "#":
            self.rests.append(receiver)
        else:
            self.children.setdefault(words[0], _Node()).add(words[1:], receiver)

    def remove(self, words: Sequence[str], receiver: _Listener | Subscription) -> bool:
        """Take the receiver out; True when nothing is left below, so that the branch can go."""
        if not words:
            self.ends.remove(receiver)
        elif words[0] == "#":
            self.rests.remove(receiver)
        elif self.children[words[0]].remove(words[1:], receiver):
            del self.children[words[0]]
        return not (self.children or self.ends or self.rests)

    def find(self, words: Sequence[str], found: list[_Listener | Subscription]) -> None:
        found += self.rests
        if not words:
            found += self.ends
            return
        for key in (words[0], "*"):
            child = self.children.get(key)
            if child is not None:
                child.find(words[1:], found)


_Route = tuple[tuple[Subscription, ...], tuple[_Listener, ...], tuple[_Listener, ...]]


class Delivery:
    """A durable event that is published, and what is left to wait for: async listeners, and room in full queues."""

    __slots__ = ("awaited", "called", "event", "open", "waits")

    def __init__(
        self,
        event: Event,
        called: tuple[_Listener, ...],
        awaited: tuple[_Listener, ...],
        waits: list[tuple[Subscription, asyncio.Future[None]]],
    ) -> None:
        self.event = event
        self.called = called
        self.awaited = awaited
        self.waits = waits
        self.open = True


class Bus:
    """The one way facts travel. All of it belongs to the loop's thread.

    `ring` is how many past events `since` can still tell, `memo` how many topics keep their resolved receivers and
    `tasks` how many emitted events may be with their async listeners at once; beyond it they count as dropped.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        ring: int = 10_000,
        memo: int = 4_096,
        tasks: int = 1_024,
        on_error: OnError | None = None,
    ) -> None:
        self._now = clock.now
        # A client resumes with the last number it saw, also over a restart. Starting from the wall clock, a thousand
        # numbers to the millisecond, keeps numbers increasing without a write per event, and exact in a JSON double.
        self._whole_from = int(clock.now() * 1000) * 1000
        self._sequence = Numbers(self._whole_from)
        self._free = self._sequence.free
        # One more than is told: the number of the newest that is not told any more says how far back the ring reaches.
        self._ring: deque[Event] = deque(maxlen=ring + 1)
        self._border = ring + 1
        self._log: Log | None = None
        self._durable_routes: dict[str, _Route] = {}
        self._memo: dict[str, _Route] = {}
        self._memo_limit = memo
        self._topics: set[str] = set()
        self._tree = _Node()
        self._listeners: dict[_Listener, str] = {}
        self._subscriptions: dict[Subscription, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._task_limit = tasks
        self._on_error = on_error or _log_error
        self._again = 0
        self._delivered = 0
        self._dropped = 0
        self._errors = 0

    # -- publishing. Written for CPython 3.11: a stored function is called through a local name, an empty tuple is
    # tested before it is looped over, and no parameter is keyword-only (each costs a look-up in every call).

    async def publish(self, topic: str, data: Any = None, source: str = "", trace: str = "") -> Event:
        """Publish and return the event, when every listener has run and every `block` subscription has taken it.

        On a durable topic the event is committed first; what the store or its bounds refuse is raised, and then nobody
        sees it. Raises `BadInput` for a malformed topic; what a receiver raises stays with it.
        """
        try:
            queues, called, awaited = self._memo[topic]
        except KeyError:
            if self._log is not None and self._log.keeps(topic):
                return await self._log.publish(topic, data, source, trace)
            queues, called, awaited = self._resolve(topic)
        now = self._now
        try:
            seq = next(self._free)
        except StopIteration:
            seq = self._more()
        event = Event(seq, topic, now(), data, source, trace)
        self._ring.append(event)
        # Queues first, before anything can suspend: so each of them holds its events in the order of their numbers.
        if queues:
            for queue in queues:
                waiting = queue._queue
                if len(waiting) < queue._room:  # what _offer does, without the call
                    waiting.append(event)
                    if queue._parked is not None:
                        queue._wake()
                elif not queue._full(event):
                    await self._publish_when_room(event, queues, called, awaited, queue)
                    return event
        if called:
            self._call(event, called)
        for listener in awaited:
            call = listener.call
            try:
                await call(event)
            except Exception as error:
                self._failed(listener, event, error)
            except asyncio.CancelledError as error:
                self._cancelled(listener, event, error, awaited)
        self._delivered += len(awaited)
        return event

    def emit(self, topic: str, data: Any = None, source: str = "", trace: str = "") -> Event:
        """Publish from synchronous code and return the event at once.

        Plain listeners have run then; async ones run in a task of the bus. Nobody can wait here, so a full `block`
        subscription drops the event and counts it. On a durable topic the event waits for its commit instead: what is
        returned has no number yet, and nobody has seen it. Where it cannot be committed it is published all the same,
        not kept, and counted (`EventLog.emit`).
        """
        try:
            queues, called, awaited = self._memo[topic]
        except KeyError:
            if self._log is not None and self._log.keeps(topic):
                return self._log.emit(topic, data, source, trace)
            queues, called, awaited = self._resolve(topic)
        now = self._now
        try:
            seq = next(self._free)
        except StopIteration:
            seq = self._more()
        event = Event(seq, topic, now(), data, source, trace)
        self._ring.append(event)
        if queues:
            for queue in queues:
                waiting = queue._queue
                if len(waiting) < queue._room:
                    waiting.append(event)
                    if queue._parked is not None:
                        queue._wake()
                elif not queue._full(event):
                    queue.dropped += 1
        for listener in called:
            call = listener.call
            try:
                if (result := call(event)) is not None:
                    self._returned(listener, event, result)
            except Exception as error:
                self._failed(listener, event, error)
        self._delivered += len(called)
        if awaited:
            self._hand_over(event, awaited)
        return event

    def _call(self, event: Event, called: tuple[_Listener, ...]) -> None:
        for listener in called:
            call = listener.call
            try:
                if (result := call(event)) is not None:
                    self._returned(listener, event, result)
            except Exception as error:
                self._failed(listener, event, error)
        self._delivered += len(called)

    async def _await(self, event: Event, awaited: tuple[_Listener, ...]) -> None:
        for listener in awaited:
            call = listener.call
            try:
                await call(event)
            except Exception as error:
                self._failed(listener, event, error)
            except asyncio.CancelledError as error:
                self._cancelled(listener, event, error, awaited)
        self._delivered += len(awaited)

    async def _publish_when_room(
        self,
        event: Event,
        queues: tuple[Subscription, ...],
        called: tuple[_Listener, ...],
        awaited: tuple[_Listener, ...],
        first: Subscription,
    ) -> None:
        """The rest of a publish from `first` on, which is full: line up there, go on with the others, then wait."""
        waits = [(first, first._wait_for_room(event))]
        rest = queues[queues.index(first) + 1 :]
        waits += [(queue, queue._wait_for_room(event)) for queue in rest if not queue._offer(event)]
        try:
            self._call(event, called)
            await self._await(event, awaited)
            for _, room in waits:
                await room
        except BaseException:
            for queue, room in waits:
                queue._give_up(room)
            raise

    def _hand_over(self, event: Event, awaited: tuple[_Listener, ...]) -> None:
        if len(self._tasks) >= self._task_limit:
            self._dropped += len(awaited)
            return
        task = asyncio.get_running_loop().create_task(self._await(event, awaited), name=f"bus {event.topic}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _returned(self, listener: _Listener, event: Event, result: Any) -> None:
        if inspect.iscoroutine(result):
            result.close()
            error = TypeError(f"listener {listener.name!r} returned a coroutine: declare it with async def")
            self._failed(listener, event, error)

    def _cancelled(
        self, listener: _Listener, event: Event, error: asyncio.CancelledError, awaited: tuple[_Listener, ...]
    ) -> None:
        """Let a cancellation of the publisher through; one that a handler made up itself is just its error."""
        task = asyncio.current_task()
        if task is None or task.cancelling():
            reached = awaited.index(listener) + 1
            self._delivered += reached
            self._dropped += len(awaited) - reached
            raise error
        self._failed(listener, event, error)

    def _failed(self, listener: _Listener, event: Event, error: BaseException) -> None:
        self._errors += 1
        try:
            self._on_error(listener.name, event.topic, error)
        except Exception as broken:
            _log_error("the bus's on_error callback", event.topic, broken)
        if event.topic == PLUGIN_ERROR:
            return  # else one broken listener of plugin.error would feed itself for ever
        self.emit(
            PLUGIN_ERROR,
            {
                "where": "listener",
                "name": listener.name,
                "topic": event.topic,
                "seq": event.seq,
                "type": type(error).__name__,
                "error": redactions.text(str(error)),
            },
            source=event.source,
            trace=event.trace,
        )

    # -- receiving

    def listen(self, pattern: str, handler: Handler, *, name: str) -> Callable[[], None]:
        """Call `handler` inside every publish that fits `pattern`; return the call that undoes it.

        Whether it is async is found out here, once. A slow async handler makes the publisher wait: what takes its time
        subscribes instead. Raises `BadInput` for a malformed pattern.
        """
        check_pattern(pattern)
        listener = _Listener(name, handler)
        self._listeners[listener] = pattern
        self._tree.add(pattern.split("."), listener)
        self._forget_routes()

        def undo() -> None:
            if self._listeners.pop(listener, None) is not None:
                self._tree.remove(pattern.split("."), listener)
                self._forget_routes()
                listener.silence()

        return undo

    def subscribe(
        self,
        pattern_or_patterns: str | Iterable[str],
        *,
        name: str,
        limit: int = 512,
        when_full: WhenFull = "drop_oldest",
    ) -> Subscription:
        """Return a queue of at most `limit` events that fit any of the patterns, each event once.

        When it is full: `drop_oldest` makes room, `drop_new` refuses, `block` makes the publisher wait. Raises
        `BadInput` for a malformed pattern, limit or policy.
        """
        given = (pattern_or_patterns,) if isinstance(pattern_or_patterns, str) else pattern_or_patterns
        patterns = tuple(dict.fromkeys(given))
        if not patterns:
            raise BadInput(f"subscription {name!r} names no topic pattern; # stands for every topic")
        for pattern in patterns:
            check_pattern(pattern)
        if limit < 1:
            raise BadInput(f"the limit of subscription {name!r} is at least 1 event, got {limit}")
        if when_full not in ("drop_oldest", "drop_new", "block"):
            raise BadInput(f"when_full is drop_oldest, drop_new or block, got {when_full!r}")
        subscription = Subscription(self, patterns, name, limit, when_full)
        self._subscriptions[subscription] = None
        for pattern in patterns:
            self._tree.add(pattern.split("."), subscription)
        self._forget_routes()
        return subscription

    def since(self, seq: int, patterns: str | Iterable[str] = "#") -> tuple[list[Event], bool]:
        """Return the remembered events after number `seq` that fit any pattern, and whether some may be missing.

        Some may be missing when the ring no longer reaches back to `seq`, or `seq` is not a number of this process.
        `replay` reads those as well that the store still has.
        """
        fits = matcher((patterns,) if isinstance(patterns, str) else patterns)
        if seq > self.position:
            return [], True
        found = [event for event in islice(self._ring, self._place(seq), None) if fits(event.topic)]
        return found, not self.reaches(seq)

    def replay(self, seq: int, patterns: Iterable[str], *, page: int = 128) -> Replay:
        """Return how to read what came after number `seq` and fits any pattern: from the store, then from the ring."""
        return Replay(self, self._log, seq, tuple(patterns), page)

    def reaches(self, seq: int) -> bool:
        """Tell whether the ring holds every event after number `seq`."""
        return self.reach <= seq <= self.position and not self._sequence.crowded(seq)

    @property
    def reach(self) -> int:
        """The number after which the ring holds every event."""
        ring = self._ring
        return max(self._whole_from, ring[0].seq) if len(ring) == self._border else self._whole_from

    def after(self, seq: int, fits: Callable[[str], bool], most: int) -> tuple[list[Event], int, int]:
        """Return at most `most` fitting events of the ring after number `seq`, the number up to which that is all of
        them, and how many events the ring holds beyond it."""
        place, ring = self._place(seq), self._ring
        found: list[Event] = []
        for event in islice(ring, place, None):
            place += 1
            if fits(event.topic):
                found.append(event)
                if len(found) == most:
                    return found, event.seq, len(ring) - place
        return found, max(seq, self.position), 0

    def newest_before(self, time: float) -> int | None:
        """Return the number of the newest remembered event that came before this wall time, or None."""
        return next((event.seq for event in reversed(self._ring) if event.time < time), None)

    def _place(self, seq: int) -> int:
        ring = self._ring
        start = 1 if len(ring) == self._border else 0
        if not ring or seq >= ring[-1].seq:
            return len(ring)
        return bisect_right(ring, seq, lo=start, key=_number)

    # -- durable topics

    def keep_in(self, log: Log, *, after: int = 0) -> None:
        """Ask `log` about topics from now on, and give out only numbers above `after`."""
        self._log = log
        if after > self.position:
            self._sequence.skip_to(after)
            self._free = self._sequence.free
            self._whole_from = after
        self._forget_routes()

    def reconsider(self) -> None:
        """Ask the log anew about every topic: other ones are durable now."""
        self._forget_routes()

    def reserve(self, count: int) -> int:
        """Return the first of `count` numbers for durable events that are about to be committed; from any thread."""
        return self._sequence.reserve(count)

    def release(self) -> None:
        """Give reserved numbers up: the commit failed; from any thread."""
        self._sequence.release()

    def deliver(self, events: Sequence[Event], waited: Sequence[bool]) -> list[Delivery]:
        """Publish committed events, numbered by one `reserve` without a hole; return what is left to do for each.

        `waited` says for which of them somebody will `finish` it or `abandon` it. All are queued before the first
        listener is called, since a listener may publish, and queues and ring hold events in the order of their numbers.
        """
        self._sequence.publish(events[0].seq, len(events))
        self._free = self._sequence.free
        deliveries = []
        for event, waits in zip(events, waited, strict=True):
            self._ring.append(event)
            deliveries.append(self._queue(event, waits))
        for delivery in deliveries:
            self._call(delivery.event, delivery.called)
        for delivery, waits in zip(deliveries, waited, strict=True):
            if not waits:
                self.abandon(delivery)
        return deliveries

    async def finish(self, delivery: Delivery) -> None:
        """Return when every async listener has run and every `block` subscription has taken the event."""
        if not delivery.open:
            return
        delivery.open = False
        try:
            await self._await(delivery.event, delivery.awaited)
            for _, room in delivery.waits:
                await room
        except BaseException:
            for queue, room in delivery.waits:
                queue._give_up(room)
            raise

    def abandon(self, delivery: Delivery) -> None:
        """Let async listeners run in a task, as for an emitted event, and wait for no room: nobody waits any more."""
        if not delivery.open:
            return
        delivery.open = False
        for queue, room in delivery.waits:
            queue._give_up(room)
        if delivery.awaited:
            self._hand_over(delivery.event, delivery.awaited)

    async def again(self, event: Event) -> None:
        """Publish an event of a former process under its old number, to all but the ring: streams read it elsewhere."""
        self._again += 1
        delivery = self._queue(event, waits=True)
        self._call(event, delivery.called)
        await self.finish(delivery)

    def emit_unkept(self, topic: str, data: Any, source: str, trace: str) -> Event:
        """Emit an event of a durable topic that could not be committed, as on any other topic."""
        try:
            seq = next(self._free)
        except StopIteration:
            seq = self._more()
        event = Event(seq, topic, self._now(), data, source, trace)
        self._ring.append(event)
        delivery = self._queue(event, waits=False)
        self._call(event, delivery.called)
        self.abandon(delivery)
        return event

    def _queue(self, event: Event, waits: bool) -> Delivery:
        route = self._durable_routes.get(event.topic)
        if route is None:
            route = self._remember(self._durable_routes, event.topic)
        queues, called, awaited = route
        full = [queue for queue in queues if not queue._offer(event)]
        if not waits:
            for queue in full:
                queue.dropped += 1
            full = []
        return Delivery(event, called, awaited, [(queue, queue._wait_for_room(event)) for queue in full])

    # -- the rest

    @property
    def position(self) -> int:
        """The number of the newest event: where a stream that begins now would resume."""
        ring = self._ring
        return max(ring[-1].seq, self._whole_from) if ring else self._whole_from

    def stats(self) -> BusStats:
        """Return what was counted since the bus was made."""
        queues = self._subscriptions
        return BusStats(
            topics=len(self._topics),
            subscribers=len(self._listeners) + len(queues),
            published=self._sequence.given + self._again,
            delivered=self._delivered + sum(queue.delivered for queue in queues),
            dropped=self._dropped + sum(queue.dropped for queue in queues),
            pending=sum(queue.pending for queue in queues),
            errors=self._errors,
        )

    def subscriptions(self) -> list[Subscription]:
        """Return the open subscriptions, oldest first."""
        return list(self._subscriptions)

    async def close(self) -> None:
        """Close every subscription and end the tasks that emitted events still have under way."""
        for subscription in list(self._subscriptions):
            subscription.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _forget(self, subscription: Subscription) -> None:
        del self._subscriptions[subscription]
        for pattern in subscription.patterns:
            self._tree.remove(pattern.split("."), subscription)
        self._forget_routes()
        self._delivered += subscription.delivered
        self._dropped += subscription.dropped + subscription.pending

    def _more(self) -> int:
        seq = self._sequence.more(self.position)
        self._free = self._sequence.free
        return seq

    def _forget_routes(self) -> None:
        self._memo.clear()
        self._durable_routes.clear()

    def _resolve(self, topic: str) -> _Route:
        check_topic(topic)
        return self._remember(self._memo, topic)

    def _remember(self, memo: dict[str, _Route], topic: str) -> _Route:
        if len(self._topics) < self._memo_limit:
            self._topics.add(topic)
        found: list[_Listener | Subscription] = []
        self._tree.find(topic.split("."), found)
        unique = dict.fromkeys(found)
        listeners = [receiver for receiver in unique if isinstance(receiver, _Listener)]
        route: _Route = (
            tuple(receiver for receiver in unique if isinstance(receiver, Subscription)),
            tuple(listener for listener in listeners if not listener.awaited),
            tuple(listener for listener in listeners if listener.awaited),
        )
        if len(memo) >= self._memo_limit:
            del memo[next(iter(memo))]
        memo[topic] = route
        return route


def _number(event: Event) -> int:
    return event.seq


def _log_error(name: str, topic: str, error: BaseException) -> None:
    logging.getLogger("kernel.bus").error("%s failed on %s", name, topic, exc_info=error)
