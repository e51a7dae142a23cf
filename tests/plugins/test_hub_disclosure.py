"""What the hub discloses to anybody, and telemetry: refused until it is wanted, then kept here and nowhere else."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hub_client import client_here, hub_client

from hub.app import HUB, make_app
from hub.settings import HubSettings
from kernel.testing import ALLOW_ALL, running_kernel

ROOT = Path(__file__).parents[2]
FOREIGN = "https://page.example"
USAGE = {"event_type": "usage", "data": {"feature": "memory_query", "duration_ms": 45}}


def settings(home: Path, text: str) -> None:
    home.mkdir(parents=True, exist_ok=True)
    (home / "aetherra.toml").write_text(text)


async def test_the_disclosure_has_the_documented_fields_and_the_settings_in_force(tmp_path: Path) -> None:
    async with client_here(tmp_path / "home") as client:
        for console in (False, True):
            assert await client.ask("GET", "/api/policy/disclosure", console=console) == {
                "telemetry_opt_in": False,
                "data_retention_days": 90,
                "disclosure_url": "/api/policy/privacy",
            }
        async with client.local.get(client.hub.url + "/api/policy/privacy") as response:
            assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
            said = await response.text()
        assert "90 days" in said
        assert "Telemetry of clients: refused" in said
        limits = (await client.ask("GET", "/api/system/limits"))["limits"]
        assert limits["store.retention_days"] == 90
        assert f"{limits['plugins.executions.keep_days']} days after their end" in said
    settings(
        tmp_path / "other",
        "[store]\nretention_days = 0.5\n[plugins.hub_api]\ntelemetry_opt_in = true\n"
        'disclosure_url = "https://example.org/privacy"\n',
    )
    async with hub_client(tmp_path / "other") as client:
        assert await client.ask("GET", "/api/policy/disclosure") == {
            "telemetry_opt_in": True,
            "data_retention_days": 0.5,
            "disclosure_url": "https://example.org/privacy",
        }
        async with client.local.get(client.hub.url + "/api/policy/privacy") as response:
            said = await response.text()
        assert "0.5 days" in said
        assert "Telemetry of clients: kept as events" in said


async def test_any_page_may_read_the_disclosure_and_no_credential_is_looked_at(tmp_path: Path) -> None:
    async with client_here(tmp_path / "home") as client:
        url = client.hub.url + "/api/policy/disclosure"
        headers = {"Origin": FOREIGN, "Authorization": "Bearer nonsense", "Sec-Fetch-Site": "cross-site"}
        async with client.local.get(url, headers=headers) as response:
            assert response.status == 200
            assert response.headers["Access-Control-Allow-Origin"] == "*"
            assert "Access-Control-Allow-Credentials" not in response.headers
        async with client.local.get(client.hub.url + "/api/policy/privacy", headers={"Origin": FOREIGN}) as response:
            assert response.status == 403
        async with client.local.post(url, json={}, headers={"Origin": FOREIGN}) as response:
            assert response.status == 403
        async with client.local.get(url, headers={"Host": "evil.example"}) as response:
            assert response.status == 421


async def test_what_is_public_is_exactly_what_the_threat_model_lists(tmp_path: Path) -> None:
    async with running_kernel(
        tmp_path, bundled=None, overrides={"hub.port": 0}, sections={"hub": HubSettings}
    ) as kernel:
        hub = make_app(kernel)[HUB]
        public = {endpoint.pattern for endpoint in hub.dispatch.table.endpoints if endpoint.public}
        assert public == {
            "/health",
            "/health/live",
            "/health/ready",
            "/api/health",
            "/openapi.json",
            "/api/openapi.json",
            "/api/policy/disclosure",
        }
        hub.close()


async def test_an_anonymous_caller_has_the_rights_of_the_policy_and_no_more(tmp_path: Path) -> None:
    policies = tmp_path / "policies"
    policies.mkdir()
    text = (ROOT / "policies" / "default.toml").read_text()
    assert '"anonymous"              = ["health:read"]' in text
    (policies / "default.toml").write_text(text.replace('"anonymous"              = ["health:read"]', ""))
    async with hub_client(tmp_path / "home", "--policies", str(policies)) as client:
        for console in (False, True):
            refused = await client.ask("GET", "/api/policy/disclosure", status=403, console=console)
            assert refused["details"]["capability"] == "health:read"
            assert refused["details"]["chain"] == "anonymous"


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
async def test_only_a_get_can_be_public(tmp_path: Path, method: str) -> None:
    source = f"""
