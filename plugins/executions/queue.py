"""What waits to run: one heap for each lane, best priority first, oldest first within it.

Plain data, so that it carries over a reload as it is.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

from .states import LANES, lane_of

Waiting = tuple[int, int, str, str]
"""(minus the priority, number of the row, id, kind): its order is the order of execution."""


class Queue:
    """Executions that are committed as pending and not begun."""

    def __init__(self) -> None:
        self.lanes: dict[str, list[Waiting]] = {lane: [] for lane in LANES}
        self.held: dict[str, list[Waiting]] = {}
        """By kind, what waits for a runner that no loaded plugin provides."""
        self.known: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self.known)

    def add(self, row: dict[str, Any]) -> None:
        """Put a pending row in its lane, once."""
        if row["id"] not in self.known:
            self.known[row["id"]] = None
            heapq.heappush(self.lanes[lane_of(row["priority"])], (-row["priority"], row["seq"], row["id"], row["kind"]))

    def put_back(self, waiting: Waiting) -> None:
        """Undo a `take`."""
        self.known[waiting[2]] = None
        heapq.heappush(self.lanes[lane_of(-waiting[0])], waiting)

    def take(self, lane: str, runnable: Callable[[str], bool]) -> Waiting | None:
        """Take the best of a lane whose kind can be run now; the others are held until `release`."""
        heap = self.lanes[lane]
        while heap:
            waiting = heapq.heappop(heap)
            if waiting[2] not in self.known:
                continue
            if runnable(waiting[3]):
                del self.known[waiting[2]]
                return waiting
            self.held.setdefault(waiting[3], []).append(waiting)
        return None

    def drop(self, execution: str) -> None:
        """Forget one that was cancelled; its place in the heap is passed over later."""
        self.known.pop(execution, None)

    def release(self, runnable: Callable[[str], bool]) -> None:
        """Put back what was held for a runner that is there now."""
        for kind in [kind for kind in self.held if runnable(kind)]:
            for waiting in self.held.pop(kind):
                heapq.heappush(self.lanes[lane_of(-waiting[0])], waiting)

    def export(self) -> dict[str, Any]:
        """Return the queue's own containers, to be adopted by the next generation."""
        return {"lanes": self.lanes, "held": self.held, "known": self.known}

    def adopt(self, state: dict[str, Any]) -> None:
        """Go on with another queue's containers."""
        self.lanes, self.held, self.known = state["lanes"], state["held"], state["known"]
