"""The page at `/`: what it shows, to whom, and that nothing in it is taken for more than text."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hub_process import HubProcess, hub_process

from hub.landing import DASHBOARD
from hub.serve import Server
from hub.settings import HubSettings
from kernel import Kernel
from kernel.testing import ALLOW_ALL, kernel_config

EVIL = """<img src=x onerror="alert(1)">'</td></script><script>alert(2)</script>"""

DENIES = """
from kernel import Chain, Decision, Plugin
allow_all = Plugin("allow_all", version="1.0.0")
@allow_all.decider
def decide(chain: Chain, capability: str) -> Decision:
    denied = {denied!r}
    return Decision(not capability.startswith(denied), "as this test has it", effect="free")
"""

EXECUTIONS = """
import asyncio
from typing import Any
from kernel import Context, Plugin, needs
executions = Plugin("executions", version="1.0.0", description={evil!r})
kept = []
def job(name: str, state: str) -> dict[str, Any]:
    return {{"id": "a/b?" + name, "name": name, "state": state, "created_at": "2026-11-20T19:17:32.125Z",
             "started_at": None, "duration_s": 1.5, "error": {{"message": {evil!r}}}}}
@executions.service("executions")
class Executions:
    @needs("job:read")
    async def list(self, ctx: Context, limit: int = 50) -> dict[str, Any]:
        {body}
"""

SICK = """
from kernel import Plugin
sick = Plugin("sick", version="1.0.0")
@sick.health
async def health() -> str | None:
    {body}
"""

FALLS_ILL = """
import asyncio
from kernel import Plugin
sick = Plugin("sick", version="1.0.0")
asked = []
@sick.health
async def health() -> str | None:
    asked.append(1)
    if len(asked) > 1:
        await asyncio.Event().wait()
"""


def executions(body: str, evil: str = "") -> str:
    return EXECUTIONS.format(evil=evil, body=body)


