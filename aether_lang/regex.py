"""Regular expressions: google-re2 behind the flags of section 2.5, linear in the length of the text."""

from collections.abc import Callable
from typing import Any, Final

import re2

MAX_PATTERN: Final = 500
"""The longest pattern in characters."""
_MEMORY: Final = 8 << 20
_FLAGS: Final = frozenset("gimsu")


class RegexError(ValueError):
    """The pattern or a flag is not one that RE2 knows; the text says which."""


class Regex:
    """A compiled pattern. `flags` may hold g (all matches), i, m, s and u (always on)."""

    __slots__ = ("compiled", "flags", "pattern")

    def __init__(self, pattern: str, flags: str = "") -> None:
        """RegexError for what RE2 refuses (lookaround, back-references) and for more than `MAX_PATTERN` characters."""
        if len(pattern) > MAX_PATTERN:
            raise RegexError(f"the pattern has {len(pattern)} characters, at most {MAX_PATTERN} are allowed")
        unknown = sorted(set(flags) - _FLAGS)
        if unknown:
            raise RegexError(f"unknown flag '{unknown[0]}', expected one of g i m s u")
        options = re2.Options()
        options.log_errors = False
        options.max_mem = _MEMORY
        modes = "".join(flag for flag in "ims" if flag in flags)
        try:
            self.compiled: Any = re2.compile(f"(?{modes}){pattern}" if modes else pattern, options)
        except re2.error as error:
            reason = error.args[0] if error.args else "unknown reason"
            raise RegexError(reason.decode() if isinstance(reason, bytes) else str(reason)) from None
        self.pattern = pattern
        self.flags = flags

    def test(self, text: str) -> bool:
        """Whether the pattern occurs in the text."""
        return self.compiled.search(text) is not None

    def match(self, text: str, more: Callable[[int], None]) -> list[str | None] | None:
        """The first match and its groups, or None; with flag g all matches. `more` hears how many there are so far."""
        if "g" in self.flags:
            every: list[str | None] = []
            for found in self.compiled.finditer(text):
                every.append(found.group(0))
                more(len(every))
            return every or None
        found = self.compiled.search(text)
        return None if found is None else [found.group(0), *found.groups()]

    def replace(self, text: str, put: Callable[[list[str | None]], str]) -> str:
        """The text with its first match, or all with flag g, replaced by `put([match, groups..])`."""
        parts: list[str] = []
        end = 0
        for found in self.compiled.finditer(text):
            parts += (text[end : found.start()], put([found.group(0), *found.groups()]))
            end = found.end()
            if "g" not in self.flags:
                break
        return "".join((*parts, text[end:]))

    def split(self, text: str, more: Callable[[int], None]) -> list[str]:
        """The text between the matches. `more` hears how many parts there are so far."""
        parts: list[str] = []
        end = 0
        for found in self.compiled.finditer(text):
            more(len(parts))
            if found.end() > found.start():
                parts.append(text[end : found.start()])
                end = found.end()
        return [*parts, text[end:]]
