"""Child processes that run what must not run in the hub, and the frames spoken with them.

The kernel knows frames, limits and processes; what the program inside means by a body is the business of the plugin
that named it. A worker is started by `exec` with an empty environment, closed descriptors but one socket, and a process
group of its own. Its identity is that socket: whatever it says, it says as the job it was given. A worker that breaks
the protocol, dies, or does not obey a soft stop is killed and replaced, and its job fails clearly.

A frame is four bytes of length, big-endian, and that many bytes of msgpack: a map whose `t` says what it is.

    hub → worker   {t: "job", id, body}   {t: "result", id, ok, body}   {t: "cancel", id}
    worker → hub   {t: "ready"}   {t: "call", id, body}   {t: "event", body}   {t: "done", id, ok, body}

A job's id is the hub's, a call's id the worker's, both rising. A call waits for its result; an event does not.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import struct
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal
from weakref import WeakSet

import msgspec

from kernel.clock import Clock
from kernel.errors import AetherraError, Overloaded, PluginError, ServiceUnavailable

log = logging.getLogger("kernel.workers")

DEPTH = 32
STDERR_KEPT = 8 * 1024
CLOSED_S = 0.2
"""How long a worker may live on without its socket."""
_LENGTH = struct.Struct(">I")


class WorkerLost(PluginError):
    """The process of a job died, was killed, or broke the protocol; `details.reason` says which."""

    default_code = "WORKER_LOST"


class Program(msgspec.Struct, frozen=True):
    """What runs in a pool's processes, and how long and how much of it is tolerated."""

    name: str
    argv: tuple[str, ...]
    """The interpreter's arguments; `--fd N` is added."""
    warm: int = 1
    """How many idle processes are kept ready."""
    most: int = 4
    """How many may live at a time; further jobs wait in order."""
    queue: int = 10_000
    jobs_each: int = 50
    """After so many jobs a process is replaced."""
    frame_kb: int = 1024
    """The largest frame that it may send."""
    sent_kb: int = 8 * 1024
    """The largest frame that it is sent: a job, or the answer to a call."""
    outstanding: int = 64
    """Calls that a worker may have open at a time."""
    start_s: float = 10.0
    soft_stop_ms: int = 500
    """How long a cancelled job may take to obey before its process is killed."""


class _Frames(asyncio.Protocol):
    """Cuts the byte stream into frames and decodes them; anything that is not one is a fault."""

    def __init__(
        self,
        program: Program,
        received: Callable[[dict[str, Any]], None],
        lost: Callable[[str], None],
        closed: Callable[[], None],
    ) -> None:
        self._limit = program.frame_kb * 1024
        self._send_limit = program.sent_kb * 1024
        self._received = received
        self._lost = lost
        self._closed = closed
        self._buffer = bytearray()
        self._decoder = msgspec.msgpack.Decoder(dict[str, Any], ext_hook=_no_extensions)
        self._encoder = msgspec.msgpack.Encoder()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= 4:
            (length,) = _LENGTH.unpack_from(buffer, start)
            if length > self._limit:
                self._lost(f"it sent a frame of {length} bytes; at most {self._limit} are allowed")
                return
            if len(buffer) - start - 4 < length:
                break
            try:
                frame = self._decoder.decode(memoryview(buffer)[start + 4 : start + 4 + length])
                _shallow(frame)
            except (msgspec.DecodeError, ValueError, RecursionError) as error:
                self._lost(f"it sent a frame that is no plain msgpack map: {error}")
                return
            start += 4 + length
            self._received(frame)
        del buffer[:start]

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed()

    def send(self, frame: dict[str, Any]) -> None:
        """Write one frame; raise `ValueError` where the data is too large or not plain."""
        try:
            body = self._encoder.encode(frame)
        except OverflowError as error:  # a whole number beyond 64 bits
            raise ValueError(str(error)) from None
        if len(body) > self._send_limit:
            raise ValueError(f"{len(body)} bytes do not fit into a frame of {self._send_limit}")
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(_LENGTH.pack(len(body)) + body)

    def close(self) -> None:
        """Close the socket; a well-behaved worker then ends."""
        if self._transport is not None:
            self._transport.abort()


def _no_extensions(code: int, _data: memoryview) -> Any:
    raise ValueError(f"extension type {code} is not allowed")


