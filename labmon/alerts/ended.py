"""Ending the alerts of systems that nothing is evaluated for any more."""

from collections.abc import Sequence
from typing import Any

from psycopg import Connection

LOCK = "SELECT pg_advisory_xact_lock(hashtext('labmon_alerts'))"
"""What evaluates thresholds holds it, before it locks systems. Whoever ends alerts takes it first as well."""


def end(connection: Connection[Any], system_ids: Sequence[int], reason: str) -> int:
    """Resolve the alerts of these systems, and notify the targets that were notified. Call it under `LOCK`.

    Returns how many were firing. What was only pending is forgotten.
    """
    connection.execute(
        "DELETE FROM alert_incidents WHERE system_id = ANY(%s) AND fired_at IS NULL AND resolved_at IS NULL",
        [list(system_ids)],
    )
    row = connection.execute(
        """
        WITH ended AS (
            UPDATE alert_incidents SET resolved_at = GREATEST(now(), fired_at), reason = %(reason)s
            WHERE system_id = ANY(%(ids)s) AND resolved_at IS NULL
            RETURNING alert_id, resolved_at
        ), logged AS (
            INSERT INTO alert_log (alert_id, at, event, comment)
            SELECT alert_id, resolved_at, 'resolved', %(reason)s FROM ended
        )
        SELECT array_agg(alert_id) FROM ended
        """,
        {"ids": list(system_ids), "reason": reason},
    ).fetchone()
    alerts = row[0] if row else None
    if not alerts:
        return 0
    connection.execute("SELECT labmon_alerts_tell(now(), %s)", [alerts])
    return len(alerts)
