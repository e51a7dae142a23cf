"""`WS /api/events/ws`: topics come and go on one socket, under the rights that ship, and a reload is not noticed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from hub.serve import Server
from hub.settings import HubSettings
from kernel import Kernel
from kernel.testing import ALLOW_ALL, Recording, kernel_config


@dataclass
class House:
    """A running hub, and a way to its socket of events."""

    server: Server

    @property
    def kernel(self) -> Kernel:
        return self.server.kernel

    @asynccontextmanager
    async def socket(self, *, console: bool = False) -> AsyncIterator[Talk]:
        connector = aiohttp.UnixConnector(str(self.kernel.config.paths.home / "hub.sock")) if console else None
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.ws_connect(f"http://localhost:{self.server.port}/api/events/ws") as ws,
        ):
            yield Talk(ws)


@dataclass
class Talk:
    """A client of the socket."""

    ws: aiohttp.ClientWebSocketResponse

    async def say(self, type_: str, **fields: Any) -> None:
        await self.ws.send_json({"type": type_, **fields})

    async def hear(self) -> Any:
        return await self.ws.receive_json(timeout=5)

    async def ask(self, type_: str, **fields: Any) -> Any:
        await self.say(type_, **fields)
        return await self.hear()


@asynccontextmanager
async def running(home: Path, *, plugins: dict[str, str], bundled: list[str]) -> AsyncIterator[House]:
    config = kernel_config(
        home, plugins=plugins, bundled=bundled, overrides={"hub.port": 0}, sections={"hub": HubSettings}
    )
    server = Server(Kernel(config))
    await server.start()
    try:
        yield House(server)
    finally:
        await server.stop()


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with running(tmp_path / "home", plugins={"allow_all": ALLOW_ALL}, bundled=["hub_api"]) as house:
        yield house


async def test_a_client_subscribes_hears_unsubscribes_and_pings(house: House) -> None:
    bus = house.kernel.bus
    async with house.socket() as talk:
        assert await talk.ask("ping", id=1) == {"type": "pong", "id": 1}
        assert await talk.ask("ping") == {"type": "pong"}
        told = await talk.ask("subscribe", topics=["job.*", "job.*", "goal.#"], id="a")
        assert told == {"type": "subscribed", "topics": ["job.*", "goal.#"], "position": bus.position, "id": "a"}
        event = bus.emit("job.started", {"id": "j"}, source="executions", trace="t")
        heard = await talk.hear()
        assert {**heard, "time": ""} == {
            "type": "event",
            "seq": event.seq,
            "topic": "job.started",
            "time": "",
            "data": {"id": "j"},
            "source": "executions",
            "trace": "t",
        }
        assert await talk.ask("unsubscribe", topics=["job.*", "never.*"]) == {
            "type": "unsubscribed",
            "topics": ["job.*"],
        }
        bus.emit("job.ended")
        bus.emit("goal.set.far")
        assert (await talk.hear())["topic"] == "goal.set.far"


async def test_a_client_that_comes_back_gets_each_missed_event_once(house: House) -> None:
    bus = house.kernel.bus
    async with house.socket() as talk:
        position = (await talk.ask("subscribe", topics=["job.*"]))["position"]
    missed = [bus.emit("job.made", n).seq for n in range(50)]
    async with house.socket() as talk:
        assert (await talk.ask("subscribe", topics=["job.*"], since=position))["type"] == "subscribed"
        live = bus.emit("job.made", "live").seq
        assert [(await talk.hear())["seq"] for _ in range(51)] == [*missed, live]


async def test_a_gap_is_told(house: House) -> None:
    async with house.socket() as talk:
        assert (await talk.ask("subscribe", topics=["job.*"], since=1))["type"] == "subscribed"
        assert (await talk.hear())["type"] == "gap"
        # A number of the future is of another time, too: nobody knows what came after it.
        future = house.kernel.bus.position + 1_000
        assert (await talk.ask("subscribe", topics=["goal.*"], since=future))["type"] == "subscribed"
        assert (await talk.hear())["since"] == future


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({"type": "subscribe"}, "missing required field `topics`"),
        ({"type": "subscribe", "topics": []}, "length >= 1"),
        ({"type": "subscribe", "topics": ["a"] * 33}, "length <= 32"),
        ({"type": "subscribe", "topics": "a.*"}, "Expected `array`"),
        ({"type": "subscribe", "topics": ["a.*"], "since": -1}, ">= 0"),
        ({"type": "subscribe", "topics": ["a.*"], "sins": 1}, "unknown field `sins`"),
        ({"type": "subscribe", "topics": [".."]}, "a topic pattern is"),
        ({"type": "subscrbe", "topics": ["a.*"]}, "did you mean subscribe"),
        ({"topics": ["a.*"]}, "missing required field `type`"),
    ],
)
async def test_a_wrong_message_is_told_with_its_id_and_the_socket_goes_on(
    house: House, message: Any, words: str
) -> None:
    async with house.socket() as talk:
        await talk.ws.send_json({**message, "id": 9})
        told = await talk.hear()
        assert (told["type"], told["code"], told["id"]) == ("error", "BAD_INPUT", 9)
        assert words in told["message"]
        assert (await talk.ask("ping"))["type"] == "pong"
    assert house.server.hub.streams.fanout.feeds == 0


async def test_a_socket_follows_a_bounded_number_of_topics(house: House) -> None:
    async with house.socket() as talk:
        assert (await talk.ask("subscribe", topics=[f"a{n}.*" for n in range(32)]))["type"] == "subscribed"
        assert "32 topics at most" in (await talk.ask("subscribe", topics=["b.*"]))["message"]
        assert (await talk.ask("subscribe", topics=["a1.*"]))["type"] == "subscribed"
        assert (await talk.ask("subscribe", topics=["a1.*"], since=5))["code"] == "ALREADY_FOLLOWED"
        assert (await talk.ask("unsubscribe", topics=["a1.*"]))["type"] == "unsubscribed"
        assert (await talk.ask("subscribe", topics=["b.*"]))["type"] == "subscribed"


async def test_each_topic_needs_its_right_under_the_policy_that_ships(tmp_path: Path) -> None:
    async with running(tmp_path / "home", plugins={}, bundled=["hub_api", "security"]) as house:
        async with house.socket() as talk:
            assert (await talk.ask("subscribe", topics=["module.*"]))["type"] == "subscribed"
            for topic in ("memory.*", "#", "module.#.x", "*.loaded"):
                told = await talk.ask("subscribe", topics=["module.loaded", topic], id=topic)
                assert (told["type"], told["id"]) == ("error", topic)
            assert (await talk.ask("unsubscribe", topics=["module.loaded"]))["topics"] == []
            house.kernel.bus.emit("memory.stored")
            house.kernel.bus.emit("module.loaded")
            assert (await talk.hear())["topic"] == "module.loaded"
        async with house.socket(console=True) as talk:
            assert (await talk.ask("subscribe", topics=["#"]))["type"] == "subscribed"


async def test_a_reload_of_the_plugin_keeps_the_socket_and_loses_no_event(house: House) -> None:
    bus = house.kernel.bus
    source = Path(house.kernel.config.paths.bundled_plugins) / "hub_api" / "site.py"
    async with house.socket() as talk:
        await talk.ask("subscribe", topics=["job.*"])
        sent = []
        for _ in range(2):
            with Recording(bus, "module.*") as seen:
                await asyncio.to_thread(source.write_text, source.read_text() + "\n")
                reloading = asyncio.create_task(reloaded(house, seen))
                while not reloading.done():
                    sent.append(bus.emit("job.made").seq)
                    await asyncio.sleep(0.001)
                await reloading
                assert seen.of("module.leaked") == []
            assert [(await talk.hear())["seq"] for _ in sent] == sent
            sent.clear()
            assert (await talk.ask("ping"))["type"] == "pong"
            assert house.server.hub.streams.fanout.feeds == 1
    assert house.kernel.modules.counts().leaked == 0


async def reloaded(house: House, seen: Recording) -> None:
    """Reload, and return once the old generation is proved gone."""
    await house.kernel.modules.reload("hub_api")
    await seen.wait_for("module.reloaded")
    async with asyncio.timeout(10):
        await house.kernel.modules.settled()
