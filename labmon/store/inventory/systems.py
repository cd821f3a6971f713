"""Departments and machines: written from what scans report, read by everyone else.

A machine is its MAC address when one is known, else its address. A known MAC at a new address is a new
system, unless the machine is known to have left the old one: then it moved, with its history (see `moves`).
The machine that had the new address before has lost it. Two kinds of MAC address say less than that, and
their machines are flagged:

* shared: one scan saw it at several IPv4 addresses, as with a router that answers for others, cloned
  machines, or one machine with several addresses. Nobody can tell these apart, so from then on a machine
  with that MAC is its address, and does not move, until a whole scan meets the MAC at one address and the
  others are gone. A machine that then comes back at the address of one of them is that one again.
* random: made by software (the second-lowest bit of the first byte), as phones do and virtual machines. Seen
  again it is the same machine, so these move like others. But a new one does not make a new machine of the
  address's owner, if that has a random one too and the names do not contradict: else a phone would be
  another machine every day. QEMU's 52:54:00 stays with its machine, and counts as a real one.

A machine has several IPv6 addresses as a rule, and often an IPv4 address too. It stands at one of them: the
IPv4 address for as long as it answers there, else the IPv6 address that it had, or the newest. Several IPv6
addresses of a MAC say nothing about sharing.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from psycopg import Connection
from psycopg.rows import class_row

from labmon.errors import UsageError
from labmon.fleet import Fleet, Machine
from labmon.messages import Discovery, utcnow
from labmon.pg import array, believable
from labmon.store.identity import database_id
from labmon.store.inventory import history, labs, maintenance, moves, scans

_DEPARTMENTS = "INSERT INTO departments (dept_id) SELECT DISTINCT dept_id FROM found ON CONFLICT DO NOTHING"

# What some drivers and senders write where they know none: no machine has these, nor a group's (bit 0). Nor
# is what routers take over from each other the identity of one.
_NO_MAC = """
UPDATE found SET mac = NULL
WHERE mac = '00:00:00:00:00:00' OR mac & '01:00:00:00:00:00' <> '00:00:00:00:00:00'
   OR labmon_mac_is_virtual(mac)
"""

# All rows that the following may change, in ascending order like every caller that locks several (see
# `hold`): a worker that
# stores readings of the same machines waits, or is waited for, and neither waits for ever.
_HOLD = """
SELECT FROM systems
WHERE ip_address IN (SELECT ip FROM found) OR mac_address IN (SELECT mac FROM found)
ORDER BY system_id FOR NO KEY UPDATE
"""

# The rest of the scan may have come with an earlier batch, and is in `systems` then. Within an hour, since
# other senders may use the same scan_id for ever.
_SHARED = """
WITH sighting AS (
    SELECT mac, ip, scan_id, at FROM found WHERE mac IS NOT NULL AND family(ip) = 4
    UNION ALL
    SELECT mac_address, ip_address, seen_scan, seen_at FROM systems
    WHERE mac_address IN (SELECT mac FROM found) AND family(ip_address) = 4 AND seen_scan IS NOT NULL
), shared AS (
    SELECT mac FROM sighting GROUP BY mac, scan_id
    HAVING min(ip) <> max(ip) AND max(at) - min(at) < interval '1 hour'
    UNION
    SELECT mac_address FROM systems
    WHERE (mac_flag = 'shared' OR mac_shared) AND mac_address IN (SELECT mac FROM found)
)
UPDATE found SET shared = true FROM shared WHERE shared.mac = found.mac
"""

# The last word on each machine, and of those on each address. Of what one scan says about a machine the IPv4
# address goes first, then the IPv6 address that it has already.
_NEWEST_OF_MACHINE = """
DELETE FROM found USING (
    SELECT place, row_number() OVER (
        PARTITION BY machine, address ORDER BY said_at DESC, family(ip), is_known DESC, at DESC, place DESC
    ) AS rank FROM (
        SELECT ctid AS place, ip, at,
               CASE WHEN NOT shared THEN mac END AS machine,
               CASE WHEN mac IS NULL OR shared THEN ip END AS address,
               CASE WHEN mac IS NULL OR shared THEN at
                    ELSE max(at) OVER (PARTITION BY mac, scan_id) END AS said_at,
               family(ip) = 6 AND EXISTS (
                   SELECT FROM systems WHERE ip_address = found.ip AND mac_address = found.mac
               ) AS is_known
        FROM found
    ) said
) ranked WHERE found.ctid = ranked.place AND rank > 1
"""
_NEWEST_OF_ADDRESS = """
DELETE FROM found USING (
    SELECT ctid, row_number() OVER (PARTITION BY ip ORDER BY at DESC, ctid DESC) AS place FROM found
) ranked WHERE found.ctid = ranked.ctid AND place > 1
"""

# By address only where that cannot be another machine, or where the MACs say nothing about it.
_MATCH_BY_ADDRESS = """
UPDATE found SET system_id = systems.system_id FROM systems
WHERE found.system_id IS NULL AND systems.ip_address = found.ip
  AND (
    found.mac IS NULL OR systems.mac_address IS NULL OR found.mac = systems.mac_address
    OR (
        NOT found.shared AND systems.mac_flag IS DISTINCT FROM 'shared'
        AND labmon_mac_is_random(found.mac) AND labmon_mac_is_random(systems.mac_address)
        AND NOT EXISTS (SELECT FROM systems known WHERE known.mac_address = found.mac)
        AND COALESCE(lower(found.hostname) = lower(systems.hostname), true)
    )
  )
  AND NOT EXISTS (SELECT FROM found other WHERE other.system_id = systems.system_id)
