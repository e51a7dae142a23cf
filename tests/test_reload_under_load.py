"""Edits while clients are served: nothing fails, and no answer is older than one that was already seen (R20, R21)."""

import asyncio
import os
import re
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from hub_process import HubProcess, hub_process

CLIENTS = 8
BROKEN = {7: "def broken(:", 13: "import no_such_module_anywhere"}

PLUGIN = """
from kernel import Context, Plugin
versions = Plugin("versions", version="1.0.0")

@versions.get("/api/versions/current")
async def current(ctx: Context) -> int:
    return {number}
{more}
"""


def save(hub: HubProcess, number: int, more: str = "") -> None:
    beside = hub.plugins / ".versions.new"
    beside.write_text(PLUGIN.format(number=number, more=more))
    beside.rename(hub.plugins / "versions.py")


async def client(session: aiohttp.ClientSession, url: str, stop: asyncio.Event, seen: list[int]) -> list[str]:
    failures = []
    newest = 0
    while not stop.is_set():
        try:
            async with session.get(url) as response:
                body = await response.text()
                if response.status != 200:
                    failures.append(f"{response.status} {body}")
                    continue
        except aiohttp.ClientError as error:
            failures.append(repr(error))
            continue
        number = int(body)
        if number < newest:
            failures.append(f"{number} after {newest}")
        newest = max(newest, number)
        seen.append(number)
    return failures


async def events(session: aiohttp.ClientSession, url: str) -> "asyncio.Queue[str]":
    """Return a queue of the topics of module events about `versions`, filled as they come."""
    queue: asyncio.Queue[str] = asyncio.Queue()
    response = await session.get(url + "/api/events?topics=module.*", timeout=aiohttp.ClientTimeout(total=None))

    async def read() -> None:
        topic = ""
        async for line in response.content:
            if line.startswith(b"event:"):
                topic = line.split(b":", 1)[1].strip().decode()
            elif line.startswith(b"data:") and b'"versions"' in line:
                queue.put_nowait(topic)

    queue.reader = asyncio.create_task(read())  # type: ignore[attr-defined]
    return queue


@dataclass
class Outcome:
    """What was seen from outside while edits went on."""

    failures: list[str]
    seen: list[int]
    leaked: bool
    memory_mb: list[float]
    files: list[int]


def resources(hub: HubProcess) -> tuple[float, int]:
    status = Path(f"/proc/{hub.process.pid}/status").read_text()
    kib = int(re.search(r"VmRSS:\s+(\d+)", status)[1])  # type: ignore[index]
    return kib / 1024, len(os.listdir(f"/proc/{hub.process.pid}/fd"))


async def edits_under_load(home: Path, edits: int, broken: dict[int, str]) -> Outcome:
    """Save `edits` versions one after another while clients ask, and return what they saw."""
    memory, files = list[float](), list[int]()
    async with hub_process(home) as hub, aiohttp.ClientSession() as session:
        module_events = await events(session, hub.url)
        save(hub, 0)
        async with asyncio.timeout(10):
            assert await module_events.get() == "module.loaded"
        stop, seen = asyncio.Event(), list[int]()
        url = hub.url + "/api/versions/current"
        clients = [asyncio.create_task(client(session, url, stop, seen)) for _ in range(CLIENTS)]
        for number in range(1, edits + 1):
            save(hub, number, broken.get(number, ""))
            async with asyncio.timeout(10):
                expected = "module.reload_failed" if number in broken else "module.reloaded"
                assert await module_events.get() == expected
            rss, count = resources(hub)
            memory.append(rss)
            files.append(count)
        stop.set()
        failures = [failure for failed in await asyncio.gather(*clients) for failure in failed]
        async with session.get(hub.url + "/metrics") as response:
            metrics = await response.text()
        module_events.reader.cancel()  # type: ignore[attr-defined]
    leaked = re.search(r'aetherra_module_leaks_total\{plugin="versions"\} [1-9]', metrics) is not None
    return Outcome(failures, seen, leaked, memory, files)


@pytest.mark.timeout(120)
async def test_edits_under_load_fail_no_request_and_never_go_back(tmp_path: Path) -> None:
    outcome = await edits_under_load(tmp_path / "home", 20, BROKEN)
    assert outcome.failures == []
    assert len(outcome.seen) > 20
    assert set(outcome.seen) <= set(range(21)) - set(BROKEN)
    assert 20 in outcome.seen
    assert not outcome.leaked


@pytest.mark.soak
@pytest.mark.timeout(3_600)
async def test_hundreds_of_edits_under_load_leave_memory_and_files_flat(tmp_path: Path) -> None:
    size = os.environ.get("AETHERRA_SOAK", "C")
    edits = {"C": 300, "L": 10_000}[size]
    outcome = await edits_under_load(tmp_path / "home", edits, dict.fromkeys(range(7, edits, 50), "def broken(:"))
    settled = min(500, edits // 2)
    growth = outcome.memory_mb[-1] - outcome.memory_mb[settled]
    print(
        f"R20 seed=none size={size} edits={edits} requests={len(outcome.seen)} failures={len(outcome.failures)} "
        f"rss_growth_mib={growth:.1f} files={outcome.files[settled]}->{outcome.files[-1]} leaked={outcome.leaked}"
    )
    assert outcome.failures == []
    assert growth <= 20
    assert outcome.files[-1] <= outcome.files[settled] + 2
    assert not outcome.leaked


async def test_the_checker_turns_red_when_a_version_goes_back(tmp_path: Path) -> None:
    """Break it on purpose: a server that forgets its newest version must be caught."""
    from aiohttp import web

    answers = iter([1, 2, 1])
    stop = asyncio.Event()

    async def forgetful(request: web.Request) -> web.Response:
        number = next(answers)
        if number == 1 and answers.__length_hint__() == 0:
            stop.set()
        return web.Response(text=str(number))

    app = web.Application()
    app.router.add_get("/", forgetful)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        async with aiohttp.ClientSession() as session:
            failures = await client(session, f"http://127.0.0.1:{site.port}/", stop, [])
    finally:
        await runner.cleanup()
    assert failures == ["1 after 2"]
