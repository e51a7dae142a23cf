"""Steps of workflows at run time: attempts, pauses, deadlines, and doing one again (language reference, 12.4, 21)."""

from collections.abc import Callable, Sequence
from functools import partial
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, Protocol

from . import triggered
from .calling import parameter_names
from .recovery import FIRST_PAUSE_S
from .stdlib.times import seconds
from .values import CATCHABLE, ErrorValue, Place, Receiver, ScriptError, is_function, kind

if TYPE_CHECKING:
    from .runtime import Runtime
    from .units import Unit

MOST_ATTEMPTS: Final = 100
"""How many further attempts `retry=` may ask for."""
LONGEST_PAUSE_S: Final = 60.0
"""The pauses between attempts double, up to this."""

NAMES: Final[tuple[str, ...]] = ("step", "step_call", "retrieve", "ask", "keep_answer", "answered")
"""The helpers of `helpers`, by name."""


class Room(Protocol):
    """What steps ask of the runtime."""

    at: Any
    policy: dict[str, Any]
    budget: Any

    def caught(self, error: BaseException) -> ErrorValue:
        """The error value of an exception."""

    def call(self, depth: Any, f: Any, *args: Any) -> Any:
        """f(args) for a value that may not be a function."""

    def call_function(self, name: str, args: list[Any], named: dict[str, Any]) -> Any:
        """A function of the library or the host."""

    def require_capabilities(self, wanted: Sequence[str]) -> None:
        """PermissionError for a capability that the run does not have."""

    def serve(self, name: str, args: dict[str, Any]) -> Any:
        """An operation of `host.BEHIND_THE_LANGUAGE`."""

    def place(self) -> Place:
        """Where the script stands."""

    def write_log(self, level: str, message: str) -> None:
        """One record of the job's log."""


class Steps:
    """The steps that one run has reached, by name, for `retry`."""

    def __init__(self, room: Room) -> None:
        """Nothing is reached yet."""
        self._room = room
        self._reached: dict[str, Callable[[], Any]] = {}

    def step(
        self,
        depth: Any,
        names: tuple[str, str | None],
        body: Callable[[Any, Any], Any],
        given: Any,
        retry: Any,
        timeout: Any,
        requires: Any,
    ) -> Any:
        """The value of a step: `body` of what the step before gave, within `timeout` for each attempt, tried up to
        `retry` more times with pauses of 0.2 s, 0.4 s and so on. `names` are what it calls and its alias. An error
        that is left names the step."""
        more, limit, wanted = _attempts(retry), _limit(timeout), _wanted(requires)

        def attempt() -> Any:
            if limit is None:
                return body(depth, given)
            with self._room.budget.within(limit):
                return body(depth, given)

        self._tried(names[0], lambda: self._room.require_capabilities(wanted), 0)
        for name in names:
            if name is not None:
                self._reached[name] = attempt
        return self._tried(names[0], attempt, more)

    def call(self, depth: Any, f: Any, *given: Any) -> Any:
        """A step that is a bare name bound in the script: its function of what the step before gave, which a function
        without parameters does not get; a plugin block by its `on_run`; a text as the function of a plugin."""
        if type(f) is Receiver:
            self._room.at = depth
            return f.call("on_run", list(given), {})
        if type(f) is str:
            return self._room.call_function("plugin", [f, *given], {})
        if type(f) is FunctionType and not parameter_names(f) and not f.__code__.co_flags & 4:
            return self._room.call(depth, f)
        return self._room.call(depth, f, *given)

    def again(self, what: Any) -> Any:
        """`retry(what)`: does a step that was reached, by its name or alias, or calls a function, once more and, when
        that fails, as often again as the policy's `max_retries` says. The value; a step's alias is assigned too."""
        more = _attempts(self._room.policy.get("max_retries"))
        if is_function(what):
            depth = self._room.at
            return self._tried(None, lambda: self._room.call(depth, what), more)
        attempt = self._reached.get(what) if type(what) is str else None
        if attempt is not None:
            return self._tried(what, attempt, more)
        if type(what) is not str:
            raise ScriptError("TypeError", f"retry takes a call, a function or the name of a step, not {kind(what)}")
        known = ", ".join(sorted(self._reached)[:20]) or "none"
        raise ScriptError("UnknownFunction", f"no step '{what}' was reached, these were: {known}")

    def _tried(self, name: str | None, attempt: Callable[[], Any], more: int) -> Any:
        for tried in range(more + 1):
            try:
                return attempt()
            except CATCHABLE as error:
                value = self._room.caught(error)
                if tried == more:
                    if name is None:
                        raise
                    raise _of_step(name, value, self._room.place()) from None
            what = "a call" if name is None else f"step '{name}'"
            self._room.write_log("info", f"{what} failed ({value.message}), attempt {tried + 2} of {more + 1} follows")
            self._room.serve("sleep", {"seconds": min(FIRST_PAUSE_S * 2**tried, LONGEST_PAUSE_S)})
        return None


def _of_step(name: str, error: ErrorValue, place: Place) -> ScriptError:
    """The error with the step's name before its message, all else as it was; `place` is that of the step, for an error
    that has none."""
    file, line, column = (error.file, error.line, error.column) if error.line else place[:3]
    stack = tuple((one["function"], one["file"], one["line"]) for one in error.field("stack"))
    named = ErrorValue(
        error.type, f"step '{name}': {error.message}", line=line, column=column, file=file,
        stack=stack, data=error.data, cause=error.cause, retryable=error.retryable,
    )  # fmt: skip
    return ScriptError.again(named)


def _attempts(given: Any) -> int:
    if given is None:
        return 0
    if type(given) is not int or not 0 <= given <= MOST_ATTEMPTS:
        shown = given if type(given) in (int, float) else kind(given)
        raise ScriptError("ValueError", f"`retry` is a whole number from 0 to {MOST_ATTEMPTS}, not {shown}")
    return given


def _limit(given: Any) -> float | None:
    if given is None:
        return None
    limit = seconds(given)
    if not limit > 0:
        raise ScriptError("ValueError", f"`timeout` is a duration above 0, not {limit:g} s")
    return limit


def _wanted(given: Any) -> list[str]:
    listed = given if type(given) is list else [] if given is None else [given]
    wrong = next((one for one in listed if type(one) is not str), None)
    if wrong is not None:
        raise ScriptError("TypeError", f"`requires` lists capabilities as texts, not {kind(wrong)}")
    return listed


def helpers(rt: "Runtime", _unit: "Unit") -> dict[str, Callable[..., Any]]:
    """What generated code calls for steps and templates, by name."""
    of_templates = {
        function.__name__: partial(function, rt)
        for function in (triggered.retrieve, triggered.ask, triggered.keep_answer, triggered.answered)
    }
    return {"step": rt.steps.step, "step_call": rt.steps.call, **of_templates}


__all__ = ["NAMES", "Steps", "helpers"]
