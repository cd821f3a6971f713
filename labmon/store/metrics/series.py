"""Readings of one machine over time: single ones, or in buckets of any width.

Wherever they are kept: plain or packed, and what is not summed up yet, at the end, is worked out from the
readings, so the newest is always in.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString, NamedTuple

from psycopg import Connection
from psycopg.sql import SQL, Composed, Identifier

from labmon.store.metrics.kinds import is_real
from labmon.store.metrics.rollup import LEVELS, RollupLevel, bucket_of

RAW = "raw"
USUAL = timedelta(minutes=1)
"""How often a machine is measured, more or less."""

MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Point:
    """A reading of one metric, or what several of them were."""

    at: datetime  #: of the reading, or the start of the bucket
    count: int
    min: float
    avg: float
    max: float


class Columns(NamedTuple):
    """Readings or buckets in the order of time. The database makes the lists: rows cost twice the time."""

    at: list[float]  #: seconds since 1970, of the reading or the start of the bucket
    readings: list[int]  #: in each; at least one
    values: list[list[Any]]  #: of each metric, in buckets of each of its parts; None: it was not measured


def level_of(width: timedelta) -> RollupLevel | None:
    """The coarsest sums that buckets of this width can be made of; None: readings."""
    return next((level for level in reversed(LEVELS) if not width % level.width), None)


def is_kept(level: RollupLevel, first: datetime, now: datetime, keep_5m: float) -> bool:
    """Whether sums go back to `first`. `keep_5m`: seconds that those of 5 minutes are kept, 0: for ever."""
    return level is not LEVELS[0] or not keep_5m or first >= now - timedelta(seconds=keep_5m)


def resolution(first: datetime, past: datetime, points: int, now: datetime, *, keep_5m: float = 0) -> str:
    """The finest resolution that gives no more than about this many points: "raw", "5m", "1h" or "1d".

    `keep_5m` is how many seconds the sums of 5 minutes are kept.
    """
    span = past - first
    if span <= points * USUAL:
        return RAW
    for level in LEVELS[:-1]:
        if span <= points * level.width and is_kept(level, first, now, keep_5m):
            return level.name
    return LEVELS[-1].name


def series(
    connection: Connection[Any], system: int, metric: str, first: datetime, past: datetime, resolution: str
) -> list[Point]:
    """The points of first <= time < past, oldest first; with sums, the whole buckets that both are in."""
    if resolution == RAW:
        found = readings(connection, system, [metric], first, past)
        parts = [[1] * len(found.at), *(found.values * 3)]
    else:
        (width,) = (level.width for level in LEVELS if level.name == resolution)
        first = bucket_of(width, first)
        found = buckets(connection, system, [metric], width, first, past, ("count", "min", "avg", "max"))
        parts = found.values
    rows = zip(found.at, *parts, strict=True)
    shown = _as_stored if is_real(metric) else float
    return [
        Point(datetime.fromtimestamp(at, UTC), count, *map(shown, values))
        for at, count, *values in rows
        if values[-1] is not None
    ]


def _as_stored(value: float) -> float:
    """With the digits that a `real` has, and none that come from its being kept in binary."""
    stored = struct.pack("f", value)
    short = (float(f"{value:.{digits}g}") for digits in range(6, 10))
    return next(one for one in short if struct.pack("f", one) == stored)


def readings(
    connection: Connection[Any],
    system: int,
    metrics: Sequence[str],
    first: datetime,
    past: datetime,
    *,
    limit: int | None = None,
    is_rounded: bool = False,
) -> Columns:
    """The single readings of first <= time < past, oldest first; with a limit no more than this many.

    `is_rounded` is to three digits, and makes floats of integers.
    """
    rows = SQL(
        "SELECT date_part('epoch', collected_at) AS at, 1 AS readings {columns} {source} "
        "ORDER BY collected_at LIMIT {limit}"
    ).format(columns=_each(", {name}", metrics), source=_SINCE_FIRST, limit=limit)
    known = {"system": system, "first": first, "past": past}
    return _columns(connection, rows, [Identifier(one) for one in metrics], known, is_rounded)


def buckets(
    connection: Connection[Any],
    system: int,
    metrics: Sequence[str],
    width: timedelta,
    first: datetime,
    past: datetime,
    parts: Sequence[str],
    *,
    is_rounded: bool = False,
) -> Columns:
    """Those with a reading, from the bucket that begins at `first` to the one that `past` is in, in order.

    `width` is a multiple of a minute; `parts` are some of count, min, avg, max.
    """
    level = level_of(width)
    known = {"system": system, "first": first, "width": width}
    known["past"] = bucket_of(width, past - MOMENT) + width
    if level is None:
        pieces = SQL("SELECT collected_at AS at, 1 AS readings {columns} {source}").format(
            columns=_each(_OF_READING, metrics), source=_SINCE_FIRST
        )
    else:
        pieces = _sums(level, metrics)
        # A statement of its own: known beforehand, it lets the planner forget the days before.
        newest = SQL(_NEWEST).format(table=Identifier(level.table))
        edge = connection.cursor(binary=True).execute(newest, known).fetchone()
        known |= {"finer": level.width, "edge": edge[0] + level.width if edge else first}
    rows = SQL(
        "SELECT date_part('epoch', bucket) AS at, sum(readings)::bigint AS readings {columns} "
        "FROM (SELECT labmon_bucket(%(width)s, at) AS bucket, * FROM ({pieces}) AS piece) AS piece "
        "GROUP BY bucket ORDER BY bucket"
    ).format(columns=_each("".join(_PARTS[part] for part in parts), metrics), pieces=pieces)
    names = [Identifier(f"{metric}_{part}") for metric in metrics for part in parts]
    return _columns(connection, rows, names, known, is_rounded)


def _columns(
    connection: Connection[Any],
    rows: Composed,
    names: Sequence[Identifier],
    values: Mapping[str, Any],
    is_rounded: bool,
) -> Columns:
    """Rows, in their order, as lists."""
    form = SQL(", array_agg(round({}::double precision * 1000) / 1000)" if is_rounded else ", array_agg({})")
    query = SQL("SELECT array_agg(at), array_agg(readings) {columns} FROM ({rows}) AS row").format(
        columns=SQL("").join(form.format(name) for name in names), rows=rows
    )
    (found,) = connection.cursor(binary=True).execute(query, values).fetchall()
    at, counts, *columns = (one or [] for one in found)
    return Columns(at, counts, columns)


def _each(template: LiteralString, metrics: Sequence[str]) -> Composed:
    return SQL("").join(
        SQL(template).format(
            name=Identifier(metric),
            **{part: Identifier(f"{metric}_{part}") for part in _PARTS},
        )
        for metric in metrics
    )


_PARTS: dict[str, LiteralString] = {
    "count": ", COALESCE(sum({count}), 0)::bigint AS {count}",
    "min": ", min({min})::double precision AS {min}",
    "avg": ", sum({avg} * {count}) / NULLIF(sum({count}), 0) AS {avg}",
    "max": ", max({max})::double precision AS {max}",
}
"""What is made of pieces; pieces have columns of these names for each metric."""

_OF_READING: LiteralString = (
    ", ({name} IS NOT NULL)::integer AS {count}, {name} AS {min}, {name}::double precision AS {avg}, "
    "{name} AS {max}"
)
_OF_READINGS: LiteralString = (
    ", count({name})::integer AS {count}, min({name}) AS {min}, avg({name}::double precision) AS {avg}, "
    "max({name}) AS {max}"
)
_OF_SUMS: LiteralString = (
    ", COALESCE({count}, CASE WHEN {avg} IS NOT NULL THEN readings END) AS {count}, {min}, "
    "{avg}::double precision, {max}"
)

_SUMMED: LiteralString = "system_id = %(system)s AND bucket >= %(first)s AND bucket < %(past)s"
_NEWEST: LiteralString = f"SELECT bucket FROM {{table}} WHERE {_SUMMED} ORDER BY bucket DESC LIMIT 1"

_SOURCE = SQL("""
FROM readings WHERE system_id = %(system)s AND collected_at >= {first} AND collected_at < %(past)s
AND hour >= labmon_bucket('1 hour', {first}) AND hour < %(past)s
""")
_SINCE_FIRST = _SOURCE.format(first=SQL("%(first)s"))


def _sums(level: RollupLevel, metrics: Sequence[str]) -> Composed:
    """What is summed up, and after that the readings."""
    return SQL(
        f"SELECT bucket AS at, readings {{columns}} FROM {{table}} WHERE {_SUMMED} "
        "UNION ALL SELECT labmon_bucket(%(finer)s, collected_at) AS at, count(*) AS readings {fresh} "
        "{source} GROUP BY 1"
    ).format(
        table=Identifier(level.table),
        columns=_each(_OF_SUMS, metrics),
        fresh=_each(_OF_READINGS, metrics),
        source=_SOURCE.format(first=SQL("%(edge)s")),
    )
