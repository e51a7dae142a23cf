"""The nearest valid word to a mistyped one, for the "did you mean" of an error."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(word: str, words: Iterable[str]) -> str | None:
    """Return the word of `words` that looks most like `word` (case does not matter), or None when none is near."""
    from difflib import get_close_matches  # a hub that starts has nothing mistyped to tell

    by_folded = {known.casefold(): known for known in words}
    found = get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.6)
    return by_folded[found[0]] if found else None
