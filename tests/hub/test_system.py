"""Alive, ready, figures; and how a hub comes up and goes down."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from hub.home import HomeLock
from hub.serve import Server
from hub.settings import HubSettings
from kernel import ConfigError, Conflict, Kernel, StorageError
from kernel.testing import ALLOW_ALL, kernel_config

SICK = """
from kernel import Plugin
sick = Plugin("sick", version="1.0.0")
@sick.health
async def health() -> str | None:
    return "the wire is cut"
"""


async def test_health_satisfies_both_documents_with_and_without_a_slash(hub: Any) -> None:
    for path in ("/health", "/health/", "/api/health", "/api/health/"):
        answer = await hub.ask("GET", path)
        assert answer.status == 200
        assert answer.json["status"] == "healthy"
        assert answer.json["service"] == "aetherra"
        assert answer.json["timestamp"].endswith("Z")


async def test_live_and_ready(hub: Any) -> None:
    assert (await hub.ask("GET", "/health/live")).json == {"status": "alive"}
    ready = await hub.ask("GET", "/health/ready")
    assert ready.status == 200
    assert ready.json["status"] == "ready"
    assert ready.json["checks"]["database"] is True
    assert ready.json["checks"]["cache"] is True
    assert ready.json["reasons"] == {}


async def test_a_plugin_that_does_not_work_is_told_with_its_reason(start_hub: Any) -> None:
    hub = await start_hub(plugins={"sick": SICK})
    ready = (await hub.ask("GET", "/health/ready")).json
    assert ready["checks"]["sick"] is False
    assert ready["reasons"] == {"sick": "the wire is cut"}
    assert (await hub.ask("GET", "/health")).json["status"] == "healthy"


async def test_metrics_count_requests_by_the_routes_pattern_never_by_the_path(hub: Any) -> None:
    for name in ("a", "b"):
        await hub.ask("GET", f"/api/probe/items/{name}")
    await hub.ask("GET", "/secret-path")
    await hub.ask("PROPFIND", "/secret-path")
    answer = await hub.ask("GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    text = answer.body.decode()
    assert 'aetherra_http_requests_total{method="GET",route="/api/probe/items/{name}",status="200"} 2.0' in text
    assert 'aetherra_http_requests_total{method="other",route="none",status="404"} 1.0' in text
    assert 'aetherra_http_request_duration_seconds_count{route="/api/probe/items/{name}"} 2.0' in text
    assert "secret-path" not in text
    assert "aetherra_http_requests_in_flight 1.0" in text


async def test_it_listens_before_the_kernel_is_up(tmp_path: Path) -> None:
    config = kernel_config(
        tmp_path, plugins={"allow_all": ALLOW_ALL}, overrides={"hub.port": 0}, sections={"hub": HubSettings}
    )
    server = Server(Kernel(config))
    await server.listen()
    try:
        assert (await get(server.port, "/health"))[1]["status"] == "starting"
        assert (await get(server.port, "/health/live"))[1] == {"status": "alive"}
        status, body = await get(server.port, "/health/ready")
        assert (status, body["status"]) == (503, "not_ready")
        for path in ("/metrics", "/api/anything"):
            status, body = await get(server.port, path)
            assert (status, body["code"]) == (503, "STARTING")
        await server.kernel.start()
        assert (await get(server.port, "/health"))[1]["status"] == "healthy"
    finally:
        await server.stop()


async def get(port: int, path: str) -> tuple[int, Any]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    status = int(head.split()[1])
    if status == 503:
        assert b"Retry-After: " in head
    return status, json.loads(body)


async def test_stopping_lets_requests_finish_and_turns_new_ones_away(start_hub: Any) -> None:
    hub = await start_hub()
    open_reader, open_writer = await hub.connect()
    request = f"GET /health HTTP/1.1\r\nHost: localhost:{hub.port}\r\n\r\n".encode()
    open_writer.write(request)
    await open_reader.readuntil(b"}")
    slow = asyncio.create_task(hub.ask("GET", "/api/probe/slow"))
    while hub.server.hub.in_flight != 1:
        await asyncio.sleep(0)
    stopping = asyncio.create_task(hub.server.stop())
    while not hub.server.hub.stopping:
        await asyncio.sleep(0)
    open_writer.write(request)
    head = await open_reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 5" in head
    assert b"Connection: close" in head
    assert not slow.done()
    generation = hub.kernel.modules.get("probe").generation
    generation.module.gate.set()
    assert (await slow).json == "done"
    await stopping
    assert hub.kernel.state == "stopped"
    open_writer.close()
    await open_writer.wait_closed()


async def test_an_answer_that_is_being_taken_is_finished_before_the_hub_stops(start_hub: Any) -> None:
    hub = await start_hub()
    reader, writer = await hub.connect()
    writer.write(f"GET /api/probe/large?mb=30 HTTP/1.1\r\nHost: localhost:{hub.port}\r\n\r\n".encode())
    while not hub.server.hub.handled:
        await asyncio.sleep(0)
    stopping = asyncio.create_task(hub.server.stop())
    while not hub.server.hub.stopping:
        await asyncio.sleep(0)
    for _ in range(100):
        await asyncio.sleep(0)
    assert hub.kernel.state == "ready"  # nothing is taken down under an answer that is under way
    await reader.readuntil(b"\r\n\r\n")
    assert len(await reader.readexactly(30_000_002)) == 30_000_002
    await stopping
    writer.close()
    await writer.wait_closed()


async def test_a_request_that_does_not_end_is_cut_after_drain_s(start_hub: Any) -> None:
    hub = await start_hub(drain_s=0.1)
    slow = asyncio.create_task(hub.ask("GET", "/api/probe/slow"))
    while hub.server.hub.in_flight != 1:
        await asyncio.sleep(0)
    await hub.server.stop()
    cut = (await asyncio.gather(slow, return_exceptions=True))[0]
    assert isinstance(cut, (ConnectionError, asyncio.IncompleteReadError))


async def test_the_socket_is_the_owners_alone_and_gone_after_the_stop(start_hub: Any) -> None:
    hub = await start_hub()
    path = hub.kernel.config.paths.home / "hub.sock"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    await hub.server.stop()
    assert not path.exists()


async def test_an_address_that_is_taken_is_named_with_what_to_do(tmp_path: Path, start_hub: Any) -> None:
    taken = await start_hub()
    with pytest.raises(ConfigError, match=rf"cannot listen on 127\.0\.0\.1:{taken.port}: .*choose another --port"):
        await start_hub(port=taken.port)
    home = tmp_path / "other"
    home.mkdir()
    (home / "hub.sock").write_text("a file of somebody's")
    with pytest.raises(ConfigError, match=r"cannot listen on .*/other/hub\.sock: .*remove what lies there"):
        await start_hub(home=home)
    assert (home / "hub.sock").read_text() == "a file of somebody's"
    long = tmp_path / ("x" * 100)
    with pytest.raises(ConfigError, match="too long for a socket; choose a shorter --home"):
        await start_hub(home=long)
    assert (await taken.ask("GET", "/health")).status == 200


async def test_a_hub_whose_store_is_damaged_does_not_start_and_lets_go_of_its_address(tmp_path: Path) -> None:
    config = kernel_config(tmp_path, overrides={"hub.port": 0}, sections={"hub": HubSettings})
    config.paths.database.write_bytes(b"no database" * 100)
    server = Server(Kernel(config))
    with pytest.raises(StorageError, match="restore the last backup"):
        await server.start()
    with pytest.raises(ConnectionError):
        await asyncio.open_connection("127.0.0.1", server.port)
    assert not (tmp_path / "hub.sock").exists()


def test_a_second_hub_on_one_home_is_refused_naming_the_first(tmp_path: Path) -> None:
    with HomeLock(tmp_path), pytest.raises(Conflict, match=r"already \(pid \d+\)"):
        HomeLock(tmp_path).__enter__()
    with HomeLock(tmp_path):
        pass
