"""Jobs and scripts in the Hub's dialect, over the wire: run, watch, look up, cancel, check; and a hub that stops."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
import pytest_asyncio
from hub_process import HubProcess, hub_process

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCRIPTS = {
    "demo.aether": '# adds two numbers\nlog "adding"\nprint(parameters.a)\nreturn parameters.a + parameters.b',
    "throws.aether": 'throw "no tea"',
    "waits.aether": 'log "waiting"\nwait 300',
    "tidy.aether": 'remember("x") as "t"\nfor entry in search_memory({}) { delete_memory(entry.id) }',
}


@dataclass
class Client:
    """A caller without a token."""

    hub: HubProcess
    session: aiohttp.ClientSession

    async def ask(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        async with self.session.request(method, self.hub.url + path, json=body) as response:
            assert response.status == status, await response.text()
            return await response.json()

    async def events(self, job: str, headers: dict[str, str] | None = None) -> list[tuple[str, str, dict[str, Any]]]:
        """The stream of a job to its end: (id, topic, data) each."""
        found, number, topic = [], "", ""
        async with self.session.get(f"{self.hub.url}/api/jobs/{job}/events", headers=headers) as stream:
            assert stream.headers["Content-Type"].startswith("text/event-stream")
            async with asyncio.timeout(20):
                async for raw in stream.content:
                    field, _, value = raw.decode().rstrip("\n").partition(": ")
                    if field == "id":
                        number = value
                    elif field == "event":
                        topic = value
                    elif field == "data" and topic.startswith("job."):
                        found.append((number, topic, json.loads(value)["data"]))
        return found

    async def running(self, script: str) -> str:
        """Start a script and return its job's id once it has said something."""
        job = str((await self.ask("POST", "/api/run", {"script": script}, 201))["job_id"])
        async with self.session.get(f"{self.hub.url}/api/jobs/{job}/events") as stream:
            async with asyncio.timeout(10):
                async for line in stream.content:
                    if line.startswith(b"event: job.log"):
                        return job
        pytest.fail(f"{script} ended before it said anything")


def install(home: Path) -> None:
    folder = home / "scripts"
    folder.mkdir(parents=True)
    for name, text in SCRIPTS.items():
        (folder / name).write_text(text)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    home = tmp_path_factory.mktemp("jobs") / "home"
    install(home)
    async with hub_process(home) as hub, aiohttp.ClientSession() as session:
        yield Client(hub, session)


async def test_a_run_is_accepted_at_once_and_told_as_events_to_its_end(client: Client) -> None:
    accepted = await client.ask("POST", "/api/run", {"script": "demo.aether", "args": {"a": 1, "b": 2}}, 201)
    assert {"job_id", "status", "started_at"} <= set(accepted)
    assert accepted["status"] == "running"
    events = await client.events(accepted["job_id"])
    assert [topic for _, topic, _ in events] == [
        "job.created",
        "job.started",
        "job.log",
        "job.output",
        "job.completed",
    ]
    assert {data["job_id"] for _, _, data in events} == {accepted["job_id"]}
    assert (events[2][2]["message"], events[2][2]["line"]) == ("adding", 2)
    assert events[3][2]["text"] == "1"
    assert events[4][2]["result"] == 3


async def test_a_stream_goes_on_behind_the_last_event_that_was_seen(client: Client) -> None:
    accepted = await client.ask("POST", "/api/run", {"script": "demo.aether", "args": {"a": 1, "b": 2}}, 201)
    events = await client.events(accepted["job_id"])
    later = await client.events(accepted["job_id"], {"Last-Event-ID": events[2][0]})
    assert [topic for _, topic, _ in later] == ["job.output", "job.completed"]


async def test_a_synchronous_run_answers_with_its_end(client: Client) -> None:
    body = {"script": "demo.aether", "args": {"a": 20, "b": 22}, "async": False}
    answer = await client.ask("POST", "/api/run", body, 201)
    assert (answer["status"], answer["result"]) == ("completed", 42)
    failed = await client.ask("POST", "/api/run", {"script": "throws", "async": False}, 201)
    assert (failed["status"], failed["error"]["message"]) == ("failed", "no tea")