"""

# Where a clock was ahead at the last sighting, what else is known of the machine says whether one is late.
_LAST_WORD = (
    f"COALESCE({believable('systems.last_seen')}, "
    f"GREATEST({believable('systems.last_collected')}, {believable('systems.first_seen')}))"
)

# A message that comes late says where a machine was, not where it is.
_LATE = f"""
WITH late AS (
    DELETE FROM found USING systems
    WHERE systems.system_id = found.system_id AND {_LAST_WORD} > found.at
    RETURNING found.system_id, found.at
)
UPDATE systems SET first_seen = LEAST(first_seen, late.at) FROM late WHERE late.system_id = systems.system_id
"""

_OTHER_FAMILY = """
UPDATE found SET ip = NULL FROM systems
WHERE systems.system_id = found.system_id AND found.mac IS NOT NULL AND NOT found.shared
  AND family(found.ip) = 6 AND ip_address <> found.ip AND (
    family(ip_address) = 4 AND NOT COALESCE(gone_since > last_seen, false)
    OR family(ip_address) = 6 AND seen_scan = found.scan_id AND found.at - seen_at < interval '1 hour'
  )
"""

_LATE_ADDRESS = f"""
UPDATE found SET ip = NULL FROM systems
WHERE systems.ip_address = found.ip AND systems.system_id IS DISTINCT FROM found.system_id
  AND {_LAST_WORD} > found.at
