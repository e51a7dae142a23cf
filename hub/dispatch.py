"""One aiohttp resource of our own, and the table of paths that it looks into.

aiohttp's router is frozen once the server runs, and it remembers handlers. So it sees one resource with one handler,
ever; the endpoint travels with the request, and a change of contributions is the assignment of another table.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, NoReturn, TypeAlias
from urllib.parse import unquote

from aiohttp import web
from aiohttp.hdrs import UPGRADE
from aiohttp.web_urldispatcher import AbstractResource, AbstractRoute, UrlMappingMatchInfo

from kernel import SOCKET_METHOD, AetherraError, BadInput, Caller, Identity

Further: TypeAlias = "Callable[[web.Request, Match], Awaitable[web.StreamResponse]]"
"""What answers in an endpoint's stead and outlives it: its generation may go, the stream or socket stays."""

Media = Literal["application/json", "application/octet-stream", "application/x-www-form-urlencoded"]

TOKEN_ONLY = frozenset({"aimos"})
"""Dialects whose documents want a token of everybody, on this machine as well."""


class Endpoint(ABC):
    """What stands behind one method of one path: how it speaks, what body it takes, and how it answers."""

    __slots__ = ("__weakref__", "anonymous", "dialect", "early", "media", "method", "names", "pattern", "public")

    # What an endpoint of the hub's own tells about itself; of a plugin's route all this is known already.
    documents: Mapping[int, tuple[str, Any]] = {}
    """What it answers with, by status: the content type, and the type of the body."""
    raises: tuple[type[AetherraError], ...] = ()
    """What it refuses requests with, besides what the edge does."""
    right: str = ""
    """The right that it asks for."""
    unmetered = False
    """It may be asked as often as anybody likes: by whoever watches over the hub."""
    tagged = False
    """Its answers have an `ETag`."""

    def __init__(
        self,
        method: str,
        pattern: str,
        *,
        dialect: str = "hub",
        public: bool = False,
        anonymous: bool = False,
        early: bool = False,
        media: Media = "application/json",
    ) -> None:
        self.method = method
        self.pattern = pattern
        self.names = tuple(part[1:-1] for part in pattern.split("/") if part.startswith("{"))
        self.dialect = dialect
        self.public = public
        """Any origin may read it, and no credential is looked at."""
        self.anonymous = anonymous or public
        """No credential is looked at: a browser that opens a page sends none."""
        self.early = early
        """It answers while the kernel is still starting."""
        self.media = media

    @abstractmethod
    async def answer(self, request: web.Request, match: Match) -> web.StreamResponse | Further:
        """Return the response or what answers further, or raise; refusals are worded elsewhere."""


class Label(Endpoint):
    """What is left of an endpoint that was let go while its answer lasts: how it is called and how it speaks."""

    __slots__ = ()

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint.method, endpoint.pattern, dialect=endpoint.dialect)

    async def answer(self, request: web.Request, match: Match) -> web.StreamResponse:
        """Nothing is asked of it any more."""
        raise RuntimeError("this endpoint was let go")


class Match(UrlMappingMatchInfo):
    """What a look-up found, and what the edge learns about the request on its way in."""

    __slots__ = (
        "address",
        "allowed",
        "cors",
        "endpoint",
        "identity",
        "local",
        "path_values",
        "rate",
        "refusal",
        "request_id",
        "upgrade",
    )

    def __init__(self, route: AbstractRoute) -> None:
        super().__init__({}, route)
        self.endpoint: Endpoint | None = None
        self.path_values: tuple[str, ...] = ()
        self.allowed: Mapping[str, Endpoint] = {}
        """The endpoints of the path by method, when it has none for this one."""
        self.refusal: AetherraError | None = None
        self.request_id = ""
        self.identity: Identity | None = None
        self.address = ""
        """Where the client is, as far as that can be known; empty for the console."""
        self.local = False
        """The client is on this machine."""
        self.cors: dict[str, str] = {}
        self.rate: dict[str, str] = {}
        """Headers that say how often the client may still ask."""
        self.upgrade = False
        """The request asks for a WebSocket."""

    @property
    def dialect(self) -> str:
        """The dialect in which this request is refused: that of the path, or the hub's for a path nobody owns."""
        if self.endpoint is not None:
            return self.endpoint.dialect
        return next((endpoint.dialect for endpoint in self.allowed.values()), "hub")

    @property
    def caller(self) -> Caller | None:
        """Who is asking, once that is known."""
        return None if self.identity is None else self.identity.caller

    @property
    def expect_handler(self) -> Callable[[web.Request], Awaitable[web.StreamResponse | None]]:
        """Let `Expect: 100-continue` wait: the body is asked for when it is read, after the edge let it in."""
        return _not_yet

    def let_go(self) -> None:
        """Forget the endpoint: an idle connection keeps its last request, and must not keep an old generation."""
        self.endpoint = None
        self.allowed = {}


