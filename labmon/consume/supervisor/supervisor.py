"""Several worker processes: started, watched, replaced, and drained at the end.

The minimum number of processes is always running, each with a thread for every queue. A process that is added
for a deep queue serves that queue alone, and ends when it is no longer needed.
"""

import itertools
import logging
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from threading import Event

from labmon import backoff
from labmon.brokers.base import Depth
from labmon.consume.supervisor.autoscale import Autoscale
from labmon.consume.supervisor.heartbeat import WorkerJob, WorkerSettings
from labmon.consume.supervisor.process import Process
from labmon.consume.worker import Progress, State
from labmon.consume.worker_stats import ProcessInfo
from labmon.messages import utcnow

logger = logging.getLogger(__name__)

TICK = 0.2
"""Seconds between two checks of all processes."""

SILENT = 4.0
"""Seconds without a heartbeat after which a worker is shown as silent."""

STEADY = 60.0
"""Seconds. A process that lived this long is replaced without backoff when it dies."""


@dataclass
class Slot:
    """The slot of one worker process, and of its replacements when it has died."""

    number: int
    queues: list[str]
    is_extra: bool = False
    process: Process | None = None
    restarts: int = 0
    failures: int = 0  #: in a row
    due: float = 0.0  #: when the next process is started
    since: datetime = field(default_factory=utcnow)  #: when the process started, or the last one died
    leaving: bool = False
    past: Counter[tuple[str, str]] = field(default_factory=Counter)  #: counts of the processes before

    def progress(self) -> list[Progress]:
        """Of each worker of the running process."""
        process = self.process  # another thread may replace it at any time
        heartbeat = process.heartbeat if process else None
        return heartbeat.workers if heartbeat else []

    def info(self, now: float) -> ProcessInfo:
        """The process with its workers, as it is shown to users."""
        process, workers = self.process, self.progress()
        if process is None or not workers:
            state = State.starting if process else State.down
            workers = [Progress(queue, state, self.since) for queue in self.queues]
        elif process.silent_for(now) > SILENT:
            workers = [replace(one, state=State.silent) for one in workers]
        pid = process.pid if process else None
        rss = process.heartbeat.rss if process and process.heartbeat else None
        return ProcessInfo(self.number, pid, rss, self.restarts, workers)


