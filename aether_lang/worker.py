"""The program inside a compile worker and a run worker: frames in, frames out.

Started as `python -I -S worker.py --fd N --path P [--path P ..] [--preload compile]`; a parent that forks calls
`serve`. One job at a time. Every frame is a map with `t` (see `frames`); `id`s of jobs and of calls only ever grow.

Hub to worker:
  {t: "job", id, body}               starts a job; the body says which kind, see below
  {t: "result", id, ok: true, body}  the answer to the call of that id
  {t: "result", id, ok: false, body} body: {message, details: {type, data?, retryable?}}, type a name of 17.2
  {t: "cancel", id, reason?}         stops the job of that id
Worker to hub:
  {t: "ready"}                       first of all: it can take jobs
  {t: "call", id, body}              one host operation: {op, capability, args, at}, at: [file, line, column, unit]
  {t: "event", body}                 no answer: {kind: "log", level, message, at} or {kind: "output", line}
  {t: "done", id, body}              the end of the job

A run job's body: {kind: "run", code, job?, parameters?, context?, limits?, entry?, config?}. Its done body is an
outcome: {state, result, error, steps, handlers, commands, timers, private}.
A module is the call {op: "module.load", capability: "", args: {path}} with the value {code, name, hash}.
A compile job's body: {kind: "compile", source, name, limits?}. Its done body: {ok, code, hash, capabilities, meta,
diagnostics}, each diagnostic a map; without `code`, `hash` and `meta` where ok is false.

Lark and the parser are imported by the first compile job, or at the start with `--preload compile`; a run worker never
imports them. A protocol fault ends the worker with status 3, a closed connection with 0.
"""

import os
import sys

if __name__ == "__main__":
    # Started by path with -I -S: the packages are found only where the command line says.
    sys.path[:0] = [value for flag, value in zip(sys.argv, sys.argv[1:], strict=False) if flag == "--path"]

import argparse
import hashlib
import importlib
import queue
import socket
import threading
from typing import Any, Final

import msgspec

from aether_lang.budget import Budget, at_most
from aether_lang.compiled import FORMAT, PYTHON_TAG
from aether_lang.frames import MAX_FRAME, MAX_JOB_FRAME, Channel, FrameTooLargeError, ProtocolError
from aether_lang.host import LoadedModule
from aether_lang.jobs import CATCHABLE
from aether_lang.program import Outcome, run
from aether_lang.values import (
    BudgetError,
    Cancelled,
    Halt,
    LimitError,
    Nondeterministic,
    Place,
    ScriptError,
    StopExecution,
    limit_error,
)

PROTOCOL_FAULT: Final = 3
LATE_S: Final = 1.0
"""How long after a deadline of the script the hub may still answer."""
_HALTS: Final[dict[str, type[Halt]]] = {
    halt.type: halt for halt in (LimitError, BudgetError, Cancelled, StopExecution, Nondeterministic)
}


