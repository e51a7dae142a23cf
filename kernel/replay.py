"""Reading the past: every kept durable event from the store, then the ring, up to where live events begin.

For whoever sends events to a client that comes back, over whatever transport:

    replay = bus.replay(since, patterns)
    while not replay.near:
        send(await replay.page())        # wait for the client here
    rest = replay.rest()
    ...                                  # from `rest` until live events are let in, nothing may be awaited

Only one page is held at a time; while a slow client takes it, events may come and leave the ring, and are read from the
store after all. `gap` turns true when something may be missing, before what comes after the gap is returned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from kernel.events import Event
from kernel.patterns import matcher


class Ring(Protocol):
    """The bus, as far as it remembers events."""

    @property
    def position(self) -> int: ...
    @property
    def reach(self) -> int: ...
    def reaches(self, seq: int) -> bool: ...
    def after(self, seq: int, fits: Callable[[str], bool], most: int) -> tuple[list[Event], int, int]: ...


class Kept(Protocol):
    """The log of durable events, as far as it is read."""

    def whole(self, patterns: Iterable[str], after: int) -> bool: ...
    async def page(
        self, patterns: Sequence[str], fits: Callable[[str], bool], *, after: int, through: int, most: int
    ) -> tuple[list[Event], int]: ...


class Replay:
    """The events after number `since` that fit any of `patterns`, in order and each once, in pages of `size`."""

    def __init__(self, bus: Ring, log: Kept | None, since: int, patterns: tuple[str, ...], size: int) -> None:
        self._bus = bus
        self._log = log
        self._patterns = patterns
        self._fits = matcher(patterns)
        self._size = size
        self.gap = since > bus.position or (bus.reach <= since and not bus.reaches(since))
        """True once something may be missing: not kept (any more), or a number that was not given out here."""
        self.position = min(since, bus.position)
        """The number up to which everything has been returned."""
        self._miss()

    @property
    def near(self) -> bool:
        """True when what is left is in the ring and fits one page: then `rest` gives it, without a wait."""
        if self.position < self._bus.reach:
            return False
        return self._bus.after(self.position, self._fits, self._size)[2] == 0

    async def page(self) -> list[Event]:
        """Return the next events, at most `size`; there may be none, and more after that."""
        reach = self._bus.reach
        if self.position >= reach:
            events, self.position, _ = self._bus.after(self.position, self._fits, self._size)
            self.gap = self.gap or not self._bus.reaches(self.position)
            return events
        self._miss()
        if self._log is None:
            self.position = reach
            return []
        events, self.position = await self._log.page(
            self._patterns, self._fits, after=self.position, through=reach, most=self._size
        )
        return events

    def rest(self) -> list[Event]:
        """Return what is left, up to the newest event. Live events are to be let in before anything is awaited."""
        events, self.position, _ = self._bus.after(self.position, self._fits, self._size)
        return events

    def _miss(self) -> None:
        """Note a gap where the ring does not reach back to the reader, and the log has not kept all of the rest."""
        if self.position < self._bus.reach:
            self.gap = self.gap or self._log is None or not self._log.whole(self._patterns, self.position)
