"""Events to many WebSockets: the hub's beside bare transports that are handed the same shared frame, and beside the
usual shapes, `send_json` to each client in turn and an asyncio.Queue with a task and `send_json` for each.

Each server runs in a process of its own and publishes on command; the clients, in this process, only count bytes.
`steady` is one event a turn of the loop, `burst` eight. Variants alternate; medians of the ratios of neighbours count,
as server CPU per delivery (peer / hub: above 1 the hub is cheaper). Goals: steady 0.75 of bare, 4 times the queues.

    python -m benchmarks.ws [--clients 100] [--events 400] [--pairs 9]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
from contextlib import AsyncExitStack

from benchmarks.sse import BARE, BURST, HUB, publisher

FLOOR = 0.5
GOALS = {"bare": 0.75, "each": 1.0, "queue": 4.0}
HEAD = (
    "GET /watch HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)

SOCKET = """
import asyncio
from kernel import Plugin, Socket, SocketEvent
watch = Plugin("watch", version="1.0.0", topics=["bench"])
@watch.socket("/watch")
async def events(socket: Socket[int, SocketEvent]) -> None:
    await socket.follow(["bench.#"])
    async for _ in socket:
        pass
"""
SSE_PLUGIN = HUB[HUB.index("WATCH = '''") + len("WATCH = '''") : HUB.index("'''\nasync def main")]
HUB_WS = HUB.replace(SSE_PLUGIN, SOCKET).replace(
    '"hub.streams": 5_000', '"hub.sockets": 5_000, "hub.sockets_per_user": 5_000, "hub.ping_s": 3_600'
)

PEER = """
from aiohttp import web
TIME = "2026-11-20T19:17:32.125Z"
def event(n):
    return {"type": "event", "seq": 1795627675581006 + n, "topic": "bench.tick", "time": TIME,
            "data": {"n": n, "pad": "x" * 40}, "source": "", "trace": ""}
async def watch(request):
    ws = web.WebSocketResponse(compress=False)
    await ws.prepare(request)
    await attend(ws)
    return ws
async def main():
    app = web.Application()
    app.router.add_get("/watch", watch)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    await commands(publish, site._server.sockets[0].getsockname()[1])
    import os; os._exit(0)
"""

EACH = (
    PEER
    + """
clients = []
async def attend(ws):
    clients.append(ws)
    async for _ in ws: pass
async def publish(n):
    for ws in clients:
        await ws.send_json(event(n))
asyncio.run(main())
"""
)

QUEUE = (
    PEER
    + """
queues = []
async def attend(ws):
    queue = asyncio.Queue()
    queues.append(queue)
    while True:
        await ws.send_json(await queue.get())
def publish(n):
    for queue in queues:
        queue.put_nowait(event(n))
asyncio.run(main())
"""
)


async def measure(clients: int, events: int, pairs: int) -> dict[str, float]:
    """Return how the hub compares with bare transports, by kind; prints one line per measure."""
    found = {}
    async with AsyncExitStack() as stack:
        programs = {"hub": HUB_WS, "bare": BARE, "each": EACH, "queue": QUEUE}
        servers = {
            name: await stack.enter_async_context(publisher(program, clients, HEAD))
            for name, program in programs.items()
        }
        for kind, burst in (("steady", 1), ("burst", BURST)):
            runs = []
            for turn in range(pairs + 1):
                ran = {name: await server.run(events, burst) for name, server in servers.items()}
                if turn:
                    runs.append(ran)
            for peer, goal in GOALS.items():
                ratios = [ran[peer][0] / ran["hub"][0] for ran in runs]
                spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
                ratio = statistics.median(ratios)
                print(f"ws.{kind}.{clients}.{peer:<10} {ratio:>7.2f}  (goal {goal:g}; {spread})", flush=True)
                if peer == "bare":
                    found[kind] = ratio
            for name in programs:
                cpu = statistics.median(ran[name][0] for ran in runs)
                rate = statistics.median(ran[name][1] for ran in runs)
                print(f"ws.{kind}.{clients}.{name}.cpu_us {cpu:>7.2f}  {rate:.0f} a second", flush=True)
    return found


def main() -> int:
    """Status 1 when the floor is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--events", type=int, default=400)
    parser.add_argument("--pairs", type=int, default=9)
    given = parser.parse_args()
    found = asyncio.run(measure(given.clients, given.events, given.pairs))
    return int(min(found.values()) < FLOOR)


if __name__ == "__main__":
    sys.exit(main())
