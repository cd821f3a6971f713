"""Alerts as the queue brought them."""

from collections.abc import Sequence
from typing import Any

from psycopg import Connection

from labmon.messages import Alert


def record_alerts(connection: Connection[Any], alerts: Sequence[Alert]) -> list[Alert]:
    """Write alerts, in the caller's transaction, and return those that were new.

    Repeats change nothing; what makes an alert is its system, type, time, state and number.
    """
    new = []
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO alerts (system_id, alert_type, raised_at, severity, value, threshold, "
            "state, alert_id) VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING RETURNING 1",
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
            returning=True,
        )
        for one in alerts:
            if cursor.fetchone():
                new.append(one)
            cursor.nextset()
    return new
