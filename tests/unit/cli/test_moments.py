from datetime import UTC, datetime, timedelta

import pytest

from labmon.cli.metrics import sparkline
from labmon.cli.moments import moment
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


@pytest.mark.parametrize("text, ago", [("2h", 7200), ("7d", 604800), ("1.5m", 90)])
def test_a_duration_is_so_long_ago(text, ago):
    assert abs(utcnow() - timedelta(seconds=ago) - moment(text)) < timedelta(seconds=5)


@pytest.mark.parametrize(
    "text", ["", "yesterday", "25:00", "2026-13-01", "-2h", "1.2.3h", "99999d", "0001-01-01"]
)
def test_what_is_no_time_is_said(text):
    with pytest.raises(UsageError):
        moment(text)


def test_a_sparkline_goes_from_the_least_to_the_most():
    assert sparkline([0, 50, 100]) == "▁▅█ 0 to 100"
    assert sparkline([5.0]) == "▁ 5 to 5"
    assert len(sparkline(list(range(1000))).split()[0]) <= 60
