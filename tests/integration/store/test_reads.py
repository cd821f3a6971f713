"""What is asked of the store."""

from datetime import UTC, datetime, timedelta

import pytest

from labmon.store.inventory.systems import systems
from labmon.store.metrics import pack
from labmon.store.metrics.latest import latest
from labmon.store.metrics.series import Point, resolution, series
from labmon.store.metrics.summary import summaries
from labmon.store.metrics.top import top

from .conftest import NOON
from .test_pack import DAY, packed
from .test_rollup import sum_up

MINUTE = timedelta(minutes=1)


def test_the_newest_reading_of_each_machine_and_who_is_free(connection, put):
    now = NOON + timedelta(minutes=10)
    put(
        (1, NOON, {"cpu_percent": 90, "logged_in_users": 1}),
        (1, NOON + MINUTE, {"cpu_percent": 3, "logged_in_users": 0}),
        (2, NOON, {"cpu_percent": 3, "logged_in_users": 2}),
        (3, NOON - timedelta(hours=1), {"cpu_percent": 1, "logged_in_users": 0}),
    )
    rows = latest(connection, now)
    assert [(one.system_id, one.cpu_percent, one.usage) for one in rows] == [
        (1, 3, "free"),
        (2, 3, "busy"),
        (3, 1, None),  # an hour ago, which says nothing about now
    ]
    assert [one.system_id for one in latest(connection, now, usage="free")] == [1]
    assert [one.system_id for one in latest(connection, now, ids=[2, 3])] == [2, 3]
    assert latest(connection, now, dept=2) == []


def test_a_machine_that_nobody_uses_but_that_computes_is_busy_and_one_that_cannot_say_is_neither(
    connection, put
):
    put(
        (1, NOON, {"cpu_percent": 21, "logged_in_users": 0}),
        (2, NOON, {"cpu_percent": 2}),
        (3, NOON, {"load1": 1}),
    )
    assert [one.usage for one in latest(connection, NOON)] == ["busy", None, None]


def test_the_newest_reading_may_be_packed(connection, put):
    put((1, NOON, {"cpu_percent": 7}))
    packed(connection)
    assert latest(connection, NOON, ids=[1])[0].cpu_percent == 7
    assert systems(connection, ids=[1])[0].cpu_percent == 7


@pytest.mark.parametrize(
    "span, points, ago, expected",
    [
        (timedelta(hours=1), 60, 0, "raw"),
        (timedelta(hours=1), 59, 0, "5m"),
        (timedelta(days=1), 288, 0, "5m"),
        (timedelta(days=30), 800, 0, "1h"),
        (timedelta(days=365), 800, 0, "1d"),
        (timedelta(days=1), 288, 100, "1h"),  # whose sums of 5 minutes are gone
        (timedelta(minutes=30), 60, 100, "raw"),
    ],
)
def test_the_resolution_is_the_finest_with_no_more_points_than_wanted(span, points, ago, expected):
    past = NOON - timedelta(days=ago)
    assert resolution(past - span, past, points, NOON, keep_5m=90 * 86400) == expected


def test_a_series_is_the_same_packed_or_not(connection, put):
    put(*((n, NOON + m * MINUTE, {"load1": m + n / 8}) for n in (1, 2) for m in range(90)))
    first, past = NOON + timedelta(minutes=10), NOON + timedelta(minutes=80)
    before = series(connection, 2, "load1", first, past, "raw")
    assert before[0] == Point(first, 1, 10.25, 10.25, 10.25)
    assert len(before) == 70
    packed(connection)
    assert series(connection, 2, "load1", first, past, "raw") == before
    pack.unpack(connection, DAY)
    assert series(connection, 2, "load1", first, past, "raw") == before


