"""Removing systems, with all that is known of them."""

from collections.abc import Sequence
from typing import Any, LiteralString

from psycopg import Connection
from psycopg.sql import SQL, Identifier

# Every table about systems, whichever part of labmon it belongs to.
_TABLES: LiteralString = """
SELECT relname FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
WHERE attname = 'system_id' AND attnum > 0 AND NOT attisdropped AND relkind IN ('r', 'p')
  AND NOT relispartition AND relname NOT IN ('systems', 'system_merges')
  AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'systems'::regclass)
ORDER BY relname
"""

CALLED = {
    "metrics_5m": "sums",
    "metrics_1h": "sums",
    "metrics_1d": "sums",
    "alert_incidents": "alerts",
    "alerts": "alert messages",
    "alert_rules": "alert rules of their own",
    "maintenance": "maintenances and silences of their own",
    "system_history": "changes",
}
"""What people call the rows of a table; others have the table's name."""

UNSAID = frozenset(
    ("metrics", "metrics_packed", "metrics_packing", "alert_silent", "alert_covers", "alert_baselines")
    + ("system_changes",)
)
"""Tables that are counted otherwise, or hold nothing that anybody would miss."""


def numbers(connection: Connection[Any], system_ids: Sequence[int]) -> list[int]:
    """These systems and all that were merged into them."""
    rows = connection.execute("SELECT unnest(labmon_parts(%s::integer[]))", [list(system_ids)])
    return [row[0] for row in rows]


def counts(connection: Connection[Any], system_ids: Sequence[int]) -> dict[str, int]:
    """What goes with these systems: how many of what, in words; nothing that there are none of."""
    known = {"systems": numbers(connection, system_ids)}
    row = connection.execute(
        "SELECT (SELECT count(*) FROM metrics WHERE system_id = ANY(%(systems)s)) + COALESCE("
        "(SELECT sum(readings) FROM metrics_packed WHERE system_id = ANY(%(systems)s)), 0), "
        "(SELECT COALESCE(sum((SELECT count(*) FROM unnest(systems) AS one "
        "WHERE one = ANY(%(systems)s))), 0) FROM event_batches WHERE systems && %(systems)s::integer[])",
        known,
    ).fetchone()
    assert row
    found = {"readings": int(row[0]), "messages": int(row[1])}
    for table in _tables(connection):
        if table in UNSAID:
            continue
        name = CALLED.get(table, table.replace("_", " "))
        counted = connection.execute(
            SQL("SELECT count(*) FROM {} WHERE system_id = ANY(%(systems)s)").format(Identifier(table)), known
        ).fetchone()
        found[name] = found.get(name, 0) + (counted[0] if counted else 0)
    return {name: number for name, number in found.items() if number}


def remove(connection: Connection[Any], system_ids: Sequence[int]) -> None:
    """Delete systems and everything that is about them, for good. They are locked by the caller."""
    known = {"systems": numbers(connection, system_ids)}
    connection.execute(
        "DELETE FROM alert_log WHERE alert_id IN "
        "(SELECT alert_id FROM alert_incidents WHERE system_id = ANY(%(systems)s))",
        known,
    )
    connection.execute(
        "DELETE FROM alert_outbox WHERE published_at IS NULL AND alert_id IN "
        "(SELECT alert_id FROM alert_incidents WHERE system_id = ANY(%(systems)s))",
        known,
    )
    for table in _tables(connection):
        connection.execute(
            SQL("DELETE FROM {} WHERE system_id = ANY(%(systems)s)").format(Identifier(table)), known
        )
    # What is stored together with messages about others is written anew without these.
    connection.execute(
        """
        UPDATE event_batches SET (systems, bodies) = (
            SELECT COALESCE(array_agg(one.system_id ORDER BY n), '{}'),
                   COALESCE(array_agg(body ORDER BY n), '{}')
            FROM unnest(systems, bodies) WITH ORDINALITY AS one (system_id, body, n)
            WHERE COALESCE(one.system_id <> ALL (%(systems)s), true)
        ) WHERE systems && %(systems)s::integer[]
        """,
        known,
    )
    connection.execute("DELETE FROM event_batches WHERE systems = '{}'")
    connection.execute("DELETE FROM system_merges WHERE merged_id = ANY(%(systems)s)", known)
    connection.execute("DELETE FROM systems WHERE system_id = ANY(%(systems)s)", known)


def _tables(connection: Connection[Any]) -> list[str]:
    return [row[0] for row in connection.execute(_TABLES)]
