"""A whole hub on real sockets, with a plugin that has a route for everything the web side must do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from devtools import Browser, Visit, chromium
from raw_socket import HANDSHAKE, Answered, RawSocket, read_response, slow_connection

from hub.serve import Server
from hub.settings import HubSettings
from kernel import Clock, Kernel
from kernel.testing import ALLOW_ALL, kernel_config

PROBE = '''
"""probe has a route for everything the web side must do."""
import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec

from kernel import BadInput, Conflict, Context, EventStream, NotAvailable, NotFound, Overloaded, Plugin, Reply

probe = Plugin("probe", version="1.0.0")
closed: list[str] = []
gate = asyncio.Event()


class Item(msgspec.Struct):
    name: str
    size: int = 0


@probe.get("/api/probe/plain")
async def plain() -> dict[str, str]:
    return {"is": "plain"}

@probe.get("/api/probe/items/{name}")
async def item(name: str, count: int = 1, tags: list[str] = [], deep: bool = False) -> dict[str, Any]:
    return {"name": name, "count": count, "tags": tags, "deep": deep}

@probe.post("/api/probe/items/special")
async def special() -> str:
    return "special"

@probe.post("/api/probe/items")
async def create(item: Item, note: str | None = None) -> Reply:
    return Reply(item, status=201, headers={"Location": f"/api/probe/items/{item.name}"})

@probe.put("/api/probe/items/{name}")
async def replace(name: str, size: int, async_: bool = False) -> dict[str, Any]:
    return {"name": name, "size": size, "async": async_}

@probe.delete("/api/probe/items/{name}", status=204)
async def delete(name: str, force: bool = False) -> None:
    return None

@probe.post("/api/probe/free")
async def free(note: str = "none") -> dict[str, str]:
    return {"note": note}

@probe.post("/api/probe/upload")
async def upload(data: bytes) -> dict[str, int]:
    return {"bytes": len(data)}

@probe.get("/api/probe/text")
async def text() -> Reply:
    return Reply("a,b", headers={"Content-Type": "text/csv", "Cache-Control": "no-cache"})

@probe.get("/api/probe/whoami")
async def whoami(ctx: Context) -> dict[str, Any]:
    return {"caller": ctx.chain.caller.id, "roles": list(ctx.chain.caller.roles), "trace": ctx.trace}

@probe.post("/api/probe/key")
async def key(ctx: Context) -> dict[str, Any]:
    return {"key": ctx.idempotency_key}

@probe.get("/api/probe/slow")
async def slow() -> str:
    await gate.wait()
    return "done"

@probe.get("/api/probe/patient", deadline_s=60)
async def patient() -> str:
    await gate.wait()
    return "at last"

@probe.get("/api/probe/hasty", deadline_s=0.05)
async def hasty() -> str:
    await gate.wait()
    return "never"

@probe.post("/api/probe/open")
async def open_gate() -> None:
    gate.set()

@probe.get("/api/probe/bug")
async def bug() -> str:
    return {}["nothing"]

@probe.get("/api/probe/unwritable")
async def unwritable() -> Any:
    return object()

@probe.get("/api/probe/number")
async def number(x: float = 0.0, several: list[float] = []) -> Any:
    return [x, several]

@probe.get("/api/probe/status")
async def status(code: int) -> Reply:
    return Reply(None, status=code)

@probe.get("/api/probe/large")
async def large(mb: int) -> str:
    return "x" * mb * 1_000_000

@probe.get("/api/probe/exit")
async def leave() -> None:
    raise SystemExit(3)

@probe.get("/api/probe/split")
async def split() -> Reply:
    return Reply(None, headers={"X-A": "b\\r\\nX-Evil: c"})

@probe.post("/api/probe/emit")
async def emit(ctx: Context, topic: str, data: Any = None, times: int = 1) -> dict[str, int]:
    first = None
    for n in range(times):
        event = await ctx.publish(topic, data if data is not None else {"n": n})
        first = first or event.seq
    return {"first": first, "last": ctx.position()}

@probe.get("/api/probe/watch")
async def watch(topics: str, run: str | None = None, since: int | None = None, until: str = "") -> EventStream:
    where = {"run": run} if run else {}
    return EventStream(tuple(topics.split(",")), where=where, since=since, until=frozenset(filter(None, [until])))

@probe.post("/api/probe/ticks")
async def ticks(count: int, wait: bool = False, fail: str = "") -> AsyncIterator[dict[str, int]]:
    try:
        if fail == "first":
            raise NotFound("no ticks here", code="NO_TICKS")
        for n in range(count):
            yield {"n": n}
        if wait:
            await asyncio.Event().wait()
        if fail == "told":
            raise Conflict("the clock stopped", code="CLOCK_STOPPED", details={"at": count})
        if fail == "bug":
            raise RuntimeError("secret words")
    finally:
        closed.append("ticks")

@probe.get("/api/probe/closed")
async def was_closed() -> list[str]:
    return closed


for dialect in ("scripts", "aimos", "aurora", "executions"):
    async def documented(name: str, kind: str = "not_found") -> dict[str, str]:
        if kind == "not_found":
            raise NotFound("no such script", code="SCRIPT_NOT_FOUND", details={"script_name": name})
        if kind == "typed":
            raise NotFound("no such script", details={"type": "ScriptNotFound", "script_name": name})
        if kind == "bad":
            raise BadInput("name is too short", details={"field": "name"})
        if kind == "rate":
            raise Overloaded("too many", code="RATE_LIMITED", retry_after_s=60)
        if kind == "off":
            raise NotAvailable("switched off; set AI=1")
        if kind == "absent":
            raise NotAvailable("not there", code="NOT_IMPLEMENTED")
        if kind == "bug":
            raise RuntimeError("secret words")
        return {"name": name}
    documented.__name__ = dialect
    # The AIMOS document wants a token of everybody, and there are none in this house.
    early = {"anonymous": True, "needs": "health:read"} if dialect == "aimos" else {}
    probe.post("/" + dialect + "/things", dialect=dialect, documented=True, **early)(documented)
'''


class Running:
    """A hub under test."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.port = server.port

    @property
    def kernel(self) -> Kernel:
        """Its kernel."""
        return self.server.kernel

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection to it."""
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str | None] | None = None,
        *,
        raw: bytes | None = None,
        socket: bool = False,
    ) -> Answered:
        """Send one request, with `body` as JSON, and return the answer. A header of None is left out."""
        content = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        sent: dict[str, str | None] = {"Host": f"localhost:{self.port}", "Connection": "close"}
        if raw is not None or body is not None:
            sent["Content-Type"] = "application/json"
            sent["Content-Length"] = str(len(content))
        sent.update(headers or {})
        lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in sent.items() if v is not None)]
        if socket:
            home = self.kernel.config.paths.home
            reader, writer = await asyncio.open_unix_connection(str(home / "hub.sock"))
        else:
            reader, writer = await self.connect()
        try:
            writer.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + content)
            return await read_response(reader, head_only=method == "HEAD")
        finally:
            writer.close()
            await writer.wait_closed()

    @asynccontextmanager
    async def socket(
        self,
        path: str,
        headers: Mapping[str, str | None] | None = None,
        *,
        first: bytes = b"",
        console: bool = False,
        buffer: int = 0,
    ) -> AsyncIterator[RawSocket]:
        """Open a WebSocket, or be refused: `answered` says which. `first` is sent with the handshake.

        `buffer` is how many bytes the system receives ahead of the client, about.
        """
        sent = {"Host": f"localhost:{self.port}", **HANDSHAKE, **(headers or {})}
        lines = [f"GET {path} HTTP/1.1", *(f"{k}: {v}" for k, v in sent.items() if v is not None)]
        if console:
            reader, writer = await asyncio.open_unix_connection(str(self.kernel.config.paths.home / "hub.sock"))
        elif buffer:
            reader, writer = await slow_connection(self.port, buffer)
        else:
            reader, writer = await self.connect()
        try:
            writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + first)
            async with asyncio.timeout(5):
                answered = await read_response(reader)
            yield RawSocket(answered, reader, writer)
        finally:
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)

    @asynccontextmanager
    async def stream(
        self, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[Stream]:
        """Open a stream; GET, or POST when there is a body."""
        content = b"" if body is None else json.dumps(body).encode()
        sent = {"Host": f"localhost:{self.port}", **(headers or {})}
        if body is not None:
            sent |= {"Content-Type": "application/json", "Content-Length": str(len(content))}
        method = "GET" if body is None else "POST"
        reader, writer = await self.connect()
        try:
            head = "\r\n".join([f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in sent.items())])
            writer.write(head.encode() + b"\r\n\r\n" + content)
            answered = await read_response(reader)
            yield Stream(answered, reader, writer)
        finally:
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)


class Stream:
    """An open stream of server-sent events."""

    def __init__(self, answered: Answered, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.answered = answered
        self.writer = writer
        self._reader = reader
        self._buffer = b""
        self.ended = False

    async def message(self) -> dict[str, Any] | None:
        """Return the next message as its fields, `data` decoded; None at the end. Pings are passed over."""
        while True:
            while b"\n\n" not in self._buffer:
                if not await self._chunk():
                    return None
            block, _, self._buffer = self._buffer.partition(b"\n\n")
            fields: dict[str, Any] = {}
            for line in block.decode().split("\n"):
                name, _, value = line.partition(": ")
                if name:
                    fields[name] = json.loads(value) if name == "data" else value
            if fields:
                return fields

    async def _chunk(self) -> bool:
        try:
            size = int(await self._reader.readuntil(b"\r\n"), 16)
        except asyncio.IncompleteReadError:
            return False
        data = await self._reader.readexactly(size + 2)
        self._buffer += data[:-2]
        return size > 0


Start = Callable[..., AbstractAsyncContextManager[Running]]


@asynccontextmanager
async def running_hub(
    home: Path,
    *,
    policy: str = ALLOW_ALL,
    plugins: Mapping[str, str] | None = None,
    bundled: Iterable[str] | None = (),
    limits: Mapping[str, Any] | None = None,
    events: Mapping[str, Any] | None = None,
    clock: Clock | None = None,
    **settings: Any,
) -> AsyncIterator[Running]:
    """Run a hub in `home` with the probe and `plugins`; `settings` are those of `[hub]`, `limits` of `[limits]`, and
    `events` of `[events]`.
    """
    sources = {"probe": PROBE, "allow_all": policy, **(plugins or {})}
    overrides = {f"hub.{name}": value for name, value in {"port": 0, **settings}.items()}
    overrides |= {f"limits.{name}": value for name, value in (limits or {}).items()}
    overrides |= {f"events.{name}": value for name, value in (events or {}).items()}
    config = kernel_config(home, plugins=sources, bundled=bundled, overrides=overrides, sections={"hub": HubSettings})
    server = Server(Kernel(config, clock=clock))
    await server.start()
    try:
        yield Running(server)
    finally:
        await server.stop()


@pytest.fixture
async def start_hub(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Start hubs with settings of one's own; they stop after the test."""
    async with AsyncExitStack() as stack:
        count = 0

        async def start(**settings: Any) -> Running:
            nonlocal count
            count += 1
            home = settings.pop("home", tmp_path / f"home{count}")
            return await stack.enter_async_context(running_hub(home, **settings))

        yield start


@pytest.fixture
async def hub(start_hub: Callable[..., Any]) -> Running:
    """A hub with the default settings."""
    return await start_hub()  # type: ignore[no-any-return]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def started(need: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    """A headless Chromium, for the tests of one file."""
    async with chromium(need("chromium"), tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def browser(started: Browser) -> AsyncIterator[Visit]:
    """The browser as one has it who has just started it."""
    async with started.visit() as visit:
        yield visit
