"""What becomes of a message: one handler per queue, each storing a whole batch in one transaction.

A handler gets bodies as they came from anyone, stores the good ones in the caller's transaction and
returns a rejection for each of the others. It raises only for what is nobody's fault here: the database.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from psycopg import Connection

from labmon.alerts.audience import verdicts
from labmon.config import Config, Target
from labmon.errors import Undecodable
from labmon.messages import (
    OURSELVES,
    Alert,
    AnyMessage,
    Discovery,
    Metrics,
    ScanFinished,
    SystemStatus,
    decode,
    decode_discovery,
    utcnow,
)
from labmon.store import deliveries, events, inventory
from labmon.store.alerts import record_alerts
from labmon.store.metrics import record_metrics
from labmon.store.pack import known_already
from labmon.store.scans import record_scans
from labmon.store.statuses import record_statuses
from labmon.units import Seconds

T = TypeVar("T")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a message can never be stored, in one line that names the field or the thing."""

    reason: str


Handler = Callable[[Connection[Any], Sequence[bytes]], Mapping[int, Rejection]]
"""(connection in a transaction, bodies) -> rejections by position."""


def handlers(config: Config, *, record: bool = True, notify: bool = True) -> dict[str, Handler]:
    """The handler of each configured queue, by the queue's name.

    Unless `record` is false, or [events] keep nothing, what they accept is kept as an event as well. Unless
    `notify` is false, the targets are told of alerts.
    """
    found: dict[str, Handler] = {
        config.queue.discovery_queue: _discoveries_within(config.consume.max_clock_skew),
        config.queue.metrics_queue: _metrics_within(config.consume.max_clock_skew, config.retention.raw),
        config.queue.alert_queue: _alerts_for(
            config.notify.targets if notify else [], config.consume.max_clock_skew
        ),
    }
    if not record or not config.events.keep:
        return found
    return {queue: _recorded(queue, handle) for queue, handle in found.items()}


def _recorded(queue: str, handle: Handler) -> Handler:
    def handle_and_record(connection: Connection[Any], bodies: Sequence[bytes]) -> Mapping[int, Rejection]:
        rejected = handle(connection, bodies)
        events.record(connection, queue, [body for place, body in enumerate(bodies) if place not in rejected])
        return rejected

    return handle_and_record


def _discoveries_within(max_clock_skew: float) -> Handler:
    def handle_discoveries(connection: Connection[Any], bodies: Sequence[bytes]) -> dict[int, Rejection]:
        """Machines, finished scans, and how machines fare."""
        found, rejected = _decoded(bodies, decode_discovery)
        _reject_future(found, rejected, utcnow(), max_clock_skew)
        told = {place: one for place, one in found.items() if isinstance(one, SystemStatus)}
        kept = _kept(found, rejected)
        inventory.record_discoveries(connection, [one for one in kept if isinstance(one, Discovery)])
        record_scans(connection, [one for one in kept if isinstance(one, ScanFinished)])
        if told:
            _reject_strangers(told, rejected, inventory.hold(connection, _systems(told)))
            record_statuses(connection, _kept(told, rejected))
        return rejected

    return handle_discoveries


def _metrics_within(max_clock_skew: float, keep: Seconds) -> Handler:
    def handle_metrics(connection: Connection[Any], bodies: Sequence[bytes]) -> dict[int, Rejection]:
        """Readings of machines that the inventory knows."""
        found, rejected = _decoded(bodies, lambda body: decode(Metrics, body))
        now = utcnow()
        earliest = now - timedelta(seconds=keep) if keep else EPOCH
        for place, one in found.items():
            if one.collected_at < earliest:
                rejected[place] = Rejection(
                    f"collected_at {one.collected_at.isoformat()} is older than [retention] raw, {keep}"
                )
        _reject_future(found, rejected, now, max_clock_skew)
        _reject_strangers(found, rejected, inventory.known(connection, _systems(found)))
        kept = _kept(found, rejected)
        repeats = known_already(connection, kept, now)
        record_metrics(connection, [one for place, one in enumerate(kept) if place not in repeats])
        return rejected

    return handle_metrics


def _alerts_for(targets: Sequence[Target], max_clock_skew: float) -> Handler:
    def handle_alerts(connection: Connection[Any], bodies: Sequence[bytes]) -> dict[int, Rejection]:
        """Alerts about machines that the inventory knows: kept, and on their way to those who are told."""
        found, rejected = _decoded(bodies, lambda body: decode(Alert, body))
        _reject_future(found, rejected, utcnow(), max_clock_skew)
        _reject_strangers(found, rejected, inventory.hold(connection, _systems(found)))
        new = record_alerts(connection, _kept(found, rejected))
        told = [
            (verdict.target.name, alert, about)
            for alert, about in zip(new, deliveries.whereabouts(connection, new), strict=True)
            for verdict in verdicts(alert, about.departments, about.labs, targets)
            if verdict.told
        ]
        deliveries.add(connection, told)
        return rejected

    return handle_alerts


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


def _reject_future(
    found: Mapping[int, AnyMessage], rejected: dict[int, Rejection], now: datetime, max_clock_skew: float
) -> None:
    """What came from tomorrow would be newer than everything that comes until then."""
    latest = now + timedelta(seconds=max_clock_skew)
    for place, one in found.items():
        for name, moment in one.moments.items():
            if moment > latest:
                rejected[place] = Rejection(f"{name} {moment.isoformat()} is in the future: a wrong clock")


def _systems(found: Mapping[int, Metrics | Alert | SystemStatus]) -> set[int]:
    return {one.system_id for one in found.values()}


def _reject_strangers(
    found: Mapping[int, Metrics | Alert | SystemStatus], rejected: dict[int, Rejection], known: set[int]
) -> None:
    for place, one in found.items():
        if one.system_id not in known and not (isinstance(one, Alert) and one.system_id == OURSELVES):
            rejected.setdefault(
                place, Rejection(f"unknown system: system_id {one.system_id} is not in the inventory")
            )


def _kept(found: Mapping[int, T], rejected: Mapping[int, Rejection]) -> list[T]:
    return [one for place, one in found.items() if place not in rejected]
