"""Runs of scripts under way: started in a worker, served by the gateway, told of in the job's history, and ended once.

What is known of a run is plain data beside the kernel's own `Job`, so that a reload of this plugin hands it over: the
process runs on, and its next call goes to the new generation.
"""

from __future__ import annotations

import asyncio
from typing import Any, Literal, TypedDict

import msgspec

from kernel import (
    AetherraError,
    Caller,
    Context,
    Job,
    Overloaded,
    ServiceUnavailable,
    StorageError,
    WorkerLost,
    redactions,
)

from .faults import DENIAL, failure_of_run, fault
from .gateway import Gateway
from .library import Library
from .questions import Question
from .trust import admit

MESSAGE_MOST = 8 * 1024
"""Characters of one log record that are kept."""
BATCH = 200
DENIALS_KEPT = 100
"""Rights of which a run remembers why they were refused."""
AGAIN_S = 1.0
"""How long until another attempt to record what the store refused."""


ABANDONED = {
    "code": "RUNNER_STOPPED",
    "type": "Cancelled",
    "message": "the plugin that runs scripts was taken out of service while it ran; submit it again",
}


class Outcome(msgspec.Struct, frozen=True):
    """How a worker says that a run ended; what else it tells is of no use here."""

    state: Literal["completed", "failed", "cancelled"]
    result: Any = None
    error: dict[str, Any] | None = None
    private: str | None = None


class State(TypedDict):
    """A run as it is handed over at a reload."""

    id: str
    attempt: int
    name: str
    caller: dict[str, Any]
    trace: str
    limits: dict[str, float]
    due: float
    counts: dict[str, int]
    story: list[str]
    trace_level: str
    stopping: asyncio.Event
    lines: list[dict[str, Any]]
    log_left: int
    output_left: int
    telling: asyncio.Task[None] | None
    begun: asyncio.Event
    job: Job | None
    denied: dict[str, dict[str, Any]]
    policy: dict[str, Any]
    before: dict[str, dict[str, Any]]
    questions: dict[str, Question]


def begin(execution: dict[str, Any], name: str) -> State:
    """Return the state of a run that begins now."""
    return State(
        id=execution["id"],
        attempt=execution["attempt"],
        name=name,
        caller=execution["caller"],
        trace=execution["trace"],
        limits={},
        due=0.0,
        counts={},
        story=[],
        trace_level="info",
        stopping=asyncio.Event(),
        lines=[],
        log_left=0,
        output_left=0,
        telling=None,
        begun=asyncio.Event(),
        job=None,
        denied={},
        policy={},
        before={},
        questions={},
    )


def on_behalf(own: Context, caller: dict[str, Any], trace: str) -> Context:
    """Return a context that acts for the stored caller, and through whoever stood between."""
    scopes = None if caller["scopes"] is None else tuple(caller["scopes"])
    who = Caller(caller["id"], tuple(caller["roles"]), scopes, caller.get("proof", ""))
    ctx = own.on_behalf(who, trace=trace)
    for member in caller["via"]:
        ctx = ctx.through(member)
    return ctx