@pytest.mark.parametrize("summed_up", [0, 7, 30, 90])
def test_sums_go_up_to_the_newest_reading_however_far_they_have_got(connection, put, summed_up):
    put(
        *((1, NOON + m * MINUTE, {"load1": m % 5}) for m in range(33)),
        (1, NOON + MINUTE / 2, {"cpu_percent": 1}),
    )
    sum_up(connection, NOON + summed_up * MINUTE)
    points = series(connection, 1, "load1", NOON, NOON + timedelta(hours=1), "5m")
    assert [point.at for point in points] == [NOON + n * 5 * MINUTE for n in range(7)]
    assert {(point.count, point.min, point.avg, point.max) for point in points[:6]} == {(5, 0, 2, 4)}
    assert (points[6].count, points[6].avg) == (3, 1)
    (hour,) = series(connection, 1, "load1", NOON, NOON + timedelta(hours=1), "1h")
    assert (hour.count, hour.max) == (33, 4)
    (day,) = series(connection, 1, "load1", datetime(2026, 3, 1, tzinfo=UTC), NOON + timedelta(hours=1), "1d")
    assert (day.count, day.max) == (33, 4)
    assert series(connection, 2, "load1", NOON, NOON + timedelta(hours=1), "5m") == []


def test_who_is_highest_now_and_over_some_time(connection, put):
    now = NOON + timedelta(hours=2)
    put(
        *((1, NOON + m * MINUTE, {"cpu_percent": 50}) for m in range(120)),
        *((2, NOON + m * MINUTE, {"cpu_percent": 10}) for m in range(119)),
        (2, NOON + timedelta(minutes=119), {"cpu_percent": 99}),
        (3, NOON, {"cpu_percent": 100}),  # not measured lately
    )
    sum_up(connection, now)
    assert [(one.system_id, one.value) for one in top(connection, "cpu_percent", now)] == [(2, 99), (1, 50)]
    lowest = top(connection, "cpu_percent", now, limit=1, lowest=True)
    assert [one.system_id for one in lowest] == [1]
    over = top(connection, "cpu_percent", now, over=timedelta(hours=3))
    assert [(one.system_id, one.value, one.highest) for one in over] == [
        (3, 100, 100),
        (1, 50, 50),
        (2, pytest.approx((119 * 10 + 99) / 120), 99),
    ]
    assert top(connection, "gpu_percent", now) == []


def test_departments_and_labs_are_summed_up(connection, put):
    connection.execute("UPDATE departments SET name = 'Physics'")
    connection.execute("INSERT INTO labs (lab_id, dept_id, name) VALUES (5, 1, 'Optics')")
    connection.execute("UPDATE systems SET lab_id = 5 WHERE system_id < 3")
    put(
        (1, NOON, {"cpu_percent": 10, "ram_percent": 20, "disk_percent": 30, "logged_in_users": 0}),
        (2, NOON, {"cpu_percent": 50, "ram_percent": 40, "disk_percent": 90, "logged_in_users": 3}),
    )
    (physics,) = summaries(connection, NOON)
    assert (physics.name, physics.systems, physics.measured) == ("Physics", 3, 2)
    assert (physics.free, physics.busy, physics.logged_in_users) == (1, 1, 3)
    assert (physics.cpu_percent, physics.ram_percent, physics.disk_percent) == (30, 30, 90)
    optics, none = summaries(connection, NOON, by_lab=True)
    assert (optics.lab_id, optics.name, optics.systems, optics.cpu_percent) == (5, "Optics", 2, 30)
    assert (none.lab_id, none.systems, none.measured, none.cpu_percent) == (None, 1, 0, None)
    assert summaries(connection, NOON, dept=2) == []


# findings C7
@pytest.mark.parametrize("summed", [False, True])
@pytest.mark.parametrize("hours", [1, 24, 24 * 10])
def test_the_highest_over_some_time_counts_what_is_not_summed_up_yet(connection, put, summed, hours):
    now = NOON + timedelta(hours=2, minutes=3)
    first = now - timedelta(minutes=50)
    put(*((1, first + timedelta(minutes=n), {"cpu_percent": 10.0}) for n in range(40)))
    put(*((2, first + timedelta(minutes=n), {"cpu_percent": 20.0}) for n in range(40)))
    if summed:
        sum_up(connection, now)
    put(*((1, first + timedelta(minutes=n), {"cpu_percent": 90.0}) for n in range(40, 50)))
    found = top(connection, "cpu_percent", now, over=timedelta(hours=hours))
    assert [(one.system_id, one.value, one.highest) for one in found] == [(1, 26, 90), (2, 20, 20)]
