"""Running a compiled script: the top level once, then its entry, and what came of it (language reference, 10, 11)."""

import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Literal

import msgspec

from .budget import Budget
from .compiled import Compiled
from .entry_points import enter
from .host import Host
from .runtime import Runtime
from .stdlib.times import seconds
from .units import Unit
from .values import CATCHABLE, Cancelled, ErrorValue, Halt, LimitError, ScriptError, StopExecution, plain

_FRAMES_PER_CALL: Final = 8
"""Python frames that one frame of a script may take, its helpers included."""
_FRAMES_OF_OURS: Final = 1000


class Outcome(msgspec.Struct, frozen=True):
    """How a run ended. `error` is the record of 17.1 as plain data, null for a stopped or completed run.

    `handlers` are the events, `commands` the words and `timers` the schedules that the script registered. `private` is
    a traceback for the job's private log when something of ours failed.
    """

    state: Literal["completed", "failed", "cancelled"]
    result: Any = None
    error: dict[str, Any] | None = None
    steps: int = 0
    handlers: list[str] = []
    commands: list[str] = []
    timers: list[str] = []
    private: str | None = None


def run(
    compiled: bytes,
    host: Host,
    parameters: dict[str, Any] | None = None,
    context: dict[str, Any] | None = None,
    limits: Mapping[str, Any] | None = None,
    *,
    entry: str | None = None,
    config: dict[str, Any] | None = None,
    budget: Budget | None = None,
    job: str = "",
) -> Outcome:
    """Runs a compiled script on the host and never raises for what the script does.

    `limits` has names of 18.1, those missing are as shipped; `entry` names a function, handler or command; `config`
    replaces entries of the plugin's config; `job` is its id, the seed where nothing else is. A given `budget` lets
    others cancel the run, and replaces `limits`. ValueError when the bytes are of another version.
    """
    program = Compiled(compiled)
    budget = Budget(limits or {}) if budget is None else budget
    policy = program.meta["policy"]
    budget.tighten(_tightened(policy))
    rt = Runtime(
        host,
        budget,
        parameters=parameters,
        context=context,
        config=config,
        policy=policy,
        contracts=program.meta["contracts"],
        name=program.name,
    )
    with room_for_calls(budget):
        return ended(rt, *_execute(rt, program, entry, job))


@contextmanager
def room_for_calls(budget: Budget) -> Iterator[None]:
    """Inside, Python's own limit of nested calls is not met before the budget's `depth`."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _depth() + int(budget.values["depth"]) * _FRAMES_PER_CALL + _FRAMES_OF_OURS))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def _depth() -> int:
    frame, count = sys._getframe(), 0
    while frame.f_back is not None:
        frame, count = frame.f_back, count + 1
    return count


def _execute(rt: Runtime, program: Compiled, entry: str | None, job: str) -> tuple[Any, BaseException | None]:
    """The result, or what ended the run."""
    result: Any = None
    failure: BaseException | None = None
    stopped = False
    try:
        _fix(rt, program, job)
        unit = rt.main = Unit(rt, program)
        if program.meta["one_transaction"]:
            rt.transactions.begin_job()
        result = enter(rt, unit, unit.run(rt.budget.depth), entry)
        rt.at = rt.budget.depth
        rt.delays.finish()
        rt.branches.join()
        for ending in rt.endings:
            ending()
    except StopExecution as stop:
        failure = stop
    except (Halt, Exception) as error:
        failure = error
    failure = rt.budget.unswallowed(failure)
    if isinstance(failure, StopExecution):
        result, failure, stopped = failure.message or None, None, True
    if failure is not None or stopped:
        rt.branches.stop()  # before the plugin blocks clean up, and before what was staged is discarded
    for cleanup in reversed(rt.cleanups):
        try:
            cleanup()
        except StopExecution:
            pass  # it ends the cleanup, as it ends everything else
        except (Halt, Exception) as error:
            failure = failure or error
    try:
        rt.transactions.end_job(failure is not None)
    except (Halt, Exception) as error:
        failure = failure or error
    if failure is None:
        try:
            return plain(result), None
        except (Halt, Exception) as error:
            return None, error
    return None, failure


_CHANGES_HOST: Final = frozenset({"deterministic", "seed", "mock_io"})


def _fix(rt: Runtime, program: Compiled, job: str) -> None:
    """Puts the host in place that the script's policy asks for: chance and time fixed, effects to mocks (18.4)."""
    meta, policy = program.meta, program.meta["policy"]
    about = meta["flags"].get("meta") or {}
    if not (_CHANGES_HOST & policy.keys() or about.get("seed") is not None):
        return
    from .mocks import with_policy  # most runs have no use for it

    start = rt.host.call("time.read", "time.now", {}, (program.name, 1, 1, "")) if policy.get("deterministic") else 0.0
    source = f"script:{program.name}"
    rt.host = with_policy(rt.host, policy, job, start, meta=about, contracts=meta["contracts"], source=source)
    rt.branches.one_by_one = rt.branches.one_by_one or not rt.host.overlaps


def _tightened(policy: dict[str, Any]) -> dict[str, Any]:
    """The limits that the script's own policy sets."""
    limits = {
        "steps": policy.get("max_steps"),
        "wall_s": seconds(policy["max_time"]) if "max_time" in policy else None,
        "branches": policy.get("max_concurrency"),
    }
    return {name: value for name, value in limits.items() if value is not None}


def ended(rt: Runtime, result: Any, failure: BaseException | None) -> Outcome:
    """The outcome of a run: its result, or the record of what ended it."""
    steps, private = rt.budget.steps_used, None
    registered = (sorted(rt.handlers), sorted(rt.commands), [schedule for schedule, _ in rt.timers])
    if failure is None:
        return Outcome("completed", result, None, steps, *registered)
    failure = rt.budget.halt_of(failure) or failure
    if isinstance(failure, CATCHABLE):
        error = rt.caught(failure)
        record = _record(error)
        if error is rt.recovery.handled:
            record["handled"] = True
    else:
        if not isinstance(failure, Halt):
            private = "".join(traceback.format_exception(failure))
            failure = Halt("the runtime failed, see the private log of the job").with_traceback(failure.__traceback__)
        record = _halted(rt, failure)
    state: Literal["failed", "cancelled"] = "cancelled" if isinstance(failure, Cancelled) else "failed"
    return Outcome(state, None, record, steps, *registered, private)


def _record(error: ErrorValue) -> dict[str, Any]:
    """The record as it leaves the worker. A script may hang anything on an error: what is no plain data stays here."""
    try:
        return plain(error.record())  # type: ignore[no-any-return]
    except (ScriptError, LimitError, RecursionError):
        bare = {name: error.field(name) for name in ("type", "message", "line", "column", "file", "stack", "retryable")}
        return plain(bare)  # type: ignore[no-any-return]


def _halted(rt: Runtime, halt: Halt) -> dict[str, Any]:
    (file, line, column, _), stack = rt.located(halt)
    value = ErrorValue(halt.type, halt.message, line=line, column=column, file=file, stack=stack, data=halt.data)
    return value.record()
