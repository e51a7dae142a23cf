"""The side of a socket that gets events of the bus: topics come and go, each event comes once.

What is live is written by the fan-out, in one block for each turn of the loop; what a client missed, from the store and
then the ring, by whoever asked for it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hub.answer import encode
from hub.fanout import FRAMED, GAP_TEXT, Client, Encoded, Fanout, Feed, Line
from hub.frames import TEXT, frame
from hub.settings import HubSettings
from kernel import BadInput, Conflict, Event, SocketGap, matcher

PAGE = 32
"""How many events that a client missed are read at once."""
SEVERAL = 16
"""How many events back a client of several topics looks whether it has one already."""


class Follower(Client):
    """A reader over a WebSocket. `too_slow` is called when more waits than may."""

    def __init__(self, line: Line, fanout: Fanout, settings: HubSettings, too_slow: Callable[[], None]) -> None:
        super().__init__(line, fanout.bus.position, settings)
        self._fanout = fanout
        self._end = too_slow
        self._held = False
        self._recent: deque[int] = deque(maxlen=SEVERAL)
        self._feeds: dict[str, Feed] = {}
        self._has: dict[str, tuple[int, Callable[[str], bool]]] = {}
        """By topic, the number after which the client has all its events, and what fits it."""
        self._behind: int | None = None
        """How far the client has got with what it missed, while it is sent that."""
        self._asking = asyncio.Lock()
        line.connection.on_writable(self._go_on)

    @property
    def topics(self) -> Sequence[str]:
        """What is followed."""
        return tuple(self._feeds)

    # Live events -------------------------------------------------------------------------------------------------

    def offer(self, encoded: Encoded) -> bool:
        """Queue an event, once."""
        if len(self._feeds) > 1:
            seq = encoded.event.seq
            if seq in self._recent:
                return False  # another of the topics fits it, too
            self._recent.append(seq)
        return super().offer(encoded)

    def _go_on(self) -> None:
        self._held = False
        self.flush()

    def _flushed(self) -> None:
        """Nothing: the connection tells when the client has caught up."""

    def _too_slow(self) -> None:
        self._end()

    # Topics ------------------------------------------------------------------------------------------------------

    async def follow(self, topics: Sequence[str], since: int | None, opening: Callable[[int], Any] | None) -> int:
        """Take topics on: write the opening, what came `since`, then let live events through; return the position."""
        async with self._asking:
            position = self._fanout.bus.position
            new = tuple(topic for topic in topics if topic not in self._feeds)
            if since is not None and len(new) < len(topics):
                again = next(topic for topic in topics if topic not in new)
                raise Conflict(
                    f"{again} is followed already: leave it first to have it again from {since}",
                    details={"topic": again},
                    code="ALREADY_FOLLOWED",
                )
            feeds = self._take(new)
            try:
                if opening is not None:
                    self._write(frame(TEXT, encode(opening(position))))
                if since is not None and new:
                    await self._replay(new, since)
            except BaseException:
                self._give_back(feeds)
                raise
            finally:
                self._behind = None
            # Since `position`, or the last look at the ring, nothing has waited: no event falls in between.
            self._join(feeds, position if since is None else since)
        return position

    def _take(self, topics: Sequence[str]) -> dict[str, Feed]:
        taken: dict[str, Feed] = {}
        try:
            for topic in topics:
                taken[topic] = self._fanout.take((topic,))
        except BadInput:
            self._give_back(taken)
            raise
        return taken

    def _give_back(self, feeds: Mapping[str, Feed]) -> None:
        for feed in feeds.values():
            self._fanout.give_back(feed)

    async def _replay(self, topics: tuple[str, ...], since: int) -> None:
        """Write what came after `since`, in pages, and at last, without a wait after it, the rest."""
        replay = self._fanout.bus.replay(since, topics, page=PAGE)
        self._behind = min(since, replay.position)
        told = False
        while not self._ended:
            last = replay.near
            events = replay.rest() if last else await replay.page()
            if replay.gap and not told:
                told = True
                self._write(frame(TEXT, encode(SocketGap(topics, since, GAP_TEXT))))
            if last:
                self.flush()  # so that what is older goes first
            self._write(b"".join([Encoded(event).block(FRAMED) for event in events if not self._had(event)]))
            self._behind = replay.position
            if last:
                return
            await self._line.drain()

    def _had(self, event: Event) -> bool:
        """Tell whether another of the topics has brought the event, or will."""
        return any(event.seq > since and fits(event.topic) for since, fits in self._has.values())

    @property
    def _ended(self) -> bool:
        return self._done or self._line.gone

    def _write(self, block: bytes) -> None:
        if not self._ended:
            self._line.write(block)

    def _join(self, feeds: Mapping[str, Feed], since: int) -> None:
        position = self._fanout.bus.position
        if not self._queue:
            self._sent = self._queued = max(self._sent, position)
        for topic, feed in feeds.items():
            feed.clients[self] = position
            self._feeds[topic] = feed
            self._has[topic] = since, matcher((topic,))

    def unfollow(self, topic: str) -> bool:
        """Leave a topic; False when it was not followed."""
        feed = self._feeds.pop(topic, None)
        if feed is None:
            return False
        del self._has[topic]
        feed.clients.pop(self, None)
        self._fanout.give_back(feed)
        return True

    # Ending ------------------------------------------------------------------------------------------------------

    def finish(self) -> int:
        """Write what can still be written, take no more; return the number to resume after."""
        if not self._done:
            self.flush()
            self._done = True
            self._drop()
        return self._sent if self._behind is None else min(self._sent, self._behind)

    def leave(self) -> None:
        """Leave every topic, and the connection."""
        self._done = True
        self._line.connection.on_writable(None)
        for topic in self.topics:
            self.unfollow(topic)
