"""Versions of plugins that were replaced: each is drained, closed, forgotten, and proved gone from memory.

What still holds a part of one after that, such as a callback that a library keeps, would keep one more module alive at
every reload. It is told of as `module.leaked`.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import typing
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

from kernel.bus import Bus
from kernel.clock import Clock
from kernel.events import MODULE_LEAKED
from kernel.generation import Generation, Tally
from kernel.metrics import Metrics

LETTING_GO_S = (0, 0.001, 0.02, 0.1, 0.3)
"""The waits before each look whether a retired generation is gone; what stays after the last is told as a leak."""

log = logging.getLogger("kernel.retirement")


class Retirement:
    """Takes generations that no longer serve. `close` ends and forgets one; `counted` is told the figures of one whose
    last call has ended.
    """

    def __init__(
        self,
        *,
        bus: Bus,
        clock: Clock,
        metrics: Metrics,
        drain_s: float,
        close: Callable[[Generation], Awaitable[None]],
        counted: Callable[[str, Tally], None],
    ) -> None:
        self._bus = bus
        self._clock = clock
        self._drain_s = drain_s
        self._close = close
        self._counted = counted
        self._under_way: dict[asyncio.Task[None], weakref.ref[Generation]] = {}
        self._stopping = False
        self.leaked = 0
        """Generations that stayed in memory."""
        self._leaks = metrics.counter(
            "aetherra_module_leaks_total", "Retired generations that stayed in memory", ("plugin",)
        )

    @property
    def under_way(self) -> int:
        """How many are not proved gone yet."""
        return len(self._under_way)

    def begin(self, name: str, old: Generation) -> None:
        """Retire a generation in a task of its own, so that no caller's frame holds what is to be proved gone."""
        retiring = asyncio.create_task(self._retire(name, old), name=f"retire {name}@{old.number}")
        self._under_way[retiring] = weakref.ref(old)
        retiring.add_done_callback(self._under_way.pop)

    async def settled(self) -> None:
        """Return once every generation that was replaced is proved gone, or told of as a leak."""
        while self._under_way:
            await asyncio.wait(list(self._under_way))

    async def hasten(self, timeout_s: float) -> None:
        """Cut the calls that are still inside, and let what was replaced be closed as any other; from now on nothing
        is proved any more.
        """
        self._stopping = True
        for ref in list(self._under_way.values()):
            old = ref()
            if old is not None:
                old.cut()
        if self._under_way:
            await asyncio.wait(list(self._under_way), timeout=timeout_s)

    async def end(self) -> None:
        """Give up on what is still not closed."""
        for task in list(self._under_way):
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _retire(self, name: str, old: Generation) -> None:
        """Wait for what is in flight, cut what stays, close, forget, and prove that it is gone."""
        try:
            async with self._clock.timeout(self._drain_s):
                await old.quiet(conversations=True)
        except TimeoutError:
            log.warning("%s: cut %d calls that did not end within %g s of the switch", name, old.cut(), self._drain_s)
            await asyncio.sleep(0)
        if old.in_flight:
            old.cut()
        await self._close(old)
        if self._stopping:
            return
        self._counted(name, old.tally)
        number = old.number
        watched: list[weakref.ref[Any]] = [weakref.ref(old.module), weakref.ref(old)]
        watched += [weakref.ref(route.fn) for route in old.contribution.routes]
        del old
        await self._prove_gone(name, number, watched)

    async def _prove_gone(self, name: str, number: int, watched: list[weakref.ref[Any]]) -> None:
        # What is caught in cycles goes only with a collection; what grew up before the start is frozen, so it is short.
        # A collection does nothing while another thread is in one, and a thread may be about to let go of its last
        # call: hence a little time before anything is called a leak.
        for wait_s in LETTING_GO_S:
            await asyncio.sleep(wait_s)
            if wait_s:
                _clear_typing()
            gc.collect()
            if all(ref() is None for ref in watched):
                return
        self.leaked += 1
        self._leaks.labels(name).inc()
        left = sorted({type(ref()).__name__ for ref in watched if ref() is not None})
        self._bus.emit(MODULE_LEAKED, {"plugin": name, "generation": number, "left": left}, source="kernel")


def _clear_typing() -> None:
    # typing remembers the last subscripted forms (`Optional[X]`), and with X its module.
    for clear in getattr(typing, "_cleanups", ()):
        clear()
