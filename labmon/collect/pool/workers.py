"""Threads that measure machines, a bounded number at a time; a machine that hangs holds up no other.

Each machine under way has a thread. Slots are what is bounded: a machine that has not even answered the
connection, or that takes much longer than measuring does, goes on without one until its deadline, and
another starts. At the deadline itself the watchdog delivers "timed out", whatever the thread is stuck in.
"""

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

from labmon.collect.deadline import Deadline, Watchdog
from labmon.collect.failures import CONNECTING, Failure, HostFailed, timed_out
from labmon.collect.pool.dispatch_queue import DispatchQueue
from labmon.collect.probe.parse import Report
from labmon.collect.result import Result, Target, bug
from labmon.errors import LabmonError

if TYPE_CHECKING:
    from labmon.collect.ssh.session import Session

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT = 0.1
"""Seconds until a slot is given up. A machine on the campus answers a connection within a few milliseconds,
or is not there."""

MEASURE_TIMEOUT = 4.0
"""Seconds until a slot is given up. Measuring takes one, and some hundredths on a session that is open."""

MAX_THREADS = 2000
"""With and without a slot."""


class MeasuringJob(ABC):
    """One measurement of one machine. Its methods run in the pool's threads."""

    def __init__(self, target: Target) -> None:
        self.target = target

    @property
    def subnet(self) -> str:
        """See `dispatch_queue`."""
        return self.target.subnet

    @abstractmethod
    def begin(self) -> "Session":
        """The session that will be used, open or not."""

    @abstractmethod
    def measure(self, session: "Session", deadline: Deadline, logged_in: Callable[[], None]) -> Report:
        """Measure, keep the counters, and call `logged_in` on the way. Raises `HostFailed`."""

    @abstractmethod
    def deliver(self, result: Result) -> None:
        """Hand the result on. Called once, by the job's thread or by the watchdog; must not raise."""

    @property
    def is_wanted(self) -> bool:
        """False when the result is of no use any more by the time that its turn comes."""
        return True


