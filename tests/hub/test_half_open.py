"""Connections that say nothing, or say it a byte at a time: each is cut in time, and nobody else notices (R33)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hub_process import HubProcess, hub_process

SLACK_S = 2.0
"""A refused client may take a second to read why; the rest is for a machine that is busy."""
PER_SOURCE = 200
"""Connections of one address, below the bound of 256."""

KINDS = ("silent", "half a head", "dripping head", "dripping second head", "dripping body")

GOOD = """
import json, socket, sys, time
port, seconds, pace = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
ask = f"GET /api/policy/disclosure HTTP/1.1\\r\\nHost: 127.0.0.1:{port}\\r\\n\\r\\n".encode()
took, wrong, until = [], 0, time.monotonic() + seconds
with socket.create_connection(("127.0.0.1", port)) as client, client.makefile("rb") as answers:
    while time.monotonic() < until:
        began = time.perf_counter()
        client.sendall(ask)
        wrong += not answers.readline().startswith(b"HTTP/1.1 200 ")
        size = 0
        while (line := answers.readline()).strip():
            name, _, value = line.partition(b":")
            size = int(value) if name.lower() == b"content-length" else size
        answers.read(size)
        took.append((time.perf_counter() - began) * 1000)
        time.sleep(pace)
print(json.dumps({"took": took, "wrong": wrong}))
"""
"""A client in a process of its own: what it measures is the hub, not those who annoy it."""


@dataclass
class Kept:
    """How one connection ended: its kind, after how many seconds (None: it did not), and what it was told.

    `ended_s` counts from its last whole word on, `connected_s` from before it was a connection at all.
    """

    kind: str
    ended_s: float | None
    connected_s: float
    status: bytes


@dataclass
class Outcome:
    """What became of all of them, and of the good client: p99 before and meanwhile, and answers that were wrong."""

    kept: list[Kept]
    before_ms: float
    beside_ms: float
    wrong: int
    asked: int


class Annoying:
    """A client that keeps a connection for as long as it can."""

    def __init__(self, kind: str, source: str, port: int, drip_s: float) -> None:
        self.kind = kind
        self._source, self._port, self._drip_s = source, port, drip_s

    async def keep(self, within_s: float) -> Kept:
        """Connect, say as little as possible, and return when and how the hub made an end of it."""
        address = ("127.0.0.1", self._port)
        connecting = time.monotonic()
        reader, writer = await asyncio.open_connection(*address, local_addr=(self._source, 0))
        dripping: asyncio.Task[None] | None = None
        try:
            await self._begin(reader, writer)
            began = time.monotonic()
            if self.kind.startswith("dripping"):
                dripping = asyncio.create_task(self._drip(writer))
            told, ended = b"", None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    with contextlib.suppress(ConnectionError):
                        while part := await reader.read(4096):
                            told += part
                    ended = time.monotonic() - began
            return Kept(self.kind, ended, time.monotonic() - connecting, told[9:12])
        finally:
            if dripping is not None:
                dripping.cancel()
                await asyncio.wait([dripping])
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host = f"Host: 127.0.0.1:{self._port}\r\n"
        if self.kind == "dripping second head":
            writer.write(f"HEAD /health HTTP/1.1\r\n{host}\r\n".encode())
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        if self.kind == "dripping body":
            length = "Content-Type: application/json\r\nContent-Length: 1000\r\n"
            writer.write(f"POST /api/run HTTP/1.1\r\n{host}{length}\r\n".encode())
        elif self.kind != "silent":
            writer.write(f"GET /health HTTP/1.1\r\n{host}X-Slow: ".encode())

    async def _drip(self, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(self._drip_s)


async def good_client(hub: HubProcess, seconds: float, pace_s: float) -> tuple[list[float], int]:
    """Ask at that pace for so long; return how long the answers took, in ms, and how many were wrong."""
    arguments = ["-I", "-S", "-c", GOOD, hub.url.rpartition(":")[2], str(seconds), str(pace_s)]
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    said = json.loads(output)
    return said["took"], said["wrong"]


async def annoyed(home: Path, count: int, headers_s: float, body_s: float, calm_s: float, drip_s: float) -> Outcome:
    """Keep `count` connections of all kinds beside a good client, and see what becomes of each."""
    home.mkdir(parents=True)
    (home / "aetherra.toml").write_text(f"[hub]\nheaders_s = {headers_s}\nbody_s = {body_s}\n")
    async with hub_process(home) as hub:
        port = int(hub.url.rpartition(":")[2])
        await good_client(hub, calm_s / 2, 0.002)
        before, wrong_before = await good_client(hub, calm_s, 0.002)
        within_s = body_s + SLACK_S + 5
        clients = [
            Annoying(KINDS[n % len(KINDS)], f"127.0.0.{2 + n // PER_SOURCE}", port, drip_s) for n in range(count)
        ]
        good = asyncio.create_task(good_client(hub, body_s + 1, 0.002))
        kept = await asyncio.gather(*(client.keep(within_s) for client in clients))
        beside, wrong = await good
    return Outcome(kept, p99(before), p99(beside), wrong + wrong_before, len(beside))


def p99(values: Sequence[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]


def not_cut_in_time(kept: Sequence[Kept], headers_s: float, body_s: float) -> list[str]:
    """Return what is wrong with how they ended."""
    wrong = []
    for each in kept:
        deadline = body_s if each.kind == "dripping body" else headers_s
        if each.ended_s is None:
            wrong.append(f"{each.kind}: still there")
        elif each.connected_s < deadline - 0.05 or each.ended_s > deadline + SLACK_S:
            wrong.append(f"{each.kind}: ended after {each.ended_s:.1f} to {each.connected_s:.1f} s")
        elif each.status not in (b"408", b""):  # the words may be lost on who goes on sending
            wrong.append(f"{each.kind}: told {each.status!r}")
    return wrong


async def test_half_open_and_dripping_connections_are_cut_at_their_deadlines(tmp_path: Path) -> None:
    outcome = await annoyed(tmp_path / "home", 20, headers_s=0.5, body_s=1.0, calm_s=0.3, drip_s=0.1)
    assert Counter(each.kind for each in outcome.kept) == dict.fromkeys(KINDS, 4)
    assert not_cut_in_time(outcome.kept, 0.5, 1.0) == []
    assert {each.status for each in outcome.kept if each.kind in ("silent", "half a head")} == {b"408"}
    assert outcome.wrong == 0
    assert outcome.asked > 20


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_a_thousand_half_open_and_dripping_connections_are_cut_and_nobody_else_notices(tmp_path: Path) -> None:
    size = os.environ.get("AETHERRA_SOAK", "C")
    count = {"C": 200, "L": 1_000}[size]
    outcome = await annoyed(tmp_path / "home", count, headers_s=10, body_s=30, calm_s=10, drip_s=2)
    ended = [each.ended_s for each in outcome.kept if each.ended_s is not None]
    heads = [each.ended_s or 0.0 for each in outcome.kept if each.kind != "dripping body"]
    print(
        f"R33 seed=none size={size} connections={count} cut={len(ended)} head_cut_max_s={max(heads):.1f} "
        f"body_cut_max_s={max(ended):.1f} asked={outcome.asked} wrong={outcome.wrong} "
        f"p99_ms={outcome.before_ms:.1f}->{outcome.beside_ms:.1f}"
    )
    assert not_cut_in_time(outcome.kept, 10, 30) == []
    assert outcome.wrong == 0
    assert outcome.beside_ms <= 2 * outcome.before_ms
