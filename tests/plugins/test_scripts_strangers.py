"""A worker that was taken over says whatever it likes: its job ends once all the same, and the hub goes on."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from kernel import Caller, Kernel
from kernel.testing import ALLOW_ALL, running_kernel
from kernel.workers import Program, interpreter

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEEPER = '''
"""Stands for the plugin executions: keeps what it is told."""
from typing import Any
from kernel import Context, Plugin, needs

keeper = Plugin("keeper", version="1.0.0")
told: list[Any] = []

@keeper.service("executions")
class Executions:
    @needs("system:admin")
    async def report(self, ctx: Context, id: str, attempt: int, entries: list[dict[str, Any]]) -> None:
        told.append(["report", entries])

    @needs("system:admin")
    async def finish(self, ctx: Context, id: str, attempt: int, how: str, result: Any, error: Any) -> bool:
        told.append(["finish", how, result, error])
        return True

    @needs("system:admin")
    async def all(self, ctx: Context) -> list[Any]:
        found, told[:] = list(told), []
        return found
'''

STRANGER = """
import socket, struct, sys
fd = int(sys.argv[sys.argv.index("--fd") + 1])
with socket.socket(fileno=fd) as s:
    def send(body):
        s.sendall(struct.pack(">I", len(body)) + body)
    send(b"\\x81\\xa1t\\xa5ready")
    while True:
        head = s.recv(4, socket.MSG_WAITALL)
        if len(head) < 4:
            break
        frame = s.recv(struct.unpack(">I", head)[0], socket.MSG_WAITALL)
        at = frame.index(b"FRAMES") + 6
        (count,) = struct.unpack_from(">I", frame, at)
        at += 4
        for _ in range(count):
            (size,) = struct.unpack_from(">I", frame, at)
            send(frame[at + 4:at + 4 + size])
            at += 4 + size
            if b"\\xa1t\\xa4call" in frame[at - size:at]:
                answer = s.recv(4, socket.MSG_WAITALL)
                s.recv(struct.unpack(">I", answer)[0], socket.MSG_WAITALL)
