"""A hub as Prometheus sees it: its own linter reads every page, a server scrapes it, and the example alerts go off."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from hub_process import HubProcess, hub_process

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
PAGES = ("/metrics", "/api/plugins/metrics")
DOCUMENTED = {
    'aetherra_kernel_cycle_count counter metrics should have "_total" suffix',
    'aetherra_kernel_cycle_count non-histogram and non-summary metrics should not have "_count" suffix',
}
"""What the linter holds against a name that the Hub document gives."""
SCRAPED_S = 60
"""How long a server may take to have scraped; it begins within `scrape_interval`, and needs a moment to start."""


async def busy(hub: HubProcess, session: aiohttp.ClientSession) -> None:
    """Use most of what counts: requests that work and fail, a script, memory, a stream, a reload."""
    for method, path, body in (
        ("GET", "/health", None),
        ("GET", "/nothing/here", None),
        ("POST", "/api/memory", {"content": "a note"}),
        ("POST", "/api/memory", {"contents": 1}),
        ("POST", "/api/memory/recall", {"query": "note"}),
        ("POST", "/api/scripts/run", {"source": "return 1", "wait": True}),
        ("POST", "/api/scripts/run", {"source": "return 1 +", "wait": True}),
        ("POST", "/api/klm/modules/hello/reload", {}),
        ("GET", '/api/hello/%22%0a%7b"', None),
    ):
        async with session.request(method, hub.url + path, json=body) as response:
            await response.read()
    async with session.get(hub.url + "/api/events?topics=module.*") as stream:
        assert stream.status == 200
        (hub.plugins / "hello.py").write_text((EXAMPLES / "hello.py").read_text())
        async with asyncio.timeout(5):
            await stream.content.readuntil(b"module.loaded")


async def test_the_linter_has_nothing_against_a_busy_hub_but_documented_names(
    tmp_path: Path, need: Callable[[str], str]
) -> None:
    promtool = need("promtool")
    async with hub_process(tmp_path / "home") as hub, aiohttp.ClientSession() as session:
        await busy(hub, session)
        pages = {}
        for page in PAGES:
            async with session.get(hub.url + page) as response:
                assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
                pages[page] = await response.read()
    for page, text in pages.items():
        found = await linted(promtool, text)
        assert found == (DOCUMENTED if page == "/metrics" else set()), (page, found)
    families = re.findall(rb"^# TYPE (\S+)", pages["/api/plugins/metrics"], re.MULTILINE)
    assert b"aetherra_plugins_loaded" in families
    assert all(name.startswith(b"aetherra_plugins_") for name in families)


async def test_the_documented_lines_are_there_as_documented(tmp_path: Path) -> None:
    async with hub_process(tmp_path / "home") as hub, aiohttp.ClientSession() as session:
        await busy(hub, session)
        async with session.get(hub.url + "/metrics") as response:
            text = await response.text()
        async with session.get(hub.url + "/api/plugins/metrics") as response:
            plugins = await response.text()
        async with session.get(hub.url + "/api/kernel/status") as response:
            cycles = (await response.json())["cycle_count"]
        async with session.get(hub.url + "/api/klm/status") as response:
            loaded = (await response.json())["modules_loaded"]
    assert "# TYPE aetherra_kernel_cycle_count counter\n" in text
    assert f"\naetherra_kernel_cycle_count {cycles}.0\n" in text
    assert "# TYPE aetherra_memory_queries_total counter\n" in text
    assert "\naetherra_memory_queries_total 1.0\n" in text
    assert f"# TYPE aetherra_plugins_loaded gauge\naetherra_plugins_loaded {loaded}.0\n" in plugins


async def linted(promtool: str, text: bytes) -> set[str]:
    """Return what the linter says, line by line."""
    process = await asyncio.create_subprocess_exec(
        promtool, "check", "metrics", stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate(text)
    return set(said.decode().splitlines())


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@asynccontextmanager
async def prometheus(program: str, folder: Path, target: str) -> AsyncIterator[str]:
    """Run a server with the example's config, fitted to a hub's address and to a short interval; yield its address."""
    config = (EXAMPLES / "prometheus.yml").read_text()
    assert "127.0.0.1:3001" in config
    fitted = config.replace("127.0.0.1:3001", target).replace("scrape_interval: 15s", "scrape_interval: 1s")
    (folder / "prometheus.yml").write_text(fitted)
    (folder / "alerts.yml").write_text((EXAMPLES / "alerts.yml").read_text())
    listen = f"127.0.0.1:{free_port()}"
    process = await asyncio.create_subprocess_exec(
        program,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={listen}",
        cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield f"http://{listen}"
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(20):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def ask(session: aiohttp.ClientSession, address: str, query: str) -> list[Any]:
    try:
        async with session.get(f"{address}/api/v1/query", params={"query": query}) as response:
            return list((await response.json())["data"]["result"]) if response.status == 200 else []
    except aiohttp.ClientConnectionError:
        return []


async def value(session: aiohttp.ClientSession, address: str, query: str) -> float | None:
    found = await ask(session, address, query)
    return float(found[0]["value"][1]) if found else None


async def test_a_server_scrapes_the_hub_with_the_example_config(tmp_path: Path, need: Callable[[str], str]) -> None:
    program = need("prometheus")
    async with hub_process(tmp_path / "home") as hub, aiohttp.ClientSession() as session:
        await busy(hub, session)
        async with (
            prometheus(program, tmp_path, hub.url.removeprefix("http://")) as server,
            asyncio.timeout(SCRAPED_S),
        ):
            while await value(session, server, 'up{job="aetherra"}') != 1:
                await asyncio.sleep(0.1)
            async with session.get(hub.url + "/api/klm/status") as response:
                loaded = (await response.json())["modules_loaded"]
            async with session.get(hub.url + "/api/kernel/status") as response:
                cycles = (await response.json())["cycle_count"]
            assert loaded > 0
            assert cycles > 0
            while await value(session, server, "aetherra_kernel_cycle_count") != cycles:
                await asyncio.sleep(0.1)
            assert await value(session, server, "aetherra_plugins_loaded") == loaded
            assert await value(session, server, "aetherra_memory_queries_total") == 1
            async with session.get(f"{server}/api/v1/rules") as response:
                rules = (await response.json())["data"]["groups"][0]["rules"]
            assert {rule["health"] for rule in rules} <= {"ok", "unknown"}
            async with session.get(f"{server}/api/v1/targets") as response:
                (target,) = (await response.json())["data"]["activeTargets"]
            assert (target["health"], target["lastError"]) == ("up", "")


def test_the_example_config_and_its_alerts_are_valid(need: Callable[[str], str]) -> None:
    promtool = need("promtool")
    for command, file in (("config", "prometheus.yml"), ("rules", "alerts.yml")):
        result = subprocess.run([promtool, "check", command, EXAMPLES / file], capture_output=True, check=False)
        assert result.returncode == 0, result.stderr


def test_every_metric_that_an_alert_names_is_declared() -> None:
    named = set(re.findall(r"\b(?:aetherra|process)_\w+", (EXAMPLES / "alerts.yml").read_text()))
    reference = (ROOT / "docs" / "metrics-reference.md").read_text()
    declared = set(re.findall(r"`((?:aetherra|process)_\w+)`", reference))
    assert {name.removesuffix("_bucket") for name in named} <= declared
    assert len(named) > 10


FIRED = {
    "AetherraDown": ('up{job="aetherra"}', "0x20"),
    "AetherraNotReady": ('aetherra_ready{component="policy"}', "0x20"),
    "AetherraPluginFailed": ('aetherra_plugins_by_status{status="failed"}', "1x20"),
    "AetherraEditRefused": ("aetherra_policy_stale", "1x20"),
    "AetherraTaskGivenUp": ('aetherra_supervisor_tasks{state="failed"}', "2x20"),
    "AetherraAnswersWithErrors": ('aetherra_http_requests_total{status="500"}', "0+60x20"),
    "AetherraSlow": ('aetherra_http_request_duration_seconds_bucket{le="+Inf",route="/x"}', "0+60x20"),
    "AetherraWritesSlow": ("aetherra_store_commit_p95_seconds", "0.5x20"),
    "AetherraDiskNearlyFull": ("aetherra_store_disk_free_bytes", "100000x20"),
    "AetherraJobsPileUp": ('aetherra_executions_waiting{instance="a"}', "500x20"),
    "AetherraEventsLost": ("aetherra_bus_events_dropped_total", "0+5x20"),
    "AetherraLeak": ('aetherra_module_leaks_total{plugin="hello"}', "0+1x20"),
    "AetherraDescriptorsShort": ('process_open_fds{job="aetherra"}', "950x20"),
}
"""For each alert a series that sets it off, in the linter's notation."""
BESIDE = [
    {"series": 'aetherra_http_request_duration_seconds_bucket{le="10.0",route="/x"}', "values": "0+30x20"},
    {"series": 'process_max_fds{job="aetherra"}', "values": "1000x20"},
]


def test_every_example_alert_goes_off_and_alone(tmp_path: Path, need: Callable[[str], str]) -> None:
    promtool = need("promtool")
    names = re.findall(r"- alert: (\w+)", (EXAMPLES / "alerts.yml").read_text())
    assert sorted(FIRED) == sorted(names)
    firing = 'group by (alertname) (ALERTS{alertstate="firing"})'
    tests = [
        {
            "interval": "1m",
            "input_series": [{"series": series, "values": values}, *BESIDE],
            "promql_expr_test": [
                {
                    "expr": firing,
                    "eval_time": "15m",
                    "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1}],
                }
            ],
        }
        for alert, (series, values) in FIRED.items()
    ]
    check = tmp_path / "test.yml"
    check.write_text(json.dumps({"rule_files": [str(EXAMPLES / "alerts.yml")], "tests": tests}))  # JSON is YAML
    result = subprocess.run([promtool, "test", "rules", check], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