"""

# Somebody may have put in machines with numbers of their own, which the sequence knows nothing of.
_NUMBERS = """
SELECT setval('systems_system_id_seq', highest) FROM (SELECT max(system_id) AS highest FROM systems) taken
WHERE highest > (SELECT last_value FROM systems_system_id_seq)
"""

_INSERT = """
WITH made AS (
    INSERT INTO systems (
        dept_id, ip_address, hostname, mac_address, mac_flag, status,
        first_seen, last_seen, seen_scan, seen_at
    )
    SELECT dept_id, ip, hostname, mac,
           CASE WHEN shared THEN 'shared' WHEN labmon_mac_is_random(mac) THEN 'random' END,
           CASE WHEN waits OR new_as = 'quarantine' THEN 'quarantined' ELSE 'discovered' END,
           at, at, scan_id, at
    FROM found JOIN departments USING (dept_id) WHERE system_id IS NULL ORDER BY ip
    RETURNING system_id, seen_at, seen_scan, ip_address
)
INSERT INTO system_history (system_id, at, scan_id, change, new_value)
SELECT system_id, seen_at, seen_scan, 'found', host(ip_address) FROM made ORDER BY system_id
"""

_STEPS = (
    _DEPARTMENTS,
    _NO_MAC,
    _HOLD,
    _SHARED,
    _NEWEST_OF_MACHINE,
    _NEWEST_OF_ADDRESS,
    history.SHARED,
    moves.MATCH_BY_MAC,
    _MATCH_BY_ADDRESS,
    history.NOT_GONE_AFTER_ALL,
    _LATE,
    _OTHER_FAMILY,
    _LATE_ADDRESS,
    history.CHANGES,
    history.ANSWERED,
    moves.LET_GO,
    moves.UPDATE,
    _NUMBERS,
    _INSERT,
    scans.RECOUNT_FOUND,
)


@dataclass(frozen=True, slots=True)
class System:
    """A machine with its newest readings, as lists show it."""

    system_id: int
    dept_id: int
    lab_id: int | None
    lab: str | None  #: its name
    ip_address: str | None
    hostname: str | None
    mac_address: str | None
    mac_flag: str | None  #: "shared" or "random": see above
    status: str
    status_since: datetime | None
    status_error: str | None
    ssh_port: int | None
    first_seen: datetime
    last_seen: datetime | None
    gone_since: datetime | None  #: the start of a completed scan of its address that did not find it
    last_collected: datetime | None
    cpu_percent: float | None
    ram_percent: float | None
    disk_percent: float | None
    ram_total_bytes: int | None
    disk_total_bytes: int | None
    gpu_count: int | None
    logged_in_users: int | None
    uptime_seconds: int | None
    seat_column: int | None  #: where it stands in its lab, from 1
    seat_row: int | None
    ssh_user: str | None  #: the account there, where it is not the usual one
    ssh_key: str | None  #: the file of its private key, the same


def record_discoveries(connection: Connection[Any], discoveries: Sequence[Discovery]) -> None:
    """Write what was found and what that changed, in the caller's transaction.

    Repeats and late messages change nothing. Departments that do not exist yet are made.
    """
    if not discoveries:
        return
    connection.execute(history.LOCK)
    for batch in moves.batches(discoveries):
        moves.fill_found(connection, batch)
        for statement in _STEPS:
            connection.execute(statement)


def known(connection: Connection[Any], system_ids: Iterable[int]) -> set[int]:
    """Those of the ids that exist at this moment."""
    rows = connection.execute(
        "SELECT system_id FROM systems WHERE system_id = ANY(%s::integer[])", [array(set(system_ids))]
    ).fetchall()
    return {row[0] for row in rows}


def hold(connection: Connection[Any], system_ids: Iterable[int]) -> set[int]:
    """Those of the ids that exist, locked against removal until the transaction ends.

    In ascending order, so that two workers with overlapping batches wait for each other and never
    deadlock; and not while a scan is stored, which takes rows in several steps (`history.LOCK`).
    """
    connection.execute(history.LOCK_SHARED)
    rows = connection.execute(
        "SELECT system_id FROM systems WHERE system_id = ANY(%s::integer[]) "
        "ORDER BY system_id FOR NO KEY UPDATE",
        [array(set(system_ids))],
    )
    return {row[0] for row in rows}


def merged(connection: Connection[Any], system_ids: Iterable[int]) -> dict[int, int]:
    """Those of the ids that are part of another system now, and which that is."""
    rows = connection.execute(
        "SELECT merged_id, labmon_whole(merged_id) FROM system_merges WHERE merged_id = ANY(%s::bigint[])",
        [array(set(system_ids))],
    )
    return dict(rows.fetchall())


def unwatched(connection: Connection[Any], system_ids: Iterable[int]) -> set[int]:
    """Those of the ids that are retired, ignored or in quarantine."""
    rows = connection.execute(
        "SELECT system_id FROM systems WHERE NOT is_watched AND system_id = ANY(%s::integer[])",
        [array(set(system_ids))],
    )
    return {row[0] for row in rows}


def check_known(connection: Connection[Any], system_ids: Iterable[int]) -> None:
    """Raises UsageError for the first number that no machine has."""
    if (largest := max(system_ids := list(system_ids), default=0)) >= 2**63:  # no column holds it
        raise UsageError(f"there is no system {largest}. See: labmon systems list")
    row = connection.execute(
        "SELECT min(number) FROM unnest(%s::bigint[]) number "
        "WHERE NOT EXISTS (SELECT FROM systems WHERE system_id = number)",
        [system_ids],
    ).fetchone()
    if row and row[0] is not None:
        if whole := merged(connection, [row[0]]).get(row[0]):
            raise UsageError(
                f"system {row[0]} is part of system {whole} now. Apart again: labmon systems split {whole}"
            )
        raise UsageError(f"there is no system {row[0]}. See: labmon systems list")


def called(connection: Connection[Any], system_id: int) -> str:
    """A system as people find it: "system 7 (pc-17, 10.30.5.7)"."""
    row = connection.execute(
        "SELECT concat_ws(', ', hostname, host(ip_address)) FROM systems WHERE system_id = %s", [system_id]
    ).fetchone()
    return f"system {system_id} ({row[0]})" if row and row[0] else f"system {system_id}"


def addresses_in(connection: Connection[Any], networks: Sequence[str]) -> list[str]:
    """Where machines are in these networks."""
    rows = connection.execute(
        "SELECT host(ip_address) FROM systems WHERE ip_address <<= ANY(%s::inet[]) ORDER BY ip_address",
        [list(networks)],
    )
    return [row[0] for row in rows]


def stream(
    connection: Connection[Any],
    *,
    dept: int | None = None,
    lab: int | None = None,
    ids: Sequence[int] | None = None,
    gone: bool | None = None,
    statuses: Sequence[str] | None = None,
    everything: bool = False,
) -> Iterator[System]:
    """Machines by address, each with its newest readings; None does not restrict.

    Those that are not watched (retired, ignored, in quarantine) only where `everything`, `ids` or `statuses`
    ask for them.

    Fetched a few thousand at a time, within the caller's transaction: 100,000 at once take 400 MB.
    """
    with connection.cursor("labmon_systems", row_factory=class_row(System)) as cursor:
        cursor.itersize = 5000
        cursor.execute(
            """
            SELECT system_id, systems.dept_id, lab_id, labs.name AS lab, host(ip_address) AS ip_address,
                   hostname, mac_address::text AS mac_address, mac_flag, status,
                   COALESCE(status_since, CASE status WHEN 'discovered' THEN first_seen END) AS status_since,
                   status_error, ssh_port, first_seen, last_seen,
                   CASE WHEN gone_since > last_seen THEN gone_since END AS gone_since, last_collected,
                   cpu_percent, ram_percent, disk_percent, ram_total_bytes, disk_total_bytes,
                   gpu_count, logged_in_users, uptime_seconds, seat_column, seat_row, ssh_user, ssh_key
            FROM systems LEFT JOIN labs USING (lab_id) LEFT JOIN LATERAL (
                SELECT * FROM readings
                WHERE readings.system_id = systems.system_id AND collected_at = systems.last_collected
                  AND hour = labmon_bucket('1 hour', systems.last_collected)
                LIMIT 1
            ) latest USING (system_id)
            WHERE (%(dept)s::integer IS NULL OR systems.dept_id = %(dept)s)
              AND (%(lab)s::integer IS NULL OR lab_id = %(lab)s)
              AND (%(ids)s::integer[] IS NULL OR system_id = ANY(%(ids)s))
              AND (%(gone)s::boolean IS NULL OR COALESCE(gone_since > last_seen, false) = %(gone)s)
              AND (%(statuses)s::text[] IS NULL OR status = ANY(%(statuses)s))
              AND (is_watched OR %(everything)s)
            ORDER BY systems.ip_address NULLS LAST, system_id
            """,
            {
                "dept": dept,
                "lab": lab,
                "ids": list(ids) if ids is not None else None,
                "gone": gone,
                "statuses": list(statuses) if statuses is not None else None,
                "everything": everything or ids is not None or statuses is not None,
            },
        )
        yield from cursor


def systems(connection: Connection[Any], **restrictions: Any) -> list[System]:
    """What `stream` gives, all at once."""
    return list(stream(connection, **restrictions))


def fleet(connection: Connection[Any]) -> Fleet:
    """What collecting has to know of the machines, by address. Cheaper than `systems`: no readings."""
    with connection.cursor(row_factory=class_row(Machine)) as cursor:
        cursor.execute(
            """
            SELECT host(ip_address) AS address, system_id, dept_id, lab_id, hostname AS name,
                   ssh_port AS port, ssh_user AS user, ssh_key AS key,
                   GREATEST({seen_at}, {last_collected}, CASE status WHEN 'active' THEN {status_at} END)
                       AS seen_at
            FROM systems WHERE ip_address IS NOT NULL AND is_watched ORDER BY systems.ip_address
            """.format(**{name: believable(name) for name in ("seen_at", "last_collected", "status_at")})
        )
        machines = cursor.fetchall()
    now = utcnow()
    if resting := maintenance.skipped(connection, now):
        machines = [msgspec.structs.replace(one, rests=one.system_id in resting) for one in machines]
    return Fleet(now, machines, labs.names(connection), database_id(connection))
