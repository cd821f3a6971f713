"""The workers of one process: a thread for each queue."""

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Self

from labmon.brokers import open_broker
from labmon.consume.worker import Progress, Worker
from labmon.consume.worker_stats import ProcessInfo, rss
from labmon.ingest.handlers import handlers
from labmon.ingest.settings import IngestSettings
from labmon.store.pool import Store

logger = logging.getLogger(__name__)

TICK = 0.2
"""Seconds between two checks whether all have ended."""


class WorkerThreads:
    """Empties the queues until stopped. The first worker to fail for good stops the others."""

    def __init__(self, workers: Sequence[Worker], stop: threading.Event, *, grace: float) -> None:
        """`grace` is how many seconds a stop waits for the batches in hand."""
        self._workers = workers
        self._stop = stop
        self._grace = grace
        self._failures: list[Exception] = []
        # Daemons, so that one that hangs in a dead database does not keep the process from its end.
        self._threads = [
            threading.Thread(target=self._run, args=[worker], name=worker.queue, daemon=True)
            for worker in self._workers
        ]

    @classmethod
    def of(
        cls,
        settings: IngestSettings,
        queues: Sequence[str],
        store: Store,
        stop: threading.Event,
        *,
        until_empty: bool = False,
    ) -> Self:
        """A worker for each of these queues, with the handlers and the broker of the configuration."""
        handle = handlers(settings)
        workers = [
            Worker(
                queue,
                handle[queue],
                partial(open_broker, settings.queue, store_url=store.url),
                store,
                settings.consume,
                stop,
                until_empty=until_empty,
            )
            for queue in queues
        ]
        return cls(workers, stop, grace=float(settings.consume.grace))

    def run(self, on_tick: Callable[[], None] = lambda: None) -> None:
        """Work until all have ended. `on_tick` is called a few times a second.

        Raises what the first worker failed with. A worker that is not done within the grace time after a
        stop is left behind, and dies with the process: what it holds returns to the queue.
        """
        for thread in self._threads:
            thread.start()
        while not self._wait() and not self._stop.is_set():
            on_tick()
        deadline = time.monotonic() + self._grace
        while not self._wait() and time.monotonic() < deadline:
            on_tick()
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

    def processes(self) -> list[ProcessInfo]:
        """This process."""
        return [ProcessInfo(1, os.getpid(), rss(), 0, self.progress())]

    def tally(self) -> dict[str, tuple[int, int]]:
        """How many messages were stored and how many rejected, by queue."""
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