async def test_a_job_is_looked_up_and_listed(client: Client) -> None:
    answer = await client.ask(
        "POST", "/api/run", {"script": "demo.aether", "args": {"a": 1, "b": 1}, "async": False}, 201
    )
    job = await client.ask("GET", f"/api/jobs/{answer['job_id']}")
    assert (job["kind"], job["script"], job["status"], job["attempt"]) == ("script", "demo.aether", "completed", 1)
    assert (job["args"], job["result"], job["error"]) == ({"a": 1, "b": 1}, 2, None)
    assert job["duration_s"] > 0
    page = await client.ask("GET", "/api/jobs?status=completed&script=demo.aether&limit=1")
    assert page["jobs"][0]["job_id"] == answer["job_id"]
    older = await client.ask("GET", f"/api/jobs?limit=1&before={page['next']}")
    assert older["jobs"][0]["job_id"] != answer["job_id"]
    await client.ask("GET", "/api/jobs?status=done", status=400)


async def test_a_waiting_script_is_cancelled(client: Client) -> None:
    job = await client.running("waits.aether")
    assert await client.ask("POST", f"/api/cancel/{job}") in (
        {"ok": True, "message": "Job cancelled"},
        {"ok": True, "message": "Job is being cancelled"},
    )
    assert (await client.events(job))[-1][1] == "job.cancelled"
    assert (await client.ask("GET", f"/api/jobs/{job}"))["status"] == "cancelled"
    again = await client.ask("POST", f"/api/cancel/{job}", status=409)
    assert again["code"] == "JOB_FINISHED"


async def test_a_job_that_asks_is_answered_over_http(client: Client) -> None:
    body = {"source": 'await approval "open the cellar?" for 10 -> yes\nreturn yes', "name": "asks"}
    job = (await client.ask("POST", "/api/scripts/run", body, 201))["job_id"]
    async with asyncio.timeout(10):
        while True:
            answer = await client.session.post(f"{client.hub.url}/api/jobs/{job}/approve", json={"approved": False})
            if answer.status != 409:  # it has not asked yet
                break
    assert await answer.json() == {"question": "1", "text": "open the cellar?", "approved": False}
    async with asyncio.timeout(10):
        while (row := await client.ask("GET", f"/api/jobs/{job}"))["status"] == "running":
            pass
    assert (row["status"], row["result"]) == ("completed", False)


async def test_unknown_jobs_and_scripts_are_told_in_the_hubs_shape(client: Client) -> None:
    unknown = ("GET", "/api/jobs/none"), ("GET", "/api/jobs/none/events"), ("POST", "/api/cancel/none")
    for method, path in (*unknown, ("POST", "/api/jobs/none/approve")):
        answer = await client.ask(method, path, status=404)
        assert {"error", "code"} <= set(answer)
    answer = await client.ask("POST", "/api/run", {"script": "none.aether"}, 404)
    assert answer["code"] == "SCRIPT_NOT_FOUND"
    assert (await client.ask("POST", "/api/run", {"script": "../x"}, 400))["code"] == "INVALID_SCRIPT_NAME"
    assert "args" in (await client.ask("POST", "/api/run", {"script": "demo", "args": [1]}, 400))["error"]


async def test_a_source_is_checked_without_being_run(client: Client) -> None:
    before = (await client.ask("GET", "/api/jobs?limit=1"))["jobs"]
    answer = await client.ask("POST", "/api/scripts/check", {"source": "let x = {\n"})
    assert answer["ok"] is False
    finding = answer["diagnostics"][0]
    assert (finding["line"], finding["column"], finding["message"]) == (1, 9, "'{' was never closed")
    found = await client.ask("POST", "/api/scripts/check", {"name": "tidy.aether"})
    assert (found["ok"], found["name"]) == (True, "tidy.aether")
    assert set(found["capabilities"]) == {"memory.read", "memory.write"}
    assert (await client.ask("GET", "/api/jobs?limit=1"))["jobs"] == before
    assert "source" in (await client.ask("POST", "/api/scripts/check", {}, 400))["error"]


