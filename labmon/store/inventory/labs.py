"""Labs: the rooms of a department, and which machines stand there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row

from labmon.errors import UsageError
from labmon.fleet import Lab
from labmon.text import foreign


@dataclass(frozen=True, slots=True)
class LabSummary:
    """A lab and how its machines fare."""

    lab_id: int
    dept_id: int
    name: str
    systems: int
    active: int


def names(connection: Connection[Any]) -> list[Lab]:
    """All of them by number."""
    with connection.cursor(row_factory=class_row(Lab)) as cursor:
        cursor.execute("SELECT lab_id, dept_id, name FROM labs ORDER BY lab_id")
        return cursor.fetchall()


def labs(connection: Connection[Any], *, dept: int | None = None) -> list[LabSummary]:
    """By department and name."""
    with connection.cursor(row_factory=class_row(LabSummary)) as cursor:
        cursor.execute(
            """
            SELECT lab_id, labs.dept_id, name, count(system_id) FILTER (WHERE is_watched) AS systems,
                   count(*) FILTER (WHERE status = 'active') AS active
            FROM labs LEFT JOIN systems USING (lab_id)
            WHERE %(dept)s::integer IS NULL OR labs.dept_id = %(dept)s
            GROUP BY lab_id ORDER BY labs.dept_id, name
            """,
            {"dept": dept},
        )
        return cursor.fetchall()


def make(connection: Connection[Any], dept: int, name: str) -> int:
    """A new lab in a department that there is. Returns its number."""
    row = connection.execute(
        "INSERT INTO labs (dept_id, name) VALUES (%s, %s) ON CONFLICT DO NOTHING RETURNING lab_id",
        [dept, name],
    ).fetchone()
    if row is None:
        raise UsageError(f"department {dept} has a lab {name!r} already")
    return int(row[0])


def rename(connection: Connection[Any], lab_id: int, name: str) -> None:
    """Raises UsageError when its department has another of that name."""
    taken = connection.execute(
        "SELECT FROM labs JOIN labs this USING (dept_id) "
        "WHERE this.lab_id = %(lab)s AND labs.name = %(name)s AND labs.lab_id <> %(lab)s",
        {"lab": lab_id, "name": name},
    ).fetchone()
    if taken is not None:
        raise UsageError(f"its department has a lab {name!r} already")
    connection.execute("UPDATE labs SET name = %s WHERE lab_id = %s", [name, lab_id])


def remove(connection: Connection[Any], lab_id: int) -> int:
    """Its machines stay, without a lab. Returns how many they are."""
    left = connection.execute("UPDATE systems SET lab_id = NULL WHERE lab_id = %s", [lab_id]).rowcount
    connection.execute("DELETE FROM labs WHERE lab_id = %s", [lab_id])
    return left


def place(connection: Connection[Any], system_ids: Sequence[int], lab_id: int | None) -> int:
    """Put machines into a lab, or into none. Returns how many were not there before.

    Raises UsageError for a machine of another department, whose next scan would take it out again.
    """
    stranger = connection.execute(
        """
        SELECT system_id, systems.dept_id, labs.dept_id FROM systems JOIN labs ON labs.lab_id = %s
        WHERE system_id = ANY(%s) AND systems.dept_id <> labs.dept_id ORDER BY system_id LIMIT 1
        """,
        [lab_id, list(system_ids)],
    ).fetchone()
    if stranger is not None:
        raise UsageError(
            f"system {stranger[0]} belongs to department {stranger[1]}, "
            f"and the lab to department {stranger[2]}"
        )
    return connection.execute(
        "UPDATE systems SET lab_id = %(lab)s "
        "WHERE system_id = ANY(%(ids)s) AND lab_id IS DISTINCT FROM %(lab)s",
        {"lab": lab_id, "ids": list(system_ids)},
    ).rowcount


def seat(connection: Connection[Any], system_id: int, place: tuple[int, int] | None) -> None:
    """Give a machine its seat in its lab, as (column, row) from 1, or take it away.

    Raises UsageError for a machine in no lab, and for a seat that another one has.
    """
    column, row = place or (None, None)
    taken = connection.execute(
        "SELECT other.system_id, other.hostname, labs.name FROM systems JOIN labs USING (lab_id) "
        "JOIN systems other USING (lab_id) WHERE systems.system_id = %s "
        "AND other.system_id <> systems.system_id AND other.seat_column = %s AND other.seat_row = %s "
        "AND other.is_watched",
        [system_id, column, row],
    ).fetchone()
    if taken is not None:
        called = f" ({foreign(taken[1])})" if taken[1] else ""
        raise UsageError(
            f"seat {column},{row} of lab {foreign(taken[2])} is that of system {taken[0]}{called}"
        )
    done = connection.execute(
        "UPDATE systems SET seat_column = %(column)s, seat_row = %(row)s "
        "WHERE system_id = %(system)s AND (lab_id IS NOT NULL OR %(column)s::integer IS NULL)",
        {"system": system_id, "column": column, "row": row},
    )
    if not done.rowcount:
        raise UsageError(f"system {system_id} is in no lab. Put it into one with: --lab LAB")


def take_out(connection: Connection[Any], system_ids: Sequence[int], lab_id: int) -> int:
    """Leave those of the machines that stand in this lab without one. Returns how many did."""
    return connection.execute(
        "UPDATE systems SET lab_id = NULL WHERE system_id = ANY(%s) AND lab_id = %s",
        [list(system_ids), lab_id],
    ).rowcount


def within(connection: Connection[Any], spans: Sequence[tuple[str, str]], *, dept: int) -> list[int]:
    """The machines of a department at these addresses, given as (first, last)."""
    rows = connection.execute(
        """
        SELECT DISTINCT system_id FROM systems JOIN unnest(%s::inet[], %s::inet[]) AS span (first, last)
            ON ip_address BETWEEN first AND last
        WHERE dept_id = %s ORDER BY system_id
        """,
        [[first for first, _ in spans], [last for _, last in spans], dept],
    )
    return [row[0] for row in rows]
