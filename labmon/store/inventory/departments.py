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


def departments(connection: Connection[Any], *, dept: int | None = None) -> list[Department]:
    """All of them by number, or the one, if it exists."""
    with connection.cursor(row_factory=class_row(Department)) as cursor:
        cursor.execute(
            """
            SELECT dept_id, code, name, subnets::text[] AS subnets, count(system_id) AS systems
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
) -> None:
    """Make it, or change what is given; None leaves as it is."""
    connection.execute(
        """
        INSERT INTO departments (dept_id, code, name, subnets)
        VALUES (%(dept)s, %(code)s, %(name)s, COALESCE(%(subnets)s::text[]::cidr[], '{}'))
        ON CONFLICT (dept_id) DO UPDATE SET
            code = COALESCE(%(code)s, departments.code),
            name = COALESCE(%(name)s, departments.name),
            subnets = COALESCE(%(subnets)s::text[]::cidr[], departments.subnets)
        """,
        {"dept": dept, "code": code, "name": name, "subnets": None if subnets is None else list(subnets)},
    )
