"""Whom the hub answers at all: the checks of `Host`, `Origin`, `Sec-Fetch-Site` and `Content-Type`, in this order.

They keep a web page in the operator's browser, and a name that was rebound to this address, from driving the hub
(threat model, section 6). The path was looked up before, so that each refusal has the shape of its dialect.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from aiohttp import web
from aiohttp.hdrs import HOST, ORIGIN

from hub.dispatch import Endpoint, Match
from hub.limits import Connection
from hub.settings import HubSettings
from kernel import BadInput, ConfigError, Denied

LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
MAX_AGE_S = 600
EXPOSED = (
    "X-Request-Id, X-Hub-Version, Retry-After, Idempotency-Replayed, "
    "X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset"
)

SEC_FETCH_SITE = "Sec-Fetch-Site"

_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+)(:(?P<port>\d{1,5}))?")
_ORIGIN = re.compile(r"\*|(?P<scheme>https?)://(?P<name>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+)(:(?P<port>\d{1,5}|\*))?")
_HOST_PORT = re.compile(r":\d{1,5}\Z")
_HEADER_NAMES = re.compile(r"[A-Za-z0-9_-]+(\s*,\s*[A-Za-z0-9_-]+)*")


class Edge:
    """The names and origins of one running hub. `listen_on` is told the ports once they are known."""

    def __init__(self, settings: HubSettings) -> None:
        self._settings = settings
        for entry in settings.allowed_hosts:
            if not _HOST.fullmatch(entry):
                raise ConfigError(f"hub.allowed_hosts: {entry!r} is not a name such as hub.example.org or name:8443")
        for entry in settings.allowed_origins:
            if not _ORIGIN.fullmatch(entry):
                raise ConfigError(
                    f"hub.allowed_origins: {entry!r} is not an origin such as https://ui.example.org, "
                    "http://localhost:* or *"
                )
        self._any_origin = "*" in settings.allowed_origins
        self._any_port = tuple(o.lower()[:-1] for o in settings.allowed_origins if o.endswith(":*"))
        self.hosts: frozenset[str] = frozenset()
        self.origins: frozenset[str] = frozenset()

    def listen_on(self, ports: Iterable[int], address: str = "127.0.0.1") -> None:
        """Know our own names: each listening port with each local name, and the configured ones."""
        bound = f"[{address}]" if ":" in address else address
        own = {f"{name}:{port}" for port in ports for name in (*LOCAL_NAMES, bound)}
        own |= {host.removesuffix(":80") for host in own if host.endswith(":80")}
        named = {entry.lower() for entry in self._settings.allowed_hosts}
        named |= {f"{entry}:{port}" for entry in named for port in ports if not _HOST_PORT.search(entry)}
        self.hosts = frozenset(own | named)
        self.origins = frozenset(
            {f"http://{host}" for host in own} | {o.lower() for o in self._settings.allowed_origins}
        )

    def check(self, request: web.Request, match: Match) -> None:
        """Return when the request may go on; otherwise raise what it is refused with. Fills in the CORS headers."""
        headers = request.headers
        connection = request.protocol
        assert isinstance(connection, Connection)
        if not connection.console:
            self._check_host(request)
        origin = headers.get(ORIGIN)
        if origin is not None:
            self._check_origin(request, origin, match)
        site = headers.get(SEC_FETCH_SITE)
        unsafe = match.upgrade or request.method not in SAFE
        if unsafe and site in ("cross-site", "same-site") and not self.listed(origin):
            sent = "WebSocket" if match.upgrade else request.method
            raise Denied(
                f"a page of another site sent this {sent}; list its origin in [hub] allowed_origins",
                code="CROSS_SITE",
            )
        if request.method not in SAFE and match.endpoint is not None:
            check_media(request, match.endpoint)

    def _check_host(self, request: web.Request) -> None:
        given = request.headers.getall(HOST, ())
        if len(given) == 1 and given[0] in self.hosts:
            return
        if len(given) != 1 or not _HOST.fullmatch(given[0]):
            raise BadInput("a request has one Host header, such as localhost:3001", code="BAD_HOST")
        if given[0].lower() not in self.hosts:
            raise Denied(
                f"this hub does not answer for {given[0]!r}; if that is its name, add it to [hub] allowed_hosts",
                code="MISDIRECTED_REQUEST",
            )

    def _check_origin(self, request: web.Request, origin: str, match: Match) -> None:
        public = match.endpoint is not None and match.endpoint.public
        if self.listed(origin):
            match.cors = {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": EXPOSED}
            match.cors["Vary"] = "Origin"
        elif public and request.method in SAFE and not match.upgrade:
            match.cors = {"Access-Control-Allow-Origin": "*"}
        else:
            raise Denied(
                f"pages of {origin[:200]!r} may not use this hub; list the origin in [hub] allowed_origins",
                code="FOREIGN_ORIGIN",
            )

    def listed(self, origin: str | None) -> bool:
        """Tell whether pages of this origin may use the hub; the origin `null` never may."""
        if origin is None or origin == "null":
            return False
        lowered = origin.lower()
        if lowered in self.origins or self._any_origin:
            return True
        return any(lowered.startswith(prefix) and lowered[len(prefix) :].isdigit() for prefix in self._any_port)


def check_media(request: web.Request, endpoint: Endpoint) -> None:
    """Refuse an unsafe request whose body is not of the type that its route takes; one without a body passes."""
    headers = request.headers
    if "Transfer-Encoding" not in headers and headers.get("Content-Length", "0") == "0":
        return
    given = headers.get("Content-Type", "")
    if given.partition(";")[0].strip().lower() != endpoint.media:
        raise BadInput(
            f"a body comes as Content-Type: {endpoint.media}, got {given[:100] or 'none'}",
            code="UNSUPPORTED_MEDIA_TYPE",
        )
    if headers.get("Content-Encoding", "identity").lower() != "identity":
        raise BadInput("a body comes without Content-Encoding", code="UNSUPPORTED_MEDIA_TYPE")


def preflight_headers(request: web.Request, methods: str) -> dict[str, str]:
    """Return the answer to a browser's question before a cross-origin request."""
    asked = request.headers.get("Access-Control-Request-Headers", "")
    allowed = asked if len(asked) <= 1_000 and _HEADER_NAMES.fullmatch(asked) else "Content-Type"
    return {
        "Access-Control-Allow-Methods": methods,
        "Access-Control-Allow-Headers": allowed,
        "Access-Control-Max-Age": str(MAX_AGE_S),
    }