class Outline(HTMLParser):
    """The elements of a page, and the text of each of its sections."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.sections: dict[str, str] = {}
        self.inline: dict[str, str] = {}
        self._section = ""
        self._inside = ""
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag
        if tag in ("section", "header"):
            self._section = dict(attrs).get("id") or tag
            self.sections[self._section] = ""

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""
        if tag in ("section", "header"):
            self._section = ""

    def handle_data(self, data: str) -> None:
        if self._inside in ("style", "script"):
            self.inline[self._inside] = data
        elif self._section:
            self.sections[self._section] += f" {data}"

    def links(self) -> set[str]:
        return {attributes["href"] or "" for tag, attributes in self.elements if tag == "a"}


async def outline(hub: Any, **options: Any) -> Outline:
    answer = await hub.ask("GET", "/", **options)
    assert answer.status == 200, answer.body
    return Outline(answer.body)


# What it shows -----------------------------------------------------------------------------------------------------


async def test_it_shows_plugins_health_events_figures_and_what_to_try(hub: Any) -> None:
    await hub.ask("POST", "/api/probe/emit", {"topic": "probe.done", "data": {"what": "a thing", "n": 3}})
    page = await outline(hub)
    assert set(page.sections) == {"header", "health", "plugins", "start-here", "jobs", "events", "figures"}
    assert "ready" in page.sections["header"]
    assert f"version {hub.kernel.version}" in page.sections["header"]
    assert re.search(r"probe\s+1\.0\.0\s+active\s+1\s+1\s+0", page.sections["plugins"])
    assert "database" in page.sections["health"]
    assert re.search(r"probe\.done\s+what\s+a thing\s+n\s+3", page.sections["events"])
    assert re.search(r"answered\s+1\b", page.sections["figures"])
    assert f"curl http://localhost:{hub.port}/health/ready" in page.sections["start-here"]
    assert {"/metrics", "/health/ready"} <= page.links()


async def test_it_links_only_to_what_this_hub_serves(hub: Any) -> None:
    for path in (await outline(hub)).links() - {"#main"}:
        assert (await hub.ask("GET", path)).status == 200, path


async def test_what_a_broken_plugin_says_stands_beside_it(start_hub: Any) -> None:
    hub = await start_hub(plugins={"torn": "raise RuntimeError('the wire is cut')"})
    page = await outline(hub)
    assert re.search(r"torn\s.*the wire is cut\s.*failed", page.sections["plugins"])
    assert "the wire is cut" in page.sections["health"]
    assert "degraded" in page.sections["header"]


async def test_jobs_are_shown_with_their_state_and_why_they_failed(start_hub: Any) -> None:
    listed = executions('return {"executions": [job("one.aether", "failed")]}', evil="the wire is cut")
    hub = await start_hub(plugins={"executions": listed})
    found = (await outline(hub)).sections["jobs"]
    assert re.search(r"one\.aether\s+the wire is cut\s+failed\s+2026-11-20 19:17:32\s+1\.500", found)


async def test_a_service_that_is_not_there_is_named_in_its_place(hub: Any) -> None:
    assert "The service 'executions' is not there" in (await outline(hub)).sections["jobs"]


async def test_head_is_the_same_without_the_page(hub: Any) -> None:
    head = await hub.ask("HEAD", "/")
    assert (head.status, head.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert int(head.headers["content-length"]) > 1_000
    assert (await hub.ask("GET", "/", headers={"Accept": "application/json"})).body.startswith(b"<!doctype html>")


async def test_the_commands_it_suggests_do_what_they_say(tmp_path: Path, need: Any) -> None:
    need("curl")
    async with hub_process(tmp_path / "a home") as hub:
        suggested = await commands(hub)
        assert [line.split()[0] for line in suggested if line.startswith(("curl", "cp"))] == ["curl", "cp"]
        for line in suggested:
            if not line.endswith(" events"):  # follows for ever
                status, said = await shell(line)
                assert status == 0, said
        while len(again := await commands(hub)) == len(suggested) and "/api/hello/Ada" not in again[-1]:
            pass
        assert await shell(again[-1]) == (0, '"Hello, Ada!"')


async def commands(hub: HubProcess) -> list[str]:
    async with aiohttp.ClientSession() as session, session.get(f"{hub.url}/") as response:
        return [unescape(line) for line in re.findall(r"<li><code>(.*?)</code>", await response.text())]


async def shell(line: str) -> tuple[int | None, str]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_shell(
        f"{line} 2>/dev/null", stdout=pipe, stdin=asyncio.subprocess.DEVNULL
    )
    said = (await process.communicate())[0].decode()
    return process.returncode, said


# Text that would be more -------------------------------------------------------------------------------------------


async def test_names_reasons_and_data_stay_text(start_hub: Any) -> None:
    hub = await start_hub(
        plugins={
            "executions": executions(f'return {{"executions": [job({EVIL!r}, {EVIL!r})]}}', evil=EVIL),
            "torn": f"raise RuntimeError({EVIL!r})",
            "sick": SICK.format(body=f"return {EVIL!r}"),
        }
    )
    plain = await outline(await start_hub())
    await hub.ask("POST", "/api/probe/emit", {"topic": "probe.<img>", "data": {EVIL: EVIL, "list": [EVIL]}})
    await hub.ask("POST", "/api/probe/emit", {"topic": "probe.text", "data": EVIL})
    page = await outline(hub)
    for section in ("jobs", "plugins", "health", "events"):
        assert "onerror" in page.sections[section], section
    assert {tag for tag, _ in page.elements} <= {tag for tag, _ in plain.elements} | {"b"}
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]


async def test_the_name_of_a_job_cannot_lead_a_link_elsewhere(start_hub: Any) -> None:
    served = """
from typing import Any
from kernel import Plugin
api = Plugin("api", version="1.0.0")
@api.get("/api/jobs/{job_id}")
async def show(job_id: str) -> dict[str, Any]:
    return {}
