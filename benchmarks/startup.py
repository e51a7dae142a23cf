"""From the start of the process to the first `200` on `/health`, beside a bare aiohttp application, and memory then.

The hub starts on a fresh HOME with the bundled plugins. Starts alternate; the medians of the ratios of neighbours
count. Floors: 1.5x of bare aiohttp; peak memory at most 45 MiB above it, once the hub is ready.

    python -m benchmarks.startup [--pairs 9]
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent

BARE = """
import sys
from aiohttp import web
async def health(request):
    return web.json_response({"status": "healthy"})
app = web.Application()
app.router.add_get("/health", health)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
"""

COMPILED_ONCE = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""A start on a machine that was asked to keep no bytecode would measure the compiler."""

CEILING = 1.5
MEMORY_MIB = 45.0


def health(port: int) -> bytes | None:
    """Return the answer of `/health`, or None while nobody listens."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(f"GET /health HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n".encode())
            text = b""
            while part := connection.recv(65_536):
                text += part
            return text
    except OSError:
        return None


def wait_for(port: int, word: bytes) -> None:
    """Return once the answer holds the word."""
    deadline = time.perf_counter() + 30
    while word not in (health(port) or b""):
        if time.perf_counter() > deadline:
            raise TimeoutError(f"no {word!r} on port {port}")
        time.sleep(0.001)


def start(arguments: list[str], port: int) -> tuple[float, float, float]:
    """Start a server and return (seconds to the first 200, seconds until healthy, its peak memory in MiB by then)."""
    began = time.perf_counter()
    process = psutil.Popen([sys.executable, *arguments], cwd=ROOT, env=COMPILED_ONCE, stdout=-3, stderr=-3)
    try:
        wait_for(port, b"HTTP/1.1 200 ")
        first = time.perf_counter() - began
        wait_for(port, b'"healthy"')
        ready = time.perf_counter() - began
        return first, ready, peak_mib(process.pid)
    finally:
        process.terminate()
        process.wait(20)


def peak_mib(pid: int) -> float:
    """Return the largest resident memory the process ever had."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise OSError("the system does not tell the peak memory of a process")


def main() -> int:
    """Print one line per measure; status 1 when a floor is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=9)
    given = parser.parse_args()
    pairs = []
    for turn in range(given.pairs + 1):
        with tempfile.TemporaryDirectory() as home:
            ours = start(["-m", "hub", "serve", "--home", home, "--port", "3963"], 3963)
        theirs = start(["-c", BARE, "3964"], 3964)
        if turn:  # the first start fills the caches of the disk
            pairs.append((ours, theirs))
    ratios = [ours[0] / theirs[0] for ours, theirs in pairs]
    ratio = statistics.median(ratios)
    extra = statistics.median(ours[2] - theirs[2] for ours, theirs in pairs)
    print(f"startup.first_200_ratio     {ratio:.2f}  (ceiling {CEILING}; {min(ratios):.2f} to {max(ratios):.2f})")
    print(f"startup.first_200_ms        {statistics.median(o[0] for o, _ in pairs) * 1000:.0f}  hub")
    print(f"startup.ready_ms            {statistics.median(o[1] for o, _ in pairs) * 1000:.0f}  hub")
    print(f"startup.bare_ms             {statistics.median(t[0] for _, t in pairs) * 1000:.0f}  bare aiohttp")
    print(f"startup.peak_mib            {statistics.median(o[2] for o, _ in pairs):.1f}  hub")
    print(f"startup.peak_above_bare_mib {extra:.1f}  (ceiling {MEMORY_MIB:.0f})")
    return int(ratio > CEILING or extra > MEMORY_MIB)


if __name__ == "__main__":
    sys.exit(main())
