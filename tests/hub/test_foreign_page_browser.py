"""A page of another origin in a real browser tries all that pages can to drive or read the hub, and fails (threat 13).

The same attempts by a page that the operator has listed succeed: what is refused is the origin.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from asking import Asking, asking
from devtools import Browser, Page, Visit, chromium
from whole_hub import whole_hub

REBOUND = "rebound.example"
MARK = "a word that only the hub knows"

pytestmark = [pytest.mark.timeout(90), pytest.mark.asyncio(loop_scope="module")]

WORKER = """
const told = async (hub) => {
  const json = {method: "POST", body: JSON.stringify({script: "system/logger.aether"})};
  const attempt = async (work) => { try { return await work() } catch (error) { return error.name } };
  return {
    read: await attempt(async () => (await fetch(hub + "/api/plugins")).status),
    simple: await attempt(async () => (await fetch(hub + "/api/run", json)).status),
    blind: await attempt(async () => (await fetch(hub + "/api/run", {...json, mode: "no-cors"})).type),
  };
};
self.onmessage = async (message) => {
  const answer = await told(message.data);
  (message.source || self).postMessage(answer);
};
self.oninstall = () => self.skipWaiting();
"""

TOOLS = """
const late = (ms) => new Promise((resolve) => setTimeout(resolve, ms, "nothing came"));
const told = {};
const attempt = async (name, work) => {
  try { told[name] = await Promise.race([work(), late(10000)]) } catch (error) { told[name] = error.name }
};
const run = JSON.stringify({script: "system/logger.aether"});
const writes = {
  "/api/run": run, "/run": run, "/api/scripts/run": run,
  "/api/memory": JSON.stringify({content: "planted"}),
  "/api/events": JSON.stringify({topic: "user.planted", data: 1}),
  "/api/plugins/memory/disable": "{}", "/api/klm/modules/memory/reload": "{}", "/api/security/reload": "{}",
  "/api/users": JSON.stringify({name: "eve", password: "correct horse battery", roles: ["admin"]}),
  "/api/auth/login": "username=eve&password=x",
};
"""

FETCHES = """
const types = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"];
const work = [];
for (const [path, body] of Object.entries(writes)) {
  for (const credentials of ["include", "omit"]) {
    for (const type of [...types, "application/json"]) {
      const sent = {method: "POST", body, credentials, headers: {"Content-Type": type}};
      const name = `POST ${path} ${type} ${credentials}`;
      work.push(attempt(name + " cors", async () => (await fetch(hub + path, sent)).status));
      if (type !== "application/json") {
        work.push(attempt(name + " no-cors", async () => {
          const answer = await fetch(hub + path, {...sent, mode: "no-cors", keepalive: true});
          return `${answer.type} ${answer.status} ${(await answer.text()).length}`;
        }));
      }
    }
    work.push(attempt(`POST ${path} bodiless no-cors ${credentials}`, async () => {
      const answer = await fetch(hub + path, {method: "POST", mode: "no-cors", credentials});
      return `${answer.type} ${answer.status} ${(await answer.text()).length}`;
    }));
  }
  for (const method of ["PUT", "PATCH", "DELETE"]) {
    work.push(attempt(`${method} ${path}`, async () => (await fetch(hub + path, {method})).status));
  }
}
for (const path of ["/", "/api/memory/" + kept, "/api/plugins", "/api/jobs", "/metrics", "/api/events"]) {
  for (const method of ["GET", "HEAD"]) {
    work.push(attempt(`${method} ${path} cors`, async () => (await fetch(hub + path, {method})).status));
    work.push(attempt(`${method} ${path} credentials`,
      async () => (await fetch(hub + path, {method, credentials: "include"})).status));
    work.push(attempt(`${method} ${path} no-cors`, async () => {
      const answer = await fetch(hub + path, {method, mode: "no-cors"});
      return `${answer.type} ${answer.status} ${(await answer.text()).length}`;
    }));
  }
}
await Promise.all(work);
return told;
"""

OTHERS = """
const shown = (make) => new Promise((resolve) => {
  const element = make();
  element.onload = () => resolve("loaded");
  element.onerror = () => resolve("refused");
  document.body.appendChild(element);
});
const element = (tag, values) => Object.assign(document.createElement(tag), values);
for (const path of ["/", "/api/memory/" + kept, "/api/plugins"]) {
  const name = path.startsWith("/api/memory") ? "/api/memory" : path;
  await attempt("img " + name, () => shown(() => element("img", {src: hub + path})));
  await attempt("script " + name, () => shown(() => element("script", {src: hub + path})));
  await attempt("style " + name, () => shown(() => element("link", {rel: "stylesheet", href: hub + path})));
  await attempt("iframe " + name, async () => {
    const frame = element("iframe", {src: hub + path});
    await shown(() => frame);
    if (frame.contentDocument) return "readable";
    try { return frame.contentWindow.document.title } catch (error) { return error.name }
  });
}
for (const kind of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]) {
  await attempt("form " + kind, () => new Promise((resolve) => {
    const frame = document.body.appendChild(element("iframe", {name: "target-" + kind}));
    const form = document.body.appendChild(element("form",
      {method: "post", action: hub + "/api/run", enctype: kind, target: frame.name}));
    form.appendChild(element("input", {name: '{"script": "system/logger.aether", "x": "', value: '"}'}));
    frame.onload = () => resolve(frame.contentDocument ? "readable" : "unreadable");
    form.submit();
  }));
}
const socket = (protocols) => new Promise((resolve) => {
  const opened = new WebSocket(hub.replace("http", "ws") + "/api/events/ws", protocols);
  opened.onopen = () => resolve("open");
  opened.onerror = () => resolve("refused");
});
const events = (options) => new Promise((resolve) => {
  const source = new EventSource(hub + "/api/events?topics=module.%23", options);
  source.onopen = () => { source.close(); resolve("open") };
  source.onerror = () => { source.close(); resolve("refused") };
});
await attempt("socket", () => socket([]));
await attempt("socket with a token", () => socket(["bearer.x"]));
await attempt("events", () => events({}));
await attempt("events with credentials", () => events({withCredentials: true}));
await attempt("XMLHttpRequest", () => new Promise((resolve) => {
  const asked = new XMLHttpRequest();
  asked.open("POST", hub + "/api/run");
  asked.withCredentials = true;
  asked.onload = () => resolve(asked.status);
  asked.onerror = () => resolve("refused");
  asked.send(run);
}));
const sent = (name, data) => attempt("beacon " + name, async () => {
  navigator.sendBeacon(hub + "/api/run?beacon=" + name, data);
  // It tells nobody what came of it; but that it was sent and answered stands in the page's own account.
  const until = performance.now() + 5000;
  while (!performance.getEntriesByType("resource").some((entry) => entry.name.endsWith("beacon=" + name))) {
    if (performance.now() > until) return "not sent";
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return "sent";
});
await sent("text", run);
await sent("fields", new URLSearchParams({script: "system/logger.aether"}));
await sent("json", new Blob([run], {type: "application/json"}));
await attempt("worker", () => new Promise((resolve) => {
  const worker = new Worker("/worker.js");
  worker.onmessage = (message) => resolve(message.data);
  worker.postMessage(hub);
}));
await attempt("service worker", async () => {
  const registered = await navigator.serviceWorker.register("/worker.js");
  const worker = registered.installing || registered.waiting || registered.active;
  if (worker.state !== "activated") {
    await new Promise((resolve) => worker.addEventListener("statechange",
      () => worker.state === "activated" && resolve()));
  }
  const answer = new Promise((resolve) => {
    navigator.serviceWorker.onmessage = (message) => resolve(message.data);
  });
  worker.postMessage(hub);
  const came = await answer;
  await registered.unregister();
  return came;
});
await attempt("sandboxed", () => new Promise((resolve) => {
  onmessage = (message) => resolve(message.data);
  const script = `(async () => {
    const attempt = async (work) => { try { return await work() } catch (error) { return error.name } };
    const hub = ${JSON.stringify(hub)}, json = {method: "POST", body: ${JSON.stringify(run)}};
    parent.postMessage({
      origin: self.origin,
      read: await attempt(async () => (await fetch(hub + "/api/plugins")).status),
      simple: await attempt(async () => (await fetch(hub + "/api/run", json)).status),
      blind: await attempt(async () => (await fetch(hub + "/api/run", {...json, mode: "no-cors"})).type),
      socket: await new Promise((resolve) => {
        const opened = new WebSocket(hub.replace("http", "ws") + "/api/events/ws");
        opened.onopen = () => resolve("open");
        opened.onerror = () => resolve("refused");
      }),
    }, "*");
  })()`;
  const srcdoc = "<script>" + script + "</" + "script>";
  document.body.appendChild(element("iframe", {sandbox: "allow-scripts", srcdoc}));
}));
return told;
"""

REFUSED_WORKER = {"read": "TypeError", "simple": "TypeError", "blind": "opaque"}
REFUSED = {
    **{
        f"{tag} {path}": "refused"
        for tag in ("img", "script", "style")
        for path in ("/", "/api/memory", "/api/plugins")
    },
    **{f"iframe {path}": "SecurityError" for path in ("/", "/api/memory", "/api/plugins")},
    **{
        f"form {kind}": "unreadable"
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data")
    },
    **dict.fromkeys(
        ("socket", "socket with a token", "events", "events with credentials", "XMLHttpRequest"), "refused"
    ),
    **dict.fromkeys(("beacon text", "beacon fields", "beacon json"), "sent"),
    "worker": REFUSED_WORKER,
    "service worker": REFUSED_WORKER,
    "sandboxed": {"origin": "null", **REFUSED_WORKER, "socket": "refused"},
}
"""What comes of each attempt but `fetch`; `sent` and `opaque` are blind, what came of them is seen at the hub."""


@asynccontextmanager
async def site() -> AsyncIterator[int]:
    """Serve an empty page and a script for workers; yield the port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        is_script = asked.startswith(b"GET /worker.js ")
        body = WORKER.encode() if is_script else b"<!doctype html><title>elsewhere</title><body>"
        kind = b"text/javascript" if is_script else b"text/html"
        head = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
        writer.write(head % (kind, len(body)) + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@dataclass
class Place:
    """A hub, a site that it does not know, and one that it lists."""

    hub: Asking
    kept: str
    foreign: int
    listed: int

    async def state(self) -> Any:
        """Return all that an attempt could change, as the console sees it."""
        found = {}
        for path in ("/api/jobs", "/api/users", "/api/tokens", "/api/security/policy"):
            answer = await self.hub.ask("GET", path, console=True)
            assert answer.status == 200, (path, answer.json)
            found[path] = answer.json
        recall = {"query": f"{MARK} planted", "limit": 100}
        found["memory"] = (await self.hub.ask("POST", "/api/memory/recall", recall)).json
        plugins = (await self.hub.ask("GET", "/api/plugins", console=True)).json["plugins"]
        found["plugins"] = [(plugin["name"], plugin["status"], plugin["version"]) for plugin in plugins]
        found["events"] = {topic: self.seen(topic) for topic in ("module.#", "user.#", "memory.#", "job.#")}
        return found

    def seen(self, topic: str) -> list[tuple[str, int]]:
        """Return the events of a topic so far."""
        return [(event.topic, event.seq) for event in self.hub.server.kernel.bus.since(0, topic)[0]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def started(need: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    """A headless Chromium that takes one name more for this machine."""
    async with chromium(need("chromium"), tmp_path_factory.mktemp("profile"), REBOUND) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    """A hub that lists one of two sites, and keeps something worth reading."""
    async with site() as foreign, site() as listed:
        settings = {"hub.allowed_origins": [f"http://127.0.0.1:{listed}"]}
        async with (
            whole_hub(tmp_path_factory.mktemp("hub") / "home", settings=settings) as server,
            asking(server) as hub,
        ):
            kept = await hub.ask("POST", "/api/memory", {"content": MARK})
            assert kept.status == 201, kept.json
            yield Place(hub, kept.json["id"], foreign, listed)


async def run(page: Page, place: Place, script: str) -> Any:
    names = f"const hub = {json.dumps(place.hub.url)}, kept = {json.dumps(place.kept)};"
    return await page.run(f"(async () => {{ {names} {TOOLS} {script} }})()")


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"], ids=["same site", "another site"])
async def test_no_fetch_of_a_foreign_page_does_or_reads_anything(browser: Visit, place: Place, name: str) -> None:
    before, handled = await place.state(), place.hub.server.hub.handled
    page = await browser.page()
    await page.open(f"http://{name}:{place.foreign}/")
    told = await run(page, place, FETCHES)
    assert len(told) > 150
    wrong = {
        attempt: came
        for attempt, came in told.items()
        if came != ("opaque 0 0" if "no-cors" in attempt else "TypeError")
    }
    assert wrong == {}
    # They came to the hub, and it is the hub that refused them.
    assert place.hub.server.hub.handled - handled > len(told) / 2
    assert await place.state() == before


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"], ids=["same site", "another site"])
async def test_no_other_means_of_a_foreign_page_does_or_reads_anything(browser: Visit, place: Place, name: str) -> None:
    before = await place.state()
    page = await browser.page()
    await page.open(f"http://{name}:{place.foreign}/")
    assert await run(page, place, OTHERS) == REFUSED
    assert any("frame-ancestors" in complaint for complaint in page.complaints)
    assert await place.state() == before


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
async def test_a_form_that_leads_the_whole_window_to_the_hub_is_refused(
    browser: Visit, place: Place, kind: str
) -> None:
    before = await place.state()
    page = await browser.page()
    await page.open(f"http://127.0.0.1:{place.foreign}/")
    page.loaded.clear()
    await page.run(
        f"""(() => {{
          const form = document.body.appendChild(document.createElement("form"));
          Object.assign(form, {{method: "post", action: "{place.hub.url}/api/run", enctype: "{kind}"}});
          const field = form.appendChild(document.createElement("input"));
          Object.assign(field, {{name: '{{"script": "system/logger.aether", "x": "', value: '"}}'}});
          form.submit();
        }})()"""
    )
    async with asyncio.timeout(10):
        await page.loaded.wait()
    assert "FOREIGN_ORIGIN" in await page.html()
    assert await place.state() == before


async def test_a_name_that_was_rebound_to_this_machine_opens_nothing(browser: Visit, place: Place) -> None:
    before = await place.state()
    page = await browser.page()
    # The page of the attacker's own server would be of this very origin; here scripts run in the hub's refusal instead.
    await page.send("Page.setBypassCSP", enabled=True)
    await page.open(f"http://{REBOUND}:{place.hub.server.port}/")
    assert await page.run("location.hostname") == REBOUND
    told = await page.run(
        """(async () => {
          const told = {};
          const json = {"Content-Type": "application/json"};
          for (const path of ["/", "/api/memory/x", "/api/plugins", "/health", "/api/events"]) {
            const answer = await fetch(path);
            told[path] = [answer.status, (await answer.json()).code];
          }
          const body = '{"script": "system/logger.aether"}';
          const run = await fetch("/api/run", {method: "POST", headers: json, body});
          told.run = [run.status, (await run.json()).code];
          told.socket = await new Promise((resolve) => {
            const opened = new WebSocket(`ws://${location.host}/api/events/ws`);
            opened.onopen = () => resolve("open");
            opened.onerror = () => resolve("refused");
          });
          return told;
        })()"""
    )
    refused = [421, "MISDIRECTED_REQUEST"]
    paths = ("/", "/api/memory/x", "/api/plugins", "/health", "/api/events", "run")
    assert told == {**dict.fromkeys(paths, refused), "socket": "refused"}
    assert await place.state() == before


async def test_the_same_attempts_of_a_listed_page_succeed(browser: Visit, place: Place) -> None:
    before = await place.state()
    page = await browser.page()
    await page.open(f"http://127.0.0.1:{place.listed}/")
    told = await run(
        page,
        place,
        """
        const json = {"Content-Type": "application/json"};
        const post = async (path) =>
          (await fetch(hub + path, {method: "POST", headers: json, body: writes[path]})).status;
        await attempt("memory", async () => JSON.stringify(await (await fetch(hub + "/api/memory/" + kept)).json()));
        await attempt("plugins", async () => (await fetch(hub + "/api/plugins")).status);
        for (const path of ["/api/run", "/api/memory", "/api/events"]) await attempt(path, () => post(path));
        await attempt("events", () => new Promise((resolve) => {
          const source = new EventSource(hub + "/api/events?topics=module.%23");
          source.onopen = () => { source.close(); resolve("open") };
          source.onerror = () => { source.close(); resolve("refused") };
        }));
        await attempt("socket", () => new Promise((resolve) => {
          const opened = new WebSocket(hub.replace("http", "ws") + "/api/events/ws");
          opened.onopen = () => { opened.close(); resolve("open") };
          opened.onerror = () => resolve("refused");
        }));
        return told;""",
    )
    assert MARK in told.pop("memory")
    assert told == {
        "plugins": 200,
        "/api/run": 201,
        "/api/memory": 201,
        "/api/events": 201,
        "events": "open",
        "socket": "open",
    }
    after = await place.state()
    assert [path for path in before if after[path] != before[path]] == ["/api/jobs", "memory", "events"]
