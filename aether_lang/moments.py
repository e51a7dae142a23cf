"""Moments and spans as people write them: seconds, ISO-8601, `2 days`, `30m`, `1_hour`."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from .refusals import Refused

_SPAN = re.compile(r"\s*(\d+(?:\.\d+)?)[\s_]*([a-z]+)\s*", re.IGNORECASE)
_UNITS = {
    "ms": 0.001,
    "s": 1, "sec": 1, "second": 1,
    "m": 60, "min": 60, "minute": 60,
    "h": 3_600, "hour": 3_600,
    "d": 86_400, "day": 86_400,
    "w": 604_800, "week": 604_800,
    "month": 2_592_000,
}  # fmt: skip


def span(text: str) -> float | None:
    """Return the seconds that `text` (`30m`, `2 days`, `1h 30m`) stands for, or None when it is no span."""
    total, end = 0.0, 0
    while match := _SPAN.match(text, end):
        word = match[2].lower()
        unit = _UNITS.get(word) or _UNITS.get(word.removesuffix("s"))
        if unit is None:
            return None
        total, end = total + float(match[1]) * unit, match.end()
    return total if end and end == len(text) else None


def moment(value: float | str, field: str, now: float, *, past: bool) -> float:
    """Return seconds since 1970 for a number, an ISO time, or a span: that long ago if `past`, else from now on."""
    if not isinstance(value, str):
        return float(value)
    text = value.strip()
    if text.lower() in ("now", "today", "yesterday"):
        midnight = now - now % 86_400
        return {"now": now, "today": midnight, "yesterday": midnight - 86_400}[text.lower()]
    length = span(text)
    if length is not None:
        return now - length if past else now + length
    try:
        read = datetime.fromisoformat(text)
        return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise Refused(
            f"{field}: expected seconds since 1970, an ISO-8601 time such as 2026-11-20T19:00:00Z, or a span such as "
            f"'2 days', got {text[:80]!r}",
            {"field": field},
        ) from None
