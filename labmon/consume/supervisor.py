"""Several worker processes: started, watched, replaced, and drained at the end.

Each of the least number of processes serves all the queues, a thread for each, so every queue always has as
many. One that is added for a queue that is deep serves that one alone, and goes again when it is not needed.
"""

import itertools
import logging
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from threading import Event

from labmon.brokers.base import Depth
from labmon.config import Config
from labmon.consume.beat import Job
from labmon.consume.process import Process
from labmon.consume.register import Member
from labmon.consume.scaling import Scaling
from labmon.consume.worker import Progress, State
from labmon.messages import utcnow

logger = logging.getLogger(__name__)

TICK = 0.2
"""Seconds between two looks at everything."""

SILENT = 4.0
"""Seconds without a beat after which a worker is shown as silent."""

STEADY = 60.0
"""Seconds after which a worker that dies is not taken for one that cannot live: it is replaced soon."""


@dataclass
class Place:
    """One of the worker processes, and those that come after it when it has died."""

    number: int
    queues: list[str]
    is_extra: bool = False
    process: Process | None = None
    restarts: int = 0
    failures: int = 0  #: in a row
    due: float = 0.0  #: when the next is started
    since: datetime = field(default_factory=utcnow)  #: when the process started, or the last one died
    leaving: bool = False
    past: Counter[tuple[str, str]] = field(default_factory=Counter)  #: what those before it did

    def progress(self) -> list[Progress]:
        """Of each worker of the process that runs."""
        process = self.process  # another thread may replace it at any time
        beat = process.beat if process else None
        return beat.workers if beat else []

    def member(self, now: float) -> Member:
        """The same, as others should see it."""
        process, workers = self.process, self.progress()
        if process is None or not workers:
            state = State.starting if process else State.down
            workers = [Progress(queue, state, self.since) for queue in self.queues]
        elif process.silent_for(now) > SILENT:
            workers = [replace(one, state=State.silent) for one in workers]
        pid = process.pid if process else None
        rss = process.beat.rss if process and process.beat else None
        return Member(self.number, pid, rss, self.restarts, workers)