def _shallow(value: Any) -> None:
    level: list[Any] = [value]
    for _ in range(DEPTH):
        level = [
            inner
            for item in level
            if isinstance(item, dict | list)
            for inner in (item.values() if isinstance(item, dict) else item)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise ValueError(f"it is nested deeper than {DEPTH}")


Serve = Callable[[Any], Awaitable[Any]]
"""Answers a worker's call: plain data in, plain data out; an `AetherraError` becomes the call's error.

In the place of the answer it may give an awaitable of the kernel's own that ends with it, such as a sleep: while that
is awaited nothing of the plugin is on the stack, so a long wait keeps no retired generation in memory.
"""
Told = Callable[[Any], None]
"""Takes a worker's event."""


class Job:
    """Work given to a worker: await `result()`, or `cancel()` it."""

    def __init__(self, pool: Pool, body: Any, serve: Serve, told: Told) -> None:
        self.body = body
        self.serve = serve
        self.told = told
        self.state: Literal["waiting", "running", "ended"] = "waiting"
        self.cancelled = False
        self.pid: int | None = None
        self._pool = pool
        self._done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._worker: _Worker | None = None

    async def result(self) -> Any:
        """Return the body of the worker's `done`; raise `WorkerLost` when the process did not get that far."""
        return await asyncio.shield(self._done)

    def cancel(self) -> None:
        """Ask the worker to stop; one that does not obey within the program's `soft_stop_ms` is killed."""
        self.cancelled = True
        if self._worker is not None:
            self._worker.soft_stop()
        else:
            self._pool.withdraw(self)

    def kill(self, reason: str) -> None:
        """End the process at once; a job that no process has begun is taken back."""
        if self._worker is not None:
            self._worker.kill(reason)
        elif self.state == "waiting":
            self._pool.withdraw(self)

    def settle(self, body: Any = None, error: Exception | None = None) -> None:
        """Give the job its end; a second one is ignored."""
        self.state = "ended"
        self._worker = None
        if self._done.done():
            return
        if error is None:
            self._done.set_result(body)
        else:
            self._done.set_exception(error)
            self._done.exception()  # whoever awaits it sees it; one whom nobody awaits is no fault of the loop

    def attach(self, worker: _Worker) -> None:
        """Note which process runs it."""
        self.state = "running"
        self.pid = worker.pid
        self._worker = worker


class _Worker:
    """One child process and its socket."""

    def __init__(self, pool: Pool, number: int) -> None:
        self._pool = pool
        self._program = pool.program
        self.number = number
        self.pid: int | None = None
        self.jobs = 0
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._frames = _Frames(self._program, self._received, self._fault, self._closed)
        self._process: asyncio.subprocess.Process | None = None
        self._job: Job | None = None
        self._calls: set[asyncio.Task[None]] = set()
        self._last_call = 0
        self._gone = False
        self._killer: asyncio.Task[None] | None = None
        self.stderr = bytearray()
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the process and wait until it says that it is ready."""
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *self._program.argv,
                "--fd",
                str(theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=(theirs.fileno(),),
                env={},
                cwd="/",
                start_new_session=True,
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        self.pid = self._process.pid
        if self._gone:  # the pool was closed while the process was being made
            self.kill("the hub is stopping")
        await loop.connect_accepted_socket(lambda: self._frames, ours)
        self._keeper = asyncio.create_task(self._keep(), name=f"worker {self._program.name} {self.pid}")
        async with asyncio.timeout(self._program.start_s):
            await asyncio.shield(self.ready)

    async def _keep(self) -> None:
        """Collect what the process writes to its standard error, reap it, and tell the pool."""
        process = self._process
        assert process is not None
        assert process.stderr is not None
        while chunk := await process.stderr.read(4096):
            self.stderr += chunk
            del self.stderr[:-STDERR_KEPT]
        code = await process.wait()
        self._frames.close()
        self._fault(f"it was killed by signal {-code}" if code < 0 else f"it exited with {code}")
        if self.stderr:
            log.warning("worker %s %s wrote: %s", self._program.name, self.pid, self.stderr.decode(errors="replace"))
        for call in self._calls:
            call.cancel()
        if self._killer is not None:
            self._killer.cancel()
        self._pool.ended(self)

    def run(self, job: Job) -> None:
        """Give it a job."""
        self.jobs += 1
        self._job = job
        job.attach(self)
        try:
            self._frames.send({"t": "job", "id": self.jobs, "body": job.body})
        except (ValueError, TypeError, msgspec.EncodeError) as error:
            self._job = None
            job.settle(error=PluginError(f"the job cannot be handed to a worker: {error}", code="JOB_TOO_LARGE"))
            self._pool.free(self)

    def _received(self, frame: dict[str, Any]) -> None:
        kind = frame.get("t")
        if kind == "ready" and not self.ready.done():
            self.ready.set_result(None)
        elif kind == "call" and self._job is not None and self._opens(frame.get("id")):
            call = asyncio.create_task(self._answer(self._job, frame["id"], frame.get("body")))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
        elif kind == "event" and self._job is not None:
            try:
                self._job.told(frame.get("body"))
            except Exception:
                log.exception("an event of worker %s could not be taken", self.pid)
        elif kind == "done" and self._job is not None and frame.get("id") == self.jobs:
            job, self._job = self._job, None
            if self._killer is not None:
                self._killer.cancel()
                self._killer = None
            job.settle(frame.get("body"))
            for open_call in self._calls:
                open_call.cancel()  # nobody waits for their answers any more
            self._pool.free(self)
        else:
            self._fault(f"it sent a frame that has no place here: {str(kind)[:40]!r}")

    def _opens(self, call: Any) -> bool:
        if not isinstance(call, int) or call <= self._last_call or len(self._calls) >= self._program.outstanding:
            return False
        self._last_call = call
        return True

    async def _answer(self, job: Job, call: int, body: Any) -> None:
        try:
            result = await job.serve(body)
            if isinstance(result, Awaitable):
                result = await result
            answer: dict[str, Any] = {"t": "result", "id": call, "ok": True, "body": result}
        except AetherraError as error:
            answer = {"t": "result", "id": call, "ok": False, "body": error.to_plain()}
        except asyncio.CancelledError:
            raise
        except Exception:
            # What went wrong in the hub is the hub's own affair; the script hears that it did.
            log.exception("a call of worker %s failed", self.pid)
            answer = {
                "t": "result",
                "id": call,
                "ok": False,
                "body": PluginError("the call failed in the hub").to_plain(),
            }
        try:
            self._frames.send(answer)
        except (ValueError, TypeError, msgspec.EncodeError) as error:
            fault = PluginError(f"the answer does not fit: {error}", code="ANSWER_TOO_LARGE").to_plain()
            self._frames.send({"t": "result", "id": call, "ok": False, "body": fault})

    def soft_stop(self) -> None:
        """Ask for the job's end; kill the process when it does not come."""
        self._frames.send({"t": "cancel", "id": self.jobs})
        if self._killer is None:
            self._killer = asyncio.create_task(self._kill_late(self.jobs))

    async def _kill_late(self, job: int) -> None:
        # Real time on purpose: the process does not live on a test's clock.
        await asyncio.sleep(self._program.soft_stop_ms / 1000)
        if self._job is not None and self.jobs == job:
            self.kill("it did not stop when asked to")

    def _fault(self, reason: str) -> None:
        if not self._gone:
            self.kill(reason)

    def _closed(self) -> None:
        # A socket closes before the process that died is reaped, which knows why: by which signal, with which status.
        if not self._gone:
            asyncio.get_running_loop().call_later(CLOSED_S, self._fault, "it closed its socket")

    def kill(self, reason: str) -> None:
        """Kill the process group and fail its job with the reason."""
        self._gone = True
        self._frames.close()
        if self._process is not None and self._process.returncode is None:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it was faster
        if not self.ready.done():
            self.ready.set_exception(WorkerLost(f"the worker did not start: {reason}", details={"reason": reason}))
            self.ready.exception()
        job, self._job = self._job, None
        if job is not None:
            job.settle(
                error=WorkerLost(f"the worker of this job ended: {reason}", details={"reason": reason, "pid": self.pid})
            )

    async def gone(self) -> None:
        """Return when the process has been reaped."""
        if self._keeper is not None:
            await asyncio.wait([self._keeper])


class Totals(msgspec.Struct):
    """What the pools of one program's name counted, over all its versions."""

    started: int = 0
    lost: int = 0
    jobs: int = 0


class Pool:
    """The processes of one program and the jobs that wait for one."""

    def __init__(self, program: Program, clock: Clock, totals: Totals | None = None) -> None:
        self.program = program
        self.totals = totals or Totals()
        self._clock = clock
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()
        self._waiting: deque[Job] = deque()
        self._starting: set[_Worker] = set()
        self._number = 0
        self._closed = False
        self._retired = False
        self._starters: set[asyncio.Task[None]] = set()
        self._problem: str | None = None

    def submit(self, body: Any, *, serve: Serve, told: Told) -> Job:
        """Hand in a job; it runs as soon as a process is free. Raises `Overloaded` when too many wait."""
        if self._closed:
            raise ServiceUnavailable(f"the workers of {self.program.name} are stopping")
        if len(self._waiting) >= self.program.queue:
            raise Overloaded(
                f"{len(self._waiting)} jobs wait for a {self.program.name} worker already", retry_after_s=1.0
            )
        job = Job(self, body, serve, told)
        self.totals.jobs += 1
        self._waiting.append(job)
        self._pump()
        return job

    def withdraw(self, job: Job) -> None:
        """Take a job back that no process has begun."""
        if job in self._waiting:
            self._waiting.remove(job)
        job.settle(error=WorkerLost("cancelled before a worker took it", details={"reason": "cancelled"}))

    def problem(self) -> str | None:
        """Return why no process can be started, or None."""
        return self._problem

    def retire(self) -> None:
        """Go on with what is under way and what may still come, but keep no process that has nothing to do."""
        self._retired = True
        self._pump()

    def warm_up(self) -> None:
        """Begin to start processes up to the number kept ready."""
        self._pump()

    def free(self, worker: _Worker) -> None:
        """Take a worker back after its job, or replace it when it has done enough."""
        if worker.jobs >= self.program.jobs_each:
            worker.kill("it has done its share of jobs")
        elif worker in self._all:
            self._idle.append(worker)
        self._pump()

    def ended(self, worker: _Worker) -> None:
        """Forget a process that is gone."""
        if worker not in self._all:
            return
        self._all.discard(worker)
        if worker in self._idle:
            self._idle.remove(worker)
        self.totals.lost += 1
        self._pump()

    def _pump(self) -> None:
        while self._waiting and self._idle:
            job = self._waiting.popleft()
            self._idle.pop().run(job)
        if self._closed:
            return
        if self._retired:
            useless, self._idle = self._idle, []
            for worker in useless:
                worker.kill("its program was replaced by a newer one")
        warm = 0 if self._retired else self.program.warm
        wanted = min(len(self._waiting) + warm - len(self._idle), self.program.most - len(self._all))
        for _ in range(wanted - len(self._starting)):
            self._number += 1
            worker = _Worker(self, self._number)
            self._starting.add(worker)
            task = asyncio.create_task(self._start(worker), name=f"start {self.program.name} worker")
            self._starters.add(task)
            task.add_done_callback(self._starters.discard)

    async def _start(self, worker: _Worker) -> None:
        try:
            await worker.start()
        except (OSError, TimeoutError, WorkerLost) as error:
            worker.kill("it did not start")
            await worker.gone()
            self._starting.discard(worker)
            if not self._closed:
                self._could_not_start(worker, error)
            return
        self._starting.discard(worker)
        self._problem = None
        self.totals.started += 1
        self._all.add(worker)
        self._idle.append(worker)
        self._pump()

    def _could_not_start(self, worker: _Worker, error: Exception) -> None:
        wrote = worker.stderr.decode(errors="replace").strip().splitlines()
        self._problem = f"no {self.program.name} worker could be started: {wrote[-1] if wrote else error!r}"
        log.error("%s", self._problem)
        for job in list(self._waiting):
            self._waiting.remove(job)
            job.settle(error=ServiceUnavailable(self._problem, details={"service": f"{self.program.name} workers"}))

    async def close(self) -> None:
        """Kill every process and fail what still runs or waits."""
        self._closed = True
        for worker in list(self._starting):
            worker.kill("the hub is stopping")
        await asyncio.gather(*self._starters)
        while self._waiting:
            self.withdraw(self._waiting[0])
        workers = list(self._all)
        for worker in workers:
            worker.kill("the hub is stopping")
        await asyncio.gather(*(worker.gone() for worker in workers))


class Workers:
    """All pools of the kernel, by program name."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pools: dict[str, Pool] = {}
        self._retired: WeakSet[Pool] = WeakSet()

    def pool(self, program: Program) -> Pool:
        """Return the pool of `program`, made at first use; after a change of the program, a new one.

        What runs in the old one is not hurried: whoever has it may go on with it.
        """
        held = self._pools.get(program.name)
        if held is None or held.program != program:
            if held is not None:
                held.retire()
                self._retired.add(held)
            totals = None if held is None else held.totals
            held = self._pools[program.name] = Pool(program, self._clock, totals)
        return held

    def stats(self) -> dict[str, dict[str, int]]:
        """Return, by program, processes alive and idle, jobs waiting, and totals; replaced programs count as well."""
        shown = {}
        for name, pool in self._pools.items():
            both = [pool, *(old for old in self._retired if old.program.name == name)]
            shown[name] = {
                "alive": sum(len(one._all) for one in both),
                "idle": sum(len(one._idle) for one in both),
                "waiting": sum(len(one._waiting) for one in both),
                "started_total": pool.totals.started,
                "ended_total": pool.totals.lost,
                "jobs_total": pool.totals.jobs,
            }
        return shown

    async def stop(self) -> None:
        """Close every pool."""
        pools, self._pools = [*self._pools.values(), *self._retired], {}
        await asyncio.gather(*(pool.close() for pool in pools))


def interpreter(program_file: str, paths: Sequence[str]) -> tuple[str, ...]:
    """Return the arguments that run `program_file` isolated from user and site, with `paths` as its import path."""
    given = [argument for path in paths for argument in ("--path", path)]
    return ("-I", "-S", "-B", program_file, *given)
