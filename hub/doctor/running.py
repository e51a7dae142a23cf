"""The hub that runs on a home, if one does, and the ports it has or would take."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil

from hub.first_steps import command_line, of_home
from hub.home import LOCK, socket_path
from hub.settings import HubSettings
from kernel import VERSION, Config, Finding

ANSWER_S = 1.0
"""How long a running hub may take to say how it is."""


class HubThere(msgspec.Struct, frozen=True):
    """Whether a hub holds a home, and which process that is."""

    locked: bool
    pid: int | None = None

    @classmethod
    def on(cls, home: Path) -> HubThere:
        """Look at the lock of `home` without keeping it."""
        try:
            descriptor = os.open(home / LOCK, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return cls(False)
        try:
            # Held for no longer than it takes to let go of it: a hub that starts meanwhile must not find it taken.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.read(descriptor, 32).decode("ascii", "replace").strip()
            return cls(True, int(text) if text.isdecimal() else None)
        else:
            return cls(False)
        finally:
            os.close(descriptor)  # and with it the lock


def running_findings(config: Config, there: HubThere) -> Iterator[Finding]:
    """Ask the running hub how it is, and look whether its ports are its own, or free."""
    home = config.paths.home
    if not there.locked:
        yield Finding("hub", "ok", f"none runs on {home}; {command_line('serve', *of_home(home))} starts one")
    else:
        yield from _health(home, there)
    yield from _ports(config.hub, there)


def _health(home: Path, there: HubThere) -> Iterator[Finding]:
    who = f"the hub of {home} (pid {there.pid})"
    import aiohttp  # a quarter of a second, which only a running hub costs

    try:
        version, said = asyncio.run(_ask(home))
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        found = f"{who} holds its lock, but does not answer on {socket_path(home)}: {error or type(error).__name__}"
        yield Finding("hub", "fail", found, "look at its log; if it hangs, end that process and start it again")
        return
    if version != VERSION:
        yield Finding("hub", "warn", f"{who} is version {version}, installed is {VERSION}", "start it again")
    reasons = said.get("reasons", {})
    ready = said.get("status") == "ready"
    if ready:
        yield Finding("hub", "ok", f"{who} is ready, {len(said.get('checks', {}))} components were asked")
    else:
        yield Finding("hub", "fail", f"{who} is not ready", "see what follows, and its log")
    for name, reason in reasons.items():
        yield Finding(f"hub: {name}", "warn" if ready else "fail", str(reason))


async def _ask(home: Path) -> tuple[str, dict[str, Any]]:
    import aiohttp

    connector = aiohttp.UnixConnector(str(socket_path(home)))
    timeout = aiohttp.ClientTimeout(total=ANSWER_S)
    async with (
        aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
        session.get("http://localhost/health/ready") as response,
    ):
        said = await response.json()
        if not isinstance(said, dict):
            raise ValueError("its answer is not what a hub says")
        return response.headers.get("X-Hub-Version", "unknown"), said


def _ports(hub: HubSettings, there: HubThere) -> Iterator[Finding]:
    own = _listening(there.pid) if there.pid is not None else set()
    for port in (hub.port, *hub.compat_ports):
        if port == 0:
            yield Finding("port", "ok", "any free one is taken at the start")
        elif port in own:
            yield Finding("port", "ok", f"{hub.host}:{port} is this home's hub's")
        elif (error := _taken(hub.host, port)) is None:
            started = "; the hub that runs listens elsewhere" if there.locked else ""
            yield Finding("port", "ok", f"{hub.host}:{port} is free{started}")
        elif there.locked:
            # It was started with another port, so nothing is wrong until its next start.
            yield Finding("port", "warn", f"{hub.host}:{port}: {error}, {_holder(port)}", "choose another --port")
        else:
            yield Finding("port", "fail", f"{hub.host}:{port}: {error}, {_holder(port)}", "choose another --port")


def _taken(host: str, port: int) -> str | None:
    """Return why nothing could listen there, or None; as the hub would, and let go of at once."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in found:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(address)
                probe.listen(1)
    except OSError as error:
        return error.strerror or str(error)
    return None


def _listening(pid: int) -> set[int]:
    try:
        connections = psutil.Process(pid).net_connections("tcp")
    except psutil.Error:
        return set()
    return {port for c in connections if c.status == psutil.CONN_LISTEN for port in c.laddr[1:]}


def _holder(port: int) -> str:
    """Return who listens on a port, as far as this user may know."""
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and port in connection.laddr[1:] and connection.pid:
                return f"by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except (psutil.Error, PermissionError):
        pass
    return "by a process of another user"
