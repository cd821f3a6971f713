"""The state of each system in one word, with its newest readings. It is decided here and nowhere else.

maintenance  planned, or set by hand: nobody needs to look
off          its weekly hours say that it is not measured now, whatever was the matter with it before
critical     the worst alert that is firing on it
warning      the same
off          down, and its weekly hours say that it may be
down         its status says so, a scan missed it, or no reading came though it should be measured
new          never measured
up           none of these

The first that holds counts. An alert of severity info changes nothing.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple, get_args

from psycopg import Connection
from psycopg.rows import namedtuple_row

from labmon.store.metrics.latest import FRESH, IDLE, NEWEST

State = Literal["critical", "warning", "down", "off", "maintenance", "new", "up"]
STATES: tuple[str, ...] = get_args(State)
Usage = Literal["free", "busy"]

DOWN = frozenset(("offline", "unreachable", "refused", "auth failed", "timed out", "failed"))
"""Statuses of machines that cannot be measured."""

MISSED = 3
"""Usual intervals without a reading after which a machine counts as no longer measured."""


class SystemState(NamedTuple):
    """A system as the dashboard lists it. A tuple, for thousands of them are compared and encoded."""

    system_id: int
    hostname: str | None
    ip_address: str | None
    lab_id: int | None
    lab: str | None
    dept_id: int
    state: State
    status: str
    status_since: datetime | None
    usage: Usage | None  #: None for one that was not measured lately
    cpu_percent: float | None
    ram_percent: float | None
    disk_percent: float | None
    gpu_percent: float | None
    load1: float | None
    cpu_temperature_celsius: float | None
    logged_in_users: int | None
    uptime_seconds: int | None
    network_recv_mbps: float | None
    network_sent_mbps: float | None
    last_collected: datetime | None
    seat_column: int | None  #: in its lab, from 1
    seat_row: int | None
    alerts: int  #: that are firing on it, acknowledged or not


COLUMNS = SystemState._fields
READINGS = COLUMNS[COLUMNS.index("cpu_percent") : COLUMNS.index("last_collected")]

DIGITS = tuple(1 if name.endswith(("_percent", "_celsius")) else 2 for name in READINGS)
"""What a list shows of them. The noise after that is a third of the list's size."""

_HEADS = """
SELECT system_id, hostname, host(ip_address) AS ip_address, lab_id, labs.name AS lab, systems.dept_id, status,
       COALESCE(status_since, CASE status WHEN 'discovered' THEN first_seen END) AS status_since,
       last_collected, labmon_measured(systems) AS measured_at, seat_column, seat_row,
       COALESCE(gone_since > last_seen, false) AS is_gone, silent.since IS NOT NULL AS is_silent
FROM systems LEFT JOIN labs USING (lab_id) LEFT JOIN alert_silent AS silent USING (system_id) WHERE is_watched
ORDER BY systems.ip_address NULLS LAST, system_id
"""
_ALERTS = """
SELECT system_id, count(*), bool_or(severity = 'critical'), bool_or(severity = 'warning') FROM alert_incidents
WHERE resolved_at IS NULL AND fired_at IS NOT NULL AND system_id <> 0 GROUP BY system_id
"""
_KEPT = """
SELECT system_id, bool_or(weekly IS NULL), bool_or(weekly IS NOT NULL), bool_or(mode = 'skip')
FROM labmon_under_maintenance(%(now)s, %(now)s) GROUP BY system_id
"""
_READINGS = f"""
SELECT system_id, last_collected, {", ".join(READINGS)} FROM {NEWEST}
WHERE system_id = ANY(%s) AND last_collected IS NOT NULL
"""
_GAPS = """
SELECT system_id, labmon_usual_gap(system_id, last_collected) FROM systems WHERE system_id = ANY(%s)
"""

_OPEN = (False, False, False)
"""A system without maintenance."""

_NOTHING = (None,) * len(READINGS)


def _rounded(value: float | None, digits: int) -> float | None:
    return round(value, digits) if isinstance(value, float) else value


