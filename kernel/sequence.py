"""The numbers of events: rising without end, over restarts too, and known for a durable event before it is committed.

A client resumes after the last number it saw, so whatever is published later must have a higher one. A durable event's
number is written with its row, before the commit, while the loop goes on publishing others. So a durable event is
numbered ahead, with room before it for those others; what room is left over stays a hole.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from operator import length_hint

ROOM = 65_536
"""Numbers for what is published while a commit is under way. With ten commits a second all the time, these steps leave
numbers exact in a JSON double for three hundred years."""

CROWDED_KEPT = 64
"""How many crowded numbers are remembered."""


class Sequence:
    """Hands out numbers from `first` + 1 on. All but `reserve` and `release` belong to the loop's thread.

    `free` yields the numbers of what is published now; when it ends, `more` says how to go on. It is public, and an
    iterator, because publishing takes one for every event. `room` is how many are kept free for what is published
    during a commit.
    """

    def __init__(self, first: int, *, room: int = ROOM) -> None:
        self._room = room
        self.free: Iterator[int] = iter(())
        self._given = 0
        self._span = 0
        self._lock = threading.Lock()
        self._end = first + 1
        self._reserved = 0
        self._crowded: deque[int] = deque(maxlen=CROWDED_KEPT)
        self._enter(self._take(room))

    @property
    def given(self) -> int:
        """How many events were numbered here and published."""
        return self._given + self._span - length_hint(self.free)

    def skip_to(self, number: int) -> None:
        """Give out only numbers above `number` from now on."""
        with self._lock:
            self._end = max(self._end, number + 1)
            self._enter(self._take(self._room))

    def more(self, newest: int) -> int:
        """Return a number when there is no free one left; `newest` is that of the newest event.

        Where a durable event is being committed, that is `newest` once more: nothing is published later under a lower
        number, and nobody waits for the disk. Whoever resumes from a number that was shared is told of a gap.
        """
        with self._lock:
            if not self._reserved:
                self._enter(self._take(self._room))
                return next(self.free)
        if newest not in self._crowded:
            self._crowded.append(newest)
        self._given += 1
        return newest

    def crowded(self, number: int) -> bool:
        """Tell whether several events share this number."""
        return number in self._crowded

    def reserve(self, count: int) -> int:
        """Return the first of `count` numbers for durable events, in the order in which they will be published."""
        with self._lock:
            self._reserved += 1
            return self._take(count + self._room)

    def release(self) -> None:
        """Give reserved numbers up: their events were not committed."""
        with self._lock:
            self._reserved -= 1

    def publish(self, first: int, count: int) -> None:
        """Take reserved numbers into use: what is published next is numbered after them."""
        with self._lock:
            self._reserved -= 1
        self._given += count
        self._enter(first + count)

    def _take(self, count: int) -> int:
        start, self._end = self._end, self._end + count
        return start

    def _enter(self, start: int) -> None:
        self._given += self._span - length_hint(self.free)
        self.free, self._span = iter(range(start, start + self._room)), self._room
