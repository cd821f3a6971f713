"""The main program of a worker process; `heartbeat` says how it communicates with the supervisor."""

import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable
from typing import BinaryIO

from labmon import logs
from labmon.backoff import Backoff
from labmon.consume.supervisor.heartbeat import INTERVAL, Heartbeat, WorkerJob, WorkerSettings
from labmon.consume.worker import Progress
from labmon.consume.worker_stats import rss
from labmon.consume.worker_threads import WorkerThreads
from labmon.errors import LabmonError, StoreUnavailable
from labmon.store.pool import Store


def main() -> int:
    """`python -m labmon.consume.supervisor.worker_main`. Returns the exit code."""
    job: WorkerJob = pickle.load(sys.stdin.buffer)
    logs.set_up(job.settings.log.level)
    stop = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor gets it too, and decides
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threading.Thread(target=_stop_at_end_of_input, args=[stop], daemon=True).start()
    heartbeat = _HeartbeatSender(_private_stdout())
    error = None
    try:
        _work(job, stop, heartbeat)
    except LabmonError as failure:
        error = failure
    heartbeat.end(error)
    return error.exit_code if error else 0


class _HeartbeatSender:
    """Writes a heartbeat every second, from its own thread."""

    def __init__(self, out: BinaryIO) -> None:
        self.progress: Callable[[], list[Progress]] = list
        self._out = out
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._repeat, daemon=True)
        self._thread.start()

    def end(self, error: LabmonError | None) -> None:
        """Send the last heartbeat, with the error that the process ends with."""
        self._over.set()
        self._thread.join(INTERVAL)
        self._write(error)

    def _repeat(self) -> None:
        while not self._over.is_set():
            self._write()
            self._over.wait(INTERVAL)

    def _write(self, error: LabmonError | None = None) -> None:
        try:
            self._out.write(pickle.dumps(Heartbeat(rss(), self.progress(), error)))
            self._out.flush()
        except OSError:
            pass  # the supervisor has died, and the end of our input ends us


def _work(job: WorkerJob, stop: threading.Event, heartbeat: _HeartbeatSender) -> None:
    store = _opened(job.settings, stop)
    if store is None:
        return
    with store:
        threads = WorkerThreads.of(job.settings.ingest, job.queues, store, stop, until_empty=job.until_empty)
        heartbeat.progress = threads.progress
        threads.run()


def _opened(settings: WorkerSettings, stop: threading.Event) -> Store | None:
    """The store, as soon as the database is available; None when stopped before."""
    backoff = Backoff(jitter=1.0)
    while not stop.is_set():
        try:
            return Store(settings.database, settings.state)
        except StoreUnavailable:  # the main process logs it
            backoff.wait(stop)
    return None


def _stop_at_end_of_input(stop: threading.Event) -> None:
    while os.read(0, 1):  # not by sys.stdin, whose lock would be missed at the interpreter's end
        pass
    stop.set()


def _private_stdout() -> BinaryIO:
    """A stream for heartbeats alone: whatever else is printed goes to stderr from now on."""
    private = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return private


if __name__ == "__main__":
    sys.exit(main())
