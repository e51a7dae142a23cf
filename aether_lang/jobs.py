"""Library functions that act on the job: log, output, errors, waiting, events, the job-wide store (section 20)."""

from collections.abc import Callable
from typing import Any, Final, Protocol

from .delays import Delays
from .methods import Method
from .stdlib.times import seconds
from .steps import Steps
from .values import ErrorValue, Place, ScriptError, StopExecution, check_error_data, kind, text


class Transactions(Protocol):
    """What `rollback` asks of the transactions of the run."""

    def rollback(self, token: Any) -> bool:
        """Takes back a committed transaction."""


class Job(Protocol):
    """What these functions ask of the runtime."""

    shared: dict[str, Any]
    context: dict[str, Any]
    delays: Delays
    steps: Steps
    transactions: Transactions

    def check_items(self, count: int) -> None:
        """LimitError when a collection of that many elements may not be made."""

    def write_log(self, level: str, message: str) -> None:
        """One record of the job's log."""

    def write_output(self, line: str) -> None:
        """One line of the job's output."""

    def serve(self, name: str, args: dict[str, Any]) -> Any:
        """An operation of `host.BEHIND_THE_LANGUAGE`."""

    def fire(self, event: str, data: Any) -> int:
        """Runs the script's handlers of the event; how many there were."""

    def manifest(self) -> dict[str, Any]:
        """The manifest of the script, as data."""

    def stack(self) -> list[dict[str, Any]]:
        """The functions under way, inmost first."""

    def place(self) -> Place:
        """Where the script stands."""


_LEVELS: Final = ("debug", "info", "warning", "error")


def log(rt: Job, *values: Any, level: Any = "info") -> None:
    """Renders the values, joined by blanks, into one record."""
    wanted = {"warn": "warning"}.get(level, level) if type(level) is str else level
    if wanted not in _LEVELS:
        raise ScriptError(
            "ValueError", f"the level of a log record must be one of {', '.join(_LEVELS)}, not {text(level)}"
        )
    rt.write_log(wanted, " ".join(map(text, values)))


def debug(rt: Job, *values: Any) -> None:
    """`log` at level debug."""
    rt.write_log("debug", " ".join(map(text, values)))


def warn(rt: Job, *values: Any) -> None:
    """`log` at level warning."""
    rt.write_log("warning", " ".join(map(text, values)))


def output(rt: Job, *values: Any) -> None:
    """`print`: renders the values, joined by blanks, into the job's output."""
    rt.write_output(" ".join(map(text, values)))


_SLEEP_UNITS: Final = {"ms": 0.001, "milliseconds": 0.001, "s": 1, "seconds": 1, "minutes": 60, "hours": 3600}


def sleep(rt: Job, n: Any, unit: Any = "ms") -> None:
    """Waits n milliseconds, or n of the unit."""
    if type(unit) is not str or unit not in _SLEEP_UNITS:
        raise ScriptError("ValueError", f"unknown unit {text(unit)}, expected one of {', '.join(_SLEEP_UNITS)}")
    rt.delays.wait(max(seconds(n) * (1 if type(n) is str else _SLEEP_UNITS[unit]), 0))


def wait(rt: Job, d: Any) -> None:
    """Waits a duration, in seconds or as text."""
    rt.delays.wait(max(seconds(d), 0))


def set_timeout(rt: Job, f: Any, ms: Any = 0) -> int:
    """Has the job call f in so many milliseconds: while it waits, else at its end. The id, for `clearTimeout`."""
    return rt.delays.set(f, ms)


def clear_timeout(rt: Job, id: Any) -> bool:
    """Drops a call that `setTimeout` set; whether it was still to come."""
    return rt.delays.clear(id)


def retry(rt: Job, what: Any) -> Any:
    """Does a step that was reached, by its name, or a call once more, with the further attempts of the policy."""
    return rt.steps.again(what)


def manifest(rt: Job) -> dict[str, Any]:
    """The manifest of the script, as data."""
    return rt.manifest()


