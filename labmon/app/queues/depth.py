"""What `labmon queue-depth` shows: for people, for Prometheus, and for the alert rules."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from labmon.app.open import ingest_settings, open_spool, open_store
from labmon.readable import span
from labmon.table import Column

if TYPE_CHECKING:
    from labmon.brokers.base import Depth
    from labmon.config.tables import Config, QueueConfig


@dataclass(frozen=True)
class QueueRow:
    """A queue as it is printed: its depth (see `labmon.brokers.base.Depth`), and what to do about it."""

    ready: int
    ready_high: int | None
    in_flight: int | None
    dead: int
    consumers: int | None
    oldest_age_seconds: float | None
    queue: str
    level: str
    advice: str | None
    ready_per_second: float | None  #: ready messages more than at the last look, per second


COLUMNS = [
    Column("queue", "Queue"),
    Column("ready", "Ready", "{:,}".format, right=True),
    Column("ready_high", "of these high", "{:,}".format, right=True, extra=True),
    Column("ready_per_second", "Change/s", "{:+,.0f}".format, right=True),
    Column("in_flight", "In flight", "{:,}".format, right=True, extra=True),
    Column("dead", "Dead", "{:,}".format, right=True),
    Column("consumers", "Consumers", right=True),
    Column("oldest_age_seconds", "Oldest", span, right=True),
    Column("level", "State", colour=True),
    Column("advice", "Do", absent="", gives=True),
]


def queue_rows(
    depths: "Mapping[str, Depth]",
    settings: "QueueConfig",
    before: "Mapping[str, Depth] | None" = None,
    seconds: float = 0,
) -> list[QueueRow]:
    """Each queue as a row; with what was seen `seconds` ago, also how fast it grows."""
    from labmon.consume.backlog import advice, level

    return [
        QueueRow(
            **asdict(depth),
            queue=queue,
            level=level(depth, settings).name,
            advice=advice(queue, depth, settings) or None,
            ready_per_second=(depth.ready - before[queue].ready) / seconds if before and seconds else None,
        )
        for queue, depth in depths.items()
    ]


@contextmanager
def evaluated(config: "Config", alert: bool) -> "Iterator[Callable[[Mapping[str, Depth]], None]]":
    """What to do with each measurement. With `alert`: evaluate the rules, and notify at once."""
    if not alert:
        yield lambda depths: None
        return
    from threading import Event

    from labmon.consume.alert_evaluator import AlertEvaluator

    seen: dict[str, Depth] = {}
    with open_store(config) as store:
        evaluator = AlertEvaluator(ingest_settings(config), store, lambda: seen, open_spool(config))

        def judge(depths: "Mapping[str, Depth]") -> None:
            seen.update(depths)
            evaluator.run_once(Event())

        yield judge


def exposition(depths: "Mapping[str, Depth]") -> str:
    """Prometheus' text format (0.0.4); what the server cannot say is left out."""
    from prometheus_client import CollectorRegistry, Gauge, generate_latest

    registry = CollectorRegistry()
    gauges = {
        "ready": "Messages that wait, both lanes.",
        "ready_high": "Messages that wait in the high lane.",
        "in_flight": "Messages that a worker holds.",
        "dead": "Messages that could not be stored.",
        "consumers": "Workers connected to the queue.",
        "oldest_age_seconds": "How long the oldest message has been waiting.",
    }
    for name, help_ in gauges.items():
        metric = f"labmon_queue_{name}"
        gauge = Gauge(metric, help_, ["queue"], registry=registry)
        for queue, depth in depths.items():
            value = getattr(depth, name)
            if value is not None:
                gauge.labels(queue).set(value)
    return str(generate_latest(registry), "utf-8")
