"""The pages that show the API in a real browser, before a real hub: they show it, try it out, and ask nobody else."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from devtools import Page, Visit
from hub_process import HubProcess, hub_process

pytestmark = [pytest.mark.timeout(150), pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[HubProcess]:
    """A hub, which the tests only read."""
    async with hub_process(tmp_path_factory.mktemp("reference") / "home") as running:
        yield running


async def shows(page: Page, wanted: str) -> Any:
    async with asyncio.timeout(60):
        return await page.until(wanted)


def assert_ours(page: Page, hub: HubProcess) -> None:
    """Nothing was asked of anybody but this hub, and no policy had to stop anything."""
    asked = [url for url in page.requests if not url.startswith(("data:", f"{hub.url}/", f"blob:{hub.url}/"))]
    assert asked == []
    # What the viewers' forms lack is theirs to mend, and a refusal is what was asked for.
    theirs = ("GenericIssue", "status of 403")
    assert [told for told in page.complaints if not any(part in told for part in theirs)] == []


TRIED = """
(() => {
  const block = document.querySelector('.opblock[id$="-%s"]');
  if (!block) return null;
  if (!block.classList.contains('is-open')) { block.querySelector('.opblock-summary-control').click(); return null; }
  const status = block.querySelector('.live-responses-table tbody .response-col_status');
  if (status) return JSON.stringify([status.textContent.trim().slice(0, 3), block.querySelector(
    '.live-responses-table .microlight')?.textContent ?? '']);
  const run = block.querySelector('.execute');
  if (run && !run.dataset.clicked) { run.dataset.clicked = 'yes'; run.click(); }
  return null;
})()
"""


async def test_swagger_shows_every_operation_and_tries_them_out(browser: Visit, hub: HubProcess) -> None:
    page = await browser.page()
    await page.open(f"{hub.url}/docs")
    await shows(page, "document.querySelectorAll('.opblock').length > 40")
    for operation, expected, said in (
        ("get_health", "200", "healthy"),
        ("post_api_memory_recall", "200", "memories"),
        ("post_api_security_reload", "403", "CAPABILITY_DENIED"),
    ):
        status, body = json.loads(await shows(page, TRIED % operation))
        assert (status, said in body) == (expected, True), body
    assert f"{hub.url}/api/memory/recall" in page.requests
    assert_ours(page, hub)


SEARCH = """
(() => {
  const input = document.querySelector('.search-input');
  Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(input, 'words');
  input.dispatchEvent(new Event('input', {bubbles: true}));
})()
"""


async def test_redoc_shows_every_operation_and_finds_one(browser: Visit, hub: HubProcess) -> None:
    page = await browser.page()
    await page.open(f"{hub.url}/redoc")
    await shows(page, "document.querySelectorAll('[data-section-id*=\"operation/\"]').length > 40")
    await shows(page, "!!document.querySelector('.search-input')")
    await page.run(SEARCH)
    await shows(page, "document.querySelector('[data-role=\"search:results\"]')?.textContent.includes('have words')")
    assert_ours(page, hub)
