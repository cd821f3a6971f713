"""Threads that measure machines, a bounded number at a time; a machine that hangs keeps no place from others.

Each machine under way has a thread. Places are what is bounded: a machine that has not even answered the
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
from labmon.collect.failures import CONNECTING, Failure, HostFailed, one_line, timed_out
from labmon.collect.parse import Report
from labmon.collect.places import Places
from labmon.collect.result import Result, Target
from labmon.errors import LabmonError

if TYPE_CHECKING:
    from labmon.collect.ssh import Session

logger = logging.getLogger(__name__)

CONNECT_PATIENCE = 0.1
"""Seconds. A machine on the campus answers a connection within a few milliseconds, or is not there."""

PATIENCE = 4.0
"""Seconds. Measuring takes one, and some hundredths on a session that is there already."""

MOST = 2000
"""Threads at once, with and without a place."""


class Job(ABC):
    """One measurement of one machine. Its methods run in the pool's threads."""

    def __init__(self, target: Target) -> None:
        self.target = target

    @property
    def subnet(self) -> str:
        """See `places`."""
        return self.target.subnet

    @abstractmethod
    def begin(self) -> "Session":
        """The session that will be used, open or not."""

    @abstractmethod
    def measure(self, session: "Session", deadline: Deadline, logged_in: Callable[[], None]) -> Report:
        """Measure, and call `logged_in` on the way. Raises `HostFailed`."""

    @abstractmethod
    def deliver(self, result: Result, report: Report | None) -> None:
        """Called once, by whoever ended it first: its thread, with the report it made, or the watchdog."""

    @property
    def is_wanted(self) -> bool:
        """False when nobody wants it any more by the time that its turn comes."""
        return True


class Pool:
    """`put` jobs; each is delivered within `seconds` of its start.

    `close` ends everything under way at once, and what is not delivered by then never is.
    """

    def __init__(
        self, concurrency: int, seconds: float, *, per_subnet: int = 0, descriptors: int = MOST
    ) -> None:
        """`descriptors` is how many connections may be open at once."""
        self._seconds = seconds
        self._most = max(1, min(MOST, descriptors))
        self._concurrency = min(concurrency, self._most)
        self._places: Places[Job] = Places(per_subnet)
        self._ended = threading.Event()
        self._count = threading.Lock()
        self._threads = 0
        self._watchdog = Watchdog()

    def start(self, wanted: int | None = None) -> None:
        """Begin with what was put, in `wanted` threads at most. Raises LabmonError when there can be none."""
        wanted = self._concurrency if wanted is None else min(self._concurrency, wanted)
        started = sum(self._add_thread() for _ in range(wanted))
        if wanted and not started:
            raise LabmonError("this process may start no thread: see ulimit -u")
        if started < wanted:
            logger.warning("only %s of %s threads can be started", started, wanted)

    def put(self, job: Job, due: float = 0.0) -> None:
        """To be started when it is due, on the monotonic clock, and there is a place."""
        self._places.put(job, due)

    def close(self) -> None:
        """Repeatable."""
        self._ended.set()
        self._places.close()
        self._watchdog.close()

    def _add_thread(self) -> bool:
        """False when there are as many as may be, or the system has none left."""
        with self._count:
            if self._ended.is_set() or self._threads >= self._most:
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
            while (job := self._places.take()) is not None:
                if not job.is_wanted:
                    self._places.logged_in(job)
                elif not self._run(job):
                    return  # another thread has taken this one's place
        finally:
            with self._count:
                self._threads -= 1

    def _run(self, job: Job) -> bool:
        """Have one job delivered. False when this thread has no place any more."""
        session = job.begin()
        seat = _Seat(self._add_thread, lambda: self._places.logged_in(job))
        started = time.monotonic()
        deadline = Deadline(started + self._seconds, self._seconds)

        def result(outcome: Report | Failure) -> Result:
            seconds = round(time.monotonic() - started, 3)
            if isinstance(outcome, Failure):
                return Result(job.target, None, None, outcome, seconds)
            return Result(
                job.target,
                outcome.readings,
                outcome.collected_at,
                None,
                seconds,
                outcome.missing,
                outcome.clock_skew,
            )

        def late() -> float | None:
            if not (deadline.passed or self._ended.is_set()):
                impatient = started + PATIENCE
                if not session.phase.startswith(CONNECTING) and time.monotonic() < impatient:
                    return min(impatient, deadline.at)
                seat.give_up()
                return deadline.at
            seat.logged_in()
            try:
                if not self._ended.is_set() and seat.finish(late=True):
                    job.deliver(result(timed_out(self._seconds, session.phase).failure), None)
            finally:
                session.abort()
            return None

        report: Report | None = None
        outcome: Report | Failure
        with self._watchdog.watch(Deadline.after(min(CONNECT_PATIENCE, self._seconds)), late):
            try:
                outcome = report = job.measure(session, deadline, seat.logged_in)
            except HostFailed as error:
                outcome = error.failure
            except Exception as error:
                logger.exception("a bug, met at %s", job.target)
                outcome = Failure("local error", f"a bug: {one_line(repr(error))}")
        seat.logged_in()
        if seat.finish() and not self._ended.is_set():
            job.deliver(result(outcome), report)
        else:
            session.close()
        return not seat.given_up


class _Seat:
    """What a job under way holds: a place, and its subnet's, until it has logged in."""

    def __init__(self, replace: Callable[[], bool], leave_subnet: Callable[[], None]) -> None:
        self._replace = replace
        self._leave_subnet = leave_subnet
        self._lock = threading.Lock()
        self._logging_in = True
        self._finished = False
        self.given_up = False

    def logged_in(self) -> None:
        """Repeatable."""
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
