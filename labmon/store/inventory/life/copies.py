"""Readings and sums of one system as another's, and out again. See `merge`.

Readings are in three places: plain rows, packed hours, and sums of 5 minutes, an hour and a day. A packed
hour of which the other system has nothing is copied as it is; where both measured within an hour, the missing
readings are added as plain rows, which is what comes late for a packed day, and is read and packed like that.
"""

from typing import Any

from psycopg import Connection
from psycopg.sql import SQL, Identifier

from labmon.store.metrics.rollup import LEVELS, METRICS

_METRICS = SQL(", ").join(map(Identifier, METRICS))
_SUMS = SQL(", ").join(
    Identifier(f"{metric}_{part}") for metric in METRICS for part in ("count", "min", "avg", "max")
)

# The hours of which `other` has readings; own: the one that stays has some too.
_HOURS = """
CREATE TEMPORARY TABLE IF NOT EXISTS merging (hour timestamptz PRIMARY KEY, own boolean)
ON COMMIT DELETE ROWS;
DELETE FROM merging
"""
_OF = """
SELECT labmon_bucket('1 hour', collected_at) AS hour FROM metrics WHERE system_id = {0}
UNION SELECT hour FROM metrics_packed WHERE system_id = {0}
"""
_FILL_HOURS = f"""
INSERT INTO merging (hour, own)
SELECT hour, hour IN ({_OF.format("%(into)s")}) FROM ({_OF.format("%(other)s")}) AS theirs
"""

# Nothing of these days is packed meanwhile: those with plain readings, and those where some will be added.
_HOLD_DAYS = """
SELECT labmon_hold_day(day) FROM (
    SELECT DISTINCT (hour AT TIME ZONE 'UTC')::date AS day FROM merging
    WHERE own OR EXISTS (SELECT FROM metrics WHERE system_id = %(other)s
                         AND collected_at >= hour AND collected_at < hour + interval '1 hour')
) AS days
"""

_THEIRS = """
SELECT * FROM readings WHERE readings.system_id = %({0})s AND readings.hour = merging.hour
AND collected_at >= merging.hour AND collected_at < merging.hour + interval '1 hour'
"""

_COMMON = f"""
INSERT INTO system_merge_common (merge_id, level, at)
SELECT %(merge)s, 'reading', collected_at FROM merging, LATERAL (
    SELECT collected_at FROM ({_THEIRS.format("other")}) AS one
    INTERSECT SELECT collected_at FROM ({_THEIRS.format("into")}) AS two
) AS both_have WHERE own
"""
_IS_COMMON = (
    "EXISTS (SELECT FROM system_merge_common AS common WHERE merge_id = %(merge)s AND level = 'reading' "
    "AND common.at = one.collected_at)"
)

_COPY_PACKED = SQL(
    "INSERT INTO metrics_packed (system_id, hour, readings, collected_at, {columns}) "
    "SELECT %(into)s, hour, readings, collected_at, {columns} FROM metrics_packed JOIN merging USING (hour) "
    "WHERE system_id = %(other)s AND NOT own RETURNING readings"
).format(columns=_METRICS)
_COPY_PLAIN = SQL(
    "INSERT INTO metrics (system_id, collected_at, {columns}) "
    "SELECT %(into)s, collected_at, {columns} FROM metrics "
    "JOIN merging ON merging.hour = labmon_bucket('1 hour', collected_at) "
    "WHERE system_id = %(other)s AND NOT own"
).format(columns=_METRICS)
_COPY_BETWEEN = SQL(
    "INSERT INTO metrics (system_id, collected_at, {columns}) "
    "SELECT %(into)s, collected_at, {columns} FROM merging, LATERAL ({theirs}) AS one "
    "WHERE own AND NOT {common}"
).format(columns=_METRICS, theirs=SQL(_THEIRS.format("other")), common=SQL(_IS_COMMON))

# What waits to be summed up of the other is due of this one as well.
_DUE = """
INSERT INTO rollup_due (level, bucket, systems)
SELECT level, at, ARRAY[%(into)s::integer] FROM system_merge_common
WHERE merge_id = %(merge)s AND level <> 'reading'
UNION ALL
SELECT level, bucket, ARRAY[%(into)s::integer] FROM rollup_due WHERE %(other)s = ANY (systems)
"""


