"""The line from a terminal to a running hub, over `HOME/hub.sock`: what the verbs of `aether` ask and print through."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hub.first_steps import command_line, of_home
from hub.home import socket_path
from kernel import AetherraError, Config, ServiceUnavailable

if TYPE_CHECKING:
    import aiohttp

LINE_BYTES = 16 * 1024 * 1024
"""The longest line of a stream, and so the largest event, that is read."""

NOT_RUNNING = "HUB_NOT_RUNNING"


class HubTerminal:
    """The terminal that a verb runs in: `async with HubTerminal(home, json=False) as terminal:`.

    A plugin's verb is given the settings as well; one of the hub itself reads none, to work beside a wrong file.
    """

    def __init__(self, home: Path, *, json: bool, config: Config | None = None) -> None:
        self._home = home
        self._config = config
        self._json = json
        self._console = Console(soft_wrap=True)
        self._open = False
        self._session: aiohttp.ClientSession | None = None

    @property
    def home(self) -> Path:
        """The hub's HOME."""
        return self._home

    @property
    def config(self) -> Config:
        """The settings that count for this command line."""
        if self._config is None:
            raise RuntimeError("this verb was started without settings")
        return self._config

    @property
    def json(self) -> bool:
        """True when the user asked for data instead of tables."""
        return self._json

    @property
    def console(self) -> Console:
        """The rich console on standard output."""
        return self._console

    def print(self, value: Any = "") -> None:
        """Print a line of text or a rich renderable; under `--json`, `value` as one line of JSON."""
        if self._json:
            sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
            sys.stdout.flush()
        else:
            # What a hub sends is text to show, never markup to obey.
            self._console.print(value, markup=False, highlight=False)

    def table(self, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Print rows under a head. A column without a word is left out, and only the last one is cut to fit."""
        cells = [[_cell(value) for value in row] for row in rows]
        shown = [n for n in range(len(head)) if any(row[n].plain for row in cells)] or list(range(len(head)))
        widths = {n: max([len(head[n]), *(row[n].cell_len for row in cells)]) for n in shown}
        excess = sum(width + 2 for width in widths.values()) - self._console.width  # a blank on each side
        last = shown[-1]
        widths[last] = max(len(head[last]), widths[last] - max(0, excess))
        for row in cells:
            row[last].truncate(widths[last], overflow="ellipsis")
        # Left to itself, rich would take from every column.
        table = Table(box=None, width=sum(width + 2 for width in widths.values()))
        for n in shown:
            table.add_column(head[n], no_wrap=True, width=widths[n])
        for row in cells:
            table.add_row(*(row[n] for n in shown))
        self._console.print(table, crop=False)

    async def request(self, method: str, path: str, json: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        """Ask the hub and return its decoded answer, or its text where that is no JSON; raise what it refused with."""
        async with self._ask(method, path, json, headers) as response:
            body = await _read(response, self._home)
            if response.status >= 400:
                raise _error(response.status, body)
            return body

    async def stream(
        self,
        path: str,
        *,
        method: str = "GET",
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        on_open: Callable[[], None] | None = None,
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield the events or values of a stream, after a call of `on_open`; raise the error that ends it."""
        async with self._ask(method, path, json, headers) as response:
            if response.status >= 400:
                raise _error(response.status, await _read(response, self._home))
            if on_open is not None:
                on_open()
            topic, data = "", b""
            while line := await _next_line(response, self._home):
                text = line.rstrip(b"\r\n")
                if text.startswith(b"event:"):
                    topic = text[6:].strip().decode()
                elif text.startswith(b"data:"):
                    data += text[5:].strip()
                elif not text and data:
                    value = msgspec.json.decode(data)
                    if topic == "error":
                        raise AetherraError.from_plain(value)
                    if topic == "stream.end":
                        return
                    yield value
                    topic, data = "", b""

    def _ask(self, method: str, path: str, json: Any, headers: Mapping[str, str] | None) -> Any:
        if not self._open:
            raise RuntimeError("the terminal is not open: use it in `async with`")
        if self._session is None:
            self._session = _session(self._home)
        given = dict(headers or {})
        body = None
        if json is not None:
            body = msgspec.json.encode(json)
            given.setdefault("Content-Type", "application/json")
        return _Asked(self._session.request(method, f"http://localhost{path}", data=body, headers=given), self._home)

    async def __aenter__(self) -> HubTerminal:
        self._open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        if self._session is not None:
            await self._session.close()


def _session(home: Path) -> aiohttp.ClientSession:
    import aiohttp  # a fifth of a second, and verbs that ask no hub never need it

    return aiohttp.ClientSession(
        connector=aiohttp.UnixConnector(str(socket_path(home))),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
        read_bufsize=LINE_BYTES,
    )


def _cell(value: Any) -> Text:
    return value.copy() if isinstance(value, Text) else Text("" if value is None else str(value))


class _Asked:
    """A request under way; that nobody listens is said in words."""

    def __init__(self, asked: Any, home: Path) -> None:
        self._asked = asked
        self._home = home

    async def __aenter__(self) -> aiohttp.ClientResponse:
        import aiohttp

        try:
            response: aiohttp.ClientResponse = await self._asked.__aenter__()
        except aiohttp.ClientConnectorError:
            raise not_running(self._home) from None
        except aiohttp.ClientError:
            raise went_away(self._home) from None
        return response

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._asked.__aexit__(kind, error, trace)


def not_running(home: Path) -> ServiceUnavailable:
    """Return the error for a HOME without a hub: how to start one."""
    return ServiceUnavailable(
        f"no hub is running on {home}; start one with: {command_line('serve', *of_home(home))}",
        details={"home": str(home)},
        code=NOT_RUNNING,
    )


def went_away(home: Path) -> ServiceUnavailable:
    """Return the error for a hub that ended while it was spoken to."""
    return ServiceUnavailable(
        f"the hub on {home} ended before it had answered; its log says why",
        details={"home": str(home)},
        code=NOT_RUNNING,
    )


async def _next_line(response: aiohttp.ClientResponse, home: Path) -> bytes:
    import aiohttp

    try:
        return await response.content.readuntil(b"\n")
    except aiohttp.ClientError:
        raise went_away(home) from None


async def _read(response: aiohttp.ClientResponse, home: Path) -> Any:
    import aiohttp

    try:
        raw = await response.read()
    except aiohttp.ClientError:
        raise went_away(home) from None
    if response.content_type != "application/json":
        return raw.decode("utf-8", "replace")
    return msgspec.json.decode(raw) if raw else None


def _error(status: int, body: Any) -> AetherraError:
    """Return the error that an answer stands for, whatever the dialect it is worded in."""
    fields = body if isinstance(body, dict) else {}
    message = fields.get("message") or fields.get("detail") or fields.get("error") or f"the hub answered {status}"
    details = fields.get("details")
    return AetherraError.from_plain(
        {
            "kind": _KIND_OF_STATUS.get(status, ""),
            "code": fields.get("code"),
            "message": str(message),
            "details": details if isinstance(details, dict) else {},
        }
    )


_KIND_OF_STATUS = {
    400: "BAD_INPUT",
    401: "UNAUTHENTICATED",
    403: "CAPABILITY_DENIED",
    404: "NOT_FOUND",
    409: "CONFLICT",
    410: "GONE",
    413: "BODY_TOO_LARGE",
    503: "SERVICE_UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
    507: "STORAGE_FULL",
}
