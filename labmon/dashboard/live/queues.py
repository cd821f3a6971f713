"""The queues as they are now: asked for once for all, over a connection that stays open."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from labmon.app.queues.depth import queue_rows
from labmon.app.queues.workers import judged
from labmon.brokers import open_broker
from labmon.brokers.base import Depth
from labmon.consume.queue_depths import QueueDepths
from labmon.consume.queue_record import QueueRecord, samples
from labmon.dashboard.asking import Asking, NoAnswer
from labmon.dashboard.context import Context
from labmon.errors import BrokerError, BrokerUnavailable, StoreError
from labmon.store import queue_history, workers
from labmon.store.queue_history import QueueRate

logger = logging.getLogger(__name__)

PATIENCE = 1.0
"""Seconds that a page waits for the broker, which may neither accept nor refuse."""


@dataclass(frozen=True)
class Queues:
    """What `GET /queues` answers. Without its broker: the queues as they were last, and `error` says why."""

    queues: list[dict[str, Any]]
    limits: dict[str, int]
    workers: list[dict[str, Any]]
    error: str | None


class QueuesReader:
    """Asks broker and store. For one thread at a time; neither being away is an error of this."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._depths = _Depths(context)
        self._last: Mapping[str, Depth] = {}
        self._record = QueueRecord()

    def __call__(self) -> Queues:
        """The queues of now. Never raises what labmon raises."""
        config, now = self._context.config, self._context.now()
        fresh: Mapping[str, Depth] = {}
        error = None
        try:
            fresh = self._last = self._depths.read()
            if not fresh:
                error = "there are no queues yet. Make them with: labmon setup-queues"
        except BrokerError as refused:
            error = str(refused)
        rates: dict[str, QueueRate] = {}
        running: list[dict[str, Any]] = []
        found = samples(fresh)
        try:
            with self._context.transaction() as connection:
                rates = self._record.write(connection, found, now)
                running = [_worker(one) for one in workers.recorded(connection)]
        except StoreError as refused:
            error = error or str(refused)
        rows = [_row(asdict(row), rates.get(row.queue)) for row in queue_rows(self._last, config.queue)]
        if not any(one["is_alive"] for one in running):
            rows = [_without_worker(row) for row in rows]
        limits = {"warning": config.queue.depth_warning, "critical": config.queue.depth_critical}
        return Queues(rows, limits, running, error)

    def check(self, patience: float) -> None:
        """Ask the broker whether it is there. Raises BrokerError within its timeout. For any thread."""
        self._depths.read(patience, late=patience)

    def close(self) -> None:
        """Close the connection, now or when the broker has answered."""
        self._depths.close()


class _Depths:
    """How many messages wait, asked for over a connection that stays open."""

    def __init__(self, context: Context) -> None:
        queue = context.config.queue
        self._where = f"{queue.type} at {queue.host or 'this machine'}"
        self._depths = QueueDepths(queue.names, lambda: open_broker(queue, store_url=context.store.url))
        self._asking = Asking("queue depths", self._ask)
        self._is_closed = False

    def read(self, patience: float = PATIENCE, *, late: float = 0) -> Mapping[str, Depth]:
        """Ask the broker. Raises BrokerError, also when there is no answer in `patience` seconds; after that
        in `late` seconds, until one has come. Any thread may call it."""
        try:
            return self._asking.answer(patience, late=late)
        except NoAnswer:
            text = f"{self._where}: no answer so far. Is it reachable? See [queue] host"
            raise BrokerUnavailable(text) from None

    def _ask(self) -> Mapping[str, Depth]:
        try:
            self._depths.refresh()
            return self._depths.known
        finally:
            if self._is_closed:
                self._depths.close()

    def close(self) -> None:
        self._is_closed = True
        if not self._asking.is_open:
            self._depths.close()


def _worker(one: workers.Seen) -> dict[str, Any]:
    return asdict(judged(one))


def _row(row: dict[str, Any], rate: QueueRate | None) -> dict[str, Any]:
    ready, high = row["ready"], row["ready_high"]
    came, taken = (rate.in_per_second, rate.out_per_second) if rate else (None, None)
    faster = (taken or 0.0) - (came or 0.0)
    return row | {
        "lanes": None if high is None else {"high": high, "normal": ready - high},
        "in_per_second": came,
        "out_per_second": taken,
        "drain_seconds": 0.0 if not ready else ready / faster if faster > 0 else None,
    }


def _without_worker(row: dict[str, Any]) -> dict[str, Any]:
    """A queue whose messages nobody takes is not well, however few they are."""
    if not row["ready"] or row["consumers"] or row["level"] != "ok":
        return row
    return row | {"level": "warning", "advice": "no worker is running: labmon consume"}


def depth_points(context: Context, now: datetime) -> list[tuple[float, int]]:
    """How many messages waited in all queues together in the last two hours: (seconds since 1970, ready)."""
    with context.transaction() as connection:
        points = queue_history.waiting(connection, now - timedelta(hours=2))
    return [(at.timestamp(), ready) for at, ready in points]