class SystemStates:
    """Reads them again and again, and of the readings only those that are new. For one thread at a time."""

    def __init__(self, *, only_status: bool = False) -> None:
        """`only_status`: without readings and alerts, so a state says only whether a machine is measured."""
        self._only_status = only_status
        self._readings: dict[int, tuple[datetime | None, tuple[Any, ...]]] = {}
        self._gaps: dict[int, tuple[datetime, timedelta | None]] = {}

    def read(self, connection: Connection[Any], now: datetime) -> list[SystemState]:
        """Every system that is watched, by address: neither retired, ignored nor in quarantine."""
        with connection.cursor(row_factory=namedtuple_row) as cursor:
            heads: list[Any] = cursor.execute(_HEADS).fetchall()
        alerts = {} if self._only_status else {row[0]: row[1:] for row in connection.execute(_ALERTS)}
        kept = {row[0]: row[1:] for row in connection.execute(_KEPT, {"now": now})}
        if not self._only_status:
            self._refresh(connection, heads)
        newest = max((one.measured_at for one in heads if _is_past(one, now)), default=now)
        expected = {one.system_id: now if kept.get(one.system_id, _OPEN)[1] else newest for one in heads}
        self._measure_gaps(
            connection, [one for one in heads if _is_late(one, expected[one.system_id], timedelta(0))]
        )
        return [
            self._made(
                one,
                now,
                alerts.get(one.system_id, (0, False, False)),
                kept.get(one.system_id, _OPEN),
                expected[one.system_id],
            )
            for one in heads
        ]

    def _made(
        self,
        head: Any,
        now: datetime,
        alerts: tuple[int, bool, bool],
        kept: tuple[bool, bool, bool],
        expected: datetime,
    ) -> SystemState:
        in_maintenance, is_closed, is_skipped = kept
        readings = self._readings.get(head.system_id, (None, _NOTHING))[1]
        if is_skipped:  # those of minutes ago say nothing about now
            readings = _NOTHING
        gap = self._gaps.get(head.system_id, (None, None))[1] or timedelta(0)
        values = (
            *(head.system_id, head.hostname, head.ip_address, head.lab_id, head.lab, head.dept_id),
            decide(
                head.status,
                is_measured=head.last_collected is not None,
                is_missing=head.is_gone or head.is_silent or _is_late(head, expected, gap),
                severity="critical" if alerts[1] else "warning" if alerts[2] else None,
                in_maintenance=in_maintenance,
                is_closed=is_closed,
                is_skipped=is_skipped,
            ),
            *(head.status, head.status_since),
            _usage(head.measured_at, readings, now),
            *readings,
            *(head.last_collected, head.seat_column, head.seat_row, alerts[0]),
        )
        return SystemState._make(values)

    def _refresh(self, connection: Connection[Any], heads: Iterable[Any]) -> None:
        there = {one.system_id: one.last_collected for one in heads}
        self._readings = {number: known for number, known in self._readings.items() if number in there}
        changed = [
            number
            for number, at in there.items()
            if at is not None and self._readings.get(number, (None,))[0] != at
        ]
        if changed:
            for number, at, *values in connection.execute(_READINGS.encode(), [changed]):
                self._readings[number] = (at, tuple(map(_rounded, values, DIGITS)))

    def _measure_gaps(self, connection: Connection[Any], late: list[Any]) -> None:
        """How often those are measured as a rule that may be late: asked once for each last reading."""
        known = {
            one.system_id: self._gaps[one.system_id]
            for one in late
            if self._gaps.get(one.system_id, (None,))[0] == one.last_collected
        }
        asked = {one.system_id: one.last_collected for one in late if one.system_id not in known}
        if asked:
            for number, gap in connection.execute(_GAPS, [list(asked)]):
                known[number] = (asked[number], gap)
        self._gaps = known


def decide(
    status: str,
    *,
    is_measured: bool = True,
    is_missing: bool = False,
    severity: str | None = None,
    in_maintenance: bool = False,
    is_closed: bool = False,
    is_skipped: bool = False,
) -> State:
    """The state, as above.

    `is_measured`: it ever was. `is_missing`: a scan did not find it, or readings stay out. `severity` is that
    of its worst firing alert; `is_closed`: its weekly hours say that it may be off now;
    `is_skipped`: nobody measures it now, by plan.
    """
    if in_maintenance or status == "maintenance":
        return "maintenance"
    if is_skipped and is_measured:
        return "off"
    if severity == "critical":
        return "critical"
    if severity == "warning":
        return "warning"
    if is_missing or status in DOWN:
        return "off" if is_closed else "down"
    return "up" if is_measured else "new"


def _is_past(head: Any, now: datetime) -> bool:
    return head.measured_at is not None and head.measured_at <= now


def _is_late(head: Any, expected: datetime, gap: timedelta) -> bool:
    """True when it was measured, and not for so long before `expected`, when others were, or it might be.

    So a collector that stands still makes nothing late, except what is closed anyway.
    """
    return head.measured_at is not None and head.measured_at < expected - max(FRESH, MISSED * gap)


def _usage(at: datetime | None, readings: tuple[Any, ...], now: datetime) -> Usage | None:
    if at is None or at <= now - FRESH:
        return None
    cpu, users = readings[READINGS.index("cpu_percent")], readings[READINGS.index("logged_in_users")]
    if (users or 0) > 0 or (cpu or 0.0) > IDLE:
        return "busy"
    return "free" if users == 0 and cpu is not None else None
