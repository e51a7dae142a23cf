"""Events to many clients: the hub's streams beside bare transports that are handed the same shared bytes.

Both servers run in processes of their own and publish on command; the clients, in this process, only count bytes.
`steady` is one event a turn of the loop, `burst` eight. Variants alternate; medians of the ratios of neighbours count,
as server CPU per delivery (bare / hub: above 1 the hub is cheaper). Floor: 0.5.

    python -m benchmarks.sse [--clients 100] [--events 1600] [--pairs 9]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FLOOR = 0.5
BURST = 8

COMMON = """
import asyncio, json, sys, time
async def commands(publish, ready):
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print(json.dumps(ready), flush=True)
    while line := await reader.readline():
        events, burst = map(int, line.split())
        began, cpu = time.perf_counter(), time.process_time()
        for n in range(events):
            sending = publish(n)
            if sending is not None:
                await sending
            if n % burst == burst - 1:
                await asyncio.sleep(0)
                await asyncio.sleep(0)
        await asyncio.sleep(0)
        print(json.dumps({"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}), flush=True)
"""

HUB = """
import tempfile
from pathlib import Path
from hub.serve import Server
from hub.settings import HubSettings
from kernel import Kernel
from kernel.testing import ALLOW_ALL, kernel_config
WATCH = '''
from kernel import EventStream, Plugin
watch = Plugin("watch", version="1.0.0", topics=["bench"])
@watch.get("/watch")
async def events() -> EventStream:
    return EventStream(("bench.#",))
'''
async def main():
    with tempfile.TemporaryDirectory() as home:
        overrides = {"hub.port": 0, "hub.stream_messages": 100_000, "hub.stream_kb": 100_000,
                     "hub.connections": 5_000, "hub.connections_per_address": 5_000, "hub.streams": 5_000}
        config = kernel_config(Path(home), plugins={"watch": WATCH, "allow_all": ALLOW_ALL}, overrides=overrides,
                               sections={"hub": HubSettings})
        server = Server(Kernel(config))
        await server.start()
        def publish(n):
            server.kernel.bus.emit("bench.tick", {"n": n, "pad": "x" * 40})
        await commands(publish, server.port)
        await server.stop()
asyncio.run(main())
"""

BARE = """
class Kept(asyncio.Protocol):
    clients = []
    def connection_made(self, transport):
        self.clients.append(transport)
        transport.write(b"HTTP/1.1 200 OK\\r\\n\\r\\n")
async def main():
    server = await asyncio.get_running_loop().create_server(Kept, "127.0.0.1", 0)
    block = b"d" * 164
    def publish(n):
        for transport in Kept.clients:
            transport.write(block)
    await commands(publish, server.sockets[0].getsockname()[1])
asyncio.run(main())
"""


class Counter(asyncio.Protocol):
    """A client that counts what it is sent."""

    def __init__(self, head: bytes, counted: list[int]) -> None:
        self._head = head
        self._counted = counted

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self._head)

    def data_received(self, data: bytes) -> None:
        self._counted[0] += len(data)


class Publisher:
    """A server process that publishes on command, and the clients that hang on it."""

    def __init__(self, process: asyncio.subprocess.Process, counted: list[int], clients: int) -> None:
        self._process = process
        self._counted = counted
        self._clients = clients

    async def run(self, events: int, burst: int) -> tuple[float, float]:
        """Publish and return (server CPU microseconds for one delivery, deliveries a second)."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{events} {burst}\n".encode())
        told = json.loads(await self._process.stdout.readline())
        await self.quiet()
        deliveries = events * self._clients
        return told["cpu"] / deliveries * 1e6, deliveries / told["seconds"]

    async def quiet(self) -> None:
        """Return once nothing more comes."""
        before = -1
        while before != self._counted[0]:
            before = self._counted[0]
            await asyncio.sleep(0.1)


HEAD = "GET /watch HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n"


@asynccontextmanager
async def publisher(program: str, clients: int, head: str = HEAD) -> AsyncIterator[Publisher]:
    """Start a server and connect its clients, each of which sends the head of a request once."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", COMMON + program, cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    port = json.loads(await process.stdout.readline())
    counted = [0]
    request = head.format(port=port).encode()
    loop = asyncio.get_running_loop()
    kept = [await loop.create_connection(lambda: Counter(request, counted), "127.0.0.1", port) for _ in range(clients)]
    made = Publisher(process, counted, clients)
    await made.quiet()
    try:
        yield made
    finally:
        for transport, _ in kept:
            transport.close()
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


async def measure(clients: int, events: int, pairs: int) -> dict[str, float]:
    """Return, by kind, how the hub compares; prints one line per measure."""
    found = {}
    async with publisher(HUB, clients) as hub, publisher(BARE, clients) as bare:
        for kind, burst in (("steady", 1), ("burst", BURST)):
            runs = []
            for turn in range(pairs + 1):
                ours, theirs = await hub.run(events, burst), await bare.run(events, burst)
                if turn:
                    runs.append((ours, theirs))
            ratios = [theirs[0] / ours[0] for ours, theirs in runs]
            found[kind] = statistics.median(ratios)
            spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
            print(f"sse.{kind}.{clients}.ratio        {found[kind]:.2f}  (floor {FLOOR}; {spread})")
            print(f"sse.{kind}.{clients}.cpu_us       {statistics.median(o[0] for o, _ in runs):.2f}  hub")
            print(f"sse.{kind}.{clients}.bare_cpu_us  {statistics.median(t[0] for _, t in runs):.2f}  bare transports")
            print(f"sse.{kind}.{clients}.per_second   {statistics.median(o[1] for o, _ in runs):.0f}  hub")
    return found


def main() -> int:
    """Status 1 when the floor is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--events", type=int, default=1_600)
    parser.add_argument("--pairs", type=int, default=9)
    given = parser.parse_args()
    found = asyncio.run(measure(given.clients, given.events, given.pairs))
    return int(min(found.values()) < FLOOR)


if __name__ == "__main__":
    sys.exit(main())
