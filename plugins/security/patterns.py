"""What a policy file may write for a principal or a right, and what that covers.

`*` at the end stands for all the rest, elsewhere for one segment between colons. At the end it may follow `.`, `/`, `-`
or `_` within the last segment (`module.*`), so that it always stands for whole parts of a name.
"""

from __future__ import annotations

import re
from typing import Self

import msgspec

from kernel import nearest

KINDS = ("core", "role", "user", "token", "script", "agent", "plugin")
"""The kinds of principal that have a name; `anonymous` has none."""

_DOMAIN = re.compile(r"[a-z0-9_.\-/]+\Z")
_NAME = re.compile(r"[A-Za-z0-9_.\-/]+\Z")
_OPEN = re.compile(r"([A-Za-z0-9_.\-/]*[./\-_])?\Z")


class Pattern(msgspec.Struct, frozen=True):
    """A parsed pattern: segments (`*` is any one), and, where it ends in `*`, what the rest must begin with."""

    text: str
    segments: tuple[str, ...]
    rest: str | None = None

    def fits(self, asked: tuple[str, ...]) -> bool:
        """Tell whether segments of a name fit, each and in number, the rest taken together."""
        count = len(self.segments)
        if self.rest is None:
            if len(asked) != count:
                return False
        elif len(asked) <= count or (self.rest and not _begins(":".join(asked[count:]), self.rest)):
            return False
        return all(mine in ("*", theirs) for mine, theirs in zip(self.segments, asked, strict=False))


class Right(Pattern, frozen=True):
    """A pattern of rights: `x:y` covers every object as well."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the pattern; raise `ValueError` saying what is wrong with the text."""
        segments, rest = _split(text)
        if len(segments) + (rest is not None) < 2 and text != "*":
            raise ValueError(f"{text!r} is no right: expected domain:verb or domain:verb:object")
        for position, segment in enumerate(segments):
            _allowed(text, segment, _DOMAIN if position < 2 else _NAME, "a-z 0-9 _ . - /" if position < 2 else _LETTERS)
        if rest and len(segments) < 2:
            raise ValueError(f"{text!r}: in a domain or verb, * stands for the whole of it")
        return cls(text, segments, rest)

    def covers(self, asked: tuple[str, ...]) -> bool:
        """Tell whether holding this right means holding the one that is asked for."""
        if self.rest is None and len(self.segments) == 2 and len(asked) > 2:
            asked = asked[:2]
        return self.fits(asked)

    def touches(self, asked: tuple[str, ...]) -> bool:
        """Tell whether taking this right away takes away what is asked for; asking for the whole asks for each part."""
        if len(asked) == 2 and len(self.segments) >= 2:
            return all(mine in ("*", theirs) for mine, theirs in zip(self.segments[:2], asked, strict=True))
        return self.covers(asked)


class Who(Pattern, frozen=True):
    """A pattern of principals."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the pattern; raise `ValueError` saying what is wrong with the text."""
        if text in ("*", "anonymous"):
            return cls(text, (), "") if text == "*" else cls(text, (text,))
        kind, colon, _ = text.partition(":")
        if kind not in KINDS or not colon:
            close = nearest(kind, [*KINDS, "anonymous"])
            hint = (
                f"did you mean {close!r}?"
                if close
                else f"expected {', '.join(f'{k}:NAME' for k in KINDS)}, anonymous or *"
            )
            raise ValueError(f"{text!r} is no principal; {hint}")
        segments, rest = _split(text)
        if len(segments) + (rest is not None) != 2:
            raise ValueError(f"{text!r} is no principal: expected {kind}:NAME, with one colon")
        for segment in segments:
            _allowed(text, segment, _NAME, _LETTERS)
            if segment == "*":
                raise ValueError(f"{text!r}: the kind of a principal is written out")
        return cls(text, segments, rest)


_LETTERS = "letters, digits and _ . - /"


def _split(text: str) -> tuple[tuple[str, ...], str | None]:
    segments = text.split(":")
    if not segments[-1].endswith("*"):
        return tuple(segments), None
    rest = segments.pop()[:-1]
    if not _OPEN.match(rest):
        raise ValueError(f"{text!r}: * stands for whole parts; before it comes nothing or one of . / - _")
    return tuple(segments), rest


def _allowed(text: str, segment: str, letters: re.Pattern[str], said: str) -> None:
    if not segment:
        raise ValueError(f"{text!r}: there is nothing between two colons or after the last")
    if segment != "*" and not letters.match(segment):
        star = "; * stands alone between colons, or at the end" if "*" in segment else ""
        raise ValueError(f"{text!r}: {segment!r} may hold {said} only{star}")


def _begins(text: str, start: str) -> bool:
    return len(text) > len(start) and text.startswith(start)
