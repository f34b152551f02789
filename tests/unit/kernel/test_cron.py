"""When a schedule is due: five and six fields, words, zones, and the two days a year on which the
clock jumps or repeats itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from bedplate.kernel.cron import SCHEDULE_CHARS_MAX, Schedule
from bedplate.kernel.errors import Refused

MINUTE = timedelta(minutes=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def due(schedule: str, zone: str | None, after: str, count: int = 1) -> list[str]:
    """The next times after `after`, in UTC, to the second."""
    found: list[str] = []
    instant: datetime | None = at(after)
    for _ in range(count):
        assert instant is not None
        instant = Schedule(schedule, zone).next_after(instant)
        found.append("never" if instant is None else f"{instant:%Y-%m-%d %H:%M:%S}")
    return found


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("*/15 * * * *", "2026-01-01 00:15:00"),
        ("0 9 * * 1", "2026-01-05 09:00:00"),
        ("0 9 * * mon", "2026-01-05 09:00:00"),
        ("0 0 29 2 *", "2028-02-29 00:00:00"),
        ("* * * * * 30", "2026-01-01 00:00:30"),
        ("0 0 1 jan *", "2027-01-01 00:00:00"),
        ("@hourly", "2026-01-01 01:00:00"),
        ("@daily", "2026-01-02 00:00:00"),
        ("@midnight", "2026-01-02 00:00:00"),
        ("@weekly", "2026-01-04 00:00:00"),
        ("@monthly", "2026-02-01 00:00:00"),
        ("@Yearly", "2027-01-01 00:00:00"),
        ("@annually", "2027-01-01 00:00:00"),
    ],
)
def test_the_next_time_is_strictly_later(schedule: str, expected: str) -> None:
    assert due(schedule, None, "2026-01-01 00:00:00") == [expected]


def test_a_sixth_field_is_seconds() -> None:
    assert due("* * * * * */20", None, "2026-01-01 00:00:01", 3) == [
        "2026-01-01 00:00:20", "2026-01-01 00:00:40", "2026-01-01 00:01:00",
    ]  # fmt: skip


def test_parts_of_a_second_do_not_hide_a_slot() -> None:
    schedule = Schedule("* * * * * *")
    just_before = at("2026-01-01 00:00:00") - timedelta(microseconds=1)
    assert schedule.next_after(just_before) == at("2026-01-01 00:00:00")
    just_after = at("2026-01-01 00:00:00") + timedelta(microseconds=1)
    assert schedule.next_after(just_after) == at("2026-01-01 00:00:01")


def test_a_schedule_is_read_on_the_clock_of_its_zone() -> None:
    assert due("0 9 * * *", "Asia/Kolkata", "2026-01-01 00:00") == ["2026-01-01 03:30:00"]
    assert due("0 9 * * *", "America/New_York", "2026-07-01 00:00") == ["2026-07-01 13:00:00"]


# Berlin, 29 March 2026: 02:00 is followed by 03:00, at 01:00 UTC.


def test_a_time_that_the_clock_jumps_over_is_due_at_the_jump() -> None:
    assert due("30 2 * * *", "Europe/Berlin", "2026-03-28 00:00", 3) == [
        "2026-03-28 01:30:00", "2026-03-29 01:00:00", "2026-03-30 00:30:00",
    ]  # fmt: skip


def test_several_times_that_are_jumped_over_are_due_once() -> None:
    assert due("*/10 2,3 * * *", "Europe/Berlin", "2026-03-29 00:00", 3) == [
        "2026-03-29 01:00:00", "2026-03-29 01:10:00", "2026-03-29 01:20:00",
    ]  # fmt: skip


def test_every_half_hour_stays_every_half_hour_when_the_clock_jumps() -> None:
    assert due("*/30 * * * *", "Europe/Berlin", "2026-03-29 00:15", 3) == [
        "2026-03-29 00:30:00", "2026-03-29 01:00:00", "2026-03-29 01:30:00",
    ]  # fmt: skip


# Berlin, 25 October 2026: 03:00 is followed by 02:00, at 01:00 UTC.


def test_a_time_that_is_repeated_is_due_the_first_time() -> None:
    assert due("30 2 * * *", "Europe/Berlin", "2026-10-24 12:00", 2) == [
        "2026-10-25 00:30:00", "2026-10-26 01:30:00",
    ]  # fmt: skip
    # Also when it is asked for between the two.
    assert due("30 2 * * *", "Europe/Berlin", "2026-10-25 01:10") == ["2026-10-26 01:30:00"]


def test_every_half_hour_stays_every_half_hour_when_the_clock_repeats() -> None:
    assert due("*/30 * * * *", "Europe/Berlin", "2026-10-25 00:00", 4) == [
        "2026-10-25 00:30:00", "2026-10-25 01:00:00", "2026-10-25 01:30:00",
        "2026-10-25 02:00:00",
    ]  # fmt: skip


def test_a_day_that_a_zone_left_out_is_made_up_for_at_the_jump() -> None:
    # Apia went from 29 to 31 December 2011, at 10:00 UTC.
    assert due("0 12 30 12 *", "Pacific/Apia", "2011-12-01 00:00") == ["2011-12-30 10:00:00"]
    assert due("0 * * * *", "Pacific/Apia", "2011-12-30 09:30", 2) == [
        "2011-12-30 10:00:00", "2011-12-30 11:00:00",
    ]  # fmt: skip


ZONES = {
    "Europe/Berlin": ("2026-03-29 01:00", "2026-10-25 01:00"),
    "America/New_York": ("2026-03-08 07:00", "2026-11-01 06:00"),
    "Australia/Lord_Howe": ("2026-04-04 15:00", "2026-10-03 15:30"),  # half an hour
    "Africa/Cairo": ("2026-04-23 22:00", "2026-10-29 21:00"),  # at midnight
    "America/Sao_Paulo": ("2018-11-04 03:00", "2019-02-17 02:00"),
}
moments = some.builds(
    lambda zone, which, minutes: (zone, at(ZONES[zone][which]) + minutes * MINUTE),
    some.sampled_from(sorted(ZONES)),
    some.integers(0, 1),
    some.integers(-26 * 60, 120),
)


def numbers(above: int) -> some.SearchStrategy[list[int]]:
    return some.lists(some.integers(0, above), min_size=1, max_size=4, unique=True)


def modelled(
    minutes: list[int], hours: list[int] | None, zone: ZoneInfo, after: datetime
) -> datetime:
    """Minute by minute along the zone's clock. `hours` None: all, as `*`."""

    def fits(wall: datetime) -> bool:
        return wall.minute in minutes and (hours is None or wall.hour in hours)

    instant = after.replace(second=0)
    while True:
        before = instant.astimezone(zone)
        instant += MINUTE
        local = instant.astimezone(zone)
        if hours is None:
            if fits(local):
                return instant
            continue
        wall = before.replace(tzinfo=None) + MINUTE
        while wall < local.replace(tzinfo=None):  # what was jumped over
            if fits(wall):
                return instant
            wall += MINUTE
        if fits(local) and not local.fold:
            return instant


