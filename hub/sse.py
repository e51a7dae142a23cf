"""Streams to clients as server-sent events: events of the bus, which outlive a reload, and typed values of a handler.

Headers, pings and the life of the response are aiohttp-sse's; what is written, and when, is ours (`hub.fanout`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

from aiohttp import web
from aiohttp_sse import EventSourceResponse

from hub.answer import NO_STORE, SECURITY, Answer, encode
from hub.auth import ANONYMOUS
from hub.dispatch import Match
from hub.errors import failure_of
from hub.fanout import ERROR, Backlog, Fanout, Line, StreamClient, message
from hub.limits import Connection
from hub.reauthorisation import Reauthorisation, Standing
from hub.settings import HubSettings
from kernel import AetherraError, BadInput, Bus, EventStream, Grounds, Overloaded, Replay

FIRST_S = 0.1
"""How long the head of a stream of values waits for the first one, so that an error at once is still a status."""

REVOKED_S = 0.5
"""How long a client may take to read that its stream may not go on; then its connection is cut."""

END = "stream.end"
"""The event after which the hub ends a stream by itself, with the reason in its data."""

RESUME_PARAMETER = "last_event_id"
"""The query parameter that stands in for the header where a client cannot set one."""


class Open(Protocol):
    """A stream that is open."""

    def end(self, topic: str, data: dict[str, Any]) -> None:
        """Let it end with this message."""
        ...


class Values:
    """A stream of a handler's values, while it is open: the task that writes it, and how it was told to end."""

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self._task: asyncio.Task[Any] | None = task
        self.last: bytes | None = None
        self.interrupted = False

    def end(self, topic: str, data: dict[str, Any]) -> None:
        """Let it end with this message."""
        self.last = message(topic, data)
        self.interrupt()

    def interrupt(self) -> None:
        """Stop waiting for the next value."""
        if self._task is not None and not self.interrupted:
            self.interrupted = True
            self._task.cancel()

    def calm(self) -> None:
        """Take the interruption back once it has done its work, so that the task can finish the response."""
        task, self._task = self._task, None
        if task is not None and self.interrupted:
            task.uncancel()


class Revocation:
    """The end of one stream that may not go on, whatever it is at when that turns out."""

    def __init__(self, request: web.Request, where: str) -> None:
        connection = request.protocol
        assert isinstance(connection, Connection)
        self._connection = connection
        self._where = where
        self._current: Open | None = None
        self._last: dict[str, Any] | None = None

    def reaches(self, current: Open) -> None:
        """Let it end what the stream is at now."""
        self._current = current
        if self._last is not None:
            current.end(ERROR, self._last)

    def __call__(self, error: AetherraError) -> None:
        self._last = error_data(error, where=self._where)
        if self._current is not None:
            self._current.end(ERROR, self._last)
        self._connection.cut_after(REVOKED_S)


