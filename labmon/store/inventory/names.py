"""What systems are called: everything that a name on the command line may mean."""

from dataclasses import dataclass
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row

from labmon.store.inventory.statuses import UNWATCHED


@dataclass(frozen=True, slots=True)
class Named:
    """A system with all that it may be called by; the department's are its number, name and code."""

    system_id: int
    ip_address: str | None
    hostname: str | None
    mac_address: str | None
    lab_id: int | None
    lab: str | None
    dept_id: int
    dept_name: str | None
    dept_code: str | None
    watched: bool  #: neither retired nor ignored nor in quarantine


def named(connection: Connection[Any]) -> list[Named]:
    """All systems, by number: a few milliseconds for thousands, and one question however many names."""
    with connection.cursor(row_factory=class_row(Named)) as cursor:
        cursor.execute(
            """
            SELECT system_id, host(ip_address) AS ip_address, hostname, mac_address::text AS mac_address,
                   lab_id, labs.name AS lab, systems.dept_id,
                   departments.name AS dept_name, departments.code AS dept_code,
                   status <> ALL(%(unwatched)s) AS watched
            FROM systems JOIN departments USING (dept_id) LEFT JOIN labs USING (lab_id)
            ORDER BY system_id
            """,
            {"unwatched": list(UNWATCHED)},
        )
        return cursor.fetchall()
