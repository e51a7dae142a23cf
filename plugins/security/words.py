"""The words there are for rights, read from `capabilities.toml`: one table for policy, checker, gate and docs."""

from __future__ import annotations

import tomllib
from typing import Literal, Self

import msgspec

from kernel import Effect, nearest

from .patterns import Right


class Word(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One row: which objects the right may name, the class of its effect, its risk, and a sentence for people.

    `at_best` is the weaker class that a single use may have, where the target says so.
    """

    object: tuple[str, ...]
    effect: Effect
    risk: float
    about: str
    at_best: Effect | None = None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: Literal[1]
    words: dict[str, Word]


class Words:
    """All the words; `effect(right)` and `mistake(pattern)` are what the policy asks."""

    def __init__(self, words: dict[str, Word]) -> None:
        self.all = words
        self._pairs = {tuple(word.split(":")): row for word, row in words.items()}

    @classmethod
    def none(cls) -> Self:
        """Return an empty table, as it is before the real one was read."""
        return cls({})

    @classmethod
    def read(cls, text: str) -> Self:
        """Return the table; raise `ValueError` when the text is not one."""
        file = msgspec.convert(tomllib.loads(text), _File)
        for word in file.words:
            if "*" in word or len(Right.parse(word).segments) != 2:
                raise ValueError(f"{word!r} is no word: expected domain:verb")
        return cls(file.words)

    def row(self, asked: tuple[str, ...]) -> Word | None:
        """Return the row of a right given in segments, or None when the table lacks its domain and verb."""
        return self._pairs.get(asked[:2])

    def mistake(self, right: Right) -> str | None:
        """Return what is wrong with a pattern that no word of the table fits, with the nearest word; else None.

        An object behind a word that takes none is wrong as well: such a rule would never apply.
        """
        row = self._pairs.get(right.segments[:2])
        if row is not None and not row.object and (len(right.segments) > 2 or right.rest is not None):
            return f"{':'.join(right.segments[:2])!r} takes no object; {right.text!r} would mean nothing"
        if any(_could_mean(right, pair) for pair in self._pairs):
            return None
        start = ":".join(right.segments[:2])
        return f"there is no right {right.text!r}" + self.hint(start)

    def hint(self, word: str) -> str:
        """Return "; did you mean ...?" with the word nearest to a wrong one."""
        verb = word.partition(":")[2]
        domains = {domain for domain, *_ in self._pairs}
        close = nearest(word, self.all) if verb else nearest(word, domains)
        return f"; did you mean {close!r}?" if close else "; all words stand in capabilities.toml"


def _could_mean(right: Right, pair: tuple[str, ...]) -> bool:
    return all(mine in ("*", theirs) for mine, theirs in zip(right.segments[:2], pair, strict=False))
