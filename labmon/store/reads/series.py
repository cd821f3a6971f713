"""One metric of one machine over time, as finely as the range deserves."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row
from psycopg.sql import SQL, Identifier

from labmon.store.rollup import LEVELS, Level

RAW = "raw"
USUAL = timedelta(minutes=1)
"""How often a machine is measured, more or less."""


@dataclass(frozen=True, slots=True)
class Point:
    """A reading, or what several of them were."""

    at: datetime  #: of the reading, or the start of the bucket
    count: int
    min: float
    avg: float
    max: float


def resolution(first: datetime, past: datetime, points: int, now: datetime, *, keep_5m: float = 0) -> str:
    """The finest that gives no more than about so many points: "raw", "5m", "1h" or "1d".

    `keep_5m` is how many seconds the sums of 5 minutes are kept.
    """
    span = past - first
    if span <= points * USUAL:
        return RAW
    for level in LEVELS[:-1]:
        is_kept = level.name != "5m" or not keep_5m or first >= now - timedelta(seconds=keep_5m)
        if span <= points * level.width and is_kept:
            return level.name
    return LEVELS[-1].name


def series(
    connection: Connection[Any], system: int, metric: str, first: datetime, past: datetime, resolution: str
) -> list[Point]:
    """The points of first <= time < past, oldest first; with sums, from the whole bucket that `first` is in.

    What is not summed up yet, at the end, is worked out from the readings, so the newest is always in.
    """
    if resolution == RAW:
        return _readings(connection, system, metric, first, past)
    (level,) = (level for level in LEVELS if level.name == resolution)
    first -= (first - datetime(2000, 1, 1, tzinfo=UTC)) % level.width
    sums = _sums(connection, level, system, metric, first, past)
    edge = sums[-1].at + level.width if sums else first
    return sums + _fresh(connection, level, system, metric, edge, past)


_WHERE = SQL(
    "system_id = %(system)s AND collected_at >= %(first)s AND collected_at < %(past)s "
    "AND hour >= labmon_bucket('1 hour', %(first)s) AND hour < %(past)s AND {metric} IS NOT NULL"
)


def _readings(
    connection: Connection[Any], system: int, metric: str, first: datetime, past: datetime
) -> list[Point]:
    with connection.cursor(row_factory=class_row(Point)) as cursor:
        cursor.execute(
            SQL(
                "SELECT collected_at AS at, 1 AS count, {metric} AS min, {metric} AS avg, {metric} AS max "
                "FROM readings WHERE {where} ORDER BY collected_at"
            ).format(metric=Identifier(metric), where=_WHERE.format(metric=Identifier(metric))),
            {"system": system, "first": first, "past": past},
        )
        return cursor.fetchall()


def _sums(
    connection: Connection[Any], level: Level, system: int, metric: str, first: datetime, past: datetime
) -> list[Point]:
    with connection.cursor(row_factory=class_row(Point)) as cursor:
        cursor.execute(
            SQL(
                "SELECT bucket AS at, COALESCE({count}, readings) AS count, "
                "{least} AS min, {average} AS avg, {most} AS max FROM {table} "
                "WHERE system_id = %(system)s AND bucket >= %(first)s AND bucket < %(past)s "
                "AND {average} IS NOT NULL ORDER BY bucket"
            ).format(
                table=Identifier(level.table),
                count=Identifier(f"{metric}_count"),
                least=Identifier(f"{metric}_min"),
                average=Identifier(f"{metric}_avg"),
                most=Identifier(f"{metric}_max"),
            ),
            {"system": system, "first": first, "past": past},
        )
        return cursor.fetchall()


def _fresh(
    connection: Connection[Any], level: Level, system: int, metric: str, first: datetime, past: datetime
) -> list[Point]:
    with connection.cursor(row_factory=class_row(Point)) as cursor:
        cursor.execute(
            SQL(
                "SELECT labmon_bucket(%(width)s, collected_at) AS at, count(*) AS count, "
                "min({metric}) AS min, avg({metric}::double precision) AS avg, max({metric}) AS max "
                "FROM readings WHERE {where} GROUP BY 1 ORDER BY 1"
            ).format(metric=Identifier(metric), where=_WHERE.format(metric=Identifier(metric))),
            {"width": level.width, "system": system, "first": first, "past": past},
        )
        return cursor.fetchall()
