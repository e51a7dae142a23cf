"""The Script Execution API over the wire: documented fields, states and errors, whatever a script does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from hub_process import HubProcess, hub_process

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCRIPTS = {
    "double.aether": "return { doubled: parameters.n * 2, asked_by: context.who ?? null }",
    "plain.aether": "return 7",
    "broken.aether": "let box = { size: 2\n",
    "throws.aether": 'fn pour(n) {\n  throw "the pot is empty"\n}\npour(1)',
    "loops.aether": "while true { }",
    "recurses.aether": "fn f(n) { return f(n + 1) }\nreturn f(0)",
    "grows.aether": "let xs = [1]\nwhile true { xs = xs + xs }",
    "floods.aether": 'for i in range(6000) { log "line {i}" }\nreturn "done"',
    "unknown.aether": "return frobnicate(1)",
    "denied.aether": 'if true { load_plugin("memory") }',
    "sure.aether": 'return load_plugin("memory")',
    "waits.aether": 'log "waiting"\nwait 300',
    "typed.aether": "return parameters.count + 1",
}


@dataclass
class Client:
    """A caller without a token, as a client of the document is; and one over the console socket, who may watch all."""

    hub: HubProcess
    session: aiohttp.ClientSession
    console: aiohttp.ClientSession

    async def ask(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        async with self.session.request(method, self.hub.url + path, json=body) as response:
            assert response.status == status, await response.text()
            return await response.json()

    async def run(self, script: str, **body: Any) -> str:
        answer = await self.ask("POST", "/run", {"script_name": script, **body})
        assert set(answer) == {"job_id", "status", "script_name", "started_at"}
        assert answer["status"] == "started"
        return str(answer["job_id"])

    async def ended(self, job: str) -> dict[str, Any]:
        """Wait for a job's last event, then read its status."""
        async with self.session.get(f"{self.hub.url}/api/jobs/{job}/events") as stream:
            async with asyncio.timeout(20):
                await stream.read()
        found: dict[str, Any] = await self.ask("GET", f"/status/{job}")
        return found

    async def outcome(self, script: str, **body: Any) -> dict[str, Any]:
        return await self.ended(await self.run(script, **body))

    @asynccontextmanager
    async def seeing(self, topic: str, text: str) -> AsyncIterator[None]:
        """Leave the block once an event of that topic with that text has passed."""
        async with self.console.get(f"http://localhost/api/events?topics={topic}") as stream:
            assert stream.status == 200
            yield
            async with asyncio.timeout(5):
                while text not in (await stream.content.readline()).decode():
                    assert not stream.content.at_eof()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    home = tmp_path_factory.mktemp("scripts_api") / "home"
    folder = home / "scripts"
    folder.mkdir(parents=True)
    for name, text in SCRIPTS.items():
        (folder / name).write_text(text)
    (folder / "out.aether").symlink_to("/etc/passwd")
    (home.parent / "beside.aether").write_text("return 1")
    async with (
        hub_process(home) as hub,
        aiohttp.ClientSession() as session,
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(home / "hub.sock"))) as console,
    ):
        yield Client(hub, session, console)


async def test_the_documented_example_runs_the_autopilot(client: Client) -> None:
    body = {"parameters": {"scan_interval": "30 minutes"}, "context": {"priority": "high"}}
    ended = await client.outcome("goal_autopilot.aether", **body)
    assert ended["status"] == "completed"
    assert ended["output"]["scan_interval"] == 1800
    assert {"processed", "resumed", "escalated"} <= set(ended["output"])
    assert ended["started_at"] <= ended["completed_at"]


async def test_two_scripts_have_two_results(client: Client) -> None:
    first = await client.outcome("double.aether", parameters={"n": 21}, context={"who": "ada"})
    second = await client.outcome("plain.aether")
    assert first["output"] == {"doubled": 42, "asked_by": "ada"}
    assert second["output"] == {"result": 7}


async def test_an_unknown_script_is_the_documented_404(client: Client) -> None:
    answer = await client.ask("POST", "/run", {"script_name": "nonexistent.aether"}, 404)
    assert answer["error"] == "ScriptNotFound"
    assert answer["details"]["script_name"] == "nonexistent.aether"
    assert set(answer) == {"error", "message", "details"}
    assert "did you mean 'plain.aether'" in (await client.ask("POST", "/run", {"script_name": "plian"}, 404))["message"]


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("../beside.aether", 400),
        ("../../etc/passwd", 400),
        ("/etc/passwd", 400),
        ("a//b.aether", 400),
        ("./plain.aether", 400),
        ("..%2fbeside.aether", 400),
        ("..\\beside.aether", 400),
        ("plain.aether\0.txt", 400),
        ("pl\u0061\u0308in", 400),
        ("", 400),
        ("x" * 300, 400),
        ("out.aether", 404),
    ],
)
async def test_no_trick_in_a_name_leads_out_of_the_script_folders(client: Client, name: str, status: int) -> None:
    answer = await client.ask("POST", "/run", {"script_name": name}, status)
    assert answer["error"] == ("InvalidScriptName" if status == 400 else "ScriptNotFound")


