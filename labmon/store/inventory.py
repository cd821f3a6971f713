"""Departments, machines and scans: written from what scans report, read by everyone else.

A machine is its MAC address when one is known, else its address. A known MAC at a new address means
that the machine moved, with its history, and whoever had that address before has lost it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row

from labmon.messages import Discovery, ScanFinished

_FOUND = """
CREATE TEMPORARY TABLE IF NOT EXISTS found (
    dept_id integer, ip inet, hostname text, mac macaddr, at timestamptz, system_id integer
) ON COMMIT DELETE ROWS
"""

# One writer at a time: moving addresses between rows under a unique key is no work for two.
_LOCK = "SELECT pg_advisory_xact_lock(hashtext('labmon_inventory'))"

_DEPARTMENTS = "INSERT INTO departments (dept_id) SELECT DISTINCT dept_id FROM found ON CONFLICT DO NOTHING"

_MATCH_BY_MAC = """
UPDATE found SET system_id = (
    SELECT system_id FROM systems WHERE mac_address = found.mac ORDER BY last_seen DESC NULLS LAST LIMIT 1
) WHERE mac IS NOT NULL
"""

# By address only where that cannot be another machine: one of the two sides knows no MAC.
_MATCH_BY_ADDRESS = """
UPDATE found SET system_id = systems.system_id FROM systems
WHERE found.system_id IS NULL AND systems.ip_address = found.ip
  AND (found.mac IS NULL OR systems.mac_address IS NULL)
  AND NOT EXISTS (SELECT FROM found other WHERE other.system_id = systems.system_id)
"""

# A message that comes late says where a machine was, not where it is.
_LATE = """
WITH late AS (
    DELETE FROM found USING systems
    WHERE systems.system_id = found.system_id AND systems.last_seen > found.at
    RETURNING found.system_id, found.at
)
UPDATE systems SET first_seen = LEAST(first_seen, late.at) FROM late WHERE late.system_id = systems.system_id
"""

_LATE_ADDRESS = """
UPDATE found SET ip = NULL FROM systems
WHERE systems.ip_address = found.ip AND systems.system_id IS DISTINCT FROM found.system_id
  AND systems.last_seen > found.at
"""

# All moving machines let go first: two that swapped addresses would otherwise trip over each other.
_LET_GO = """
UPDATE systems SET ip_address = NULL FROM found
WHERE (systems.ip_address = found.ip AND systems.system_id IS DISTINCT FROM found.system_id)
   OR (systems.system_id = found.system_id AND found.ip IS NOT NULL AND systems.ip_address <> found.ip)
"""

_UPDATE = """
UPDATE systems SET
    ip_address = COALESCE(found.ip, ip_address),
    hostname = COALESCE(found.hostname, systems.hostname),
    mac_address = COALESCE(found.mac, mac_address),
    lab_id = CASE WHEN systems.dept_id = found.dept_id THEN lab_id END,
    dept_id = found.dept_id,
    first_seen = LEAST(first_seen, found.at),
    last_seen = found.at
