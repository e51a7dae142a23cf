"""A client of a running hub over both of its doors: TCP (`user:local`) and the console socket (`core:console`)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from hub_process import HubProcess, hub_process
from whole_hub import whole_hub


@dataclass(frozen=True)
class HubHere:
    """A hub in this process: its address and its folders, named as a `HubProcess` names them."""

    url: str
    home: Path
    plugins: Path


@dataclass
class HubClient:
    """Asks, checks the status, and gives the decoded answer."""

    hub: HubProcess | HubHere
    local: aiohttp.ClientSession
    console: aiohttp.ClientSession

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        status: int = 200,
        *,
        console: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Send one request and return the decoded body; the status must be the one that is given."""
        session, base = (self.console, "http://localhost") if console else (self.local, self.hub.url)
        async with session.request(method, base + path, json=body, headers=headers) as response:
            assert response.status == status, await response.text()
            return await response.json()


@asynccontextmanager
async def hub_client(home: Path, *options: str) -> AsyncIterator[HubClient]:
    """Run a hub whose HOME is `home`, as a process, and yield a client of it."""
    async with hub_process(home, *options) as hub, client_of(hub) as client:
        yield client


@asynccontextmanager
async def client_here(home: Path) -> AsyncIterator[HubClient]:
    """The same with a hub in this process, for what is no matter of processes, options or files of settings."""
    async with whole_hub(home) as server:
        paths = server.kernel.config.paths
        async with client_of(HubHere(f"http://127.0.0.1:{server.port}", paths.home, paths.plugins)) as client:
            yield client


@asynccontextmanager
async def client_of(hub: HubProcess | HubHere) -> AsyncIterator[HubClient]:
    """Yield a client of a running hub."""
    socket = aiohttp.UnixConnector(str(hub.home / "hub.sock"))
    async with aiohttp.ClientSession() as local, aiohttp.ClientSession(connector=socket) as console:
        yield HubClient(hub, local, console)