async def test_a_script_that_does_not_parse_fails_with_its_place(client: Client) -> None:
    ended = await client.outcome("broken.aether")
    assert (ended["status"], ended["error"]["code"]) == ("failed", "SCRIPT_SYNTAX")
    assert (ended["error"]["line"], ended["error"]["column"]) == (1, 11)
    assert ended["error"]["message"] == "'{' was never closed"


async def test_a_script_that_throws_fails_with_its_words_its_place_and_its_stack(client: Client) -> None:
    error = (await client.outcome("throws.aether"))["error"]
    assert (error["code"], error["type"], error["message"]) == ("USER_ERROR", "UserError", "the pot is empty")
    assert (error["file"], error["line"], error["column"]) == ("throws.aether", 2, 3)
    assert [frame["function"] for frame in error["stack"]] == ["pour", "main"]


@pytest.mark.parametrize(("script", "limit"), [("loops", "steps"), ("recurses", "depth"), ("grows", "items")])
async def test_a_script_without_end_meets_its_limit(client: Client, script: str, limit: str) -> None:
    ended = await client.outcome(f"{script}.aether")
    assert (ended["status"], ended["error"]["code"]) == ("failed", "LIMIT_EXCEEDED")
    assert ended["error"]["data"]["limit"] == limit


async def test_a_flood_of_log_records_is_cut_and_the_run_goes_on(client: Client) -> None:
    ended = await client.outcome("floods.aether")
    assert (ended["status"], ended["output"]) == ("completed", {"result": "done"})


async def test_a_function_that_does_not_exist_is_named(client: Client) -> None:
    error = (await client.outcome("unknown.aether"))["error"]
    assert error["code"] == "UNKNOWN_FUNCTION"
    assert "frobnicate" in error["message"]


async def test_a_right_that_is_missing_is_named(client: Client) -> None:
    error = (await client.outcome("denied.aether"))["error"]
    assert (error["code"], error["type"]) == ("CAPABILITY_DENIED", "PermissionError")
    assert error["message"] == "missing capability: plugin:manage"
    assert error["data"] == {
        "capability": "plugin:manage",
        "chain": "user:local → script:denied.aether",
        "reason": 'no rule allows plugin:manage for user:local; if it should, add "user:local" = ["plugin:manage"] to '
        "[capabilities.allow] in default.toml",
        "source": "",
        "hint": "aether policy explain user:local plugin:manage --through script:denied.aether",
    }


async def test_a_run_that_would_surely_be_denied_is_refused_with_the_reason(client: Client) -> None:
    refused = await client.ask("POST", "/run", {"script_name": "sure.aether"}, status=403)
    assert refused["message"].startswith("user:local → script:sure.aether may not plugin:manage: no rule allows")
    assert refused["details"]["hint"] == "aether policy explain user:local plugin:manage --through script:sure.aether"
    assert refused["details"]["capability"] == "plugin:manage"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"script_name": "plain", "parameters": [1]}, "parameters"),
        ({"script_name": "plain", "parameters": "n=1"}, "parameters"),
        ({"script_name": "plain", "context": 5}, "context"),
        ({"script_name": 5}, "script_name"),
        ({}, "script_name"),
    ],
)
async def test_a_wrong_type_names_its_field(client: Client, body: dict[str, Any], field: str) -> None:
    answer = await client.ask("POST", "/run", body, 400)
    assert field in answer["message"]


async def test_a_parameter_of_a_wrong_type_is_the_scripts_own_error(client: Client) -> None:
    error = (await client.outcome("typed.aether", parameters={"count": {"a": 1}}))["error"]
    assert (error["type"], error["line"]) == ("TypeError", 1)


async def test_unknown_fields_are_ignored_so_that_clients_that_send_extras_go_on(client: Client) -> None:
    assert (await client.outcome("plain.aether", extra=True))["status"] == "completed"


