"""`setTimeout`: functions that a job runs later, while it waits or at its end (language reference, 20)."""

import heapq
import math
from collections.abc import Callable
from typing import Any, Protocol

from .stdlib.times import seconds
from .values import ScriptError, is_function, kind, text


class Room(Protocol):
    """What delays ask of the runtime."""

    at: Any

    def now(self) -> float:
        """Seconds since 1970, from the host."""

    def serve(self, name: str, args: dict[str, Any]) -> Any:
        """An operation of `host.BEHIND_THE_LANGUAGE`."""

    def call(self, depth: Any, f: Any, *args: Any) -> Any:
        """f(args)."""

    def check_items(self, count: int) -> None:
        """LimitError when a list of that many elements may not be made."""


class Delays:
    """The functions of one run that wait for their time. They run one after another, in the order they are due, when
    the job waits (`sleep`, `wait`) or has come to its end; an error of one of them is raised there."""

    def __init__(self, room: Room) -> None:
        """Nothing waits yet."""
        self._room = room
        self._waiting: list[tuple[float, int]] = []
        self._open: dict[int, Callable[..., Any]] = {}
        self._last = 0
        self._running = False

    def set(self, f: Any, ms: Any) -> int:
        """The id of a call of f in so many milliseconds, or in a duration given as text."""
        if not is_function(f):
            raise ScriptError("TypeError", f"setTimeout takes a function and milliseconds, not {kind(f)}")
        after = seconds(ms) if type(ms) is str else seconds(0 if ms is None else ms) / 1000
        if not math.isfinite(after):
            raise ScriptError("ValueError", f"setTimeout takes a finite time, not {text(ms)}")
        self._room.check_items(len(self._waiting) + 1)
        self._last += 1
        self._open[self._last] = f
        heapq.heappush(self._waiting, (self._room.now() + max(after, 0), self._last))
        return self._last

    def clear(self, id: Any) -> bool:
        """Drops the call of that id; whether it was still to come."""
        return type(id) is int and self._open.pop(id, None) is not None

    def wait(self, seconds: float) -> None:
        """Waits, and runs what becomes due meanwhile; what waits in one of them, waits alone."""
        depth = self._room.at
        waits_alone = self._running or self._next() is None
        until = 0.0 if waits_alone else self._room.now() + seconds
        while not waits_alone and (due := self._next()) is not None and due <= until:
            seconds = self._run_next(depth, until)
        self._room.serve("sleep", {"seconds": max(seconds, 0)})

    def finish(self) -> None:
        """Runs what is still to come, waiting for each; those that are set meanwhile too."""
        depth = self._room.at
        while self._next() is not None:
            self._run_next(depth, 0.0)

    def _next(self) -> float | None:
        while self._waiting and self._waiting[0][1] not in self._open:
            heapq.heappop(self._waiting)
        return self._waiting[0][0] if self._waiting else None

    def _run_next(self, depth: Any, until: float) -> float:
        """Runs the next one at its time; the seconds that are then left until a moment."""
        due, id = heapq.heappop(self._waiting)
        f = self._open.pop(id)
        self._running = True
        try:
            ahead = due - self._room.now()
            if ahead > 0:
                self._room.serve("sleep", {"seconds": ahead})
            self._room.call(depth, f)
        finally:
            self._running = False
        return until - self._room.now()


__all__ = ["Delays"]
