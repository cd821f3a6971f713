"""Departments and their subnets."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row


@dataclass(frozen=True, slots=True)
class Department:
    """A department, with the number of its systems."""

    dept_id: int
    code: str | None
    name: str | None
    subnets: list[str]
    systems: int
    new_as: str  #: what a scan finds is active at once, or waits in quarantine
    quarantined: int


def departments(connection: Connection[Any], *, dept: int | None = None) -> list[Department]:
    """All of them by number, or the one, if it exists."""
    with connection.cursor(row_factory=class_row(Department)) as cursor:
        cursor.execute(
            """
            SELECT dept_id, code, name, subnets::text[] AS subnets, new_as,
                   count(system_id) FILTER (WHERE is_watched) AS systems,
                   count(*) FILTER (WHERE status = 'quarantined') AS quarantined
            FROM departments LEFT JOIN systems USING (dept_id)
            WHERE %(dept)s::integer IS NULL OR dept_id = %(dept)s
            GROUP BY dept_id ORDER BY dept_id
            """,
            {"dept": dept},
        )
        return cursor.fetchall()


def set_department(
    connection: Connection[Any],
    dept: int,
    *,
    code: str | None = None,
    name: str | None = None,
    subnets: Sequence[str] | None = None,
    new_as: str | None = None,
) -> None:
    """Make it, or change what is given; None leaves as it is."""
    connection.execute(
        """
        INSERT INTO departments (dept_id, code, name, subnets, new_as)
        VALUES (%(dept)s, %(code)s, %(name)s, COALESCE(%(subnets)s::text[]::cidr[], '{}'),
                COALESCE(%(new_as)s, 'active'))
        ON CONFLICT (dept_id) DO UPDATE SET
            code = COALESCE(%(code)s, departments.code),
            name = COALESCE(%(name)s, departments.name),
            subnets = COALESCE(%(subnets)s::text[]::cidr[], departments.subnets),
            new_as = COALESCE(%(new_as)s, departments.new_as)
        """,
        {
            "dept": dept,
            "code": code,
            "name": name,
            "subnets": None if subnets is None else list(subnets),
            "new_as": new_as,
        },
    )
