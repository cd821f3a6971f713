"""The tick of the alerts as a duty of `labmon consume`, which tells the rules of queues and spools."""

import logging
from collections.abc import Callable, Mapping

from labmon.alerts.tick import tick
from labmon.brokers.base import Depth
from labmon.config import Config
from labmon.consume.spools import report_spool
from labmon.messages import utcnow
from labmon.store import deliveries, spools
from labmon.store.pool import Store

logger = logging.getLogger(__name__)


class Watch:
    """`look` every `tick.EVERY` seconds. Several processes may do so at once: the database lets in one."""

    def __init__(self, store: Store, config: Config, depths: Callable[[], Mapping[str, Depth]]) -> None:
        """`depths` says what is known of the queues by now: {} for nothing."""
        self._store = store
        self._config = config
        self._depths = depths

    def look(self) -> None:
        """Look once. Raises StoreError."""
        now = utcnow()
        with self._store.transaction() as connection:
            report_spool(connection, self._config, now)
            told = tick(
                connection,
                now,
                depths={queue: depth.ready for queue, depth in self._depths().items()},
                metrics_queue=self._config.queue.metrics_queue,
                spools=spools.fills(connection, now),
            )
            released = deliveries.release(connection, now)
        if told:
            logger.info("alerts: %d to be told", told)
        if released:
            logger.info("alerts: %d deliveries are held no longer", released)
