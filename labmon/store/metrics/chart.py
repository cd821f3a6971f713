"""Several metrics of one machine over time, for a page: no more points than asked for, gaps as gaps.

A gap is where an expected reading is missing: how often the machine is measured is taken from the readings
themselves. There stands a point without values, so that no line is drawn over it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from operator import truediv
from statistics import median
from typing import Any

from psycopg import Connection

from labmon.config.tables import RetentionConfig
from labmon.store.metrics.rollup import LEVELS, bucket_of
from labmon.store.metrics.series import MOMENT, RAW, Columns, buckets, is_kept, level_of, readings

POINTS = 1440
"""As many as a day has minutes, and a screen about as many columns."""

WIDTHS = (
    *(timedelta(minutes=n) for n in (1, 5, 10, 15, 30)),
    *(timedelta(hours=n) for n in (1, 2, 3, 6, 12)),
    *(timedelta(days=n) for n in (1, 7, 28)),
)

ROWS = 2500
"""That one chart is made of: 20 us each with a dozen metrics."""

PACKED = timedelta(hours=6)
"""To unpack a reading takes four times as long as to read it."""

LATE = 1.75
"""Usual intervals without a reading that are a gap."""

Values = list[float | None]


@dataclass(frozen=True, slots=True)
class Chart:
    """Points by time. Every list is as long as `t`; None where there is no value."""

    resolution: str  #: "raw", or of the sums that it is made of: "5m", "1h", "1d"
    step: float  #: seconds between two points as a rule; 0 when nobody can say
    t: list[int]  #: seconds since 1970, of the reading or the start of the step
    average: dict[str, Values]
    most: dict[str, Values]  #: the very same lists where every point is one reading


def width(first: datetime, past: datetime, points: int, now: datetime, keep: RetentionConfig) -> timedelta:
    """The finest width with no more than this many buckets that is made of `ROWS` at most; else the coarsest.

    Readings of days that may be packed are read for `PACKED` at most.
    """
    span = past - first
    is_packed = keep.pack_after > 0 and first < now - timedelta(seconds=keep.pack_after)
    for one in WIDTHS:
        level = level_of(one)
        if level is None:
            is_quick = span <= (PACKED if is_packed else ROWS * WIDTHS[0])
        else:
            is_quick = level is LEVELS[-1] or span <= ROWS * level.width
            is_quick = is_quick and is_kept(level, first, now, keep.rollup_5m)
        if span <= max(1, points) * one and is_quick:
            return one
    return WIDTHS[-1]


def chart(
    connection: Connection[Any],
    system: int,
    metrics: Sequence[str],
    first: datetime,
    past: datetime,
    *,
    points: int = POINTS,
    now: datetime,
    keep: RetentionConfig,
) -> Chart:
    """These metrics, names of `METRICS`: single readings where they are few enough, else the whole buckets
    from the first that begins at `first` or later, to the one that `past` is in."""
    names = list(dict.fromkeys(metrics))
    step = width(first, past, points, now, keep)
    level = level_of(step)
    if level is None:
        found = readings(connection, system, names, first, past, limit=points + 1, is_rounded=True)
        if len(found.at) <= points:
            return _drawn(names, RAW, found, 0)
    begin = bucket_of(step, first - MOMENT) + step
    found = buckets(connection, system, names, step, begin, past, ("avg", "max"), is_rounded=True)
    return _drawn(names, level.name if level else RAW, found, int(step.total_seconds()), points)


def _drawn(metrics: Sequence[str], resolution: str, found: Columns, step: int, points: int = 0) -> Chart:
    """Single values, or where there is a `step` an average and a maximum of each metric."""
    at, columns = found.at, found.values
    missing, usual = gaps(at, found.readings, step)
    for place in reversed(missing):
        at.insert(place, at[place - 1] + max(step, usual))
        for column in columns:
            column.insert(place, None)
    parts = 2 if step else 1
    if points:  # gaps are points, too
        at, columns = at[-points:], [column[-points:] for column in columns]
    return Chart(
        resolution,
        step or round(usual, 1),
        [int(one) for one in at],
        dict(zip(metrics, columns[::parts], strict=True)),
        dict(zip(metrics, columns[parts - 1 :: parts], strict=True)),
    )


def gaps(at: Sequence[float], readings: Sequence[int], width: float) -> tuple[list[int], float]:
    """The places of points before which a reading is missing, and the usual seconds between two readings.

    `width` is that of the steps which the points stand for, 0 for single readings: between two steps lie
    `width` seconds less at least.
    """
    if len(at) < 3:
        return [], 0.0
    spans = [after - before for before, after in pairwise(at)]
    usual = median(map(truediv, spans, readings))
    longest = max(LATE * usual + width, width)
    return [place for place, span in enumerate(spans, 1) if span > longest], usual
