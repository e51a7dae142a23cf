"""The work of a plugin template at run time: retrieve, ask, store, expect (language reference, 14.2)."""

import re
from collections.abc import Callable
from typing import Any, Final, Protocol

from .stdlib.times import seconds
from .values import ErrorValue, ScriptError, element, kind, text
from .verbs import MOST_RECALLED

MOST_FILTERED: Final = 1000
"""How many entries a filter is asked about, newest first."""
_EXPECTED: Final = re.compile(r"\s*(\S+)(?:\s+from\s+(\S+))?.*?\s+within\s+(.+?)\s*", re.DOTALL)
_ANYBODY: Final = frozenset({"user", "anybody", "anyone", "somebody", "someone"})


class Room(Protocol):
    """What templates ask of the runtime."""

    outputs: dict[str, Any]

    def serve(self, name: str, args: dict[str, Any]) -> Any:
        """An operation of `host.BEHIND_THE_LANGUAGE`."""

    def call_function(self, name: str, args: list[Any], named: dict[str, Any]) -> Any:
        """A function of the library or the host."""

    def callback(self, function: Any, most: int) -> Callable[..., Any]:
        """The script's function as a callable."""

    def caught(self, error: BaseException) -> ErrorValue:
        """The error value of an exception."""

    def now(self) -> float:
        """Seconds since 1970."""

    def spend(self, steps: int) -> None:
        """Charges steps at once."""


def retrieve(rt: Room, source: Any, limit: Any, filter: Any) -> list[Any]:
    """The entries of the collection `source`, or when it is empty those with that tag, or without a source all, newest
    first and at most `limit` of them, 20 without one; archived ones are left out. `filter` is a function of the entry.
    """
    if limit is not None and (type(limit) is not int or not 0 < limit <= MOST_FILTERED):
        raise ScriptError("ValueError", f"`limit` of `retrieve` is a whole number from 1 to {MOST_FILTERED}")
    most = MOST_RECALLED if limit is None else limit
    criteria: dict[str, Any] = {"archived": False, "sort_by": "created_at", "sort_order": "desc"}
    criteria["limit"] = most if filter is None else MOST_FILTERED
    if source is not None and source != "memory":
        held = rt.call_function("memory.has", [text(source)], {})
        criteria |= {"collection": text(source)} if held else {"tags_include": [text(source)]}
    found = rt.call_function("search_memory", [criteria], {})
    if filter is None:
        return _entries(found)[:most]
    holds = rt.callback(filter, 1)
    return [entry for entry in _entries(found) if holds(entry)][:most]


def _entries(found: Any) -> list[Any]:
    if type(found) is not list:
        raise ScriptError("TypeError", f"memory gave {kind(found)} where a list of entries was expected")
    return found


def ask(rt: Room, goal: Any, model: Any, constraints: list[Any], entries: list[Any]) -> Any:
    """The answer of one AI call: the goal, under its constraints, over the entries that were retrieved."""
    given = {"constraints": constraints, "entries": entries, "model": model}
    slots = [{"kind": "value", "name": "", "value": goal}]
    slots += [{"kind": "key", "name": name, "value": value} for name, value in given.items() if value]
    answer = rt.serve("think", {"verb": "think", "target": goal, "slots": slots, "text": text(goal)})
    rt.outputs["response"] = rt.outputs["last_output"] = answer
    return answer


def keep_answer(rt: Room, into: Any, value: Any) -> Any:
    """Stores what a template has made in the collection of that name, or in memory; the id of its entry."""
    if into is None or into == "memory":
        return rt.serve("remember_verb", {"content": value})
    return rt.serve("collection_store", {"collection": text(into), "value": value})


def answered(rt: Room, expected: Any) -> bool:
    """Whether what a template expects comes in time. `reply from ada within 2h` waits for the event `reply`; one that
    says in `from` or `user` that it is of somebody else is passed over, unless the answer may be anybody's (`user`).
    The job waits here, parked, no longer than it may."""
    match = _EXPECTED.fullmatch(text(expected))
    if match is None:
        raise ScriptError(
            "ValueError", f"an expectation names an event and a time, `reply from user within 2h`, not {text(expected)}"
        )
    event, who, span = match.groups()
    until = rt.now() + seconds(span)
    while (left := until - rt.now()) > 0:
        rt.spend(1)
        try:
            data = rt.serve("park_event", {"name": event, "seconds": left})
        except ScriptError as error:
            if error.type != "Timeout":
                raise
            return False
        if who is None or who.lower() in _ANYBODY or _sender(data) in (None, who):
            return True
    return False


def _sender(data: Any) -> Any:
    """Who an event says that it is from."""
    return (element(data, "from") or element(data, "user")) if type(data) is dict else None


__all__ = ["answered", "ask", "keep_answer", "retrieve"]
