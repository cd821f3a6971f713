"""A worker process of the supervisor's: see `labmon.consume.beat` for how the two talk."""

import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable
from typing import BinaryIO

from labmon import logs
from labmon.config import Config
from labmon.consume.beat import BEAT, Beat, Job
from labmon.consume.crew import Crew
from labmon.consume.register import rss
from labmon.consume.worker import Backoff, Progress
from labmon.errors import LabmonError, StoreUnavailable
from labmon.store.pool import Store


def main() -> int:
    """`python -m labmon.consume.child`. Returns the exit code."""
    job: Job = pickle.load(sys.stdin.buffer)
    logs.set_up(job.config.log.level)
    stop = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor gets it too, and says what to do
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threading.Thread(target=_until_let_go, args=[stop], daemon=True).start()
    pulse = _Pulse(_private_stdout())
    error = None
    try:
        _work(job, stop, pulse)
    except LabmonError as failure:
        error = failure
    pulse.end(error)
    return error.exit_code if error else 0


class _Pulse:
    """The thread that beats."""

    def __init__(self, out: BinaryIO) -> None:
        self.progress: Callable[[], list[Progress]] = list
        self._out = out
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def end(self, error: LabmonError | None) -> None:
        """Once more, with the last word."""
        self._over.set()
        self._thread.join(BEAT)
        self._write(error)

    def _beat(self) -> None:
        while not self._over.is_set():
            self._write()
            self._over.wait(BEAT)

    def _write(self, error: LabmonError | None = None) -> None:
        try:
            self._out.write(pickle.dumps(Beat(rss(), self.progress(), error)))
            self._out.flush()
        except OSError:
            pass  # the supervisor is gone, and so are we soon


def _work(job: Job, stop: threading.Event, pulse: _Pulse) -> None:
    store = _opened(job.config, stop)
    if store is None:
        return
    with store:
        crew = Crew(job.config, job.queues, store, stop, until_empty=job.until_empty)
        pulse.progress = crew.progress
        crew.run()


def _opened(config: Config, stop: threading.Event) -> Store | None:
    """The store, as soon as it is there; None when stopped before."""
    backoff = Backoff(stop)
    while not stop.is_set():
        try:
            return Store(config)
        except StoreUnavailable:  # the other workers say so too
            backoff.wait()
    return None


def _until_let_go(stop: threading.Event) -> None:
    while os.read(0, 1):  # not by sys.stdin, whose lock would be missed at the interpreter's end
        pass
    stop.set()


def _private_stdout() -> BinaryIO:
    """For beats alone: what anyone prints goes to stderr from now on."""
    private = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return private


if __name__ == "__main__":
    sys.exit(main())
