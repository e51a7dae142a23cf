"""The page at `/`: what is loaded, what happened lately, what works and what does not; written anew at each request.

It is whole without JavaScript. With it, the page follows the events and is asked for again when something happened, so
there is one who writes it: what differs is taken over in place (`dashboard/landing.js`).

What it shows is read as the caller may read it, and for the rights that the API's own routes ask. It comes from
services rather than from those routes, because most of it is the kernel's own to tell: when a plugin that serves an API
is broken, this is where one sees why. Each part has a deadline of its own, and one that fails says so in its place.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import shlex
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from string import Template
from typing import Any, Final, Protocol

import msgspec
from aiohttp import web

from hub.answer import Answer
from hub.dispatch import Endpoint, Match
from hub.first_steps import FIRST_PLUGIN, FIRST_SCRIPT, aether_on
from hub.looks import (
    event_row,
    figure_groups,
    figures,
    health_of,
    job_row,
    moment,
    notice,
    pill,
    plugin_row,
    section,
    span,
    table,
)
from hub.markup import Markup, joined, tag
from hub.pages import HTML
from hub.readiness import Readiness, works
from hub.settings import HubSettings
from kernel import KERNEL_TOPICS, AetherraError, Context, Denied, Kernel, iso

log = logging.getLogger("hub.landing")

DASHBOARD: Final = Path(__file__).parent / "dashboard"
PLUGINS_SHOWN: Final = 200
JOBS_SHOWN: Final = 10
EVENTS_SHOWN: Final = 15
WATCHED_S: Final = 60.0
"""How long a job that is under way makes the page look every second: one that waits for days need not."""
PATTERNS_MOST: Final = 32
"""As many patterns as one stream of events takes."""
PINGS_MISSED: Final = 3
"""After so many intervals without a ping the page takes its stream for dead."""

LINKS: Final = (
    ("/docs", "API, to try out"),
    ("/redoc", "API, to read"),
    ("/openapi.json", "OpenAPI"),
    ("/metrics", "Metrics"),
    ("/health/ready", "Readiness"),
    ("/api/klm/history", "History of reloads"),
)


class Modules(Protocol):
    """What the page asks of the module manager."""

    async def list(self) -> list[dict[str, Any]]:
        """Return every known plugin."""


class Executions(Protocol):
    """What the page asks of the executions."""

    async def list(self, limit: int) -> dict[str, Any]:
        """Return the latest ones."""


class Figures(Protocol):
    """What the page asks of the kernel."""

    async def status(self) -> dict[str, Any]:
        """Return the scheduler's, the workers' and the hub's own figures."""

    async def bus(self) -> dict[str, Any]:
        """Return the event bus's figures."""

    async def store(self) -> dict[str, Any]:
        """Return the store's figures."""


