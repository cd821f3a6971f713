"""From the outbox, where the rules' findings stand, to the alert queue.

A row is marked as published after the broker has confirmed it; a crash in between publishes it again, under
the same id, and the store knows it by its contents. A NOTIFY wakes the relay, which looks by itself too.
"""

import logging
import threading
from collections.abc import Callable
from typing import Any

from psycopg import Connection

from labmon.backoff import Backoff
from labmon.brokers.base import Broker, Message
from labmon.errors import BrokerError
from labmon.store.leader import claimed, only_one, release
from labmon.store.pool import Store

logger = logging.getLogger(__name__)

WORK = "alert relay"
"""What the lock is called that makes it one process that publishes."""

BATCH = 500

POLL = 0.5
"""Seconds. How soon a stop is noticed, and a row whose NOTIFY was lost."""

LONGEST_PAUSE = 30.0
"""Seconds between attempts while the broker is away."""


class OutboxPublisher:
    """Publishes the outbox to one queue, whenever no other process does."""

    def __init__(self, open_broker: Callable[[], Broker], queue: str) -> None:
        self._open_broker = open_broker
        self._queue = queue

    def run(self, store: Store, stop: threading.Event) -> None:
        """Relay until `stop` is set. Neither a broker nor a database that is away ends it."""
        only_one(store, WORK, lambda connection: self._watch(connection, stop), stop)

    def forward_all(self, connection: Connection[Any]) -> int:
        """Publish what waits, unless another process is just at it, and return how much that was.

        Raises what the broker does.
        """
        if not _waiting(connection, 1) or not claimed(connection, WORK):
            return 0
        try:
            with self._open_broker() as broker:
                broker.declare(self._queue)
                return self._forward(connection, broker)
        finally:
            release(connection, WORK)

    def _watch(self, connection: Connection[Any], stop: threading.Event) -> None:
        connection.execute("LISTEN labmon_alerts")
        wait = Backoff(first=1.0, longest=LONGEST_PAUSE)
        while not stop.is_set():
            try:
                self._forward_as_they_come(connection, stop)
            except BrokerError as error:
                # The first time is the queue's affair, which its worker tells about as well.
                logger.log(logging.WARNING if wait.failures else logging.INFO, "alerts wait: %s", error)
                wait.wait(stop)

    def _forward_as_they_come(self, connection: Connection[Any], stop: threading.Event) -> None:
        with self._open_broker() as broker:
            broker.declare(self._queue)
            while not stop.is_set():
                self._forward(connection, broker)
                for _ in connection.notifies(timeout=POLL, stop_after=1):
                    pass

    def _forward(self, connection: Connection[Any], broker: Broker) -> int:
        count = 0
        while rows := _waiting(connection, BATCH):
            broker.publish(
                self._queue,
                [
                    # In one lane: a consumer of another program sees the critical ones too.
                    Message(f"outbox-{number}", body.encode(), f"alerts.{severity}")
                    for number, severity, body in rows
                ],
            )
            connection.execute(
                "UPDATE alert_outbox SET published_at = clock_timestamp() WHERE outbox_id = ANY(%s)",
                [[number for number, _, _ in rows]],
            )
            count += len(rows)
        return count


def _waiting(connection: Connection[Any], limit: int) -> list[tuple[int, str, str]]:
    return connection.execute(
        "SELECT outbox_id, severity, body::text FROM alert_outbox WHERE published_at IS NULL "
        "ORDER BY outbox_id LIMIT %s",
        [limit],
    ).fetchall()