"""
    listed = executions('return {"executions": [job("//elsewhere.example/", "completed")]}')
    hub = await start_hub(plugins={"executions": listed, "api": served})
    assert "/api/jobs/a%2Fb%3F%2F%2Felsewhere.example%2F" in (await outline(hub)).links()


async def test_data_that_no_encoding_has_does_not_break_the_page(hub: Any) -> None:
    for data in ("\ud800", {"half": "\udfff"}, 2**80, float("nan"), b"bytes", [[[]]]):
        await hub.kernel.bus.publish("probe.odd", data)
    assert (await outline(hub)).sections["events"].count("probe.odd") == 6


# Rights ------------------------------------------------------------------------------------------------------------


async def test_what_the_caller_may_not_read_is_not_shown_and_leaves_no_record(start_hub: Any) -> None:
    denied = ("event:read", "plugin:read", "metrics:read", "job:read")
    hub = await start_hub(policy=DENIES.format(denied=denied))
    await hub.kernel.bus.publish("probe.secret", {})
    before = hub.kernel.bus.position
    page = await outline(hub)
    for section, right in (
        ("plugins", "plugin:read"),
        ("events", "event:read"),
        ("figures", "metrics:read"),
        ("jobs", "job:read:own"),
    ):
        assert f"does not let user:local see this: it takes the right {right}." in page.sections[section]
    text = " ".join(page.sections.values())
    assert "probe" not in text
    assert str(hub.kernel.config.paths.home) not in text
    assert ("main", {"id": "main", "data-topics": "", "data-silence": "45.0"}) in page.elements
    assert not hub.kernel.gate.denials
    assert hub.kernel.bus.position == before


async def test_only_events_of_topics_that_the_caller_may_read_are_shown_and_followed(start_hub: Any) -> None:
    served = """
from kernel import EventStream, Plugin
api = Plugin("api", version="1.0.0")
@api.get("/api/events")
async def events(topics: str) -> EventStream:
    return EventStream((topics,))
"""
    policy = DENIES.format(denied=("event:read:*", "event:read:probe", "event:read:plugin", "event:read:capability"))
    hub = await start_hub(policy=policy, plugins={"api": served})
    await hub.kernel.bus.publish("probe.secret", {})
    page = await outline(hub)
    assert "probe.secret" not in page.sections["events"]
    assert "module.loaded" in page.sections["events"]
    main = next(attributes for tag, attributes in page.elements if tag == "main")
    assert main["data-topics"] == "allow_all.#,api.#,kernel.#,module.#,policy.#"


async def test_the_owner_at_the_console_sees_the_page_too(hub: Any) -> None:
    assert "probe" in (await outline(hub, socket=True)).sections["plugins"]


async def test_the_edge_guards_it_as_it_guards_everything(hub: Any) -> None:
    assert (await hub.ask("GET", "/", headers={"Host": "evil.example"})).status == 421
    assert (await hub.ask("GET", "/", headers={"Origin": "http://evil.example"})).status == 403
    assert (await hub.ask("GET", "/", headers={"Authorization": "Bearer x"})).status == 401
    assert (await hub.ask("POST", "/")).status == 405


# Parts that are late or fail ---------------------------------------------------------------------------------------

STUBBORN = """
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                kept.append("cancelled")
                if len(kept) == 2:
                    raise
