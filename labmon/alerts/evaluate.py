"""The tick: rules that no reading triggers, evaluated every few seconds by `labmon consume`."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.types.json import Jsonb

EVERY = 5.0
"""Seconds between two ticks that are soon enough: holds and spans are minutes."""


def tick(
    connection: Connection[Any],
    now: datetime,
    *,
    depths: Mapping[str, int],
    metrics_queue: str,
    spools: Mapping[str, float] | None = None,
) -> int | None:
    """Look at everything once, in the caller's transaction. Returns how many alerts it put into the outbox,
    None when another session is at it.

    `depths` is the number of messages that wait in each queue, as far as it is known; `spools` by machine how
    full its spool is, in percent. What goes wrong in one of the rules is recorded (`errors`), never raised.
    """
    observed = {
        "queue_backlog": dict(depths),
        "waiting": depths.get(metrics_queue, 0),
        "spool_full": dict(spools or {}),
    }
    row = connection.execute("SELECT labmon_alerts_tick(%s, %s)", [now, Jsonb(observed)]).fetchone()
    return row[0] if row else None


def errors(connection: Connection[Any]) -> list[tuple[str, str, int, datetime]]:
    """What went wrong while rules were evaluated, the newest first: (place, text, how often, last)."""
    return connection.execute(
        "SELECT place, said, times, last_at FROM alert_errors ORDER BY last_at DESC"
    ).fetchall()


def waiting(connection: Connection[Any]) -> tuple[int, datetime | None]:
    """How many alerts of the outbox have not been published, and since when the oldest of them waits."""
    row = connection.execute(
        "SELECT count(*), min(created_at) FROM alert_outbox WHERE published_at IS NULL"
    ).fetchone()
    return row or (0, None)
