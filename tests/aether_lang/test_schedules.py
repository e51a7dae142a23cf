"""Every form of a schedule, what is refused, and when each is due, also where clocks are put on and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aether_lang.schedules import Schedule, ScheduleError, next_after, parse_schedule

BERLIN = "Europe/Berlin"


def at(text: str, tz: str = "UTC") -> datetime:
    """Return a moment written in the time of a zone."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(tz))


def due(schedule: str | float, after: str | datetime, tz: str = "UTC", count: int = 1) -> list[str]:
    """Return the next times of a schedule in its zone, with the offset of their clocks."""
    parsed, moment = parse_schedule(schedule, tz), at(after, tz) if isinstance(after, str) else after
    found = []
    for _ in range(count):
        following = next_after(parsed, moment)
        assert following is not None
        assert following > moment
        found.append(following.astimezone(ZoneInfo(tz)).strftime("%a %Y-%m-%d %H:%M %z"))
        moment = following
    return found


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("every 30 minutes", 1800), ("every 24h", 86400), ("every 1 hour", 3600), ("every 30_seconds", 30),
        ("hourly", 3600), ("daily", 86400), ("weekly", 604800), ("@hourly", 3600), ("Every 2 Hours", 7200),
        ("every minute", 60), (3600, 3600), ("90s", 90), ("every 1.5h", 5400),
    ],
)  # fmt: skip
def test_intervals_are_seconds(text: str | int, seconds: int) -> None:
    assert parse_schedule(text) == Schedule("interval", seconds=seconds)


@pytest.mark.parametrize(
    ("text", "at", "days"),
    [
        ("daily at 06:00", "06:00", ()),
        ('daily at "22:00"', "22:00", ()),
        ('weekly on "Friday at 18:00"', "18:00", (4,)),
        ("weekly on Monday", "00:00", (0,)),
        ("weekly on Sunday at 2:05", "02:05", (6,)),
        ("on weekdays at 09:00", "09:00", (0, 1, 2, 3, 4)),
    ],
)
def test_wall_times_have_a_clock_and_days(text: str, at: str, days: tuple[int, ...]) -> None:
    assert parse_schedule(text, tz="Europe/Berlin") == Schedule("wall", at=at, days=days, tz="Europe/Berlin")


def test_a_day_of_the_month_is_kept() -> None:
    assert parse_schedule("monthly on 1 at 03:00") == Schedule("monthly", at="03:00", days=(1,))


@pytest.mark.parametrize("text", ["0 6 * * 1-5", "*/5 0-6/2 1,15 jan-mar sun", "@hourly"])
def test_cron_fields_may_hold_ranges_steps_and_names(text: str) -> None:
    found = parse_schedule(text)
    assert found.kind == "interval" or found.cron == text


@pytest.mark.parametrize(
    "text",
    [
        "", "sometimes", "every blue moon", "daily at 25:00", "weekly at 03:00", "monthly on 40", "weekly on Blursday",
        "61 * * * *", "* * * * fun", "*/0 * * * *", "5-1 * * * *", "every 0 minutes", 0.5, float("nan"), 1e12,
        True, float("inf"), 10**400, "every 5\u017f",
        "every \u0663 minutes", "\u0663 * * * *", "1-2-3 * * * *", "* * * *",
        "* * * * * *", "0 0 L * *", "0 0 * * 1#2", "0 0 ? * *", "*/99999999999 * * * *", "monthly on \u0661",
        "every " + "9" * 5000 + " hours", "x" * 100_000, "1," * 50_000 + " * * * *", "@yearly", "daily at 06:00 UTC",
    ],
)  # fmt: skip
def test_what_is_no_schedule_is_refused_with_a_reason(text: str | float) -> None:
    with pytest.raises(ScheduleError, match="."):
        parse_schedule(text)


@pytest.mark.parametrize("text", ["0 0 30 2 *", "0 0 31 2,4,6,9,11 *", "0 0 30,31 feb *", "0 0 31 4 */2"])
def test_a_schedule_that_is_never_due_is_refused(text: str) -> None:
    with pytest.raises(ScheduleError, match="is never due"):
        parse_schedule(text)


