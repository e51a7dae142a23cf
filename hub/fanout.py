"""One event to many clients: encoded once for all, one write for each and turn of the loop, bounded for the slow.

Server-sent events and WebSockets share all of it; they differ in how a message is framed and how a client ends.

A client that is behind keeps a bounded queue; beyond it the client is cut and told where to resume. Whoever resumes
gets what the store and the ring still hold, and is told when something is missing.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, NotRequired, TypedDict

import msgspec
from aiohttp import web

from hub.answer import encode
from hub.frames import TEXT, frame
from hub.limits import KB, Connection
from hub.settings import HubSettings
from kernel import BadInput, Bus, Event, EventStream, Replay, iso

CHUNK = 64 * KB
"""How much of a backlog is joined into one write."""

GAP = "stream.gap"
"""The event that tells a resuming client that some events are no longer there."""

GAP_TEXT = "some events after the one asked for are no longer kept"

ERROR = "error"
"""The event that ends a stream that failed."""

SLOW = "SLOW_CONSUMER"
"""The code with which a client ends that reads too slowly."""

EVENT_START = b'{"type":"event",'
"""What stands before the rest of an event in a message of a socket."""


class Wire(msgspec.Struct):
    """An event as a client reads it; on a socket, `SocketEvent`, the same after its type."""

    seq: int
    topic: str
    time: str
    data: Any
    source: str
    trace: str


def event_lines(event: Event, data: bytes | None = None) -> bytes:
    """Return an event as the lines of its message. An event without a number, made for an opening, has no `id`.

    `data` is its data line, where that is encoded already.
    """
    if data is None:
        data = encode(Wire(event.seq, event.topic, iso(event.time), event.data, event.source, event.trace))
    # The topic of an opening event never passed the bus, so a line break in it would begin a line of its own.
    topic = " ".join(event.topic.split()).encode()
    if event.seq > 0:
        return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.seq, topic, data)
    return b"event: %s\ndata: %s\n\n" % (topic, data)


class Notice(TypedDict):
    """What a stream says of itself: a `gap` in what it sends, or why it ends and after which number to resume."""

    type: Literal["gap", "end", "error"]
    message: str
    code: NotRequired[str]
    since: NotRequired[int | None]
    resume: NotRequired[int]
    details: NotRequired[dict[str, Any]]
    error_id: NotRequired[str]


def message(topic: str, data: dict[str, Any]) -> bytes:
    """Return a message of the stream's own; without `id`, so that it does not move the place to resume from."""
    return b"event: %s\ndata: %s\n\n" % (topic.encode(), encode(data))


def chunk(block: bytes) -> bytes:
    """Return a block as one chunk of HTTP/1.1."""
    return b"%x\r\n%b\r\n" % (len(block), block)


PLAIN, CHUNKED, FRAMED = range(3)
"""How a client gets its messages: as they are (HTTP/1.0), as chunks (HTTP/1.1), or as frames of a WebSocket."""


class Encoded:
    """An event, encoded once for all who read it, in each of the ways in which somebody does."""

    __slots__ = ("_data", "blocks", "event")

    def __init__(self, event: Event) -> None:
        self.event = event
        self.blocks: list[bytes | None] = [None, None, None]
        self._data = encode(Wire(event.seq, event.topic, iso(event.time), event.data, event.source, event.trace))

    def block(self, kind: int) -> bytes:
        """Return the event as clients of this kind get it."""
        block = self.blocks[kind]
        if block is None:
            if kind == FRAMED:
                block = frame(TEXT, EVENT_START + self._data[1:])
            else:
                plain = event_lines(self.event, self._data)
                block = chunk(plain) if kind == CHUNKED else plain
            self.blocks[kind] = block
        return block


class Line:
    """The way to one client: whole blocks, framed as it wants them, and waiting while it is behind."""

    def __init__(self, request: web.Request, settings: HubSettings, kind: int | None = None) -> None:
        connection = request.protocol
        assert isinstance(connection, Connection)
        connection.bound_buffer(settings.stream_kb * KB)
        self.connection = connection
        if kind is None:
            kind = CHUNKED if getattr(request.writer, "chunked", False) else PLAIN
        self.kind = kind

    @property
    def gone(self) -> bool:
        """True when nobody is there any more."""
        transport = self.connection.transport
        return transport is None or transport.is_closing()

    def write(self, block: bytes) -> None:
        """Write a block at once; it is the caller's to `drain` after."""
        transport = self.connection.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client is gone")
        transport.write(chunk(block) if self.kind == CHUNKED else block)

    async def drain(self) -> None:
        """Wait until the client has read; one that takes nothing for too long loses its connection."""
        await self.connection.drain()


