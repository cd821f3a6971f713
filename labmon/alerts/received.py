"""Alerts as the queue brought them."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace
from psycopg import Connection

from labmon.messages import Alert


def record_alerts(connection: Connection[Any], alerts: Sequence[Alert]) -> list[Alert]:
    """Write alerts, in the caller's transaction, and return those that were new, each with its number.

    Repeats change nothing; what makes an alert is its system, type, time, state and number. One that no rule
    made gets its number by being written.
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
    return _numbered(connection, [by_key[row] for row in rows])


def _numbered(connection: Connection[Any], alerts: list[Alert]) -> list[Alert]:
    without = [one for one in alerts if one.alert_id is None]
    if not without:
        return alerts
    numbers = connection.execute(
        """
        SELECT (SELECT max(alert_id) FROM alert_incidents AS known
                WHERE kind = 'other' AND known.system_id = asked.system_id
                  AND known.alert_type = asked.alert_type
                  AND CASE asked.state WHEN 'firing' THEN resolved_at IS NULL ELSE resolved_at = asked.at END)
        FROM unnest(%s::integer[], %s::text[], %s::text[], %s::timestamptz[])
             WITH ORDINALITY AS asked (system_id, alert_type, state, at, place)
        ORDER BY place
        """,
        [
            [one.system_id for one in without],
            [one.alert_type for one in without],
            [one.state for one in without],
            [one.at for one in without],
        ],
    ).fetchall()
    found = {id(one): number for one, (number,) in zip(without, numbers, strict=True)}
    return [replace(one, alert_id=found[id(one)]) if id(one) in found else one for one in alerts]
