"""`aether events` against real hubs: followed over a restart, counted, published, and ended with Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from hub_process import HubProcess, hub_process
from warm_process import WarmProcess, start

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[HubProcess]:
    """A hub for all the tests that do not end it."""
    async with hub_process(tmp_path_factory.mktemp("events") / "home") as hub:
        yield hub


@pytest.fixture
def home(running: HubProcess) -> Path:
    """Return the home of that hub."""
    return running.home


class Verb:
    """A running `aether events ...`."""

    def __init__(self, process: WarmProcess) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self.process, self.out, self.err = process, process.stdout, process.stderr

    async def line(self) -> str:
        async with asyncio.timeout(20):
            return (await self.out.readline()).decode().rstrip("\n")

    async def complaint(self) -> str:
        async with asyncio.timeout(20):
            return (await self.err.readline()).decode().rstrip("\n")

    async def end(self) -> tuple[int, str, str]:
        async with asyncio.timeout(20):
            out, err = await self.process.communicate()
            return await self.process.wait(), out.decode(), err.decode()


@asynccontextmanager
async def verb(home: Path, *arguments: str) -> AsyncIterator[Verb]:
    environment = {"PATH": os.environ["PATH"], "AETHERRA_HOME": str(home), "PYTHONUNBUFFERED": "1"}
    process = await start("events", *arguments, env=environment)
    try:
        yield Verb(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def run(home: Path, *arguments: str) -> tuple[int, str, str]:
    async with verb(home, *arguments) as running:
        return await running.end()


async def emit(home: Path, topic: str, data: str) -> int:
    status, out, err = await run(home, "emit", topic, data, "--json")
    assert status == 0, err
    return int(json.loads(out)["seq"])


async def following(hub: HubProcess, follower: Verb) -> None:
    """Return once the verb, which may attach late, has printed one of the events published here."""
    seen = asyncio.create_task(follower.line())
    async with aiohttp.ClientSession() as session:
        while not seen.done():
            async with session.post(hub.url + "/api/events", json={"topic": "user.ready"}) as response:
                assert response.status == 201
    assert "user.ready" in await seen


async def metrics(hub: HubProcess) -> bytes:
    async with aiohttp.ClientSession() as session, session.get(hub.url + "/metrics") as response:
        return await response.read()


@pytest.mark.timeout(120)
async def test_tail_goes_on_where_it_was_when_the_hub_is_killed_and_comes_back(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with hub_process(home) as hub, verb(home, "tail", "user.*", "--json", "--since", "1h") as tail:
        first = await emit(home, "user.note", "1")
        assert json.loads(await tail.line())["seq"] == first
        hub.process.send_signal(signal.SIGKILL)
        await hub.process.wait()
        complaint = await tail.complaint()
        assert complaint == f"aether: the stream ended; waiting for the hub, to go on after event {first}"
        async with hub_process(home) as again:
            second = await emit(home, "user.note", '{"n": 2}')
            event = json.loads(await tail.line())
            assert (event["seq"], event["data"]) == (second, {"n": 2})
            assert await tail.complaint() == f"aether: the hub is back; going on after event {first}"
            tail.process.send_signal(signal.SIGINT)
            assert await tail.end() == (130, "", "")
            assert again.process.returncode is None


@pytest.mark.timeout(120)
async def test_what_happened_while_the_hub_was_away_is_printed_though_nothing_was_seen_before(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with hub_process(home) as hub, verb(home, "tail", "user.note", "--count", "1") as tail:
        while b"aetherra_http_streams_open 1" not in await metrics(hub):
            await asyncio.sleep(0.02)
        assert await hub.terminate() == 0
        assert "waiting for the hub" in await tail.complaint()
        async with hub_process(home):
            await emit(home, "user.note", '"tea"')
            status, out, _ = await tail.end()
            assert (status, out.split("  ")[1:]) == (0, ["user.note", '"tea"\n'])


@pytest.mark.parametrize("arguments", [(), ("--topics", "user.#,job.*"), ("tail",)])
async def test_alone_it_follows_everything_and_topics_narrow_it(
    running: HubProcess, home: Path, arguments: tuple[str, ...]
) -> None:
    async with verb(home, *arguments) as follower:
        await following(running, follower)
        follower.process.send_signal(signal.SIGINT)
        status, _, err = await follower.end()
        assert (status, err) == (130, "")


async def test_it_stops_after_the_count_and_shows_the_past(home: Path) -> None:
    first = await emit(home, "user.diary", "0")
    for n in range(1, 4):
        await emit(home, "user.diary", str(n))
    status, out, err = await run(home, "tail", "user.*", "--since", str(first), "--count", "2")
    assert (status, err) == (0, "")
    assert [line.split("  ")[1:] for line in out.splitlines()] == [["user.diary", "1"], ["user.diary", "2"]]
    status, out, _ = await run(home, "--json", "tail", "--since", "1h", "--count", "1", "user.diary")
    assert (status, json.loads(out)["seq"]) == (0, first)


async def test_emit_says_the_number_and_whether_the_event_is_kept(home: Path) -> None:
    status, out, _ = await run(home, "emit", "user.note", '{"text": "tea"}', "--key", "k")
    assert (status, out.split()[1:]) == (0, ["user.note", "(kept)"])
    assert (await run(home, "emit", "user.note", '{"text": "tea"}', "--key", "k"))[1] == out
    assert "(not kept)" in (await run(home, "emit", "greeting.made"))[1]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("emit", "user.note", "tea"), 2, """a text is written as '"tea"'"""),
        (("emit", "memory.stored"), 1, "told by memory alone"),
        (("tail", "--since", "soon"), 1, "since"),
        (("tail", "a..b"), 1, "a topic pattern is"),
        (("--topics", "user.*", "emit", "user.note"), 2, "--topics is for"),
    ],
)
async def test_what_does_not_work_is_said_in_a_line(
    home: Path, arguments: tuple[str, ...], status: int, said: str
) -> None:
    ended, _, err = await run(home, *arguments)
    assert ended == status, err
    assert said in err
    assert "Traceback" not in err


async def test_without_a_hub_it_says_how_to_start_one(tmp_path: Path) -> None:
    status, _, err = await run(tmp_path, "tail")
    assert (status, "no hub is running" in err) == (3, True)
