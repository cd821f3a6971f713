"""When a known MAC address at a new address is the same machine there, and when it is another one.

A router has one MAC address in all its networks, and a docking station lends its own to each laptop. So a MAC
address that appears elsewhere is a move only if the machine is known to have left: its address was asked in
that same scan and did not answer, or has another MAC address now, or the machine was gone before. All but the
first is known at once. For the first the sighting is stored as a system of its own, and when the end of its
completed scan is stored, the old system moves there and absorbs it. Without such an end both stay.

The statements work on the table `found`: sightings, each with the system it is of.
"""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from psycopg import Connection

from labmon.messages import Discovery
from labmon.pg import believable
from labmon.store.inventory import history

# waits: one that is new is for quarantine.
# absorbs: a system that was made for this sighting and turns out to be `system_id`.
_FOUND = """
CREATE TEMPORARY TABLE IF NOT EXISTS found (
    dept_id integer, ip inet, hostname text, mac macaddr, at timestamptz, scan_id bigint,
    waits boolean, shared boolean NOT NULL DEFAULT false, system_id integer, absorbs integer
) ON COMMIT DELETE ROWS
"""

# No scan makes a retired or ignored machine gone, so it is taken to have left: wherever its MAC address turns
# up, it is that machine and no new one.
_IS_THERE = (
    "(ip_address IS NOT NULL AND NOT COALESCE(gone_since > last_seen, false)"
    " AND status NOT IN ('retired', 'ignored'))"
)

# A machine has several IPv6 addresses as a rule: those of one network, of one scan, or beside an IPv4 address
# in the same department are no move. A sighting older than the last one says where the machine was.
MATCH_BY_MAC = f"""
UPDATE found SET system_id = (
    SELECT CASE
        WHEN is_same OR NOT is_there OR seen_at > found.at
          OR (family(found.ip) <> family(ip_address) AND dept_id = found.dept_id)
          OR (family(found.ip) = 6 AND (
                is_on_link OR (seen_scan = found.scan_id AND found.at - seen_at < interval '1 hour')
          ))
          OR EXISTS (SELECT FROM found other WHERE other.ip = ip_address AND other.mac <> found.mac)
        THEN system_id END
    FROM (
        SELECT *, COALESCE(ip_address = found.ip, false) AS is_same, {_IS_THERE} AS is_there,
               COALESCE(family(found.ip) = 6 AND ip_address << set_masklen(found.ip, 64), false) AS is_on_link
        FROM systems WHERE mac_address = found.mac
    ) known
    ORDER BY is_same DESC, is_on_link DESC, is_there DESC, last_seen DESC NULLS LAST LIMIT 1
) WHERE mac IS NOT NULL AND NOT shared
"""

# All moving machines let go first: two that swapped addresses would otherwise trip over each other.
LET_GO = """
UPDATE systems SET ip_address = NULL FROM found
WHERE (systems.ip_address = found.ip AND systems.system_id IS DISTINCT FROM found.system_id)
   OR (systems.system_id = found.system_id AND found.ip IS NOT NULL AND systems.ip_address <> found.ip)
"""

# A sighting from before the scan that missed the machine, late or delivered again, does not bring it back.
UPDATE = f"""
UPDATE systems SET
    ip_address = COALESCE(found.ip, ip_address),
    hostname = COALESCE(found.hostname, systems.hostname),
    mac_address = COALESCE(found.mac, mac_address),
    mac_flag = CASE WHEN found.mac IS NULL THEN mac_flag
                    WHEN found.shared THEN 'shared'
                    WHEN labmon_mac_is_random(found.mac) THEN 'random' END,
    lab_id = CASE WHEN systems.dept_id = found.dept_id THEN lab_id END,
    dept_id = found.dept_id,
    first_seen = LEAST(first_seen, found.at),
    last_seen = found.at,
    seen_scan = found.scan_id,
    seen_at = found.at,
    gone_since = CASE WHEN {believable("gone_since")} > found.at THEN gone_since END
FROM found WHERE systems.system_id = found.system_id
"""

# Of the systems that a completed scan was the first to see: those whose MAC address a machine has that this
# scan asked in vain, or that has no address. (A second IPv6 address of a machine that did answer is no new
# place.) A system that an administrator or an alert refers to already is not taken away.
_MOVED = f"""
INSERT INTO found (dept_id, ip, hostname, mac, at, scan_id, system_id, absorbs)
SELECT DISTINCT ON (old.system_id)
       fresh.dept_id, CASE WHEN left_it THEN fresh.ip_address END, fresh.hostname, fresh.mac_address,
       fresh.seen_at, fresh.seen_scan, old.system_id, fresh.system_id
FROM scans
JOIN system_history first USING (scan_id)
JOIN systems fresh USING (system_id)
CROSS JOIN LATERAL (
    SELECT * FROM systems
    WHERE mac_address = fresh.mac_address AND system_id <> fresh.system_id
    ORDER BY {_IS_THERE} DESC, last_seen DESC NULLS LAST LIMIT 1
) old
CROSS JOIN LATERAL (
    SELECT old.ip_address IS NULL
           OR (scans.addresses @> old.ip_address AND old.last_seen < started_at) IS TRUE AS left_it
) judged
WHERE scan_id = ANY(%s) AND scans.status = 'completed' AND first.change = 'found' AND first.at >= started_at
  AND fresh.ip_address IS NOT NULL AND fresh.mac_flag IS DISTINCT FROM 'shared'
  AND old.mac_flag IS DISTINCT FROM 'shared' AND NOT (old.mac_shared OR fresh.mac_shared)
  AND (left_it OR (family(fresh.ip_address) = 6 AND old.seen_scan = scan_id))
  AND fresh.lab_id IS NULL AND fresh.ssh_port IS NULL
  AND fresh.status NOT IN ('maintenance', 'retired', 'ignored')
  AND NOT EXISTS (SELECT FROM system_changes WHERE system_changes.system_id = fresh.system_id)
  AND NOT EXISTS (SELECT FROM maintenance WHERE maintenance.system_id = fresh.system_id)
  AND NOT EXISTS (SELECT FROM alert_rules WHERE alert_rules.system_id = fresh.system_id)
  AND NOT EXISTS (SELECT FROM alert_incidents WHERE alert_incidents.system_id = fresh.system_id)
ORDER BY old.system_id, fresh.seen_at DESC, fresh.system_id
"""