class Client(ABC):
    """One reader of bus events: what waits for it, bounded; written as one block for each turn of the loop."""

    def __init__(
        self,
        line: Line,
        position: int,
        settings: HubSettings,
        *,
        where: Mapping[str, Any] | None = None,
        until: frozenset[str] = frozenset(),
    ) -> None:
        self._where = where or {}
        self._until = until
        self._messages = settings.stream_messages
        self._bytes = settings.stream_kb * KB
        self._line = line
        self._kind = line.kind
        self._sent = position
        self._queued = position
        self._queue: list[bytes] = []
        self._size = 0
        self._held = True
        """Nothing is written from the queue: the client is at a backlog, or it is behind."""
        self._marked = False
        self._done = False
        self.slow = False
        """It was cut because it read too slowly."""

    def offer(self, encoded: Encoded) -> bool:
        """Queue an event; True when the client was not among those to write to yet."""
        event = encoded.event
        if self._done or (self._where and not fits(self._where, event)):
            return False
        block = encoded.blocks[self._kind] or encoded.block(self._kind)
        queue = self._queue
        size = self._size + len(block)
        if len(queue) >= self._messages or size > self._bytes:
            self.flush()
            if queue:
                self.slow = True
                self._drop()
                self._too_slow()
                return False
            size = len(block)
        queue.append(block)
        self._size = size
        self._queued = event.seq
        if self._until and event.topic in self._until:
            self._done = True
        if self._marked:
            return False
        self._marked = True
        return True

    def _drop(self) -> None:
        self._queue.clear()
        self._size = 0
        self._queued = self._sent

    def flush(self) -> None:
        """Write what is queued as one block, unless the client is behind; then its own side goes on."""
        self._marked = False
        connection = self._line.connection
        transport = connection.transport
        if self._held or transport is None or transport.is_closing():
            return
        queue = self._queue
        if connection.writing_paused:
            self._held = True
        elif queue:
            transport.write(queue[0] if len(queue) == 1 else b"".join(queue))
            self._sent = self._queued
            self._size = 0
            queue.clear()
        if self._held or self._done:
            self._flushed()

    @abstractmethod
    def _flushed(self) -> None:
        """Go on after a flush that left something behind, or was the last."""

    @abstractmethod
    def _too_slow(self) -> None:
        """End: more waits than may, and was dropped."""


class StreamClient(Client):
    """A reader over server-sent events: after its backlog, live events until the stream or the client ends."""

    def __init__(self, stream: EventStream, position: int, settings: HubSettings, line: Line) -> None:
        super().__init__(line, position, settings, where=stream.where, until=stream.until)
        self._cut_s = settings.stream_cut_s
        self._not_cut: Callable[[], None] | None = None
        self._last: bytes | None = None
        self._wake: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def _too_slow(self) -> None:
        text = "this client reads more slowly than events come; connect again with Last-Event-ID"
        self.end(ERROR, {"type": "error", "code": SLOW, "message": text})
        self._not_cut = self._line.connection.cut_after(self._cut_s)

    def end(self, topic: str, data: dict[str, Any]) -> None:
        """Let the stream end with this message, after what is queued."""
        if self._last is None:
            self._done = True
            self._last = message(topic, {**data, "resume": self._queued})
            self._flushed()

    def _flushed(self) -> None:
        if not self._wake.done():
            self._wake.set_result(None)

    async def run(self, backlog: Iterable[tuple[int, bytes]], *, over: bool) -> None:
        """Write the backlog, then let live events through until the stream or the client ends.

        `over` says that the backlog ends with the event that the stream was to last until.
        """
        undo = self._line.connection.on_lost(self._flushed)
        try:
            for seq, block in backlog:
                self._line.write(block)
                self._sent = max(self._sent, seq)
                self._queued = max(self._queued, self._sent)
                await self._line.drain()
            while not (over or self._line.gone):
                self._held = False
                self.flush()
                if self._held:
                    await self._line.drain()
                elif self._done:
                    if self._last is not None:
                        self._line.write(self._last)
                        await self._line.drain()
                    return
                else:
                    self._wake = asyncio.get_running_loop().create_future()
                    await self._wake
        finally:
            self._done = True
            undo()
            if self._not_cut is not None:
                self._not_cut()