@pytest.mark.parametrize(
    "tz", ["Mars/Olympus", "", "../../etc/passwd", "/etc/passwd", "Europe", "europe/\0", "x" * 9999]
)
def test_what_is_no_zone_is_refused(tz: str) -> None:
    with pytest.raises(ScheduleError, match="is no time zone"):
        parse_schedule("daily at 06:00", tz)


def test_the_reason_does_not_repeat_a_long_text() -> None:
    for text in ("x" * 100_000, "x" * 100_000 + " * * * *", "monthly on " + "1" * 100_000, "on " + "x" * 100_000):
        with pytest.raises(ScheduleError) as caught:
            parse_schedule(text)
        assert len(str(caught.value)) < 300


# When it is due ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("every 30 minutes", "Wed 2026-03-04 06:30 +0000"),
        ("every 24h", "Thu 2026-03-05 06:00 +0000"),
        ("every 1 hour", "Wed 2026-03-04 07:00 +0000"),
        ("every 90_seconds", "Wed 2026-03-04 06:01 +0000"),
        ("hourly", "Wed 2026-03-04 07:00 +0000"),
        ("daily", "Thu 2026-03-05 06:00 +0000"),
        ("@hourly", "Wed 2026-03-04 07:00 +0000"),
        ("weekly", "Wed 2026-03-11 06:00 +0000"),
        (3600, "Wed 2026-03-04 07:00 +0000"),
        ("daily at 06:00", "Thu 2026-03-05 06:00 +0000"),
        ('daily at "22:00"', "Wed 2026-03-04 22:00 +0000"),
        ('weekly on "Friday at 18:00"', "Fri 2026-03-06 18:00 +0000"),
        ("weekly on Monday", "Mon 2026-03-09 00:00 +0000"),
        ("weekly on Sunday at 02:00", "Sun 2026-03-08 02:00 +0000"),
        ("on weekdays at 09:00", "Wed 2026-03-04 09:00 +0000"),
        ("on weekends at 09:00", "Sat 2026-03-07 09:00 +0000"),
        ("monthly on 1 at 03:00", "Wed 2026-04-01 03:00 +0000"),
        ("monthly on 31 at 03:00", "Tue 2026-03-31 03:00 +0000"),
        ("0 6 * * 1-5", "Thu 2026-03-05 06:00 +0000"),
        ("*/20 * * * *", "Wed 2026-03-04 06:20 +0000"),
        ("0 0 29 2 *", "Tue 2028-02-29 00:00 +0000"),
        ("30 8 * jan-feb sun", "Sun 2027-01-03 08:30 +0000"),
        ("0 0 13 * FRI", "Fri 2026-03-06 00:00 +0000"),
        ("0 0 * * 7", "Sun 2026-03-08 00:00 +0000"),
    ],
)
def test_each_form_is_due_when_it_says(schedule: str | float, expected: str) -> None:
    # A Wednesday, at exactly six.
    assert due(schedule, "2026-03-04 06:00") == [expected]


def test_a_month_without_the_day_is_left_out() -> None:
    assert due("monthly on 31 at 03:00", "2026-03-31 12:00", count=2) == [
        "Sun 2026-05-31 03:00 +0000",
        "Fri 2026-07-31 03:00 +0000",
    ]


def test_a_time_of_day_is_that_of_the_zone_in_summer_and_in_winter() -> None:
    assert due("daily at 06:00", "2026-03-28 05:00", BERLIN, 2) == [
        "Sat 2026-03-28 06:00 +0100",
        "Sun 2026-03-29 06:00 +0200",
    ]


@pytest.mark.parametrize("schedule", ["daily at 02:30", "30 2 * * *", "*/15 2 * * *", "on weekends at 02:00"])
def test_a_time_that_the_clocks_leave_out_is_due_once_at_the_next_that_there_is(schedule: str) -> None:
    # At two o'clock it is three.
    found = due(schedule, "2026-03-29 01:59", BERLIN, 2)
    assert found[0] == "Sun 2026-03-29 03:00 +0200"
    assert not found[1].startswith("Sun 2026-03-29")


