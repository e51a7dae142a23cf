"""`make_app`: the onion around every request, in reading order: observed, worded, guarded, answered."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Callable
from typing import Final, cast

from aiohttp import web

from hub.admission import Connections
from hub.answer import Answer, encode, header_lines
from hub.auth import ANONYMOUS, Doorkeeper
from hub.binding import Door, RequestDoor, SocketDoor
from hub.client import Clients
from hub.dispatch import Dispatch, Endpoint, Match, PathTable
from hub.edge import Edge, preflight_headers
from hub.errors import STOPPING_RETRY_S, body_of, failure_of
from hub.limits import SPARE_RETRY_S, Connection, is_loopback
from hub.rates import Rates
from hub.reauthorisation import Reauthorisation
from hub.settings import HubSettings
from hub.sse import Streams
from hub.system import own_endpoints
from hub.ws import Sockets
from kernel import (
    SOCKET_METHOD,
    BadInput,
    Caller,
    ConfigError,
    Kernel,
    NotFound,
    Overloaded,
    Owned,
    Reading,
    Route,
    ServiceUnavailable,
    Table,
    Unauthenticated,
    counted,
    gauged,
    path_key,
)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
STARTING_RETRY_S = 1.0


X_REQUEST_ID: Final = "X-Request-Id"


class RequestIds:
    """Ids of 128 random bits, drawn many at a time: a call to the system for each would cost more than the rest."""

    DRAWN = 256

    def __init__(self) -> None:
        self._ready: list[str] = []

    def new(self) -> str:
        """Return an id that no request had before."""
        if not self._ready:
            drawn = os.urandom(16 * self.DRAWN).hex()
            self._ready = [drawn[at : at + 32] for at in range(0, len(drawn), 32)]
        return self._ready.pop()


request_ids: Final = RequestIds()


class Tally:
    """Every request counted and timed, under labels from closed sets: the route's pattern, never the path."""

    def __init__(self, kernel: Kernel, hub: Hub) -> None:
        metrics = kernel.metrics
        labels = ("route", "method", "status")
        self._total = metrics.counter("aetherra_http_requests_total", "HTTP requests answered", labels)
        self._seconds = metrics.histogram(
            "aetherra_http_request_duration_seconds", "Time to answer, streams aside", ("route",)
        )
        metrics.read(lambda: hub, FIGURES)
        self._known: dict[tuple[str, str, int], tuple[Callable[..., None], Callable[[float], None]]] = {}

    def count(self, match: Match, method: str, response: web.StreamResponse | None, seconds: float) -> None:
        """Count one request; the length of a stream is its client's affair and is not timed."""
        route = match.endpoint.pattern if match.endpoint is not None else "none"
        status = response.status if response is not None else 499
        key = (route, method, status)
        known = self._known.get(key)
        if known is None:
            word = method if method in _METHODS else "other"
            known = self._total.labels(route, word, str(status)).inc, self._seconds.labels(route).observe
            if word == method:
                self._known[key] = known
        count, observe = known
        count()
        if isinstance(response, Answer):
            observe(seconds)


FIGURES: tuple[Reading[Hub], ...] = (
    gauged("aetherra_http_requests_in_flight", "HTTP requests under way", lambda hub: hub.in_flight),
    gauged(
        "aetherra_http_connections_open",
        "Connections open",
        lambda hub: hub.connections.open if hub.connections else 0,
    ),
    counted(
        "aetherra_http_connections_refused_total",
        "Connections turned away: [hub] connections, connections_per_address",
        lambda hub: hub.connections.refused if hub.connections else 0,
    ),
    counted(
        "aetherra_http_descriptors_lacking_total",
        "Connections for which no file descriptor was free, so that they could only ask for /health",
        lambda hub: hub.connections.lacking if hub.connections else 0,
    ),
    gauged("aetherra_http_streams_open", "Streams of events open", lambda hub: hub.streams.open),
    counted(
        "aetherra_http_streams_cut_total",
        "Streams whose client read more slowly than events came",
        lambda hub: hub.streams.cut,
    ),
    counted(
        "aetherra_http_streams_refused_total", "Streams turned away: [hub] streams", lambda hub: hub.streams.refused
    ),
    gauged("aetherra_http_sockets_open", "WebSockets open", lambda hub: hub.sockets.open),
    counted(
        "aetherra_http_sockets_cut_total",
        "WebSockets whose client read more slowly than events came",
        lambda hub: hub.sockets.cut,
    ),
    counted(
        "aetherra_http_rate_limited_total",
        "Requests that were one too many: [limits] requests_per_minute and its like",
        lambda hub: hub.rates.refused,
    ),
    counted(
        "aetherra_http_revoked_total",
        "Streams and WebSockets ended since what let them in is not so any more",
        lambda hub: hub.reauthorisation.ended,
    ),
    counted(
        "aetherra_http_sockets_refused_total",
        "WebSockets turned away: [hub] sockets, sockets_per_user",
        lambda hub: hub.sockets.refused,
    ),
)


