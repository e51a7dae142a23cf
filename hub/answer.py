"""`Answer`: a whole response, head and body written in one block; and the headers that every response has."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, cast

import msgspec
from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.web_request import BaseRequest

from kernel import VERSION, ContractError

JSON: Final = "application/json; charset=utf-8"

LOADS_NOTHING: Final = "default-src 'none'; frame-ancestors 'none'"
"""The Content-Security-Policy of every response that does not bring its own (`hub.pages`)."""

SECURITY: Final[Mapping[str, str]] = {
    "X-Hub-Version": VERSION,
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": LOADS_NOTHING,
    "Referrer-Policy": "no-referrer",
}
"""On every response, whatever the dialect (threat model, section 6)."""

NO_STORE: Final = "no-store"

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_OURS = frozenset({"content-length", "transfer-encoding", "connection", "date", "x-request-id", "x-hub-version"})

_encode = msgspec.json.Encoder(decimal_format="number").encode


def header_lines(headers: Mapping[str, str]) -> bytes:
    """Return headers as lines; a name or value that could begin another line is refused with `ContractError`."""
    lines = []
    for name, value in headers.items():
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ContractError(f"the response header {name[:40]!r} has a name or value that HTTP does not allow")
        lines.append(f"{name}: {value}\r\n")
    return "".join(lines).encode("latin-1")


def _status_line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unknown"
    return f"HTTP/1.1 {status} {phrase}\r\n".encode("ascii")


_starts: dict[tuple[int, str, str, str], bytes] = {}
STARTS_KEPT = 256


def _start(key: tuple[int, str, str, str]) -> bytes:
    """Return the head up to what differs between two responses of a kind; the common kinds are remembered."""
    status, content_type, cache, policy = key
    common = header_lines({**SECURITY, "Content-Security-Policy": policy})
    start = _status_line(status) + common + b"Cache-Control: %b\r\n" % cache.encode("latin-1")
    if content_type:
        start += b"Content-Type: %b\r\n" % content_type.encode("latin-1")
    if len(_starts) < STARTS_KEPT:
        _starts[key] = start
    return start


class _Date:
    """The `Date` line, made once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._line = b""

    def line(self) -> bytes:
        now = int(time.time())
        if now != self._second:
            self._second = now
            self._line = time.strftime("Date: %a, %d %b %Y %H:%M:%S GMT\r\n", time.gmtime(now)).encode("ascii")
        return self._line


_date = _Date()


def encode(value: Any) -> bytes:
    """Return `value` as JSON; a value that JSON cannot carry is the plugin's fault: `ContractError`."""
    try:
        return _encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise ContractError(f"a result cannot be written as JSON: {error}") from error


class Answer(web.StreamResponse):
    """A response whose body is known. It becomes one block of bytes and one write; a HEAD gets the head alone."""

    # aiohttp's own constructor builds a multidict for each response, which nothing here reads.
    def __init__(
        self,
        status: int,
        body: bytes = b"",
        *,
        content_type: str = JSON,
        cache: str = NO_STORE,
        headers: bytes = b"",
        policy: str | None = None,
        close: bool = False,
    ) -> None:
        self._status = status
        self._block_body = body
        self._content_type_text = content_type
        self._cache_text = cache
        self._policy = policy or LOADS_NOTHING
        self._extra = headers
        self._keep_alive = False if close else None
        self._request: BaseRequest | None = None
        self.request_id = ""

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"<Answer {self._status}, {len(self._block_body)} bytes>"

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._status

    @property
    def prepared(self) -> bool:
        """True once aiohttp began to send it."""
        return self._request is not None

    @property
    def body(self) -> bytes:
        """The body as it is sent."""
        return self._block_body

    def add_header(self, name: str, value: str) -> None:
        """Add one header line."""
        self._extra += header_lines({name: value})

    def head(self, request_id: str, *, closing: bool) -> bytes:
        """Return status line and headers, with the empty line that ends them."""
        body = self._block_body
        key = (self._status, self._content_type_text if body else "", self._cache_text, self._policy)
        start = _starts.get(key) or _start(key)
        length = b"" if self._status in (204, 304) else b"Content-Length: %d\r\n" % len(body)
        end = b"Connection: close\r\n\r\n" if closing else b"\r\n"
        return b"%b%b%bX-Request-Id: %b\r\n%b%b" % (
            start,
            _date.line(),
            length,
            request_id.encode(),
            self._extra,
            end,
        )

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        """Note the request; nothing is sent before the whole block can be."""
        self._request = request
        if self._keep_alive is None:
            self._keep_alive = request.keep_alive
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Write the block, and wait only when the client is slow."""
        request, self._request = self._request, None
        if request is None:
            return
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client is gone")
        # HTTP/1.0 with keep-alive would need a header of its own; closing is always right.
        if request.version != HttpVersion11:
            self._keep_alive = False
        # What the parser refused never reached the edge, and so has no match with an id.
        request_id = self.request_id or cast(Any, request).match_info.request_id
        block = self.head(request_id, closing=not self._keep_alive)
        if request.method != "HEAD":
            block += self._block_body
        transport.write(block)
        writer = cast(Any, request.writer)
        writer.output_size += len(block)
        if request.protocol.writing_paused:
            await cast(Any, request.protocol).drain()


def json_answer(value: Any, status: int = 200, *, headers: bytes = b"", close: bool = False) -> Answer:
    """Return `value` as a JSON response that nobody may store."""
    return Answer(status, encode(value), headers=headers, close=close)


def check_reply_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return a handler's own headers; those that belong to the hub are refused with `ContractError`."""
    for name in headers:
        if name.lower() in _OURS:
            raise ContractError(f"a handler cannot set the response header {name}: it is the hub's")
    return dict(headers)
