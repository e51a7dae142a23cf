"""Readers that never read: the hub stays within its memory, cuts them, and healthy readers lose nothing (R31)."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp
import pytest
from hub_process import HubProcess, hub_process
from raw_socket import HANDSHAKE

BUFFER = 4_096
"""What the system receives for a client that never reads, about."""
PACE = 200
"""Events that pass at once: fewer than a healthy reader's buffer holds."""

PLUGIN = """
import asyncio
from kernel import Context, EventStream, Plugin, Socket, SocketEvent

flood = Plugin("flood", version="1.0.0")

@flood.post("/api/flood", deadline_s=600)
async def emit(ctx: Context, count: int, first: int) -> None:
    for n in range(first, first + count):
        await ctx.publish("flood.passed", {"n": n, "pad": "x" * 120})

@flood.get("/api/flood/stream")
async def stream() -> EventStream:
    return EventStream(("flood.#",))

@flood.socket("/api/flood/ws", stateless=True)
async def socket(socket: Socket[int, SocketEvent]) -> None:
    await socket.follow(["flood.#"])
    async for _ in socket:
        pass
"""


@dataclass
class Outcome:
    """What was seen from outside while events passed.

    `among` is the time of a healthy client among as many that read, `beside` among those that do not.
    """

    growth_mib: float
    cut_s: float
    cut: int
    lost: int
    among_p99_ms: float
    beside_p99_ms: float


class Healthy:
    """A client that reads all it is sent, over a WebSocket."""

    def __init__(self) -> None:
        self.seen = 0
        self.lost = 0

    async def read(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        expected = 0
        async for message in ws:
            event = json.loads(message.data)
            if event["type"] != "event":
                self.lost += event["type"] in ("error", "gap")
                continue
            self.lost += event["data"]["n"] != expected
            expected = event["data"]["n"] + 1
            self.seen += 1


def rss_mib(hub: HubProcess) -> float:
    status = Path(f"/proc/{hub.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


async def figure(session: aiohttp.ClientSession, hub: HubProcess, name: str) -> float:
    async with session.get(hub.url + "/metrics") as response:
        found = re.search(rf"^{name} (\S+)$", await response.text(), re.MULTILINE)
    return float(found[1]) if found else 0.0


def head(path: str, lines: dict[str, str]) -> bytes:
    return (f"GET {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items()) + "\r\n").encode()


class Reader(asyncio.Protocol):
    """A client that asks once, and throws away what it gets, or never takes it."""

    def __init__(self, request: bytes, reads: bool) -> None:
        self._request = request
        self._reads = reads

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._request)
        if not self._reads:
            transport.pause_reading()


@asynccontextmanager
async def readers(hub: HubProcess, each: int, *, reads: bool) -> AsyncIterator[None]:
    """Open as many streams and as many sockets, all on the events; they read all, or nothing."""
    port = int(hub.url.rpartition(":")[2])
    lines = {"Host": f"localhost:{port}"}
    requests = head("/api/flood/stream", lines), head("/api/flood/ws", {**lines, **HANDSHAKE})
    transports = []
    loop = asyncio.get_running_loop()
    try:
        for request in requests:
            for _ in range(each):
                sock = socket.socket()
                if not reads:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
                sock.setblocking(False)
                await loop.sock_connect(sock, ("127.0.0.1", port))
                transports.append((await loop.create_connection(partial(Reader, request, reads), sock=sock))[0])
        yield
    finally:
        for transport in transports:
            transport.abort()


async def opened(session: aiohttp.ClientSession, hub: HubProcess, each: int, timeout_s: float = 30) -> None:
    """Return once that many streams, and sockets beside the healthy client's, are open."""
    names = ("aetherra_http_streams_open", "aetherra_http_sockets_open")
    async with asyncio.timeout(timeout_s):
        while [await figure(session, hub, name) for name in names] != [each, each + 1]:
            await asyncio.sleep(0.2)


async def pass_by(home: Path, each: int, events: int, settings: str = "") -> Outcome:
    """Let events pass while `each` streams and `each` sockets read nothing, and one socket reads all."""
    home.mkdir(parents=True)
    (home / "plugins").mkdir()
    (home / "plugins" / "flood.py").write_text(PLUGIN)
    sections = f"[hub]\nsockets_per_user = {each + 10}\nconnections_per_address = {4 * each + 20}\n{settings}"
    (home / "aetherra.toml").write_text(sections)
    async with hub_process(home) as hub, AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        ws = await stack.enter_async_context(session.ws_connect(hub.url + "/api/flood/ws", max_msg_size=0))
        healthy = Healthy()
        reading = asyncio.create_task(healthy.read(ws))
        sent = 0

        async def flood(count: int) -> list[float]:
            """Publish in parts; return how long each part took until the healthy client had it."""
            nonlocal sent
            took = []
            for _ in range(count // PACE):
                began = time.perf_counter()
                async with session.post(hub.url + "/api/flood", json={"count": PACE, "first": sent}) as response:
                    assert response.status == 200, await response.text()
                sent += PACE
                while healthy.seen + healthy.lost < sent:
                    await asyncio.sleep(0)
                took.append((time.perf_counter() - began) * 1000)
            return took

        await flood(10 * PACE)
        async with readers(hub, each, reads=True):
            await opened(session, hub, each)
            among = await flood(max(20 * PACE, events // 10))
        await opened(session, hub, 0)
        before = peak = rss_mib(hub)
        async with readers(hub, each, reads=False):
            await opened(session, hub, each)
            began = time.monotonic()
            gone = asyncio.create_task(opened(session, hub, 0, timeout_s=120))
            gone.add_done_callback(lambda _: ended.append(time.monotonic()))
            ended: list[float] = []
            beside = []
            for _ in range(10):
                beside += await flood(events // 10)
                peak = max(peak, rss_mib(hub))
            await gone
            names = ("aetherra_http_streams_cut_total", "aetherra_http_sockets_cut_total")
            cut = sum([await figure(session, hub, name) for name in names])
            peak = max(peak, rss_mib(hub))
        reading.cancel()
        return Outcome(peak - before, ended[0] - began, int(cut), healthy.lost, p99(among), p99(beside))


def p99(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]


async def test_readers_that_never_read_are_cut_and_cost_bounded_memory(tmp_path: Path) -> None:
    outcome = await pass_by(tmp_path / "home", each=10, events=10_000, settings="stream_cut_s = 1\n")
    assert outcome.lost == 0
    assert outcome.cut == 20
    assert outcome.growth_mib <= 64


@pytest.mark.soak
@pytest.mark.timeout(3_600)
async def test_a_hundred_of_each_kind_that_never_read_cost_bounded_memory(tmp_path: Path) -> None:
    size = os.environ.get("AETHERRA_SOAK", "C")
    events = {"C": 100_000, "L": 1_000_000}[size]
    outcome = await pass_by(tmp_path / "home", each=100, events=events)
    print(
        f"R31 seed=none size={size} events={events} readers=200 cut={outcome.cut} cut_s={outcome.cut_s:.1f} "
        f"rss_growth_mib={outcome.growth_mib:.1f} lost={outcome.lost} "
        f"p99_ms={outcome.among_p99_ms:.1f}->{outcome.beside_p99_ms:.1f}"
    )
    assert outcome.lost == 0
    assert outcome.cut == 200
    assert outcome.growth_mib <= 64
    assert outcome.beside_p99_ms <= 2 * outcome.among_p99_ms
