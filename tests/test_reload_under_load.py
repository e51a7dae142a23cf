"""Edits while clients are served: nothing fails, and no answer is older than one that was already seen (R20, R21)."""

import asyncio
import os
import re
from pathlib import Path

import aiohttp
import pytest
from hub_process import HubProcess, hub_process

EDITS = int(os.environ.get("AETHERRA_EDITS", "20"))
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


@pytest.mark.timeout(120)
async def test_edits_under_load_fail_no_request_and_never_go_back(tmp_path: Path) -> None:
    async with hub_process(tmp_path / "home") as hub, aiohttp.ClientSession() as session:
        module_events = await events(session, hub.url)
        save(hub, 0)
        async with asyncio.timeout(10):
            assert await module_events.get() == "module.loaded"
        stop, seen = asyncio.Event(), list[int]()
        clients = [
            asyncio.create_task(client(session, hub.url + "/api/versions/current", stop, seen)) for _ in range(CLIENTS)
        ]
        for number in range(1, EDITS + 1):
            save(hub, number, BROKEN.get(number, ""))
            async with asyncio.timeout(10):
                expected = "module.reload_failed" if number in BROKEN else "module.reloaded"
                assert await module_events.get() == expected
        stop.set()
        failures = [failure for failed in await asyncio.gather(*clients) for failure in failed]
        async with session.get(hub.url + "/metrics") as response:
            metrics = await response.text()
        module_events.reader.cancel()  # type: ignore[attr-defined]
    assert failures == []
    assert len(seen) > EDITS
    assert set(seen) <= set(range(EDITS + 1)) - set(BROKEN)
    assert EDITS in seen or EDITS in BROKEN
    assert not re.search(r'aetherra_module_leaks_total\{plugin="versions"\} [1-9]', metrics)
    print(f"R20 commit=working-tree size=test edits={EDITS} requests={len(seen)} failures=0")
