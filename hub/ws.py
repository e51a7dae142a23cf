"""WebSockets: who may open one, how many, and how long; each is a `hub.conversation.HubSocket`.

A socket is let in before its handshake, as any request is. A reload hands the sockets of stateless handlers over to the
next generation; the others are calls on the generation that they began on.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from abc import abstractmethod
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from aiohttp import HttpVersion11, web

from hub.auth import Doorkeeper, credential_of_handshake
from hub.conversation import HubSocket, Left
from hub.dispatch import Endpoint, Match
from hub.errors import STOPPING_RETRY_S
from hub.fanout import Fanout
from hub.frames import GOING_AWAY
from hub.reauthorisation import Reauthorisation, Standing
from hub.settings import HubSettings
from kernel import (
    BadInput,
    Clock,
    Context,
    Credential,
    Grounds,
    Identity,
    Kernel,
    Overloaded,
    Route,
    SocketError,
    Unauthenticated,
)

VERSION = "13"
KEY_BYTES = 16


class SocketEndpoint(Endpoint):
    """What stands behind a socket's path."""

    __slots__ = ()

    stateless: bool
    key: tuple[str, str]

    @abstractmethod
    def bind(self, request: web.Request, match: Match) -> dict[str, Any]:
        """Return the arguments from path and query; raise `BadInput`."""

    @abstractmethod
    async def converse(
        self,
        ctx: Context,
        arguments: dict[str, Any],
        socket: HubSocket,
        entering: Callable[[Route], Awaitable[None]],
    ) -> None:
        """Ask for the right, await `entering` with the route that is entered, and run its handler."""


