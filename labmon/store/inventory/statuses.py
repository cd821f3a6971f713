"""How machines fare: what collecting tells of them, and what people say.

The newest word on a machine counts, whichever way it came: a status, or a reading, which makes it active
(`metrics.record_metrics`). Maintenance is said by people, and ended by them.
"""

from collections.abc import Sequence
from typing import Any, get_args

from psycopg import Connection

from labmon.messages import Status, SystemStatus
from labmon.pg import believable
from labmon.store.inventory import history, systems

UNWATCHED = ("retired", "ignored", "quarantined")
"""Statuses of systems that people took out, or have not let in: neither measured, counted nor judged."""

STATUSES = ("discovered", *get_args(Status), "maintenance", *UNWATCHED)
"""Every status that a machine can have; the first is that of one that was never measured."""

_RECORD = f"""
UPDATE systems SET
    status = newest.status, status_since = newest.since, status_at = LEAST(newest.at, now()),
    status_error = newest.error
FROM (
    SELECT DISTINCT ON (system_id) * FROM unnest(
        %s::integer[], %s::text[], %s::timestamptz[], %s::timestamptz[], %s::text[]
    ) AS reported (system_id, status, since, at, error)
    ORDER BY system_id, at DESC
) newest
WHERE systems.system_id = newest.system_id AND systems.status <> 'maintenance' AND is_watched
  AND newest.at > COALESCE({believable("status_at")}, '-infinity')
"""


def record_statuses(connection: Connection[Any], statuses: Sequence[SystemStatus]) -> None:
    """Write what is newer than what is known, in the caller's transaction. Repeats change nothing.

    What is older is history all the same: messages do not come in order.
    """
    if statuses:
        systems.hold(connection, (one.system_id for one in statuses))
        connection.execute(
            _RECORD,
            [
                [one.system_id for one in statuses],
                [one.status for one in statuses],
                [one.since for one in statuses],
                [one.checked_at for one in statuses],
                [one.error for one in statuses],
            ],
        )
        connection.execute(
            history.STATUSES,
            [
                [one.system_id for one in statuses],
                [one.since for one in statuses],
                [one.status for one in statuses],
                [one.error for one in statuses],
            ],
        )


def set_status(connection: Connection[Any], system_ids: Sequence[int], status: str) -> None:
    """What somebody says: "maintenance" holds until the same way says "active"."""
    connection.execute(
        """
        UPDATE systems SET status = %(status)s, status_at = now(), status_error = NULL,
            status_since = CASE WHEN status = %(status)s THEN status_since ELSE now() END
        WHERE system_id = ANY(%(ids)s)
        """,
        {"status": status, "ids": list(system_ids)},
    )
