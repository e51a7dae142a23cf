"""The page at `/` in a real browser, before a real hub."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from devtools import Page, Visit
from hub_process import HubProcess, hub_process

HELLO = '''
"""hello greets."""
from kernel import Context, Plugin
hello = Plugin("hello", version="{version}")
@hello.get("/api/hello/{{name}}")
async def greet(name: str) -> str:
    """Return a greeting."""
    return f"Hello, {{name}}!"
'''

LIVE = "document.getElementById('live').textContent === 'Live'"
NAMES = re.compile(r'<tr data-key="([a-z_]+)"')

pytestmark = [pytest.mark.timeout(60), pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[HubProcess]:
    """A hub for the tests that only look at it."""
    async with hub_process(tmp_path_factory.mktemp("looked-at") / "home") as running:
        yield running


def row(plugin: str) -> str:
    """Return the text of a plugin's row, as JavaScript."""
    return f"document.querySelector('#plugins tr[data-key={plugin}]')?.textContent"


async def shows(page: Page, wanted: str) -> Any:
    async with asyncio.timeout(20):
        return await page.until(wanted)


async def drop(hub: HubProcess, name: str, source: str) -> None:
    await asyncio.to_thread((hub.plugins / f"{name}.py").write_text, source)


async def ask(url: str, method: str = "GET", **options: Any) -> Any:
    async with aiohttp.ClientSession() as session, session.request(method, url, **options) as response:
        return await response.json()


def assert_ours(page: Page, hub: HubProcess) -> None:
    """Nothing was asked of anybody but this hub, and the browser had nothing to complain about."""
    asked = [url for url in page.requests if not url.startswith(("data:", f"{hub.url}/"))]
    assert asked == []
    assert page.complaints == []


async def test_a_dropped_plugin_an_edit_and_a_failure_appear_without_a_reload(browser: Visit, tmp_path: Path) -> None:
    async with hub_process(tmp_path / "home") as hub:
        page = await browser.page()
        await page.open(f"{hub.url}/")
        await shows(page, LIVE)
        await page.run("window.mark = document.querySelector('#plugins tr[data-key=memory]')")
        await drop(hub, "hello", HELLO.format(version="1.0.0"))
        assert "1.0.0" in await shows(page, row("hello"))
        await drop(hub, "hello", HELLO.format(version="1.1.0"))
        await shows(page, f"{row('hello')}.includes('1.1.0')")
        await drop(hub, "torn", "raise RuntimeError('<img src=x onerror=window.hacked=1>')")
        await shows(page, f"{row('torn')}?.includes('onerror')")
        await shows(page, "document.querySelector('#events').textContent.includes('onerror')")
        assert await page.run("document.querySelectorAll('img').length") == 0
        assert await page.run("window.hacked") is None
        # The very same row: what did not change was left alone.
        assert await page.run("window.mark === document.querySelector('#plugins tr[data-key=memory]')") is True
        assert_ours(page, hub)


async def test_a_job_is_shown_and_its_end_as_well(browser: Visit, tmp_path: Path) -> None:
    async with hub_process(tmp_path / "home") as hub:
        page = await browser.page()
        await page.open(f"{hub.url}/")
        await shows(page, LIVE)
        job = await ask(f"{hub.url}/api/run", "POST", json={"script": "system/logger.aether"})
        of_job = f"document.querySelector('#jobs tr[data-key=\"{job['job_id']}\"]')"
        await shows(page, f"{of_job}?.textContent.includes('completed')")
        assert await page.run(f"{of_job}.querySelector('a').getAttribute('href')") == f"/api/jobs/{job['job_id']}"
        assert_ours(page, hub)


async def test_without_javascript_the_page_is_as_complete(browser: Visit, hub: HubProcess) -> None:
    scripted, plain = await browser.page(), await browser.page(scripts=False)
    await scripted.open(f"{hub.url}/")
    await shows(scripted, LIVE)
    await plain.open(f"{hub.url}/")
    shown = await plain.html()
    assert NAMES.findall(shown) == NAMES.findall(await scripted.html())
    assert {"executions", "hub_api", "memory", "scripts", "security"} <= set(NAMES.findall(shown))
    assert 'id="live" role="status" aria-live="polite"></p>' in shown
    assert_ours(plain, hub)


async def test_it_finds_the_hub_again_after_a_restart(browser: Visit, tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with hub_process(home) as hub:
        page = await browser.page()
        await page.open(f"{hub.url}/")
        await shows(page, LIVE)
        await hub.terminate()
        await shows(page, "document.getElementById('live').dataset.state === 'bad'")
        port = hub.url.rpartition(":")[2]
    await drop(hub, "hello", HELLO.format(version="1.0.0"))
    async with hub_process(home, "--port", port) as again:
        await shows(page, row("hello"))
        await shows(page, LIVE)
        assert [url for url in page.requests if not url.startswith(("data:", f"{again.url}/"))] == []


async def test_in_the_background_it_holds_no_stream_and_asks_for_nothing(browser: Visit, tmp_path: Path) -> None:
    async with hub_process(tmp_path / "home") as hub:
        page = await browser.page()
        await page.open(f"{hub.url}/")
        await shows(page, LIVE)
        assert await streams(hub) == 1
        await page.run(HIDE.format("true"))
        async with asyncio.timeout(10):
            while await streams(hub):
                pass
        asked = len(page.requests)
        await drop(hub, "hello", HELLO.format(version="1.0.0"))
        while "hello" not in [plugin["name"] for plugin in (await ask(f"{hub.url}/api/plugins"))["plugins"]]:
            pass
        assert len(page.requests) == asked
        await page.run(HIDE.format("false"))
        await shows(page, row("hello"))
        await shows(page, LIVE)
        assert await streams(hub) == 1


HIDE = """
Object.defineProperty(document, "hidden", {{value: {}, configurable: true}});
document.dispatchEvent(new Event("visibilitychange"));
"""


async def streams(hub: HubProcess) -> int:
    async with aiohttp.ClientSession() as session, session.get(f"{hub.url}/metrics") as response:
        found = re.search(r"^aetherra_http_streams_open (\S+)$", await response.text(), re.MULTILINE)
    assert found is not None
    return int(float(found[1]))


async def test_it_fits_a_narrow_screen(browser: Visit, tmp_path: Path) -> None:
    async with hub_process(tmp_path / "home") as hub:
        page = await browser.page()
        await page.send("Emulation.setDeviceMetricsOverride", width=360, height=640, deviceScaleFactor=1, mobile=True)
        await drop(hub, "torn", f"raise RuntimeError({'x' * 300!r})")
        await page.open(f"{hub.url}/")
        await shows(page, row("torn"))
        assert await page.run("document.documentElement.scrollWidth") == 360


async def test_nothing_moves_when_the_page_comes_alive(browser: Visit, hub: HubProcess) -> None:
    page = await browser.page()
    await page.open(f"{hub.url}/")
    await page.run("window.first = document.querySelector('#moment time').dateTime")
    await shows(page, LIVE)
    await shows(page, "document.querySelector('#moment time').dateTime !== window.first")
    assert await page.run(SHIFTS) == 0


SHIFTS = """new Promise((resolve) => {
  const seen = new PerformanceObserver((list) => list.getEntries().forEach((entry) => { moved += entry.value }));
  let moved = 0;
  seen.observe({type: "layout-shift", buffered: true});
  // What was buffered is handed over before a frame that comes later.
  requestAnimationFrame(() => requestAnimationFrame(() => resolve(moved)));
})"""
