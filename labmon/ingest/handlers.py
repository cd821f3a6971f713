"""One handler per queue, each of which stores a whole batch of messages in one transaction.

A handler gets bodies as they came from anyone, stores the good ones in the caller's transaction and returns a
rejection for each of the others. Workers and direct storing use the same ones, so every rule about what is
stored stands here, and goes by the database's clock. A handler raises only errors of the database.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Protocol, TypeVar

import msgspec

from labmon import pg
from labmon.alerts import deliveries
from labmon.alerts.received import record_alerts
from labmon.alerts.routing import route
from labmon.config.tables import NotifyTarget
from labmon.config.units import Seconds
from labmon.errors import Undecodable
from labmon.ingest.settings import IngestSettings
from labmon.messages import (
    OURSELVES,
    Alert,
    AnyMessage,
    Discovery,
    Facts,
    Metrics,
    ScanFinished,
    SystemStatus,
    decode,
    decode_discovery,
    too_small,
    too_small_reason,
)
from labmon.pg import Connection, NumericValueOutOfRange
from labmon.store import events
from labmon.store.inventory import systems
from labmon.store.inventory.facts import record_facts
from labmon.store.inventory.scans import record_scans
from labmon.store.inventory.statuses import record_statuses
from labmon.store.metrics.pack import known_already
from labmon.store.metrics.record import record_metrics

T = TypeVar("T")
M = TypeVar("M", Metrics, Alert, SystemStatus | Facts)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a message can never be stored, in one line that names the field or the thing."""

    reason: str


Redelivered = Mapping[int, datetime]
"""The bodies that may have been stored before, by position, each with the earliest time that this can be."""

NONE: Redelivered = {}


class Handler(Protocol):
    """Stores the messages of one queue."""

    def __call__(
        self, connection: Connection[Any], bodies: Sequence[bytes], redelivered: Redelivered = NONE
    ) -> Mapping[int, Rejection]:
        """Store bodies in the transaction of `connection`. Returns the rejections by position."""


StoreBatch = Callable[[Connection[Any], Sequence[bytes], datetime], dict[int, Rejection]]
"""The same, with the time by the database's clock; without events."""


def handlers(settings: IngestSettings, *, record: bool = True, notify: bool = True) -> dict[str, Handler]:
    """The handler of each configured queue, by the queue's name.

    Unless `record` is false, or [events] keep nothing, what they accept is kept as an event as well, once.
    Unless `notify` is false, the targets are notified of alerts.
    """
    skew = timedelta(seconds=settings.consume.max_clock_skew)
    targets = settings.notify.targets if notify else []
    stores: dict[str, StoreBatch] = {
        settings.queue.discovery_queue: partial(_store_discoveries, skew=skew),
        settings.queue.metrics_queue: partial(_store_metrics, skew=skew, keep=settings.retention.raw),
        settings.queue.alert_queue: partial(_store_alerts, skew=skew, targets=targets),
    }
    recorded = record and bool(settings.events.keep)
    return {queue: _handler(queue, store, recorded) for queue, store in stores.items()}


def _handler(queue: str, store: StoreBatch, recorded: bool) -> Handler:
    def handle(
        connection: Connection[Any], bodies: Sequence[bytes], redelivered: Redelivered = NONE
    ) -> Mapping[int, Rejection]:
        now = pg.now(connection)
        rejected = store(connection, bodies, now)
        if recorded:
            known = events.known(connection, queue, {bodies[one]: at for one, at in redelivered.items()}, now)
            events.record(
                connection,
                queue,
                [
                    body
                    for place, body in enumerate(bodies)
                    if place not in rejected and not (place in redelivered and body in known)
                ],
                now,
            )
        return rejected

    return handle


def _store_discoveries(
    connection: Connection[Any], bodies: Sequence[bytes], now: datetime, *, skew: timedelta
) -> dict[int, Rejection]:
    """Machines found, finished scans, statuses of machines, and what machines say of themselves."""
    found, rejected = _decoded(bodies, decode_discovery)
    _reject_future(found, rejected, now + skew)
    about = {place: one for place, one in found.items() if isinstance(one, SystemStatus | Facts)}
    _redirect(connection, about)
    kept = _kept(found, rejected)
    systems.record_discoveries(connection, [one for one in kept if isinstance(one, Discovery)])
    record_scans(connection, [one for one in kept if isinstance(one, ScanFinished)])
    if about:
        _reject_unknown(about, rejected, systems.hold(connection, _systems(about)))
        told = _kept(about, rejected)
        record_statuses(connection, [one for one in told if isinstance(one, SystemStatus)])
        record_facts(connection, [one for one in told if isinstance(one, Facts)])
    return rejected