def test_a_time_that_the_clocks_show_twice_is_due_the_first_time_only() -> None:
    # At three o'clock it is two again.
    assert due("daily at 02:30", "2026-10-25 01:00", BERLIN, 2) == [
        "Sun 2026-10-25 02:30 +0200",
        "Mon 2026-10-26 02:30 +0100",
    ]
    assert due("*/30 2 * * *", "2026-10-25 01:00", BERLIN, 3)[1:] == [
        "Sun 2026-10-25 02:30 +0200",
        "Mon 2026-10-26 02:00 +0100",
    ]
    # Asked between the two, by the clock of the second.
    between = at("2026-10-25 02:15", BERLIN).replace(fold=1)
    assert due("daily at 02:30", between, BERLIN) == ["Mon 2026-10-26 02:30 +0100"]


def test_every_hour_is_every_hour_that_passes_whatever_the_clocks_show() -> None:
    assert due("30 * * * *", "2026-10-25 01:45", BERLIN, 3) == [
        "Sun 2026-10-25 02:30 +0200",
        "Sun 2026-10-25 02:30 +0100",
        "Sun 2026-10-25 03:30 +0100",
    ]
    assert due("30 * * * *", "2026-03-29 01:00", BERLIN, 2) == [
        "Sun 2026-03-29 01:30 +0100",
        "Sun 2026-03-29 03:30 +0200",
    ]


def test_an_interval_knows_no_clocks() -> None:
    assert due("every 24h", "2026-03-28 12:00", BERLIN) == ["Sun 2026-03-29 13:00 +0200"]


def test_clocks_may_be_put_on_by_half_an_hour_or_a_whole_day() -> None:
    assert due("daily at 02:15", "2026-10-04 01:00", "Australia/Lord_Howe")[0] == "Sun 2026-10-04 02:30 +1100"
    assert due("daily at 18:00", "2011-12-29 19:00", "Pacific/Apia", 2) == [
        "Sat 2011-12-31 00:00 +1400",
        "Sat 2011-12-31 18:00 +1400",
    ]


def test_the_moment_may_be_written_in_any_zone_and_must_be_in_one() -> None:
    schedule = parse_schedule("daily at 06:00", BERLIN)
    moment = at("2026-03-04 06:00", BERLIN)
    assert next_after(schedule, moment) == next_after(schedule, moment.astimezone(timezone(timedelta(hours=-9))))
    with pytest.raises(ValueError, match="without a zone"):
        next_after(schedule, datetime(2026, 3, 4))


@pytest.mark.parametrize("text", ["daily at 06:00", "every 24h", "0 0 29 2 *", "*/5 * * * *"])
@pytest.mark.parametrize("tz", ["UTC", BERLIN])
def test_behind_the_end_of_the_calendar_nothing_is_due(text: str, tz: str) -> None:
    assert next_after(parse_schedule(text, tz), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)) is None


@given(
    seconds=st.integers(0, 40 * 365 * 86_400),
    schedule=st.sampled_from(
        ["daily at 02:30", "weekly on sunday at 02:30", "30 2 * * *", "15 * * * *", "*/7 1-3 * 3,10 *", "monthly on 25"]
    ),
    tz=st.sampled_from(["UTC", BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Cairo"]),
)
def test_nothing_is_left_out_between_a_moment_and_the_next_time(seconds: int, schedule: str, tz: str) -> None:
    parsed = parse_schedule(schedule, tz)
    moment = datetime(2000, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    following = next_after(parsed, moment)
    assert following is not None
    assert moment < following
    between = moment + (following - moment) * 0.5
    assert next_after(parsed, between) == next_after(parsed, following - timedelta(seconds=1)) == following


@given(st.text(max_size=40) | st.from_regex(r"[0-9*/,\-a-z ]{1,30}", fullmatch=True) | st.floats() | st.integers())
def test_any_value_is_a_schedule_that_is_due_or_is_refused(value: str | float) -> None:
    try:
        found = parse_schedule(value)
    except ScheduleError:
        return
    assert next_after(found, datetime(2026, 1, 1, tzinfo=UTC)) is not None
