"""The only place that knows the time. Deadlines and intervals are monotonic; wall time is for display and schedules.

Everything that waits or measures is given a `Clock`, so that a test can move time instead of waiting for it
(`kernel.testing.TestClock`).
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What the house asks of time."""

    def now(self) -> float:
        """Return the wall time in seconds since 1970, UTC. It may jump."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back; only differences mean something."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds` of monotonic time."""
        ...

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[asyncio.Timeout]:
        """Return a block that raises `TimeoutError` when it takes longer than `seconds`; None is for ever.

        `expired()` of the value it yields tells this time-out from a `TimeoutError` of the block's own.
        """
        ...


class SystemClock:
    """The machine's own time."""

    # The functions themselves, not methods around them: one Python frame less for each event published.
    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds` of monotonic time."""
        await asyncio.sleep(seconds)

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[asyncio.Timeout]:
        """Return a block that raises `TimeoutError` when it takes longer than `seconds`; None is for ever."""
        return asyncio.timeout(seconds)


def iso(seconds: float) -> str:
    """Return wall time as ISO-8601 in UTC with milliseconds, such as `2026-11-20T19:17:32.125Z`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
