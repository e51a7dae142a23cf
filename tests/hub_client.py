"""A client of a running hub over both of its doors: TCP (`user:local`) and the console socket (`core:console`)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from hub_process import HubProcess, hub_process


@dataclass
class HubClient:
    """Asks, checks the status, and gives the decoded answer."""

    hub: HubProcess
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
    """Run a hub whose HOME is `home` and yield a client of it."""
    async with hub_process(home, *options) as hub:
        socket = aiohttp.UnixConnector(str(hub.home / "hub.sock"))
        async with aiohttp.ClientSession() as local, aiohttp.ClientSession(connector=socket) as console:
            yield HubClient(hub, local, console)
