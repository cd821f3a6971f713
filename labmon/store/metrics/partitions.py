"""Tables in parts by time: made ahead, looked at, dropped whole."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from psycopg import Connection
from psycopg.errors import LockNotAvailable, UndefinedTable
from psycopg.rows import class_row
from psycopg.sql import SQL, Identifier

UNITS = {
    "metrics": "day",
    "metrics_packed": "month",
    "metrics_5m": "day",
    "metrics_1h": "month",
    "metrics_1d": "year",
    "event_batches": "day",
}
"""What each table is divided by, in UTC. A partition of `metrics` is metrics_20260301."""

BUSY = (LockNotAvailable, UndefinedTable)
"""What it raises to work on a partition that somebody uses just now, or that somebody else has dropped."""

AHEAD = 2
"""Days for which there are partitions already."""

PATIENCE = "1s"
"""How long a lock that stops others is waited for: meanwhile they wait as well. Next time, then."""


@dataclass(frozen=True, slots=True)
class Partition:
    """One part of a table: the rows of first <= time < past."""

    table: str
    name: str
    first: datetime
    past: datetime
    bytes: int  #: with indexes and TOAST

    @property
    def day(self) -> date:
        """The UTC day it begins with."""
        return self.first.astimezone(UTC).date()

    @property
    def last(self) -> date:
        """The UTC day it ends with."""
        return (self.past.astimezone(UTC) - timedelta(days=1)).date()


def partitions(connection: Connection[Any], table: str) -> list[Partition]:
    """Those that there are, oldest first."""
    with connection.cursor(row_factory=class_row(Partition)) as cursor:
        cursor.execute(
            r"""
            SELECT %(table)s AS table, relname AS name, bounds[1]::timestamptz AS first,
                   bounds[2]::timestamptz AS past, pg_total_relation_size(oid) AS bytes
            FROM (
                SELECT relname, c.oid, regexp_match(
                    pg_get_expr(relpartbound, c.oid), $$FROM \('([^']+)'\) TO \('([^']+)'\)$$
                ) AS bounds
                FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid
                WHERE inhparent = to_regclass(%(table)s)
            ) part WHERE bounds IS NOT NULL ORDER BY first
            """,
            {"table": table},
        )
        return cursor.fetchall()


def is_empty(connection: Connection[Any], name: str) -> bool:
    """True of a table that nothing was written to since it was made, or since it was emptied at once."""
    row = connection.execute("SELECT pg_relation_size(%s::regclass)", [name]).fetchone()
    return bool(row and row[0] == 0)


def make(connection: Connection[Any], table: str, days: Iterable[date]) -> None:
    """Make sure that these days have their partition."""
    connection.execute(
        "SELECT labmon_partition(%s, %s, day) FROM unnest(%s::date[]) AS day",
        [table, UNITS[table], sorted(set(days))],
    )


def make_ahead(connection: Connection[Any], now: datetime) -> None:
    """Make what will be needed soon, before a writer has to wait for it."""
    days = [(now.astimezone(UTC) + timedelta(days=n)).date() for n in range(AHEAD + 1)]
    for table in UNITS:
        if table != "metrics_packed":
            make(connection, table, days)


def lock(connection: Connection[Any], table: str) -> None:
    """Have a table (of a divided one not its parts) for oneself until the transaction ends.

    Raises psycopg's LockNotAvailable when that takes too long for the writers that wait behind.
    """
    connection.execute(SQL("SET LOCAL lock_timeout = {}").format(PATIENCE))
    connection.execute(SQL("LOCK TABLE ONLY {} IN ACCESS EXCLUSIVE MODE").format(Identifier(table)))


def drop(connection: Connection[Any], part: Partition, *, unless: str = "false") -> bool:
    """Drop one, in the caller's transaction; False when it is in use or gone, or `unless` is true of it.

    `unless` is an SQL condition on %(first)s and %(past)s, checked when no writer can use it any more.
    """
    try:
        with connection.transaction():
            lock(connection, part.table)  # the whole before the part, as writers do
            lock(connection, part.name)
            bounds = {"first": part.first, "past": part.past}
            found = connection.execute(SQL("SELECT {}").format(SQL(unless)), bounds).fetchone()
            if found and found[0]:
                return False
            connection.execute(SQL("DROP TABLE {}").format(Identifier(part.name)))
            return True
    except BUSY:
        return False