# It may have been measured since it was found. Days of readings are partitions, so the time is named.
_TAKE_READINGS = """
WITH taken AS (
    UPDATE metrics SET system_id = found.system_id
    FROM found JOIN systems fresh ON fresh.system_id = absorbs
    WHERE metrics.system_id = absorbs AND last_collected IS NOT NULL
      AND collected_at BETWEEN first_seen - interval '1 hour' AND last_collected
      AND NOT EXISTS (
        SELECT FROM metrics own
        WHERE own.system_id = found.system_id AND own.collected_at = metrics.collected_at
      )
    RETURNING metrics.system_id, absorbs, collected_at
)
INSERT INTO rollup_due (level, bucket, systems)
SELECT '5m', labmon_bucket('5 minutes', collected_at) AS bucket, array_agg(system_id) || array_agg(absorbs)
FROM taken GROUP BY 2
"""
_TAKE_STATUS = """
UPDATE systems old SET
    last_collected = GREATEST(old.last_collected, fresh.last_collected),
    measured_at = GREATEST(labmon_measured(old), LEAST(fresh.last_collected, fresh.measured_at)),
    status = CASE WHEN is_newer THEN fresh.status ELSE old.status END,
    status_since = CASE WHEN is_newer THEN fresh.status_since ELSE old.status_since END,
    status_at = CASE WHEN is_newer THEN fresh.status_at ELSE old.status_at END,
    status_error = CASE WHEN is_newer THEN fresh.status_error ELSE old.status_error END
FROM (
    SELECT fresh.*, found.system_id AS old_id,
           before.status <> 'maintenance' AND before.is_watched
           AND COALESCE(fresh.status_at > before.status_at, before.status_at IS NULL) AS is_newer
    FROM found JOIN systems fresh ON fresh.system_id = absorbs
    JOIN systems before ON before.system_id = found.system_id
    WHERE fresh.status_at IS NOT NULL
) fresh WHERE old.system_id = old_id
"""
_ABSORB = "DELETE FROM systems USING found WHERE systems.system_id = absorbs"

_STEPS = (_TAKE_READINGS, _TAKE_STATUS, _ABSORB, history.CHANGES, history.ANSWERED, LET_GO, UPDATE)

_COPY_FOUND = "COPY found (dept_id, ip, hostname, mac, at, scan_id, waits) FROM STDIN"


def fill_found(connection: Connection[Any], discoveries: Sequence[Discovery] = ()) -> None:
    """Have the table `found` with these in it, and nothing of an earlier call in this transaction."""
    connection.execute(_FOUND)
    connection.execute("DELETE FROM found")
    with connection.cursor().copy(_COPY_FOUND) as copy:
        for one in discoveries:
            copy.write_row(
                (
                    *(one.dept_id, one.ip_address, one.hostname, one.mac_address),
                    *(one.discovered_at, one.scan_id, one.new_as == "quarantine"),
                )
            )


def batches(discoveries: Sequence[Discovery]) -> list[Sequence[Discovery]]:
    """All at once, or scan by scan where several scans saw one MAC address at several addresses.

    Within a batch only the newest address of a MAC counts, and a router in two networks would seem to be gone
    from one of them.
    """
    addresses: dict[str, set[str]] = {}
    senders: dict[str, set[int]] = {}
    for one in discoveries:
        if one.mac_address:
            mac = one.mac_address.lower().replace("-", ":")
            addresses.setdefault(mac, set()).add(one.ip_address)
            senders.setdefault(mac, set()).add(one.scan_id)
    if not any(len(seen) > 1 and len(senders[mac]) > 1 for mac, seen in addresses.items()):
        return [discoveries]
    by_scan: dict[int, list[Discovery]] = {}
    for one in sorted(discoveries, key=attrgetter("discovered_at")):
        by_scan.setdefault(one.scan_id, []).append(one)
    return list(by_scan.values())


def record_moves(connection: Connection[Any], scans: Sequence[int]) -> None:
    """Move the machines whose MAC address these stored scans saw elsewhere, and not where it was.

    Call it under `history.LOCK`, in the caller's transaction.
    """
    fill_found(connection)
    if connection.execute(_MOVED, [list(scans)]).rowcount:
        for statement in _STEPS:
            connection.execute(statement)
