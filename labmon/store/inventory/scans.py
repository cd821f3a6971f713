"""Finished scans, and what each of them changed."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row

from labmon.messages import ScanFinished
from labmon.store.inventory import history, moves

logger = logging.getLogger(__name__)

_LINK_LOCAL = IPv6Network("fe80::/10")

Address = IPv4Address | IPv6Address
Span = tuple[Address, Address]
"""First and last address, of one family, both included."""

FEW = 10
"""Machines that a scan may make gone whatever it found."""

# Those that were there, at an address that a completed scan asked in vain. A machine that is gone already is
# not gone again, so each scan says what is gone since the one before. One message must not make a whole
# inventory gone, and anyone with write access to the queue can send it: a scan makes at most as many gone as
# it found, or a few, those first that were not seen for longest. After a power cut the following scans do the
# rest.
_GONE = f"""
WITH missing AS MATERIALIZED (
    SELECT DISTINCT ON (system_id) system_id, scan_id, started_at, last_seen
    FROM systems JOIN scans ON addresses @> ip_address
    WHERE scan_id = ANY(%(scans)s) AND scans.status = 'completed' AND last_seen < started_at AND is_watched
      AND (gone_since IS NULL OR gone_since <= last_seen)
    ORDER BY system_id, started_at
), found AS MATERIALIZED (
    SELECT scan_id, (SELECT count(*) FROM systems WHERE seen_scan = scan_id) AS systems
    FROM unnest(%(scans)s::bigint[]) AS scan_id
), ranked AS (
    SELECT system_id, scan_id, started_at, GREATEST({FEW}, systems) AS most,
           row_number() OVER (PARTITION BY scan_id ORDER BY last_seen, system_id) AS place
    FROM missing JOIN found USING (scan_id)
), gone AS (
    UPDATE systems SET gone_since = started_at FROM ranked
    WHERE systems.system_id = ranked.system_id AND place <= most
    RETURNING systems.system_id, started_at, scan_id, ip_address
), kept AS (
    INSERT INTO system_history (system_id, at, scan_id, change, old_value)
    SELECT system_id, started_at, scan_id, 'gone', host(ip_address) FROM gone ORDER BY ip_address
)
SELECT scan_id, count(*), max(most) FROM ranked GROUP BY scan_id HAVING count(*) > max(most)
"""
_RECOUNT = """
UPDATE scans SET systems_new = counted.new, systems_moved = counted.moved, systems_gone = counted.gone
FROM (
    SELECT ended.scan_id,
           count(*) FILTER (WHERE change = 'found') AS new,
           count(DISTINCT system_id) FILTER (WHERE change = 'moved') AS moved,
           count(*) FILTER (WHERE change = 'gone') AS gone
    FROM scans ended LEFT JOIN system_history USING (scan_id) WHERE ended.scan_id {those}
    GROUP BY ended.scan_id
) counted
WHERE scans.scan_id = counted.scan_id
"""

RECOUNT_FOUND = _RECOUNT.format(those="IN (SELECT scan_id FROM found)")
"""For what comes after the end of its scan, which with several workers may happen: the last step of
`inventory.record_discoveries`."""


@dataclass(frozen=True, slots=True)
class ScanRecord:
    """A scan that has ended."""

    scan_id: int
    dept_id: int
    scan_type: str
    target_range: str
    started_at: datetime
    finished_at: datetime
    status: str
    systems_found: int
    systems_new: int
    systems_moved: int
    systems_gone: int
    errors: int  #: addresses that this machine's own system would not send to


def record_scans(connection: Connection[Any], scans: Sequence[ScanFinished]) -> None:
    """Write finished scans, what moved and what is gone since, in the caller's transaction.

    Repeats change nothing.

    Call it after what was found by then has been recorded; what comes later is counted when it comes.
    """
    if not scans:
        return
    connection.execute(history.LOCK)
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO departments (dept_id) VALUES (%s) ON CONFLICT DO NOTHING",
            [(one.dept_id,) for one in scans],
        )
        new = []
        for one in scans:
            cursor.execute(
                "INSERT INTO scans (scan_id, dept_id, scan_type, target_range, started_at, finished_at, "
                "systems_found, status, errors, addresses) "
                "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s::labmon_address_ranges) "
                "ON CONFLICT DO NOTHING RETURNING scan_id",
                [
                    one.scan_id,
                    one.dept_id,
                    one.scan_type,
                    one.target_range,
                    one.started_at,
                    one.finished_at,
                    one.systems_found,
                    one.status,
                    one.errors,
                    _multirange(spans(one.target_range)),
                ],
            )
            new += [row[0] for row in cursor]
        moves.record_moves(connection, new)  # first, since a machine that moved is not gone
        cursor.execute(_GONE, {"scans": new})
        for scan_id, missing, most in cursor.fetchall():
            logger.warning(
                "scan %d: %d machines did not answer, and only %d of them are taken to be gone, since it "
                "found no more than that. Scan again if they are",
                *(scan_id, missing, most),
            )
        cursor.execute(history.UNSHARED, [new])
        cursor.execute(_RECOUNT.format(those="= ANY(%s)"), [new])


def recent(
    connection: Connection[Any], *, before: tuple[datetime, int] | None = None, limit: int
) -> list[ScanRecord]:
    """The newest scans, oldest first. `before`: only those before the scan of this time and scan_id."""
    at, number = before or (None, None)
    return _records(
        connection,
        f"SELECT * FROM (SELECT {_COLUMNS} FROM scans "
        "WHERE (%s::timestamptz IS NULL OR (started_at, scan_id) < (%s, %s::bigint)) "
        "ORDER BY started_at DESC, scan_id DESC LIMIT %s) newest ORDER BY started_at, scan_id",
        [at, at, number, limit],
    )


def newest(connection: Connection[Any]) -> dict[int, ScanRecord]:
    """The last scan of each department, by the department's number."""
    found = _records(
        connection,
        f"SELECT DISTINCT ON (dept_id) {_COLUMNS} FROM scans ORDER BY dept_id, started_at DESC, scan_id DESC",
        [],
    )
    return {one.dept_id: one for one in found}


