"""Time functions (language reference, section 20): seconds since 1970, durations, dates in UTC."""

import re
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from ..values import ScriptError, kind, number, text

_UNITS: Final = {
    "ms": 0.001,
    "s": 1,
    "m": 60,
    "h": 3600,
    "d": 86_400,
    "w": 604_800,
    "millisecond": 0.001,
    "second": 1,
    "sec": 1,
    "minute": 60,
    "min": 60,
    "hour": 3600,
    "day": 86_400,
    "week": 604_800,
    "month": 2_592_000,
}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)[ _]?([a-z]+)")
_CODES: Final = frozenset("YmdHMSyjaAbBpIZ%fFT")


class Clock(Protocol):
    """What time functions ask of the runtime."""

    def now(self) -> float:
        """Seconds since 1970, from the host."""

    def sized(self, value: str) -> str:
        """The string, once its length is checked and charged."""


def seconds(value: Any, what: str = "a duration") -> float | int:
    """A duration in seconds: numbers as they are, text such as "30s", "10 minutes", "1 hour 30 min"."""
    if type(value) is not str:
        return number(value, what)  # type: ignore[no-any-return]
    source = value.strip().lower().replace(" and ", " ").replace(",", " ")
    try:
        return float(source) if "." in source else int(source)
    except ValueError:
        pass
    total: float | int = 0
    end = 0
    for match in _DURATION.finditer(source):
        unit = match[2]
        size = _UNITS.get(unit, _UNITS.get(unit.removesuffix("s")))
        if size is None or source[end : match.start()].strip():
            break
        total += (float(match[1]) if "." in match[1] else int(match[1])) * size
        end = match.end()
    if not end or source[end:].strip():
        raise ScriptError("ValueError", f'{value[:40]!r} is no duration; expected one such as "30s" or "10 minutes"')
    return total


def moment(value: Any, what: str) -> datetime:
    """A time as datetime in UTC: seconds since 1970, or text that `parse_time` reads."""
    stamp = parsed(value) if type(value) is str else number(value, what)
    try:
        return datetime.fromtimestamp(stamp, UTC)
    except (ValueError, OverflowError, OSError):
        raise ScriptError("ValueError", f"{text(value)} is no time between the years 1 and 9999") from None


def parsed(source: str) -> float:
    """Seconds since 1970 of an ISO 8601 text; UTC where it names no zone."""
    try:
        found = datetime.fromisoformat(source.strip())
    except ValueError:
        raise ScriptError(
            "ValueError", f'{source[:40]!r} is no time; expected one such as "2025-01-31T18:00:00Z"'
        ) from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def now(rt: Clock) -> float:
    """Seconds since 1970."""
    return rt.now()


def today(rt: Clock) -> str:
    """The date, `YYYY-MM-DD`."""
    return date(rt)


def date(rt: Clock, t: Any = None) -> str:
    """The date of a time, `YYYY-MM-DD`."""
    return moment(rt.now() if t is None else t, "date").strftime("%Y-%m-%d")


def time_since(rt: Clock, t: Any) -> Any:
    """The seconds since a time."""
    return rt.now() - (parsed(t) if type(t) is str else number(0 if t is None else t, "time_since"))


def format_time(rt: Clock, t: Any = None, fmt: Any = "%Y-%m-%d %H:%M:%S") -> str:
    """The time as text; the format knows the usual letters behind `%`."""
    if type(fmt) is not str:
        raise ScriptError("TypeError", f"the format of a time must be a string, not {kind(fmt)}")
    for code in re.findall(r"%(.?)", fmt, re.DOTALL):
        if code not in _CODES:
            raise ScriptError("ValueError", f"unknown letter in the format of a time: %{code}")
    when = moment(rt.now() if t is None else t, "format_time")
    return rt.sized(when.strftime(fmt.encode("utf-8", "replace").decode("utf-8")))


def parse_time(_rt: Clock, s: Any) -> Any:
    """Seconds since 1970 of an ISO 8601 text."""
    return parsed(s) if type(s) is str else number(s, "parse_time")


def parse_duration(_rt: Clock, s: Any) -> Any:
    """The seconds of a duration."""
    return seconds(s, "parse_duration")


def calculate_duration(_rt: Clock, a: Any, b: Any) -> Any:
    """b - a."""
    return number(0 if b is None else b, "calculate_duration") - number(0 if a is None else a, "calculate_duration")


def new_date(rt: Clock, t: Any = None) -> dict[str, Any]:
    """`new Date(t)`: the parts of a time as a dict."""
    when = moment(rt.now() if t is None else t, "Date")
    return {
        "timestamp": when.timestamp(),
        "year": when.year,
        "month": when.month,
        "day": when.day,
        "hour": when.hour,
        "minute": when.minute,
        "second": when.second,
        "weekday": when.isoweekday(),
        "iso": when.isoformat().replace("+00:00", "Z"),
    }
