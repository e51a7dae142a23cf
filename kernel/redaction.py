"""Secrets do not leave by the side: what tells of something, a log or an error, is cleaned of them first.

Two kinds are known: values that were registered, and texts that look like a secret whoever made them. A text without
either costs two microseconds. Where it is applied: `docs/audit.md`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    import re2

HIDDEN = "[redacted]"
REGISTERED = 1_000
"""Values that are registered at most; then the oldest goes."""
SHORTEST = 6
"""Characters of the shortest value that can be registered: a shorter one would stand in any text."""

_SHAPES = (
    r"(?P<a>(?i:\bbearer)[ \t]+)[A-Za-z0-9._~+/=-]{8,}",
    r"(?P<b>(?i:\bauthorization)[\"']?[ \t]*[:=][ \t]*[\"']?(?i:basic|digest|token)[ \t]+)[^\s\"',]+",
    r"(?P<c>\b[A-Za-z][A-Za-z0-9+.-]*://)[^\s/?#\"'<>]*@",
    r"\bwhsec_[A-Za-z0-9+/=_-]+",
    r"\beyJ[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]{2,}(?:\.[A-Za-z0-9_-]*)?",
    r"\bae[krt]_[A-Za-z0-9_-]{8,}",
    r"\bsetup-[A-Za-z0-9-]{10,}",
)
_MARKS = ("earer", "EARER", "uthorization", "UTHORIZATION", "://", "whsec_", "eyJ", "aek_", "aer_", "aet_", "setup-")
"""One of these stands in every text that has such a shape."""
_NAMES = re.compile(
    r"passw(or)?d|passphrase|secret|authorization|cookie|(api|private|master)_?key|(access|refresh|id|bearer)_token",
    re.IGNORECASE,
)
_VARIABLES = re.compile(r"TOKEN|PASSWORD|SECRET|KEYS?(_|\Z)", re.IGNORECASE)


class Redactions:
    """What is known of secrets in this process; `text` and `data` return what they are given without them."""

    def __init__(self) -> None:
        self._values: dict[str, None] = {}
        self._forms: tuple[str, ...] | None = ()
        """The values as they may stand in a text; None while they are to be made anew."""

    def register(self, value: str) -> None:
        """Hide this value from now on, also as a URL has it; one shorter than `SHORTEST` is left out."""
        if len(value) < SHORTEST:
            return
        self._values.pop(value, None)
        self._values[value] = None
        while len(self._values) > REGISTERED:
            del self._values[next(iter(self._values))]
        self._forms = None

    def forget(self, value: str) -> None:
        """Hide this value no longer: it opens nothing any more."""
        if value in self._values:
            del self._values[value]
            self._forms = None

    def register_environment(self, environ: Mapping[str, str]) -> None:
        """Hide the values of our own variables whose names speak of tokens, passwords, secrets or keys."""
        for name, value in environ.items():
            if name.startswith("AETHERRA_") and _VARIABLES.search(name):
                self.register(value)

    def text(self, text: str) -> str:
        """Return the text with `[redacted]` in place of every secret."""
        for form in self._forms if self._forms is not None else self._made():
            if form in text:
                text = text.replace(form, HIDDEN)
        for mark in _MARKS:
            if mark in text:
                return str(_shapes().sub(_hide, text))
        return text

    def data(self, value: Any) -> Any:
        """Return plain data without secrets; a value under a name such as `password` is hidden whatever it is."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self._key(key): self._named(key, inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.data(inner) for inner in value]
        return value

    def _key(self, key: Any) -> Any:
        return self.text(key) if isinstance(key, str) else key

    def _named(self, key: Any, value: Any) -> Any:
        if isinstance(value, str) and value and isinstance(key, str) and _NAMES.search(key):
            return HIDDEN
        return self.data(value)

    def _made(self) -> tuple[str, ...]:
        forms: dict[str, None] = {}
        for value in self._values:
            forms[value] = None
            forms[quote(value, safe="")] = None
            forms[value.encode("unicode_escape").decode()] = None
        # The longest first: one value may be the beginning of another.
        self._forms = tuple(sorted(forms, key=len, reverse=True))
        return self._forms


@cache
def _shapes() -> re2._Regexp[str]:
    import re2  # loaded only once something looks like a secret

    return re2.compile("|".join(_SHAPES))


def _hide(match: Any) -> str:
    kept = match.group("a") or match.group("b")
    url = match.group("c")
    return f"{url}{HIDDEN}@" if url else f"{kept or ''}{HIDDEN}"


redactions = Redactions()
"""Of the whole process, as its log is."""