from kernel import Plugin
open_door = Plugin("open_door", version="1.0.0")

@open_door.{method}("/api/open", public=True)
async def door() -> str:
    return "in"
"""
    async with running_kernel(tmp_path, plugins={"allow_all": ALLOW_ALL, "open_door": source}) as kernel:
        module = kernel.modules.get("open_door")
        assert module.status == "failed"
        assert "only a GET can be public" in str(module.reason)


async def test_telemetry_is_refused_until_it_is_wanted_and_the_setting_is_named(tmp_path: Path) -> None:
    async with client_here(tmp_path / "home") as client:
        for console in (False, True):
            refused = await client.ask("POST", "/api/telemetry", USAGE, 403, console=console)
            assert set(refused) == {"error", "details", "code"}
            assert refused["code"] == "TELEMETRY_OFF"
            assert refused["details"] == {"setting": "plugins.hub_api.telemetry_opt_in"}
            assert "telemetry_opt_in = true" in refused["error"]
        assert (await client.ask("GET", "/api/stats"))["telemetry_received"] == 0
    assert kept(tmp_path / "home") == []


async def test_wanted_telemetry_is_committed_counted_and_readable_by_an_administrator_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    settings(home, "[plugins.hub_api]\ntelemetry_opt_in = true\n")
    async with hub_client(home) as client:
        assert await client.ask("POST", "/api/telemetry", USAGE | {"sent_besides": 1}, 202) == {"received": True}
        assert await client.ask("POST", "/api/telemetry", {"event_type": "start"}, 202) == {"received": True}
        assert (await client.ask("GET", "/api/stats"))["telemetry_received"] == 2
        await client.ask("POST", "/api/klm/modules/hub_api/reload", console=True)
        assert (await client.ask("GET", "/api/stats"))["telemetry_received"] == 2
        async with client.local.get(client.hub.url + "/metrics") as response:
            assert "\naetherra_telemetry_received_total 2.0\n" in await response.text()
        await client.ask("GET", "/api/events?topics=telemetry.*", status=403)
    assert kept(home) == [USAGE, {"event_type": "start", "data": {}}]


def kept(home: Path) -> list[Any]:
    """Return the telemetry that a hub which has ended left in its database."""
    with closing(sqlite3.connect(home / "aetherra.db")) as database:
        rows = database.execute("SELECT data FROM kernel__events WHERE topic = 'telemetry.received' ORDER BY seq")
        return [msgspec.msgpack.decode(data) for (data,) in rows]


async def test_telemetry_that_is_not_an_event_or_too_large_is_refused(tmp_path: Path) -> None:
    settings(tmp_path / "home", "[plugins.hub_api]\ntelemetry_opt_in = true\n")
    async with hub_client(tmp_path / "home") as client:
        for body, field in (
            ({}, "event_type"),
            ({"event_type": ""}, "event_type"),
            ({"event_type": "x" * 101}, "event_type"),
            ({"event_type": "a\nb"}, "event_type"),
            ({"event_type": 5}, "event_type"),
            ({"event_type": "usage", "data": []}, "data"),
        ):
            refused = await client.ask("POST", "/api/telemetry", body, 400)
            assert refused["details"]["field"] == field, body
        large = await client.ask("POST", "/api/telemetry", {"event_type": "usage", "data": {"x": "y" * 70_000}}, 413)
        assert "event_kb" in large["error"]
        assert (await client.ask("GET", "/api/stats"))["telemetry_received"] == 0


@pytest.mark.parametrize("url", ["example.org", "ftp://example.org", "javascript:alert(1)", "https://a b"])
async def test_a_disclosure_url_that_is_none_is_refused_by_its_name(tmp_path: Path, url: str) -> None:
    plugins, overrides = {"allow_all": ALLOW_ALL}, {"plugins.hub_api.disclosure_url": url}
    async with running_kernel(tmp_path, plugins=plugins, bundled=["hub_api"], overrides=overrides) as kernel:
        module = kernel.modules.get("hub_api")
        assert module.status == "failed"
        assert "disclosure_url" in str(module.reason)
