"""Days of readings made small: one row per machine and hour, exact, read through the view `readings`.

A day is packed some machines at a time, aside, and takes the place of the plain readings at the end, all at
once. What comes late for a packed day goes to a partition of `metrics` as ever, is read through the view as
well, and is packed in addition the next time.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, LiteralString

from psycopg import Connection, Rollback
from psycopg.sql import SQL, Composed, Identifier

from labmon.messages import Metrics
from labmon.store.metrics import codec, partitions
from labmon.store.metrics.partitions import Partition
from labmon.store.metrics.rollup import DUE_WITHIN, METRICS

YOUNGEST = timedelta(days=1)
"""A day that ended more recently is not packed, so that few writers need to check."""

AT_ONCE = 50_000
"""Readings that one step packs, more or less: about half a second."""

_COLUMNS = SQL(", ").join(map(Identifier, METRICS))

# One at a time packs a day, or unpacks it. Until the transaction ends.
_LOCK = "SELECT pg_advisory_xact_lock(hashtext('labmon_pack'), %s)"
_TRY_LOCK = "SELECT pg_try_advisory_xact_lock(hashtext('labmon_pack'), %s)"

_OUTSTANDING = SQL(
    """
    SELECT system_id, COALESCE(there.readings, 0)
    FROM (SELECT system_id, count(*) AS readings FROM {part} GROUP BY 1) AS there
    FULL JOIN (
        SELECT system_id, sum(plain) AS readings FROM metrics_packing
        WHERE hour >= %(first)s AND hour < %(past)s GROUP BY 1
    ) AS aside USING (system_id)
    WHERE there.readings IS DISTINCT FROM aside.readings ORDER BY 1
    """
)

# Through the view, since a part of an hour may be packed already.
_HOURS = SQL(
    """
    SELECT system_id, hour, hours.readings, hours.readings - COALESCE(packed.readings, 0), {arrays}
    FROM (
        SELECT system_id, hour, count(*)::integer AS readings,
               array_agg((extract(epoch FROM collected_at - hour) * 1000000)::bigint) AS moments, {aggregates}
        FROM (
            SELECT * FROM readings
            WHERE system_id = ANY (%(machines)s) AND hour >= %(first)s AND hour < %(past)s
              AND collected_at >= %(first)s AND collected_at < %(past)s
            ORDER BY system_id, hour, collected_at
        ) AS ordered
        GROUP BY system_id, hour
    ) AS hours
    LEFT JOIN metrics_packed AS packed USING (system_id, hour)
    WHERE hours.readings > COALESCE(packed.readings, 0)
    """
).format(
    arrays=SQL(", ").join(SQL("hours.{}").format(Identifier(name)) for name in ("moments", *METRICS)),
    aggregates=SQL(", ").join(SQL("array_agg({0}) AS {0}").format(Identifier(name)) for name in METRICS),
)
# Half a second of reading in order is not worth half a second of compiling, nor files to sort in.
_IN_MEMORY = "SET LOCAL jit = off; SET LOCAL work_mem = '64MB'"

_COPY = SQL(
    "COPY metrics_packing (system_id, hour, readings, plain, collected_at, {columns}) "
    "FROM STDIN (FORMAT binary)"
).format(columns=_COLUMNS)

_MOVE = SQL(
    """
    INSERT INTO metrics_packed (system_id, hour, readings, collected_at, {columns})
    SELECT system_id, hour, readings, collected_at, {columns} FROM metrics_packing
    WHERE hour >= %(first)s AND hour < %(past)s ORDER BY system_id, hour
    ON CONFLICT (system_id, hour) DO UPDATE
    SET (readings, collected_at, {columns}) = (EXCLUDED.readings, EXCLUDED.collected_at, {excluded})
    """
).format(
    columns=_COLUMNS, excluded=SQL(", ").join(SQL("EXCLUDED.{}").format(Identifier(name)) for name in METRICS)
)

_ASIDE = "SELECT COALESCE(sum(plain), 0) FROM metrics_packing WHERE hour >= %(first)s AND hour < %(past)s"
_FORGET = "DELETE FROM metrics_packing WHERE hour >= %(first)s AND hour < %(past)s"


def pack(connection: Connection[Any], part: Partition) -> int | None:
    """Pack one partition of `metrics`, all of it in the caller's transaction; returns what `swap` does."""
    for machines in outstanding(connection, part):
        put_aside(connection, part, machines)
    return swap(connection, part)


