"""What is open ends within a second once what it stands on is gone: real accounts, policy files, streams, sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from asking import PASSWORD, Asking, asking
from whole_hub import whole_hub

WITHIN_S = 1.0


@pytest_asyncio.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Asking]:
    """A hub whose policy files are its own copy."""
    async with whole_hub(tmp_path) as server, asking(server) as client:
        yield client


def policy(hub: Asking) -> Path:
    return Path(hub.server.kernel.config.paths.policies) / "default.toml"


async def log_out(hub: Asking, grant: dict[str, Any]) -> None:
    await hub.ask("POST", "/api/auth/logout", token=grant["access_token"])


async def demote(hub: Asking, grant: dict[str, Any]) -> None:
    await hub.ask("PATCH", "/api/users/ada", {"roles": ["user"]}, console=True)


async def disable(hub: Asking, grant: dict[str, Any]) -> None:
    await hub.ask("PATCH", "/api/users/ada", {"active": False}, console=True)


async def remove(hub: Asking, grant: dict[str, Any]) -> None:
    await hub.ask("DELETE", "/api/users/ada", console=True)


async def change_password(hub: Asking, grant: dict[str, Any]) -> None:
    asked = {"current": PASSWORD, "new": "another good password"}
    await hub.ask("POST", "/api/auth/password", asked, token=grant["access_token"])


async def steal(hub: Asking, grant: dict[str, Any]) -> None:
    for _ in range(2):
        await hub.ask("POST", "/api/auth/refresh", {"refresh_token": grant["refresh_token"]})


async def replace_keys(hub: Asking, grant: dict[str, Any]) -> None:
    await hub.ask("POST", "/api/tokens/keys", console=True)


async def edit_policy(hub: Asking, grant: dict[str, Any]) -> None:
    text = policy(hub).read_text()
    policy(hub).write_text(text.replace("[capabilities.deny]", '[capabilities.deny]\n"user:ada" = ["event:read"]'))
    answer = await hub.ask("POST", "/api/security/reload", console=True)
    assert answer.status == 200, answer.json


ENDS = {log_out: 4401, demote: 4401, disable: 4401, remove: 4401, change_password: 4401, steal: 4401, edit_policy: 4403}


@pytest.mark.parametrize("change", ENDS, ids=lambda change: change.__name__)
async def test_a_socket_and_a_stream_of_an_account_end_within_a_second(
    hub: Asking, change: Callable[[Asking, dict[str, Any]], Awaitable[None]]
) -> None:
    await hub.person("root", "admin")
    grant, bob = await hub.person("ada", "admin", "user"), await hub.person("bob")
    head = {"Authorization": f"Bearer {grant['access_token']}"}
    async with (
        hub.tcp.ws_connect(f"{hub.url}/api/events/ws", headers=head) as socket,
        hub.tcp.ws_connect(f"{hub.url}/api/events/ws", protocols=[f"bearer.{bob['access_token']}"]) as other,
        hub.tcp.get(f"{hub.url}/api/events?topics=module.*", headers=head) as stream,
    ):
        await socket.send_json({"type": "ping"})
        assert (await socket.receive_json())["type"] == "pong"
        await change(hub, grant)
        async with asyncio.timeout(WITHIN_S):
            told = await socket.receive_json()
            closed = await socket.receive()
            last = (await stream.content.read()).decode()
        code = ENDS[change]
        assert (closed.type, socket.close_code) == (aiohttp.WSMsgType.CLOSE, code)
        assert told["code"] == ("UNAUTHENTICATED" if code == 4401 else "CAPABILITY_DENIED")
        assert "event: error" in last
        assert told["code"] in last
        await other.send_json({"type": "ping"})
        assert (await other.receive_json())["type"] == "pong"


async def test_a_socket_of_a_service_token_ends_with_it_and_outlives_new_keys(hub: Asking) -> None:
    await hub.person("ada")
    made = await hub.ask("POST", "/api/tokens", {"name": "t", "scopes": ["event:read"], "user": "ada"}, console=True)
    head = {"Authorization": f"Bearer {made.json['secret']}"}
    async with hub.tcp.ws_connect(f"{hub.url}/api/events/ws", headers=head) as socket:
        await replace_keys(hub, {})
        await socket.send_json({"type": "ping"})
        assert (await socket.receive_json())["type"] == "pong"
        await hub.ask("DELETE", "/api/tokens/t", console=True)
        async with asyncio.timeout(WITHIN_S):
            assert (await socket.receive_json())["code"] == "UNAUTHENTICATED"
            await socket.receive()
        assert socket.close_code == 4401


async def test_a_socket_that_was_opened_here_without_a_token_becomes_an_accounts_by_a_message(hub: Asking) -> None:
    grant = await hub.person("ada")
    async with hub.tcp.ws_connect(f"{hub.url}/api/events/ws") as socket:
        await socket.send_json({"type": "subscribe", "topics": ["module.*"]})
        assert (await socket.receive_json())["type"] == "subscribed"
        await socket.send_json({"type": "auth", "token": grant["access_token"]})
        await socket.send_json({"type": "ping"})
        assert (await socket.receive_json())["type"] == "pong"
        await log_out(hub, grant)
        async with asyncio.timeout(WITHIN_S):
            assert (await socket.receive_json())["code"] == "UNAUTHENTICATED"
