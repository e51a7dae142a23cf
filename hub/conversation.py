"""One open socket: `kernel.Socket` for its handler, over aiohttp's handshake and parser.

One task reads and the request's own task runs the handler. How a socket ends is decided here, not by the library: with
a reason, and within bounds. Events of the bus are written by `hub.fanout`, encoded once for all.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
from aiohttp import WebSocketError, WSMsgType, web

from hub.answer import NO_STORE, SECURITY, encode
from hub.auth import credential_of_message
from hub.dispatch import Endpoint, Match
from hub.errors import STOPPING_RETRY_S, Failure, failure_of
from hub.fanout import FRAMED, SLOW, Fanout, Line
from hub.following import Follower
from hub.frames import (
    FAILED,
    GOING_AWAY,
    NO_TEXT,
    NORMAL,
    PING_FRAME,
    REFUSED,
    RESTART,
    TEXT,
    TRY_AGAIN,
    FrameGuard,
    close_frame,
    frame,
)
from hub.limits import KB, Connection
from hub.settings import HubSettings
from hub.strictjson import check_json
from kernel import (
    AetherraError,
    BadInput,
    ContractError,
    Credential,
    Gone,
    MessageDecoder,
    Overloaded,
    Route,
    SocketError,
    TooLarge,
    Unauthenticated,
)

REVOKED_S = 0.5
"""How long a client may take to read that its socket may not go on; then its connection is cut."""

OWN_CODES = range(3_000, 5_000)

CODES = {"GENERATION_ENDED": RESTART, "SHUTTING_DOWN": GOING_AWAY}
"""Codes of errors that close with a code of their own."""


class Left(Gone):
    """Raised in a handler that uses a socket which is over for it."""


class Upgrade(web.WebSocketResponse):
    """The library's side of a socket: it shakes hands and parses. How a socket ends is ours."""

    async def close(self, *, code: int = NORMAL, message: bytes = b"", drain: bool = True) -> bool:
        """Do nothing; the library would wait here, and close without a reason."""
        return False


