"""Alerts as the queue brought them."""

from collections.abc import Sequence
from typing import Any

from psycopg import Connection

from labmon.messages import Alert


def record_alerts(connection: Connection[Any], alerts: Sequence[Alert]) -> None:
    """Write alerts, in the caller's transaction. Repeats (system, type, time) change nothing."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO alerts (system_id, alert_type, raised_at, severity, value, threshold, "
            "state, alert_id) VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            [
                (
                    one.system_id,
                    one.alert_type,
                    one.at,
                    one.severity,
                    one.value,
                    one.threshold,
                    one.state,
                    one.alert_id,
                )
                for one in alerts
            ],
        )
