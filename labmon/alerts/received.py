"""Alerts as the queue brought them."""

from collections.abc import Sequence
from typing import Any

from psycopg import Connection

from labmon.messages import Alert


def record_alerts(connection: Connection[Any], alerts: Sequence[Alert]) -> list[Alert]:
    """Write alerts, in the caller's transaction, and return those that were new.

    Repeats change nothing; what makes an alert is its system, type, time, state and number.
    """
    by_key = {(one.system_id, one.alert_type, one.at, one.state, one.alert_id): one for one in alerts}
    once = list(by_key.values())
    rows = connection.execute(
        """
        INSERT INTO alerts (system_id, alert_type, raised_at, severity, value, threshold, state, alert_id,
                            note)
        SELECT * FROM unnest(%s::integer[], %s::text[], %s::timestamptz[], %s::text[], %s::float8[],
                             %s::float8[], %s::text[], %s::bigint[], %s::text[])
        ON CONFLICT DO NOTHING RETURNING system_id, alert_type, raised_at, state, alert_id
        """,
        [
            [one.system_id for one in once],
            [one.alert_type for one in once],
            [one.at for one in once],
            [one.severity for one in once],
            [one.value for one in once],
            [one.threshold for one in once],
            [one.state for one in once],
            [one.alert_id for one in once],
            [one.note if one.alert_id is None else None for one in once],
        ],
    )
    return [by_key[row] for row in rows]