class Hub:
    """The web side of one kernel: its table of endpoints, its edge, its streams, and the requests in flight."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.settings: HubSettings = kernel.config.hub
        self.insecure = check_bind(self.settings)
        self.edge = Edge(self.settings)
        self.clients = Clients(self.settings)
        self.rates: Rates = Rates(kernel.config, kernel.clock)
        self.doorkeeper = Doorkeeper(kernel, open_everywhere=self.insecure is not None)
        self.reauthorisation: Reauthorisation = Reauthorisation(kernel, self.doorkeeper)
        self.streams: Streams = Streams(kernel.bus, self.settings, self.reauthorisation)
        self.sockets: Sockets = Sockets(
            kernel, self.settings, self.streams.fanout, self.doorkeeper, self.reauthorisation
        )
        self.connections: Connections | None = None
        self.dispatch = Dispatch(self.observe)
        self.in_flight: int = 0
        self.handled = 0
        kernel.reported |= {
            "requests_handled": lambda: self.handled,
            "requests_in_flight": lambda: self.in_flight,
            "streams_open": lambda: self.streams.open,
            "sockets_open": lambda: self.sockets.open,
            "connections_open": lambda: self.connections.open if self.connections else 0,
        }
        self.stopping = False
        self._idle = asyncio.Event()
        self._tally = Tally(kernel, self)
        self._own = tuple(own_endpoints(kernel, self.insecure, lambda: self.dispatch.table.endpoints))
        kernel.reserved |= {path_key(endpoint.pattern): "the hub itself" for endpoint in self._own}
        self._undo = kernel.on_table(self.compile)

    def compile(self, table: Table) -> None:
        """Build the paths of a new table at once; what did not change keeps its compiled endpoint."""
        compiled = [door for door in self.dispatch.table.endpoints if isinstance(door, Door)]
        known = {id(door.route): door for door in compiled}
        doors: list[Endpoint] = []
        for owned in table.routes:
            door = known.get(id(owned.item))
            if door is None or not door.serves(owned):
                door = self._door(owned)
            doors.append(door)
        self.dispatch.table = PathTable([*doors, *self._own])
        self.sockets.renew(doors)

    def _door(self, owned: Owned[Route]) -> Door:
        if owned.item.method == SOCKET_METHOD:
            return SocketDoor(owned, self.kernel, self.sockets)
        return RequestDoor(owned, self.kernel, self.settings, self.streams)

    # The onion ---------------------------------------------------------------------------------------------------

    async def observe(self, request: web.Request) -> web.StreamResponse:
        """Give the request its id, count it, and let go of its endpoint at the end.

        This is the one handler that aiohttp ever sees. The onion is ours, since aiohttp adds a layer of its own to each
        chain of middlewares and keeps what it built.
        """
        match = request.match_info
        assert isinstance(match, Match)
        given = request.headers.get(X_REQUEST_ID)
        match.request_id = given if given and _REQUEST_ID.fullmatch(given) else request_ids.new()
        began = time.perf_counter()
        self.in_flight += 1
        response: web.StreamResponse | None = None
        try:
            response = await self.word(request, match)
            return response
        finally:
            self.handled += 1
            self._tally.count(match, request.method, response, time.perf_counter() - began)
            match.let_go()
            self.in_flight -= 1
            if not self.in_flight:
                self._idle.set()

    async def word(self, request: web.Request, match: Match) -> web.StreamResponse:
        """Turn what was raised into an answer in the dialect of the path."""
        try:
            response = await self.guard(request, match)
        except ConnectionError:
            raise
        except Exception as error:
            # What a client sends after a handshake that was refused is no HTTP.
            response = refusal(error, match, close=self.stopping or match.upgrade)
        if (match.cors or match.rate) and isinstance(response, Answer):
            for name, value in (*match.cors.items(), *match.rate.items()):
                response.add_header(name, value)
        if cast(Connection, request.protocol).spare:
            response.force_close()
        return response

    async def guard(self, request: web.Request, match: Match) -> web.StreamResponse:
        """Let in whom the hub answers, and learn who it is, before any body is read."""
        self.edge.check(request, match)
        endpoint = match.endpoint
        self._refuse_spare(request, endpoint)
        if self.stopping:
            raise Overloaded("the hub is stopping", code="SHUTTING_DOWN", retry_after_s=STOPPING_RETRY_S)
        if self.kernel.state != "ready" and (endpoint is None or not endpoint.early):
            match.let_go()
            raise Overloaded("the hub is starting", code="STARTING", retry_after_s=STARTING_RETRY_S)
        if match.refusal is not None:
            raise match.refusal
        if endpoint is None:
            return self._nothing_there(request, match)
        if endpoint.anonymous and endpoint.unmetered:
            match.identity = ANONYMOUS
        else:
            match.address, match.local = self.clients.address(request)
            try:
                match.identity = ANONYMOUS if endpoint.anonymous else await self.doorkeeper.identify(request, match)
            except Unauthenticated:
                self.rates.take(match, None)
                raise
            self.rates.take(match, match.identity or ANONYMOUS)
        answer = await endpoint.answer(request, match)
        if isinstance(answer, web.StreamResponse):
            return answer
        del endpoint  # with its generation, which a stream or socket may outlive
        return await answer(request, match)

    def _refuse_spare(self, request: web.Request, endpoint: Endpoint | None) -> None:
        """Refuse what came over one connection too many, unless it asks how the hub is."""
        connection = request.protocol
        assert isinstance(connection, Connection)
        if connection.spare and not (endpoint is not None and endpoint.early and endpoint.public):
            if self.connections is not None:
                self.connections.refused += 1
            raise Overloaded(connection.spare, retry_after_s=SPARE_RETRY_S)

    def _nothing_there(self, request: web.Request, match: Match) -> web.StreamResponse:
        if not match.allowed:
            raise NotFound(
                f"nothing is at {request.rel_url.raw_path[:200]}", details={"path": request.rel_url.raw_path}
            )
        if match.upgrade:
            raise BadInput("there is no WebSocket at this path; ask without Upgrade", code="NO_SOCKET")
        if request.method in ("GET", "HEAD") and SOCKET_METHOD in match.allowed:
            raise BadInput("this path is a WebSocket: ask for it with Upgrade: websocket", code="UPGRADE_REQUIRED")
        methods = allowed_methods(match)
        if request.method != "OPTIONS":
            raise BadInput(
                f"{request.method[:20]} is not possible at this path; {methods} are",
                details={"allowed": methods.split(", ")},
                code="METHOD_NOT_ALLOWED",
            )
        headers = {"Allow": methods}
        if "Access-Control-Request-Method" in request.headers and match.cors:
            headers |= preflight_headers(request, methods)
        return Answer(204, headers=header_lines(headers))

    # Ending ------------------------------------------------------------------------------------------------------

    async def drain(self, seconds: float) -> bool:
        """Refuse new requests, end the streams, and wait for the requests in flight; True when none is left."""
        self.stopping = True
        self.streams.close("the hub is stopping; connect again", "SHUTTING_DOWN")
        self.sockets.close("the hub is stopping; connect again")
        try:
            async with asyncio.timeout(seconds):
                while self.in_flight:
                    self._idle.clear()
                    await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Follow the kernel's table no longer."""
        self._undo()
        self.reauthorisation.forget()


