"""The hub's own few routes: is it alive, is it ready, and its figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import msgspec
from aiohttp import web

from hub.answer import Answer, json_answer
from hub.dispatch import Endpoint, Match
from hub.landing import Landing
from hub.readiness import Readiness, works
from hub.reference import reference_endpoints
from kernel import Chain, Kernel, iso

SERVICE = "aetherra"
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
NO_CACHE = "no-cache"

HEALTH_WORDS: Mapping[str, Literal["starting", "healthy", "stopping"]] = {
    "starting": "starting",
    "ready": "healthy",
    "stopping": "stopping",
    "stopped": "stopping",
}
"""The kernel's state -> the word that clients of the documents wait for."""


class HealthStatus(msgspec.Struct):
    """Whether the process is healthy, since when it says so, and which version it is."""

    status: Literal["starting", "healthy", "stopping"]
    timestamp: str
    service: str
    version: str


class Health(Endpoint):
    """`GET /health`: one body for the Hub's, the scripts' and the Aurora document; constant and cheap.

    What works and what does not is told by `/health/ready`.
    """

    __slots__ = ("_body", "_kernel", "_made")
    unmetered = True

    documents: Mapping[int, tuple[str, Any]] = {200: ("application/json", HealthStatus)}

    def __init__(self, kernel: Kernel, pattern: str) -> None:
        super().__init__("GET", pattern, public=True, early=True)
        self._kernel = kernel
        self._made: tuple[int, str] = (0, "")
        self._body = b""

    async def answer(self, request: web.Request, match: Match) -> Answer:
        """Return the status of the process, made anew once a second."""
        kernel = self._kernel
        made = (int(kernel.clock.now()), kernel.state)
        if made != self._made:
            self._made = made
            self._body = json_answer(HealthStatus(HEALTH_WORDS[made[1]], iso(made[0]), SERVICE, kernel.version)).body
        return Answer(200, self._body, cache=NO_CACHE)


class Alive(msgspec.Struct):
    """That the process is alive."""

    status: Literal["alive"] = "alive"


class Live(Endpoint):
    """`GET /health/live`: the process runs and its loop turns."""

    __slots__ = ()
    unmetered = True

    documents: Mapping[int, tuple[str, Any]] = {200: ("application/json", Alive)}

    def __init__(self) -> None:
        super().__init__("GET", "/health/live", public=True, early=True)

    async def answer(self, request: web.Request, match: Match) -> Answer:
        """Return that it is alive."""
        return json_answer(Alive())


class ReadyStatus(msgspec.Struct):
    """Whether the hub does its work: a truth value for each component, and why where it is false."""

    status: Literal["ready", "not_ready"]
    checks: dict[str, bool]
    reasons: dict[str, str]
    timestamp: str


class Ready(Endpoint):
    """`GET /health/ready`: what works, by component, and why not; 503 while something that all depends on does not."""

    __slots__ = ("_kernel", "_readiness")
    unmetered = True

    documents: Mapping[int, tuple[str, Any]] = {
        200: ("application/json", ReadyStatus),
        503: ("application/json", ReadyStatus),
    }

    def __init__(self, kernel: Kernel, readiness: Readiness) -> None:
        super().__init__("GET", "/health/ready", public=True, early=True)
        self._kernel = kernel
        self._readiness = readiness

    async def answer(self, request: web.Request, match: Match) -> Answer:
        """Return `ready` or `not_ready`, a truth value for each component, and the reasons."""
        reasons = await self._readiness.reasons()
        ready = works(reasons)
        body = ReadyStatus(
            status="ready" if ready else "not_ready",
            checks={name: reason is None for name, reason in reasons.items()},
            reasons={name: reason for name, reason in reasons.items() if reason is not None},
            timestamp=iso(self._kernel.clock.now()),
        )
        return json_answer(body, 200 if ready else 503, headers=b"" if ready else b"Retry-After: 1\r\n")


class MetricsPage(Endpoint):
    """`GET /metrics`: every declared metric in Prometheus' text format 0.0.4."""

    __slots__ = ("_kernel",)
    unmetered = True

    documents: Mapping[int, tuple[str, Any]] = {200: ("text/plain", str)}
    right = "metrics:read"

    def __init__(self, kernel: Kernel) -> None:
        super().__init__("GET", "/metrics", dialect="hub")
        self._kernel = kernel

    async def answer(self, request: web.Request, match: Match) -> Answer:
        """Return the figures to whoever may read them."""
        assert match.caller is not None
        await self._kernel.gate.require(Chain(match.caller), self.right)
        return Answer(200, self._kernel.metrics.expose(), content_type=METRICS_TYPE)


def own_endpoints(
    kernel: Kernel, insecure: str | None, endpoints: Callable[[], Iterable[Endpoint]]
) -> Iterable[Endpoint]:
    """Return the hub's routes.

    `insecure` is the reason why its bind address is shown red, or None; `endpoints` returns what is served at the
    moment, the hub's own among it.
    """
    readiness = Readiness(kernel, insecure)
    return (
        Landing(kernel, readiness),
        Health(kernel, "/health"),
        Health(kernel, "/api/health"),
        Live(),
        Ready(kernel, readiness),
        MetricsPage(kernel),
        *reference_endpoints(kernel, endpoints),
    )
