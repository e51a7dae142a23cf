"""Own versions of records over those that somebody else keeps: what is read is theirs, with one's own in its place."""

from collections.abc import Callable, Iterator
from typing import Any

from .values import limit_error

Record = dict[str, Any]
State = tuple[dict[str, Record | None], dict[str, Record | None], int]


class Overlay:
    """Records by their id. What is kept is never changed in place, so that a mark is two shallow copies."""

    def __init__(self, fetch: Callable[[str], Record | None], most_mb: float) -> None:
        """`fetch` gives their record of an id, or None; `most_mb` bounds what is kept here."""
        self._fetch = fetch
        self._most_mb = most_mb
        self._mine: dict[str, Record | None] = {}
        self._theirs: dict[str, Record | None] = {}
        self._bytes = 0

    @property
    def touched(self) -> int:
        """How many of their records may be others here."""
        return sum(record is not None for record in self._theirs.values())

    def __bool__(self) -> bool:
        return bool(self._mine)

    def get(self, identity: str) -> Record | None:
        """Return the record as it is read now."""
        return self._mine[identity] if identity in self._mine else self._fetch(identity)

    def put(self, record: Record, size: int, *, fresh: bool = False) -> None:
        """Keep a record, of so many bytes; LimitError when that is too much. `fresh`: nothing has its id yet."""
        if self._bytes + size > self._most_mb * (1 << 20):
            raise limit_error("charged_mb", self._most_mb, "what the run would write is too large to be held back")
        identity = record["id"]
        if fresh:
            self._theirs[identity] = None
        self._touch(identity)
        if self._mine.get(identity, record) is None:
            del self._mine[identity]  # it comes anew, behind the others
        self._mine[identity] = record
        self._bytes += size

    def drop(self, identity: str) -> bool:
        """Take a record away; tell whether it was there."""
        if self.get(identity) is None:
            return False
        self._touch(identity)
        if self._theirs[identity] is None:
            del self._mine[identity], self._theirs[identity]
        else:
            self._mine[identity] = None
        return True

    def _touch(self, identity: str) -> None:
        if identity not in self._theirs:
            self._theirs[identity] = self._fetch(identity)

    def merged(self, theirs: list[Record], fits: Callable[[Record], bool]) -> list[Record]:
        """Return their records (which fit, oldest first), with one's own versions in place and new ones behind those of
        the same moment."""
        found: list[Record] = []
        seen = set()
        for record in theirs:
            seen.add(record["id"])
            own = self._mine.get(record["id"], record)
            if own is record or (own is not None and fits(own)):
                found.append(own)
        found += [own for own in self.own() if own["id"] not in seen and fits(own)]
        found.sort(key=lambda record: record["created_at"])
        return found

    def own(self) -> Iterator[Record]:
        """Yield the records that were put."""
        return (record for record in self._mine.values() if record is not None)

    def replaced(self) -> Iterator[Record]:
        """Yield their records that are others here, or gone."""
        return (record for record in self._theirs.values() if record is not None)

    def gone(self) -> list[str]:
        """Return the ids of their records that were taken away."""
        return [identity for identity, record in self._mine.items() if record is None]

    def is_theirs_still(self, record: Record) -> bool:
        """Tell whether one of their records is read as it is."""
        return record["id"] not in self._mine

    def mark(self) -> State:
        """Return the state, for `reset`."""
        return dict(self._mine), dict(self._theirs), self._bytes

    def reset(self, state: State) -> None:
        """Go back to an earlier state."""
        mine, theirs, self._bytes = state
        self._mine, self._theirs = dict(mine), dict(theirs)
