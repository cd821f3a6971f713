"""Readings summed up by 5 minutes, hours and days: of each metric how many, least, average, most.

A trigger notes, with every batch that is stored, which buckets of which machines it touched (`rollup_due`).
A bucket is summed up when it has ended, and again whenever something comes late; the next coarser bucket is
due then. Notes are taken in the transaction that writes the sums, and are visible only together with the
readings that they are about, so neither a crash nor a slow writer leaves a sum wrong.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

from psycopg import Connection
from psycopg.sql import SQL, Composed, Identifier

from labmon.messages import Readings
from labmon.store.metrics import partitions

METRICS: tuple[str, ...] = Readings.__struct_fields__


@dataclass(frozen=True, slots=True)
class RollupLevel:
    """One resolution, and how it is made of the one before."""

    name: str
    width: timedelta

    @property
    def table(self) -> str:
        return f"metrics_{self.name}"


LEVELS = (
    RollupLevel("5m", timedelta(minutes=5)),
    RollupLevel("1h", timedelta(hours=1)),
    RollupLevel("1d", timedelta(days=1)),
)


def bucket_of(width: timedelta, at: datetime) -> datetime:
    """The start of the bucket that a moment is in; `labmon_bucket` in the database."""
    return at - (at - datetime(2000, 1, 1, tzinfo=UTC)) % width


LATE = timedelta(days=1)
"""Data rolled up this long after its day is late."""

# Averages of numbers that a real cannot hold would be an error, and for ever.
_AVERAGE: LiteralString = "CASE WHEN abs({average}) < 1e-37 THEN 0 ELSE {average} END"

_OF_READINGS: LiteralString = (
    "NULLIF(NULLIF(count({name}), count(*)), 0), min({name}), "
    + _AVERAGE.replace("{average}", "sum({name}::double precision) / count({name})")
    + ", max({name})"
)
_OF_SUMS: LiteralString = (
    "NULLIF(NULLIF(sum({n}), sum(readings)), 0), min({least}), "
    + _AVERAGE.replace("{average}", "sum({average}::double precision * {n}) / sum({n})")
    + ", max({most})"
)
_N: LiteralString = "COALESCE({count}, CASE WHEN {average} IS NULL THEN 0 ELSE readings END) AS {n}"


def _names(metric: str) -> dict[str, Identifier]:
    parts = {"count": "count", "least": "min", "average": "avg", "most": "max", "n": "n"}
    return {"name": Identifier(metric)} | {
        part: Identifier(f"{metric}_{suffix}") for part, suffix in parts.items()
    }


def _each(template: LiteralString) -> Composed:
    return SQL(", ").join(SQL(template).format(**_names(metric)) for metric in METRICS)


_COLUMNS = _each("{count}, {least}, {average}, {most}")
_UPDATES = _each(
    "{count} = EXCLUDED.{count}, {least} = EXCLUDED.{least}, {average} = EXCLUDED.{average}, "
    "{most} = EXCLUDED.{most}"
)

# A look at the index for every bucket: no worse than a scan for a whole day, and nothing for a few machines.
# The bounds of the day, which say no more, let the planner forget the other days.
FROM_READINGS = SQL(
    """
    SELECT count(*) AS readings, {of} FROM readings
    WHERE readings.system_id = touched.system_id
      AND collected_at >= touched.bucket AND collected_at < touched.bucket + %(width)s
      AND hour >= labmon_bucket('1 hour', touched.bucket) AND hour < touched.bucket + %(width)s
      AND collected_at >= %(first)s AND collected_at < %(past)s AND hour >= %(first)s AND hour < %(past)s
    """
).format(of=_each(_OF_READINGS))


def _from_sums(level: RollupLevel) -> Composed:
    return SQL(
        """
        SELECT sum(readings) AS readings, {of} FROM (
            SELECT *, {n} FROM {finer} AS finer
            WHERE finer.system_id = touched.system_id
              AND finer.bucket >= touched.bucket AND finer.bucket < touched.bucket + %(width)s
              AND finer.bucket >= %(first)s AND finer.bucket < %(past)s
        ) AS finer
        """
    ).format(of=_each(_OF_SUMS), n=_each(_N), finer=Identifier(level.table))


def _statement(level: RollupLevel, source: Composed) -> Composed:
    return SQL(
        """
        INSERT INTO {table} (system_id, bucket, readings, {columns})
        SELECT touched.system_id, touched.bucket, summed.* FROM touched, LATERAL ({source}) AS summed
        WHERE summed.readings > 0 ORDER BY touched.system_id, touched.bucket
        ON CONFLICT (system_id, bucket) DO UPDATE SET readings = EXCLUDED.readings, {updates}
        """
    ).format(table=Identifier(level.table), columns=_COLUMNS, source=source, updates=_UPDATES)


_TOUCHED = """
CREATE TEMPORARY TABLE IF NOT EXISTS touched (system_id integer, bucket timestamptz) ON COMMIT DELETE ROWS
"""

_TAKE = """
WITH due AS (
    DELETE FROM rollup_due
    WHERE level = %(level)s AND bucket >= %(first)s AND bucket < %(past)s AND bucket <= %(now)s - %(width)s
    RETURNING bucket, systems
)
INSERT INTO touched (system_id, bucket)
SELECT DISTINCT system_id, bucket FROM due, unnest(systems) AS system_id ORDER BY 1, 2
"""

_OLDEST = """
SELECT date_trunc('day', min(bucket), 'UTC') FROM rollup_due
WHERE level = %(level)s AND bucket <= %(now)s - %(width)s
"""

_PASS_ON = """
INSERT INTO rollup_due (level, bucket, systems)
SELECT %(coarser)s, labmon_bucket(%(width)s, bucket), array_agg(DISTINCT system_id) FROM touched GROUP BY 2
"""


def roll_up(connection: Connection[Any], now: datetime, *, keep_5m: float = 0) -> int:
    """Sum up one day's worth of what is due, at the finest level first, in the caller's transaction.

    Returns how many buckets were written anew: call it until there are none. Two at once would wait for each
    other (see `housekeeping`). `keep_5m` is how many seconds sums of 5 minutes are kept: older ones are not
    made again.
    """
    for place, level in enumerate(LEVELS):
        known = {"level": level.name, "now": now, "width": level.width}
        row = connection.execute(_OLDEST, known).fetchone()
        if row is None or row[0] is None:
            continue
        first: datetime = row[0]
        past = first + timedelta(days=1)
        known |= {"first": first, "past": past}
        connection.execute(_TOUCHED)
        connection.execute("DELETE FROM touched")  # an earlier call in this transaction
        touched = connection.execute(_TAKE, known).rowcount
        connection.execute("ANALYZE touched")
        is_kept = place > 0 or not keep_5m or past > now - timedelta(seconds=keep_5m)
        if is_kept:
            # Those of 5 minutes may be gone where something comes late, the readings never are.
            from_readings = place == 0 or (place == 1 and past <= now - LATE)
            source = FROM_READINGS if from_readings else _from_sums(LEVELS[place - 1])
            partitions.make(connection, level.table, [first.date()])
            connection.execute(_statement(level, source), known)
        if place + 1 < len(LEVELS):
            coarser = LEVELS[place + 1]
            connection.execute(_PASS_ON, {"coarser": coarser.name, "width": coarser.width})
        return touched
    return 0


DUE_WITHIN: LiteralString = "EXISTS (SELECT FROM rollup_due WHERE bucket >= %(first)s AND bucket < %(past)s)"
"""SQL: something of this time is still to be summed up."""


def lag(connection: Connection[Any], now: datetime) -> timedelta:
    """How long ago the oldest bucket ended that is not summed up; zero when nothing waits."""
    longest = timedelta(0)
    for level in LEVELS:
        row = connection.execute(
            "SELECT %(now)s - min(bucket) - %(width)s FROM rollup_due "
            "WHERE level = %(level)s AND bucket <= %(now)s - %(width)s",
            {"level": level.name, "now": now, "width": level.width},
        ).fetchone()
        if row and row[0] is not None:
            longest = max(longest, row[0])
    return longest
