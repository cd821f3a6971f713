"""What is known of the workers of this `labmon consume`, as rows: for the screen and for the database."""

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
class Member:
    """A worker process as it is at this moment."""

    number: int
    pid: int | None  #: None until it is replaced
    rss: int | None  #: bytes
    restarts: int
    workers: list[Progress]


def rss() -> int:
    """Bytes of memory that this process has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class Register:
    """Works out the rows of this `labmon consume`, with the rates since it was asked before.

    For one thread.
    """

    RATE_OVER = 2.0
    """Seconds at least over which a rate is worked out."""

    def __init__(self) -> None:
        self._host = socket.gethostname()
        self._main_pid = os.getpid()
        self._before: dict[tuple[int, int | None, str], tuple[float, int, float]] = {}

    def write(self, store: Store, members: Sequence[Member]) -> None:
        """Into the `workers` table. Raises what the store does."""
        with store.transaction() as connection:
            record(connection, self._host, self._main_pid, self.rows(members))

    def rows(self, members: Sequence[Member]) -> list[WorkerRow]:
        """One for each worker."""
        pids = {member.pid for member in members}
        self._before = {key: value for key, value in self._before.items() if key[1] in pids}
        return [
            WorkerRow(
                host=self._host,
                main_pid=self._main_pid,
                number=member.number,
                queue=one.queue,
                pid=member.pid,
                state=one.state,
                state_since=one.since,
                stored=one.stored,
                rejected=one.rejected,
                per_second=self._rate(member, one),
                last_batch=one.last_batch,
                last_batch_at=one.last_batch_at,
                rss_bytes=member.rss,
                restarts=member.restarts,
            )
            for member in members
            for one in member.workers
        ]

    def _rate(self, member: Member, one: Progress) -> float:
        key = member.number, member.pid, one.queue
        now = time.monotonic()
        at, stored, rate = self._before.get(key, (now, one.stored, 0.0))
        if now - at >= self.RATE_OVER:
            rate = (one.stored - stored) / (now - at)
            at, stored = now, one.stored
        self._before[key] = at, stored, rate
        return rate
