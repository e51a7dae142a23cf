"""The Hub dialect's status pages and module operations, over the wire: documented fields, measured figures, rights."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
from hub_client import HubClient, client_here, hub_client

from kernel import Caller
from kernel.testing import ALLOW_ALL, TestClock, running_kernel

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOT = Path(__file__).parents[2]
EXAMPLE = (ROOT / "examples" / "hello.py").read_text()


class Client(HubClient):
    """A client over TCP (`user:local`) and one over the console socket (`core:console`)."""

    async def get(self, path: str, status: int = 200) -> Any:
        return await self.ask("GET", path, status=status)

    async def post(self, path: str, body: Any = None, status: int = 200, *, console: bool = False) -> Any:
        return await self.ask("POST", path, body, status, console=console)

    async def version(self, number: int) -> None:
        beside = self.hub.plugins / ".hello.new"
        beside.write_text(EXAMPLE.replace("Hello", f"Hello {number}"))
        beside.rename(self.hub.plugins / "hello.py")
        async with asyncio.timeout(5):
            while True:
                async with self.local.get(self.hub.url + "/api/hello/Ada") as response:
                    if f"Hello {number}" in await response.text():
                        return


@pytest_asyncio.fixture(loop_scope="module")
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    """A client of a hub of its own."""
    async with client_here(tmp_path / "home") as client:
        yield Client(**vars(client))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def reader(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    """A client of a hub that the tests share, and only read."""
    async with client_here(tmp_path_factory.mktemp("shared") / "home") as client:
        yield Client(**vars(client))


ENDLESS = """
import asyncio
from collections.abc import AsyncIterator
from typing import Any

from kernel import Context, Plugin, needs

scripts = Plugin("scripts", version="1.0.0")

ROW = dict(id="j-1", name="a", replayed=False, started_at=None, created_at="2026-11-20T19:17:32.125Z")

