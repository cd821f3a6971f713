"""How departments and labs do, at this moment."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row

from labmon.store.metrics.latest import FRESH, IDLE, NEWEST, USAGE


@dataclass(frozen=True, slots=True)
class Summary:
    """A department, or a lab of it."""

    dept_id: int
    lab_id: int | None  #: None for a whole department, and for those of its machines that are in no lab
    name: str | None
    systems: int
    measured: int  #: lately; what follows is of these
    free: int
    busy: int
    logged_in_users: int | None
    cpu_percent: float | None  #: the average, as of the next
    ram_percent: float | None
    disk_percent: float | None  #: the fullest


def summaries(
    connection: Connection[Any], now: datetime, *, by_lab: bool = False, dept: int | None = None
) -> list[Summary]:
    """Every department that has machines, or every lab, by number."""
    lab = "lab_id" if by_lab else "NULL::integer"
    with connection.cursor(row_factory=class_row(Summary)) as cursor:
        cursor.execute(
            f"""
            WITH each AS (
                SELECT dept_id, {lab} AS lab_id, {USAGE} AS usage,
                       labmon_measured(systems) > %(now)s - %(fresh)s AS fresh,
                       cpu_percent, ram_percent, disk_percent, logged_in_users
                FROM {NEWEST} WHERE is_watched AND (%(dept)s::integer IS NULL OR dept_id = %(dept)s)
            ), sums AS (
                SELECT dept_id, lab_id, count(*) AS systems, count(*) FILTER (WHERE fresh) AS measured,
                       count(*) FILTER (WHERE usage = 'free') AS free,
                       count(*) FILTER (WHERE usage = 'busy') AS busy,
                       (sum(logged_in_users) FILTER (WHERE fresh))::bigint AS logged_in_users,
                       (avg(cpu_percent) FILTER (WHERE fresh))::real AS cpu_percent,
                       (avg(ram_percent) FILTER (WHERE fresh))::real AS ram_percent,
                       max(disk_percent) FILTER (WHERE fresh) AS disk_percent
                FROM each GROUP BY 1, 2
            )
            SELECT dept_id, lab_id, COALESCE(labs.name, departments.name) AS name, systems, measured, free,
                   busy, logged_in_users, cpu_percent, ram_percent, disk_percent
            FROM sums JOIN departments USING (dept_id) LEFT JOIN labs USING (dept_id, lab_id)
            ORDER BY dept_id, lab_id NULLS LAST
            """,
            {"now": now, "fresh": FRESH, "idle": IDLE, "dept": dept},
        )
        return cursor.fetchall()
