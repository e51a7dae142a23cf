"""What is measured about questions to memory: how many in the last hour, and how long their answers took."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

MINUTES = 60

QUERIES = "aetherra_memory_queries_total"
SECONDS = "aetherra_memory_query_seconds"
WRITES = "aetherra_memory_writes_total"


class Figures:
    """Counts and times by minute of the last hour; older minutes are forgotten."""

    def __init__(self) -> None:
        self._minutes: dict[int, tuple[int, float]] = {}

    def add(self, at: float, seconds: float) -> None:
        """Count one question that was answered at `at` after so many seconds."""
        minute = int(at // 60)
        count, total = self._minutes.get(minute, (0, 0.0))
        self._minutes[minute] = (count + 1, total + seconds)
        self._forget(minute)

    def last_hour(self, now: float) -> tuple[int, float]:
        """Return how many questions there were in the last 60 minutes, and their mean time in milliseconds."""
        self._forget(int(now // 60))
        count = sum(n for n, _ in self._minutes.values())
        total = sum(seconds for _, seconds in self._minutes.values())
        return count, round(1000 * total / count, 3) if count else 0.0

    def exported(self) -> dict[str, list[float]]:
        """Return the minutes as plain data, for the next generation."""
        return {str(minute): [count, total] for minute, (count, total) in self._minutes.items()}

    def imported(self, data: dict[str, list[float]]) -> None:
        """Go on with what another generation has measured."""
        self._minutes = {int(minute): (int(count), total) for minute, (count, total) in data.items()}

    def _forget(self, current: int) -> None:
        for minute in [m for m in self._minutes if not current - MINUTES < m <= current]:
            del self._minutes[minute]


figures = Figures()


@contextmanager
def measured(ctx: Any) -> Iterator[None]:
    """Count and time the question that is answered within, whether it succeeds or not."""
    began = ctx.clock.monotonic()
    try:
        yield
    finally:
        took = ctx.clock.monotonic() - began
        figures.add(ctx.clock.now(), took)
        ctx.metric(QUERIES).inc()
        ctx.metric(SECONDS).observe(took)