class Streams:
    """All open streams of the hub."""

    def __init__(self, bus: Bus, settings: HubSettings, reauthorisation: Reauthorisation) -> None:
        self.fanout = Fanout(bus)
        self._reauthorisation = reauthorisation
        self._bus = bus
        self._settings = settings
        self._open: dict[Open, None] = {}
        self._closing: dict[str, Any] | None = None
        self.cut = 0
        """Streams that ended because their client read too slowly."""
        self.refused = 0
        """Streams that were one too many."""

    @property
    def open(self) -> int:
        """How many streams are open."""
        return len(self._open)

    def close(self, reason: str, code: str) -> None:
        """End every open stream with a last event that says why, and open no more."""
        self._closing = {"type": "end", "code": code, "message": reason}
        for stream in list(self._open):
            stream.end(END, self._closing)

    # Events of the bus -------------------------------------------------------------------------------------------

    async def events(
        self, request: web.Request, match: Match, stream: EventStream, grounds: Grounds
    ) -> web.StreamResponse:
        """Send the opening, what the client missed, and then live events, each once."""
        self._admit()
        asked = last_event_id(request)
        if request.method == "HEAD":
            return Answer(200, content_type="text/event-stream")
        since = stream.since if asked is None else asked
        feed = self.fanout.take(stream.topics)
        response = self._response(match)
        client: StreamClient | None = None
        revocation, standing = self._standing(request, match, grounds)
        try:
            await response.prepare(request)
            line = Line(request, self._settings)
            backlog = Backlog(stream, self._past(stream, since), since=since, resumed=asked is not None)
            if not await self._sent_early(backlog, line, match, revocation):
                return response
            # From here to `run` nothing waits, so that no event falls between the ring and the live ones.
            position = self._bus.position
            client = StreamClient(stream, position, self._settings, line)
            rest = backlog.rest()
            feed.clients[client], self._open[client] = position, None
            revocation.reaches(client)
            await client.run(rest, over=backlog.over)
        finally:
            if client is not None:
                self._open.pop(client, None)
                feed.clients.pop(client, None)
                self.cut += client.slow
            self._reauthorisation.leave(standing)
            self.fanout.give_back(feed)
            await _stop(response)
        return response

    def _standing(self, request: web.Request, match: Match, grounds: Grounds) -> tuple[Revocation, Standing]:
        revocation = Revocation(request, _name(match))
        standing = Standing(match.identity or ANONYMOUS, grounds, revocation)
        self._reauthorisation.enter(standing)
        return revocation, standing

    def _past(self, stream: EventStream, since: int | None) -> Replay | None:
        return None if since is None else self._bus.replay(since, stream.topics)

    async def _sent_early(self, backlog: Backlog, line: Line, match: Match, revocation: Revocation) -> bool:
        """Send the part of the backlog that is waited for; False when the stream has ended with that."""
        task = asyncio.current_task()
        assert task is not None
        state = Values(task)
        self._open[state] = None
        revocation.reaches(state)
        place = 0
        try:
            async for seq, block in backlog.early():
                place = max(place, seq)
                line.write(block)
                await line.drain()
        except asyncio.CancelledError:
            if not state.interrupted:
                raise
        except AetherraError as error:
            resume = {"resume": place} if place else {}
            state.last = message(ERROR, error_data(error, where=_name(match)) | resume)
        finally:
            self._open.pop(state, None)
            state.calm()
        if state.last is None:
            return True
        if not line.gone:
            line.write(state.last)
            await line.drain()
        return False

    # Values of a handler -----------------------------------------------------------------------------------------

    async def values(
        self, request: web.Request, match: Match, source: AsyncIterator[Any], grounds: Grounds
    ) -> web.StreamResponse:
        """Send each value as one message; an error after the head is the last one, in a shape of its own."""
        try:
            self._admit()
            if request.method == "HEAD":
                return Answer(200, content_type="text/event-stream")
            return await self._values(request, match, source, grounds)
        finally:
            closing = getattr(source, "aclose", None)
            if closing is not None:
                await closing()

    async def _values(
        self, request: web.Request, match: Match, source: AsyncIterator[Any], grounds: Grounds
    ) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        state = Values(task)
        self._open[state] = None
        response = self._response(match)
        undo: Callable[[], None] | None = None
        line: Line | None = None
        revocation, standing = self._standing(request, match, grounds)
        revocation.reaches(state)
        try:
            undo = request.protocol.on_lost(state.interrupt)  # type: ignore[attr-defined]
            first = asyncio.ensure_future(anext(source))
            await _first(first)
            await response.prepare(request)
            line = Line(request, self._settings)
            await self._copy(line, source, first)
        except asyncio.CancelledError:
            if not state.interrupted:
                raise
        except ConnectionError:
            raise
        except Exception as error:
            if line is None:
                raise
            state.last = message(ERROR, error_data(error, where=_name(match)))
            response.force_close()
        finally:
            self._open.pop(state, None)
            self._reauthorisation.leave(standing)
            if undo is not None:
                undo()
            state.calm()
            await self._last_words(response, line, state.last)
        if not response.prepared:
            raise Overloaded("the stream was ended before its first value", code="SHUTTING_DOWN")
        return response

    async def _copy(self, line: Line, source: AsyncIterator[Any], first: asyncio.Future[Any]) -> None:
        try:
            line.write(b"data: %b\n\n" % encode(await first))
        except StopAsyncIteration:
            return
        await line.drain()
        async for value in source:
            line.write(b"data: %b\n\n" % encode(value))
            await line.drain()

    async def _last_words(self, response: EventSourceResponse, line: Line | None, last: bytes | None) -> None:
        if line is not None and last is not None and not line.gone:
            line.write(last)
            await line.drain()
        if response.prepared:
            await _stop(response)

    # Both --------------------------------------------------------------------------------------------------------

    def _admit(self) -> None:
        if self._closing is not None:
            raise Overloaded("the hub is stopping", code="SHUTTING_DOWN", retry_after_s=5.0)
        if len(self._open) >= self._settings.streams:
            self.refused += 1
            raise Overloaded(f"{len(self._open)} streams are open, the bound ([hub] streams)")

    def _response(self, match: Match) -> EventSourceResponse:
        settings = self._settings
        response = EventSourceResponse(
            headers={**SECURITY, **match.cors, "X-Request-Id": match.request_id},
            sep="\n",
            allow_all_methods=True,
            send_timeout=settings.stream_stall_s,
            ping_interval=settings.ping_s,
        )
        response.headers["Cache-Control"] = NO_STORE
        # Otherwise aiohttp names itself and Python with their versions.
        response.headers["Server"] = "aetherra"
        return response


def last_event_id(request: web.Request) -> int | None:
    """Return the number after which a client resumes, from the header or, where it cannot set one, the query."""
    header = _event_number(request.headers.get("Last-Event-ID"))
    query = None
    if request.rel_url.raw_query_string:
        query = _event_number(request.rel_url.query.get(RESUME_PARAMETER))
    return query if header is None else header


def _event_number(given: str | None) -> int | None:
    if given is None or given == "":
        return None
    if not (given.isascii() and given.isdigit() and len(given) <= 19):
        raise BadInput(
            f"Last-Event-ID is the number of an event, got {given[:40]!r}", details={"field": RESUME_PARAMETER}
        )
    return int(given)


def error_data(error: Exception, *, where: str) -> dict[str, Any]:
    """Return what the last event of a failed stream says."""
    failure = failure_of(error, where=where)
    data: dict[str, Any] = {"type": "error", "code": failure.code, "message": failure.message}
    if failure.details:
        data["details"] = failure.details
    if failure.error_id:
        data["error_id"] = failure.error_id
    return data


def _name(match: Match) -> str:
    return f"{match.endpoint.method} {match.endpoint.pattern}" if match.endpoint is not None else "a stream"


async def _first(first: asyncio.Future[Any]) -> None:
    try:
        await asyncio.wait({first}, timeout=FIRST_S)
    except asyncio.CancelledError:
        first.cancel()
        await asyncio.wait({first})
        raise
    if first.done() and not first.cancelled():
        error = first.exception()
        if error is not None and not isinstance(error, StopAsyncIteration):
            raise error


async def _stop(response: EventSourceResponse) -> None:
    if response.prepared and response.is_connected():
        response.stop_streaming()
        await response.wait()
