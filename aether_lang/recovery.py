"""`on_error:` and `policy: on_error` at run time: what becomes of an error that leaves a statement (12.2, 12.7)."""

import sys
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

from .values import CATCHABLE, ErrorValue, ScriptError, kind

FIRST_PAUSE_S: Final = 0.2
"""The pause before the first further attempt; each later one is twice as long."""


class Room(Protocol):
    """What recovery asks of the runtime."""

    policy: dict[str, Any]

    def caught(self, error: BaseException) -> ErrorValue:
        """The error value of an exception."""

    def is_error(self, error: ErrorValue, name: str) -> bool:
        """Whether `except name` catches the error."""

    def write_log(self, level: str, message: str) -> None:
        """One record of the job's log."""

    def serve(self, name: str, args: dict[str, Any]) -> Any:
        """An operation of `host.BEHIND_THE_LANGUAGE`."""


class Rule(NamedTuple):
    """One rule: which errors, what is done, how often the statement is tried again first, and what comes then."""

    types: tuple[str, ...]
    pattern: str | None
    action: Callable[[Any, ErrorValue], Any]
    retry: Any
    then: str | None


class Recovery:
    """The rules of one run."""

    def __init__(self, room: Room) -> None:
        """Without rules an error ends the job, unless the policy says otherwise."""
        self._room = room
        self._rules: list[Rule] = []
        self.handled: ErrorValue | None = None

    def rules(self, rows: list[tuple[Any, ...]]) -> None:
        """Adds rules, in their order."""
        self._rules += [Rule(*row) for row in rows]

    def recover(self, depth: Any, error: Exception, tried: int) -> bool:
        """True when the statement is to be tried again, false when the job goes on without its value; raises the error
        when it ends the job. `tried` counts the further attempts so far."""
        value = self._room.caught(error)
        if value is self.handled:
            raise error  # a statement further in has dealt with it
        rule = next((one for one in self._rules if self._fits(one, value)), None)
        if rule is not None:
            if tried < _attempts(rule.retry):
                self._room.serve("sleep", {"seconds": FIRST_PAUSE_S * 2**tried})
                return True
            rule.action(depth, value)
            self.handled = value
        then = rule.then if rule is not None else None
        if then is None and self._room.policy.get("on_error") == "continue":
            then = "continue"
        if then == "continue":
            self._room.write_log("error", f"{value.type}: {value.message} (line {value.line}), the script goes on")
            return False
        raise error  # with `rollback` the job is one transaction, which its end discards

    def left_branch(self, depth: Any, error: Exception) -> Any:
        """What becomes of an error that leaves a parallel branch: null where the rules let the job go on."""
        if isinstance(error, CATCHABLE) and (self._rules or "on_error" in self._room.policy):
            self.recover(depth, error, sys.maxsize)  # a branch is not begun twice
            return None
        raise error

    def _fits(self, rule: Rule, error: ErrorValue) -> bool:
        if rule.pattern is not None:
            return rule.pattern in error.message
        return not rule.types or any(self._room.is_error(error, name) for name in rule.types)


def _attempts(given: Any) -> int:
    if given is None:
        return 0
    if type(given) is not int or given < 0:
        raise ScriptError("TypeError", f"`retry:` is a whole number from 0, not {kind(given)}")
    return given
