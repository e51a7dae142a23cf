"""What pages of the hub's own are made of: files in memory, and a policy under which a browser loads nothing elsewhere.

Files are read at the first request for them, since a hub that is never looked at need not hold them.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from aiohttp import web

from hub.answer import Answer, header_lines
from hub.dispatch import Endpoint, Match
from kernel import NotFound

ASSETS: Final = Path(__file__).parent / "assets"
"""Where the hub's own HTML, scripts and styles lie."""

HTML: Final = "text/html; charset=utf-8"
TYPES: Final[Mapping[str, str]] = {
    ".html": HTML,
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".woff2": "font/woff2",
}

LOOK_AGAIN: Final = "no-cache"
"""A browser asks each time whether its copy is still good: for pages."""
KEEP: Final = "public, max-age=31536000, immutable"
"""A browser keeps it for a year: for files whose address names their version."""

_POLICY: Final[Mapping[str, str]] = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "font-src": "'self'",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}


def content_policy(**more: str) -> str:
    """Return a Content-Security-Policy of nothing but this origin; `style_src=` and so on add to a directive."""
    added = {name.replace("_", "-"): value for name, value in more.items()}
    rules = {name: f"{value} {added.pop(name, '')}".strip() for name, value in _POLICY.items()}
    return "; ".join(f"{name} {value}" for name, value in {**rules, **added}.items())


OWN_ORIGIN: Final = content_policy()
"""What a page may load and ask unless it says more: this origin alone."""


class File(msgspec.Struct, frozen=True):
    """A file in memory, with the tag by which a browser knows it again."""

    body: bytes
    content_type: str
    tag: str

    @classmethod
    def of(cls, body: bytes, content_type: str) -> File:
        """Return the file with a tag made from its bytes."""
        return cls(body, content_type, f'"{hashlib.sha256(body).hexdigest()[:32]}"')

    def answer(self, request: web.Request, *, cache: str, policy: str | None = None) -> Answer:
        """Return it, or 304 where the client has this very version."""
        tag = header_lines({"ETag": self.tag})
        if knows(request, self.tag):
            return Answer(304, cache=cache, headers=tag, policy=policy)
        return Answer(200, self.body, content_type=self.content_type, cache=cache, headers=tag, policy=policy)


def knows(request: web.Request, tag: str) -> bool:
    """Tell whether the request's `If-None-Match` names the tag."""
    given = request.headers.get("If-None-Match", "")
    return any(one.strip().removeprefix("W/") in (tag, "*") for one in given.split(","))


class Assets(Endpoint):
    """The scripts, styles and pictures that the hub's own pages load."""

    __slots__ = ("_files", "_loaders")

    documents: Mapping[int, tuple[str, Any]] = {200: ("*/*", bytes)}
    raises = (NotFound,)
    tagged = True

    # The pattern ends in `{name}`; `loaders` says what has which name, and is asked once for each.
    def __init__(self, pattern: str, loaders: Mapping[str, Callable[[], bytes]]) -> None:
        super().__init__("GET", pattern, anonymous=True)
        self._loaders = loaders
        self._files: dict[str, File] = {}

    async def answer(self, request: web.Request, match: Match) -> Answer:
        """Return the file, to be kept where the address names its version."""
        file = await self.file(match.path_values[0])
        return file.answer(request, cache=KEEP if "v" in request.rel_url.query else LOOK_AGAIN)

    async def file(self, name: str) -> File:
        """Return a file by its name; `NotFound` when there is none."""
        known = self._files.get(name)
        if known is None:
            load = self._loaders.get(name)
            if load is None:
                raise NotFound(f"no page of this hub has a file {name[:80]!r}", details={"name": name[:80]})
            body = await asyncio.to_thread(load)
            known = self._files[name] = File.of(body, TYPES[Path(name).suffix])
        return known


def own(name: str) -> Callable[[], bytes]:
    """Return a loader of one of the hub's own files."""
    return (ASSETS / name).read_bytes
