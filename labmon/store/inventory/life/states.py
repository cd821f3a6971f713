"""Taken out and let in: retired, ignored, in quarantine, and back."""

from collections.abc import Sequence
from typing import Any

from psycopg import Connection

from labmon.store.inventory.life import steps
from labmon.store.inventory.statuses import UNWATCHED


def take(connection: Connection[Any], system_ids: Sequence[int], status: str, comment: str | None) -> None:
    """Give systems a status of `UNWATCHED`, within a `steps.step`. It stays until somebody says otherwise."""
    connection.execute(
        "UPDATE systems SET status = %(status)s, status_error = %(comment)s, status_since = now(), "
        "status_at = now() WHERE system_id = ANY(%(ids)s) AND status <> %(status)s",
        {"status": status, "comment": comment, "ids": list(system_ids)},
    )
    for table in ("alert_silent", "alert_covers"):  # what the rules made of them until now
        connection.execute(f"DELETE FROM {table} WHERE system_id = ANY(%s)".encode(), [list(system_ids)])


def let_in(connection: Connection[Any], system: int) -> list[str]:
    """Have a system measured again, within a `steps.step`. Returns what it has lost meanwhile, in words."""
    row = connection.execute(
        """
        SELECT before ->> 'status' FROM system_changes JOIN systems USING (system_id)
        WHERE system_id = %s AND undone_at IS NULL AND after ->> 'status' = status
        ORDER BY change_id DESC LIMIT 1
        """,
        [system],
    ).fetchone()
    earlier = row[0] if row else None
    lost: list[str] = []
    status = "discovered" if earlier is None or earlier in UNWATCHED else earlier
    steps.lose_taken_seat(connection, system, status, lost)
    connection.execute(
        "UPDATE systems SET status = %(status)s, status_error = NULL, "
        "status_since = CASE WHEN %(status)s <> 'discovered' THEN now() END, "
        "status_at = CASE WHEN %(status)s <> 'discovered' THEN now() END WHERE system_id = %(system)s",
        {"status": status, "system": system},
    )
    return lost


def in_status(
    connection: Connection[Any], status: str, *, dept: int | None = None, lab: int | None = None
) -> list[int]:
    """The systems in it, by number; None does not restrict."""
    rows = connection.execute(
        "SELECT system_id FROM systems WHERE status = %(status)s "
        "AND (%(dept)s::integer IS NULL OR dept_id = %(dept)s) "
        "AND (%(lab)s::integer IS NULL OR lab_id = %(lab)s) ORDER BY system_id",
        {"status": status, "dept": dept, "lab": lab},
    )
    return [row[0] for row in rows]


def statuses(connection: Connection[Any], system_ids: Sequence[int]) -> dict[int, str]:
    """The status of each of these systems."""
    rows = connection.execute(
        "SELECT system_id, status FROM systems WHERE system_id = ANY(%s)", [list(system_ids)]
    )
    return dict(rows.fetchall())
