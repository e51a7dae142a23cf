"""A headless Chromium, spoken to over its DevTools protocol: what a page shows, asks for and complains about.

The browser resolves no name but its own machine's, and one that a test makes up; it is told to keep quiet on its own
account.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

LISTENS = re.compile(r"DevTools listening on (ws://\S+)")

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-pings",
    "--disable-background-networking",
    "--disable-client-side-phishing-detection",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-extensions",
    "--disable-sync",
    "--metrics-recording-only",
    "--password-store=basic",
    "--disable-features=MediaRouter,OptimizationHints,Translate,DialMediaRouteProvider",
)


class PageFailed(Exception):
    """What the browser answered instead of doing what it was asked."""


@dataclass
class Page:
    """A tab: what it asked for (`requests`), and everything its console was told (`complaints`)."""

    browser: Browser
    session: str
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    loaded: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Give one order and return the answer."""
        return await self.browser.send(method, params, self.session)

    async def open(self, url: str) -> None:
        """Go to an address and return once its page is loaded."""
        self.loaded.clear()
        answer = await self.send("Page.navigate", url=url)
        if "errorText" in answer:
            raise PageFailed(answer["errorText"])
        await self.loaded.wait()

    async def run(self, script: str) -> Any:
        """Return what an expression comes to in the page; a promise is waited for."""
        answer = await self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise PageFailed(str(answer["exceptionDetails"].get("exception", answer["exceptionDetails"])))
        return answer["result"].get("value")

    async def until(self, condition: str) -> Any:
        """Return the value of a JavaScript expression once it is true, looking whenever the page has changed."""
        return await self.run(
            f"""new Promise((resolve) => {{
              const look = () => {{ const value = {condition}; if (value) {{ watch.disconnect(); resolve(value) }} }};
              const watch = new MutationObserver(look);
              watch.observe(document, {{subtree: true, childList: true, attributes: true, characterData: true}});
              look();
            }})"""
        )

    async def html(self) -> str:
        """Return the document as it stands, whether or not scripts may run."""
        root = (await self.send("DOM.getDocument", depth=0))["root"]["nodeId"]
        return str((await self.send("DOM.getOuterHTML", nodeId=root))["outerHTML"])

    async def picture(self, path: Path) -> None:
        """Save what the page looks like, all of it, as a PNG."""
        shot = await self.send("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def heard(self, method: str, params: dict[str, Any]) -> None:
        """Keep what the browser tells of this tab."""
        if method in ("Network.requestWillBeSent", "Network.webSocketCreated"):
            self.requests.append(params["request"]["url"] if "request" in params else params["url"])
        elif method == "Page.loadEventFired":
            self.loaded.set()
        elif method == "Log.entryAdded":
            entry = params["entry"]
            self.complaints.append(f"{entry['level']} {entry['source']}: {entry['text']} {entry.get('url', '')}")
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(f"{params['type']}: {[a.get('value') for a in params['args']]}")
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"]))
        elif method == "Audits.issueAdded":
            self.complaints.append(str(params["issue"]))


class Browser:
    """A running browser: `await page()` opens a tab."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._pages: dict[str, Page] = {}

    async def listen(self) -> None:
        """Hand out answers and news until the browser is gone."""
        async for message in self._socket:
            told = message.json()
            if "id" in told:
                waiting = self._waiting.pop(told["id"], None)
                if waiting is None or waiting.done():
                    continue
                if "error" in told:
                    waiting.set_exception(PageFailed(str(told["error"])))
                else:
                    waiting.set_result(told["result"])
            elif (page := self._pages.get(told.get("sessionId", ""))) is not None:
                page.heard(told["method"], told["params"])
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(PageFailed("the browser is gone"))

    async def send(self, method: str, params: dict[str, Any], session: str | None = None) -> dict[str, Any]:
        """Give one order and return the answer."""
        number = next(self._numbers)
        order: dict[str, Any] = {"id": number, "method": method, "params": params}
        if session is not None:
            order["sessionId"] = session
        self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json(order)
        return await self._waiting[number]

    @asynccontextmanager
    async def visit(self) -> AsyncIterator[Visit]:
        """Be like a browser just started until the block ends: without cookies or anything kept, and with no window."""
        context = (await self.send("Target.createBrowserContext", {}))["browserContextId"]
        try:
            yield Visit(self, context)
        finally:
            await self.send("Target.disposeBrowserContext", {"browserContextId": context})

    async def attach(self, target: str) -> Page:
        """Return the tab of that number, which listens from now on."""
        session = (await self.send("Target.attachToTarget", {"targetId": target, "flatten": True}))["sessionId"]
        page = self._pages[session] = Page(self, session)
        return page


class Visit:
    """Windows of a browser that share what it keeps, which it forgets afterwards."""

    def __init__(self, browser: Browser, context: str) -> None:
        self._browser, self._context = browser, context

    async def page(self, *, scripts: bool = True) -> Page:
        """Open a tab in a window of its own, so that it is not in the background; with JavaScript or without."""
        order = {"url": "about:blank", "newWindow": True, "browserContextId": self._context}
        page = await self._browser.attach((await self._browser.send("Target.createTarget", order))["targetId"])
        for domain in ("Page", "Network", "Log", "Runtime", "DOM", "Audits"):
            await page.send(f"{domain}.enable")
        if not scripts:
            await page.send("Emulation.setScriptExecutionDisabled", value=True)
        return page


@asynccontextmanager
async def chromium(program: str, profile: Path, rebound: str = "") -> AsyncIterator[Browser]:
    """Run a browser with a profile of its own until the block ends; the name `rebound` leads it to this machine."""
    rules = [f"MAP {rebound} 127.0.0.1"] if rebound else []
    rules += ["MAP * ~NOTFOUND", "EXCLUDE 127.0.0.1", "EXCLUDE localhost"]
    process = await asyncio.create_subprocess_exec(
        program,
        *FLAGS,
        f"--host-resolver-rules={', '.join(rules)}",
        f"--user-data-dir={profile}",
        "about:blank",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "HOME": str(profile), "LANG": "C.UTF-8"},
        start_new_session=True,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(20):
            lines: list[str] = []
            while (found := LISTENS.search("".join(lines[-1:]))) is None:
                line = (await process.stderr.readline()).decode()
                assert line, f"the browser ended with {await process.wait()}: {lines}"
                lines.append(line)
        draining = asyncio.create_task(process.stderr.read())
        async with aiohttp.ClientSession() as session, session.ws_connect(found[1], max_msg_size=0) as socket:
            browser = Browser(socket)
            listening = asyncio.create_task(browser.listen())
            try:
                yield browser
            finally:
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)
    finally:
        # Its helpers are in its group, and it is ours alone.
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    await draining
