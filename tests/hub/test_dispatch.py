"""The table of paths: what is found, what is not, and that a change lets go of the old."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest
from aiohttp import web

from hub.answer import Answer
from hub.dispatch import Dispatch, Endpoint, Match, PathTable

GENERATION = """
from kernel import Plugin
changing = Plugin("changing", version="{version}")
@changing.get("/api/changing/{{name}}")
async def read(name: str) -> str:
    return "{version} " + name
"""


class Named(Endpoint):
    """An endpoint that is only looked up."""

    async def answer(self, request: web.Request, match: Match) -> Answer:
        raise NotImplementedError


def found(table: PathTable, method: str, path: str) -> Match:
    async def never(request: web.Request) -> web.StreamResponse:
        raise NotImplementedError

    resource = Dispatch(never)
    match = Match(next(iter(resource)))
    table.find(method, path, match)
    return match


PATHS = PathTable(
    [
        Named("GET", "/"),
        Named("GET", "/a"),
        Named("GET", "/a/{id}"),
        Named("POST", "/a/special", dialect="aimos"),
        Named("GET", "/a/{id}/b/{other}"),
        Named("DELETE", "/a/{key}"),
        Named("GET", "/x/{one}/z"),
        Named("GET", "/x/y/{two}"),
    ]
)

LOOKED_UP = [
    ("GET", "/", "/", ()),
    ("GET", "/a", "/a", ()),
    ("GET", "/a/", "/a", ()),
    ("GET", "/a/1", "/a/{id}", ("1",)),
    ("GET", "/a/1/", "/a/{id}", ("1",)),
    ("HEAD", "/a/1", "/a/{id}", ("1",)),
    ("DELETE", "/a/1", "/a/{key}", ("1",)),
    ("GET", "/a/special", "/a/{id}", ("special",)),
    ("POST", "/a/special", "/a/special", ()),
    ("GET", "/a/1/b/2", "/a/{id}/b/{other}", ("1", "2")),
    ("GET", "/x/y/z", "/x/y/{two}", ("z",)),
    ("GET", "/x/w/z", "/x/{one}/z", ("w",)),
    ("GET", "/a/%61%20b", "/a/{id}", ("a b",)),
    ("GET", "/a/one%2Ftwo", "/a/{id}", ("one/two",)),
    ("GET", "/a/%2561", "/a/{id}", ("%61",)),
    ("GET", "/%61", "/a", ()),
]


@pytest.mark.parametrize(("method", "path", "pattern", "values"), LOOKED_UP)
def test_a_path_is_found(method: str, path: str, pattern: str, values: tuple[str, ...]) -> None:
    match = found(PATHS, method, path)
    assert match.endpoint is not None
    assert (match.endpoint.pattern, match.path_values) == (pattern, values)


@pytest.mark.parametrize("path", ["/b", "/a//b/2", "//", "/a/1/b", "/a/1/b/2/c", "*", "/A"])
def test_a_path_nobody_owns_is_not_found(path: str) -> None:
    match = found(PATHS, "GET", path)
    assert match.endpoint is None
    assert not match.allowed
    assert match.dialect == "hub"


def test_a_method_that_a_path_lacks_leaves_what_it_has() -> None:
    match = found(PATHS, "PUT", "/a/special")
    assert match.endpoint is None
    assert sorted(match.allowed) == ["DELETE", "GET", "HEAD", "POST"]
    assert match.dialect == "aimos"


def test_a_path_that_is_not_utf8_is_refused() -> None:
    match = found(PATHS, "GET", "/a/%ff")
    assert match.endpoint is None
    assert match.refusal is not None


async def test_a_405_has_allow_and_the_shape_of_the_paths_dialect(hub: Any) -> None:
    answer = await hub.ask("DELETE", "/aurora/things")
    assert answer.status == 405
    assert answer.headers["allow"] == "OPTIONS, POST"
    assert list(answer.json) == ["detail"]
    ours = await hub.ask("POST", "/health")
    assert (ours.status, ours.json["code"], ours.headers["allow"]) == (405, "METHOD_NOT_ALLOWED", "GET, HEAD, OPTIONS")


async def test_a_path_nobody_owns_answers_in_the_hubs_shape(hub: Any) -> None:
    for path in ("/nowhere", "/api/nowhere", "/docs/nowhere"):
        answer = await hub.ask("GET", path)
        assert (answer.status, answer.json["code"]) == (404, "NOT_FOUND")


async def test_a_reload_serves_the_new_version_at_once_and_lets_go_of_the_old(start_hub: Any) -> None:
    hub = await start_hub(plugins={"changing": GENERATION.format(version="1.0.0")})
    modules = hub.kernel.modules
    old = weakref.ref(modules.get("changing").generation.module)
    reader, writer = await hub.connect()
    try:
        # The connection stays open and idle: what it keeps of its last request must not keep the generation.
        writer.write(f"GET /api/changing/x HTTP/1.1\r\nHost: localhost:{hub.port}\r\n\r\n".encode())
        assert b"1.0.0 x" in await reader.readuntil(b'x"')
        path = modules.get("changing").path
        await asyncio.to_thread(path.write_text, GENERATION.format(version="2.0.0"))
        await modules.reload("changing")
        assert (await hub.ask("GET", "/api/changing/x")).json == "2.0.0 x"
        for _ in range(50):
            await asyncio.sleep(0)
        gc.collect()
        assert old() is None
    finally:
        writer.close()
        await writer.wait_closed()


async def test_a_route_that_did_not_change_keeps_its_compiled_endpoint(start_hub: Any) -> None:
    hub = await start_hub(plugins={"changing": GENERATION.format(version="1.0.0")})
    resource = hub.server.hub.dispatch

    def of(pattern: str) -> Endpoint:
        return next(e for e in resource.table.endpoints if e.pattern == pattern)

    kept, replaced = of("/api/probe/plain"), of("/api/changing/{name}")
    await hub.kernel.modules.reload("changing")
    assert of("/api/probe/plain") is kept
    assert of("/api/changing/{name}") is not replaced
