"""What the tables take on the disk."""

from dataclasses import dataclass
from datetime import date
from typing import Any, LiteralString

from psycopg import Connection

from labmon.store.metrics import partitions

_TABLES: dict[LiteralString, LiteralString] = {
    "metrics": "readings",
    "metrics_packed": "readings, packed",
    "metrics_5m": "sums of 5 minutes",
    "metrics_1h": "sums of an hour",
    "metrics_1d": "sums of a day",
    "event_batches": "events",
    "systems": "systems",
    "system_history": "what happened to them",
    "alerts": "alerts",
}


@dataclass(frozen=True, slots=True)
class Stored:
    """A table, or what is in it of the partitions that are not empty."""

    table: str
    holds: str
    parts: int | None  #: None for a table that is not divided
    first: date | None
    last: date | None
    bytes: int


def stored(connection: Connection[Any]) -> list[Stored]:
    """The tables that grow."""
    found = []
    for table, holds in _TABLES.items():
        if table not in partitions.UNITS:
            row = connection.execute("SELECT pg_total_relation_size(%s::regclass)", [table]).fetchone()
            found.append(Stored(table, holds, None, None, None, row[0] if row else 0))
            continue
        parts = partitions.partitions(connection, table)
        full = [part for part in parts if not partitions.is_empty(connection, part.name)]
        found.append(
            Stored(
                table,
                holds,
                len(full),
                full[0].day if full else None,
                full[-1].last if full else None,
                sum(part.bytes for part in full),
            )
        )
    return found
