"""Alerts as the queue brought them."""

from collections.abc import Sequence
from typing import Any

from psycopg import Connection

from labmon.messages import Alert


def record_alerts(connection: Connection[Any], alerts: Sequence[Alert]) -> list[Alert]:
    """Write alerts, in the caller's transaction, and return those that were new.

    Repeats (system, type, time) change nothing.
    """
    new = []
    with connection.cursor() as cursor:
        for one in alerts:
            cursor.execute(
                "INSERT INTO alerts (system_id, alert_type, raised_at, severity, value, threshold) "
                "VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                [one.system_id, one.alert_type, one.at, one.severity, one.value, one.threshold],
            )
            if cursor.rowcount:
                new.append(one)
    return new
