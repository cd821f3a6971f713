"""The overview: how many systems are in which state, what is wrong, how the queues are."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from labmon.alerts import incidents
from labmon.dashboard.context import Context
from labmon.dashboard.live.queues import Queues, depth_points
from labmon.dashboard.live.systems import Snapshot, counted
from labmon.store.inventory.states import MISSED, SystemState
from labmon.store.metrics.latest import usual_gap

if TYPE_CHECKING:
    from labmon.pg import Connection

FEW = 8
"""Firing alerts that the overview shows."""

WORST = 5
"""Systems that it shows of each metric."""

STALE = 120.0
"""Seconds: readings that are no older are never called old."""

RANKED = ("cpu_percent", "ram_percent", "disk_percent")


@dataclass(frozen=True)
class LabSummary:
    """A lab and how its systems are; the systems in no lab of a department have neither number nor name."""

    lab_id: int | None
    name: str | None
    dept_id: int
    systems: int
    states: dict[str, int]
    free: int
    busy: int
    logged_in_users: int  #: of those that were measured lately


@dataclass(frozen=True)
class Summary:
    """What `GET /summary` answers."""

    now: datetime
    newest_reading_at: datetime | None
    stale_after_seconds: (
        float | None
    )  #: age from which it is a sign of trouble; None while nothing is expected
    no_worker: bool  #: messages wait, and no worker is alive
    states: dict[str, int]
    systems: int
    usage: dict[str, int]
    alerts: dict[str, int]
    firing: list[incidents.Incident]
    worst: dict[str, list[dict[str, Any]]]
    labs: list[LabSummary]
    queues: list[dict[str, Any]] | None
    queue_error: str | None
    depth: list[tuple[float, int]]
    setup: list[str]


def summary(context: Context, snapshot: Snapshot, queues: Queues) -> Summary:
    """The overview of this snapshot. Raises StoreError."""
    now = context.now()
    with context.transaction() as connection:
        counts = incidents.counts(connection)
        firing = incidents.page(connection, state="firing", limit=FEW)
        stale_after = _stale_after(connection, snapshot)
    return Summary(
        now,
        snapshot.newest_reading_at,
        stale_after,
        no_worker(queues),
        counted(snapshot.systems),
        len(snapshot.systems),
        usage(snapshot.systems),
        counts,
        firing,
        {metric: _worst(snapshot.systems, metric) for metric in RANKED},
        lab_summaries(snapshot),
        None if queues.error and not queues.queues else [_few(one) for one in queues.queues],
        queues.error,
        depth_points(context, now),
        setup(snapshot, queues),
    )


def no_worker(queues: Queues) -> bool:
    """True when messages wait in vain."""
    return any(one["ready"] for one in queues.queues) and not any(one["is_alive"] for one in queues.workers)


def _stale_after(connection: "Connection[Any]", snapshot: Snapshot) -> float | None:
    """Seconds: a few usual intervals of what was measured last. None while all that is measured is closed."""
    if not any(one.last_collected and one.state not in ("off", "maintenance") for one in snapshot.systems):
        return None
    newest = next(
        (one.system_id for one in snapshot.systems if one.last_collected == snapshot.newest_reading_at), None
    )
    gap = usual_gap(connection, newest) if newest is not None else None
    return max(STALE, float(round(MISSED * gap.total_seconds()))) if gap else STALE


def lab_summaries(snapshot: Snapshot) -> list[LabSummary]:
    """Every lab by department and name, also an empty one; last the systems of each department in no lab."""
    within: dict[tuple[int | None, int], list[SystemState]] = {
        (lab.lab_id, lab.dept_id): [] for lab in snapshot.labs
    }
    names: dict[int | None, str | None] = {lab.lab_id: lab.name for lab in snapshot.labs}
    for one in snapshot.systems:
        within.setdefault((one.lab_id, one.dept_id), []).append(one)
    found = [
        LabSummary(
            lab_id,
            names.get(lab_id),
            dept_id,
            len(systems),
            counted(systems),
            **usage(systems),
            logged_in_users=sum(one.logged_in_users or 0 for one in systems if one.usage is not None),
        )
        for (lab_id, dept_id), systems in within.items()
    ]
    return sorted(found, key=lambda one: (one.lab_id is None, one.dept_id, one.name or ""))


def usage(systems: Iterable[SystemState]) -> dict[str, int]:
    """How many are free and how many busy, of those that were measured lately."""
    words = [one.usage for one in systems]
    return {"free": words.count("free"), "busy": words.count("busy")}


def setup(snapshot: Snapshot, queues: Queues) -> list[str]:
    """The commands to run next in an installation that is new; none in one that measures."""
    if any(one.last_collected is not None for one in snapshot.systems):
        return []
    commands = ["labmon collect --every 60", "labmon consume"]
    if not snapshot.systems:
        commands.insert(0, "labmon scan 10.30.5.0/24 --dept 1")
    return ["labmon setup-queues", *commands] if queues.error and "setup-queues" in queues.error else commands


def _worst(systems: Iterable[SystemState], metric: str) -> list[dict[str, Any]]:
    measured = [
        (getattr(one, metric), one)
        for one in systems
        if one.usage is not None and getattr(one, metric) is not None
    ]
    measured.sort(key=lambda pair: (-pair[0], pair[1].system_id))
    return [
        {
            "system_id": one.system_id,
            "hostname": one.hostname,
            "ip_address": one.ip_address,
            "lab": one.lab,
            "value": value,
        }
        for value, one in measured[:WORST]
    ]


def _few(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("queue", "ready", "in_flight", "dead", "level")}
