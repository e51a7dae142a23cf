"""From a request to typed arguments, to the handler, to a response; the handler knows nothing of HTTP.

What stands in the path or, for GET, HEAD and DELETE, in the query is text and read leniently; a JSON body is read
strictly. A body parameter of type `bytes` that stands alone takes the raw body.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from aiohttp import web

from hub.answer import JSON, NO_STORE, Answer, check_reply_headers, encode, header_lines
from hub.auth import TICKET
from hub.conversation import HubSocket
from hub.dispatch import Endpoint, Further, Label, Match, Media
from hub.form import form_fields
from hub.limits import read_body
from hub.settings import HubSettings
from hub.sse import RESUME_PARAMETER, Streams
from hub.strictjson import check_json
from hub.ws import SocketEndpoint, Sockets
from kernel import (
    SOCKET_METHOD,
    BadInput,
    Binder,
    Chain,
    Context,
    ContractError,
    DeadlineExceeded,
    EventStream,
    Grounds,
    Identity,
    Kernel,
    Owned,
    Parameter,
    Reply,
    Route,
)

STATUSES = (200, 599)
"""What a handler may answer with: anything less is no final answer."""
JSON_BODY: Media = "application/json"
RAW_BODY: Media = "application/octet-stream"
FORM_BODY: Media = "application/x-www-form-urlencoded"
QUERY_METHODS = frozenset({"GET", "HEAD", "DELETE"})
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


class UrlFields:
    """What a route reads from its path and, where `in_query`, from the query: text, read leniently."""

    __slots__ = ("_fields", "_in_query", "_lists", "_names", "_passed", "binder")

    def __init__(self, route: Route, names: tuple[str, ...], *, in_query: bool) -> None:
        outside = [p for p in route.signature.parameters if p.field not in route.path_names]
        fields = {*route.path_names, *(p.field for p in outside if in_query)}
        self._names = names
        self._in_query = in_query
        self._passed = TICKET if route.method == SOCKET_METHOD else RESUME_PARAMETER
        self._fields = frozenset(fields)
        self._lists = frozenset(p.field for p in outside if in_query and _takes_list(p))
        self.binder = route.signature.part(fields, lax=True, extras=route.documented)

    def bind(self, request: web.Request, match: Match) -> dict[str, Any]:
        """Return the arguments; raise `BadInput` naming the field that does not fit."""
        values: dict[str, Any] = dict(zip(self._names, match.path_values, strict=True))
        if self._in_query and request.rel_url.raw_query_string:
            query = request.rel_url.query
            for name in query:
                if name in values or (name == self._passed and name not in self._fields):
                    continue
                given = query.getall(name)
                if name in self._lists:
                    values[name] = given
                elif len(given) == 1:
                    values[name] = given[0]
                else:
                    raise BadInput(
                        f"the query names `{name}` {len(given)} times; once is enough", details={"field": name}
                    )
        return self.binder.bind(values) if self.binder.parameters or values else {}


class Door(Endpoint):
    """A contributed route, compiled once when its table came into force."""

    __slots__ = ("_kernel", "_owned", "_url")

    def __init__(self, owned: Owned[Route], kernel: Kernel, *, media: Media = JSON_BODY, in_query: bool = True) -> None:
        route = owned.item
        super().__init__(
            route.method,
            route.path,
            dialect=route.dialect,
            public=route.public,
            anonymous=route.anonymous,
            media=media,
        )
        self._owned = owned
        self._kernel = kernel
        self._url = UrlFields(route, self.names, in_query=in_query)

    @property
    def route(self) -> Route:
        """The contributed route."""
        return self._owned.item

    @property
    def owner(self) -> str:
        """The name of the plugin whose route it is."""
        return str(self._owned.owner.plugin)

    @property
    def from_url(self) -> Binder:
        """What it reads from path and query."""
        return self._url.binder

    @property
    def from_body(self) -> Binder | None:
        """What it reads from a JSON body; None where it takes none, or raw bytes."""
        return None

    def serves(self, owned: Owned[Route]) -> bool:
        """Tell whether this is the very route of the very generation."""
        return self._owned.item is owned.item and self._owned.owner is owned.owner


class RequestDoor(Door):
    """A route that answers requests: with a value, or with a stream."""

    __slots__ = ("_body", "_raw", "_settings", "_streams")

    def __init__(self, owned: Owned[Route], kernel: Kernel, settings: HubSettings, streams: Streams) -> None:
        route = owned.item
        signature = route.signature
        outside = [p for p in signature.parameters if p.field not in route.path_names]
        in_query = route.method in QUERY_METHODS
        raw = outside[0].name if len(outside) == 1 and outside[0].type is bytes and not in_query else None
        media = FORM_BODY if route.form else RAW_BODY if raw else JSON_BODY
        super().__init__(owned, kernel, media=media, in_query=in_query)
        self._settings = settings
        self._streams = streams
        self._raw = raw
        self._body = (
            None
            if in_query or raw
            else signature.part((p.field for p in outside), lax=route.form, extras=route.documented)
        )

    @property
    def from_body(self) -> Binder | None:
        """What it reads from a JSON body; None where it takes none, or raw bytes."""
        return self._body

    async def answer(self, request: web.Request, match: Match) -> web.StreamResponse | Further:
        """Bind, run the handler within its deadline, and turn what it returns into a response."""
        identity = match.identity
        assert identity is not None
        if self._body is not None or self._raw is not None:
            self._refuse_early(identity, match)
        try:
            arguments = self._url.bind(request, match)
        except BadInput:
            self._refuse_early(identity, match)
            raise
        if self._body is not None:
            arguments.update(await self._from_body(request))
        elif self._raw is not None:
            arguments[self._raw] = await self._read(request, self._settings.upload_kb, "upload_kb")
        kernel, clock = self._kernel, self._kernel.clock
        own = self._owned.item.deadline_s
        seconds = self._settings.request_s if own is None else own
        streaming = self._owned.item.signature.streams
        grounds = Grounds()
        ctx = kernel.context(
            identity.caller,
            trace=match.request_id,
            deadline=None if streaming else clock.monotonic() + seconds,
            idempotency_key=_idempotency_key(request),
            address=match.address,
            grounds=grounds,
        )
        try:
            async with clock.timeout(seconds) as limit:
                result = await kernel.serve(self._owned, ctx, arguments)
        except TimeoutError:
            if not limit.expired():
                raise
            bound = "[hub] request_s" if own is None else "the route's own bound"
            raise DeadlineExceeded(f"{self._owned.item.name} did not answer within {seconds:g} s ({bound})") from None
        if streaming:
            return await self._streams.values(request, match, result, grounds)
        if isinstance(result, EventStream):
            match.endpoint = Label(self)
            return partial(self._streams.events, stream=result, grounds=grounds)
        return self._reply(result)

    def _refuse_early(self, identity: Identity, match: Match) -> None:
        """Refuse whoever lacks the right before any of the body is read, or a mistake is told of.

        When the handler is entered, the right is asked for all the same.
        """
        gate, chain, needs = self._kernel.gate, Chain(identity.caller), self._owned.item.needs
        if not gate.decide(chain, needs).allowed:
            gate.check(chain, needs, trace=match.request_id, plugin=self.owner)

    async def _from_body(self, request: web.Request) -> dict[str, Any]:
        assert self._body is not None
        body = await self._read(request, self._settings.body_kb, "body_kb") if request.body_exists else b""
        if self.media == FORM_BODY:
            return self._body.bind(form_fields(body, self._settings.json_nodes))
        if not body:
            return self._body.decode(b"{}")
        check_json(body, depth=self._settings.json_depth, nodes=self._settings.json_nodes)
        return self._body.decode(body)

    async def _read(self, request: web.Request, limit_kb: int, setting: str) -> bytes:
        return await read_body(request, limit_kb, setting, self._kernel.clock, self._settings.body_s)

    def _reply(self, result: Any) -> Answer:
        status, headers, value = self._owned.item.status, {}, result
        if isinstance(result, Reply):
            status, value = result.status or status, result.value
            headers = check_reply_headers(result.headers)
        if not STATUSES[0] <= status <= STATUSES[1]:
            raise ContractError(
                f"{self._owned.item.name} answered with the status {status}; expected {STATUSES[0]} to {STATUSES[1]}"
            )
        content_type = _take(headers, "content-type") or self._owned.item.produces or JSON
        cache = _take(headers, "cache-control") or NO_STORE
        lines = header_lines(headers)
        if status in (204, 304):
            body = b""
        elif isinstance(value, bytes | bytearray | memoryview):
            body = bytes(value)
            content_type = content_type if content_type is not JSON else "application/octet-stream"
        elif isinstance(value, str) and "json" not in content_type:
            body = value.encode()
        else:
            body = encode(value)
        return Answer(status, body, content_type=content_type, cache=cache, headers=lines)


class SocketDoor(Door, SocketEndpoint):
    """A route that is a socket."""

    __slots__ = ("_sockets", "key", "stateless")

    def __init__(self, owned: Owned[Route], kernel: Kernel, sockets: Sockets) -> None:
        super().__init__(owned, kernel)
        self._sockets = sockets
        self.key = owned.item.key
        self.stateless = owned.item.stateless

    async def answer(self, request: web.Request, match: Match) -> Further:
        """Leave it to the sockets, which find this endpoint in the match."""
        return self._sockets.serve

    def bind(self, request: web.Request, match: Match) -> dict[str, Any]:
        """Return the arguments from path and query; raise `BadInput`."""
        return self._url.bind(request, match)

    async def converse(
        self,
        ctx: Context,
        arguments: dict[str, Any],
        socket: HubSocket,
        entering: Callable[[Route], Awaitable[None]],
    ) -> None:
        """Ask for the right, await `entering` with the route that is entered, and run its handler."""
        arguments[self._owned.item.signature.socket] = socket
        await self._kernel.serve(self._owned, ctx, arguments, entering=entering)


def _take(headers: dict[str, str], name: str) -> str | None:
    found = next((key for key in headers if key.lower() == name), None)
    return None if found is None else headers.pop(found)


def _takes_list(parameter: Parameter) -> bool:
    choices = [parameter.type]
    while choices:
        choice = choices.pop()
        origin = typing.get_origin(choice) or choice
        if origin in (list, tuple, set, frozenset):
            return True
        if origin in (typing.Union, types.UnionType, typing.Annotated):
            choices += typing.get_args(choice)
    return False


def _idempotency_key(request: web.Request) -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not _KEY.fullmatch(key):
        raise BadInput("an Idempotency-Key is 1 to 255 printable ASCII characters without blanks")
    return key