class Supervisor:
    """Runs until stopped, or, with `until_empty`, until the queues are empty.

    `depths` is asked for what is known of the queues; {} while nothing is.
    """

    def __init__(
        self,
        config: Config,
        queues: Sequence[str],
        stop: Event,
        depths: Callable[[], Mapping[str, Depth]],
        *,
        until_empty: bool = False,
    ) -> None:
        self._config = config
        self._settings = config.consume
        self._queues = list(queues)
        self._stop = stop
        self._depths = depths
        self._until_empty = until_empty
        self._scaling = Scaling(config)
        self._numbers = itertools.count(1)
        self._tally: Counter[tuple[str, str]] = Counter()
        self._looked = 0.0
        self.places = [Place(next(self._numbers), self._queues) for _ in range(self._settings.workers.least)]

    def run(self, look: Callable[[], None] = lambda: None) -> None:
        """Work. `look` is called at every tick. Raises what a worker ends with where trying again will not
        help; the others have been drained then."""
        try:
            self._looked = time.monotonic()
            while self.places and not self._stop.is_set():
                self._tick(time.monotonic())
                look()
                self._stop.wait(TICK)
        finally:
            self._drain_all(look)

    def members(self) -> list[Member]:
        """The processes at this moment. For any thread."""
        now = time.monotonic()
        return [place.member(now) for place in list(self.places)]

    def tally(self) -> dict[str, tuple[int, int]]:
        """What was stored and what was rejected, by queue, by those that are gone too."""
        total = self._tally.copy()
        for place in self.places:
            total += place.past + _counts(place)
        return {queue: (total[queue, "stored"], total[queue, "rejected"]) for queue in self._queues}

    def _tick(self, now: float) -> None:
        if now - self._looked > self._settings.stuck_after / 3:
            for place in self.places:  # it was ourselves who stood still
                if place.process:
                    place.process.excuse()
        self._looked = now
        for place in list(self.places):
            self._look_after(place, now)
        if not self._until_empty:
            self._scale(now)

    def _look_after(self, place: Place, now: float) -> None:
        process = place.process
        if process is None:
            if now >= place.due:
                self._start(place, now)
        elif process.has_ended:
            self._bury(place, process, now)
        elif process.is_killed:
            pass
        elif process.silent_for(now) > self._settings.stuck_after:
            logger.warning(
                "worker %d: process %d has said nothing for %.0f s; killed",
                *(place.number, process.pid, process.silent_for(now)),
            )
            process.kill()
        elif process.draining_since is not None:
            if now - process.draining_since > self._settings.grace:
                logger.warning("worker %d: not done within the grace time; killed", place.number)
                process.kill()
        elif (limit := self._settings.max_memory) and process.beat and process.beat.rss > limit:
            if _counts(place).total():  # before its first batch the next one would be no smaller
                logger.warning(
                    "worker %d: %d MiB are over the limit of %d MiB; replaced after its batch",
                    *(place.number, process.beat.rss >> 20, limit >> 20),
                )
                process.drain()

    def _start(self, place: Place, now: float) -> None:
        place.since = utcnow()
        try:
            place.process = Process(Job(self._config, place.queues, self._until_empty))
        except OSError as error:
            wait = self._next_in(place, now, 0.0)
            logger.warning("worker %d: cannot be started: %s; again in %.1f s", place.number, error, wait)
        else:
            logger.info("worker %d: started as process %d", place.number, place.process.pid)

    def _bury(self, place: Place, process: Process, now: float) -> None:
        place.past += _counts(place)
        place.process, place.since = None, utcnow()
        if process.beat and process.beat.error:
            raise process.beat.error
        if place.leaving or (self._until_empty and process.exit_code == 0):
            self.places.remove(place)
            self._tally += place.past
            return
        place.restarts += 1
        wait = self._next_in(place, now, now - process.started)
        if process.draining_since is None:  # else it was asked to
            logger.warning(
                "worker %d: process %d %s; replaced in %.1f s",
                *(place.number, process.pid, _ending(process.exit_code), wait),
            )

    @staticmethod
    def _next_in(place: Place, now: float, lived: float) -> float:
        """Seconds until the place gets its next process: the more, the shorter the last ones have lived."""
        place.failures = 1 if lived > STEADY else place.failures + 1
        wait = random.uniform(0.5, 1) * min(30.0, 0.5 * 2.0 ** min(place.failures - 1, 10))
        place.due = now + wait
        return wait

    def _scale(self, now: float) -> None:
        # What is deep because the database is away gets no shallower by another that waits for it.
        able = {one.queue for place in self.places for one in place.progress() if not one.state.is_outage}
        depths = {queue: depth for queue, depth in self._depths().items() if queue in able}
        staying = [place for place in self.places if not place.leaving]
        extra = Counter(place.queues[0] for place in staying if place.is_extra)
        for queue in self._scaling.wanted(depths, self._settings.workers.most - len(staying), now):
            place = Place(next(self._numbers), [queue], is_extra=True)
            self.places.append(place)
            logger.warning(
                "%s: %d messages are waiting; worker %d helps", queue, depths[queue].ready, place.number
            )
        for queue in self._scaling.spare(depths, extra, now):
            place = next(one for one in reversed(staying) if one.is_extra and one.queues == [queue])
            logger.warning("%s: worker %d is not needed any more", queue, place.number)
            self._dismiss(place)

    def _dismiss(self, place: Place) -> None:
        place.leaving = True
        if place.process:
            place.process.drain()
        else:
            self.places.remove(place)
            self._tally += place.past

    def _drain_all(self, look: Callable[[], None]) -> None:
        for place in self.places:
            if place.process:
                place.process.drain()
        running = [place for place in self.places if place.process]
        deadline = time.monotonic() + self._settings.grace
        while running and time.monotonic() < deadline:
            running = [place for place in running if place.process and not place.process.has_ended]
            look()
            time.sleep(TICK / 4)
        for place in running:
            assert place.process is not None
            logger.warning("worker %d: not done within the grace time; killed", place.number)
            place.process.kill()
        for place in running:
            while place.process and not place.process.has_ended:
                time.sleep(TICK / 4)


def _counts(place: Place) -> Counter[tuple[str, str]]:
    counts: Counter[tuple[str, str]] = Counter()
    for one in place.progress():
        counts[one.queue, "stored"] += one.stored
        counts[one.queue, "rejected"] += one.rejected
    return counts


def _ending(code: int | None) -> str:
    if code is None or code >= 0:
        return f"ended with {code}"
    names = {number.value: number.name for number in signal.Signals}
    return f"was killed by {names.get(-code, f'signal {-code}')}"
