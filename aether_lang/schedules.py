"""Schedules as people write them, normalised, and when they are due (section 16 of the language reference).

Pure: no clock is read here. `cronsim` and the zones are loaded at the first schedule that needs them; most need none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice
from typing import Literal

import msgspec

from .literals import DAY, HOUR, LONG_UNITS, SHORT_UNITS

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NAMED = {"hourly": HOUR, "daily": DAY, "weekly": 7 * DAY, "monthly": 30 * DAY}
_LONGEST = 366 * DAY
_SHOWN = 60
_LONGEST_GAP_MIN = 25 * 60
"""Minutes for which a clock was ever put on: Samoa left out a whole day."""
_SAME_HOUR_MOST = 24 * 60
"""Times of one day that may fall together behind such a gap."""
_ANY_YEAR = datetime(2000, 1, 1)

_INTERVAL = re.compile(
    r"(?:every\s+)?(?:([0-9]+(?:\.[0-9]+)?)(?:\s*|_))?(ms|[smhdw]|second|minute|hour|day|week|month)s?"
)
_WALL = re.compile(r"(daily|weekly|monthly)?\s*(?:on\s+(\w+))?\s*(?:at\s+([0-9]{1,2}:[0-9]{2}))?", re.ASCII)
_CRON_BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


class Schedule(msgspec.Struct, frozen=True):
    """When something runs. `interval`: every `seconds` from the last start. `wall`: at the time `at` (`HH:MM`) in
    the zone `tz`, on the weekdays `days` (0 is Monday; empty means all) or, with `kind` `monthly`, on the days of
    the month `days`. `cron`: the five fields in `cron`, names kept."""

    kind: Literal["interval", "wall", "monthly", "cron"]
    seconds: float | None = None
    cron: str | None = None
    at: str | None = None
    days: tuple[int, ...] = ()
    tz: str = "UTC"


class ScheduleError(ValueError):
    """A text that is no schedule; the message says what is wrong with it."""


def parse_schedule(value: str | float, tz: str = "UTC") -> Schedule:
    """The schedule a text or a number of seconds means, in the zone `tz`. Raises `ScheduleError` with the reason when
    it means none, is never due, or there is no such zone."""
    _zone(tz)
    if isinstance(value, bool):
        raise ScheduleError("a schedule is a text or a number of seconds")
    if isinstance(value, int | float):
        return Schedule("interval", seconds=_checked(value), tz=tz)
    text = " ".join(value.replace('"', " ").replace("'", " ").split())
    plain = text.removeprefix("@").lower()
    if not plain:
        raise ScheduleError("the schedule is empty")
    if plain in _NAMED:
        return Schedule("interval", seconds=_NAMED[plain], tz=tz)
    if len(plain.split()) == 5 and not plain.startswith(("every", "on ", "daily", "weekly", "monthly")):
        return Schedule("cron", cron=_cron(text), tz=tz)
    interval = _INTERVAL.fullmatch(plain)
    if interval is not None and (interval[1] or plain.startswith("every")):
        unit = interval[2].lower()
        size = SHORT_UNITS.get(unit) or LONG_UNITS[unit]
        return Schedule("interval", seconds=_checked(float(interval[1] or 1) * size), tz=tz)
    if re.fullmatch(r"(?:every )?[0-9]+(?:\.[0-9]+)?", plain):
        return Schedule("interval", seconds=_checked(float(plain.removeprefix("every "))), tz=tz)
    return _wall(plain, text, tz)


def next_after(schedule: Schedule, moment: datetime) -> datetime | None:
    """The first time after `moment` at which the schedule is due, in UTC; None behind the end of the calendar.

    Of an interval `moment` is the last start. A time of day that the clocks of the zone leave out is due at the first
    one behind, one that they show twice only the first time; a cron schedule for every hour goes on through both, hour
    by hour. `moment` has a zone of its own; without one this raises `ValueError`."""
    if moment.tzinfo is None:
        raise ValueError("a moment without a zone is none")
    try:
        moment = moment.astimezone(UTC)
        if schedule.kind == "interval":
            return moment + timedelta(seconds=schedule.seconds or 0)
        due = islice(_due(schedule, moment), _SAME_HOUR_MOST + 2)
        return next((one for one in due if one > moment), None)
    except (OverflowError, ValueError):
        return None


def _due(schedule: Schedule, moment: datetime) -> Iterator[datetime]:
    """Times at which it is due, in their order, from shortly before or behind the moment on."""
    from cronsim import CronSim

    zone = _zone(schedule.tz)
    fields = _fields(schedule)
    if zone is UTC or fields.split()[1] == "*":
        yield from (one.astimezone(UTC) for one in CronSim(fields, moment.astimezone(zone)))
        return
    # By the clock on the wall, which may show the same time twice and leave others out.
    for wall in CronSim(fields, moment.astimezone(zone).replace(tzinfo=None)):
        yield _shown(wall, zone)


def _shown(wall: datetime, zone: tzinfo) -> datetime:
    """When the clocks of the zone first show this time, or the first one behind that they show."""
    for minutes in range(_LONGEST_GAP_MIN):
        there = (wall + timedelta(minutes=minutes)).replace(tzinfo=zone)
        at = there.astimezone(UTC)
        if at.astimezone(zone).replace(tzinfo=None) == there.replace(tzinfo=None):
            return at
    return wall.replace(tzinfo=zone).astimezone(UTC)


def _fields(schedule: Schedule) -> str:
    """The five fields of cron that say the same."""
    if schedule.cron is not None:
        return schedule.cron
    hour, _, minute = (schedule.at or "00:00").partition(":")
    days = ",".join(str(day + 1 if schedule.kind == "wall" else day) for day in schedule.days) or "*"
    if schedule.kind == "monthly":
        return f"{int(minute)} {int(hour)} {days} * *"
    return f"{int(minute)} {int(hour)} * * {days}"


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ScheduleError(f"'{name[:_SHOWN]}' is no time zone; write one such as Europe/Berlin") from None


def _checked(seconds: float) -> float:
    if not 1 <= seconds <= _LONGEST:
        raise ScheduleError("an interval lies between 1 second and 366 days")
    return int(seconds) if seconds == int(seconds) else float(seconds)


def _wall(plain: str, text: str, tz: str) -> Schedule:
    found = _WALL.fullmatch(plain.removeprefix("every day ").strip())
    if found is None or not any(found.groups()):
        raise ScheduleError(
            f"'{text[:_SHOWN]}' is no schedule; write `every 30 minutes`, `daily at 06:00` or five cron fields"
        )
    period, day, time = found.groups()
    at = _clock(time) if time else "00:00"
    if day is None:
        if period in ("weekly", "monthly"):
            raise ScheduleError(
                f"`{period} at` needs a day: `{period} on {'Friday' if period == 'weekly' else '1'} at {at}`"
            )
        return Schedule("wall", at=at, tz=tz)
    if period == "monthly":
        if not day.isdecimal() or len(day) > 2 or not 1 <= int(day) <= 31:
            raise ScheduleError(f"'{day[:_SHOWN]}' is no day of the month")
        return Schedule("monthly", at=at, days=(int(day),), tz=tz)
    return Schedule("wall", at=at, days=_days(day), tz=tz)


def _clock(text: str) -> str:
    hour, minute = (int(part) for part in text.split(":"))
    if hour > 23 or minute > 59:
        raise ScheduleError(f"'{text}' is no time of day")
    return f"{hour:02}:{minute:02}"


def _days(word: str) -> tuple[int, ...]:
    if word in ("weekdays", "weekday"):
        return (0, 1, 2, 3, 4)
    if word in ("weekends", "weekend"):
        return (5, 6)
    singular = word.removesuffix("s")
    for number, name in enumerate(WEEKDAYS):
        if singular in (name, name[:3]):
            return (number,)
    raise ScheduleError(f"'{word[:_SHOWN]}' is no weekday")


def _cron(text: str) -> str:
    from cronsim import CronSim, CronSimError

    fields = text.split()
    for place, field in enumerate(fields):
        low, high = _CRON_BOUNDS[place]
        for part in field.split(","):
            _cron_part(part, low, high, place)
    cron = " ".join(fields)
    try:
        next(CronSim(cron, _ANY_YEAR))
    except (CronSimError, StopIteration):
        raise ScheduleError(f"'{cron[:_SHOWN]}' is never due: no such day comes") from None
    return cron


def _cron_part(part: str, low: int, high: int, place: int) -> None:
    span, slash, step = part.partition("/")
    if slash and not (_is_number(step) and 0 < int(step) <= high):
        raise ScheduleError(f"'{part[:_SHOWN]}' is no step of a cron field")
    if span == "*":
        return
    ends = [_cron_value(end, low, high, place) for end in span.split("-", 2)]
    if len(ends) > 2 or (len(ends) == 2 and ends[0] > ends[1]):
        raise ScheduleError(f"'{part[:_SHOWN]}' is no range of a cron field")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 4


def _cron_value(text: str, low: int, high: int, place: int) -> int:
    name = text.lower()
    if place == 3 and name in _MONTHS:
        return _MONTHS.index(name) + 1
    if place == 4:
        for number, weekday in enumerate(WEEKDAYS):
            if name == weekday[:3]:
                return (number + 1) % 7
    if not _is_number(text) or not low <= int(text) <= high:
        raise ScheduleError(f"'{text[:_SHOWN]}' is outside {low}-{high}, in field {place + 1} of the cron schedule")
    return int(text)