async def test_cancel_ends_a_loop_and_a_wait_within_a_second(client: Client) -> None:
    loop = asyncio.get_running_loop()
    for script in ("waits.aether", "loops.aether"):
        job = await client.run(script)
        async with client.session.get(f"{client.hub.url}/api/jobs/{job}/events") as stream:
            async for line in stream.content:
                if line.startswith(b"event: job.started"):
                    break
        asked = loop.time()
        answer = await client.ask("POST", f"/cancel/{job}")
        assert answer["status"] in ("cancelled", "cancelling")
        ended = await client.ended(job)
        assert loop.time() - asked < 1
        assert (ended["status"], ended["error"]["code"]) == ("cancelled", "CANCELLED")


async def test_cancelling_what_is_unknown_or_over_says_which(client: Client) -> None:
    unknown = "123e4567-e89b-12d3-a456-426614174000"
    assert (await client.ask("POST", f"/cancel/{unknown}", status=404))["error"] == "JobNotFound"
    assert (await client.ask("GET", f"/status/{unknown}", status=404))["error"] == "JobNotFound"
    job = await client.run("plain.aether")
    await client.ended(job)
    answer = await client.ask("POST", f"/cancel/{job}", status=409)
    assert (answer["error"], answer["details"]["status"]) == ("JobNotCancellable", "completed")


async def test_jobs_are_listed_by_status_and_paged(client: Client) -> None:
    for _ in range(3):
        await client.outcome("plain.aether")
    page = await client.ask("GET", "/jobs?status=completed&limit=2")
    assert [job["status"] for job in page["jobs"]] == ["completed"] * 2
    assert page["jobs"][0]["completed_at"] >= page["jobs"][1]["completed_at"]
    second = await client.ask("GET", "/jobs?status=completed&limit=2&skip=1")
    assert second["jobs"][0]["job_id"] == page["jobs"][1]["job_id"]
    assert "one of pending" in (await client.ask("GET", "/jobs?status=done", status=400))["message"]
    assert "limit" in (await client.ask("GET", "/jobs?limit=0", status=400))["message"]


async def test_the_library_lists_bundled_and_own_scripts_and_follows_its_folder(client: Client) -> None:
    names = {script["name"] for script in (await client.ask("GET", "/scripts"))["scripts"]}
    assert {"plain.aether", "system/goal_autopilot.aether"} <= names
    assert "out.aether" not in names
    async with client.seeing("script.*", "new.aether"):
        (client.hub.home / "scripts" / "new.aether").write_text("# says hello\nreturn 'hello'")
    listed = (await client.ask("GET", "/scripts"))["scripts"]
    assert next(one for one in listed if one["name"] == "new.aether")["description"] == "says hello"
    assert (await client.outcome("new"))["output"] == {"result": "hello"}


async def test_an_edited_script_runs_as_it_stands_now(client: Client) -> None:
    path = client.hub.home / "scripts" / "edited.aether"
    for n in (1, 2):
        path.write_text(f"return {n}")
        assert (await client.outcome("edited.aether"))["output"] == {"result": n}


async def test_stats_count_what_ran(client: Client) -> None:
    before = await client.ask("GET", "/stats")
    await client.outcome("plain.aether")
    after = await client.ask("GET", "/stats")
    assert after["total_jobs"] == before["total_jobs"] + 1
    assert after["jobs_by_status"]["completed"] == before["jobs_by_status"]["completed"] + 1
    assert after["average_duration_s"] > 0
    assert after["workers"]["run"]["alive"] >= 1


async def test_the_same_key_is_the_same_job(client: Client) -> None:
    url, body = client.hub.url + "/run", {"script_name": "plain.aether"}
    headers = {"Idempotency-Key": "tea-1"}
    async with client.session.post(url, json=body, headers=headers) as first:
        job = (await first.json())["job_id"]
    async with client.session.post(url, json=body, headers=headers) as again:
        assert (await again.json())["job_id"] == job
        assert again.headers["Idempotency-Replayed"] == "true"
    async with client.session.post(url, json={"script_name": "double"}, headers=headers) as other:
        assert other.status == 409


async def test_cleanup_removes_what_is_over(client: Client) -> None:
    job = await client.run("plain.aether")
    await client.ended(job)
    assert (await client.ask("DELETE", "/jobs/cleanup?older_than_hours=24"))["removed"] == 0
    async with client.seeing("job.cleaned", "job.cleaned"):
        assert (await client.ask("DELETE", "/jobs/cleanup?older_than_hours=0"))["removed"] >= 1
    await client.ask("GET", f"/status/{job}", status=404)


async def test_a_path_of_the_document_answers_a_wrong_method_in_its_shape(client: Client) -> None:
    answer = await client.ask("DELETE", "/run", status=405)
    assert set(answer) == {"error", "message", "details"}
