"""What happened to the machines: written where it happens, in the same transaction, and read here.

found       a scan saw it for the first time             new: its address
moved       seen at another address, or at one again     old and new address
lost        another machine has its address now          old address
renamed     its name changed                             old and new name
mac         its MAC address became known, or changed     old and new MAC address
department  a scan for another department found it       old and new number
shared      its MAC address is at several addresses      new: the MAC address
unshared    and is at one only again                     old: the MAC address
gone        a completed scan of its address missed it    old: its address
back        seen again                                   new: its address
status      it fares otherwise, since then               old and new status, with what is wrong
answered    retired, and a scan found it                 new: its address; of each only the last time
set         changed by a person                          what it was and is: "seat 3,2"
merged      another system became part of it             new: which
split       and was taken out again                      new: which
undone      a person took a step back                    new: which
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row

from labmon.pg import believable

KINDS = (
    "found",
    "moved",
    "lost",
    "renamed",
    "mac",
    "department",
    "shared",
    "unshared",
    "gone",
    "back",
    "status",
    "answered",
    "set",
    "merged",
    "split",
    "undone",
)
"""What a change may be, as above."""

# One writer at a time: moving addresses between rows under a unique key is no work for two.
LOCK = "SELECT pg_advisory_xact_lock(hashtext('labmon_inventory'))"

# For writers that take the rows of their machines in one step, in order: any number of them at a time.
LOCK_SHARED = "SELECT pg_advisory_xact_lock_shared(hashtext('labmon_inventory'))"

# The following statements are steps of `inventory.record_discoveries`, on its table `found`.

SHARED = """
WITH flagged AS (
    UPDATE systems SET mac_flag = 'shared'
    FROM (SELECT mac, min(at) AS at, min(scan_id) AS scan_id FROM found WHERE shared GROUP BY mac) shared
    WHERE systems.mac_address = shared.mac AND mac_flag IS DISTINCT FROM 'shared'
    RETURNING system_id, at, shared.scan_id, mac_address
)
INSERT INTO system_history (system_id, at, scan_id, change, new_value)
SELECT system_id, at, scan_id, 'shared', mac_address::text FROM flagged
"""

# A complete scan found the MAC address once, and the other machines with it are gone, by this scan or an
# earlier one.
UNSHARED = """
WITH alone AS (
    SELECT systems.mac_address, max(scans.scan_id) AS scan_id, max(finished_at) AS at
    FROM scans JOIN systems ON seen_scan = scans.scan_id AND seen_at >= started_at
    WHERE scans.scan_id = ANY(%s) AND scans.status = 'completed' AND mac_flag = 'shared'
      AND NOT EXISTS (
        SELECT FROM systems marked
        WHERE marked.mac_address = systems.mac_address AND marked.mac_shared
      )
      AND NOT EXISTS (
        SELECT FROM systems other
        WHERE other.mac_address = systems.mac_address AND other.system_id <> systems.system_id
          AND other.is_watched AND other.ip_address IS NOT NULL
          AND COALESCE(other.gone_since <= other.last_seen, true)
      )
    GROUP BY systems.mac_address
), cleared AS (
    UPDATE systems SET mac_flag = CASE WHEN labmon_mac_is_random(systems.mac_address) THEN 'random' END
    FROM alone WHERE systems.mac_address = alone.mac_address AND mac_flag = 'shared'
    RETURNING system_id, seen_scan, alone.at, alone.scan_id, systems.mac_address
)
INSERT INTO system_history (system_id, at, scan_id, change, old_value)
SELECT system_id, at, scan_id, 'unshared', mac_address::text FROM cleared WHERE seen_scan = scan_id
"""

# The end of a scan may be stored before the last of what it found: workers do not wait for each other.
NOT_GONE_AFTER_ALL = """
WITH wrong AS (
    DELETE FROM system_history USING found
    WHERE change = 'gone' AND system_history.scan_id = found.scan_id
      AND system_history.system_id = found.system_id AND found.at >= system_history.at
    RETURNING system_history.system_id
)
UPDATE systems SET gone_since = NULL FROM wrong WHERE systems.system_id = wrong.system_id
"""

# Before the systems change, since only then both sides are there to compare.
CHANGES = f"""
INSERT INTO system_history (system_id, at, scan_id, change, old_value, new_value)
SELECT system_id, at, scan_id, change, old_value, new_value FROM (
    SELECT systems.system_id, at, scan_id, change.* FROM found JOIN systems USING (system_id), LATERAL (
        VALUES
            (1, 'back', NULL, host(COALESCE(found.ip, ip_address)),
             gone_since > last_seen AND COALESCE({believable("gone_since")} <= found.at, true)),
            (
                2, 'moved', COALESCE(host(ip_address), (
                    SELECT earlier.old_value FROM system_history earlier
                    WHERE earlier.system_id = systems.system_id AND earlier.change = 'lost'
                    ORDER BY earlier.at DESC, history_id DESC LIMIT 1
                )), host(found.ip), ip_address IS DISTINCT FROM found.ip
            ),
            (3, 'renamed', systems.hostname, found.hostname, systems.hostname <> found.hostname),
            (4, 'mac', mac_address::text, mac::text, mac_address IS DISTINCT FROM mac),
            (5, 'department', systems.dept_id::text, found.dept_id::text, systems.dept_id <> found.dept_id)
    ) AS change (place, change, old_value, new_value, is_so)
    WHERE is_so AND new_value IS NOT NULL AND status NOT IN ('retired', 'ignored')
    UNION ALL
    SELECT systems.system_id, at, scan_id, 0, 'lost', host(ip_address), NULL, true
    FROM systems JOIN found ON systems.ip_address = found.ip
    WHERE systems.system_id IS DISTINCT FROM found.system_id
      AND NOT EXISTS (
        SELECT FROM found own WHERE own.system_id = systems.system_id AND own.ip IS NOT NULL
      )
) happened
ORDER BY system_id, place
"""

# A retired machine that is found again is no news about the inventory, but somebody may want to know.
ANSWERED = """
WITH answering AS MATERIALIZED (
    SELECT systems.system_id, at, scan_id, host(COALESCE(found.ip, ip_address)) AS address
    FROM found JOIN systems USING (system_id) WHERE status = 'retired'
), again AS (
    DELETE FROM system_history USING answering
    WHERE system_history.system_id = answering.system_id AND change = 'answered' AND new_value = address
)
INSERT INTO system_history (system_id, at, scan_id, change, new_value)
SELECT system_id, at, scan_id, 'answered', address FROM answering WHERE address IS NOT NULL ORDER BY system_id
"""

# Reported statuses, in any order and possibly repeated, merged into the known history, so that a row stands
# wherever the status changed. A report that is older than the current status (`status_at`) ends there.
STATUSES = """
WITH reported AS (
    SELECT DISTINCT ON (system_id, at) reported.*
    FROM unnest(%s::integer[], %s::timestamptz[], %s::text[], %s::text[])
        AS reported (system_id, at, status, error)
    JOIN systems USING (system_id)
    WHERE systems.status <> 'maintenance' AND is_watched AND reported.at IS DISTINCT FROM status_at AND (
        SELECT history_id FROM system_history known
        WHERE known.system_id = reported.system_id AND known.at = reported.at AND change = 'status' LIMIT 1
    ) IS NULL
), word AS (
    SELECT * FROM reported
    UNION ALL
    SELECT system_id, status_at, status, status_error FROM systems
    WHERE system_id IN (SELECT system_id FROM reported) AND status_at IS NOT NULL AND status <> 'discovered'
), first AS (
    SELECT system_id, COALESCE((
        SELECT at FROM system_history earlier
        WHERE earlier.system_id = word.system_id AND change = 'status' AND earlier.at <= min(word.at)
        ORDER BY at DESC LIMIT 1
    ), min(word.at)) AS at
    FROM word GROUP BY system_id
), line AS (
    SELECT *, lag(status) OVER (PARTITION BY system_id ORDER BY at, history_id) AS before FROM (
        SELECT NULL AS history_id, * FROM word
        UNION ALL
        SELECT known.* FROM first, LATERAL (
            SELECT history_id, system_id, at, new_value, error FROM system_history
            WHERE system_id = first.system_id AND change = 'status' AND at >= first.at OFFSET 0
        ) known
    ) one
), again AS (
    DELETE FROM system_history
    WHERE history_id = ANY (ARRAY(SELECT history_id FROM line WHERE status = before AND history_id > 0))
)
INSERT INTO system_history (system_id, at, change, new_value, error)
SELECT system_id, at, 'status', status, error FROM line
WHERE history_id IS NULL AND status IS DISTINCT FROM before
"""


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that happened to one machine."""

    at: datetime
    system_id: int
    hostname: str | None
    ip_address: str | None  #: where it is now
    change: str
    old_value: str | None
    new_value: str | None
    scan_id: int | None
    error: str | None  #: with a status
    history_id: int = 0  #: its place among those of one moment