class Run:
    """One run, as this generation serves it."""

    def __init__(self, state: State, own: Context, library: Library, compile_module: Any) -> None:
        self.state = state
        self._own = own
        self._library = library
        self._compile = compile_module
        self._gateway: Gateway | None = None
        self.watcher: asyncio.Task[None] | None = None

    # What operations know of it ----------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """The job's id."""
        return self.state["id"]

    @property
    def name(self) -> str:
        """The script's name."""
        return self.state["name"]

    @property
    def story(self) -> list[str]:
        """What the script has narrated."""
        return self.state["story"]

    @property
    def data_class(self) -> str:
        """The class of the script's data, by its own policy."""
        return str(self.state.get("policy", {}).get("data_class") or "internal")

    @property
    def export_most(self) -> str:
        """The highest class of data that may leave the hub."""
        return str(self._own.settings.export_data_class)

    @property
    def questions(self) -> dict[str, Question]:
        """What the run asks people."""
        return self.state.setdefault("questions", {})

    @property
    def before(self) -> dict[str, dict[str, Any]]:
        """By token, what a committed transaction put something else in the place of."""
        return self.state.setdefault("before", {})

    @property
    def trace_level(self) -> str:
        """How much is noted of each call."""
        return self.state["trace_level"]

    @trace_level.setter
    def trace_level(self, level: str) -> None:
        self.state["trace_level"] = level

    def remaining_s(self) -> float | None:
        """Return the seconds it may still take."""
        return self.state["due"] - self._own.clock.monotonic()

    def note(self, topic: str, data: dict[str, Any]) -> None:
        """Add a line to the history; beyond `log_records` one last line says that there were more."""
        left = self.state["log_left"]
        if left < 0:
            return
        self.state["log_left"] = left - 1
        if left == 0:
            data, topic = {"level": "warning", "message": "the log is full, later records are dropped"}, "job.log"
        self.state["lines"].append({"topic": topic, "data": data})
        self._flush_soon()

    def refused(self, denial: dict[str, Any]) -> None:
        """Keep why a right was refused: a script is told which, and whoever started it also why."""
        word = denial.get("capability")
        denied = self.state.setdefault("denied", {})  # a generation before this one kept none
        if isinstance(word, str) and (word in denied or len(denied) < DENIALS_KEPT):
            denied[word] = {name: denial[name] for name in DENIAL if name in denial}

    # The worker's side -------------------------------------------------------------------------------------------

    def attach(self, job: Job) -> None:
        """Serve this job's calls and events from now on."""
        job.serve, job.told = self.serve, self.told
        self.state["job"] = job

    async def serve(self, body: Any) -> Any:
        """Answer one call of the worker."""
        if isinstance(body, dict) and body.get("op") == "module.load":
            return await self._load_module(body)
        if self._gateway is None:
            ctx = on_behalf(self._own, self.state["caller"], self.state["trace"])
            state = self.state
            policy = state.get("policy", {})  # a generation before this one kept none
            self._gateway = Gateway(ctx, self.name, self, state["limits"], state["counts"], policy)
        return await self._gateway.call(body)

    async def _load_module(self, body: dict[str, Any]) -> dict[str, Any]:
        path = body.get("args", {}).get("path") if isinstance(body.get("args"), dict) else None
        try:
            script = await asyncio.to_thread(self._library.module, path if isinstance(path, str) else "")
            remark = await admit(self._own, script)
            compiled = await self._compile(script.source, script.name, self.state["limits"])
        except AetherraError as error:
            kind = "SignatureError" if error.code == "SIGNATURE_ERROR" else "ImportError"
            raise fault(kind, error.message, module=str(path)[:80]) from None
        if remark is not None:
            self.note("job.log", {"level": "warning", "message": remark, "file": script.name, "line": 1, "column": 1})
        if not compiled.ok:
            first: dict[str, Any] = next(
                (d for d in compiled.diagnostics if str(d.get("code", "")).startswith("AE")), {}
            )
            where = f"{script.name}:{first.get('line', 0)}:{first.get('column', 0)}"
            raise fault("ImportError", f"{where}: {first.get('message', 'it cannot be compiled')}", module=script.name)
        self.note("job.module", {"path": path, "name": script.name, "hash": script.hash})
        return {"code": compiled.code, "name": script.name, "hash": script.hash}

    def told(self, body: Any) -> None:
        """Take a log record or a line of output."""
        if not isinstance(body, dict):
            return
        if body.get("kind") == "log":
            self.note("job.log", redactions.data(_record(body)))
        elif body.get("kind") == "output":
            self._output(redactions.text(str(body.get("line", ""))))

    def _output(self, line: str) -> None:
        left = self.state["output_left"]
        if left < 0:
            return
        data = line.encode("utf-8", "replace")
        if len(data) + 1 > left:
            line, left = data[:left].decode("utf-8", "ignore") + " [output cut]", -1
        else:
            left -= len(data) + 1
        self.state["output_left"] = left
        self.state["lines"].append({"topic": "job.output", "data": {"text": line}})
        self._flush_soon()

    # Telling -----------------------------------------------------------------------------------------------------

    def _flush_soon(self) -> asyncio.Task[None]:
        # One at a time, whichever generation began it: two would write the lines in any order.
        telling = self.state["telling"]
        if telling is None or telling.done():
            telling = asyncio.create_task(self._flush(), name=f"history of {self.id}")
            self.state["telling"] = telling
        return telling

    async def _flush(self) -> None:
        while self.state["lines"]:
            batch = self.state["lines"][:BATCH]
            del self.state["lines"][:BATCH]
            try:
                await self._told_to_executions("report", batch)
            except Exception:
                # What a worker says may be anything; that it cannot be kept must not keep the job from its end.
                self._own.log.exception("job %s: %d lines of its history could not be kept", self.id, len(batch))

    async def flushed(self) -> None:
        """Return when every line so far is in the history."""
        while self.state["lines"] or (self.state["telling"] is not None and not self.state["telling"].done()):
            await asyncio.shield(self._flush_soon())

    async def finish(self, how: str, result: Any = None, error: dict[str, Any] | None = None) -> None:
        """Record the end, after everything that was said before it."""
        await self.flushed()
        await self._told_to_executions("finish", how, result, error)

    async def _told_to_executions(self, method: str, *arguments: Any) -> None:
        while True:
            try:
                handle = self._own.service("executions")
                await getattr(handle, method)(self.id, self.state["attempt"], *arguments)
                return
            except (StorageError, Overloaded, ServiceUnavailable) as error:
                self._own.log.warning("job %s: %s is tried again: %s", self.id, method, error)
                await self._own.clock.sleep(AGAIN_S)

    # Ending ------------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Ask it to end; a worker that does not obey is killed by the kernel."""
        self.state["stopping"].set()
        if self.state["job"] is not None:
            self.state["job"].cancel()

    async def abandon(self) -> None:
        """End it because this plugin leaves, and say so."""
        job = self.state["job"]
        if job is not None:
            job.kill("the plugin that runs scripts was taken out of service")
            await self.finish("failed", None, dict(ABANDONED))

    async def watch(self) -> None:
        """Wait for the worker's end of it and record it."""
        await self.state["begun"].wait()
        job = self.state["job"]
        if job is None:
            return  # it ended before it reached a worker, and that is recorded
        self.attach(job)
        try:
            outcome = await job.result()
        except WorkerLost as error:
            await self._lost(error)
            return
        except AetherraError as error:
            await self.finish("failed", None, {"code": error.code, "message": error.message})
            return
        try:
            await self._conclude(msgspec.convert(outcome, Outcome))
        except Exception:
            # A worker that was taken over may say anything, but its job ends all the same.
            self._own.log.exception("job %s: its worker's outcome could not be kept", self.id)
            message = "the process that ran the script gave an outcome that cannot be read"
            await self.finish("failed", None, {"code": "WORKER_LOST", "type": "InternalError", "message": message})

    async def _conclude(self, outcome: Outcome) -> None:
        if outcome.private:
            self._own.log.error("job %s: the runtime failed: %s", self.id, outcome.private)
        if outcome.state == "failed":
            await self.finish("failed", None, failure_of_run(outcome.error, self.state.get("denied", {})))
        else:
            await self.finish(outcome.state, outcome.result)

    async def _lost(self, error: WorkerLost) -> None:
        # Of a run that was asked to end, executions knows better what to call this.
        reason = error.details.get("reason", error.message)
        message = f"the process that ran the script ended before it was done: {reason}"
        failure = {"code": "WORKER_LOST", "type": "InternalError", "message": message, "data": {"reason": reason}}
        await self.finish("failed", None, failure)


def _record(body: dict[str, Any]) -> dict[str, Any]:
    message = str(body.get("message", ""))
    cut = message if len(message) <= MESSAGE_MOST else message[:MESSAGE_MOST] + " [cut]"
    record: dict[str, Any] = {"level": str(body.get("level", "info"))[:20], "message": cut}
    at = body.get("at")
    if isinstance(at, list | tuple) and len(at) >= 3 and isinstance(at[1], int) and at[1] > 0:
        record |= {"file": str(at[0])[:300], "line": at[1], "column": at[2] if isinstance(at[2], int) else None}
    return record