def outcome(connection: Connection[Any], scan_id: int) -> tuple[ScanRecord, datetime | None] | None:
    """A stored scan, and when the last completed one before it that asked all its addresses began."""
    found = _records(connection, f"SELECT {_COLUMNS} FROM scans WHERE scan_id = %s", [scan_id])
    if not found:
        return None
    before = connection.execute(
        "SELECT max(before.started_at) FROM scans this JOIN scans before ON before.status = 'completed' "
        "AND before.started_at < this.started_at AND before.addresses @> this.addresses "
        "WHERE this.scan_id = %s",
        [scan_id],
    ).fetchone()
    return found[0], before[0] if before else None


_COLUMNS = ", ".join(ScanRecord.__dataclass_fields__)


def _records(connection: Connection[Any], query: str, parameters: Sequence[Any]) -> list[ScanRecord]:
    with connection.cursor(row_factory=class_row(ScanRecord)) as cursor:
        cursor.execute(query.encode(), parameters)
        return cursor.fetchall()


def spans(text: str) -> list[Span] | None:
    """A target range as labmon writes it ("10.30.5.1-10.30.5.254, fd00:5::/64"), and as people do.

    None when any part of it is something else, such as a name: then it is unknown what was asked.
    """
    joined = "-".join(part.strip() for part in text.split("-"))  # a pattern for this would be quadratic
    try:
        return [_span(part) for part in re.split(r"[,\s]+", joined) if part]
    except ValueError:
        return None


def _span(part: str) -> Span:
    if "%" in part:
        raise ValueError(f"{part} has a zone, which means nothing here")
    left, dash, right = part.partition("-")
    if not dash:
        network = ip_network(part, strict=False)
        return network.network_address, network.broadcast_address
    if right.isascii() and right.isdigit() and ":" not in left:
        right = f"{left.rpartition('.')[0]}.{right}"
    first, last = ip_address(left), ip_address(right)
    if first.version != last.version:
        raise ValueError(f"{part} begins in one family and ends in another")
    return first, last


def _multirange(found: list[Span] | None) -> str | None:
    """Without IPv6's link-local addresses, which are others on each link and no machine's in the store."""
    if not found or any(int(first) > int(last) for first, last in found):
        return None
    found = [span for span in found if span[0] not in _LINK_LOCAL]
    if not found:
        return None
    joined: list[Span] = []
    for first, last in sorted(found, key=lambda span: (span[0].version, int(span[0]))):
        if joined and joined[-1][1].version == first.version and int(first) <= int(joined[-1][1]) + 1:
            joined[-1] = joined[-1][0], max(joined[-1][1], last, key=int)
        else:
            joined.append((first, last))
    return "{" + ",".join(f"[{first},{last}]" for first, last in joined) + "}"
