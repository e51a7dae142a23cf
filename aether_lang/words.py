"""The closed word lists of the language, read once from `verbs.toml`."""

from __future__ import annotations

import tomllib
from functools import lru_cache
from importlib.resources import files

import msgspec


class Verb(msgspec.Struct, frozen=True):
    """One verb: how it does its work (`core ai message intent`), the capabilities its statements may need, what may
    follow it, and whether the entries of its block are its payload."""

    word: str
    kind: str
    capabilities: tuple[str, ...]
    patterns: tuple[str, ...]
    payload: bool
    gives: bool

    @property
    def message(self) -> bool:
        """Is `name: verb ..` a message to the agent `name`? Else the verb runs, and its result goes to the name."""
        return self.kind == "intent" and not self.gives


_DATA = tomllib.loads(files(__package__).joinpath("verbs.toml").read_text(encoding="utf-8"))

PREPOSITIONS = frozenset(_DATA["prepositions"])
GUARDS = frozenset(_DATA["guards"])
POSTFIX = frozenset(_DATA["postfix"])
SECTIONS = frozenset(_DATA["sections"])
RESERVED = frozenset(_DATA["reserved"])
SOFT = frozenset(_DATA["soft"])
OPWORDS = frozenset(_DATA["opwords"])
VERBS: dict[str, Verb] = {
    word: Verb(
        word,
        row["kind"],
        tuple(row["capabilities"]),
        tuple(row["patterns"]),
        row.get("payload", False),
        row.get("gives", False),
    )
    for row in _DATA["verb"]
    for word in row["words"]
}


def verb_base(word: str) -> str | None:
    """The verb a word stands for: itself, or the part of a compound one before the first `_`; None for any other
    word."""
    if word in VERBS:
        return word
    head, line, _ = word.partition("_")
    return head if line and head != "on" and head in VERBS else None


def nearest(word: str, candidates: frozenset[str] | dict[str, Verb] | set[str]) -> str | None:
    """The candidate at an edit distance of at most two, the nearest first, then by the alphabet."""
    size, letters = len(word), _letters(word)
    near = [
        candidate
        for candidate in candidates
        if -3 < len(candidate) - size < 3 and (_letters(candidate) ^ letters).bit_count() <= 4
    ]
    found = [(distance, candidate) for candidate in near if (distance := _distance(word, candidate)) <= 2]
    best = min(found, default=None)
    return best[1] if best is not None and best[0] + 1 < len(word) else None


@lru_cache(maxsize=8192)
def _letters(word: str) -> int:
    """The letters of a word as bits. One edit changes at most two of them, so words that differ in more than four are
    not near, whatever their order."""
    found = 0
    for letter in word:
        found |= 1 << (ord(letter) & 63)
    return found


def _distance(left: str, right: str) -> int:
    """The edit distance where it is at most two, else 3: only the cells near the diagonal count."""
    if abs(len(left) - len(right)) > 2:
        return 3
    size = len(right)
    row = [0, 1, 2, *[3] * (size - 2)][: size + 1]
    for i, a in enumerate(left, 1):
        first, last = max(1, i - 2), min(size, i + 2)
        previous, row[first - 1] = row[first - 1], i if first == 1 else 3
        best = row[first - 1]
        for j in range(first, last + 1):
            above = row[j] if j < i + 2 else 3
            if a == right[j - 1]:
                here = previous
            else:
                here = (above if above < previous else previous) + 1
                here = row[j - 1] + 1 if row[j - 1] + 1 < here else here
            previous, row[j] = row[j], here
            best = here if here < best else best
        if best > 2:
            return 3
    return min(row[-1], 3)