"""


@pytest.mark.parametrize("body", ["await asyncio.Event().wait()", STUBBORN], ids=["waits", "ignores its end"])
async def test_a_part_that_does_not_answer_delays_the_page_by_its_bound_only(start_hub: Any, body: str) -> None:
    hub = await start_hub(plugins={"executions": executions(body)}, page_part_s=0.1)
    page = await outline(hub)
    assert "This did not answer within 0.1 s ([hub] page_part_s)." in page.sections["jobs"]
    assert "probe" in page.sections["plugins"]


async def test_a_part_that_fails_says_so_and_the_log_why(start_hub: Any, caplog: Any) -> None:
    hub = await start_hub(plugins={"executions": executions('raise RuntimeError("secret words")')})
    page = await outline(hub)
    assert "This could not be read; the hub's log says why." in page.sections["jobs"]
    assert "secret words" not in " ".join(page.sections.values())
    assert "secret words" in caplog.text
    assert "probe" in page.sections["plugins"]


async def test_what_a_service_answers_in_another_shape_fails_its_part_only(start_hub: Any) -> None:
    hub = await start_hub(plugins={"executions": executions('return {"executions": [{"id": 1}]}')})
    page = await outline(hub)
    assert "could not be read" in page.sections["jobs"]
    assert "probe" in page.sections["plugins"]


async def test_a_health_function_that_does_not_answer_is_named_and_the_others_are_shown(start_hub: Any) -> None:
    hub = await start_hub(plugins={"sick": FALLS_ILL}, page_part_s=1.0)
    page = await outline(hub)
    assert re.search(r"sick\s+:\s+its health function did not answer in time", page.sections["health"])
    assert "database" in page.sections["health"]


# Starting ----------------------------------------------------------------------------------------------------------


async def test_while_the_hub_starts_a_page_says_so_and_looks_again_by_itself(tmp_path: Path) -> None:
    config = kernel_config(
        tmp_path, plugins={"allow_all": ALLOW_ALL}, overrides={"hub.port": 0}, sections={"hub": HubSettings}
    )
    server = Server(Kernel(config))
    await server.listen()
    try:
        head, body = await get(server.port)
        assert head.startswith("HTTP/1.1 503 ")
        assert "Content-Type: text/html" in head
        assert "Retry-After: 1" in head
        page = Outline(body)
        assert ("meta", {"http-equiv": "refresh", "content": "1"}) in page.elements
        assert "starting" in page.sections["header"]
        assert allowed(head, "style") == [digest(page.inline["style"])]
        await server.kernel.start()
        assert (await get(server.port))[0].startswith("HTTP/1.1 200 ")
    finally:
        await server.stop()


async def get(port: int) -> tuple[str, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET / HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return head.decode(), body


# Safety of the page itself -----------------------------------------------------------------------------------------


def digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def allowed(policy: str, what: str) -> list[str]:
    found = re.search(rf"{what}-src ([^;\r]+)", policy)
    assert found is not None
    return found[1].split()


async def test_nothing_runs_or_styles_but_what_the_policy_names_by_its_hash(hub: Any) -> None:
    answer = await hub.ask("GET", "/")
    policy, page = answer.headers["content-security-policy"], Outline(answer.body)
    assert allowed(policy, "script") == [digest(page.inline["script"])]
    assert allowed(policy, "style") == [digest(page.inline["style"])]
    assert policy.startswith("default-src 'none'; ")
    for part in ("connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"):
        assert part in policy.split("; ")
    assert "unsafe" not in policy
    assert not [1 for _, attributes in page.elements if "style" in attributes]
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"


def test_the_files_of_the_page_name_no_other_host_and_are_small() -> None:
    files = sorted(DASHBOARD.iterdir())
    assert {path.suffix for path in files} == {".html", ".css", ".js"}
    text = "".join(path.read_text() for path in files)
    named = set(re.findall(r"[a-z]*://[^\s'\"]+|url\([^)]*\)|@import[^;]*|(?:src|href)=[\"']//[^\"']*", text))
    assert named == {"http://www.w3.org/2000/svg"}  # the name of a vocabulary: nothing is asked for there
    assert sum(path.stat().st_size for path in files) < 40 * 1024


async def test_the_page_is_small(hub: Any) -> None:
    assert len((await hub.ask("GET", "/")).body) < 40 * 1024


def test_every_text_stands_out_from_its_ground_in_light_and_in_dark() -> None:
    style = (DASHBOARD / "landing.css").read_text()
    light, dark = (dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", part)) for part in style.split("@media", 2)[:2])
    assert set(light) == set(dark)
    grounds = {
        "text": ("ground", "card", "code", "bad-ground", "fresh"),
        "quiet": ("ground", "card", "code", "fresh"),
        "link": ("ground", "card", "fresh"),
        "good": ("good-ground",),
        "bad": ("bad-ground", "card", "fresh"),
        "wait": ("wait-ground",),
    }
    for colours in (light, dark):
        for text, behind in grounds.items():
            for ground in behind:
                assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours as WCAG 2 measures it, 1 to 21."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
