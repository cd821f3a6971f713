"""Readings into the `metrics` table: by COPY, each once, however often they are delivered."""

from collections.abc import Sequence
from datetime import UTC, timedelta
from operator import attrgetter
from typing import Any

import msgspec
from psycopg import Connection
from psycopg.errors import ForeignKeyViolation, UniqueViolation
from psycopg.sql import SQL, Composed, Identifier

from labmon.messages import Metrics, Readings
from labmon.pg import array, believable
from labmon.store.inventory import systems

_COLUMNS = ("system_id", "collected_at", *Readings.__struct_fields__)
_NAMES = SQL(", ").join(map(Identifier, _COLUMNS))

_COPY = SQL("COPY metrics ({names}) FROM STDIN").format(names=_NAMES)
_COPY_ARRIVED = SQL("COPY arrived ({names}) FROM STDIN").format(names=_NAMES)

_ARRIVED = "CREATE TEMPORARY TABLE IF NOT EXISTS arrived (LIKE metrics) ON COMMIT DELETE ROWS"

_INSERT = SQL(
    "INSERT INTO metrics ({names}) SELECT {names} FROM arrived ORDER BY system_id, collected_at "
    "ON CONFLICT DO NOTHING"
).format(names=_NAMES)

# A reading that is older than the last word on a machine, or comes again, says nothing about its status. Nor
# does one of a machine that people took out (retired, ignored, in quarantine): it is only kept. Of a
# machine that was only discovered, whose clock may be that much behind ours, any is news that came since.
_IS_NEWS = (
    "status <> 'maintenance' AND is_watched AND newest.at > "
    f"COALESCE({believable('status_at')}, {believable('first_seen')} - interval '5 minutes', '-infinity')"
)

# A reading from the future was seen when it came, and not when it says. So the next true one replaces it as
# the newest, and one that comes late does not.
_SEEN_AT = f"CASE WHEN last_collected IS NOT NULL THEN {believable('last_seen')} END"
_SEEN = f"""
UPDATE systems SET
    last_collected = newest.at,
    measured_at = LEAST(newest.at, now()),
    last_seen = GREATEST({believable("last_seen")}, LEAST(newest.at, now())),
    status = CASE WHEN {_IS_NEWS} THEN 'active' ELSE status END,
    status_since = CASE WHEN {_IS_NEWS} AND (status <> 'active' OR status_since > now()) THEN newest.at
                        ELSE status_since END,
    status_at = CASE WHEN {_IS_NEWS} THEN LEAST(newest.at, now()) ELSE status_at END,
    status_error = CASE WHEN {_IS_NEWS} THEN NULL ELSE status_error END
FROM unnest(%s::integer[], %s::timestamptz[]) AS newest (system_id, at)
WHERE systems.system_id = newest.system_id
  AND newest.at > COALESCE({believable("last_collected")}, {_SEEN_AT}, '-infinity')
"""


def record_metrics(connection: Connection[Any], rows: Sequence[Metrics]) -> int:
    """Write readings, in the caller's transaction; returns how many were new.

    A reading is known by its machine and `collected_at`; a repeat is skipped. The machines must exist (see
    `inventory.known`): raises ForeignKeyViolation when one does not. Days that have no partition yet get one.
    """
    if not rows:
        return 0
    days = {row.collected_at.astimezone(UTC).date() for row in rows}
    days |= {day + timedelta(days=1) for day in days}  # made today, before a writer waits for it
    connection.execute("SELECT labmon_metrics_day(day) FROM unnest(%s::date[]) AS day", [sorted(days)])
    # In key order, so that two workers that got the same messages wait for each other and never deadlock.
    rows = sorted(rows, key=attrgetter("system_id", "collected_at"))
    new = _insert(connection, rows)
    newest = {row.system_id: row.collected_at for row in rows}
    # Only now, since the lock on a machine's row keeps the other workers waiting until the end.
    if len(systems.hold(connection, newest)) < len(newest):
        raise ForeignKeyViolation("a machine was removed while its readings were stored")
    connection.execute(_SEEN, [array(newest), array(newest.values())])
    return new


def _insert(connection: Connection[Any], rows: Sequence[Metrics]) -> int:
    """By COPY; and where that meets a repeat, which is rare, once more by a slower way, which skips it."""
    try:
        with connection.transaction():
            _copy(connection, _COPY, rows)
        return len(rows)
    except UniqueViolation:
        connection.execute(_ARRIVED)
        connection.execute("DELETE FROM arrived")  # an earlier call in this transaction
        _copy(connection, _COPY_ARRIVED, rows)
        return connection.execute(_INSERT).rowcount


def _copy(connection: Connection[Any], statement: Composed, rows: Sequence[Metrics]) -> None:
    with connection.cursor().copy(statement) as copy:
        for row in rows:
            copy.write_row((row.system_id, row.collected_at, *msgspec.structs.astuple(row.metrics)))
