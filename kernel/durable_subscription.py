"""Durable subscriptions: at least once, in order, each from its own offset on.

The offset of a subscription is the number of the last event that its handler has done with, and is kept in the store
under `plugin.function`. A reload, a restart, a crash or a while without the plugin change nothing: the handler goes on
after its offset. Offsets are written behind the handler, many events to a commit, so what was handled just before a
crash is handled again.

A handler that raises is called again, later and later; after `[events] attempts` the event is passed over, counted as
dropped and told of as `plugin.error`. At any instant: published = delivered + dropped + pending.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from kernel.bus import Bus
from kernel.clock import Clock
from kernel.contribution import Subscription
from kernel.crashpoints import crashpoint
from kernel.errors import AetherraError
from kernel.event_log import EventLog, SubscriptionStats
from kernel.events import PLUGIN_ERROR, Event
from kernel.generation import Generation, bind_event
from kernel.patterns import matcher
from kernel.redaction import redactions

T = TypeVar("T")

RETRY_S = 0.1
"""How long a failed event waits for its second attempt; twice as long for each one after."""
RETRY_MOST_S = 30.0

log = logging.getLogger("kernel.events")


class DurableSubscription:
    """What is read and how far it has come; it outlives the generations that read it, and the store outlives it.

    At most a page of events is in memory: newly published ones as long as the reader keeps up, else what the store has.
    """

    def __init__(self, name: str, pattern: str, log: EventLog, clock: Clock, bus: Bus) -> None:
        self.name = name
        self.pattern = pattern
        self.published = 0
        """Events that fitted, from its offset on."""
        self.delivered = 0
        """Events that the handler was done with."""
        self.dropped = 0
        """Events passed over, or no longer kept when their turn came."""
        self.pending = 0
        """Events that still wait for the handler."""
        self.retried = 0
        self.offset = 0
        """Committed: where it goes on after a crash."""
        self._handled = 0
        self._fits = matcher((pattern,))
        self._log = log
        self._clock = clock
        self._start = bus.position
        self._page = log.settings.page
        self._begun = self._opened = False
        self._read = self._start
        """Everything that fits up to here was handled, or is in the buffer, or lost."""
        self._buffer: deque[Event] = deque()
        self._meanwhile = 0
        """Events published since what waits was last counted."""
        self._keeps_up = False
        """The buffer has everything that is not handled."""
        self._uncommitted = 0
        self._changed = asyncio.Event()
        self._due = asyncio.Event()
        self._committer: asyncio.Task[None] | None = None
        log.attach(self)

    def change(self, pattern: str) -> None:
        """Read other events from where it is: a new version of the plugin has another pattern."""
        if pattern != self.pattern:
            self.pattern, self._fits = pattern, matcher((pattern,))
            self._opened = self._keeps_up = False
            self._buffer.clear()

    async def begin(self) -> None:
        """Have an offset in the store: from then on not even a kill makes it miss what is published."""
        if not self._begun:
            self.offset = await self._log.offset(self.name, self._start)
            self._handled = max(self._handled, self.offset)
            self._begun = True

    async def open(self) -> None:
        """Find the offset, which is where events are published now for a new name, and count what waits after it."""
        if self._opened:
            return
        await self.begin()
        pruned = -1
        while pruned != self._log.pruned:  # what is pruned while it is counted is counted anew
            pruned = self._log.pruned
            self._skip_pruned()
            self._meanwhile = 0
            before = await self._log.count(self.pattern, self._fits, after=self._handled, through=self._log.newest)
        # Nothing is awaited from here on.
        self._read = self._handled
        self._opened = True
        self.pending = before + self._meanwhile
        self.published = self.delivered + self.dropped + self.pending
        if self._committer is None:
            self._committer = asyncio.create_task(self._commit_offsets(), name=f"offset of {self.name}")

    def _skip_pruned(self) -> None:
        if self._log.pruned > self._handled:
            log.warning(
                "%s: events up to %d are no longer kept; what fitted after %d it has missed",
                self.name,
                self._log.pruned,
                self._handled,
            )
            self._handled = self._log.pruned

    def offer(self, events: Iterable[Event]) -> None:
        """Take note of events that were committed and are published now."""
        for event in events:
            if not self._fits(event.topic):
                continue
            self.published += 1
            self.pending += 1
            self._meanwhile += 1
            if self._keeps_up and len(self._buffer) < self._page:
                self._buffer.append(event)
                self._read = event.seq
            else:
                self._keeps_up = False
            self._changed.set()

    def lose(self, gone: Iterable[tuple[int, str]]) -> None:
        """Count what is about to be pruned before it was read."""
        through = 0
        for seq, topic in gone:
            through = seq
            if seq > self._read and self._opened and self._fits(topic):
                self.pending -= 1
                self.dropped += 1
        self._read = max(self._read, through)

    async def next(self) -> Event:
        """Return the next event; it stays the next one until `done`."""
        while True:
            while self._uncommitted >= self._page:
                # Otherwise, with a store that cannot be written, ever more would be handled twice after a crash.
                self._changed.clear()
                await self._changed.wait()
            if self._buffer:
                return self._buffer[0]
            if self._keeps_up:
                self._changed.clear()
                await self._changed.wait()
                continue
            await self._read_page()

    async def _read_page(self) -> None:
        through = self._log.newest
        events, read = await self._log.page(
            (self.pattern,), self._fits, after=self._read, through=through, most=self._page
        )
        # What was pruned meanwhile has been counted, and is not in the page.
        self._buffer.extend(events)
        self._read = max(self._read, read)
        self._keeps_up = self._read >= self._log.newest

    def done(self, *, dropped: bool = False) -> None:
        """Let the next event be the one after; its number is committed soon."""
        event = self._buffer.popleft()
        self.pending -= 1
        if dropped:
            self.dropped += 1
        else:
            self.delivered += 1
        self._move(event.seq)

    def catch_up(self) -> None:
        """Move the offset past events that do not fit, so that nobody has to look through them again."""
        if self._opened and self._keeps_up and not self._buffer and self._log.newest > self._handled:
            self._move(self._log.newest)

    def _move(self, seq: int) -> None:
        self._handled = max(self._handled, seq)
        self._uncommitted += 1
        self._due.set()

    async def _commit_offsets(self) -> None:
        delay = RETRY_S
        while True:
            await self._due.wait()
            self._due.clear()
            try:
                await self._commit()
                delay = RETRY_S
            except AetherraError as error:
                log.warning("the offset of %s could not be written: %s", self.name, error.message)
                await self._clock.sleep(delay)
                delay = min(2 * delay, RETRY_MOST_S)
                self._due.set()

    async def _commit(self) -> None:
        seq, count = self._handled, self._uncommitted
        crashpoint("events.before_offset")
        await self._log.commit_offset(self.name, seq)
        crashpoint("events.after_offset")
        self.offset = seq
        self._uncommitted -= count
        self._changed.set()

    async def close(self) -> None:
        """Commit how far it has come, and take no more events."""
        committer, self._committer = self._committer, None
        if committer is not None:
            committer.cancel()
            await asyncio.gather(committer, return_exceptions=True)
        self._log.detach(self)
        if not self._opened:
            return
        self.catch_up()
        if self._handled > self.offset:
            try:
                await self._commit()
            except AetherraError as error:
                log.warning("the offset of %s could not be written: %s", self.name, error.message)

    def stats(self) -> SubscriptionStats:
        """Return the figures at this instant."""
        return SubscriptionStats(
            self.name,
            self.pattern,
            self.offset,
            self.published,
            self.delivered,
            self.dropped,
            self.pending,
            self.retried,
        )


class DurableReader:
    """Feeds a durable subscription's events to one generation, in order, each until it succeeds or is passed over."""

    def __init__(
        self, generation: Generation, declared: Subscription, state: DurableSubscription, bus: Bus, clock: Clock
    ) -> None:
        self._generation = generation
        self._declared = declared
        self._state = state
        self._bus = bus
        self._clock = clock
        self._attempts = state._log.settings.attempts
        self._handling = False
        self._ending = asyncio.Event()

    async def run(self) -> None:
        """Handle events until told to end; an event that is in hand then is handled to its end, but not again."""
        await self._stored(self._state.open)
        while not self._ending.is_set():
            event = await self._stored(self._state.next)
            error = await self._handle(event)
            if self._ending.is_set() and error is not None:
                return  # the next generation tries it anew
            self._state.done(dropped=error is not None)
            if error is not None:
                self._passed_over(event, error)

    async def end(self, task: asyncio.Task[None], timeout_s: float) -> None:
        """Let the event in hand finish, then stop; after `timeout_s` cancel it."""
        self._ending.set()
        if self._handling:
            await asyncio.wait([task], timeout=timeout_s)
        task.cancel()
        await asyncio.wait([task])

    async def _stored(self, what: Callable[[], Awaitable[T]]) -> T:
        """Return what the store gives, however long it takes to work again."""
        delay = RETRY_S
        while True:
            try:
                return await what()
            except AetherraError as error:
                log.warning("%s cannot read its events: %s", self._declared.name, error.message)
            await self._clock.sleep(delay)
            delay = min(2 * delay, RETRY_MOST_S)

    async def _handle(self, event: Event) -> Exception | None:
        delay, error = RETRY_S, await self._call(event)
        for _ in range(self._attempts - 1):
            if error is None or self._ending.is_set():
                break
            self._state.retried += 1
            await self._clock.sleep(delay)
            delay = min(2 * delay, RETRY_MOST_S)
            error = await self._call(event)
        return error

    async def _call(self, event: Event) -> Exception | None:
        generation = self._generation
        self._handling = True
        try:
            arguments = bind_event(self._declared, event)
            await generation.call(self._declared.fn, generation.context(), arguments)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.exception("%s failed on %s (event %d)", self._declared.name, event.topic, event.seq)
            return error
        finally:
            self._handling = False
        return None

    def _passed_over(self, event: Event, error: Exception) -> None:
        if event.topic == PLUGIN_ERROR:
            return
        failure = {
            "plugin": self._generation.plugin,
            "where": self._declared.name,
            "topic": event.topic,
            "seq": event.seq,
            "attempts": self._attempts,
            "error": redactions.text(str(error)),
        }
        self._bus.emit(PLUGIN_ERROR, failure, source="kernel")
