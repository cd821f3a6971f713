"""Measure many machines at once. A machine that fails is a result; one that hangs delays no other.

Each machine has a thread and a deadline. The watchdog delivers "timed out" at the deadline itself, whatever
its thread is stuck in, and a fresh thread takes over the queue.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from labmon import config
from labmon.collect.access import Access
from labmon.collect.deadline import Deadline, Watchdog
from labmon.collect.failures import Failure, HostFailed, one_line
from labmon.collect.parse import Report, parse
from labmon.collect.probe import COMMAND, END, SCRIPT
from labmon.errors import LabmonError, UsageError
from labmon.messages import Metrics, Readings, utcnow

if TYPE_CHECKING:
    from labmon.collect.ssh import Session

logger = logging.getLogger(__name__)

TICK = 0.1
"""Seconds. How soon the caller's `stop` is seen: an Event cannot be waited for together with a queue."""


@dataclass(frozen=True)
class Target:
    """A machine to measure. `system_id` is None for one that the store does not know.

    `address` is an IP address: names are looked up beforehand, since a look-up has no deadline. Raises
    UsageError for anything else.
    """

    address: str
    port: int = 22
    system_id: int | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        try:
            ip_address(self.address)
        except ValueError as error:
            raise UsageError(f"{self.address!r} is not an IP address") from error
        if not 1 <= self.port <= 65535:
            raise UsageError(f"{self.address}: there is no port {self.port}")

    def __str__(self) -> str:
        return f"{self.name} ({self.address})" if self.name else self.address


@dataclass(frozen=True)
class Result:
    """What came of one machine: readings with their time, or a failure."""

    target: Target
    readings: Readings | None
    collected_at: datetime | None
    failure: Failure | None
    seconds: float  #: from the start of the connection
    missing: tuple[str, ...] = ()  #: parts that could not be read, see `parse.Report`
    clock_skew: float | None = None  #: seconds by which the machine's clock is ahead of ours

    @property
    def message(self) -> Metrics | None:
        """The message to publish; None after a failure, and for a machine that the store does not know."""
        if self.target.system_id is None or self.readings is None or self.collected_at is None:
            return None
        return Metrics(system_id=self.target.system_id, collected_at=self.collected_at, metrics=self.readings)


def collect(
    targets: Iterable[Target],
    settings: config.Collect,
    *,
    state_dir: Path,
    stop: threading.Event | None = None,
) -> Iterator[Result]:
    """Measure every target once; results come in the order in which they are ready, one per target.

    Keys, password and host keys are read first, before any machine is contacted: raises ConfigError or
    PermissionNeeded then, and nothing later. The run ends within one deadline of the last start. Setting
    `stop`, or leaving the iterator, ends it at once; machines without a result by then have none.
    """
    waiting: SimpleQueue[Target] = SimpleQueue()
    for target in targets:
        waiting.put(target)
    if waiting.empty():
        return iter(())
    access = Access.load(settings, state_dir)
    return _Run(waiting, settings, access, stop or threading.Event()).results()


@dataclass
class _Job:
    """One machine under way. Who finishes it first, its thread or the watchdog, has the last word."""

    target: Target
    session: "Session"
    deadline: Deadline
    started: float = field(default_factory=time.monotonic)
    replaced: bool = False  #: its thread may be stuck, and another has taken its place
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _finished: bool = False

    def finish(self, replace: Callable[[], bool] = lambda: False) -> bool:
        """True for the first caller, whose `replace` is called and says whether there is a new thread."""
        with self._lock:
            if self._finished:
                return False
            self._finished = True
            self.replaced = replace()
            return True

    def result(self, outcome: Report | Failure) -> Result:
        seconds = round(time.monotonic() - self.started, 3)
        if isinstance(outcome, Failure):
            return Result(self.target, None, None, outcome, seconds)
        return Result(
            self.target,
            outcome.readings,
            outcome.collected_at,
            None,
            seconds,
            outcome.missing,
            outcome.clock_skew,
        )


class _Run:
    """The threads, the watchdog and the two queues of one call of `collect`."""

    def __init__(
        self,
        waiting: "SimpleQueue[Target]",
        settings: config.Collect,
        access: Access,
        stop: threading.Event,
    ) -> None:
        self._waiting = waiting
        self._settings = settings
        self._access = access
        self._stop = stop
        self._ended = threading.Event()
        self._done: SimpleQueue[Result] = SimpleQueue()
        self._left = waiting.qsize()

    def results(self) -> Iterator[Result]:
        self._watchdog = Watchdog()
        try:
            wanted = min(self._settings.concurrency, self._left)
            started = sum(self._add_thread() for _ in range(wanted))
            if started < wanted:
                logger.warning("only %s of %s threads can be started", started, wanted)
            while self._left and not self._stop.is_set():
                try:
                    result = self._done.get(timeout=TICK)
                except Empty:
                    if not started:
                        raise LabmonError("this process may start no thread: see ulimit -u") from None
                    continue
                self._left -= 1
                yield result
        finally:
            self._ended.set()
            self._watchdog.close()
            self._access.close()

    def _add_thread(self) -> bool:
        """False when the system has none left."""
        try:
            # A daemon: whatever it gets stuck in must not keep the process alive.
            threading.Thread(target=self._work, name="labmon-collect", daemon=True).start()
        except RuntimeError:
            return False
        return True

    def _work(self) -> None:
        while not self._ended.is_set():
            try:
                target = self._waiting.get_nowait()
            except Empty:
                return
            if not self._measure(target):
                return  # another thread has taken this one's place

    def _measure(self, target: Target) -> bool:
        """Deliver the result of one machine. False when the watchdog did, and has replaced this thread."""
        session = self._access.session(target)
        job = _Job(target, session, Deadline.after(self._settings.deadline))

        def expire() -> None:
            detail = f"after {self._settings.deadline:g} s, {session.phase}"
            try:
                if not self._ended.is_set() and job.finish(self._add_thread):
                    self._done.put(job.result(Failure("timed out", detail)))
            finally:
                session.abort()

        outcome: Report | Failure
        with self._watchdog.watch(job.deadline, expire):
            try:
                outcome = _probe(job)
            except HostFailed as error:
                outcome = error.failure
            except Exception as error:
                logger.exception("a bug, met at %s", target)
                outcome = Failure("local error", f"a bug: {one_line(repr(error))}")
            finally:
                session.close()
        if job.finish():
            self._done.put(job.result(outcome))
        return not job.replaced


def _probe(job: _Job) -> Report:
    """One login, one round trip. Raises `HostFailed`."""
    session = job.session
    session.open(job.deadline)
    output = session.run(COMMAND, SCRIPT, job.deadline, until=END)
    received_at = utcnow()
    if END not in output.stdout and output.status != 0:
        status = f"exit status {output.status}" if output.status is not None else "killed"
        said = one_line(output.stderr or output.stdout[-200:])
        raise HostFailed("probe failed", f"{status}: {said}" if said else status)
    return parse(output.stdout, received_at)
