"""Who works, on which machine, and how it goes: the `workers` table."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row

DEAD_AFTER = 15.0
"""Seconds without a beat after which a worker is taken for dead. They beat every 2 s."""

FORGOTTEN_AFTER = "1 day"
"""Until then a dead one is shown, for somebody to wonder about."""


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """One worker of one process."""

    host: str
    main_pid: int  #: of the `labmon consume` that it belongs to
    number: int  #: of the process among those of that `labmon consume`
    queue: str
    pid: int | None  #: of the process itself; None while there is none, until it is replaced
    state: str
    state_since: datetime
    stored: int
    rejected: int
    per_second: float
    last_batch: int | None  #: messages in it
    last_batch_at: datetime | None
    rss_bytes: int | None  #: of the process, with all its workers
    restarts: int  #: processes before this one that died


@dataclass(frozen=True, slots=True)
class Seen(WorkerRow):
    """One worker as the table has it."""

    started_at: datetime
    beat_at: datetime
    silent_seconds: float  #: seconds, by the server's clock
    is_alive: bool


_COLUMNS = [field.name for field in fields(WorkerRow)]
_KEY = ("host", "main_pid", "number", "queue")
_UPSERT = (
    f"INSERT INTO workers ({', '.join(_COLUMNS)}) VALUES ({', '.join(['%s'] * len(_COLUMNS))}) "
    f"ON CONFLICT ({', '.join(_KEY)}) DO UPDATE SET beat_at = now(), "
    + ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS if name not in _KEY)
)


def record(connection: Connection[Any], host: str, main_pid: int, rows: Sequence[WorkerRow]) -> None:
    """These are the workers of this `labmon consume` now; others that it had are gone.

    Workers that died long ago, on any machine, are deleted.
    """
    connection.execute(
        "DELETE FROM workers WHERE host = %s AND main_pid = %s AND NOT number = ANY(%s) "
        "OR beat_at < now() - %s::interval",
        [host, main_pid, [row.number for row in rows], FORGOTTEN_AFTER],
    )
    with connection.cursor() as cursor:
        cursor.executemany(_UPSERT, [astuple(row) for row in rows])


def recorded(connection: Connection[Any]) -> list[Seen]:
    """All of them, the dead ones too."""
    with connection.cursor(row_factory=class_row(Seen)) as cursor:
        cursor.execute(
            f"""
            SELECT {", ".join(_COLUMNS)}, started_at, beat_at,
                   extract(epoch FROM now() - beat_at)::float8 AS silent_seconds,
                   now() - beat_at <= make_interval(secs => %s) AS is_alive
            FROM workers ORDER BY host, main_pid, number, queue
            """.encode(),
            [DEAD_AFTER],
        )
        return cursor.fetchall()
