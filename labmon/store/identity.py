"""The identity of a database: a UUID made with its schema, kept by backups and restores.

What is kept outside it and holds its numbers of systems (inventory copy, counters, spool) carries this
identity, so that the numbers are never taken for those of another database.
"""

from typing import Any

from psycopg import Connection


def database_id(connection: Connection[Any]) -> str:
    """The identity; "" where the database has none."""
    row = connection.execute("SELECT inventory::text FROM labmon_identity").fetchone()
    return str(row[0]) if row else ""
