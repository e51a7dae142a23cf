"""A client of a hub in this process: over TCP as anybody, with a token, as if from elsewhere; or over the console."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from hub.serve import Server

PASSWORD = "correct horse battery"
ELSEWHERE = {"X-Forwarded-For": "203.0.113.9"}
"""For a hub that trusts 127.0.0.1 as a proxy: the request comes from another machine."""


@dataclass
class Answer:
    """What came back."""

    status: int
    json: Any
    headers: Mapping[str, str]


class Asking:
    """Asks one hub."""

    def __init__(self, server: Server, tcp: aiohttp.ClientSession, console: aiohttp.ClientSession) -> None:
        self.server = server
        self.tcp = tcp
        self._console = console

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server.port}"

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        form: Mapping[str, str] | None = None,
        console: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request and return what came back."""
        session, base = (self._console, "http://localhost") if console else (self.tcp, self.url)
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        async with session.request(method, base + path, json=body, data=form, headers=sent) as response:
            is_json = response.content_type == "application/json"
            return Answer(
                response.status, await (response.json() if is_json else response.text()), dict(response.headers)
            )

    async def person(self, name: str, *roles: str, password: str = PASSWORD) -> dict[str, Any]:
        """Make an account, log in, and return what that yields."""
        asked = {"name": name, "password": password, "roles": list(roles or ("user",))}
        made = await self.ask("POST", "/api/users", asked, console=True)
        assert made.status == 201, made.json
        return await self.login(name, password)

    async def login(self, name: str, password: str = PASSWORD) -> dict[str, Any]:
        """Log in and return what that yields."""
        answer = await self.ask("POST", "/api/auth/login", form={"username": name, "password": password})
        assert answer.status == 200, answer.json
        return dict(answer.json)


@asynccontextmanager
async def asking(server: Server) -> AsyncIterator[Asking]:
    """Yield a client of a hub that is started."""
    socket = aiohttp.UnixConnector(str(server.kernel.config.paths.home / "hub.sock"))
    async with aiohttp.ClientSession() as tcp, aiohttp.ClientSession(connector=socket) as console:
        yield Asking(server, tcp, console)