@scripts.service("scripts")
class Scripts:
    @needs("script:run")
    async def submit(
        self,
        ctx: Context,
        script_name: str | None,
        parameters: dict[str, Any],
        context: dict[str, Any],
        source: str | None,
        priority: int | str,
        deadline_s: float | None,
        entry: str | None = None,
        command: str | None = None,
        config: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        return ROW

    @needs("job:cancel")
    async def decide(self, ctx: Context, id: str, approved: bool, question: str | None) -> dict[str, Any]:
        return {}

    @needs("script:check")
    async def list(self, ctx: Context) -> list[dict[str, Any]]:
        return []

    @needs("script:check")
    async def check(
        self, ctx: Context, source: str | None, name: str | None, principal: str | None
    ) -> dict[str, Any]:
        return {}

@scripts.service("executions")
class Executions:
    @needs("job:read")
    async def get(self, ctx: Context, id: str) -> dict[str, Any]:
        return ROW

    @needs("job:read")
    async def list(
        self,
        ctx: Context,
        kind: str | None,
        state: str | None,
        name: str | None,
        limit: int,
        skip: int,
        before: int | None,
    ) -> dict[str, Any]:
        return {}

    @needs("job:cancel")
    async def cancel(self, ctx: Context, id: str) -> dict[str, Any]:
        return ROW

    @needs("job:read")
    async def history(self, ctx: Context, id: str) -> dict[str, Any]:
        return {}

    @needs("job:read")
    async def submit(self, ctx: Context, kind: str, name: str, input: dict[str, Any]) -> dict[str, Any]:
        return ROW

    @needs("job:read")
    async def stats(self, ctx: Context, kind: str | None, name: str | None) -> dict[str, Any]:
        return {}

    @needs("job:read")
    async def watch(self, ctx: Context, id: str) -> AsyncIterator[dict[str, Any]]:
        await asyncio.Event().wait()
        yield ROW
"""


@pytest.mark.parametrize(
    ("path", "arguments"),
    [
        ("/api/run", {"script": "a", "async_": False}),
        ("/api/scripts/run", {"name": "a", "wait": True}),
    ],
)
async def test_a_synchronous_run_waits_thirty_seconds_and_its_route_allows_for_it(
    tmp_path: Path, path: str, arguments: dict[str, Any]
) -> None:
    clock = TestClock()
    plugins = {"allow_all": ALLOW_ALL, "scripts": ENDLESS}
    async with running_kernel(tmp_path, plugins=plugins, bundled=["hub_api"], clock=clock) as kernel:
        route = next(owned for owned in kernel.table.routes if owned.item.key == ("POST", path))
        assert route.item.deadline_s is not None
        assert route.item.deadline_s > 30
        ctx = kernel.context(Caller("user:local", ("role:user",)))
        asked = asyncio.create_task(kernel.serve(route, ctx, arguments))
        await clock.advance(29.9)
        assert not asked.done()
        await clock.advance(0.2)
        assert (await asked).value.status == "running"


async def test_kernel_status_has_the_documented_fields_and_they_move(client: Client) -> None:
    status = await client.get("/api/kernel/status")
    assert set(status) == {"running", "uptime", "cycle_count", "metrics", "queue_sizes", "hmr"}
    assert set(status["queue_sizes"]) == {"high_priority", "normal_priority", "background"}
    assert status["hmr"] == {"enabled": True, "attempts": 0, "success": 0, "rollback": 0}
    await client.version(1)
    await client.version(2)
    later = await client.get("/api/kernel/status")
    assert later["hmr"] == {"enabled": True, "attempts": 1, "success": 1, "rollback": 0}
    assert later["uptime"] > status["uptime"]


async def test_kernel_metrics_have_the_documented_envelope(reader: Client) -> None:
    metrics = await reader.get("/api/kernel/metrics")
    assert set(metrics) == {"hub_ts", "kernel"}
    assert {"scheduler", "supervisor", "bus", "store", "hmr"} == set(metrics["kernel"]["metrics"])
    assert metrics["kernel"]["metrics"]["store"]["writes"] >= 0


async def test_every_bound_is_shown_under_the_name_of_its_setting(reader: Client) -> None:
    answer = await reader.get("/api/system/limits")
    limits = answer["limits"]
    assert answer["count"] == len(limits)
    assert (limits["hub.connections"], limits["hub.body_kb"], limits["limits.ring"]) == (2_000, 1_024, 10_000)
    assert limits["plugins.security.decisions_kept"] == 8_192
    assert "hub.port" not in limits
    assert all(isinstance(bound, int | float) for bound in limits.values())


async def test_the_bus_counts_what_it_publishes(client: Client) -> None:
    before = await client.get("/api/keb/status")
    assert {"active", "topics", "subscribers", "events_published", "events_delivered"} <= set(before)
    await client.version(1)
    assert (await client.get("/api/keb/status"))["events_published"] > before["events_published"]


async def test_plugins_are_listed_with_their_state_and_a_broken_edit_with_its_reason(client: Client) -> None:
    await client.version(1)
    listed = await client.get("/api/plugins")
    assert listed["count"] == len(listed["plugins"])
    hello = next(p for p in listed["plugins"] if p["name"] == "hello")
    assert (hello["version"], hello["status"], hello["reason"]) == ("1.0.0", "active", None)
    (client.hub.plugins / "hello.py").write_text("def broken(:")
    async with asyncio.timeout(5):
        while (shown := await client.get("/api/plugins/hello"))["reason"] is None:
            pass
    assert "hello.py:1: SyntaxError" in shown["reason"]
    assert shown["status"] == "active"
    assert await client.get("/api/hello/Ada") == "Hello 1, Ada!"


async def test_module_figures_follow_what_happens(client: Client) -> None:
    before = await client.get("/api/klm/status")
    await client.version(1)
    await client.version(2)
    after = await client.get("/api/klm/status")
    assert after["modules_active"] == before["modules_active"] + 1
    assert after["recent_reloads"] == before["recent_reloads"] + 1
    modules = await client.get("/api/klm/modules")
    hello = next(m for m in modules["modules"] if m["name"] == "hello")
    assert hello["generation"] == 2
    assert hello["calls"] >= 1


async def test_a_rollback_needs_the_console_and_serves_the_previous_version(client: Client) -> None:
    await client.version(1)
    await client.version(2)
    refused = await client.post("/api/klm/modules/hello/rollback", status=403)
    assert refused["code"] == "CAPABILITY_DENIED"
    assert "plugin:manage" in refused["error"]
    await client.post("/api/klm/modules/hello/rollback", console=True)
    assert await client.get("/api/hello/Ada") == "Hello 1, Ada!"
    history = await client.get("/api/klm/history")
    assert [s["action"] for s in history["history"] if s["plugin"] == "hello"] == ["rollback", "reload", "load"]


async def test_a_token_takes_back_the_plugin_it_belongs_to_and_no_other(client: Client) -> None:
    await client.version(1)
    await client.version(2)
    shown = await client.get("/api/plugins/hello")
    token = shown["rollback_token"]
    answer = await client.post("/api/klm/modules/memory/rollback", {"token": token}, 409, console=True)
    assert "another plugin" in answer["error"]
    await client.post("/api/klm/modules/memory/rollback", {}, 404, console=True)
    assert (
        "did you mean 'memory'"
        in (await client.post("/api/klm/modules/memry/rollback", {}, 404, console=True))["error"]
    )
    assert (await client.get("/api/plugins/hello"))["generation"] == shown["generation"]
    history = (await client.get("/api/klm/history"))["history"]
    switched = next(s for s in history if s["token"] == token)
    await client.post("/api/klm/modules/hello/rollback", {"token": token}, console=True)
    assert (await client.get("/api/plugins/hello"))["hash"] == switched["previous_hash"]


async def test_a_plugin_is_disabled_and_enabled_from_the_console(client: Client) -> None:
    await client.version(1)
    await client.post("/api/plugins/hello/disable", console=True)
    assert (await client.get("/api/hello/Ada", status=404))["code"] == "NOT_FOUND"
    await client.post("/api/plugins/hello/enable", console=True)
    assert await client.get("/api/hello/Ada") == "Hello 1, Ada!"


async def test_a_reload_of_a_broken_file_is_refused_with_the_reason(client: Client) -> None:
    await client.version(1)
    (client.hub.plugins / "hello.py").write_text("def broken(:")
    answer = await client.post("/api/klm/modules/hello/reload", console=True, status=409)
    assert "SyntaxError" in answer["error"]
    assert await client.get("/api/hello/Ada") == "Hello 1, Ada!"


async def test_the_dialect_can_reload_itself_while_it_answers(client: Client) -> None:
    answer = await client.post("/api/klm/modules/hub_api/reload", console=True)
    assert answer["generation"] == 2
    assert (await client.get("/api/klm/status"))["active"] is True


async def test_an_unknown_plugin_is_answered_with_the_nearest_name(client: Client) -> None:
    await client.version(1)
    assert "did you mean 'hello'?" in (await client.get("/api/plugins/helo", status=404))["error"]


async def test_the_policy_snapshot_has_exactly_the_documented_keys(reader: Client) -> None:
    snapshot = await reader.get("/api/security/policy")
    assert set(snapshot) == {"capabilities", "network", "strict_mode"}
    assert snapshot["capabilities"]["allow"]["core:*"] == ["*"]
    assert set(snapshot["network"]) == {"allowlist", "denylist"}
    await reader.get("/api/security/policy/meta", status=403)
    await reader.get("/api/security/files", status=403)


async def test_a_decision_is_explained_and_what_is_supposed_is_in_the_query(reader: Client) -> None:
    path = "/api/security/explain?principal=user:local&capability=plugin:manage&through=script:a.aether"
    found = await reader.get(path)
    assert [one["member"] for one in found["members"]] == ["user:local", "script:a.aether"]
    tries = "".join(f"&with={quote(change['try_with'])}" for change in found["proposal"]["changes"])
    assert (await reader.get(path + tries))["allowed"] is True
    wrong = await reader.get("/api/security/explain?principal=usr:x&capability=plugin:manage", status=400)
    assert "did you mean 'user'" in wrong["error"]


async def test_the_console_reads_the_policy_anew_and_hears_of_a_mistake(tmp_path: Path) -> None:
    policies = tmp_path / "policies"
    policies.mkdir()
    main = policies / "default.toml"
    shutil.copy(ROOT / "policies" / "default.toml", main)
    async with hub_client(tmp_path / "home", "--policies", str(policies)) as client:
        assert (await client.ask("POST", "/api/security/reload", {}, console=True))["stale"] is False
        main.write_text(main.read_text() + "\nbroken = [")
        answer = await client.ask("POST", "/api/security/reload", {}, 400, console=True)
        assert answer["code"] == "POLICY_REFUSED"
        assert answer["details"]["file"].endswith("default.toml")


async def test_stats_count_real_requests(reader: Client) -> None:
    first = await reader.get("/api/stats")
    second = await reader.get("/api/stats")
    assert second["requests_handled"] == first["requests_handled"] + 1
    assert first["lyrixa_chat"] == {"registered": False, "status": "unavailable"}


async def test_the_site_says_which_component_does_not_work(client: Client) -> None:
    assert (await client.get("/api/site_status"))["status"] == "operational"
    (client.hub.plugins / "sick.py").write_text("import no_such_module")
    async with asyncio.timeout(5):
        while (site := await client.get("/api/site_status"))["status"] == "operational":
            pass
    assert "no_such_module" in site["components"]["sick"]
    assert site["components"]["kernel"] == "healthy"


async def test_events_need_the_right_for_their_topics(reader: Client) -> None:
    answer = await reader.get("/api/events?topics=%23", status=403)
    assert "event:read" in answer["error"]
    assert (await reader.get("/api/events?topics=,", status=400))["code"] == "BAD_INPUT"


async def test_module_events_pass_by_as_they_happen(client: Client) -> None:
    async with client.local.get(client.hub.url + "/api/events?topics=module.*") as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        await client.version(1)
        async with asyncio.timeout(5):
            async for line in response.content:
                if line.startswith(b"data:"):
                    event = json.loads(line[5:])
                    break
    assert (event["topic"], event["data"]["plugin"]) == ("module.loaded", "hello")
