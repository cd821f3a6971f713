"""Days of readings made small: one row per machine and hour, exact, read through the view `readings`.

What comes late for a packed day goes to a partition of `metrics` as ever, is read through the view as well,
and is packed in addition the next time.
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from psycopg import Connection, Rollback
from psycopg.sql import SQL, Identifier

from labmon.messages import Metrics
from labmon.store import partitions
from labmon.store.partitions import Partition
from labmon.store.rollup import DUE_WITHIN, METRICS

YOUNGEST = timedelta(days=1)
"""What ended less long ago is not packed, so that few of those who store need to ask."""

_COLUMNS = SQL(", ").join(map(Identifier, METRICS))

# Machine by machine and hour by hour, in the order of the primary key: nothing is sorted. Through the view,
# since a part of the hour may be packed already.
_PACK = SQL(
    """
    INSERT INTO metrics_packed (system_id, hour, readings, collected_at, {columns})
    SELECT touched.system_id, touched.hour, packed.*
    FROM (
        SELECT DISTINCT system_id, labmon_bucket('1 hour', collected_at) AS hour FROM {part} ORDER BY 1, 2
    ) AS touched, LATERAL (
        SELECT count(*), labmon_pack(array_agg(collected_at), touched.hour), {packed} FROM (
            SELECT * FROM readings
            WHERE readings.system_id = touched.system_id AND readings.hour = touched.hour
              AND collected_at >= touched.hour AND collected_at < touched.hour + interval '1 hour'
              AND hour >= %(first)s AND hour < %(past)s
              AND collected_at >= %(first)s AND collected_at < %(past)s
            ORDER BY collected_at
        ) AS ordered
    ) AS packed
    ON CONFLICT (system_id, hour) DO UPDATE
    SET (readings, collected_at, {columns}) = (EXCLUDED.readings, EXCLUDED.collected_at, {excluded})
    """
)

_PACKED = SQL(", ").join(SQL("labmon_pack(array_agg({}))").format(Identifier(name)) for name in METRICS)
_EXCLUDED = SQL(", ").join(SQL("EXCLUDED.{}").format(Identifier(name)) for name in METRICS)


def pack(connection: Connection[Any], part: Partition) -> int | None:
    """Pack one partition of `metrics`, in the caller's transaction. Returns how many readings.

    Others go on reading and storing, but for the moment of the swap. None, and nothing has happened, when
    somebody stored readings of that day meanwhile, is using it or has dropped it, or when it has yet to be
    summed up: another time.
    """
    known = {"first": part.first, "past": part.past}
    due = connection.execute(SQL("SELECT {}").format(SQL(DUE_WITHIN)), known).fetchone()
    if due and due[0]:
        return None
    packed: int | None = None
    with suppress(*partitions.BUSY), connection.transaction() as swap:
        before = _count(connection, part.name)
        partitions.make(connection, "metrics_packed", [part.day])
        connection.execute(
            _PACK.format(columns=_COLUMNS, part=Identifier(part.name), packed=_PACKED, excluded=_EXCLUDED),
            known,
        )
        partitions.lock(connection, part.name)
        if _count(connection, part.name) != before:  # rows are only ever added
            raise Rollback(swap)
        connection.execute(SQL("TRUNCATE {}").format(Identifier(part.name)))
        packed = before
    return packed


def unpack(connection: Connection[Any], day: date) -> int:
    """Turn a packed day into plain rows again, in the caller's transaction, and leave it so until `repack`.

    Returns how many readings; 0 when it was not packed.
    """
    first = datetime.combine(day, time(), UTC)
    known = {"first": first, "past": first + timedelta(days=1)}
    is_packed = "SELECT FROM metrics_packed WHERE hour >= %(first)s AND hour < %(past)s LIMIT 1"
    if not connection.execute(is_packed, known).rowcount:
        return 0
    connection.execute("INSERT INTO unpacked_days (day) VALUES (%s) ON CONFLICT DO NOTHING", [day])
    partitions.make(connection, "metrics", [day])
    (part,) = (part for part in partitions.partitions(connection, "metrics") if part.day == day)
    # Into the partition, not its parent: for the rules of alerts and the sums these are no new readings.
    unpacked = connection.execute(
        SQL(
            "INSERT INTO {part} (system_id, collected_at, {columns}) "
            "SELECT system_id, collected_at, {columns} FROM readings "
            "WHERE hour >= %(first)s AND hour < %(past)s "
            "AND collected_at >= %(first)s AND collected_at < %(past)s ON CONFLICT DO NOTHING"
        ).format(part=Identifier(part.name), columns=_COLUMNS),
        known,
    ).rowcount
    connection.execute("DELETE FROM metrics_packed WHERE hour >= %(first)s AND hour < %(past)s", known)
    return unpacked


def repack(connection: Connection[Any], day: date) -> None:
    """Let a day that was unpacked by hand be packed again, when its time comes."""
    connection.execute("DELETE FROM unpacked_days WHERE day = %s", [day])


def ripe(connection: Connection[Any], now: datetime, after: float) -> list[Partition]:
    """The days with something to pack that ended more than `after` seconds ago, oldest first."""
    by_hand = {row[0] for row in connection.execute("SELECT day FROM unpacked_days")}
    limit = now - max(YOUNGEST, timedelta(seconds=after))
    return [
        part
        for part in partitions.partitions(connection, "metrics")
        if part.past <= limit and part.day not in by_hand and not partitions.is_empty(connection, part.name)
    ]


def hollow(connection: Connection[Any], now: datetime, after: float) -> list[Partition]:
    """The days with nothing to pack that ended so long ago: thousands of them would slow every query."""
    limit = now - max(YOUNGEST, timedelta(seconds=after))
    return [
        part
        for part in partitions.partitions(connection, "metrics")
        if part.past <= limit and partitions.is_empty(connection, part.name)
    ]


def known_already(connection: Connection[Any], rows: Sequence[Metrics], now: datetime) -> set[int]:
    """The places of those that are packed already, which the primary key of `metrics` cannot know.

    Until the caller's transaction ends, nothing that would change the answer is packed.
    """
    # Half of it, since the clock of whoever packs may be another.
    old = [place for place, row in enumerate(rows) if row.collected_at < now - YOUNGEST / 2]
    if not old:
        return set()
    days = sorted({rows[place].collected_at.astimezone(UTC).date() for place in old})
    connection.execute("SELECT labmon_hold_day(day) FROM unnest(%s::date[]) AS day", [days])
    found = connection.execute(
        """
        SELECT place
        FROM unnest(%s::integer[], %s::integer[], %s::timestamptz[]) AS one (place, system_id, at)
        JOIN metrics_packed AS packed
          ON packed.system_id = one.system_id AND packed.hour = labmon_bucket('1 hour', one.at)
        WHERE (extract(epoch FROM one.at - packed.hour) * 1000000)::bigint
            = ANY (labmon_unpack(packed.collected_at, packed.readings))
        """,
        [old, [rows[place].system_id for place in old], [rows[place].collected_at for place in old]],
    )
    return {row[0] for row in found}


def _count(connection: Connection[Any], table: str) -> int:
    row = connection.execute(SQL("SELECT count(*) FROM {}").format(Identifier(table))).fetchone()
    return int(row[0]) if row else 0