class Files(msgspec.Struct, frozen=True):
    """The page without its contents, and the policy that lets nothing run but the script and style in it."""

    page: Template
    starting: Template
    style: str
    script: str
    build: str
    policy: str

    @classmethod
    def read(cls) -> Files:
        """Read the files of the dashboard."""
        texts = [(DASHBOARD / name).read_text("utf-8") for name in ("landing.html", "starting.html")]
        style, script = ((DASHBOARD / f"landing.{kind}").read_text("utf-8") for kind in ("css", "js"))
        build = hashlib.sha256("".join((*texts, style, script)).encode()).hexdigest()[:16]
        policy = (
            f"default-src 'none'; script-src {_digest(script)}; style-src {_digest(style)}; connect-src 'self'; "
            "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        return cls(Template(texts[0]), Template(texts[1]), style, script, build, policy)


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


class Landing(Endpoint):
    """`GET /`: the page, for whoever asks, with what he may read; while the kernel starts, that it does."""

    __slots__ = ("_files", "_kernel", "_readiness")

    documents: Mapping[int, tuple[str, Any]] = {200: ("text/html", str), 503: ("text/html", str)}

    def __init__(self, kernel: Kernel, readiness: Readiness) -> None:
        super().__init__("GET", "/", early=True)
        self._kernel = kernel
        self._readiness = readiness
        self._files: Files | None = None

    async def answer(self, request: web.Request, match: Match) -> Answer:
        """Return the page."""
        if self._files is None:
            self._files = await asyncio.to_thread(Files.read)
        files, kernel = self._files, self._kernel
        if kernel.state != "ready":
            text = files.starting.substitute(style=files.style, state=kernel.state, version=kernel.version)
            return Answer(503, text.encode(), content_type=HTML, policy=files.policy, headers=b"Retry-After: 1\r\n")
        assert match.caller is not None
        seconds: float = kernel.config.hub.page_part_s
        deadline = kernel.clock.monotonic() + seconds
        ctx = kernel.context(match.caller, trace=match.request_id, deadline=deadline)
        shown = await Parts(kernel, self._readiness, ctx, f"{request.scheme}://{request.host}").page()
        text = files.page.substitute(shown, style=files.style, script=files.script, build=files.build)
        # A plugin may say what no encoding can: half of a surrogate pair.
        return Answer(200, text.encode("utf-8", "replace"), content_type=HTML, policy=files.policy)


class Parts:
    """The parts of one page, each read within its deadline and as its caller may read it."""

    def __init__(self, kernel: Kernel, readiness: Readiness, ctx: Context, address: str) -> None:
        self._kernel = kernel
        self._settings: HubSettings = kernel.config.hub
        self._readiness = readiness
        self._ctx = ctx
        self._address = address
        self.patterns = self._patterns()

    async def page(self) -> dict[str, Markup]:
        """Return what stands in the template's places."""
        reasons: dict[str, str | None] = {}

        async def health() -> Markup:
            reasons.update(await self._readiness.reasons(within_s=0.8 * self._settings.page_part_s))
            return health_of(reasons)

        named = {"Health": health, "Plugins": self.plugins, "Jobs": self.jobs, "Events": self.events}
        named["Figures"] = self.figures
        parts = dict(zip(named, await asyncio.gather(*map(self._part, named, named.values())), strict=True))
        start = section("Start here", joined((self.commands(), self.links())))
        main = tag(
            "main",
            tag("div", parts["Health"], parts["Plugins"], start, class_="column"),
            tag("div", parts["Jobs"], parts["Events"], class_="column"),
            parts["Figures"],
            id="main",
            data_topics=",".join(self.patterns) if self._follows() else "",
            data_silence=PINGS_MISSED * self._settings.ping_s,
        )
        return {"summary": self.summary(reasons), "moment": self.moment(), "main": main}

    async def _part(self, title: str, read: Callable[[], Awaitable[Markup]]) -> Markup:
        """Return a section, or in its place why it cannot be shown; a part that does not end is left to itself."""
        clock, seconds = self._kernel.clock, self._settings.page_part_s
        task = asyncio.ensure_future(read())
        task.add_done_callback(_seen)
        try:
            async with clock.timeout(seconds) as limit:
                return section(title, await asyncio.shield(task))
        except TimeoutError:
            late = limit.expired()
            told = f"This did not answer within {seconds:g} s ([hub] page_part_s)." if late else FAILED
        except AetherraError as error:
            told = error.message
        except Exception:
            log.exception("the part %r of the page failed", title)
            told = FAILED
        finally:
            task.cancel()
        return section(title, notice(told))

    def _need(self, right: str) -> None:
        """Raise when the caller lacks a right; asked without a record, or each look at the page would leave some."""
        if not self._ctx.may(right):
            raise Denied(f"The policy does not let {self._ctx.owner} see this: it takes the right {right}.")

    def _served(self, path: str) -> bool:
        return path in self._kernel.reserved or any(o.item.key == ("GET", path) for o in self._kernel.table.routes)

    # The parts ---------------------------------------------------------------------------------------------------

    async def plugins(self) -> Markup:
        """Show what is loaded, and of what is not, why."""
        self._need("plugin:read")
        modules = await self._ctx.service("modules", Modules).list()
        if not modules:
            return notice("No plugin is known.")
        linked = self._served("/api/plugins/{}")
        modules.sort(key=lambda m: (m["status"] == "active", m["name"]))
        rows = [plugin_row(module, linked) for module in modules[:PLUGINS_SHOWN]]
        active = sum(module["status"] == "active" for module in modules)
        told = f"{active} of {len(modules)} active"
        if len(modules) > PLUGINS_SHOWN:
            told += f"; the first {PLUGINS_SHOWN} are shown"
        head = (
            ("Plugin", ""),
            ("Status", "fit"),
            ("Generation", "number wide"),
            ("Calls", "number"),
            ("Errors", "number"),
        )
        return table(told, head, rows)

    async def jobs(self) -> Markup:
        """Show the latest executions that the caller may see."""
        self._need("job:read:own")
        page = await self._ctx.service("executions", Executions).list(limit=JOBS_SHOWN)
        linked = self._served("/api/jobs/{}")
        begun = iso(self._kernel.clock.now() - WATCHED_S)
        rows = [job_row(job, linked, watched=job["created_at"] > begun) for job in page["executions"]]
        if not rows:
            return notice("Nothing was run yet.")
        whose = "Everybody's" if self._ctx.may("job:read") else "Your"
        head = (("Script", ""), ("State", "fit"), ("Started", "fit wide"), ("Seconds", "number"))
        return table(f"{whose} latest {JOBS_SHOWN}", head, rows)

    def _patterns(self) -> tuple[str, ...]:
        """Return the topics that the caller may follow, as patterns."""
        if self._ctx.may("event:read:*"):
            return ("#",)
        words = {topic.partition(".")[0] for topic in KERNEL_TOPICS} | self._kernel.table.topics.keys()
        return tuple(f"{word}.#" for word in sorted(words) if self._ctx.may(f"event:read:{word}.*"))[:PATTERNS_MOST]

    def _follows(self) -> bool:
        return self._served("/api/events") and self._ctx.may("event:read:own")

    async def events(self) -> Markup:
        """Show the newest events of those topics that are still remembered."""
        patterns = self.patterns
        if not patterns:
            self._need("event:read")
        newest = self._kernel.bus.since(0, patterns)[0][: -EVENTS_SHOWN - 1 : -1]
        told = f"The latest {EVENTS_SHOWN} of {', '.join(patterns)}"
        if not newest:
            return notice(f"{told}: none is remembered.")
        return table(told, (("Time", "fit"), ("Event", "")), map(event_row, newest))

    async def figures(self) -> Markup:
        """Show what is measured, since the start."""
        self._need("metrics:read")
        kernel = self._ctx.service("kernel", Figures)
        status, bus, store = await kernel.status(), await kernel.bus(), await kernel.store()
        return tag(
            "div", [tag("div", tag("h3", name), figures(rows)) for name, rows in figure_groups(status, bus, store)]
        )

    def commands(self) -> Markup:
        """Show the first commands to try."""
        paths = self._kernel.config.paths
        lines = [f"curl {self._address}/health/ready"]
        # Where things lie is told to whoever may ask the API for it.
        if self._ctx.may("plugin:read"):
            examples, aether = paths.bundled_plugins.parent / "examples", aether_on(paths.home)
            run = f"{aether} run {shlex.quote(str(examples / FIRST_SCRIPT))} --watch"
            lines += [run, f"{aether} plugins", f"{aether} events"]
            if self._served("/api/hello/{}"):
                lines.append(f"curl {self._address}/api/hello/Ada")
            elif paths.plugins in paths.trusted:
                lines.append(shlex.join(("cp", str(examples / FIRST_PLUGIN), f"{paths.plugins}/")))
        return tag("ul", [tag("li", tag("code", line)) for line in lines], class_="commands")

    def links(self) -> Markup:
        """Show the other pages that this hub has."""
        there = [(path, name) for path, name in LINKS if self._served(path)]
        return tag("ul", [tag("li", tag("a", name, href=path)) for path, name in there], class_="links")

    def summary(self, reasons: Mapping[str, str | None]) -> Markup:
        """Show the state of the whole, in one line."""
        kernel = self._kernel
        degraded = any(reason is not None for reason in reasons.values())
        state = "not ready" if not works(reasons) else "degraded" if degraded else "ready"
        up = span(kernel.clock.monotonic() - kernel.started_monotonic)
        return tag(
            "p",
            pill(state if reasons else "unknown"),
            tag("span", f"version {kernel.version}"),
            tag("span", f"up {up}"),
            id="summary",
        )

    def moment(self) -> Markup:
        """Show of when the page is, and the way to a fresh one."""
        reload = tag("a", "Reload", href="/")
        return tag("p", "As of ", moment(iso(self._kernel.clock.now())), " UTC · ", reload, id="moment")


FAILED: Final = "This could not be read; the hub's log says why."


def _seen(task: asyncio.Future[Any]) -> None:
    if not task.cancelled():
        task.exception()
