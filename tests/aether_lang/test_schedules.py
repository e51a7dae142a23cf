"""Every form of a schedule, and what is refused."""

import pytest

from aether_lang.schedules import Schedule, ScheduleError, parse_schedule


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
    ],
)  # fmt: skip
def test_what_is_no_schedule_is_refused_with_a_reason(text: str | float) -> None:
    with pytest.raises(ScheduleError, match="."):
        parse_schedule(text)