class HubSocket:
    """One socket: `kernel.Socket` for its handler, and what the hub does with it."""

    def __init__(
        self,
        request: web.Request,
        match: Match,
        subprotocol: str | None,
        settings: HubSettings,
        fanout: Fanout,
        authenticate: Callable[[HubSocket, Credential], Awaitable[None]],
    ) -> None:
        connection = request.protocol
        assert isinstance(connection, Connection)
        self.match = match
        self.accepted = False
        self.renewing = False
        """Its handler is to end, and the next generation's to go on."""
        self.scope: asyncio.Timeout | None = None
        self.decoder: MessageDecoder | None = None
        self.left = ""
        """Why nothing can be sent any more; empty while the socket is open."""
        self.known = False
        """It is settled who the client is."""
        self._settings = settings
        self._authenticate_again = authenticate
        self._fanout = fanout
        self._request = request
        self._connection = connection
        self._line = Line(request, settings, FRAMED)
        self._closing = False
        self._follower: Follower | None = None
        self._inbox: deque[str] = deque()
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._credential: asyncio.Future[Credential] = asyncio.get_running_loop().create_future()
        self._reading: asyncio.Task[None] | None = None
        self._guard = FrameGuard(self._settings.socket_kb * KB, "[hub] socket_kb")
        self.response = self._upgrade(subprotocol)

    def _upgrade(self, subprotocol: str | None) -> Upgrade:
        response = Upgrade(
            compress=False,
            protocols=() if subprotocol is None else (subprotocol,),
            # The guard holds the bound, with a reason; this one only must not come before it.
            max_msg_size=2 * self._settings.socket_kb * KB,
        )
        response.headers.update({**SECURITY, **self.match.cors, "X-Request-Id": self.match.request_id})
        response.headers["Cache-Control"] = NO_STORE
        response.headers["Server"] = "aetherra"
        return response

    @property
    def slow(self) -> bool:
        """It was cut because its client read too slowly."""
        return self._follower is not None and self._follower.slow

    # Beginning ---------------------------------------------------------------------------------------------------

    async def enter(self, route: Route) -> None:
        """Get ready for the handler of a route: shake hands, unless that is done, and read what it takes."""
        self.decoder = MessageDecoder(route.signature.receives)
        await self.accept()

    async def accept(self) -> None:
        """Shake hands, once, and begin to read."""
        if self.accepted:
            return
        if self.left:
            raise Overloaded(self.left, code="SHUTTING_DOWN", retry_after_s=STOPPING_RETRY_S)
        self.accepted = True
        self._connection.guard = self._guard
        await self.response.prepare(self._request)
        self._connection.on_lost(self._lost)
        self._guard.on_fault = self._fault
        if self._guard.fault is not None:
            self._fault(*self._guard.fault)
        self._reading = asyncio.create_task(self._read(), name=f"socket {self._request.path}")

    async def credential(self) -> Credential:
        """Return the credential of the first message, which has to be one; raise `Left` when none comes."""
        return await self._credential

    # Reading -----------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        while True:
            message: Any = await self.response.receive()
            if message.type is WSMsgType.TEXT:
                await self._take(message.data)
            elif message.type is WSMsgType.CLOSE:
                return self._closed(message.data or NORMAL)
            elif message.type is WSMsgType.ERROR and isinstance(message.data, WebSocketError):
                return self._fault(message.data.code, str(message.data))
            else:
                return self._lost()

    async def _take(self, text: str) -> None:
        if self._closing:
            return
        try:
            credential = credential_of_message(text, self.match.address)
        except BadInput as error:
            await self._complain(error, text)
            return
        if credential is not None:
            await self._authenticate(credential)
        elif self.known:
            while len(self._inbox) >= self._settings.socket_messages and not self.left:
                self._room.clear()
                await self._room.wait()
            self._inbox.append(text)
            self._arrived.set()
        elif not self._credential.done():
            self._credential.set_exception(Unauthenticated('say who you are first: {"type":"auth","token":...}'))

    async def _authenticate(self, credential: Credential) -> None:
        if not self.known:
            if not self._credential.done():
                self._credential.set_result(credential)
            return
        try:
            await self._authenticate_again(self, credential)
        except BadInput as error:
            await self._complain(error, "")
        except Exception as error:
            self.fail(error, where="a socket's auth message")

    async def _complain(self, error: BadInput, text: str) -> None:
        complaint = SocketError(error.code, error.message, error.details, id=_id_of(text))
        if not self.left:
            self._write(frame(TEXT, encode(complaint)))
            await self._line.drain()

    def _closed(self, code: int) -> None:
        """The client closed, or answered our close."""
        if not self._closing:
            self._closing = True
            self._leave("the client has closed the socket")
            self._write(close_frame(code, ""))
            self._connection.cut_after(self._settings.socket_close_s)
        transport = self._connection.transport
        if transport is not None:
            transport.close()

    def _lost(self) -> None:
        self._closing = True
        self._leave("the client is gone")

    def _fault(self, code: int, reason: str) -> None:
        """The client broke the protocol: close, and read no more."""
        if not self._closing:
            if code == NO_TEXT:
                self._tell(SocketError("BAD_INPUT", "a message is UTF-8"))
            self.end(code, reason)
        self._connection.linger()

    # The handler's side ------------------------------------------------------------------------------------------

    def __aiter__(self) -> HubSocket:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self.receive()
        except Left:
            raise StopAsyncIteration from None

    async def receive(self) -> Any:
        """Return the next message that fits; the client is told of those that do not."""
        decoder, settings = self.decoder, self._settings
        assert decoder is not None
        while True:
            while not self._inbox or self.renewing:
                if self.renewing:
                    raise Left("the plugin was replaced, and its next version goes on with this socket")
                if self.left:
                    raise Left(self.left)
                self._arrived.clear()
                await self._arrived.wait()
            text = self._inbox.popleft()
            self._room.set()
            try:
                data = text.encode()
                check_json(data, depth=settings.json_depth, nodes=settings.json_nodes, what="message")
                return decoder.decode(data)
            except (BadInput, TooLarge) as error:
                await self._complain(BadInput(error.message, details=error.details), text)

    async def send(self, value: Any) -> None:
        """Send one message."""
        message = frame(TEXT, encode(value))
        if self.left:
            raise Left(self.left)
        self._write(message)
        await self._line.drain()

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Close from the handler."""
        if code != NORMAL and code not in OWN_CODES:
            raise ContractError(f"a handler closes a socket with 1000, or 3000 to 4999 for ends of its own, not {code}")
        self.end(code, reason)

    @property
    def following(self) -> Sequence[str]:
        """The topics that are followed."""
        return self._follower.topics if self._follower is not None else ()

    async def follow(
        self, topics: Sequence[str], *, since: int | None = None, opening: Callable[[int], Any] | None = None
    ) -> int:
        """Let events of the bus go out."""
        asked = tuple(dict.fromkeys((topics,) if isinstance(topics, str) else topics))
        if self.left:
            raise Left(self.left)
        if self._follower is None:
            self._follower = Follower(self._line, self._fanout, self._settings, self.too_slow)
        position = await self._follower.follow(asked, since, opening)
        if self.left:
            raise Left(self.left)
        return position

    async def unfollow(self, topics: Sequence[str]) -> list[str]:
        """Let events of these topics go out no longer."""
        asked = dict.fromkeys((topics,) if isinstance(topics, str) else topics)
        return [topic for topic in asked if self._follower is not None and self._follower.unfollow(topic)]

    # Ending ------------------------------------------------------------------------------------------------------

    def end(self, code: int, reason: str, error: SocketError | None = None) -> None:
        """Close from our side, with an error as the last message if there is one."""
        if self._closing:
            return
        self._closing = True
        if not self.accepted:
            self._leave(reason)
            return
        resume = self._follower.finish() if self._follower is not None else None
        if error is not None:
            self._tell(error, resume)
        self._write(close_frame(code, reason))
        self._leave(reason or "the socket was closed")
        slow = error is not None and error.code == SLOW
        self._connection.cut_after(self._settings.stream_cut_s if slow else self._settings.socket_close_s)

    def too_slow(self) -> None:
        """End since more events wait than may."""
        text = "this client reads more slowly than events come; connect again and resume"
        self.end(TRY_AGAIN, text, SocketError(SLOW, text))

    def fail(self, error: Exception, *, where: str) -> None:
        """Say what went wrong, and close with the code that fits."""
        failure = failure_of(error, where=where)
        told = SocketError(failure.code, failure.message, failure.details, failure.error_id)
        self.end(close_code(failure), failure.message, told)

    def _tell(self, error: SocketError, resume: int | None = None) -> None:
        self._write(frame(TEXT, encode(msgspec.structs.replace(error, resume=resume))))

    def _write(self, block: bytes) -> None:
        if not self._line.gone:
            self._line.write(block)

    def _leave(self, reason: str) -> None:
        """Tell the handler's side that it is over, and cut it when it does not end by itself."""
        self.left = self.left or reason
        self._arrived.set()
        self._room.set()
        if not self._credential.done():
            self._credential.set_exception(Left(self.left))
        self.hasten()

    def hasten(self) -> None:
        """Give the handler a while to end, if the socket is over."""
        if self.left and self.scope is not None and self.scope.when() is None:
            self.scope.reschedule(asyncio.get_running_loop().time() + self._settings.socket_close_s)

    def revoke(self, error: AetherraError) -> None:
        """End, since who opened this may not go on with it."""
        self.fail(error, where="a socket that was let in")
        self._connection.cut_after(REVOKED_S)

    def renew(self, endpoint: Endpoint) -> None:
        """Let the handler end, and that of another generation go on."""
        self.match.endpoint = endpoint
        self.hand_over()

    def hand_over(self) -> None:
        """Let the handler end, and begin anew on the same socket."""
        self.renewing = True
        self._arrived.set()

    def beat(self) -> None:
        """Ask whether the client is there; drop one that did not answer the last time."""
        if self._closing or not self.accepted or self._connection.writing_paused:
            return  # who does not read is looked after by the connection
        if not self._guard.heard:
            transport = self._connection.transport
            if transport is not None:
                transport.abort()
            return
        self._guard.heard = False
        self._write(PING_FRAME)

    async def finish(self) -> None:
        """Close, if nobody has; wait until the client has answered; leave nothing behind."""
        reading = self._reading
        try:
            if reading is not None:
                self.end(NORMAL, "")
                await asyncio.wait({reading})
        finally:
            if self._follower is not None:
                self._follower.leave()
            if reading is not None and not reading.done():
                reading.cancel()
            if not self._credential.cancel() and not self._credential.cancelled():
                self._credential.exception()


def close_code(failure: Failure) -> int:
    """Return the code with which a socket closes after an error: 4000 and the status of a refusal, such as 4403."""
    own = CODES.get(failure.code)
    if own is not None:
        return own
    if failure.status in (429, 503):
        return TRY_AGAIN
    return FAILED if failure.status >= 500 else REFUSED + failure.status


class _Numbered(msgspec.Struct):
    id: str | int | None = None


def _id_of(text: str) -> str | int | None:
    """Return the `id` that a message gave itself, so that a refusal can name it."""
    try:
        return msgspec.json.decode(text, type=_Numbered).id
    except (msgspec.DecodeError, RecursionError):
        return None
