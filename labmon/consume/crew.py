"""The workers of one process: a thread for each queue."""

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence

from labmon.brokers import open_broker
from labmon.config import Config
from labmon.consume.handlers import handlers
from labmon.consume.register import Member, rss
from labmon.consume.worker import Progress, Worker
from labmon.store.pool import Store

logger = logging.getLogger(__name__)

TICK = 0.2
"""Seconds between two looks at whether all have ended."""


class Crew:
    """Empties the queues until stopped. The first worker to fail for good stops the others."""

    def __init__(
        self,
        config: Config,
        queues: Sequence[str],
        store: Store,
        stop: threading.Event,
        *,
        until_empty: bool = False,
    ) -> None:
        self._stop = stop
        self._grace = float(config.consume.grace)
        self._failures: list[Exception] = []
        handle = handlers(config)
        self._workers = [
            Worker(
                queue,
                handle[queue],
                lambda: open_broker(config, store_url=store.url),
                store,
                config.consume,
                stop,
                until_empty=until_empty,
            )
            for queue in queues
        ]
        # Daemons, so that one that hangs in a dead database does not keep the process from its end.
        self._threads = [
            threading.Thread(target=self._run, args=[worker], name=worker.queue, daemon=True)
            for worker in self._workers
        ]

    def run(self, look: Callable[[], None] = lambda: None) -> None:
        """Work until all have ended. `look` is called a few times a second.

        Raises what the first worker failed with. A worker that is not done within the grace time after a
        stop is left behind, and dies with the process: what it holds returns to the queue.
        """
        for thread in self._threads:
            thread.start()
        while not self._wait() and not self._stop.is_set():
            look()
        deadline = time.monotonic() + self._grace
        while not self._wait() and time.monotonic() < deadline:
            look()
        for thread in self._threads:
            if thread.is_alive():
                logger.warning(
                    "%s: not done within the grace time; its batch stays in the queue", thread.name
                )
        if self._failures:
            raise self._failures[0]

    def progress(self) -> list[Progress]:
        """Of each worker. For any thread, like the following."""
        return [worker.progress for worker in self._workers]

    def members(self) -> list[Member]:
        """This process."""
        return [Member(1, os.getpid(), rss(), 0, self.progress())]

    def tally(self) -> dict[str, tuple[int, int]]:
        """What was stored and what was rejected, by queue."""
        return {one.queue: (one.stored, one.rejected) for one in self.progress()}

    def _wait(self) -> bool:
        """True when all have ended."""
        deadline = time.monotonic() + TICK
        for thread in self._threads:
            # In slices: a signal's handler runs in the main thread, and only between them on some systems.
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _run(self, worker: Worker) -> None:
        try:
            worker.run()
        except Exception as error:
            self._failures.append(error)
            self._stop.set()