def _store_metrics(
    connection: Connection[Any], bodies: Sequence[bytes], now: datetime, *, skew: timedelta, keep: Seconds
) -> dict[int, Rejection]:
    """Readings of machines that the inventory knows."""
    found, rejected = _decoded(bodies, lambda body: decode(Metrics, body))
    earliest = now - timedelta(seconds=keep) if keep else EPOCH
    for place, one in found.items():
        if one.collected_at < earliest:
            rejected[place] = Rejection(
                f"collected_at {one.collected_at.isoformat()} is older than [retention] raw, {keep}"
            )
    _reject_future(found, rejected, now + skew)
    _redirect(connection, found)
    _reject_unknown(found, rejected, systems.known(connection, _systems(found)))
    try:
        _record_new(connection, _kept(found, rejected), now)
    except NumericValueOutOfRange:  # which has undone nothing but its own COPY
        for place, one in found.items():
            if name := too_small(one.metrics):
                rejected.setdefault(place, Rejection(f"undecodable: {too_small_reason(name)}"))
        _record_new(connection, _kept(found, rejected), now)
    return rejected


def _record_new(connection: Connection[Any], readings: Sequence[Metrics], now: datetime) -> None:
    repeats = known_already(connection, readings, now)
    record_metrics(connection, [one for place, one in enumerate(readings) if place not in repeats])


def _store_alerts(
    connection: Connection[Any],
    bodies: Sequence[bytes],
    now: datetime,
    *,
    skew: timedelta,
    targets: Sequence[NotifyTarget],
) -> dict[int, Rejection]:
    """Alerts about machines that the inventory knows: kept, and queued for the targets that are notified."""
    found, rejected = _decoded(bodies, lambda body: decode(Alert, body))
    _reject_future(found, rejected, now + skew)
    _redirect(connection, found)
    _reject_unknown(found, rejected, systems.hold(connection, _systems(found)))
    new = record_alerts(connection, _kept(found, rejected))
    # Nobody is notified of what other programs say of a machine that people took out; but that it is over.
    muted = systems.unwatched(connection, {one.system_id for one in new if one.state == "firing"})
    notified = [
        (verdict.target, alert, about)
        for alert, about in zip(new, deliveries.whereabouts(connection, new), strict=True)
        for verdict in route(alert, about.departments, about.labs, targets)
        if verdict.notified and not (alert.state == "firing" and alert.system_id in muted)
    ]
    deliveries.add(connection, notified)
    return rejected


def _decoded(
    bodies: Sequence[bytes], read: Callable[[bytes], T]
) -> tuple[dict[int, T], dict[int, Rejection]]:
    found: dict[int, T] = {}
    rejected: dict[int, Rejection] = {}
    for place, body in enumerate(bodies):
        try:
            found[place] = read(body)
        except Undecodable as error:
            rejected[place] = Rejection(f"undecodable: {error}")
    return found, rejected


def _reject_future(found: Mapping[int, AnyMessage], rejected: dict[int, Rejection], latest: datetime) -> None:
    """What came from tomorrow would be newer than everything that comes until then."""
    for place, one in found.items():
        for name, moment in one.moments.items():
            if moment > latest:
                rejected[place] = Rejection(f"{name} {moment.isoformat()} is in the future: a wrong clock")


def _systems(found: Mapping[int, Metrics | Alert | SystemStatus | Facts]) -> set[int]:
    return {one.system_id for one in found.values()}


def _redirect(connection: Connection[Any], found: dict[int, M]) -> None:
    """What is about a system that was merged into another one is about that one."""
    if now_part_of := systems.merged(connection, _systems(found)):
        for place, one in found.items():
            if whole := now_part_of.get(one.system_id):
                found[place] = msgspec.structs.replace(one, system_id=whole)


def _reject_unknown(
    found: Mapping[int, Metrics | Alert | SystemStatus | Facts],
    rejected: dict[int, Rejection],
    known: set[int],
) -> None:
    for place, one in found.items():
        if one.system_id not in known and not (isinstance(one, Alert) and one.system_id == OURSELVES):
            rejected.setdefault(
                place, Rejection(f"unknown system: system_id {one.system_id} is not in the inventory")
            )


def _kept(found: Mapping[int, T], rejected: Mapping[int, Rejection]) -> list[T]:
    return [one for place, one in found.items() if place not in rejected]