FROM found WHERE systems.system_id = found.system_id
"""

# Somebody may have put in machines with numbers of their own, which the sequence knows nothing of.
_NUMBERS = """
SELECT setval('systems_system_id_seq', highest) FROM (SELECT max(system_id) AS highest FROM systems) taken
WHERE highest > (SELECT last_value FROM systems_system_id_seq)
"""

_INSERT = """
INSERT INTO systems (dept_id, ip_address, hostname, mac_address, first_seen, last_seen)
SELECT dept_id, ip, hostname, mac, at, at FROM found WHERE system_id IS NULL ORDER BY ip
"""


@dataclass(frozen=True, slots=True)
class System:
    """A machine with its newest readings, as lists show it."""

    system_id: int
    dept_id: int
    lab_id: int | None
    ip_address: str | None
    hostname: str | None
    mac_address: str | None
    status: str
    ssh_port: int | None
    last_seen: datetime | None
    last_collected: datetime | None
    cpu_percent: float | None
    ram_percent: float | None
    disk_percent: float | None
    logged_in_users: int | None
    uptime_seconds: int | None


def record_discoveries(connection: Connection[Any], discoveries: Sequence[Discovery]) -> None:
    """Write what was found, in the caller's transaction. Repeats and late messages change nothing.

    Departments that do not exist yet are made.
    """
    connection.execute(_FOUND)
    connection.execute("DELETE FROM found")  # an earlier call in this transaction
    connection.execute(_LOCK)
    with connection.cursor().copy("COPY found (dept_id, ip, hostname, mac, at) FROM STDIN") as copy:
        for one in _newest(discoveries):
            copy.write_row((one.dept_id, one.ip_address, one.hostname, one.mac_address, one.discovered_at))
    for statement in (
        _DEPARTMENTS,
        _MATCH_BY_MAC,
        _MATCH_BY_ADDRESS,
        _LATE,
        _LATE_ADDRESS,
        _LET_GO,
        _UPDATE,
        _NUMBERS,
        _INSERT,
    ):
        connection.execute(statement)


def _newest(discoveries: Iterable[Discovery]) -> Iterable[Discovery]:
    """The last word on each machine, and of those on each address."""
    by_machine: dict[str, Discovery] = {}
    by_address: dict[str, Discovery] = {}
    for one in sorted(discoveries, key=lambda one: one.discovered_at):
        mac = (one.mac_address or "").replace("-", ":").lower()
        by_machine[mac or one.ip_address] = one
    for one in sorted(by_machine.values(), key=lambda one: one.discovered_at):
        by_address[one.ip_address] = one
    return by_address.values()


def record_scans(connection: Connection[Any], scans: Sequence[ScanFinished]) -> None:
    """Write finished scans, in the caller's transaction. Repeats change nothing."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO departments (dept_id) VALUES (%s) ON CONFLICT DO NOTHING",
            [(one.dept_id,) for one in scans],
        )
        cursor.executemany(
            "INSERT INTO scans (scan_id, dept_id, scan_type, target_range, started_at, finished_at, "
            "systems_found, status) VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            [
                (
                    one.scan_id,
                    one.dept_id,
                    one.scan_type,
                    one.target_range,
                    one.started_at,
                    one.finished_at,
                    one.systems_found,
                    one.status,
                )
                for one in scans
            ],
        )


def hold(connection: Connection[Any], system_ids: Iterable[int]) -> set[int]:
    """Those of the ids that exist, locked against removal until the transaction ends.

    In ascending order, so that two workers with overlapping batches wait for each other and never
    deadlock.
    """
    rows = connection.execute(
        "SELECT system_id FROM systems WHERE system_id = ANY(%s) ORDER BY system_id FOR NO KEY UPDATE",
        [sorted(set(system_ids))],
    )
    return {row[0] for row in rows}


def systems(
    connection: Connection[Any],
    *,
    dept: int | None = None,
    lab: int | None = None,
    ids: Sequence[int] | None = None,
) -> list[System]:
    """Machines by address, each with its newest readings; None does not restrict."""
    with connection.cursor(row_factory=class_row(System)) as cursor:
        cursor.execute(
            """
            SELECT system_id, dept_id, lab_id, host(ip_address) AS ip_address, hostname,
                   mac_address::text AS mac_address, status, ssh_port, last_seen, last_collected,
                   cpu_percent, ram_percent, disk_percent, logged_in_users, uptime_seconds
            FROM systems LEFT JOIN LATERAL (
                SELECT * FROM metrics
                WHERE metrics.system_id = systems.system_id AND collected_at = systems.last_collected
            ) latest USING (system_id)
            WHERE (%(dept)s::integer IS NULL OR dept_id = %(dept)s)
              AND (%(lab)s::integer IS NULL OR lab_id = %(lab)s)
              AND (%(ids)s::integer[] IS NULL OR system_id = ANY(%(ids)s))
            ORDER BY systems.ip_address NULLS LAST, system_id
            """,
            {"dept": dept, "lab": lab, "ids": list(ids) if ids is not None else None},
        )
        return cursor.fetchall()
