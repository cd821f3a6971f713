from datetime import UTC, date, datetime, time, timedelta

import pytest

from labmon.app.inventory.metrics import sparkline
from labmon.cli.times import moment, unknown_zone, with_unit
from labmon.errors import UsageError
from labmon.messages import utcnow


@pytest.mark.parametrize(
    "text, expected",
    [
        ("2026-03-01T14:30Z", datetime(2026, 3, 1, 14, 30, tzinfo=UTC)),
        ("2026-03-01T14:30:05+02:00", datetime(2026, 3, 1, 12, 30, 5, tzinfo=UTC)),
        ("2026-03-01", datetime(2026, 3, 1).astimezone()),
        (" 2026-03-01 14:30 ", datetime(2026, 3, 1, 14, 30).astimezone()),
    ],
)
def test_a_time_is_read_in_its_zone_or_in_this_machines(text, expected):
    assert moment(text) == expected


def test_a_time_without_a_date_is_todays():
    assert moment("14:30") == datetime.now().replace(hour=14, minute=30, second=0, microsecond=0).astimezone()


@pytest.mark.parametrize("word, days", [("today", 0), ("Yesterday", 1)])
def test_days_have_names(word, days):
    day = date.today() - timedelta(days=days)
    assert moment(word) == datetime.combine(day, time()).astimezone()
    assert moment(f" {word}  08:00 ") == datetime.combine(day, time(8)).astimezone()
    assert moment(f"{word} 08:00:30") == datetime.combine(day, time(8, 0, 30)).astimezone()


@pytest.mark.parametrize("text", ["90", "1.5", "2026", "1772000000"])
def test_a_number_without_a_unit_is_refused_with_the_units(text):
    for read in (moment, with_unit):
        with pytest.raises(UsageError, match=f"{text}.* has no unit: .*{text}h"):
            read(text)


def test_a_duration_with_a_unit_passes_and_so_does_none_at_all():
    assert [with_unit(text) for text in ("90s", "1w", "0", None)] == ["90s", "1w", "0", None]


@pytest.mark.parametrize(
    "text, ago", [("2h", 7200), ("7d", 604800), ("1.5m", 90), ("1w", 604800), (" 2W ", 1209600), ("now", 0)]
)
def test_a_duration_is_so_long_ago(text, ago):
    assert abs(utcnow() - timedelta(seconds=ago) - moment(text)) < timedelta(seconds=5)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tomorrow",
        "yesterday 25:00",
        "yesterday noon",
        "1y",
        "25:00",
        "2026-13-01",
        "-2h",
        "1.2.3h",
        "99999d",
        "0001-01-01",
    ],
)
def test_what_is_no_time_is_said(text):
    with pytest.raises(UsageError):
        moment(text)


def test_a_sparkline_goes_from_the_least_to_the_most():
    assert sparkline([0, 50, 100]) == "▁▅█ 0 to 100"
    assert sparkline([5.0]) == "▁ 5 to 5"
    assert len(sparkline(list(range(1000))).split()[0]) <= 60


@pytest.mark.parametrize(
    "name, text, gap",
    [
        ("Europe/Berlin", "2027-03-28 02:30", "from 02:00 to 03:00"),
        ("America/New_York", "2027-03-14 02:00", "from 02:00 to 03:00"),
        ("Australia/Lord_Howe", "2027-10-03 02:29:59", "from 02:00 to 02:30"),
    ],
)
def test_a_time_that_does_not_exist_is_refused_with_the_gap(zone, name, text, gap):
    zone(name)
    with pytest.raises(UsageError, match=f"does not exist: the clocks go {gap}"):
        moment(text)


@pytest.mark.parametrize(
    "text", ["2027-03-28 01:59", "2027-03-28 03:00", "2027-10-31 03:00", "2027-03-28T02:30Z"]
)
def test_the_times_around_a_gap_exist(zone, text):
    zone("Europe/Berlin")
    moment(text)


@pytest.mark.parametrize(
    "name, text, first, second",
    [
        ("Europe/Berlin", "2027-10-31 02:30", "02:30+02:00", "02:30+01:00"),
        ("America/New_York", "2027-11-07 01:00", "01:00-04:00", "01:00-05:00"),
        ("Australia/Lord_Howe", "2027-04-04 01:59:59", "01:59:59+11:00", "01:59:59+10:30"),
    ],
)
def test_a_time_that_comes_twice_is_refused_with_both_and_each_is_taken(zone, name, text, first, second):
    zone(name)
    with pytest.raises(UsageError) as refused:
        moment(text)
    assert f"{text[:10]}T{first} is the first, {text[:10]}T{second} the second" in str(refused.value)
    assert moment(f"{text[:10]}T{first}") < moment(f"{text[:10]}T{second}")


@pytest.mark.parametrize(
    "name, day, begins",
    [
        ("Africa/Cairo", "2027-04-30", datetime(2027, 4, 29, 22, tzinfo=UTC)),  # begins at 01:00
        ("America/Havana", "2027-11-07", datetime(2027, 11, 7, 4, tzinfo=UTC)),  # its first hour comes twice
        ("Europe/Berlin", "2027-10-31", datetime(2027, 10, 30, 22, tzinfo=UTC)),
    ],
)
def test_a_day_is_its_first_moment_also_where_the_clocks_change_at_midnight(zone, name, day, begins):
    zone(name)
    assert moment(day) == begins


@pytest.mark.parametrize("name", ["Bogus", "Europe/Berlim", ":Mars/Phobos"])
def test_a_zone_that_there_is_not_is_named(monkeypatch, name):
    monkeypatch.setenv("TZ", name)
    assert unknown_zone() == name.removeprefix(":")


@pytest.mark.parametrize("name", ["", "UTC", "Europe/Berlin", ":Europe/Berlin", "CET-1CEST,M3.5.0,M10.5.0/3"])
def test_a_zone_that_there_is_is_not(monkeypatch, name):
    monkeypatch.setenv("TZ", name)
    assert unknown_zone() == ""
