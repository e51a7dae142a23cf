"""Entries of memory as one run sees them: its own writes over what memory has, by memory's own rules."""

from collections.abc import Callable, Iterator
from typing import Any, Final

from . import requests
from .criteria import MOST, Criteria, arranged, fits, suffixed, understand
from .matching import has_all, score
from .moments import moment
from .overlay import Overlay
from .refusals import Refused
from .remembered import Bounds, Draft, draft, entry_of, query_words, tag_list
from .values import ScriptError

Named = dict[str, Any]
Tags = str | list[Any] | None
Which = str | Named | list[str | Named]
Base = Callable[[str, Named], Any]

DAY: Final = 86_400.0
PERIODS: Final = {"hourly": 3_600.0, "daily": DAY, "weekly": 7 * DAY}
RECALLED: Final = 20
RECALLED_MOST: Final = 100
PAGE: Final = 1_000
"""Entries of the base that are read in one go where all of a kind are needed."""


class ScratchEntries:
    """The operations `memory.*` and `collection.*`, by the names of their methods."""

    def __init__(
        self,
        base: Base | None,
        now: Callable[[], float],
        new_id: Callable[[], str],
        *,
        ranked: bool,
        source: str | None,
        bounds: Bounds,
        most_mb: float,
    ) -> None:
        """As `Scratch` takes them."""
        self._base = base
        self._now = now
        self._new_id = new_id
        self._ranked = ranked
        self._source = {} if source is None else {"source": source}
        self._bounds = bounds
        self.records = Overlay(self._theirs, most_mb)

    def _theirs(self, identity: str) -> Named | None:
        return None if self._base is None else self._base("memory.get", {"id": identity})

    # Writing -----------------------------------------------------------------------------------------------------

    def _insert(self, content: Any, tags: list[str] | None, more: Named, collection: str | None = None) -> str:
        entry = {"content": content, "tags": tags, **self._source, **more}
        return self._put(entry if collection is None else {**entry, "collection": collection})

    def _put(self, entry: Named) -> str:
        new = draft(entry, self._bounds, self._new_id)
        fresh = entry.get("id") is None
        before = None if fresh else self.records.get(new.id)
        return str(self._keep(new, before, fresh=fresh)["id"])

    def _keep(self, new: Draft, before: Named | None, *, fresh: bool = False) -> Named:
        now = self._now()
        created = new.created_at if new.created_at is not None else now if before is None else before["created_at"]
        entry = entry_of(new, created, now)
        self.records.put(entry, len(new.document), fresh=fresh)
        return entry

    def _patch(self, identity: str, changes: Named) -> Named | None:
        before = self.records.get(identity)
        if before is None:
            return None
        new = draft({**before, **changes, "id": identity}, self._bounds, self._new_id)
        return self._keep(new, before)

    def remember(
        self, content: Any, as_: Tags = None, key: str | None = None, for_: Any = None, data: Any = None
    ) -> str:
        """Store an entry and return its id."""
        fields = {"key": key, "for": for_, "data": data}
        return self._insert(content, requests.tags(as_), {k: v for k, v in fields.items() if v is not None})

    def store(self, entry: Named) -> str:
        """Store a whole entry, in the place of the one with its id."""
        return self._put({**self._source, **entry})

    def put(self, value: Any, tag: Tags = None, metadata: Any = None) -> str:
        """Store a value with tags and metadata."""
        return self._insert(value, requests.tags(tag), {} if metadata is None else {"metadata": metadata})

    def update(self, id: Any, patch: Named) -> Named | None:
        """Merge fields into an entry; None when there is none."""
        identity = requests.entry_id(id)
        if patch.get("id", identity) != identity:
            raise Refused("id: an entry keeps its id; store a new one instead", {"field": "id"})
        return self._patch(identity, patch)

    def archive(self, entry: Which) -> bool:
        """Mark as archived; true when there was one."""
        return sum(self._patch(one, {"archived": True}) is not None for one in _ids(entry)) > 0

    def tag(self, value: Any, tag: Tags) -> Named | None:
        """Add tags to an entry."""
        identity, added = requests.entry_id(value), tag_list(requests.tags(tag) or [], self._bounds)
        before = self.records.get(identity)
        return before and self._patch(identity, {"tags": list(dict.fromkeys([*before["tags"], *added]))})

    def learn(self, verb: str, source: Any = None, slots: Any = None, text: str = "") -> str:
        """Keep a learning note."""
        fields = {"type": "learning", "data": {"verb": verb, "source": source, "slots": slots}}
        return self._insert(text, ["learning"], fields)

    def collect(self, collection: str, value: Any, with_: Any = None) -> str:
        """Store a value in a collection."""
        return self._insert(value, None, {} if with_ is None else {"metadata": with_}, collection)

    def change(self, collection: str, value: Named) -> Named | None:
        """Merge an entry into the one with its id."""
        return self._patch(requests.entry_id(value), {k: v for k, v in value.items() if k != "id"})

    # Deleting ----------------------------------------------------------------------------------------------------

    def delete(self, id: Which) -> bool:
        """Delete an entry, or a list of them; true when there was one."""
        return sum([self.records.drop(one) for one in _ids(id)]) > 0

    def forget(self, query: Any = None, tag: str | None = None) -> int:
        """Delete what has all the words and the tag; how many."""
        words = query_words("" if query is None else str(query), self._bounds)
        if not words and tag is None:
            raise Refused("forget: expected words or a tag; without either, nothing says what to forget")
        found = self._all({} if tag is None else {"tags_include": [tag]})
        return sum([self.records.drop(one["id"]) for one in found if not words or has_all(one, words)])

    def clear(self, collection: str) -> int:
        """Empty a collection; how many entries it had."""
        return sum([self.records.drop(one["id"]) for one in self._all({"collection": collection})])

    def remove(self, collection: str, value: Any) -> bool:
        """Take an entry out of a collection, by its id."""
        found = self.records.get(requests.entry_id(value))
        return found is not None and found.get("collection") == collection and self.records.drop(found["id"])

    # Reading -----------------------------------------------------------------------------------------------------

    def search(self, criteria: Named | None = None) -> list[Named]:
        """Entries that meet every criterion. Of 10,000 and more, those that were taken away here are missing."""
        criteria = criteria or {}
        if self._base is not None and not self.records:
            return self._base("memory.search", {"criteria": criteria})  # type: ignore[no-any-return]
        disputed, real = self._fields(criteria)
        wanted = understand(criteria, real)
        found = self.records.merged(self._of_base(criteria, wanted, disputed), lambda entry: fits(entry, wanted))
        if wanted.sort_by == "created_at":
            return (found[::-1] if wanted.descending else found)[: wanted.limit]
        return arranged(found, wanted)

    def _fields(self, criteria: Named) -> tuple[set[str], set[str]]:
        """Which keys mean a field here and not to the base, or the other way round; and which mean one here. A field
        that is null wherever it stands is not noticed."""
        disputed, real = set(), set()
        for key in suffixed(criteria):
            theirs: list[Named] = []
            if self._base is not None:
                probe = {f"{key}_ne": None, "limit": self.records.touched + 1}
                theirs = self._base("memory.search", {"criteria": probe})
            if any(key in entry for entry in self.records.own()) or any(map(self.records.is_theirs_still, theirs)):
                real.add(key)
            if (key in real) != bool(theirs):
                disputed.add(key)
        return disputed, real

    def _of_base(self, criteria: Named, wanted: Criteria, disputed: set[str]) -> list[Named]:
        """The base's entries that meet the criteria, oldest first: enough of them for the limit."""
        if self._base is None:
            return []
        asked = {key: value for key, value in criteria.items() if key not in disputed}
        asked["limit"] = MOST if disputed else min(wanted.limit + self.records.touched, MOST)
        found: list[Named] = self._base("memory.search", {"criteria": asked})
        if disputed:
            found = [entry for entry in found if fits(entry, wanted)]
        return found[::-1] if wanted.descending and wanted.sort_by == "created_at" else found

    def search_one(self, criteria: Named | None = None) -> Named | None:
        """The first of them, or None."""
        found = self.search({**(criteria or {}), "limit": 1})
        return found[0] if found else None

    def _all(self, criteria: Named) -> list[Named]:
        """All entries that meet simple criteria, however many."""
        wanted = understand(criteria)
        return self.records.merged(list(self._pages(criteria)), lambda entry: fits(entry, wanted))

    def _pages(self, criteria: Named) -> Iterator[Named]:
        seen: set[str] = set()
        since: Named = {}
        while self._base is not None:
            page = self._base("memory.search", {"criteria": {**criteria, **since, "limit": PAGE}})
            fresh = [entry for entry in page if entry["id"] not in seen]
            yield from fresh
            seen.update(entry["id"] for entry in fresh)
            if len(page) < PAGE:
                return
            if not fresh:
                raise ScriptError("MemoryStoreError", f"more than {PAGE} entries of one moment cannot be gone over")
            since = {"created_at_gte": page[-1]["created_at"]}

    def get(self, id: Any) -> Named | None:
        """An entry, or None."""
        return self.records.get(requests.entry_id(id))

    def load(self, tag: str | None = None) -> list[Named]:
        """Entries with a tag, or all."""
        return self.search() if tag is None else self.tagged(tag)

    def tagged(self, tag: str, limit: int = RECALLED) -> list[Named]:
        """Entries with a tag, newest first."""
        return self._newest((tag,), None, _at_most(limit))

    def logs(self, tag: str | None = None, hours: float | None = None, since: float | None = None) -> list[Named]:
        """The records that `system/logger` kept, oldest first."""
        criteria: Named = {"type": "log"}
        moments = [] if since is None else [since]
        if hours is not None:
            moments.append(self._now() - hours * 3600)
        if moments:
            criteria["created_at_gte"] = max(moments)
        return self.search(criteria if tag is None else {**criteria, "tags_include": [tag]})

    def query(self, query: str) -> list[Named]:
        """Entries by words."""
        if query.lstrip().lower().startswith("select "):
            raise ScriptError(
                "HostError", "a SELECT over memory is not available in this version; use search_memory with criteria"
            )
        return self.recall(query)

    def recall(
        self, query: Any = None, with_: Tags = None, from_: Any = None, tag: Tags = None, limit: int = RECALLED
    ) -> list[Named]:
        """Entries by words and tags, best first; without words the newest first. Where memory ranks by words and this
        is no mock, it is memory's answer as it stands."""
        text = "" if query is None else str(query)
        words = query_words(text, self._bounds)
        tags = tag_list([*(requests.tags(with_) or []), *(requests.tags(tag) or [])], self._bounds)
        since, limit = self._since(from_), _at_most(limit)
        if not words:
            return [] if text.strip() else self._newest(tags, since, limit)
        asked = {"query": text, "tag": list(tags), "limit": limit, **({} if from_ is None else {"from": from_})}
        if not self._ranked or not self.records:
            return [] if self._base is None else self._base("memory.recall", asked)
        asked["limit"] = min(limit + self.records.touched, RECALLED_MOST)
        theirs = [] if self._base is None else sorted(self._base("memory.recall", asked), key=_age)
        wanted = understand(_current(tags, since))
        found = self.records.merged(theirs, lambda entry: fits(entry, wanted) and score(entry, words) > 0)
        found.reverse()  # the newest first of those that have as many of the words
        return sorted(found, key=lambda entry: -score(entry, words))[:limit]

    def _since(self, from_: Any) -> float | None:
        if from_ is None:
            return None
        if isinstance(from_, bool) or not isinstance(from_, int | float | str):
            raise Refused("since: expected seconds since 1970, a time or a span", {"field": "since"})
        return moment(from_, "since", self._now(), past=True)

    def _newest(self, tags: tuple[str, ...], since: float | None, limit: int) -> list[Named]:
        return self.search({**_current(tags, since), "sort_order": "desc", "limit": limit})

    def count(self) -> int:
        """How many entries there are."""
        there = 0 if self._base is None else int(self._base("memory.count", {}))
        return there + sum(1 for _ in self.records.own()) - self.records.touched

    def has(self, collection: str) -> bool:
        """Is there anything in a collection."""
        return bool(self.search({"collection": collection, "limit": 1}))

    # Patterns ----------------------------------------------------------------------------------------------------

    def pattern(self, name: str, frequency: str | None = None) -> bool:
        """Does it recur."""
        if frequency is not None and frequency != "growing" and frequency not in PERIODS:
            raise Refused(
                f"frequency: expected hourly, daily, weekly or growing, got {frequency!r:.60}", {"field": "frequency"}
            )
        own, fewer = self._matching(name)
        if self._base is not None and not own and not fewer:
            asked = {"name": name, **({} if frequency is None else {"frequency": frequency})}
            return bool(self._base("memory.pattern", asked))
        if frequency is None:
            return bool(own) or any(map(self._judge(name), self._all({})))
        last, before = self._last_two(name, PERIODS.get(frequency, DAY))
        return last > before if frequency == "growing" else last > 0 and before > 0

    def statistics(self, slots: Any = None, text: str = "") -> Named:
        """How often something came, and whether that grows."""
        words, days = requests.phrase(slots)
        if not words:
            raise ScriptError("ValueError", f"pattern needs something to look for, got {text!r}")
        if not 0 < days <= 36_500:
            raise Refused(f"timeframe_days: expected more than 0 and at most 36500, got {days}")
        count, first, last = self._counted(words[-1], days)
        last_day, day_before = self._last_two(words[-1], DAY)
        return {
            "name": words[-1],
            "timeframe_days": days,
            "count": count,
            "per_day": round(count / days, 3),
            "first": first,
            "last": last,
            "growing": last_day > day_before,
        }

    def _matching(self, name: str) -> tuple[list[Named], bool]:
        """Own entries with that tag or text, and whether any of the base's is another here or gone."""
        matches = self._judge(name)
        return [e for e in self.records.own() if matches(e)], any(matches(e) for e in self.records.replaced())

    def _judge(self, name: str) -> Callable[[Named], bool]:
        words = query_words(name, self._bounds)
        return lambda entry: name in entry["tags"] or has_all(entry, words)

    def _counted(self, name: str, days: float) -> tuple[int, float | None, float | None]:
        """How many such entries the last days had, and when the first and the last of them was."""
        since = self._now() - days * DAY
        own, fewer = self._matching(name)
        there: Named = {"count": 0, "first": None, "last": None}
        if fewer:
            own = [entry for entry in self._all({"created_at_gte": since}) if self._judge(name)(entry)]
        elif self._base is not None:
            slots = [name, {"name": "timeframe", "value": days}]
            there = self._base("memory.statistics", {"slots": slots, "text": name})
        moments = [entry["created_at"] for entry in own if entry["created_at"] >= since]
        ends = [*moments, *([there["first"], there["last"]] if there["count"] else [])]
        return there["count"] + len(moments), min(ends, default=None), max(ends, default=None)

    def _last_two(self, name: str, period: float) -> tuple[int, int]:
        """How many matching entries the last period had, and the one before it."""
        last, both = self._counted(name, period / DAY)[0], self._counted(name, 2 * period / DAY)[0]
        return last, both - last


def _age(entry: Named) -> float:
    return entry["created_at"]  # type: ignore[no-any-return]


def _current(tags: tuple[str, ...], since: float | None) -> Named:
    """The criteria of what recall may give."""
    wanted: Named = {"archived": False}
    if tags:
        wanted["tags_include"] = list(tags)
    return wanted if since is None else {**wanted, "created_at_gte": since}


def _at_most(limit: int) -> int:
    if not 1 <= limit <= RECALLED_MOST:
        raise Refused(f"limit: expected 1 to {RECALLED_MOST}, got {limit}", {"field": "limit"})
    return limit


def _ids(which: Which) -> list[str]:
    found = []
    for one in which if isinstance(which, list) else [which]:
        identity = one if isinstance(one, str) else one.get("id")
        if not isinstance(identity, str):
            raise Refused("expected ids, or entries that have an `id`", {"field": "which"})
        found.append(identity)
    if len(found) > MOST:
        raise Refused(f"expected at most {MOST} entries in one call, got {len(found)}", {"field": "which"})
    return list(dict.fromkeys(found))