class Feed:
    """One set of topics and its readers: one listener on the bus for each pattern, however many clients there are."""

    def __init__(self, patterns: tuple[str, ...], fanout: Fanout) -> None:
        self.clients: dict[Client, int] = {}
        """Each with the number of the newest event when it joined: what came before is its backlog's affair."""
        self.users = 0
        self.patterns = patterns
        self._fanout = fanout
        self._seen: Event | None = None
        name = f"hub.stream {','.join(patterns)}"
        self._undo: list[Callable[[], None]] = []
        try:
            for pattern in patterns:
                self._undo.append(fanout.bus.listen(pattern, self._on_event, name=name))
        except BadInput:
            self.close()
            raise

    def _on_event(self, event: Event) -> None:
        if event is self._seen:
            return  # two of the patterns fit it
        self._seen = event
        encoded = self._fanout.encoded(event)
        due = self._fanout.due
        seq = event.seq
        for client, start in self.clients.items():
            if seq > start and client.offer(encoded):
                due.append(client)
        if due:
            self._fanout.schedule()

    def close(self) -> None:
        """Listen no longer."""
        for undo in self._undo:
            undo()


class Fanout:
    """What all clients of bus events share: the feeds, the last event encoded, and who is to be written to."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.due: list[Client] = []
        self._feeds: dict[tuple[str, ...], Feed] = {}
        self._encoded: Encoded | None = None
        self._scheduled = False

    @property
    def feeds(self) -> int:
        """How many different sets of topics are being read."""
        return len(self._feeds)

    def encoded(self, event: Event) -> Encoded:
        """Return the event's message, encoded once for all who read it."""
        known = self._encoded
        if known is None or known.event is not event:
            known = self._encoded = Encoded(event)
        return known

    def schedule(self) -> None:
        """Write to the clients that are due once the loop turns, so that a burst leaves in one write for each."""
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        due, self.due = self.due, []
        for client in due:
            client.flush()

    def take(self, topics: tuple[str, ...]) -> Feed:
        """Return the feed of these topics, kept until everyone who took it has given it back."""
        key = tuple(sorted(set(topics)))
        feed = self._feeds.get(key)
        if feed is None:
            feed = self._feeds[key] = Feed(key, self)
        feed.users += 1
        return feed

    def give_back(self, feed: Feed) -> None:
        """Let go of a feed."""
        feed.users -= 1
        if not feed.users:
            feed.close()
            self._feeds.pop(feed.patterns, None)


class Backlog:
    """What a client is sent before live events: the opening, word of a gap, and the events since its last one.

    `early` gives what is to be sent before the client is let in among the readers, a page at a time; `rest` what is
    left then, without a wait. `over` turns true with the event that the stream was to last until.
    """

    def __init__(self, stream: EventStream, replay: Replay | None, *, since: int | None, resumed: bool) -> None:
        known = since if resumed and since is not None else 0
        self._stream = stream
        self._replay = replay
        self._since = since
        self._opening = [event for event in stream.opening if event.seq == 0 or event.seq > known]
        self._shown = {event.seq for event in self._opening if event.seq > 0}
        self._told = False
        self.over = False

    async def early(self) -> AsyncIterator[tuple[int, bytes]]:
        """Yield what comes from the store, and while the ring holds more than a page of it, from there."""
        while self._replay is not None and not (self.over or self._replay.near):
            for block in _joined(self._messages(await self._replay.page())):
                yield block

    def rest(self) -> Iterator[tuple[int, bytes]]:
        """Return what is left, up to the newest event: live ones are to be let in before anything is awaited."""
        left = [] if self._replay is None or self.over else self._replay.rest()
        return _joined(self._messages(left))

    def _messages(self, page: list[Event]) -> list[Event | bytes]:
        """Return the messages of a page, and before the first one those of the beginning."""
        messages: list[Event | bytes] = []
        opening, self._opening = self._opening, []
        self._add(messages, opening)
        if self._replay is not None and self._replay.gap and not (self.over or self._told):
            self._told = True
            messages.append(message(GAP, {"type": "gap", "message": GAP_TEXT, "since": self._since}))
        self._add(
            messages, [event for event in page if event.seq not in self._shown and fits(self._stream.where, event)]
        )
        return messages

    def _add(self, messages: list[Event | bytes], events: list[Event]) -> None:
        for event in events:
            if self.over:
                return
            messages.append(event)
            self.over = event.topic in self._stream.until


def fits(where: Mapping[str, Any], event: Event) -> bool:
    """Tell whether the event's data has the values that are asked for."""
    if not where:
        return True
    data = event.data
    return isinstance(data, dict) and all(data.get(key) == value for key, value in where.items())


def _joined(messages: list[Event | bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield messages joined to blocks of some 64 KiB, each with the number of its last event."""
    parts: list[bytes] = []
    size = last = 0
    for one in messages:
        block = one if isinstance(one, bytes) else event_lines(one)
        parts.append(block)
        size += len(block)
        last = last if isinstance(one, bytes) else max(last, one.seq)
        if size >= CHUNK:
            yield last, b"".join(parts)
            parts, size = [], 0
    if parts:
        yield last, b"".join(parts)
