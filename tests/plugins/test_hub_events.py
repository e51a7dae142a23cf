"""Events over the Hub dialect, with the policy that ships: posted, answered once, and read again after a kill."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import pytest_asyncio
from hub_client import HubClient, client_here, hub_client

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[HubClient]:
    """A client of a hub that the tests share."""
    async with client_here(tmp_path_factory.mktemp("shared") / "home") as running:
        yield running


async def post(
    client: HubClient, topic: str, data: Any = None, status: int = 201, *, key: str | None = None, console: bool = False
) -> dict[str, Any]:
    headers = {"Idempotency-Key": key} if key else {}
    body = {"topic": topic, "data": data}
    answer: dict[str, Any] = await client.ask("POST", "/api/events", body, status, headers=headers, console=console)
    return answer


async def read(client: HubClient, topics: str, count: int, **query: Any) -> list[dict[str, Any]]:
    """The first `count` messages of a stream at the console, `data` alone."""
    found: list[dict[str, Any]] = []
    path = f"http://localhost/api/events?{urlencode({'topics': topics, **query})}"
    async with asyncio.timeout(10), client.console.get(path) as response:
        assert response.status == 200, await response.text()
        while len(found) < count:
            line = await response.content.readline()
            if line.startswith(b"data:"):
                found.append(json.loads(line[5:]))
    return found


@pytest_asyncio.fixture(loop_scope="module")
async def fresh(tmp_path: Path) -> AsyncIterator[HubClient]:
    """A client of a hub to which nothing has happened."""
    async with client_here(tmp_path / "home") as running:
        yield running


async def test_a_posted_event_is_committed_and_can_be_read_again(fresh: HubClient) -> None:
    client = fresh
    first = await post(client, "user.note", {"text": "tea"})
    assert set(first) == {"seq", "topic", "durable"}
    assert (first["topic"], first["durable"]) == ("user.note", True)
    second = await post(client, "user.note")
    (event,) = await read(client, "user.#", 1, since=first["seq"])
    assert event["seq"] == second["seq"]
    told, again = await read(client, "user.#", 2, since=first["seq"] - 1)
    assert (told["data"], told["source"], again) == ({"text": "tea"}, "hub_api", event)
    assert [e["seq"] for e in await read(client, "user.#", 2, since="1h")] == [first["seq"], second["seq"]]
    status = await client.ask("GET", "/api/keb/status")
    assert (status["durable"]["kept"], status["durable"]["oldest"]) == (2, first["seq"])
    assert "user.#" in status["durable"]["topics"]
    assert status["position"] >= second["seq"]


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"topic": "user.note", "date": 1}, 400, "date"),
        ({"data": 1}, 400, "topic"),
        ({"topic": "user.*"}, 400, "a topic is dotted words"),
        ({"topic": "user note"}, 400, "a topic is dotted words"),
        ({"topic": 5}, 400, "topic"),
        ({"topic": "greeting.made"}, 403, "event:emit:greeting.made"),
        ({"topic": "memory.stored"}, 403, "told by memory alone"),
        ({"topic": "user.note", "data": "x" * 70_000}, 413, "event_kb"),
    ],
)
async def test_what_cannot_be_published_is_refused_with_words(
    client: HubClient, body: dict[str, Any], status: int, said: str
) -> None:
    before = (await client.ask("GET", "/api/keb/status"))["durable"]["kept"]
    answer = await client.ask("POST", "/api/events", body, status)
    assert said in json.dumps(answer)
    assert (await client.ask("GET", "/api/keb/status"))["durable"]["kept"] == before


@pytest.mark.parametrize("topic", ["memory.stored", "job.completed", "module.loaded", "plugin.error", "stream.gap"])
async def test_not_even_an_administrator_publishes_what_only_a_plugin_or_the_hub_can_state(
    client: HubClient, topic: str
) -> None:
    answer = await post(client, topic, status=403, console=True)
    assert "alone" in json.dumps(answer)


async def test_a_passing_event_is_posted_by_who_may_and_bounded_as_well(client: HubClient) -> None:
    answer = await post(client, "greeting.made", 1, console=True)
    assert answer["durable"] is False
    assert [e["data"] for e in await read(client, "greeting.*", 1, since=answer["seq"] - 1)] == [1]
    await post(client, "greeting.made", "x" * 70_000, 413, console=True)


async def test_a_wrong_place_to_begin_is_a_400(client: HubClient) -> None:
    for since in ("yesterday", "-1", "10", "9" * 19, "10y"):
        status = 200 if since == "10" else 400
        path = f"http://localhost/api/events?topics=user.note&since={since}"
        async with client.console.get(path) as response:
            assert response.status == status, since


async def test_a_key_is_answered_once_for_each_user_also_after_a_kill(tmp_path: Path) -> None:
    async with hub_client(tmp_path / "home") as client:
        first = await post(client, "user.note", {"n": 1}, key="k-1")
        async with client.local.post(
            f"{client.hub.url}/api/events",
            json={"data": {"n": 1}, "topic": "user.note"},
            headers={"Idempotency-Key": "k-1"},
        ) as response:
            assert (response.status, response.headers["Idempotency-Replayed"]) == (201, "true")
            assert await response.json() == first
        refused = await post(client, "user.note", {"n": 2}, 409, key="k-1")
        assert refused["code"] == "IDEMPOTENCY_KEY_REUSED"
        other = await post(client, "user.note", {"n": 2}, key="k-1", console=True)
        assert other["seq"] > first["seq"]
        client.hub.process.send_signal(signal.SIGKILL)
        await client.hub.process.wait()
    async with hub_client(tmp_path / "home") as client:
        assert await post(client, "user.note", {"n": 1}, key="k-1") == first
        events = await read(client, "user.#", 2, since=first["seq"] - 1)
        assert [e["seq"] for e in events] == [first["seq"], other["seq"]]
        later = await post(client, "user.note", {"n": 3})
        assert later["seq"] > other["seq"]
        assert [e["seq"] for e in await read(client, "user.#", 3, since="7d")][-1] == later["seq"]


async def test_many_posts_and_a_kill_lose_nothing_that_was_answered(tmp_path: Path) -> None:
    answered: dict[int, int] = {}
    async with hub_client(tmp_path / "home") as client:

        async def posting(start: int) -> None:
            for n in range(start, start + 10_000, 8):
                try:
                    answered[n] = (await post(client, "user.note", n))["seq"]
                except OSError:
                    return
                except Exception:
                    assert client.hub.process.returncode is not None or len(answered) >= 200
                    return

        posters = [asyncio.create_task(posting(n)) for n in range(8)]
        async with asyncio.timeout(30):
            while len(answered) < 200:
                await asyncio.sleep(0.001)
        client.hub.process.send_signal(signal.SIGKILL)
        await client.hub.process.wait()
        await asyncio.gather(*posters)
    async with hub_client(tmp_path / "home") as client:
        kept = (await client.ask("GET", "/api/keb/status"))["durable"]["kept"]
        events = await read(client, "user.#", kept, since=min(answered.values()) - 1)
        numbers = [event["seq"] for event in events]
        assert numbers == sorted(set(numbers))
        found = {event["data"]: event["seq"] for event in events}
        assert answered.items() <= found.items()
