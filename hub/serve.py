"""One hub process from start to end: lock, listen, start the kernel, serve, drain, stop."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hub.accepting import Acceptor, HubSite
from hub.app import HUB, Hub, check_administrator, make_app
from hub.descriptors import fit_connections
from hub.home import SOCKET_CHARS, HomeLock, socket_path
from hub.limits import HubRunner, is_loopback
from hub.settings import HubSettings
from kernel import Config, ConfigError, Kernel

log = logging.getLogger("hub.serve")

PRIVATE = 0o077
IPV4_LOOPBACK, IPV6_LOOPBACK = "127.0.0.1", "::1"


class Server:
    """A hub that listens: `await start()`, then `await stop()`. The lock on HOME is the caller's."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.app = make_app(kernel)
        self.hub: Hub = self.app[HUB]
        self.port = 0
        self.compat_ports: tuple[int, ...] = ()
        """The further ports it listens on, once it does."""
        settings = self.hub.settings
        self._runner = HubRunner(self.app, settings)
        self.hub.connections = self._runner.connections
        self._accepting: Acceptor | None = None
        self._sites: list[HubSite] = []
        self._socket = socket_path(kernel.config.paths.home)

    async def listen(self) -> None:
        """Listen on the TCP port and on `HOME/hub.sock`; from here on `/health` answers."""
        if len(os.fsencode(self._socket)) > SOCKET_CHARS:
            raise ConfigError(f"{self._socket} is too long for a socket; choose a shorter --home")
        settings = self.hub.settings
        check_ports(settings)
        await self._runner.setup()
        self._accepting = Acceptor(self._runner, settings.spare_connections)
        ports = [await self._listen_on(settings.port, "choose another --port ([hub] port)")]
        ports += [await self._listen_on(port, "take it out of [hub] compat_ports") for port in settings.compat_ports]
        await self._open(self._site(path=str(self._socket)), str(self._socket), "remove what lies there")
        self._socket.chmod(0o600)
        self.port, self.compat_ports = ports[0], tuple(ports[1:])
        self.hub.edge.listen_on(ports, settings.host)

    def _site(self, *, host: str = "", port: int = 0, path: str | None = None) -> HubSite:
        assert self._accepting is not None
        return HubSite(self._runner, self._accepting, host=host, port=port, path=path)

    async def _listen_on(self, port: int, advice: str) -> int:
        host = self.hub.settings.host
        site = self._site(host=host, port=port)
        await self._open(site, f"{host}:{port}", f"{advice}, or stop who has it")
        if host == IPV4_LOOPBACK:
            await self._listen_on_ipv6(site.port)
        return site.port

    async def _listen_on_ipv6(self, port: int) -> None:
        """Listen on `::1` too, where there is one: some clients take `localhost` for that address and no other."""
        site = self._site(host=IPV6_LOOPBACK, port=port)
        try:
            await site.start()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                log.warning("[::1]:%d is another program's; clients that take localhost for ::1 reach that one", port)
        else:
            self._sites.append(site)

    async def _open(self, site: HubSite, where: str, advice: str) -> None:
        try:
            await site.start()
        except OSError as error:
            await self._release()
            raise ConfigError(f"cannot listen on {where}: {error.strerror or error}; {advice}") from None
        self._sites.append(site)

    async def start(self) -> None:
        """Listen first, then start the kernel; the other way round where others may reach the address."""
        if not is_loopback(self.hub.settings.host):
            return await self._start_for_others()
        await self.listen()
        try:
            await self.kernel.start()
        except BaseException:
            await self._close()
            raise

    async def _start_for_others(self) -> None:
        # Whether there is an administrator, the kernel knows once it is up; nobody is let in before.
        await self.kernel.start()
        try:
            await check_administrator(self.kernel, self.hub.settings)
            await self.listen()
        except BaseException:
            await self.kernel.stop(0)
            self.hub.close()
            raise

    async def stop(self) -> None:
        """Accept no more, let requests in flight finish, end the streams, stop the kernel; once is enough."""
        if self._runner.server is None:
            return
        for site in self._sites:
            await site.stop()
        self._sites.clear()
        seconds, clock = self.hub.settings.drain_s, self.kernel.clock
        began = clock.monotonic()
        if not await self.hub.drain(seconds):
            log.warning("%d requests did not end within %g s (drain_s) and are cut", self.hub.in_flight, seconds)
        elif not await self._runner.answered(seconds - (clock.monotonic() - began)):
            log.warning("some answers were not taken within %g s (drain_s) and are cut", seconds)
        await self.kernel.stop(max(0.0, seconds - (clock.monotonic() - began)))
        await self._close()

    async def _close(self) -> None:
        self.hub.close()
        await self._release()
        self._socket.unlink(missing_ok=True)

    async def _release(self) -> None:
        await self._runner.cleanup()
        if self._accepting is not None:
            self._accepting.close()


def check_ports(settings: HubSettings) -> None:
    """Raise `ConfigError` for a port that the settings name twice."""
    named = [port for port in (settings.port, *settings.compat_ports) if port]
    for at, port in enumerate(named):
        if port in named[:at]:
            where = "which is [hub] port" if port == settings.port else "twice"
            raise ConfigError(f"[hub] compat_ports names {port}, {where}; it serves the same routes on further ports")


async def serve(config: Config, announce: Callable[[Server], None]) -> None:
    """Serve until SIGTERM or SIGINT; `announce` is called once the hub is ready. A second signal ends at once."""
    leave_no_core_file()
    with private_files(), HomeLock(config.paths.home):
        fit_connections(config)
        server = Server(Kernel(config))
        stop = asyncio.Event()
        with _signals(stop):
            starting = asyncio.create_task(server.start())
            stopped = asyncio.create_task(stop.wait())
            await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                stopped_early = starting.exception()
                if stopped_early is not None:
                    stopped.cancel()
                    raise stopped_early
                announce(server)
            else:
                await starting
            await stopped
            await server.stop()


def leave_no_core_file() -> None:
    """Let a crash of this process write none of its memory to a disk: there are secrets in it."""
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))


@contextmanager
def private_files() -> Iterator[None]:
    """Create files for the hub's own user alone while the block runs."""
    before = os.umask(PRIVATE)
    try:
        yield
    finally:
        os.umask(before)


@contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()

    def told(number: int) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told, number)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