class HubHost:
    """The host of a run worker: each operation is one frame out and one frame back."""

    direct = False
    overlaps = True

    def __init__(self, channel: Channel, budget: Budget, first_call: int) -> None:
        """`first_call` is the id of the next call: ids grow over all jobs of a worker."""
        self._channel = channel
        self._budget = budget
        self.next_call = first_call
        self._asking = threading.Lock()
        self._answers: dict[int, queue.SimpleQueue[tuple[dict[str, Any], int] | None]] = {}
        budget.wakers.append(self._wake)

    def call(self, capability: str, operation: str, args: dict[str, Any], position: Place) -> Any:
        """One operation; blocks until the hub has answered, the job is cancelled or its deadline is past."""
        body: dict[str, Any] = {"op": operation, "capability": capability, "args": args, "at": position}
        left = self._budget.remaining_s()
        if left is not None:
            body["within"] = max(left, 0.0)
        answer: queue.SimpleQueue[tuple[dict[str, Any], int] | None] = queue.SimpleQueue()
        with self._asking:  # ids grow in the order in which they are sent
            number = self.next_call
            self.next_call += 1
            self._answers[number] = answer
            try:
                self._channel.send({"t": "call", "id": number, "body": body})
            except FrameTooLargeError as error:
                del self._answers[number]
                raise ScriptError("ValueError", f"the arguments of {operation} are too large: {error}") from None
        try:
            result, size = self._answered(answer)
        finally:
            self._answers.pop(number, None)
        self._budget.charge(size)
        late = None if left is None or result["ok"] else self._budget.timeout()
        if late is not None:
            raise late  # the hub tells of the seconds that were left, the script wants to know of its own deadline
        return _value(result)

    def _answered(self, answer: "queue.SimpleQueue[tuple[dict[str, Any], int] | None]") -> tuple[dict[str, Any], int]:
        while True:
            left = self._budget.remaining_s()
            try:
                found = answer.get(timeout=None if left is None else max(left, 0.0) + LATE_S)
            except queue.Empty:
                found = None  # the hub should have said so; `check` does
            if found is not None:
                return found
            self._budget.check()

    def log(self, level: str, message: str, position: Place) -> None:
        """One log record, cut where a frame could not hold it."""
        body = {"kind": "log", "level": level, "message": message[: MAX_FRAME // 8], "at": position}
        self._channel.send({"t": "event", "body": body})

    def output(self, line: str) -> None:
        """One line of output, in pieces where a frame could not hold it."""
        for start in range(0, max(len(line), 1), MAX_FRAME // 8):
            piece = line[start : start + MAX_FRAME // 8]
            self._channel.send({"t": "event", "body": {"kind": "output", "line": piece}})

    def load_module(self, path: str, position: Place) -> LoadedModule:
        """Asks the hub for a module's compiled bytes."""
        found = self.call("", "module.load", {"path": path}, position)
        try:
            return msgspec.convert(found, LoadedModule)
        except msgspec.ValidationError:
            raise ProtocolError("module.load gave no module") from None

    def deliver(self, frame: dict[str, Any], size: int) -> None:
        """Hands an answer to the waiting call; ProtocolError for an id that was never used."""
        number = frame.get("id")
        if type(number) is not int or not 0 < number < self.next_call or type(frame.get("ok")) is not bool:
            raise ProtocolError(f"an answer to call {number!r}, which was never made")
        waiting = self._answers.get(number)
        if waiting is not None:  # else it came too late, and nobody waits for it
            waiting.put((frame, size))

    def cancel(self, reason: str) -> None:
        """Stops the run at its next slice of fuel, or right away when it waits for an answer."""
        self._budget.cancel(reason)

    def _wake(self) -> None:
        for waiting in list(self._answers.values()):
            waiting.put(None)


def _value(result: dict[str, Any]) -> Any:
    body = result.get("body")
    if result["ok"]:
        return body
    if type(body) is not dict:
        raise ProtocolError("a failed result without an error")
    message, error = str(body.get("message", "the host gave no reason")), body.get("details")
    if type(error) is not dict:
        error = {}
    name = error.get("type")
    if name in _HALTS:
        raise _HALTS[name](message, error.get("data"))
    known = name if name in CATCHABLE else "HostError"
    raise ScriptError(known, message, error.get("data"), retryable=error.get("retryable") is True)


class Worker:
    """One worker's life: a thread reads frames, the main thread does the jobs."""

    def __init__(self, sock: socket.socket, send_limit: int = MAX_FRAME) -> None:
        """Takes over a connected socket."""
        self._channel = Channel(sock, send_limit, MAX_JOB_FRAME)
        self._jobs: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._host: HubHost | None = None
        self._job = 0
        self._last_job = 0
        self._cancelled: dict[int, str] = {}
        self._next_call = 1

    def serve(self) -> int:
        """Does jobs until the connection ends; the exit status."""
        threading.Thread(target=self._read, name="frames", daemon=True).start()
        self._channel.send({"t": "ready"})
        while (job := self._jobs.get()) is not None:
            try:
                body = self._done(job)
            except ProtocolError as fault:
                self._fault(fault)
            try:
                self._channel.send({"t": "done", "id": job["id"], "body": body})
            except FrameTooLargeError as error:
                self._channel.send({"t": "done", "id": job["id"], "body": _too_large(error)})
            except OSError:
                break
        return 0

    def _read(self) -> None:
        try:
            while (received := self._channel.receive()) is not None:
                self._take(*received)
        except ProtocolError as fault:
            self._fault(fault)
        except OSError:
            pass  # the connection is gone, which ends the worker as its orderly end does
        except MemoryError:
            self._fault(ProtocolError("no memory is left to read what the hub sent"))
        with self._lock:
            if self._host is not None:
                self._host.cancel("the hub is gone")
        self._jobs.put(None)

    def _fault(self, fault: ProtocolError) -> None:
        """A peer that breaks the protocol cannot be told so: the process ends at once."""
        os.write(2, f"worker: protocol fault: {fault}\n".encode())
        os._exit(PROTOCOL_FAULT)

    def _take(self, frame: dict[str, Any], size: int) -> None:
        kind, number = frame["t"], frame.get("id")
        if kind == "job":
            if type(number) is not int or number <= self._last_job or type(frame.get("body")) is not dict:
                raise ProtocolError(f"job id {number!r} after {self._last_job}, or no body")
            self._last_job = number
            self._jobs.put(frame)
            return
        with self._lock:
            host = self._host
            if kind == "result":
                if host is None and type(number) is int and 0 < number < self._next_call:
                    return  # the answer to a call of a job that was cancelled meanwhile
                if host is None:
                    raise ProtocolError("an answer while no job runs")
                host.deliver(frame, size)
            elif kind == "cancel":
                if type(number) is not int:
                    raise ProtocolError("a cancel without an id")
                reason = str(frame.get("reason") or "the job was cancelled")
                if host is not None and number == self._job:
                    host.cancel(reason)
                elif number > self._job and number <= self._last_job:
                    self._cancelled[number] = reason
            else:
                raise ProtocolError(f"unknown frame type {kind!r}")

    def _done(self, job: dict[str, Any]) -> dict[str, Any]:
        body = job["body"]
        if body.get("kind") == "compile":
            return _compile(body)
        if body.get("kind") != "run" or type(body.get("code")) is not bytes:
            raise ProtocolError("a job must be a compile job, or a run job with code")
        return self._run(job["id"], body)

    def _run(self, number: int, body: dict[str, Any]) -> dict[str, Any]:
        try:
            budget = Budget(body.get("limits") or {})
        except ValueError as error:
            return _failed(str(error))
        host = HubHost(self._channel, budget, self._next_call)
        with self._lock:
            self._host, self._job = host, number
            if number in self._cancelled:
                host.cancel(self._cancelled.pop(number))
        try:
            with at_most(budget.values["memory_mb"]):
                outcome = run(
                    body["code"],
                    host,
                    body.get("parameters"),
                    body.get("context"),
                    entry=body.get("entry"),
                    config=body.get("config"),
                    budget=budget,
                    job=str(body.get("job") or ""),
                )
        except ValueError as error:
            return _failed(str(error))
        except MemoryError as error:  # nothing was left even to say so; now the limit is off again
            return _out_of_memory(budget, error)
        finally:
            with self._lock:
                self._host, self._next_call = None, host.next_call
        return msgspec.to_builtins(outcome)  # type: ignore[no-any-return]


def _failed(message: str) -> dict[str, Any]:
    error = {"type": "InternalError", "message": message}
    return msgspec.to_builtins(Outcome("failed", error=error))  # type: ignore[no-any-return]


def _out_of_memory(budget: Budget, error: MemoryError) -> dict[str, Any]:
    halt = budget.halt_of(error)
    assert halt is not None
    record = {"type": halt.type, "message": halt.message, "data": halt.data}
    return msgspec.to_builtins(Outcome("failed", error=record, steps=budget.steps_used))  # type: ignore[no-any-return]


def _too_large(error: FrameTooLargeError) -> dict[str, Any]:
    halt = limit_error("frame_bytes", error.limit, f"the result has {error.size} bytes and cannot leave the worker")
    record = {"type": halt.type, "message": halt.message, "data": halt.data}
    return msgspec.to_builtins(Outcome("failed", error=record))  # type: ignore[no-any-return]


def _compile(body: dict[str, Any]) -> dict[str, Any]:
    """Parses, checks and compiles one script. The front end is loaded here: a run worker has no need of it."""
    source, name = body.get("source"), body.get("name")
    if type(source) is not str or type(name) is not str:
        raise ProtocolError("a compile job needs a source and a name")
    front = importlib.import_module("aether_lang.front")
    answer: dict[str, Any] = front.compiled(source, name, body.get("limits") or {})
    if answer["ok"]:
        answer["hash"] = content_hash(source)
    return answer


def content_hash(source: str) -> str:
    """The key of a compiled module: source, compiler version and Python version."""
    digest = hashlib.sha256(f"aether-compiled:{FORMAT}:{PYTHON_TAG}:".encode())
    digest.update(source.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def serve(fd: int, preload: str | None = None) -> int:
    """Does jobs over the connected socket `fd` until it closes; the exit status. `preload` "compile" loads the parser
    and its tables before it says that it is ready, and lets the worker send frames of `MAX_JOB_FRAME`."""
    if preload == "compile":
        _compile({"source": "null", "name": "preload"})
    return Worker(socket.socket(fileno=fd), MAX_JOB_FRAME if preload == "compile" else MAX_FRAME).serve()


def main(argv: list[str] | None = None) -> int:
    """The command line of a worker."""
    parser = argparse.ArgumentParser(description="A worker for scripts, started by the hub.")
    parser.add_argument("--fd", type=int, required=True, help="a connected stream socket")
    parser.add_argument("--path", action="append", default=[], help="where packages are imported from; repeatable")
    parser.add_argument("--preload", choices=["compile"], help="load the parser before the first job")
    options = parser.parse_args(argv)
    return serve(options.fd, options.preload)


if __name__ == "__main__":
    sys.exit(main())
