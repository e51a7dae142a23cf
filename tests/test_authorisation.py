"""Every route, asked by every kind of caller; and what belongs to somebody, asked for by somebody else.

What is expected stands in `authorisation.toml`, written by hand. The requests are made of the router's own table, so a
route that nobody thought about is found here.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from asking import ELSEWHERE, Asking, asking
from whole_hub import whole_hub

from hub.binding import RequestDoor
from hub.dispatch import Endpoint
from kernel import SOCKET_METHOD, Caller, Chain
from kernel.testing import TestClock

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXPECTED: Mapping[str, Any] = tomllib.loads(Path(__file__).with_name("authorisation.toml").read_text())
LEVELS = {route: level for level, expected in EXPECTED.items() for route in expected["routes"]}
KINDS = sorted(EXPECTED["anybody"]["let_in"])

REQUESTS = {"limits.requests_per_minute": 1_000_000} | {
    f"limits.aimos_{kind}requests_per_minute": 1_000_000 for kind in ("", "admin_")
}


class House:
    """A hub, and a token of each kind of caller."""

    def __init__(self, hub: Asking, tokens: Mapping[str, str]) -> None:
        self.hub = hub
        self.tokens = tokens

    @property
    def endpoints(self) -> list[Endpoint]:
        """Everything that is served."""
        return list(self.hub.server.hub.dispatch.table.endpoints)

    def headers(self, kind: str) -> dict[str, str]:
        """Return what a kind of caller sends."""
        token = {"Authorization": f"Bearer {self.tokens[kind]}"} if kind in self.tokens else {}
        return token | (ELSEWHERE if kind == "elsewhere" else {})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """One hub for all tests of this file; none of them changes what another one looks at."""
    clock = TestClock()
    settings = REQUESTS | {"hub.trusted_proxies": ("127.0.0.1",)}
    home = tmp_path_factory.mktemp("house")
    async with whole_hub(home, settings=settings, clock=clock) as server, asking(server) as hub:
        tokens = {"expired": (await hub.person("expired"))["access_token"]}
        await clock.advance(1_900)
        for kind, roles in (("user", "user"), ("other", "user"), ("admin", "admin"), ("revoked", "user")):
            tokens[kind] = (await hub.person(kind, roles))["access_token"]
        tokens["demoted"] = (await hub.person("demoted", "admin", "user"))["access_token"]
        await hub.ask("PATCH", "/api/users/demoted", {"roles": ["user"]}, console=True)
        await hub.ask("POST", "/api/auth/logout", token=tokens["revoked"])
        made = await hub.ask("POST", "/api/tokens", {"name": "ci", "scopes": ["health:read"]}, console=True)
        tokens["service"] = made.json["secret"]
        yield House(hub, tokens)


def name_of(endpoint: Endpoint) -> str:
    return f"{endpoint.method} {endpoint.pattern}"


def request_of(endpoint: Endpoint) -> dict[str, Any]:
    """Return a request that gets past the question of rights and is refused right after it, so that it does nothing."""
    path = re.sub(r"\{\w+\}", "nothing-of-the-kind", endpoint.pattern)
    if not isinstance(endpoint, RequestDoor):
        return {"url": path}
    unknown = {"nothing_of_the_kind": "1"}
    if endpoint.method in ("GET", "DELETE"):
        return {"url": path, "params": {} if endpoint.route.documented else unknown}
    if endpoint.route.form:
        return {"url": path, "data": {"username": "x"}}
    return {"url": path, "json": unknown}


async def let_in(house: House, endpoint: Endpoint, kind: str) -> tuple[bool, int]:
    """Tell whether a kind of caller is let in, and the status that it got."""
    if kind == "agent":
        if endpoint.anonymous:
            return True, 200
        right = endpoint.route.needs if isinstance(endpoint, RequestDoor) else endpoint.right
        caller = Caller("user:user", ("role:user",))
        decision = house.hub.server.kernel.gate.decide(Chain(caller, ("agent:planner",)), right or "nothing:asked")
        return decision.allowed, 200 if decision.allowed else 403
    if endpoint.method == SOCKET_METHOD:
        return await socket_let_in(house, endpoint, kind)
    given = request_of(endpoint)
    given["url"] = house.hub.url + given["url"]
    async with house.hub.tcp.request(endpoint.method, headers=house.headers(kind), **given) as got:
        refused = got.status in (401, 403)
        if refused and got.content_type == "application/json":
            body = await got.json()
            # What a handler itself refuses, such as telemetry that nobody wants, comes after the question of rights.
            refused = body.get("code", "CAPABILITY_DENIED") in ("CAPABILITY_DENIED", "UNAUTHENTICATED")
            refused = (
                refused
                and "set-up code" not in str(body)
                and body.get("detail") != "Invalid authentication credentials"
            )
        return not refused, got.status


async def socket_let_in(house: House, endpoint: Endpoint, kind: str) -> tuple[bool, int]:
    headers = house.headers(kind)
    if kind == "elsewhere":
        headers |= {"Sec-WebSocket-Protocol": "bearer.nobody"}  # instead of five seconds of silence
    try:
        async with house.hub.tcp.ws_connect(house.hub.url + endpoint.pattern, headers=headers) as socket:
            await socket.send_str("{}")
            code = (await socket.receive_json())["code"]
            status = {"UNAUTHENTICATED": 401, "CAPABILITY_DENIED": 403}.get(code, 200)
            return status == 200, status
    except aiohttp.WSServerHandshakeError as error:
        return False, error.status


async def test_every_route_stands_in_the_table_of_who_may_and_every_row_is_a_route(house: House) -> None:
    assert sorted(map(name_of, house.endpoints)) == sorted(LEVELS)
    assert len(LEVELS) == sum(len(expected["routes"]) for expected in EXPECTED.values())


async def test_every_route_of_a_bundled_plugin_names_the_right_it_needs(house: House) -> None:
    unnamed = [
        name_of(door)
        for door in house.endpoints
        if isinstance(door, RequestDoor) and door.route.needs == f"plugin:call:{door.route.name}"
    ]
    assert unnamed == []


@pytest.mark.parametrize("kind", KINDS)
async def test_each_kind_of_caller_is_let_in_where_it_should_be_and_nowhere_else(house: House, kind: str) -> None:
    wrong = []
    for endpoint in house.endpoints:
        level = LEVELS[name_of(endpoint)]
        expected = kind in EXPECTED[level]["let_in"]
        allowed, status = await let_in(house, endpoint, kind)
        refusal = 401 if kind in EXPECTED[level]["unproven"] else 403
        if allowed != expected or (not expected and status != refusal):
            wrong.append(f"{name_of(endpoint)} ({level}): {'let in' if allowed else 'refused'} with {status}")
    assert wrong == []


# What belongs to somebody -------------------------------------------------------------------------------------------


async def test_what_belongs_to_another_is_not_there_on_any_path_to_it(house: House) -> None:
    hub = house.hub
    memory = (await hub.ask("POST", "/api/memory", {"content": "mine"}, token=house.tokens["user"])).json
    run = (await hub.ask("POST", "/api/scripts/run", {"source": "return 1"}, token=house.tokens["user"])).json
    ids = {"id": str(memory["id"]), "job_id": run["job_id"]}
    owned = [
        endpoint
        for endpoint in house.endpoints
        if isinstance(endpoint, RequestDoor) and endpoint.names and set(endpoint.names) <= ids.keys()
    ]
    assert len(owned) >= 7
    for endpoint in owned:
        path = endpoint.pattern.format(**ids)
        body = {"content": "theirs"} if endpoint.method == "PATCH" else None
        theirs = await hub.ask(endpoint.method, path, body, token=house.tokens["other"])
        nobodys = await hub.ask(
            endpoint.method,
            path.replace(ids["id"], "no-id").replace(ids["job_id"], "no-id"),
            body,
            token=house.tokens["other"],
        )
        assert (theirs.status, nobodys.status) == (404, 404), name_of(endpoint)
        assert (await hub.ask(endpoint.method, path, body)).status == 404, "user:local is somebody else, too"
    assert (await hub.ask("GET", f"/api/memory/{ids['id']}", token=house.tokens["user"])).json["content"] == "mine"
    assert (await hub.ask("GET", f"/status/{ids['job_id']}", token=house.tokens["user"])).status == 200
    assert (await hub.ask("GET", f"/status/{ids['job_id']}", token=house.tokens["admin"])).status == 200


async def test_lists_hold_what_belongs_to_the_caller_alone(house: House) -> None:
    hub = house.hub
    await hub.ask("POST", "/api/scripts/run", {"source": "return 1"}, token=house.tokens["user"])
    await hub.ask("POST", "/api/memory", {"content": "tea at four"}, token=house.tokens["user"])
    for kind in ("other", "none"):
        token = house.tokens.get(kind)
        assert (await hub.ask("GET", "/api/jobs", token=token)).json["jobs"] == []
        assert (await hub.ask("GET", "/jobs", token=token)).json["jobs"] == []
        found = await hub.ask("POST", "/api/memory/recall", {"query": "tea"}, token=token)
        assert found.json["count"] == 0
    assert (await hub.ask("GET", "/api/jobs", token=house.tokens["admin"])).json["count"] > 0
