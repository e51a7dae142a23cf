"""Schedules in the Hub's dialect, over the wire and from the command line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from hub_client import HubClient, HubHere, client_of
from whole_hub import whole_hub

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCRIPTS = {
    "tidy.aether": 'fn sweep() { return "swept" }\nreturn "tidied"',
    "beds.aether": "plugin p {\n  schedule: every 6 hours\n  on_run { return 1 }\n}\nevery 5 minutes:\n  return 5\n",
    "broken.aether": "return (",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[HubClient]:
    home = tmp_path_factory.mktemp("schedules")
    (home / "scripts").mkdir()
    for name, text in SCRIPTS.items():
        (home / "scripts" / name).write_text(text)
    async with whole_hub(home) as server:
        paths = server.kernel.config.paths
        async with client_of(HubHere(f"http://127.0.0.1:{server.port}", paths.home, paths.plugins)) as client:
            yield client


async def make(client: HubClient, status: int = 201, **body: Any) -> Any:
    return await client.ask("POST", "/api/schedules", body, status)


async def test_a_schedule_is_made_shown_listed_switched_and_removed(client: HubClient) -> None:
    made = await make(
        client, script="tidy", schedule="0 6 * * 1-5", tz="Europe/Berlin", entry="sweep", parameters={"n": 1}
    )
    assert (made["owner"], made["script"], made["entry"], made["enabled"]) == (
        "user:local",
        "tidy.aether",
        "sweep",
        True,
    )
    assert made["schedule"] == {
        "kind": "cron", "seconds": None, "cron": "0 6 * * 1-5", "at": None, "days": [], "tz": "Europe/Berlin",
    }  # fmt: skip
    path = f"/api/schedules/{made['id']}"
    assert (await client.ask("GET", path))["parameters"] == {"n": 1}
    listed = await client.ask("GET", "/api/schedules?script=tidy.aether&enabled=true&limit=1")
    assert [one["id"] for one in listed["schedules"]] == [made["id"]]
    assert (await client.ask("POST", f"{path}/disable"))["enabled"] is False
    assert (await client.ask("GET", "/api/schedules?enabled=true&script=tidy.aether"))["count"] == 0
    assert (await client.ask("POST", f"{path}/enable"))["next_due"] == made["next_due"]
    assert await client.ask("DELETE", path) == {"id": made["id"], "deleted": True, "count": 1}
    for method in ("GET", "DELETE"):
        assert (await client.ask(method, path, status=404))["code"] == "SCHEDULE_NOT_FOUND"


async def test_a_number_of_seconds_is_a_schedule(client: HubClient) -> None:
    made = await make(client, script="tidy", schedule=3600)
    assert made["schedule"]["seconds"] == 3600
    assert made["written"] == 3600


async def test_a_script_is_made_resident_and_brings_its_schedules(client: HubClient) -> None:
    made = await make(client, script="beds", resident=True)
    assert (made["kind"], made["schedule"]) == ("resident", None)
    own = await client.ask("GET", f"/api/schedules?resident={made['id']}")
    assert sorted(one["written"] for one in own["schedules"]) == ["every 5 minutes", "every 6 hours"]
    child = f"/api/schedules/{own['schedules'][0]['id']}"
    assert (await client.ask("DELETE", child, status=409))["code"] == "SCHEDULE_OF_RESIDENT"
    assert (await client.ask("DELETE", f"/api/schedules/{made['id']}"))["count"] == 3


async def test_what_cannot_be_scheduled_is_refused_and_says_why(client: HubClient) -> None:
    refused = await make(client, 400, script="tidy", schedule="every blue moon")
    assert (refused["code"], refused["details"]["field"]) == ("BAD_SCHEDULE", "schedule")
    assert "0 6" not in (await make(client, 400, script="tidy"))["error"]
    assert (await make(client, 400, script="tidy", schedule="daily", tz="Mars"))["details"]["field"] == "tz"
    assert (await make(client, 404, script="nothing", schedule="daily"))["code"] == "SCRIPT_NOT_FOUND"
    assert "broken.aether:1" in (await make(client, 400, script="broken", schedule="daily"))["error"]
    assert (await make(client, 400, script="tidy", resident=True))["code"] == "NOTHING_REGISTERED"
    assert (await make(client, 400, script="beds", resident=True, schedule="daily"))["details"]["field"] == "schedule"
    assert "unknown" in (await make(client, 400, script="tidy", schedule="daily", colour="red"))["error"]


async def test_a_create_honours_its_key(client: HubClient) -> None:
    key = {"Idempotency-Key": "once"}
    body = {"script": "tidy", "schedule": "weekly on Friday at 18:00"}
    first = await client.ask("POST", "/api/schedules", body, 201, headers=key)
    assert (await client.ask("POST", "/api/schedules", body, 201, headers=key))["id"] == first["id"]
    other = {**body, "schedule": "daily"}
    await client.ask("POST", "/api/schedules", other, 409, headers=key)


async def test_others_schedules_are_there_for_whoever_may_read_all(client: HubClient) -> None:
    mine = await make(client, script="tidy", schedule="daily")
    theirs = await client.ask("POST", "/api/schedules", {"script": "tidy", "schedule": "daily"}, 201, console=True)
    assert theirs["owner"] == "core:console"
    await client.ask("GET", f"/api/schedules/{theirs['id']}", status=404)
    await client.ask("POST", f"/api/schedules/{theirs['id']}/disable", status=404)
    ids = [one["id"] for one in (await client.ask("GET", "/api/schedules", console=True))["schedules"]]
    assert {mine["id"], theirs["id"]} <= set(ids)
    await client.ask("DELETE", f"/api/schedules/{mine['id']}", console=True)


async def test_a_run_may_begin_at_an_entry(client: HubClient) -> None:
    body = {"name": "tidy", "entry": "sweep", "wait": True}
    assert (await client.ask("POST", "/api/scripts/run", body, 201))["result"] == "swept"
    body = {"name": "tidy", "entry": "dig", "wait": True}
    assert "sweep" in (await client.ask("POST", "/api/scripts/run", body, 201))["error"]["message"]