async def test_a_contract_with_a_plugin_that_is_not_there_in_that_version_is_found(client: Client) -> None:
    async def found(id: str, version: str) -> list[str]:
        source = f'plugin_contract:\n  id: "{id}"\n  version: "{version}"\n'
        answer = await client.ask("POST", "/api/scripts/check", {"source": source})
        messages = [one["message"] for one in answer["diagnostics"] if one["code"] == "AE410"]
        assert answer["ok"] is not bool(messages)
        return messages

    assert await found("scripts", ">=0") == []
    assert "installed is" in (await found("scripts", ">=99"))[0]
    assert "is not installed" in (await found("teapot", "1.0"))[0]


async def test_our_own_operations_refuse_unknown_fields_and_the_documented_ones_ignore_them(client: Client) -> None:
    assert "sauce" in (await client.ask("POST", "/api/scripts/check", {"source": "1", "sauce": 1}, 400))["error"]
    await client.ask("POST", "/api/run", {"script": "demo", "args": {"a": 1, "b": 1}, "extra": 1}, 201)


async def test_a_source_that_comes_along_runs_with_the_rights_of_such_scripts(client: Client) -> None:
    body = {"source": "return parameters.n + 1", "name": "quick", "parameters": {"n": 1}, "wait": True}
    answer = await client.ask("POST", "/api/scripts/run", body, 201)
    assert (answer["status"], answer["result"], answer["script"]) == ("completed", 2, "inline/quick.aether")


async def test_scripts_are_listed_with_what_they_say_about_themselves(client: Client) -> None:
    listed = {one["name"]: one for one in (await client.ask("GET", "/api/scripts"))["scripts"]}
    assert (listed["demo.aether"]["description"], listed["demo.aether"]["root"]) == ("adds two numbers", "operator")
    assert listed["system/goals.aether"]["root"] == "bundled"


async def test_the_autopilot_counts_real_goals(client: Client) -> None:
    for title in ("water the plants", "answer letters"):
        body = {"source": f'return call system/goals.create_goal("{title}", deadline="1 minute").id', "wait": True}
        assert (await client.ask("POST", "/api/scripts/run", body, 201))["status"] == "completed"
    body = {"source": "for g in get_all_goals() { update_goal({id: g.id, status: 'blocked'}) }", "wait": True}
    await client.ask("POST", "/api/scripts/run", body, 201)
    answer = await client.ask("POST", "/api/run", {"script": "goal_autopilot", "async": False}, 201)
    assert (answer["result"]["processed"], answer["result"]["escalated"]) == (2, 2)


async def test_a_hub_that_stops_ends_its_runs_and_says_so_after_its_restart(tmp_path: Path) -> None:
    home = tmp_path / "home"
    install(home)
    async with aiohttp.ClientSession() as session:
        async with hub_process(home) as hub:
            job = await Client(hub, session).running("waits.aether")
            assert await hub.terminate() == 0
        async with hub_process(home) as hub:
            found = await Client(hub, session).ask("GET", f"/api/jobs/{job}")
    assert found["status"] == "failed"
    assert found["error"]["code"] == "HUB_STOPPING"
    assert "submit it again" in found["error"]["message"]


async def test_a_hub_that_is_killed_leaves_no_worker_and_tells_of_its_runs_after_its_restart(tmp_path: Path) -> None:
    home = tmp_path / "home"
    install(home)
    async with aiohttp.ClientSession() as session:
        async with hub_process(home) as hub:
            job = await Client(hub, session).running("waits.aether")
            workers = psutil.Process(hub.process.pid).children(recursive=True)
            assert workers
            hub.process.kill()
            await hub.process.wait()
            _, alive = await asyncio.to_thread(psutil.wait_procs, workers, 5)
            assert alive == []
        async with hub_process(home) as hub:
            client = Client(hub, session)
            assert (await client.events(job))[-1][1] == "job.failed"
            assert (await client.ask("GET", f"/api/jobs/{job}"))["error"]["code"] == "HUB_STOPPED"