class Sockets:
    """All open sockets of the hub."""

    def __init__(
        self,
        kernel: Kernel,
        settings: HubSettings,
        fanout: Fanout,
        doorkeeper: Doorkeeper,
        reauthorisation: Reauthorisation,
    ) -> None:
        self.settings = settings
        self._doorkeeper = doorkeeper
        self._reauthorisation = reauthorisation
        self._fanout = fanout
        self._kernel = kernel
        self._clock: Clock = kernel.clock
        self._open: dict[HubSocket, Standing | None] = {}
        self._by_caller: Counter[str] = Counter()
        self._heart: asyncio.Task[None] | None = None
        self._closing = ""
        self.cut = 0
        """Sockets that ended because their client read too slowly."""
        self.refused = 0
        """Sockets that were one too many."""

    @property
    def open(self) -> int:
        """How many sockets are open."""
        return len(self._open)

    def close(self, reason: str) -> None:
        """Close every open socket with 1001, and open no more."""
        self._closing = reason
        for socket in list(self._open):
            socket.end(GOING_AWAY, reason, SocketError("SHUTTING_DOWN", reason))

    def renew(self, endpoints: Iterable[Endpoint]) -> None:
        """Hand the sockets of stateless handlers over to the endpoints of a new table."""
        if not self._open:
            return
        known = {endpoint.key: endpoint for endpoint in endpoints if isinstance(endpoint, SocketEndpoint)}
        for socket in self._open:
            old = socket.match.endpoint
            assert isinstance(old, SocketEndpoint)
            new = known.get(old.key)
            if new is not None and new is not old and old.stateless and new.stateless:
                socket.renew(new)

    async def serve(self, request: web.Request, match: Match) -> web.StreamResponse:
        """Shake hands and talk until one side closes; errors before the handshake are the request's."""
        check_handshake(request)
        credential, subprotocol = credential_of_handshake(request, match.address)
        _endpoint(match).bind(request, match)
        if self._closing:
            raise Overloaded(self._closing, code="SHUTTING_DOWN", retry_after_s=STOPPING_RETRY_S)
        if len(self._open) >= self.settings.sockets:
            self.refused += 1
            raise Overloaded(f"{len(self._open)} sockets are open, the bound ([hub] sockets)")
        socket = HubSocket(request, match, subprotocol, self.settings, self._fanout, self._authenticate)
        if not socket.response.can_prepare(request):
            raise BadInput("this is no WebSocket handshake (RFC 6455, 4.1)", code="BAD_HANDSHAKE")
        self._open[socket] = None
        self._beat()
        try:
            identity = match.identity if credential is None else None
            if identity is None:
                identity = await self._identify(socket, credential)
            standing = self._enter(socket, identity)
            await self._talk(socket, request, match, standing)
        except Left:
            pass
        except ConnectionError:
            raise
        except Exception as error:
            if not socket.accepted:
                raise
            socket.fail(error, where=f"WS {match.endpoint.pattern}" if match.endpoint is not None else "a socket")
        finally:
            await self._leave(socket)
        return socket.response

    async def _identify(self, socket: HubSocket, credential: Credential | None) -> Identity:
        # After the handshake: a browser's page learns nothing of a handshake that is refused.
        await socket.accept()
        if credential is not None:
            return await self._doorkeeper.verify(credential)
        seconds = self.settings.socket_auth_s
        try:
            async with self._clock.timeout(seconds) as limit:
                credential = await socket.credential()
        except TimeoutError:
            if not limit.expired():
                raise
            raise Unauthenticated(f"no token came within {seconds:g} s ([hub] socket_auth_s)") from None
        return await self._doorkeeper.verify(credential)

    def _enter(self, socket: HubSocket, identity: Identity) -> Standing:
        self._count(identity.caller.id)
        standing = Standing(identity, Grounds(), socket.revoke)
        self._open[socket] = standing
        self._reauthorisation.enter(standing)
        socket.known = True
        return standing

    async def _authenticate(self, socket: HubSocket, credential: Credential) -> None:
        """Take an auth message of a socket whose client is known: a token for one that had none, or a newer one."""
        standing = self._open[socket]
        assert standing is not None
        identity = await self._doorkeeper.verify(credential)
        before, after = standing.identity.caller.id, identity.caller.id
        if before != after:
            endpoint = socket.match.endpoint
            if standing.identity.session or not (isinstance(endpoint, SocketEndpoint) and endpoint.stateless):
                raise BadInput(f"this socket is {before}'s; open another one for {after}")
            self._count(after)
            self._discount(before)
        standing.identity = identity
        self._reauthorisation.enter(standing)
        if before != after:
            # What the one before was given stays among the grounds, and so does what is followed by them.
            socket.hand_over()

    def _count(self, caller: str) -> None:
        most = self.settings.sockets_per_user
        if self._by_caller[caller] >= most:
            self.refused += 1
            raise Overloaded(
                f"{caller} has {most} open sockets, the bound ([hub] sockets_per_user)",
                code="TOO_MANY_SOCKETS",
                retry_after_s=STOPPING_RETRY_S,
            )
        self._by_caller[caller] += 1

    def _discount(self, caller: str) -> None:
        self._by_caller[caller] -= 1
        if not self._by_caller[caller]:
            del self._by_caller[caller]

    async def _leave(self, socket: HubSocket) -> None:
        try:
            await socket.finish()
        finally:
            self.cut += socket.slow
            standing = self._open.pop(socket)
            if standing is not None:
                self._reauthorisation.leave(standing)
                self._discount(standing.identity.caller.id)
            if not self._open and self._heart is not None:
                self._heart.cancel()
                self._heart = None

    async def _talk(self, socket: HubSocket, request: web.Request, match: Match, standing: Standing) -> None:
        """Run the handler, and that of each generation that goes on with the socket."""
        while True:
            # In frames of its own, so that none of ours keeps the generation that ends.
            await self._call(socket, request, match, standing)
            if not socket.renewing or socket.left:
                return
            socket.renewing = False

    async def _call(self, socket: HubSocket, request: web.Request, match: Match, standing: Standing) -> None:
        endpoint = _endpoint(match)
        arguments = endpoint.bind(request, match)
        ctx = self._kernel.context(
            standing.identity.caller, trace=match.request_id, address=match.address, grounds=standing.grounds
        )
        try:
            async with asyncio.timeout(None) as scope:
                socket.scope = scope
                socket.hasten()
                await endpoint.converse(ctx, arguments, socket, socket.enter)
        except TimeoutError:
            if not scope.expired():
                raise
        except Left:
            pass
        finally:
            socket.scope = socket.decoder = None

    # The heart ---------------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        if self._heart is None:
            self._heart = asyncio.create_task(self._beating(), name="pings to sockets")

    async def _beating(self) -> None:
        while True:
            await self._clock.sleep(self.settings.ping_s)
            for socket in list(self._open):
                socket.beat()


def _endpoint(match: Match) -> SocketEndpoint:
    assert isinstance(match.endpoint, SocketEndpoint)
    return match.endpoint


def check_handshake(request: web.Request) -> None:
    """Return when the request is a whole WebSocket handshake; else raise `BadInput` that says what is missing."""
    headers = request.headers
    problem = ""
    if request.version != HttpVersion11:
        problem = "it comes over HTTP/1.1"
    elif "upgrade" not in {token.strip().lower() for token in headers.get("Connection", "").split(",")}:
        problem = "it has the header Connection: Upgrade"
    elif headers.get("Sec-WebSocket-Version") != VERSION:
        problem = f"it has the header Sec-WebSocket-Version: {VERSION}"
    elif request.body_exists:
        problem = "it has no body"
    elif not _is_key(headers.getall("Sec-WebSocket-Key", [])):
        problem = f"it has the header Sec-WebSocket-Key with {KEY_BYTES} bytes in base64"
    if problem:
        raise BadInput(f"this is no WebSocket handshake: {problem} (RFC 6455, 4.1)", code="BAD_HANDSHAKE")


def _is_key(given: Sequence[str]) -> bool:
    try:
        return len(given) == 1 and len(base64.b64decode(given[0], validate=True)) == KEY_BYTES
    except (binascii.Error, ValueError):
        return False
