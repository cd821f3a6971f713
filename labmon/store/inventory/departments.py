"""Departments and their subnets."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row

from labmon.errors import UsageError


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
    """Make it, or change what is given; None leaves as it is.

    Raises UsageError for a subnet that another department has: a machine found there belongs to one of them.
    A part of another's subnet may be its own.
    """
    subnets = None if subnets is None else list(dict.fromkeys(subnets))
    taken = connection.execute(
        "SELECT dept_id, subnet::text FROM departments, unnest(subnets) AS subnet "
        "WHERE dept_id <> %s AND subnet = ANY(%s::text[]::cidr[]) ORDER BY dept_id LIMIT 1",
        [dept, subnets or []],
    ).fetchone()
    if taken is not None:
        raise UsageError(
            f"subnet {taken[1]} is department {taken[0]}'s. Take it from there first, with the subnets that "
            f"stay: labmon departments set {taken[0]} --subnet CIDR, or --no-subnets"
        )
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
        {"dept": dept, "code": code, "name": name, "subnets": subnets, "new_as": new_as},
    )
