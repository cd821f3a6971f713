"""Several metrics over time, in buckets."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta

import pytest

from labmon.config.tables import RetentionConfig
from labmon.store.metrics import pack
from labmon.store.metrics.chart import POINTS, WIDTHS, chart, width
from labmon.store.metrics.rollup import bucket_of
from labmon.store.metrics.series import buckets

from .conftest import NOON
from .test_pack import DAY, packed
from .test_rollup import sum_up

MINUTE, HOUR, DAY_LONG = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
KEEP = RetentionConfig()
METRICS = ("cpu_percent", "load1", "gpu_percent")
ORIGIN = datetime(2000, 1, 1, tzinfo=UTC)


def naive(readings, metric, width, first, past):
    """{start: (readings, how many of this metric, least, average, most)} of the readings (time, values)."""
    first, past = (ORIGIN - (ORIGIN - at) // width * width for at in (first, past))
    buckets = defaultdict(list)
    for at, values in readings:
        if first <= at < past:
            buckets[bucket_of(width, at)].append(values.get(metric))
    lines = {}
    for start, values in sorted(buckets.items()):
        known = [one for one in values if one is not None]
        lines[start] = [len(values), len(known), None, None, None]
        if known:
            mean = pytest.approx(sum(known) / len(known))
            lines[start] = [len(values), len(known), min(known), mean, max(known)]
    return lines


@pytest.mark.parametrize("summed_up", [0, 61, 142, 400])
@pytest.mark.parametrize("form", ["plain", "packed", "unpacked"])
def test_a_chart_is_what_the_readings_say_however_they_are_kept(connection, put, summed_up, form):
    readings = [
        (
            NOON + m * MINUTE + timedelta(seconds=m % 7),
            {"load1": m % 11} | ({"cpu_percent": m % 90} if m % 3 else {}),
        )
        for m in range(300)
        if not 100 <= m < 140  # off meanwhile
    ]
    readings += [(NOON + timedelta(hours=7), {"cpu_percent": 5})]
    put(*((1, *one) for one in readings), (2, NOON, {"load1": 99}))
    sum_up(connection, NOON + summed_up * MINUTE)
    if form != "plain":
        packed(connection)
    if form == "unpacked":
        pack.unpack(connection, DAY)
    for step in WIDTHS:
        for first, past in (
            (NOON, NOON + 8 * HOUR),
            (NOON + 13.5 * MINUTE, NOON + 143 * MINUTE),
            (NOON - 400 * DAY_LONG, NOON + 8 * HOUR),
            (NOON + HOUR, NOON + HOUR),
        ):
            begin = -((ORIGIN - first) // step) * step + ORIGIN  # the first that begins no earlier
            found = buckets(connection, 1, METRICS, step, begin, past, ("count", "min", "avg", "max"))
            for place, metric in enumerate(METRICS):
                columns = (found.readings, *found.values[4 * place : 4 * place + 4])
                drawn = {
                    datetime.fromtimestamp(at, UTC): values
                    for at, *values in zip(found.at, *columns, strict=True)
                }
                assert drawn == naive(readings, metric, step, first, past), (step, first, past)
    assert chart(connection, 3, ["load1"], NOON, NOON + HOUR, now=NOON, keep=KEEP).t == []


@pytest.mark.parametrize(
    "span, points, ago, expected",
    [
        (HOUR, POINTS, 0, MINUTE),
        (24 * HOUR, POINTS, 0, MINUTE),
        (24 * HOUR, POINTS, 10, 5 * MINUTE),  # packed
        (6 * HOUR, POINTS, 10, MINUTE),
        (24 * HOUR, 100, 0, 15 * MINUTE),
        (7 * DAY_LONG, POINTS, 0, 10 * MINUTE),
        (7 * DAY_LONG, POINTS, 100, HOUR),  # whose sums of 5 minutes are gone
        (30 * DAY_LONG, POINTS, 0, HOUR),
        (365 * DAY_LONG, POINTS, 0, DAY_LONG),
        (3650 * DAY_LONG, POINTS, 0, 7 * DAY_LONG),
        (3650 * DAY_LONG, 500, 0, 28 * DAY_LONG),
        (HOUR, 0, 0, HOUR),
    ],
)
def test_the_width_is_the_finest_that_is_soon_read(span, points, ago, expected):
    past = NOON - ago * DAY_LONG
    assert width(past - span, past, points, NOON, KEEP) == expected


def test_no_chart_has_more_points_than_wanted_nor_reads_many_rows():
    for minutes in range(1, 3 * 365 * 1440, 7919):
        for points in (1, 10, 500, POINTS):
            span = timedelta(minutes=minutes)
            one = width(NOON - span, NOON, points, NOON, KEEP)
            assert span <= points * one or one == WIDTHS[-1]
            source = next(step for step in (DAY_LONG, HOUR, 5 * MINUTE, MINUTE) if not one % step)
            assert span <= 2500 * source or source == DAY_LONG
