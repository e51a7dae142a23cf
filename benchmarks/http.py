"""`GET /health` through the whole hub beside a bare aiohttp application: server CPU per request, and requests a second.

Both servers run in processes of their own; the load comes from this one, over raw sockets. Variants alternate; the
medians of the ratios of neighbours count. Goal: CPU per request at most 1.18x of bare aiohttp's `json_response`.

    python -m benchmarks.http [--pairs 9] [--requests 4000] [--connections 32]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent

BARE = """
import sys, time
from aiohttp import web
async def health(request):
    return web.json_response({"status": "healthy", "timestamp": "2026-11-20T19:17:32.125Z", "service": "aetherra"})
app = web.Application()
app.router.add_get("/health", health)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
"""

CEILING = 1.18


class Client(asyncio.Protocol):
    """Sends one request after another over one connection and counts the answers; it parses no more than it must."""

    def __init__(self, request: bytes, budget: list[int], done: asyncio.Future[None]) -> None:
        self._request = request
        self._budget = budget
        self._done = done
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def _send(self) -> None:
        if self._budget[0] <= 0:
            self._transport.close()
            return
        self._budget[0] -= 1
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        if not self._buffer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"not a 200: {self._buffer[:80]!r}")
        at = self._buffer.lower().find(b"content-length: ")
        length = int(self._buffer[at + 16 : self._buffer.find(b"\r\n", at)])
        if len(self._buffer) >= head + 4 + length:
            self._buffer = b""
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_result(None)


async def load(port: int, path: str, requests: int, connections: int) -> float:
    """Return the seconds that `requests` took."""
    loop = asyncio.get_running_loop()
    request = f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode()
    budget = [requests]
    ends = [loop.create_future() for _ in range(connections)]
    began = time.perf_counter()
    for end in ends:
        await loop.create_connection(lambda end=end: Client(request, budget, end), "127.0.0.1", port)
    await asyncio.gather(*ends)
    return time.perf_counter() - began


@contextmanager
def server(arguments: list[str], port: int) -> Iterator[psutil.Process]:
    """Run a server until the block ends; it listens when the block begins."""
    process = psutil.Popen([sys.executable, *arguments], cwd=ROOT, stdout=-3, stderr=-3)
    try:
        asyncio.run(answers(port))
        yield process
    finally:
        process.terminate()
        process.wait(20)


async def answers(port: int) -> None:
    """Return once the port answers `/health` with the word healthy."""
    async with asyncio.timeout(30):
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(f"GET /health HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n".encode())
                text = await reader.read()
                writer.close()
                if b'"healthy"' in text:
                    return
            except OSError:
                pass
            await asyncio.sleep(0.02)


def cpu(process: psutil.Process) -> float:
    """Return the CPU seconds a process has used."""
    times = process.cpu_times()
    return times.user + times.system


def measure(process: psutil.Process, port: int, requests: int, connections: int) -> tuple[float, float]:
    """Return (CPU microseconds of the server for one request, requests a second)."""
    before = cpu(process)
    seconds = asyncio.run(load(port, "/health", requests, connections))
    return (cpu(process) - before) / requests * 1e6, requests / seconds


def main() -> int:
    """Print one line per measure; status 1 when the ceiling is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--requests", type=int, default=4_000)
    parser.add_argument("--connections", type=int, default=32)
    given = parser.parse_args()
    hub_port, bare_port = 3961, 3962
    with tempfile.TemporaryDirectory() as home:
        hub_arguments = ["-m", "hub", "serve", "--home", home, "--port", str(hub_port)]
        with server(hub_arguments, hub_port) as hub, server(["-c", BARE, str(bare_port)], bare_port) as bare:
            pairs = []
            for turn in range(given.pairs + 1):
                ours = measure(hub, hub_port, given.requests, given.connections)
                theirs = measure(bare, bare_port, given.requests, given.connections)
                if turn:  # the first pair warms both up
                    pairs.append((ours, theirs))
    ratios = [ours[0] / theirs[0] for ours, theirs in pairs]
    rates = [ours[1] / theirs[1] for ours, theirs in pairs]
    ratio = statistics.median(ratios)
    print(f"http.health.cpu_ratio       {ratio:.2f}  (ceiling {CEILING}; {min(ratios):.2f} to {max(ratios):.2f})")
    print(f"http.health.rate_ratio      {statistics.median(rates):.2f}  (goal 1.3)")
    print(f"http.health.cpu_us          {statistics.median(o[0] for o, _ in pairs):.0f}  hub")
    print(f"http.bare.cpu_us            {statistics.median(t[0] for _, t in pairs):.0f}  bare aiohttp")
    print(f"http.health.per_second      {statistics.median(o[1] for o, _ in pairs):.0f}  hub")
    return int(ratio > CEILING)


if __name__ == "__main__":
    sys.exit(main())