def changes(
    connection: Connection[Any],
    *,
    system_id: int | None = None,
    scan_id: int | None = None,
    kinds: Sequence[str] | None = None,
    before: tuple[datetime, int] | None = None,
    limit: int | None = None,
) -> list[Change]:
    """The newest `limit` of them, oldest first; None does not restrict.

    `before`: only those before the change of this time and history_id.
    """
    with connection.cursor(row_factory=class_row(Change)) as cursor:
        cursor.execute(
            """
            SELECT at, system_id, hostname, host(ip_address) AS ip_address,
                   change, new_value, scan_id, error, history_id,
                   CASE change WHEN 'status' THEN (
                       SELECT earlier.new_value FROM system_history earlier
                       WHERE earlier.system_id = newest.system_id AND earlier.change = 'status'
                         AND (earlier.at, earlier.history_id) < (newest.at, newest.history_id)
                       ORDER BY earlier.at DESC, history_id DESC LIMIT 1
                   ) ELSE old_value END AS old_value
            FROM (
                SELECT * FROM system_history
                WHERE (%(system)s::integer IS NULL OR system_id = %(system)s)
                  AND (%(scan)s::bigint IS NULL OR scan_id = %(scan)s)
                  AND (%(kinds)s::text[] IS NULL OR change = ANY(%(kinds)s))
                  AND (%(at)s::timestamptz IS NULL OR (at, history_id) < (%(at)s, %(id)s::bigint))
                ORDER BY at DESC, history_id DESC LIMIT %(limit)s
            ) newest JOIN systems USING (system_id)
            ORDER BY at, history_id
            """,
            {
                "system": system_id,
                "scan": scan_id,
                "kinds": list(kinds) if kinds is not None else None,
                "at": before and before[0],
                "id": before and before[1],
                "limit": limit,
            },
        )
        return cursor.fetchall()
