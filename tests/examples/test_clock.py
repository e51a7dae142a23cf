"""The example clock, used as its users do: over HTTP, SSE, a socket, from a script and from the command line."""

from __future__ import annotations

import ast
import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from hub_process import HubProcess, hub_process
from warm_process import start

from kernel import Caller, Overloaded, Plugin
from kernel.contribution import ONE_OF_A_HOUSE
from kernel.testing import Recording, TestClock, running_plugin

CLOCK = Path(__file__).resolve().parents[2] / "examples" / "clock.py"
ADA = Caller("user:ada", ("role:user",))

of_the_hub = pytest.mark.asyncio(loop_scope="module")
"""For the tests of the hub that they share, and that lives in their loop."""

ELSEWHERE = {"route", "put", "patch", "histogram", "manifest"} | set(ONE_OF_A_HOUSE)
"""Those that are as their neighbours, and those that one plugin of a house has alone."""


def test_it_uses_every_door_once() -> None:
    doors = {name for name in vars(Plugin) if not name.startswith("_") and callable(getattr(Plugin, name))}
    used = {
        node.func.attr
        for node in ast.walk(ast.parse(CLOCK.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    } | {
        node.attr
        for node in ast.walk(ast.parse(CLOCK.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "clock"
    }
    assert doors - used - ELSEWHERE == set()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[HubProcess]:
    """A hub with the clock; no two tests look at the same alarm, stopwatch or reload."""
    async with hub_process(tmp_path_factory.mktemp("clock") / "home") as running:
        (running.plugins / "clock.py").write_text(CLOCK.read_text())
        async with asyncio.timeout(20), aiohttp.ClientSession(running.url) as client:
            while (await client.get("/api/clock")).status != 200:
                pass
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def client(hub: HubProcess) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(hub.url) as session:
        yield session


async def ask(client: aiohttp.ClientSession, method: str, path: str, **options: Any) -> tuple[int, Any]:
    async with client.request(method, path, **options) as response:
        return response.status, await response.json()


async def console(hub: HubProcess, *arguments: str, check: bool = True) -> str:
    plugins = str(hub.plugins)
    folders = ("--home", str(hub.home), "--plugins", plugins, "--trust-plugins", plugins)
    environment = {"PATH": os.environ["PATH"], "HOME": str(hub.home)}
    process = await start(*folders, *arguments, env=environment, together=True)
    out, _ = await process.communicate()
    assert process.returncode == 0 or not check, out.decode()
    return out.decode()


@of_the_hub
async def test_it_tells_the_time_of_a_zone_and_refuses_one_that_is_not_there(client: aiohttp.ClientSession) -> None:
    status, time = await ask(client, "GET", "/api/clock?zone=Asia/Tokyo")
    assert (status, time["zone"], time["time"][-6:]) == (200, "Asia/Tokyo", "+09:00")
    status, refusal = await ask(client, "GET", "/api/clock?zone=Asia/Tokio")
    assert (status, refusal["code"]) == (400, "BAD_INPUT")
    assert "did you mean Asia/Tokyo?" in refusal["error"]


@of_the_hub
async def test_it_streams_ticks_and_answers_over_a_socket(client: aiohttp.ClientSession) -> None:
    async with client.get("/api/clock/ticks?every_s=0.05") as stream:
        assert stream.content_type == "text/event-stream"
        lines = []
        async for line in stream.content:
            lines += [line] if line.startswith(b"data:") else []
            if len(lines) == 3:
                break
    assert all(json.loads(line[5:])["zone"] == "UTC" for line in lines)
    async with client.ws_connect("/api/clock/socket") as socket:
        await socket.send_json({"zone": "Europe/Oslo"})
        assert (await socket.receive_json())["zone"] == "Europe/Oslo"
        await socket.send_json({"zone": "Nowhere"})
        assert "there is no zone 'Nowhere'" in await socket.receive_json()
        await socket.send_json({"zone": 1})
        assert (await socket.receive_json())["code"] == "BAD_INPUT"


@of_the_hub
async def test_an_alarm_set_at_the_terminal_rings(hub: HubProcess, client: aiohttp.ClientSession) -> None:
    assert "rings in 0.05 s: tea" in await console(hub, "alarm", "tea", "--in-s", "0.05")
    later = json.loads(await console(hub, "alarm", "--json", "coffee", "--in-s", "3600"))
    async with asyncio.timeout(20):
        while "aetherra_clock_alarms_rung_total 1" not in await page(client, "/metrics"):
            pass
    assert await ask(client, "GET", "/api/clock/alarms") == (200, [later])


async def page(client: aiohttp.ClientSession, path: str) -> str:
    async with client.get(path) as response:
        return await response.text()


@of_the_hub
async def test_a_stopwatch_and_an_open_socket_outlive_a_reload(hub: HubProcess, client: aiohttp.ClientSession) -> None:
    assert (await ask(client, "POST", "/api/clock/stopwatches/run"))[0] == 200
    async with client.ws_connect("/api/clock/socket") as socket:
        assert "generation 2" in await console(hub, "reload", "clock")
        await socket.send_json({"zone": "UTC"})
        assert (await socket.receive_json())["zone"] == "UTC"
    assert (await ask(client, "POST", "/api/clock/stopwatches/run"))[0] == 409
    status, seconds = await ask(client, "DELETE", "/api/clock/stopwatches/run")
    assert status == 200
    assert seconds > 0
    assert (await ask(client, "DELETE", "/api/clock/stopwatches/run"))[0] == 404


@of_the_hub
async def test_the_doctor_asks_it(hub: HubProcess) -> None:
    said = json.loads(await console(hub, "doctor", "--json", check=False))
    assert any("time zones" in finding["found"] for finding in said["checks"])


@of_the_hub
async def test_scripts_call_it(hub: HubProcess) -> None:
    script = hub.home / "zone.aether"
    script.write_text('log clock.now("Asia/Tokyo").zone\n')
    assert "Asia/Tokyo" in await console(hub, "run", str(script), "--watch")


async def test_alarms_ring_in_their_order_and_each_once() -> None:
    clock = TestClock()
    async with running_plugin(CLOCK, bundled=["security", "memory"], clock=clock) as kernel:
        with Recording(kernel.bus, "clock.*") as seen:
            for text, seconds in (("second", 20.0), ("first", 10.0), ("third", 3600.0)):
                await kernel.context(ADA).call("clock.alarm", text, seconds)
            await clock.advance(30)
            assert [event.data["text"] for event in seen.events] == ["first", "second"]
            await kernel.modules.reload("clock")
            await clock.advance(3600)
            assert [event.data["text"] for event in seen.events] == ["first", "second", "third"]


async def test_an_alarm_that_rang_is_remembered() -> None:
    async with running_plugin(CLOCK, bundled=["security", "memory"]) as kernel:
        with Recording(kernel.bus, "memory.stored") as seen:
            await kernel.context(ADA).call("clock.alarm", "tea", 0)
            await seen.wait_for("memory.stored")
            found = await kernel.context(Caller("plugin:clock")).service("memory").recall(tags=["clock"])
            assert "the alarm rang: tea" in str(found)


async def test_more_alarms_than_its_settings_allow_are_refused() -> None:
    async with running_plugin(CLOCK, bundled=["security", "memory"], settings={"alarms": 1}) as kernel:
        await kernel.context(ADA).call("clock.alarm", "one", 60)
        with pytest.raises(Overloaded, match=r"\[plugins.clock\] alarms"):
            await kernel.context(ADA).call("clock.alarm", "two", 60)


async def test_a_zone_that_is_none_is_told_by_its_health() -> None:
    async with running_plugin(CLOCK, bundled=["security", "memory"], settings={"zone": "Moon"}) as kernel:
        assert "zone is 'Moon', which is no zone" in ((await kernel.ready())["clock"] or "")
