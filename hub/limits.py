"""Our own bounds of a connection, whatever the server library does: how many, how long, how large.

A head that comes too slowly or grows too large ends its connection; a body is read within a deadline and a size.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
from collections.abc import Callable
from typing import Any, cast

from aiohttp import HttpVersion11, web
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import RequestHandler, RequestPayloadError, _ErrInfo
from aiohttp.web_request import BaseRequest
from aiohttp.web_server import Server

from hub.admission import Connections
from hub.answer import header_lines, json_answer
from hub.errors import Failure, body_of, failure_of
from hub.frames import FrameGuard
from hub.settings import HubSettings
from kernel import BadInput, Clock, TooLarge, new_trace

log = logging.getLogger("hub.limits")

KB = 1024
LINGERING_S = 1.0
"""How long the rest of a refused body is read and thrown away, so that the client gets to see the refusal."""


LOOK_S = 0.02
"""How often a hub that drains looks whether its last answers have left."""

CLOSE_S = 1.0
"""How long a connection may take to end once the hub has drained."""

SPARE_RETRY_S = 1.0
"""When a client may try again for whom there was no connection."""

NO_DESCRIPTOR = "the hub has no file descriptor left for another connection"


_CODES = {
    400: "BAD_REQUEST",
    408: "REQUEST_TIMEOUT",
    431: "HEADERS_TOO_LARGE",
    501: "NOT_IMPLEMENTED",
    503: "OVERLOADED",
}
"""What can be wrong with a request that is not one yet."""


class Connection(RequestHandler):
    """aiohttp's protocol of one connection, with a clock on the head of each request and an ear for its end."""

    __slots__ = (
        "_address",
        "_admitted",
        "_body",
        "_connections",
        "_head_bytes",
        "_head_timer",
        "_lent",
        "_lost",
        "_seen",
        "_settings",
        "_stall_timer",
        "_stalled_at",
        "_writable",
        "_writers",
        "console",
        "guard",
        "loopback",
        "spare",
    )

    def __init__(
        self,
        manager: Server,
        connections: Connections,
        settings: HubSettings,
        lent: Callable[[], None] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(manager, **kwargs)
        self._connections = connections
        self._settings = settings
        self._address = ""
        self._admitted = False
        self._body: Any = None
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._lent = lent
        self._lost: set[Callable[[], None]] = set()
        self._seen = 0
        self._stall_timer: asyncio.TimerHandle | None = None
        self._stalled_at = 0
        self._writable: Callable[[], None] | None = None
        self._writers: set[asyncio.Future[None]] = set()
        self.guard: FrameGuard | None = None
        """Looks at the frames of a socket before the library does."""
        self.console = False
        """The peer came over the hub's own socket file, and is the hub's own user."""
        self.loopback = False
        """The peer is this machine."""
        self.spare = ""
        """Why this connection is one too many, and may only ask how the hub is; empty for all others."""

    @property
    def address(self) -> str:
        """The address of the peer, empty for one on the socket file."""
        return self._address

    @property
    def busy(self) -> bool:
        """True from the head of a request until its answer has been taken from us."""
        return bool(getattr(self, "_request_in_progress", False))

    @property
    def asking(self) -> bool:
        """True while a whole head is there and its request not answered."""
        return self.busy or bool(self._messages)

    # Coming and going --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Look who it is; one connection too many may only ask how the hub is, or is turned away with a 503."""
        peer = transport.get_extra_info("peername")
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family == socket.AF_UNIX:
            self.console = peer_uid(sock) == os.getuid()
        else:
            self._address = peer[0] if peer else ""
            self.loopback = is_loopback(self._address)
        too_many = NO_DESCRIPTOR if self._lent is not None else self._connections.admit(self._address)
        self._admitted = too_many is None
        if too_many is not None and not self._connections.admit_spare(self):
            self._force_close = True
            self._refuse_spare(transport, too_many)
            return
        super().connection_made(transport)
        if too_many is not None:
            self.spare = too_many
            self.cut_after(self._settings.headers_s)
        self._start_head_timer()

    @staticmethod
    def _refuse_spare(transport: asyncio.BaseTransport | None, why: str) -> None:
        if transport is not None:
            assert isinstance(transport, asyncio.Transport)
            transport.write(refusal_block(Failure(503, "OVERLOADED", why, {}, SPARE_RETRY_S)))
            transport.close()

    def dismiss(self) -> None:
        """End a spare connection that waits for nothing; another one takes its place."""
        self._stop_head_timer()
        if not self._seen:
            self._connections.refused += 1
            self._refuse_spare(self.transport, self.spare)
        self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell those who stream to this client that it is gone."""
        self._stop_head_timer()
        if self._admitted:
            self._admitted = False
            self._connections.leave(self._address)
        elif self.spare:
            self._connections.leave_spare(self)
        super().connection_lost(exc)
        self._stop_stall_timer()
        self._wake_writers()
        for callback in list(self._lost):
            callback()
        self._lost.clear()
        if self._lent is not None:
            self._lent()

    def on_lost(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back once when the client is gone, at once if it is gone already; returns its undo."""
        if self.transport is None:
            callback()
        else:
            self._lost.add(callback)
        return lambda: self._lost.discard(callback)

    def set_parser(self, parser: Any, *args: Any, **kwargs: Any) -> None:
        """Let the frames of a socket be looked at on their way to the library's parser."""
        if self.guard is not None:
            self.guard.parser, parser = parser, self.guard
        super().set_parser(parser, *args, **kwargs)

    # Writing -----------------------------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        """The client is behind: note it, and look whether it takes anything at all."""
        super().pause_writing()
        self._watch_stall()

    def resume_writing(self) -> None:
        """The client has caught up: let go on who waits for that."""
        super().resume_writing()
        self._stop_stall_timer()
        self._wake_writers()

    async def drain(self) -> None:
        """Wait until the client has read enough to be written to, or is gone."""
        while self.writing_paused and self.transport is not None:
            # Futures of our own: aiohttp's one waiter is cancelled for all who wait when one of them is.
            room = self._loop.create_future()
            self._writers.add(room)
            try:
                await room
            finally:
                self._writers.discard(room)

    def on_writable(self, callback: Callable[[], None] | None) -> None:
        """Call back, in one step with the transport, whenever the client has caught up; None for never again."""
        self._writable = callback

    def _wake_writers(self) -> None:
        for room in self._writers:
            if not room.done():
                room.set_result(None)
        if self._writable is not None:
            self._writable()

    def _watch_stall(self) -> None:
        if self.transport is not None:
            self._stalled_at = self.transport.get_write_buffer_size()
            self._stall_timer = self._loop.call_later(self._settings.stream_stall_s, self._look_for_stall)

    def _look_for_stall(self) -> None:
        self._stall_timer = None
        if self.transport is None:
            return
        if self.transport.get_write_buffer_size() >= self._stalled_at:
            self.transport.abort()  # it took nothing at all
        else:
            self._watch_stall()

    def _stop_stall_timer(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    def bound_buffer(self, size: int) -> None:
        """Let the system hold about `size` bytes for this client: by itself it grows to megabytes for one that reads
        slowly, and what is held there counts nowhere."""
        sock = None if self.transport is None else self.transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)

    def cut_after(self, seconds: float) -> Callable[[], None]:
        """Cut the connection when it is still there after `seconds`; returns what undoes that."""
        timer = self._loop.call_later(seconds, self._cut)
        forget = self.on_lost(timer.cancel)

        def undo() -> None:
            timer.cancel()
            forget()

        return undo

    def _cut(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def linger(self) -> None:
        """End after our last words: what the client still sends is thrown away, so that it gets to read them."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        # Closed at once, with words of the client still unread, the system would take our words back.
        transport.write_eof()
        self._force_close = True
        self.cut_after(LINGERING_S)

    # The head of a request ---------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Parse, and watch over what is not yet a whole head."""
        if self._force_close:
            return
        # Asked before parsing: the packet that ends a body is no part of the next head.
        in_head = (self._body is None or self._body.is_eof()) and not self._upgraded
        super().data_received(data)
        if self._request_count != self._seen:
            new, self._seen = self._request_count - self._seen, self._request_count
            if self._head_bytes + len(data) > self._settings.headers_kb * KB:
                self._refuse_large_heads()
            self._refuse_tunnels(new)
            self._head_bytes = 0
            self._body = self._messages[-1][1] if self._messages else None
            self._stop_head_timer()
        elif data and in_head:
            self._watch_head(len(data))

    def _watch_head(self, received: int) -> None:
        self._head_bytes += received
        if self._head_timer is None:
            self._start_head_timer()
        if self._head_bytes > self._settings.headers_kb * KB:
            self._refuse(431, self._too_large())

    def _too_large(self) -> str:
        return f"the head of a request is at most {self._settings.headers_kb} KiB ([hub] headers_kb)"

    def _refuse_large_heads(self) -> None:
        """Exchange requests whose heads came whole, but are too large, for their refusal."""
        for index, (message, _) in enumerate(self._messages):
            if isinstance(message, _ErrInfo):
                continue
            size = len(message.path) + sum(len(name) + len(value) + 4 for name, value in message.raw_headers)
            if size > self._settings.headers_kb * KB:
                text = self._too_large()
                self._messages[index] = (_ErrInfo(status=431, exc=ValueError(text), message=text), EMPTY_PAYLOAD)

    def _refuse_tunnels(self, new: int) -> None:
        """Exchange a CONNECT for its refusal: it names no path, so nothing that looks at paths would see it."""
        for index in range(max(0, len(self._messages) - new), len(self._messages)):
            message = self._messages[index][0]
            if not isinstance(message, _ErrInfo) and message.method == "CONNECT":
                text = "this hub is no proxy: CONNECT is not possible"
                self._messages[index] = (_ErrInfo(status=501, exc=ValueError(text), message=text), EMPTY_PAYLOAD)

    def _start_head_timer(self) -> None:
        seconds = self._settings.spare_s if self.spare else self._settings.headers_s
        self._head_timer = self._loop.call_later(seconds, self._head_too_slow)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_too_slow(self) -> None:
        self._head_timer = None
        if self.spare:
            self._connections.refused += 1
            self._refuse(503, self.spare)
            return
        bound = f"{self._settings.headers_s:g} s"
        self._refuse(408, f"the head of a request comes within {bound} ([hub] headers_s)")

    def _refuse(self, status: int, message: str) -> None:
        self._stop_head_timer()
        transport = self.transport
        if transport is None or self._force_close:
            return
        # A response under way must not be torn by ours; then the connection just ends.
        if self._current_request is not None:
            self.force_close()
            return
        retry_after_s = SPARE_RETRY_S if status == 503 else None
        transport.write(refusal_block(Failure(status, _CODES[status], message, {}, retry_after_s)))
        self.linger()
        if self._waiter is not None:
            self._waiter.cancel()

    # What aiohttp would answer by itself -------------------------------------------------------------------------

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Word what the parser refused, or a bug beyond our own edge, in the hub's shape; the connection closes."""
        if request.writer.output_size > 0:
            raise ConnectionError("a response was begun already; no other can follow")
        if status in _CODES:
            text = (message or "the request is not valid HTTP/1.1").splitlines()[0][:200]
            failure = Failure(status, _CODES[status], text)
        else:
            error = exc if isinstance(exc, Exception) else RuntimeError(message or "unknown")
            failure = failure_of(error, where="the edge")
        answer = json_answer(body_of(failure, "hub"), failure.status, close=True)
        answer.request_id = new_trace()
        return answer


class HubServer(Server):
    """Makes a `Connection` for every client."""

    def __init__(self, inner: Server, connections: Connections, settings: HubSettings) -> None:
        super().__init__(inner.request_handler, request_factory=inner.request_factory)
        self._counted = connections
        self._settings = settings

    def __call__(self) -> RequestHandler:
        """Return the protocol of a new connection."""
        return self._made(None)

    def lent(self, ended: Callable[[], None]) -> RequestHandler:
        """Return the protocol of a connection over a descriptor that was lent; `ended` is called at its end."""
        return self._made(ended)

    def _made(self, lent: Callable[[], None] | None) -> RequestHandler:
        settings = self._settings
        return Connection(
            self,
            self._counted,
            settings,
            lent,
            loop=self._loop,
            keepalive_timeout=settings.idle_s,
            lingering_time=LINGERING_S,
            max_headers=settings.header_fields,
            # A compressed body would pass its bound before it is unpacked; the edge refuses Content-Encoding instead.
            auto_decompress=False,
            access_log=None,
        )


class HubRunner(web.AppRunner):
    """Runs the app on connections of ours."""

    def __init__(self, app: web.Application, settings: HubSettings) -> None:
        super().__init__(app, shutdown_timeout=CLOSE_S)
        self._settings = settings
        self.connections = Connections(settings)

    async def answered(self, seconds: float) -> bool:
        """Return True when every answer under way has left, or False after `seconds`."""
        # Looked for instead of told: the library tells nobody that it has written an answer.
        until = asyncio.get_running_loop().time() + seconds
        while self.server is not None and any(c.busy for c in self.server.connections if isinstance(c, Connection)):
            if asyncio.get_running_loop().time() >= until:
                return False
            await asyncio.sleep(LOOK_S)
        return True

    async def _make_server(self) -> Server:
        return HubServer(await super()._make_server(), self.connections, self._settings)


def refusal_block(failure: Failure) -> bytes:
    """Return a whole response for a connection that has no request to answer."""
    body = json_answer(body_of(failure, "hub"), failure.status, headers=header_lines(failure.headers), close=True)
    return body.head(new_trace(), closing=True) + body.body


def is_loopback(address: str) -> bool:
    """Tell whether an address is this machine's own."""
    return address in ("::1", "localhost") or address.startswith(("127.", "::ffff:127."))


def peer_uid(sock: socket.socket) -> int | None:
    """Return the user of the process at the other end of a socket file, as the system vouches for it."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return None
    _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("3i")))
    return int(uid)


async def read_body(request: web.Request, limit_kb: int, setting: str, clock: Clock, seconds: float) -> bytes:
    """Return the body; refuse one above its bound as soon as that is known, and one that does not come in time."""
    limit = limit_kb * KB
    if (request.content_length or 0) > limit:
        raise _too_large(limit_kb, setting)
    if request.headers.get("Expect", "").lower() == "100-continue" and request.version == HttpVersion11:
        writer = cast(Any, request.writer)
        await writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        writer.output_size = 0
    chunks: list[bytes] = []
    size = 0
    try:
        async with clock.timeout(seconds) as deadline:
            while chunk := await request.content.readany():
                size += len(chunk)
                if size > limit:
                    raise _too_large(limit_kb, setting)
                chunks.append(chunk)
    except TimeoutError:
        if deadline.expired():
            message = f"the body of a request comes within {seconds:g} s ([hub] body_s)"
            raise BadInput(message, code="REQUEST_TIMEOUT") from None
        raise
    except RequestPayloadError as error:
        raise BadInput(f"the body is not valid HTTP/1.1: {error}") from None
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _too_large(limit_kb: int, setting: str) -> TooLarge:
    return TooLarge(
        f"the body is larger than {limit_kb} KiB, the bound of this route ([hub] {setting})",
        details={"limit_bytes": limit_kb * KB, "setting": f"hub.{setting}"},
    )
