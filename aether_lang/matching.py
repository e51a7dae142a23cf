"""Which words an entry has, as the hub's index of words sees them: letters and digits, without case and accents."""

import unicodedata
from collections.abc import Iterable
from typing import Any

from .remembered import FIXED, words


def tokens(text: str) -> list[str]:
    """Return the words of a text in order."""
    plain = text if text.isascii() else _without_accents(text)
    return "".join(character if character.isalnum() else " " for character in plain.lower()).split()


def tokens_of(entry: dict[str, Any]) -> list[str]:
    """Return the words by which an entry is found."""
    return tokens(" ".join(words({name: value for name, value in entry.items() if name not in FIXED})))


def has(found: list[str], phrase: list[str]) -> bool:
    """Tell whether the words of a phrase stand side by side among those found."""
    width = len(phrase)
    return width > 0 and any(found[at : at + width] == phrase for at in range(len(found) - width + 1))


def has_all(entry: dict[str, Any], asked: Iterable[str]) -> bool:
    """Tell whether an entry has every one of the words asked for, of which there must be one."""
    phrases, found = [tokens(word) for word in asked], tokens_of(entry)
    return bool(phrases) and all(has(found, phrase) for phrase in phrases)


def score(entry: dict[str, Any], asked: Iterable[str]) -> int:
    """Return how many of the words asked for an entry has."""
    found = tokens_of(entry)
    return sum(has(found, tokens(word)) for word in asked)


def _without_accents(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.category(c).startswith("M"))