class Supervisor:
    """Keeps worker processes running until stopped, or, with `until_empty`, until the queues are empty.

    `depths` returns the queue depths known at the moment; {} while none are.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        queues: Sequence[str],
        stop: Event,
        depths: Callable[[], Mapping[str, Depth]],
        *,
        until_empty: bool = False,
    ) -> None:
        self._worker_settings = settings
        self._settings = settings.ingest.consume
        self._queues = list(queues)
        self._stop = stop
        self._depths = depths
        self._until_empty = until_empty
        self._scaling = Autoscale(self._settings, settings.ingest.queue.depth_warning)
        self._numbers = itertools.count(1)
        self._tally: Counter[tuple[str, str]] = Counter()
        self._checked = 0.0
        self.slots = [Slot(next(self._numbers), self._queues) for _ in range(self._settings.workers.least)]

    def run(self, on_tick: Callable[[], None] = lambda: None) -> None:
        """Run until the end; `on_tick` is called a few times a second.

        Raises the error of a worker for which trying again does not help, after the others were drained.
        """
        try:
            self._checked = time.monotonic()
            while self.slots and not self._stop.is_set():
                self._tick(time.monotonic())
                on_tick()
                self._stop.wait(TICK)
        finally:
            self._drain_all(on_tick)

    def processes(self) -> list[ProcessInfo]:
        """The processes at this moment. For any thread."""
        now = time.monotonic()
        return [slot.info(now) for slot in list(self.slots)]

    def tally(self) -> dict[str, tuple[int, int]]:
        """How many messages were stored and how many rejected, by queue, ended processes included."""
        total = self._tally.copy()
        for slot in self.slots:
            total += slot.past + _counts(slot)
        return {queue: (total[queue, "stored"], total[queue, "rejected"]) for queue in self._queues}

    def _tick(self, now: float) -> None:
        if now - self._checked > self._settings.stuck_after / 3:
            for slot in self.slots:  # we ourselves were stopped
                if slot.process:
                    slot.process.reset_heartbeat()
        self._checked = now
        for slot in list(self.slots):
            self._check(slot, now)
        if not self._until_empty:
            self._scale(now)

    def _check(self, slot: Slot, now: float) -> None:
        process = slot.process
        if process is None:
            if now >= slot.due:
                self._start(slot, now)
        elif process.has_ended:
            self._reap(slot, process, now)
        elif process.is_killed:
            pass
        elif process.silent_for(now) > self._settings.stuck_after:
            logger.warning(
                "worker %d: process %d sent no heartbeat for %.0f s; killed",
                *(slot.number, process.pid, process.silent_for(now)),
            )
            process.kill()
        elif process.draining_since is not None:
            if now - process.draining_since > self._settings.grace:
                logger.warning("worker %d: not done within the grace time; killed", slot.number)
                process.kill()
        elif (limit := self._settings.max_memory) and process.heartbeat and process.heartbeat.rss > limit:
            if _counts(slot).total():  # before its first batch a new one would be no smaller
                logger.warning(
                    "worker %d: %d MiB are over the limit of %d MiB; replaced after its batch",
                    *(slot.number, process.heartbeat.rss >> 20, limit >> 20),
                )
                process.drain()

    def _start(self, slot: Slot, now: float) -> None:
        slot.since = utcnow()
        try:
            slot.process = Process(WorkerJob(self._worker_settings, slot.queues, self._until_empty))
        except OSError as error:
            wait = self._schedule(slot, now, 0.0)
            logger.warning("worker %d: cannot be started: %s; again in %.1f s", slot.number, error, wait)
        else:
            logger.info("worker %d: started as process %d", slot.number, slot.process.pid)

    def _reap(self, slot: Slot, process: Process, now: float) -> None:
        slot.past += _counts(slot)
        slot.process, slot.since = None, utcnow()
        if process.heartbeat and process.heartbeat.error:
            raise process.heartbeat.error
        if slot.leaving or (self._until_empty and process.exit_code == 0):
            self.slots.remove(slot)
            self._tally += slot.past
            return
        slot.restarts += 1
        wait = self._schedule(slot, now, now - process.started)
        if process.draining_since is None:  # else it was asked to
            logger.warning(
                "worker %d: process %d %s; replaced in %.1f s",
                *(slot.number, process.pid, _ending(process.exit_code), wait),
            )

    @staticmethod
    def _schedule(slot: Slot, now: float, lived: float) -> float:
        """Seconds until the slot gets its next process, with backoff while its processes die young."""
        slot.failures = 1 if lived > STEADY else slot.failures + 1
        wait = backoff.delay(slot.failures)
        slot.due = now + wait
        return wait

    def _scale(self, now: float) -> None:
        # Another worker does not help a queue that is deep because the database is away.
        able = {one.queue for slot in self.slots for one in slot.progress() if not one.state.is_outage}
        depths = {queue: depth for queue, depth in self._depths().items() if queue in able}
        staying = [slot for slot in self.slots if not slot.leaving]
        extra = Counter(slot.queues[0] for slot in staying if slot.is_extra)
        for queue in self._scaling.wanted(depths, self._settings.workers.most - len(staying), now):
            slot = Slot(next(self._numbers), [queue], is_extra=True)
            self.slots.append(slot)
            logger.warning(
                "%s: %d messages are waiting; worker %d helps", queue, depths[queue].ready, slot.number
            )
        for queue in self._scaling.spare(depths, extra, now):
            slot = next(one for one in reversed(staying) if one.is_extra and one.queues == [queue])
            logger.warning("%s: worker %d is not needed any more", queue, slot.number)
            self._dismiss(slot)

    def _dismiss(self, slot: Slot) -> None:
        slot.leaving = True
        if slot.process:
            slot.process.drain()
        else:
            self.slots.remove(slot)
            self._tally += slot.past

    def _drain_all(self, on_tick: Callable[[], None]) -> None:
        for slot in self.slots:
            if slot.process:
                slot.process.drain()
        running = [slot for slot in self.slots if slot.process]
        deadline = time.monotonic() + self._settings.grace
        while running and time.monotonic() < deadline:
            running = [slot for slot in running if slot.process and not slot.process.has_ended]
            on_tick()
            time.sleep(TICK / 4)
        for slot in running:
            assert slot.process is not None
            logger.warning("worker %d: not done within the grace time; killed", slot.number)
            slot.process.kill()
        for slot in running:
            while slot.process and not slot.process.has_ended:
                time.sleep(TICK / 4)


def _counts(slot: Slot) -> Counter[tuple[str, str]]:
    counts: Counter[tuple[str, str]] = Counter()
    for one in slot.progress():
        counts[one.queue, "stored"] += one.stored
        counts[one.queue, "rejected"] += one.rejected
    return counts


def _ending(code: int | None) -> str:
    if code is None or code >= 0:
        return f"ended with {code}"
    names = {number.value: number.name for number in signal.Signals}
    return f"was killed by {names.get(-code, f'signal {-code}')}"
