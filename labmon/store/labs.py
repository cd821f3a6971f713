"""Labs: the rooms of a department, and which machines stand there."""

from typing import Any

from psycopg import Connection
from psycopg.rows import class_row

from labmon.fleet import Lab


def names(connection: Connection[Any]) -> list[Lab]:
    """All of them by number."""
    with connection.cursor(row_factory=class_row(Lab)) as cursor:
        cursor.execute("SELECT lab_id, dept_id, name FROM labs ORDER BY lab_id")
        return cursor.fetchall()
