"""Alerts beside the workers: evaluate the rules that no reading triggers, publish what was found, notify."""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from threading import Event

from labmon import pg
from labmon.alerts import deliveries
from labmon.alerts.evaluate import tick
from labmon.alerts.notify.notifier import Notifier
from labmon.alerts.outbox import OutboxPublisher
from labmon.brokers import open_broker
from labmon.brokers.base import Depth
from labmon.consume.spool_report import report_spool
from labmon.consume.worker_threads import WorkerThreads
from labmon.ingest.settings import IngestSettings
from labmon.sinks.spool.spool import Spool
from labmon.store import spools
from labmon.store.pool import Store

logger = logging.getLogger(__name__)


class AlertEvaluator:
    """The three steps, each for a thread of its own; or all of them once, by `run_once`.

    Several processes may evaluate at the same time: the database lets one at a time do so. Raises ConfigError
    for a target with a url that labmon does not understand.
    """

    def __init__(
        self,
        settings: IngestSettings,
        store: Store,
        depths: Callable[[], Mapping[str, Depth]],
        spool: Spool,
    ) -> None:
        """`depths` returns the queue depths known at the moment; {} while none are."""
        queue = settings.queue
        self._settings = settings
        self._store = store
        self._depths = depths
        self._spool = spool
        self._publisher = OutboxPublisher(partial(open_broker, queue, store_url=store.url), queue.alert_queue)
        self._notifier = Notifier(settings.notify, dashboard=settings.dashboard.url)

    def evaluate(self) -> None:
        """Evaluate every rule once. Raises StoreError."""
        with self._store.transaction() as connection:
            now = pg.now(connection)
            report_spool(connection, self._spool, now)
            found = tick(
                connection,
                now,
                depths={queue: depth.ready for queue, depth in self._depths().items()},
                metrics_queue=self._settings.queue.metrics_queue,
                spools=spools.fills(connection, now),
            )
            released = deliveries.release(connection, now)
        if found:
            logger.info("alerts: %d to be published", found)
        if released:
            logger.info("alerts: %d deliveries are no longer held", released)

    def publish(self, stop: Event) -> None:
        """Publish what was found to the alert queue, until stopped."""
        self._publisher.run(self._store, stop)

    def notify(self, stop: Event) -> None:
        """Notify the targets, until stopped."""
        self._notifier.run(self._store, stop)

    def run_once(self, stop: Event) -> int:
        """Evaluate, publish, store what was published, and notify, for a process that does not stay: each
        target is tried once. Returns how many alerts a failing target was not notified of. Raises
        LabmonError."""
        self.evaluate()
        with self._store.session("alerts") as connection:
            if self._publisher.forward_all(connection):
                queues = [self._settings.queue.alert_queue]
                WorkerThreads.of(self._settings, queues, self._store, stop, until_empty=True).run()
            return self._notifier.send_all(connection, stop)
