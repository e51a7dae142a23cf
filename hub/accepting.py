"""Where connections come in: listening sockets that stay answerable when no file descriptor is left.

asyncio's own way of accepting stops for a second then, and clients wait without a word. Here one of the reserve is
given up for each: the connection is accepted, may ask for the hub's health, and ends.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from typing import Final

from aiohttp import web

from hub.admission import Connections
from hub.descriptors import Reserve
from hub.limits import HubRunner, HubServer

log = logging.getLogger("hub.accepting")

BACKLOG = 1_024
"""Connections that the system holds for a socket until they are accepted.

Beyond it a client may take itself for connected, and the hub knows nothing of it.
"""

AT_ONCE = 32
"""Connections accepted in one turn of the loop; others have theirs in between."""

TURN_S = 0.002
"""How long nothing is accepted when the reserve is lent, too: until who was dismissed has let go of his."""

PAUSE_S = 0.05
"""The same where nobody could be dismissed."""

CALM_S = 5.0
"""How long no descriptor may have been lacking before that is said."""

NONE_LEFT: Final = frozenset({errno.EMFILE, errno.ENFILE})
PASSING: Final = frozenset({errno.ENOBUFS, errno.ENOMEM})


class Acceptor:
    """Accepts connections for all sites of one hub, with one reserve of descriptors."""

    def __init__(self, runner: HubRunner, spare_connections: int) -> None:
        self._runner = runner
        self._connections: Connections = runner.connections
        self._reserve = Reserve(spare_connections)
        self._reserve.fill()
        self._starting: set[asyncio.Task[object]] = set()
        self._lacking = False
        self._lent_at = 0.0
        self.open = True

    def close(self) -> None:
        """Give the reserve back."""
        self.open = False
        self._reserve.close()

    def accept(self, listening: socket.socket) -> float:
        """Accept who waits; return for how many seconds none can be accepted."""
        for _ in range(AT_ONCE):
            try:
                accepted, lent = self._next(listening)
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                self.restore()
                return 0.0
            except OSError as error:
                if error.errno not in NONE_LEFT | PASSING:
                    raise
                # Who asks nothing makes room for who may.
                return TURN_S if self._connections.dismiss_oldest() else PAUSE_S
            self._begin(accepted, lent)
            # Spare connections follow each other no faster than they can say what they want.
            if lent or self._connections.crowded:
                break
        return 0.0

    def _next(self, listening: socket.socket) -> tuple[socket.socket, bool]:
        """Return the next connection, and whether a descriptor was lent for it."""
        lent = False
        while True:
            try:
                accepted, _ = listening.accept()
            except OSError as error:
                # More than once, for a thread may have been faster to take what was given up.
                if error.errno not in NONE_LEFT or not self._reserve.lend():
                    raise
                lent = True
            else:
                accepted.setblocking(False)
                return accepted, lent

    def _begin(self, accepted: socket.socket, lent: bool) -> None:
        server = self._runner.server
        if server is None:
            accepted.close()
            return
        assert isinstance(server, HubServer)
        if lent:
            self._connections.lacking += 1
        else:
            self.restore()
        self._tell(lent)
        make = (lambda: server.lent(self.restore_soon)) if lent else server
        loop = asyncio.get_running_loop()
        starting = loop.create_task(loop.connect_accepted_socket(make, accepted))
        self._starting.add(starting)
        starting.add_done_callback(self._started)

    def _started(self, starting: asyncio.Task[object]) -> None:
        self._starting.discard(starting)
        if not starting.cancelled() and starting.exception() is not None:
            log.warning("a connection was lost as it began: %r", starting.exception())

    def restore_soon(self) -> None:
        """Take lent descriptors back once a connection that ends now has let go of its own."""
        asyncio.get_running_loop().call_soon(self.restore)

    def restore(self) -> None:
        """Take lent descriptors back as far as there are free ones."""
        if self.open and not self._reserve.full:
            self._reserve.fill()

    def _tell(self, lent: bool) -> None:
        """Say once that descriptors ran out, and once that they have not for a while."""
        now = asyncio.get_running_loop().time()
        if lent and not self._lacking:
            log.warning(
                "no file descriptor is left: %d connections are open; whoever comes now may only ask for /health",
                self._connections.open,
            )
        elif self._lacking and not lent and now - self._lent_at > CALM_S:
            self._lacking = False
            log.warning("there are file descriptors again")
        if lent:
            self._lacking, self._lent_at = True, now


class HubSite(web.BaseSite):
    """One address that a hub listens on: a port of `host`, or the socket file `path`."""

    __slots__ = ("_accepting", "_host", "_listening", "_path", "_paused", "_port")

    def __init__(
        self, runner: HubRunner, accepting: Acceptor, *, host: str = "", port: int = 0, path: str | None = None
    ) -> None:
        super().__init__(runner, backlog=BACKLOG)
        self._accepting = accepting
        self._host, self._port, self._path = host, port, path
        self._listening: list[socket.socket] = []
        self._paused: set[asyncio.TimerHandle] = set()

    @property
    def name(self) -> str:
        """Its address."""
        return f"unix:{self._path}" if self._path is not None else f"http://{self._host}:{self._port}"

    @property
    def port(self) -> int:
        """The port it listens on, once it does."""
        return self._port

    async def start(self) -> None:
        """Listen; raise `OSError` where that is not possible."""
        await super().start()
        loop = asyncio.get_running_loop()
        server = self._runner.server
        assert server is not None
        # asyncio makes the sockets, one for each address of a name; what it does not do is accept.
        if self._path is not None:
            self._server = made = await loop.create_unix_server(server, self._path, start_serving=False)
        else:
            self._server = made = await loop.create_server(server, self._host, self._port, start_serving=False)
        for each in made.sockets:
            listening = socket.socket(fileno=os.dup(each.fileno()))
            listening.setblocking(False)
            self._listening.append(listening)
            listening.listen(BACKLOG)
            self._watch(listening)
        if self._path is None:
            self._port = self._listening[0].getsockname()[1]

    async def stop(self) -> None:
        """Accept no more."""
        for pause in self._paused:
            pause.cancel()
        self._paused.clear()
        for listening in self._listening:
            asyncio.get_running_loop().remove_reader(listening)
            listening.close()
        self._listening.clear()
        await super().stop()

    def _watch(self, listening: socket.socket) -> None:
        asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        seconds = self._accepting.accept(listening)
        if not seconds:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(listening)

        def resume() -> None:
            self._paused.discard(pause)
            self._accepting.restore()
            self._watch(listening)

        pause = loop.call_later(seconds, resume)
        self._paused.add(pause)
