"""The newest readings of the machines, and which of them are free."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, LiteralString

from psycopg import Connection
from psycopg.rows import class_row, dict_row

FRESH = timedelta(minutes=15)
"""A machine that was not measured for longer says nothing about now."""

IDLE = 20.0
"""Percent of CPU up to which a machine without a logged-in user counts as free."""

USAGE: LiteralString = """
CASE WHEN labmon_measured(systems) > %(now)s - %(fresh)s THEN
    CASE WHEN logged_in_users > 0 OR cpu_percent > %(idle)s THEN 'busy'
         WHEN logged_in_users = 0 AND cpu_percent IS NOT NULL THEN 'free' END
END
"""
"""SQL: busy or free; NULL for a machine that did not say lately."""

NEWEST: LiteralString = """
systems LEFT JOIN LATERAL (
    SELECT * FROM readings
    WHERE readings.system_id = systems.system_id AND collected_at = systems.last_collected
      AND hour = labmon_bucket('1 hour', systems.last_collected)
    LIMIT 1
) newest USING (system_id)
"""
"""SQL: each machine with its newest readings, by the primary keys of `metrics` and of packed days.

The limit keeps the planner from joining all machines with all readings of all days.
"""


@dataclass(frozen=True, slots=True)
class Latest:
    """A machine now."""

    system_id: int
    dept_id: int
    lab_id: int | None
    ip_address: str | None
    hostname: str | None
    collected_at: datetime | None
    usage: str | None  #: "free" or "busy"; None for a machine that did not say lately
    cpu_percent: float | None
    ram_percent: float | None
    disk_percent: float | None
    gpu_percent: float | None
    load1: float | None
    network_recv_mbps: float | None
    network_sent_mbps: float | None
    cpu_temperature_celsius: float | None
    logged_in_users: int | None
    uptime_seconds: int | None


def newest_of(connection: Connection[Any], system: int, metrics: Sequence[str]) -> dict[str, Any]:
    """These metrics of one machine's newest reading; all None for one that was never measured."""
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(f"SELECT {', '.join(metrics)} FROM {NEWEST} WHERE system_id = %s".encode(), [system])
        return cursor.fetchone() or dict.fromkeys(metrics)


def usual_gap(connection: Connection[Any], system: int) -> timedelta | None:
    """Time between two readings of a machine as a rule; None while there are too few to tell."""
    row = connection.execute(
        "SELECT labmon_usual_gap(system_id, last_collected) FROM systems WHERE system_id = %s", [system]
    ).fetchone()
    return row[0] if row else None


def latest(
    connection: Connection[Any],
    now: datetime,
    *,
    dept: int | None = None,
    lab: int | None = None,
    ids: Sequence[int] | None = None,
    usage: str | None = None,
) -> list[Latest]:
    """Machines that are watched, by address, or those of these ids; None does not restrict."""
    with connection.cursor(row_factory=class_row(Latest)) as cursor:
        cursor.execute(
            f"""
            SELECT * FROM (
                SELECT system_id, dept_id, lab_id, host(ip_address) AS ip_address, hostname,
                       last_collected AS collected_at, {USAGE} AS usage,
                       cpu_percent, ram_percent, disk_percent, gpu_percent, load1,
                       network_recv_mbps, network_sent_mbps, cpu_temperature_celsius,
                       logged_in_users, uptime_seconds
                FROM {NEWEST}
                WHERE (%(dept)s::integer IS NULL OR dept_id = %(dept)s)
                  AND (%(lab)s::integer IS NULL OR lab_id = %(lab)s)
                  AND CASE WHEN %(ids)s::integer[] IS NULL THEN is_watched ELSE system_id = ANY (%(ids)s) END
                ORDER BY systems.ip_address NULLS LAST, system_id
            ) each WHERE %(usage)s::text IS NULL OR usage = %(usage)s
            """,
            {
                "now": now,
                "fresh": FRESH,
                "idle": IDLE,
                "dept": dept,
                "lab": lab,
                "ids": list(ids) if ids is not None else None,
                "usage": usage,
            },
        )
        return cursor.fetchall()
