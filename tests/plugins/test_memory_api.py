"""The Hub dialect's memory routes, over real sockets."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from hub.serve import Server
from hub.settings import HubSettings
from kernel import Kernel
from kernel.testing import kernel_config

ROOT = Path(__file__).resolve().parent.parent.parent

ALONE = '''
"""hub_api with its memory routes alone."""
from kernel import Plugin

from . import memory

hub_api = Plugin("hub_api", version="1.0.0")
memory.add(hub_api)
'''

Answered = tuple[int, Any, Any]


class Client:
    def __init__(self, session: aiohttp.ClientSession, server: Server) -> None:
        self.session = session
        self.server = server

    async def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Answered:
        url = f"http://localhost:{self.server.port}{path}"
        async with self.session.request(method, url, json=body, headers=headers) as answer:
            return answer.status, await answer.json(), answer.headers


@pytest.fixture
async def ask(tmp_path: Path) -> AsyncIterator[Client]:
    folder = tmp_path / "bundled" / "hub_api"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(ALONE)
    shutil.copy(ROOT / "plugins" / "hub_api" / "memory.py", folder)
    config = kernel_config(
        tmp_path, bundled=["memory", "security"], overrides={"hub.port": 0}, sections={"hub": HubSettings}
    )
    server = Server(Kernel(config))
    await server.start()
    try:
        async with aiohttp.ClientSession() as session:
            yield Client(session, server)
    finally:
        await server.stop()


async def test_an_entry_is_stored_read_changed_and_deleted(ask: Client) -> None:
    body = {"content": {"tea": 4}, "tags": ["pot"], "type": "note", "fields": {"level": 3}}
    status, stored, _ = await ask("POST", "/api/memory", body)
    assert status == 201
    assert stored["created_at"].endswith("Z")
    assert {name: stored[name] for name in body} == {**body, "fields": {"level": 3, "source": "user:local"}}
    path = f"/api/memory/{stored['id']}"
    assert (await ask("GET", path))[:2] == (200, stored)

    status, changed, _ = await ask("PATCH", path, {"title": "four", "fields": {"level": 4}, "archived": True})
    assert status == 200
    assert (changed["title"], changed["fields"]["level"], changed["archived"]) == ("four", 4, True)
    assert (changed["content"], changed["type"]) == ({"tea": 4}, "note")

    assert (await ask("DELETE", path))[:2] == (200, {"id": stored["id"], "deleted": True})
    for method, given in (("GET", None), ("DELETE", None), ("PATCH", {"title": "x"})):
        status, error, _ = await ask(method, path, given)
        assert (status, error["code"]) == (404, "NOT_FOUND")


async def test_recall_answers_best_first_and_is_bounded(ask: Client) -> None:
    for content in ("green tea", "black tea", "coffee"):
        await ask("POST", "/api/memory", {"content": content, "tags": [content.split()[0]]})
    status, found, _ = await ask("POST", "/api/memory/recall", {"query": "tea green", "limit": 2})
    assert (status, found["count"]) == (200, 2)
    assert found["memories"][0]["content"] == "green tea"
    _, tagged, _ = await ask("POST", "/api/memory/recall", {"tags": ["coffee"], "since": "1 hour"})
    assert [entry["content"] for entry in tagged["memories"]] == ["coffee"]
    assert (await ask("POST", "/api/memory/recall", {"limit": 101}))[0] == 400


@pytest.mark.parametrize(
    ("method", "path", "body", "says"),
    [
        ("POST", "/api/memory", {"content": 1, "colour": "red"}, "colour"),
        ("POST", "/api/memory", {}, "content"),
        ("POST", "/api/memory", {"content": 1, "tags": "a,b"}, "tags"),
        ("POST", "/api/memory", {"content": 1, "fields": {"id": "x"}}, "fields.id"),
        ("POST", "/api/memory", {"content": 1, "tags": [""] * 3 + ["x" * 201]}, "a tag"),
        ("POST", "/api/memory/recall", {"words": "tea"}, "words"),
        ("POST", "/api/memory/recall", {"since": "soon"}, "since"),
        ("PATCH", "/api/memory/x", {}, "nothing to change"),
        ("PATCH", "/api/memory/x", {"archived": "yes"}, "archived"),
    ],
)
async def test_a_request_that_cannot_be_right_names_the_field(
    ask: Client, method: str, path: str, body: Any, says: str
) -> None:
    status, error, _ = await ask(method, path, body)
    assert status == 400
    assert says in str(error)


async def test_a_create_sent_twice_is_done_once(ask: Client) -> None:
    key = {"Idempotency-Key": "k-1"}
    status, first, headers = await ask("POST", "/api/memory", {"content": "tea"}, **key)
    assert (status, headers.get("Idempotency-Replayed")) == (201, None)
    status, again, headers = await ask("POST", "/api/memory", {"content": "tea"}, **key)
    assert (status, again, headers.get("Idempotency-Replayed")) == (201, first, "true")
    status, error, _ = await ask("POST", "/api/memory", {"content": "coffee"}, **key)
    assert (status, error["code"]) == (409, "IDEMPOTENCY_KEY_REUSED")
    assert (await ask("GET", "/api/memory/status"))[1]["stats"]["total_memories"] == 1


async def test_the_status_has_the_documented_fields_and_measured_figures(ask: Client) -> None:
    await ask("POST", "/api/memory", {"content": "tea"})
    await ask("POST", "/api/memory/recall", {"query": "tea"})
    status, told, _ = await ask("GET", "/api/memory/status")
    assert status == 200
    assert told["stats"].pop("avg_recall_latency_ms") > 0
    assert told == {
        "status": "healthy",
        "stats": {"total_memories": 1, "recent_queries": 1},
        "storm": {"enabled": False, "status": "unavailable", "ot_backend": None},
    }


async def test_without_the_memory_plugin_the_answer_names_the_missing_service(ask: Client) -> None:
    await ask.server.kernel.modules.unload("memory")
    status, error, _ = await ask("GET", "/api/memory/status")
    assert (status, error["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert "memory" in str(error)