def asks_for_socket(request: web.Request) -> bool:
    """Tell whether `Upgrade` names WebSocket; other protocols are not ours, and their offer is passed over."""
    return any(part.strip().lower() == "websocket" for part in request.headers.get(UPGRADE, "").split(","))


async def _not_yet(request: web.Request) -> web.StreamResponse | None:
    return None


class _Node:
    """One segment of the paths with parameters."""

    __slots__ = ("children", "endpoints", "parameter")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.parameter: _Node | None = None
        self.endpoints: dict[str, Endpoint] = {}

    def reach(self, segments: list[str]) -> _Node:
        node = self
        for segment in segments:
            if segment.startswith("{"):
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.children.setdefault(segment, _Node())
        return node

    def walk(self, segments: list[str], at: int = 0) -> Iterator[tuple[dict[str, Endpoint], tuple[str, ...]]]:
        """Yield what fits, the more literal path first."""
        if at == len(segments):
            if self.endpoints:
                yield self.endpoints, ()
            return
        segment = segments[at]
        child = self.children.get(segment)
        if child is not None:
            yield from child.walk(segments, at + 1)
        if self.parameter is not None and segment:
            for endpoints, values in self.parameter.walk(segments, at + 1):
                yield endpoints, (segment, *values)


class PathTable:
    """All endpoints by path, built once and never changed. Paths without parameters cost one look-up."""

    def __init__(self, endpoints: Iterable[Endpoint] = ()) -> None:
        self._root = _Node()
        self._static: dict[str, dict[str, Endpoint]] = {}
        self.endpoints = tuple(endpoints)
        for endpoint in self.endpoints:
            path = endpoint.pattern.rstrip("/")
            node = self._root.reach(path.split("/")[1:])
            node.endpoints[endpoint.method] = endpoint
            if endpoint.method == "GET":
                node.endpoints.setdefault("HEAD", endpoint)
            if not endpoint.names:
                self._static[path or "/"] = self._static[path + "/"] = node.endpoints

    def find(self, method: str, raw_path: str, match: Match) -> None:
        """Fill `match` for a path as it came over the wire; each segment is percent-decoded once."""
        literal = self._static.get(raw_path)
        if literal is not None and method in literal:
            match.endpoint = literal[method]
            return
        try:
            segments = raw_path.split("/")
            if "%" in raw_path:
                # One by one, so that an escaped slash stays within its segment.
                segments = [unquote(segment, errors="strict") for segment in segments]
        except UnicodeDecodeError:
            match.refusal = BadInput("the path is not UTF-8 when its percent-escapes are decoded")
            return
        if segments[0] != "":
            return
        if segments[-1] == "":
            segments.pop()
        allowed: dict[str, Endpoint] = {}
        for endpoints, values in self._root.walk(segments[1:]):
            endpoint = endpoints.get(method)
            if endpoint is not None:
                match.endpoint, match.path_values = endpoint, values
                return
            for other, one in endpoints.items():
                allowed.setdefault(other, one)
        match.allowed = allowed


class Dispatch(AbstractResource):
    """The one resource. `table` is assigned whole; a request keeps the endpoint it found."""

    def __init__(self, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> None:
        super().__init__(name="hub")
        self.table = PathTable()
        self._route = _Route("*", handler, resource=self)

    @property
    def canonical(self) -> str:
        """The path under which aiohttp asks this resource: all of them."""
        return "/"

    async def resolve(self, request: web.Request) -> tuple[Match, set[str]]:
        """Return a match for every request; that nothing was found is said by the handler, in the right shape."""
        match = Match(self._route)
        method = request.method
        if UPGRADE in request.headers and method == "GET" and asks_for_socket(request):
            match.upgrade, method = True, SOCKET_METHOD
        self.table.find(method, request.rel_url.raw_path, match)
        return match, set()

    def url_for(self, **kwargs: str) -> NoReturn:
        """Links are made by the plugins that own the paths, never from here."""
        raise RuntimeError("the hub's resource stands for every path and makes no links")

    def add_prefix(self, prefix: str) -> None:
        """The hub is served at the root only."""
        raise RuntimeError("the hub is served at the root, not under a prefix")

    def get_info(self) -> Any:
        """Describe the resource to aiohttp."""
        return {"path": "/"}

    def raw_match(self, path: str) -> bool:
        """True for every path."""
        return True

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[AbstractRoute]:
        return iter((self._route,))


class _Route(AbstractRoute):
    @property
    def name(self) -> str | None:
        return None

    def url_for(self, *args: str, **kwargs: str) -> NoReturn:
        raise RuntimeError("the hub's resource stands for every path and makes no links")

    def get_info(self) -> Any:
        return {"path": "/"}