def copy(connection: Connection[Any], merge_id: int, into: int, other: int) -> tuple[int, int]:
    """Give one copies of the other's readings and sums. Returns how many readings, and how many it had."""
    known = {"merge": merge_id, "into": into, "other": other}
    _quietly(connection)
    connection.execute(_HOURS)
    connection.execute(_FILL_HOURS, known)
    connection.execute(_HOLD_DAYS, known)
    connection.execute("DELETE FROM metrics_packing WHERE system_id = %(into)s", known)
    dropped = connection.execute(_COMMON, known).rowcount
    copied = sum(row[0] for row in connection.execute(_COPY_PACKED, known))
    copied += connection.execute(_COPY_PLAIN, known).rowcount
    copied += connection.execute(_COPY_BETWEEN, known).rowcount
    for level in LEVELS:
        table = Identifier(level.table)
        connection.execute(
            SQL(
                "INSERT INTO system_merge_common (merge_id, level, at) SELECT %(merge)s, %(level)s, bucket "
                "FROM {table} JOIN {table} AS own USING (bucket) "
                "WHERE {table}.system_id = %(other)s AND own.system_id = %(into)s"
            ).format(table=table),
            known | {"level": level.name},
        )
        connection.execute(
            SQL(
                "INSERT INTO {table} (system_id, bucket, readings, {sums}) "
                "SELECT %(into)s, bucket, readings, {sums} FROM {table} WHERE system_id = %(other)s "
                "ON CONFLICT DO NOTHING"
            ).format(table=table, sums=_SUMS),
            known,
        )
    connection.execute(_DUE, known)
    _quietly(connection, is_over=True)
    return copied, dropped


# A packed hour that is the other's and nothing else, as it was copied.
_TAKE_PACKED = """
WITH taken AS (
    DELETE FROM metrics_packed AS own USING metrics_packed AS theirs, merging
    WHERE own.system_id = %(into)s AND theirs.system_id = %(other)s
      AND own.hour = merging.hour AND theirs.hour = merging.hour
      AND own.readings = theirs.readings AND own.collected_at = theirs.collected_at
      AND NOT EXISTS (
        SELECT FROM system_merge_common WHERE merge_id = %(merge)s AND level = 'reading'
        AND at >= merging.hour AND at < merging.hour + interval '1 hour'
      )
      AND NOT EXISTS (
        SELECT FROM metrics WHERE system_id = %(into)s
        AND collected_at >= merging.hour AND collected_at < merging.hour + interval '1 hour'
      )
    RETURNING own.hour
)
DELETE FROM merging USING taken WHERE merging.hour = taken.hour
"""
_PACK_LOCKS = """
SELECT pg_advisory_xact_lock(hashtext('labmon_pack'), day - date '0001-01-01' + 1) FROM (
    SELECT DISTINCT (hour AT TIME ZONE 'UTC')::date AS day FROM merging WHERE own ORDER BY 1
) AS days
"""
_HOLD_OWN_DAYS = """
SELECT labmon_hold_day(day) FROM (
    SELECT DISTINCT (hour AT TIME ZONE 'UTC')::date AS day FROM merging WHERE own
) AS days
"""
_STAYING = f"""
CREATE TEMPORARY TABLE staying ON COMMIT DROP AS
SELECT one.* FROM merging, LATERAL ({_THEIRS.format("into")}) AS one
WHERE own AND (
    {_IS_COMMON} OR collected_at NOT IN (SELECT collected_at FROM ({_THEIRS.format("other")}) AS theirs)
)
"""
_EMPTY = (
    "DELETE FROM metrics_packed USING merging WHERE system_id = %(into)s "
    "AND metrics_packed.hour = merging.hour AND own",
    "DELETE FROM metrics USING merging WHERE system_id = %(into)s AND own "
    "AND collected_at >= merging.hour AND collected_at < merging.hour + interval '1 hour'",
)
_PUT_BACK = SQL(
    "INSERT INTO metrics (system_id, collected_at, {columns}) "
    "SELECT system_id, collected_at, {columns} FROM staying"
).format(columns=_METRICS)


def take_out(connection: Connection[Any], merge_id: int, into: int, other: int) -> None:
    """Take away from one what it got of the other; what came since stays."""
    known = {"merge": merge_id, "into": into, "other": other}
    _quietly(connection)
    connection.execute(_HOURS)
    connection.execute(_FILL_HOURS, known)
    connection.execute(_TAKE_PACKED, known)
    # In the order of whoever packs a day: the day, then its readings.
    connection.execute(_PACK_LOCKS, known)
    connection.execute(_HOLD_OWN_DAYS, known)
    connection.execute("DELETE FROM metrics_packing WHERE system_id = %(into)s", known)
    connection.execute("DROP TABLE IF EXISTS staying")
    connection.execute(_STAYING, known)
    for statement in _EMPTY:
        connection.execute(statement, known)
    connection.execute(_PUT_BACK)
    connection.execute("DROP TABLE staying")
    for level in LEVELS:
        connection.execute(
            SQL(
                "DELETE FROM {table} AS own USING {table} AS theirs "
                "WHERE own.system_id = %(into)s AND theirs.system_id = %(other)s "
                "AND own.bucket = theirs.bucket AND NOT EXISTS (SELECT FROM system_merge_common "
                "WHERE merge_id = %(merge)s AND level = %(level)s AND at = own.bucket)"
            ).format(table=Identifier(level.table)),
            known | {"level": level.name},
        )
    connection.execute(_DUE, known)
    _quietly(connection, is_over=True)


def _quietly(connection: Connection[Any], *, is_over: bool = False) -> None:
    """Have no rule judge what is copied: it happened long ago."""
    connection.execute("SELECT set_config('labmon.replay', %s, true)", ["off" if is_over else "on"])