def outstanding(connection: Connection[Any], part: Partition) -> list[list[int]]:
    """The machines that `put_aside` is still to be called with, those together that are for one step.

    None are when the day has yet to be summed up, or is gone.
    """
    steps: list[list[int]] = []
    with suppress(*partitions.BUSY), connection.transaction():
        if _is_due(connection, part):
            return steps
        room = 0
        query = _OUTSTANDING.format(part=Identifier(part.name))
        for system_id, readings in connection.execute(query, _bounds(part.first)):
            if room <= 0:
                steps.append([])
                room = AT_ONCE
            steps[-1].append(system_id)
            room -= readings
    return steps


def put_aside(connection: Connection[Any], part: Partition, machines: Sequence[int]) -> None:
    """Pack the readings of some machines, as they are now, in the caller's transaction. Not visible yet.

    Does nothing while somebody else packs that day or unpacks it.
    """
    with suppress(*partitions.BUSY), connection.transaction():
        if not _claimed(connection, part):
            return
        known = {**_bounds(part.first), "machines": list(machines)}
        connection.execute(_FORGET + " AND system_id = ANY (%(machines)s)", known)
        packed = list(_packed(connection, known))
        with connection.cursor().copy(_COPY) as copy:
            copy.set_types(["int4", "timestamptz", "int4", "int4", *["bytea"] * (1 + len(METRICS))])
            for row in packed:
                copy.write_row(row)


def _packed(connection: Connection[Any], known: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    connection.execute(_IN_MEMORY)
    with connection.cursor(binary=True) as cursor:
        # Row by row: the server works on the next hours meanwhile, and memory holds one.
        for system_id, hour, readings, plain, moments, *columns in cursor.stream(_HOURS, known):
            yield (system_id, hour, readings, plain, codec.pack(moments), *map(codec.pack, columns))


def swap(connection: Connection[Any], part: Partition) -> int | None:
    """Put what was packed aside in place of a day's readings, in the caller's transaction. Returns how many.

    Others go on reading and storing, but for the moment of the swap. None, and nothing has happened, when
    somebody stored readings of that day meanwhile, is using it or has dropped it, or when it has yet to be
    summed up: another time.
    """
    known = _bounds(part.first)
    packed: int | None = None
    with suppress(*partitions.BUSY), connection.transaction() as swapping:
        if _is_due(connection, part) or not _claimed(connection, part):
            raise Rollback(swapping)
        partitions.make(connection, "metrics_packed", [part.day])
        connection.execute(_MOVE, known)
        partitions.lock(connection, part.name)
        aside = _number(connection, _ASIDE, known)
        if _number(connection, SQL("SELECT count(*) FROM {}").format(Identifier(part.name))) != aside:
            raise Rollback(swapping)  # rows are only ever added
        connection.execute(SQL("TRUNCATE {}").format(Identifier(part.name)))
        connection.execute(_FORGET, known)
        packed = aside
    return packed


def unpack(connection: Connection[Any], day: date) -> int:
    """Turn a packed day into plain rows again, in the caller's transaction, and leave it so until `repack`.

    Returns how many readings; 0 when it was not packed.
    """
    known = _bounds(datetime.combine(day, time(), UTC))
    connection.execute(_LOCK, [day.toordinal()])
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
    connection.execute(_FORGET, known)
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
    """The days with nothing to pack that ended before the limit: thousands of them would slow every query."""
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
    # Half of it, since the clock of the process that packs may differ.
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


def _bounds(first: datetime) -> dict[str, datetime]:
    return {"first": first, "past": first + timedelta(days=1)}


def _is_due(connection: Connection[Any], part: Partition) -> bool:
    return bool(_number(connection, f"SELECT {DUE_WITHIN}", _bounds(part.first)))


def _claimed(connection: Connection[Any], part: Partition) -> bool:
    return bool(_number(connection, _TRY_LOCK, [part.day.toordinal()]))


def _number(connection: Connection[Any], query: LiteralString | Composed, known: Any = None) -> int:
    row = connection.execute(query, known).fetchone()
    return int(row[0]) if row else 0
