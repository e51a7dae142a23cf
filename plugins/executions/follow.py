"""Joins an execution's history, which is stored, to its live events, which are not, so that a reader gets each once.

History rows are numbered over all executions in the order in which they are committed and published. So one pair tells
everything: rows up to `n` were published as events up to `seq`, all others will be published after it.
"""

from __future__ import annotations

from typing import Any

KEPT = 10_000
"""Rows whose event number is remembered, as many as the bus can replay."""


class Follower:
    """What this plugin has seen of its own events."""

    def __init__(self) -> None:
        self._n = 0
        self._seq = 0
        self._numbers: dict[int, int] = {}

    def begin(self, n: int, seq: int) -> None:
        """Start where nothing is under way: rows up to `n` are there, and the bus stands at `seq`."""
        self._n, self._seq = n, seq

    def published(self, n: int, seq: int) -> None:
        """Note that row `n` was published as event `seq`."""
        self._n, self._seq = max(self._n, n), max(self._seq, seq)
        self._numbers[n] = seq
        if len(self._numbers) > KEPT:
            del self._numbers[next(iter(self._numbers))]

    def mark(self) -> tuple[int, int]:
        """Return the pair: the newest row known to be published, and the event after which the others come."""
        return self._n, self._seq

    def number(self, n: int) -> int:
        """Return the event's number of a row, or 0 where it is not remembered."""
        return self._numbers.get(n, 0)

    def export(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        return {"n": self._n, "seq": self._seq, "numbers": self._numbers}

    def adopt(self, state: dict[str, Any]) -> None:
        """Go on where another generation stood."""
        self._n, self._seq, self._numbers = state["n"], state["seq"], state["numbers"]
