"""The workers of this `labmon consume` as rows: for the screen and for the table `workers`."""

import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from labmon.consume.worker import Progress
from labmon.store.pool import Store
from labmon.store.workers import WorkerRow, record


@dataclass(frozen=True, slots=True)
class ProcessInfo:
    """A worker process as it is at this moment."""

    number: int
    pid: int | None  #: None until it is replaced
    rss: int | None  #: bytes
    restarts: int
    workers: list[Progress]


def rss() -> int:
    """Resident memory of this process, in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class WorkerStats:
    """Computes the rows, with rates since the call before. For one thread."""

    RATE_OVER = 2.0
    """Seconds at least over which a rate is computed."""

    def __init__(self) -> None:
        self._host = socket.gethostname()
        self._main_pid = os.getpid()
        self._before: dict[tuple[int, int | None, str], tuple[float, int, float]] = {}

    def write(self, store: Store, processes: Sequence[ProcessInfo]) -> None:
        """Write the rows to the table `workers`. Raises what the store does."""
        rows = self.rows(processes)
        with store.transaction() as connection:
            record(connection, self._host, self._main_pid, rows)

    def rows(self, processes: Sequence[ProcessInfo]) -> list[WorkerRow]:
        """One for each worker."""
        pids = {process.pid for process in processes}
        self._before = {key: value for key, value in self._before.items() if key[1] in pids}
        return [
            WorkerRow(
                host=self._host,
                main_pid=self._main_pid,
                number=process.number,
                queue=one.queue,
                pid=process.pid,
                state=one.state,
                state_since=one.since,
                stored=one.stored,
                rejected=one.rejected,
                per_second=self._rate(process, one),
                last_batch=one.last_batch,
                last_batch_at=one.last_batch_at,
                rss_bytes=process.rss,
                restarts=process.restarts,
            )
            for process in processes
            for one in process.workers
        ]

    def _rate(self, process: ProcessInfo, one: Progress) -> float:
        key = process.number, process.pid, one.queue
        now = time.monotonic()
        at, stored, rate = self._before.get(key, (now, one.stored, 0.0))
        if now - at >= self.RATE_OVER:
            rate = (one.stored - stored) / (now - at)
            at, stored = now, one.stored
        self._before[key] = at, stored, rate
        return rate