HUB: Final = web.AppKey("HUB", Hub)
"""Where an app keeps its hub."""


def make_app(kernel: Kernel) -> web.Application:
    """Return the app that serves a kernel: the onion of three, and one resource behind it.

    It is run by `hub.limits.HubRunner`, whose connections hold the bounds that aiohttp's own do not. Raises
    `ConfigError` when the settings would open the hub to others.
    """
    hub = Hub(kernel)
    app = web.Application()
    app[HUB] = hub
    app.router.register_resource(hub.dispatch)
    return app


def allowed_methods(match: Match) -> str:
    """Return what the path of a match can do, as the `Allow` header says it."""
    methods = {"GET" if method == SOCKET_METHOD else method for method in match.allowed}
    return ", ".join(sorted({*methods, "OPTIONS"}))


def refusal(error: Exception, match: Match, *, close: bool = False) -> Answer:
    """Return the answer to an error, in the dialect of the path."""
    endpoint = match.endpoint
    where = f"{endpoint.method} {endpoint.pattern}" if endpoint is not None else "the edge"
    failure = failure_of(error, where=where)
    headers = failure.headers
    if failure.status == 405:
        headers["Allow"] = allowed_methods(match)
    elif failure.status == 426:
        headers |= {"Upgrade": "websocket", "Connection": "Upgrade"}
    elif failure.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    body = encode(body_of(failure, match.dialect))
    return Answer(failure.status, body, headers=header_lines(headers), close=close)


def check_bind(settings: HubSettings) -> str | None:
    """Return why the bind address is shown red, or None: a lab takes whoever reaches it for a local user."""
    if is_loopback(settings.host) or not settings.allow_insecure_bind:
        return None
    return f"open to everyone who reaches {settings.host}, without authentication (AETHERRA_ALLOW_INSECURE_BIND)"


async def check_administrator(kernel: Kernel, settings: HubSettings) -> None:
    """Raise `ConfigError` when others could reach this hub, and nobody could administer it but its own machine."""
    if is_loopback(settings.host) or settings.allow_insecure_bind:
        return
    try:
        users = kernel.context(Caller("core:hub")).service("users")
        count = await users.administrators()
    except ServiceUnavailable:
        count = 0
    if not count:
        raise ConfigError(
            f"hub.host is {settings.host!r}, which others reach, and this hub has no administrator. Make the first "
            "one: set AETHERRA_ADMIN_USER and AETHERRA_ADMIN_PASSWORD for this start, or start it on 127.0.0.1 and run "
            "`aether users add NAME --roles admin --roles user`. (In a lab, AETHERRA_ALLOW_INSECURE_BIND=1 opens it to "
            "everybody.)"
        )