@given(moments, numbers(59), some.none() | numbers(23))
@settings(max_examples=400, deadline=None)
def test_the_next_time_is_that_of_a_clock_watched_minute_by_minute(
    moment: tuple[str, datetime], minutes: list[int], hours: list[int] | None
) -> None:
    zone, after = moment
    schedule = f"{_list(minutes)} {'*' if hours is None else _list(hours)} * * *"
    expected = modelled(minutes, hours, ZoneInfo(zone), after)
    assert Schedule(schedule, zone).next_after(after) == expected


@given(moments, some.sampled_from(["*", "1,2,3", "*/2", "0-5"]), some.integers(1, 30))
@settings(max_examples=100, deadline=None)
def test_times_always_go_on_and_no_second_is_skipped(
    moment: tuple[str, datetime], hours: str, step: int
) -> None:
    zone, after = moment
    schedule = Schedule(f"*/{step} {hours} * * * */20", zone)
    first = schedule.next_after(after)
    assert first is not None
    assert first > after
    # Whoever asks later, but before the first, is told the same.
    assert schedule.next_after(after + (first - after) / 2) == first


def _list(values: list[int]) -> str:
    return ",".join(str(value) for value in values)


@pytest.mark.parametrize(
    "text",
    [
        "", "* * * *", "* * * * * * *", "60 * * * *", "* 24 * * *", "* * * * 8", "* * * * * 60",
        "@reboot", "@", "x * * * *", "0 0 30 2 *", "H * * * *", "* * * * R", "1,r(1-3) * * * *",
        "*/0 * * * *", "-1 * * * *", "5-1-3 * * * *", "* " * SCHEDULE_CHARS_MAX,
    ],
)  # fmt: skip
def test_what_is_no_schedule_or_never_due_is_refused(text: str) -> None:
    with pytest.raises(Refused, match=r"^schedule: "):
        Schedule(text)


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "../etc/passwd", "Europe", "Z" * 1000, "\0"])
def test_what_is_no_zone_is_refused(zone: str) -> None:
    with pytest.raises(Refused, match=r"^timezone: "):
        Schedule("* * * * *", zone)


def test_a_schedule_ends_with_the_calendar() -> None:
    assert due("0 0 1 1 *", None, "9999-06-01 00:00") == ["never"]
