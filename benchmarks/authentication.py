"""An authenticated JSON GET beside the same route of the same hub with the checks off: server CPU per request.

Off are the credential, the question of rights, and the counting of requests; all else is the same. The token is an
access token of an account, verified once and remembered, as in any session. Variants alternate; the median of the
ratios of neighbours counts. Goal: at most 1.15.

    python -m benchmarks.authentication [--pairs 9] [--requests 4000] [--connections 32]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.http import Client, cpu, server
from hub.app import HUB, Hub
from hub.auth import LOCAL
from hub.logs import log_to_stderr
from hub.serve import Server
from hub.settings import HubSettings
from kernel import Decision, Kernel
from kernel.capabilities import Gate
from kernel.testing import kernel_config

GOAL = 1.15
PLUGIN = '''
"""plain answers at once."""
from kernel import Plugin
plain = Plugin("plain", version="1.0.0")

@plain.get("/api/plain", needs="system:read")
async def answer() -> dict[str, str]:
    """Answer."""
    return {"is": "plain"}
'''
PASSWORD = "correct horse battery"


async def nobody_asks(request: Any, match: Any) -> Any:
    """Take whoever comes for the local user."""
    return LOCAL


def open_doors(hub: Hub) -> None:
    """Turn the checks of a hub off."""
    yes = Decision(True, "the checks are off", effect="free")
    hub.doorkeeper.identify = nobody_asks  # type: ignore[method-assign]
    hub.rates.take = lambda match, identity: None  # type: ignore[method-assign]
    Gate.decide = Gate.check = lambda self, *given, **more: yes  # type: ignore[method-assign, assignment]


async def serve(port: int, home: Path, checks: bool) -> None:
    """Run a hub for ever."""
    settings = {
        "hub.port": port,
        "limits.requests_per_minute": 100_000_000,
        "plugins.identity.admin_user": "ada",
        "plugins.identity.admin_password": PASSWORD,
    }
    config = kernel_config(
        home, plugins={"plain": PLUGIN}, bundled=None, overrides=settings, sections={"hub": HubSettings}
    )
    running = Server(Kernel(config))
    await running.start()
    if not checks:
        open_doors(running.app[HUB])
    await asyncio.Event().wait()


async def load(port: int, token: str, requests: int, connections: int) -> float:
    """Return the seconds that `requests` took."""
    loop = asyncio.get_running_loop()
    head = f"GET /api/plain HTTP/1.1\r\nHost: localhost:{port}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    budget = [requests]
    ends = [loop.create_future() for _ in range(connections)]
    began = time.perf_counter()
    for end in ends:
        await loop.create_connection(lambda end=end: Client(head, budget, end), "127.0.0.1", port)
    await asyncio.gather(*ends)
    return time.perf_counter() - began


async def log_in(port: int) -> str:
    """Return an access token."""
    import aiohttp

    form = {"username": "ada", "password": PASSWORD}
    async with aiohttp.ClientSession() as session:
        for _ in range(200):
            async with session.post(f"http://127.0.0.1:{port}/api/auth/login", data=form) as answer:
                if answer.status == 200:
                    return str((await answer.json())["access_token"])
            await asyncio.sleep(0.05)
    raise RuntimeError("nobody could log in")


def measure(process: psutil.Process, port: int, token: str, given: argparse.Namespace) -> float:
    """Return CPU microseconds of the server for one request."""
    before = cpu(process)
    asyncio.run(load(port, token, given.requests, given.connections))
    return float((cpu(process) - before) / given.requests * 1e6)


def main() -> int:
    """Print one line per measure; status 1 when the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--requests", type=int, default=4_000)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--serve", nargs=3, metavar=("PORT", "HOME", "CHECKS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        log_to_stderr()
        asyncio.run(serve(int(given.serve[0]), Path(given.serve[1]), given.serve[2] == "on"))
    ports = {"on": 3965, "off": 3966}
    with tempfile.TemporaryDirectory() as home:
        arguments = {
            checks: ["-m", "benchmarks.authentication", "--serve", str(port), f"{home}/{checks}", checks]
            for checks, port in ports.items()
        }
        with server(arguments["on"], ports["on"]) as on, server(arguments["off"], ports["off"]) as off:
            token = asyncio.run(log_in(ports["on"]))
            asyncio.run(log_in(ports["off"]))  # so that both have the same modules loaded
            pairs = []
            for turn in range(given.pairs + 1):
                ours = measure(on, ports["on"], token, given)
                theirs = measure(off, ports["off"], token, given)
                if turn:  # the first pair warms both up
                    pairs.append((ours, theirs))
    ratios = [ours / theirs for ours, theirs in pairs]
    ratio = statistics.median(ratios)
    print(f"authentication.cpu_ratio    {ratio:.2f}  (goal {GOAL}; {min(ratios):.2f} to {max(ratios):.2f})")
    print(f"authentication.on.cpu_us    {statistics.median(o for o, _ in pairs):.0f}")
    print(f"authentication.off.cpu_us   {statistics.median(t for _, t in pairs):.0f}")
    return int(ratio > GOAL)


if __name__ == "__main__":
    sys.exit(main())
