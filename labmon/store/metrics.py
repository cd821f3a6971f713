"""Readings into the `metrics` table: by COPY, each once, however often they are delivered."""

from collections.abc import Sequence
from datetime import UTC, timedelta
from typing import Any

import msgspec
from psycopg import Connection
from psycopg.sql import SQL, Identifier

from labmon.messages import Metrics, Readings

_COLUMNS = ("system_id", "collected_at", *(field.name for field in msgspec.structs.fields(Readings)))
_NAMES = SQL(", ").join(map(Identifier, _COLUMNS))

_ARRIVED = "CREATE TEMPORARY TABLE IF NOT EXISTS arrived (LIKE metrics) ON COMMIT DELETE ROWS"

# In key order, so that two workers that got the same messages wait for each other and never deadlock.
_INSERT = SQL(
    "INSERT INTO metrics ({names}) SELECT {names} FROM arrived ORDER BY system_id, collected_at "
    "ON CONFLICT DO NOTHING"
).format(names=_NAMES)

# A reading that is older than the last word on a machine, or comes again, says nothing about its status. Of a
# machine that was only discovered, whose clock may be that much behind ours, any is news that came since.
_IS_NEWS = "status <> 'maintenance' AND newest.at > COALESCE(status_at, first_seen - interval '5 minutes')"

_SEEN = f"""
UPDATE systems SET
    last_collected = GREATEST(last_collected, newest.at),
    last_seen = GREATEST(last_seen, newest.at),
    status = CASE WHEN {_IS_NEWS} THEN 'active' ELSE status END,
    status_since = CASE WHEN {_IS_NEWS} AND status <> 'active' THEN newest.at ELSE status_since END,
    status_at = CASE WHEN {_IS_NEWS} THEN LEAST(newest.at, now()) ELSE status_at END,
    status_error = CASE WHEN {_IS_NEWS} THEN NULL ELSE status_error END
FROM (SELECT system_id, max(collected_at) AS at FROM arrived GROUP BY system_id) newest
WHERE systems.system_id = newest.system_id AND newest.at > COALESCE(last_collected, '-infinity')
"""


def record_metrics(connection: Connection[Any], rows: Sequence[Metrics]) -> int:
    """Write readings, in the caller's transaction; returns how many were new.

    A reading is known by its machine and `collected_at`; a repeat is skipped. The machines must exist:
    see `inventory.hold`. Days that have no partition yet get one.
    """
    days = {(row.collected_at.astimezone(UTC) + ahead).date() for row in rows for ahead in _DAY_AND_NEXT}
    connection.execute("SELECT labmon_metrics_day(day) FROM unnest(%s::date[]) AS day", [sorted(days)])
    connection.execute(_ARRIVED)
    connection.execute("DELETE FROM arrived")  # an earlier call in this transaction
    with connection.cursor().copy(SQL("COPY arrived ({}) FROM STDIN").format(_NAMES)) as copy:
        for row in rows:
            copy.write_row((row.system_id, row.collected_at, *msgspec.structs.astuple(row.metrics)))
    new = connection.execute(_INSERT).rowcount
    connection.execute(_SEEN)
    return new


# Tomorrow's partition is made today, when nobody waits for it.
_DAY_AND_NEXT = (timedelta(0), timedelta(days=1))
