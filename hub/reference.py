"""The API as the hub tells it: the OpenAPI document, and the pages that show it, Swagger UI to try and ReDoc to read.

Their scripts and styles are taken out of the package `aiohttp-swagger3` (the extra `docs`), whose code never runs.
Without it the pages say how to get it.
"""

from __future__ import annotations

import asyncio
import importlib.util
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from hub.answer import JSON, NO_STORE, Answer, encode
from hub.dispatch import Endpoint, Match
from hub.pages import HTML, LOOK_AGAIN, OWN_ORIGIN, Assets, File, content_policy, own
from hub.settings import HubSettings
from kernel import Kernel, NotFound

PACKAGE: Final = "aiohttp_swagger3"
TAKEN: Final[Mapping[str, str]] = {
    "swagger-ui.css": "swagger_ui/swagger-ui.css",
    "swagger-ui-bundle.js": "swagger_ui/swagger-ui-bundle.js",
    "redoc.standalone.js": "redoc_ui/redoc.standalone.js",
    "icon.png": "swagger_ui/favicon-32x32.png",
}
"""The files that the pages need -> where they lie in the package."""

FOREIGN_PICTURE: Final = b"https://cdn.redoc.ly/redoc/logo-mini.svg"
NO_PICTURE: Final = b"data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg'/%3E"
"""ReDoc shows a picture from another host, and has no setting against it. The policy of the page would stop the
browser; so that it need not, another one stands in its place."""

OURS: Final = ("reference.css", "swagger.js", "redoc.js")

_NAMED: Final = re.compile(r"\{([a-z.-]+)\}")


def package_folder() -> Path | None:
    """Return where the package with the pages' files is installed, found without running any of it; or None."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0])


def _taken(place: str) -> Callable[[], bytes]:
    def load() -> bytes:
        found = package_folder()
        if found is None:
            raise NotFound("the files of the API pages come with the extra `docs`, which is not installed")
        return (found / place).read_bytes().replace(FOREIGN_PICTURE, NO_PICTURE)

    return load


class ReferencePage(Endpoint):
    """A page that shows the API: 503 with what is missing, and how to install it, without the extra `docs`."""

    __slots__ = ("_assets", "_file")

    documents: Mapping[int, tuple[str, Any]] = {200: ("text/html", str), 503: ("text/html", str)}
    tagged = True
    name: str
    policy: str

    def __init__(self, pattern: str, assets: Assets) -> None:
        super().__init__("GET", pattern, anonymous=True)
        self._assets = assets
        self._file: File | None = None

    async def answer(self, request: web.Request, match: Match) -> Answer:
        """Return the page; it names each file by its version, so that a browser keeps what did not change."""
        if self._file is None:
            if await asyncio.to_thread(package_folder) is None:
                # Not a page that is gone (404): it is the hub's, and there once its files are.
                missing = await asyncio.to_thread(own("reference-missing.html"))
                return Answer(503, missing, content_type=HTML, cache=NO_STORE, policy=OWN_ORIGIN)
            text = (await asyncio.to_thread(own(self.name))).decode()
            for name in dict.fromkeys(_NAMED.findall(text)):
                tag = (await self._assets.file(name)).tag
                text = text.replace(f"{{{name}}}", f"/docs/assets/{name}?v={tag[1:13]}")
            self._file = File.of(text.encode(), HTML)
        return self._file.answer(request, cache=LOOK_AGAIN, policy=self.policy)


class SwaggerPage(ReferencePage):
    """`GET /docs`: Swagger UI, which shows the API and tries it out; 503 without the extra `docs`."""

    __slots__ = ()
    name = "swagger.html"
    policy = content_policy()


class RedocPage(ReferencePage):
    """`GET /redoc`: ReDoc, which shows the API to be read; 503 without the extra `docs`."""

    # It writes styles as it goes, and searches in a worker that it makes of its own text.
    __slots__ = ()
    name = "redoc.html"
    policy = content_policy(style_src="'unsafe-inline'", worker_src="blob:")


class Described:
    """The document of one hub, encoded; made at the first question after a change of the table, in a thread."""

    def __init__(self, kernel: Kernel, endpoints: Callable[[], Iterable[Endpoint]]) -> None:
        self._kernel = kernel
        self._endpoints = endpoints
        self._made: tuple[int, File] | None = None
        self._making = asyncio.Lock()

    async def file(self) -> File:
        """Return the document of what is served now."""
        async with self._making:
            version = self._kernel.table.version
            if self._made is None or self._made[0] != version:
                settings = self._kernel.config.hub
                file = await asyncio.to_thread(_written, tuple(self._endpoints()), settings)
                self._made = version, file
            return self._made[1]


def _written(endpoints: tuple[Endpoint, ...], settings: HubSettings) -> File:
    from hub.openapi import document  # not at the start: few ask for it

    return File.of(encode(document(endpoints, settings)), JSON)


class ApiDocument(Endpoint):
    """`GET /openapi.json`: the OpenAPI 3.1 document of everything that this hub serves at the moment."""

    __slots__ = ("_described",)

    documents: Mapping[int, tuple[str, Any]] = {200: ("application/json", dict[str, Any])}
    tagged = True

    def __init__(self, pattern: str, described: Described) -> None:
        super().__init__("GET", pattern, public=True)
        self._described = described

    async def answer(self, request: web.Request, match: Match) -> Answer:
        """Return the document, or 304 where the client has it."""
        return (await self._described.file()).answer(request, cache=LOOK_AGAIN)


def reference_endpoints(kernel: Kernel, endpoints: Callable[[], Iterable[Endpoint]]) -> Iterable[Endpoint]:
    """Return the document, its pages and their files; `endpoints` returns what is served at the moment."""
    described = Described(kernel, endpoints)
    loaders = {name: _taken(place) for name, place in TAKEN.items()} | {name: own(name) for name in OURS}
    assets = Assets("/docs/assets/{name}", loaders)
    return (
        ApiDocument("/openapi.json", described),
        ApiDocument("/api/openapi.json", described),
        SwaggerPage("/docs", assets),
        SwaggerPage("/api/docs", assets),
        RedocPage("/redoc", assets),
        RedocPage("/api/redoc", assets),
        assets,
    )