"""
"""A worker that sends the frames that its job names, one after the other, and waits for the answer to a call."""


@dataclass
class Cell:
    """Runs whose worker says what the test wants."""

    kernel: Kernel
    package: ModuleType
    program: Program
    jobs: int = 0

    async def said(self, *bodies: dict[str, Any], done: Any = None) -> list[Any]:
        """Return what executions is told of a run whose worker sends these events and calls, and then its outcome."""
        self.jobs += 1
        ctx = self.kernel.context(Caller("core:scripts"))
        runs = sys.modules[f"{self.package.__name__}.runs"]  # as an attribute it is the runs under way
        limits = self.package.limits.SHIPPED
        caller = {"id": "user:ada", "roles": [], "scopes": None, "via": []}
        execution = {"id": f"job-{self.jobs}", "attempt": 1, "caller": caller, "trace": "t"}
        state = runs.begin(execution, "stranger.aether")
        state["limits"], state["due"] = dict(limits), ctx.clock.monotonic() + 60
        state["log_left"], state["output_left"] = 20, 1024
        library = self.package.library.Library([], 512)
        run = runs.Run(state, ctx, library, None)
        frames = [msgspec.msgpack.encode(body) for body in (*bodies, {"t": "done", "id": 1, "body": done})]
        sent = b"FRAMES" + len(frames).to_bytes(4, "big") + b"".join(len(f).to_bytes(4, "big") + f for f in frames)
        pool = self.kernel.workers.pool(self.program)
        run.attach(pool.submit(sent, serve=run.serve, told=run.told))
        state["begun"].set()
        async with asyncio.timeout(10):
            await run.watch()
        found: list[Any] = await ctx.service("executions").all()
        return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cell(
    tmp_path_factory: pytest.TempPathFactory, load_plugin: Callable[[str], ModuleType]
) -> AsyncIterator[Cell]:
    home: Path = tmp_path_factory.mktemp("strangers")
    (home / "stranger.py").write_text(STRANGER)
    program = Program("stranger", interpreter(str(home / "stranger.py"), ()), warm=1, most=1, jobs_each=1)
    async with running_kernel(home, plugins={"keeper": KEEPER, "allow_all": ALLOW_ALL}) as kernel:
        yield Cell(kernel, load_plugin("scripts"), program)


def call(number: int, body: Any) -> dict[str, Any]:
    return {"t": "call", "id": number, "body": body}


def event(body: Any) -> dict[str, Any]:
    return {"t": "event", "body": body}


COMPLETED = {"state": "completed", "result": 1}


async def test_an_honest_outcome_is_recorded(cell: Cell) -> None:
    assert await cell.said(done=COMPLETED) == [["finish", "completed", 1, None]]
    assert await cell.said(done={"state": "cancelled"}) == [["finish", "cancelled", None, None]]


@pytest.mark.parametrize(
    "done",
    [
        None,
        5,
        [],
        {},
        {"state": "running"},
        {"state": ["completed"]},
        {"state": "failed", "error": [1]},
        {"state": "failed", "error": "no"},
        {"state": "completed", "result": {b"a key of bytes": 1}},
        {"state": "failed", "error": {"data": {b"a key of bytes": 1}}},
        {"state": "completed", "private": {"a": 1}},
    ],
)
async def test_an_outcome_that_cannot_be_read_fails_the_job(cell: Cell, done: Any) -> None:
    ((what, how, result, error),) = await cell.said(done=done)
    assert (what, how, result) == ("finish", "failed", None)
    assert (error["code"], error["type"]) == ("WORKER_LOST", "InternalError")


@pytest.mark.parametrize(
    "error",
    [{}, {"type": 5, "message": [], "line": True, "stack": {}}, {"line": 2**63, "column": "x", "stack": [[1], {}]}],
)
async def test_an_error_that_is_made_up_still_has_a_code_and_a_message(cell: Cell, error: dict[str, Any]) -> None:
    ((_, how, _, failure),) = await cell.said(done={"state": "failed", "error": error})
    assert how == "failed"
    assert failure["code"]
    assert isinstance(failure["message"], str)


async def test_records_of_any_shape_are_kept_as_text_or_not_at_all(cell: Cell) -> None:
    told = await cell.said(
        event(None),
        event(5),
        event({"kind": "else"}),
        event({"kind": "log"}),
        event({"kind": "log", "level": ["x"] * 100, "message": {"a": 1}, "at": [1, "2", 3]}),
        event({"kind": "log", "message": "at a place", "at": ["f" * 1000, 2, "x", 4]}),
        event({"kind": "output", "line": {"a": 1}}),
        done=COMPLETED,
    )
    lines = [line for what, *rest in told if what == "report" for line in rest[0]]
    assert [line["topic"] for line in lines] == ["job.log"] * 3 + ["job.output"]
    assert lines[1]["data"] == {"level": str(["x"] * 100)[:20], "message": "{'a': 1}"}
    assert lines[2]["data"] == {"level": "info", "message": "at a place", "file": "f" * 300, "line": 2, "column": None}
    assert told[-1] == ["finish", "completed", 1, None]


async def test_lines_that_cannot_be_kept_do_not_keep_the_job_from_its_end(
    cell: Cell, caplog: pytest.LogCaptureFixture
) -> None:
    told = await cell.said(
        call(1, {"op": "metrics.record", "args": {"values": {"x": {b"a key of bytes": 1}}}}),
        event({"kind": "output", "line": "after"}),
        done=COMPLETED,
    )
    assert "1 lines of its history could not be kept" in caplog.text
    assert told[0] == ["report", [{"topic": "job.output", "data": {"text": "after"}}]]
    assert told[-1] == ["finish", "completed", 1, None]


async def test_a_worker_floods_its_history_up_to_the_bound_and_no_further(cell: Cell) -> None:
    told = await cell.said(
        *[event({"kind": "log", "message": str(n)}) for n in range(100)],
        *[event({"kind": "output", "line": "x" * 99}) for n in range(100)],
        done=COMPLETED,
    )
    lines = [line for what, *rest in told if what == "report" for line in rest[0]]
    logged = [line["data"]["message"] for line in lines if line["topic"] == "job.log"]
    printed = [line["data"]["text"] for line in lines if line["topic"] == "job.output"]
    assert logged == [*map(str, range(20)), "the log is full, later records are dropped"]
    assert printed == ["x" * 99] * 10 + ["x" * 24 + " [output cut]"]


@pytest.mark.parametrize("args", [None, 5, [], {}, {"path": 5}, {"path": "../x"}, {"path": "x" * 10_000}])
async def test_a_module_that_cannot_be_one_is_refused_and_the_run_goes_on(cell: Cell, args: Any) -> None:
    told = await cell.said(call(1, {"op": "module.load", "args": args}), done=COMPLETED)
    assert told == [["finish", "completed", 1, None]]


async def test_a_worker_that_breaks_the_protocol_is_killed_and_its_job_says_so(cell: Cell) -> None:
    for frame in (call(0, {}), {"t": "ready"}, {"t": "done", "id": 7}, {"t": "x"}, {}):
        ((_, how, _, error),) = await cell.said(frame, done=COMPLETED)
        assert (how, error["code"]) == ("failed", "WORKER_LOST")
        assert "no place here" in error["message"]