class Pool:
    """Threads for jobs: `put` them; each is delivered within `seconds` of its start.

    `close` ends everything under way at once, and what is not delivered by then never is.
    """

    def __init__(
        self, concurrency: int, seconds: float, *, per_subnet: int = 0, descriptors: int = MAX_THREADS
    ) -> None:
        """`descriptors` is how many connections may be open at once."""
        self._seconds = seconds
        self._max_threads = max(1, min(MAX_THREADS, descriptors))
        self._concurrency = min(concurrency, self._max_threads)
        self._queue: DispatchQueue[MeasuringJob] = DispatchQueue(per_subnet)
        self._ended = threading.Event()
        self._count = threading.Lock()
        self._threads = 0
        self._watchdog = Watchdog()
        self._warned: set[tuple[str, str]] = set()

    def start(self, wanted: int | None = None) -> None:
        """Begin with what was put, in `wanted` threads at most. Raises LabmonError when there can be none."""
        wanted = self._concurrency if wanted is None else min(self._concurrency, wanted)
        started = sum(self._add_thread() for _ in range(wanted))
        if wanted and not started:
            raise LabmonError("this process may start no thread: see ulimit -u")
        if started < wanted:
            logger.warning("only %s of %s threads can be started", started, wanted)

    def put(self, job: MeasuringJob, due: float = 0.0) -> None:
        """To be started when it is due, on the monotonic clock, and there is a slot."""
        self._queue.put(job, due)

    def close(self) -> None:
        """End everything. Repeatable."""
        self._ended.set()
        self._queue.close()
        self._watchdog.close()

    def _add_thread(self) -> bool:
        """False when there are as many as may be, or the system has none left."""
        with self._count:
            if self._ended.is_set() or self._threads >= self._max_threads:
                return False
            self._threads += 1
        try:
            # A daemon: whatever it gets stuck in must not keep the process alive.
            threading.Thread(target=self._work, name="labmon-collect", daemon=True).start()
        except RuntimeError:
            with self._count:
                self._threads -= 1
            return False
        return True

    def _work(self) -> None:
        try:
            while (job := self._queue.take()) is not None:
                if not job.is_wanted:
                    self._queue.logged_in(job)
                elif not self._run(job):
                    return  # another thread has taken this one's slot
        finally:
            with self._count:
                self._threads -= 1

    def _run(self, job: MeasuringJob) -> bool:
        """Have one job delivered. False when this thread has no slot any more."""
        started = time.monotonic()
        deadline = Deadline(started + self._seconds, self._seconds)
        try:
            session = job.begin()
        except Exception as error:
            self._queue.logged_in(job)
            job.deliver(_result(job.target, bug(error, job.target), started))
            return True
        slot = _Slot(self._add_thread, lambda: self._queue.logged_in(job))

        def late() -> float | None:
            if not (deadline.passed or self._ended.is_set()):
                limit = started + MEASURE_TIMEOUT
                if not session.phase.startswith(CONNECTING) and time.monotonic() < limit:
                    return min(limit, deadline.at)
                slot.give_up()
                return deadline.at
            slot.logged_in()
            try:
                if not self._ended.is_set() and slot.finish(late=True):
                    failure = timed_out(self._seconds, session.phase).failure
                    job.deliver(_result(job.target, failure, started))
            finally:
                session.abort()
            return None

        with self._watchdog.watch(Deadline.after(min(CONNECT_TIMEOUT, self._seconds)), late):
            outcome = self._measured(job, session, deadline, slot)
        slot.logged_in()
        if slot.finish() and not self._ended.is_set():
            job.deliver(_result(job.target, outcome, started, session.server))
        else:
            session.close()
        return not slot.given_up

    def _measured(
        self, job: MeasuringJob, session: "Session", deadline: Deadline, slot: "_Slot"
    ) -> Report | Failure:
        """What came of it. Whatever is raised is this machine's failure, and ends nothing else."""
        try:
            report = job.measure(session, deadline, slot.logged_in)
            self._warn(job.target, report)
            return report
        except HostFailed as error:
            return error.failure
        except Exception as error:
            return bug(error, job.target)

    def _warn(self, target: Target, report: Report) -> None:
        """Log the impossible values that a machine reported, once for each of its readings."""
        for name in report.impossible:
            if (target.key, name) not in self._warned:
                self._warned.add((target.key, name))
                logger.warning("%s: left out %s: the machine says what cannot be", target, name)


def _result(target: Target, outcome: Report | Failure, started: float, server: str = "") -> Result:
    seconds = round(time.monotonic() - started, 3)
    if isinstance(outcome, Failure):
        return Result(target, None, None, outcome, seconds)
    return Result(
        target,
        outcome.readings,
        outcome.collected_at,
        None,
        seconds,
        outcome.missing,
        outcome.clock_skew,
        outcome.mounts,
        outcome.facts,
        server,
    )


class _Slot:
    """What a job under way holds: a slot of the pool, and one of its subnet until it has logged in."""

    def __init__(self, replace: Callable[[], bool], leave_subnet: Callable[[], None]) -> None:
        self._replace = replace
        self._leave_subnet = leave_subnet
        self._lock = threading.Lock()
        self._logging_in = True
        self._finished = False
        self.given_up = False

    def logged_in(self) -> None:
        """Give the subnet's slot back. Repeatable."""
        with self._lock:
            logging_in, self._logging_in = self._logging_in, False
        if logging_in:
            self._leave_subnet()

    def give_up(self) -> None:
        """Let another machine start: with a thread of its own, since this one's may be stuck."""
        self.logged_in()
        with self._lock:
            if not (self._finished or self.given_up):
                self.given_up = self._replace()

    def finish(self, *, late: bool = False) -> bool:
        """True for the first caller. A `late` one is not the thread itself, which may be stuck."""
        with self._lock:
            if self._finished:
                return False
            self._finished = True
            if late and not self.given_up:
                self.given_up = self._replace()
            return True