def get_global(rt: Job, k: Any, default: Any = None) -> Any:
    """A value of the job-wide store."""
    return rt.shared.get(text(k), default)


def set_global(rt: Job, k: Any, v: Any = None) -> Any:
    """Puts a value into the job-wide store and gives it."""
    rt.shared[text(k)] = v
    rt.check_items(len(rt.shared))
    return v


def has_context(rt: Job) -> bool:
    """Whether the request came with a context."""
    return bool(rt.context)


def get_current_context(rt: Job) -> dict[str, Any]:
    """The context of the request."""
    return rt.context


def get_stack_trace(rt: Job) -> list[dict[str, Any]]:
    """The functions under way, inmost first."""
    return rt.stack()


CATCHABLE: Final = frozenset(
    [
        "TypeError",
        "NameError",
        "ValueError",
        "IndexError",
        "KeyError",
        "DivisionByZero",
        "ConstError",
        "UnknownFunction",
        "UnknownMethod",
        "ImportError",
        "Timeout",
        "PermissionError",
        "PluginError",
        "AgentError",
        "MemoryStoreError",
        "AIError",
        "NetworkError",
        "FileError",
        "ContractError",
        "TransactionError",
        "RequirementError",
        "SignatureError",
        "UserError",
        "HostError",
    ]
)
"""The error types a script can catch (17.2)."""


def error(_rt: Job, message: Any = "", type: Any = "UserError", data: Any = None) -> ErrorValue:
    """An error value, not yet thrown."""
    if not isinstance(type, str) or type not in CATCHABLE:
        raise ScriptError("ValueError", f"unknown error type {text(type)}")
    return ErrorValue(type, text(message), data=check_error_data(data))


def check(_rt: Job, c: Any, message: Any = "assertion failed") -> None:
    """`assert(c, message)`: UserError unless c is true."""
    if not c:
        raise ScriptError("UserError", text(message))


def stop_execution(_rt: Job, message: Any = "") -> None:
    """Ends the job cleanly."""
    raise StopExecution(text(message))


def emit(rt: Job, event: Any, data: Any = None) -> int:
    """Publishes the event and runs the script's handlers of it; how many there were."""
    name = _event(event)
    rt.serve("emit", {"event": name, "data": data})
    return rt.fire(name, data)


def trigger(rt: Job, event: Any, data: Any = None) -> int:
    """Runs the script's handlers of the event; publishes it when there are none."""
    name = _event(event)
    found = rt.fire(name, data)
    if not found:
        rt.serve("emit", {"event": name, "data": data})
    return found


def rollback(rt: Job, token: Any) -> bool:
    """Takes back a committed transaction of this job; false where that is no longer possible."""
    return rt.transactions.rollback(token)


def _event(event: Any) -> str:
    if type(event) is not str or not event:
        raise ScriptError("TypeError", f"the name of an event must be a string, not {kind(event)}")
    return event


def choice(rt: Any, xs: Any) -> Any:
    """A random element of a list, null of an empty one."""
    if type(xs) is not list:
        raise ScriptError("TypeError", f"choice needs a list, not {kind(xs)}")
    return xs[rt.call_function("random_int", [0, len(xs) - 1])] if xs else None


FUNCTIONS: Final[dict[str, Method]] = {
    "log": log,
    "debug": debug,
    "warn": warn,
    "print": output,
    "sleep": sleep,
    "wait": wait,
    "setTimeout": set_timeout,
    "clearTimeout": clear_timeout,
    "retry": retry,
    "manifest": manifest,
    "get_global": get_global,
    "set_global": set_global,
    "has_context": has_context,
    "get_current_context": get_current_context,
    "get_stack_trace": get_stack_trace,
    "error": error,
    "assert": check,
    "stop_execution": stop_execution,
    "emit": emit,
    "trigger": trigger,
    "choice": choice,
    "rollback": rollback,
}

CALLS_BACK: Final = frozenset({"emit", "trigger", "setTimeout", "retry", "sleep", "wait"})
Function = Callable[..., Any]
