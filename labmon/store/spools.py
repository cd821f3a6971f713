"""How full the spools of all machines are, as far as these reach the database: for the rule `spool_full`."""

from datetime import datetime, timedelta
from typing import Any

from psycopg import Connection

FORGOTTEN_AFTER = timedelta(days=1)
"""From then on a machine that said nothing is taken to be gone, and an alert about its spool is over."""


def record(connection: Connection[Any], host: str, file: str, percent: float, now: datetime) -> None:
    """How full a spool is now."""
    connection.execute(
        "INSERT INTO spools (host, file, percent, told_at) VALUES (%s, %s, %s, %s) "
        "ON CONFLICT (host, file) DO UPDATE SET percent = excluded.percent, told_at = excluded.told_at",
        [host, file, percent, now],
    )


def fills(connection: Connection[Any], now: datetime) -> dict[str, float]:
    """Percent of the limit, by machine; of its fullest spool, where it has several.

    Deletes the rows of machines that stopped reporting long ago.
    """
    connection.execute("DELETE FROM spools WHERE told_at < %s", [now - FORGOTTEN_AFTER])
    connection.execute(
        """
        WITH ended AS (
            UPDATE alert_incidents SET resolved_at = GREATEST(%(now)s, fired_at), reason = %(reason)s
            WHERE kind = 'spool_full' AND state = 'firing' AND subject NOT IN (SELECT host FROM spools)
            RETURNING alert_id, resolved_at, reason
        )
        INSERT INTO alert_log (alert_id, at, event, comment)
        SELECT alert_id, resolved_at, 'resolved', reason FROM ended
        """,
        {"now": now, "reason": "the machine has not been heard of for a day"},
    )
    rows = connection.execute("SELECT host, max(percent) FROM spools GROUP BY host")
    return dict(rows.fetchall())
