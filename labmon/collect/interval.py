"""Measure the same machines again and again, on sessions that stay open.

Each machine has its own moment in the interval, found from its name alone, so that a fleet is measured
evenly spread and each machine at equal distances. It is scheduled for its next moment when it is done with
the last: one that is slow misses some, and nothing ever piles up.

On an open session the probe runs as a loop, which prints another block when it is asked to, and ends with
its input when the session does. Where a forced command prints one block and ends, each round starts it anew,
which costs us a quarter more (3.0 ms instead of 2.4), and the machine a shell each time.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from labmon.collect.counter_cache import CounterCache
from labmon.collect.deadline import Deadline
from labmon.collect.facts_cache import FactsCache
from labmon.collect.failures import HostFailed
from labmon.collect.once import TICK, whole, with_facts
from labmon.collect.pool.descriptors import room_for
from labmon.collect.pool.workers import MeasuringJob, Pool
from labmon.collect.probe.parse import Report, parse
from labmon.collect.probe.script import END, NEXT, request
from labmon.collect.result import Result, Target
from labmon.collect.ssh.connector import Connector
from labmon.config.tables import CollectConfig
from labmon.messages import utcnow

if TYPE_CHECKING:
    from labmon.collect.ssh.session import Session

SPREAD = 0.5
"""The share of the interval over which a round is spread at most. The rest is for slow machines."""

MAX_SPREAD = 60.0
DISTANCE = 0.1
"""Seconds. A round is spread over no more than this times its machines."""

MAX_IDLE = 300.0
"""Seconds. Firewalls forget connections that are silent for minutes: over longer intervals none is kept."""


@dataclass(frozen=True)
class Round:
    """A round that is over: every machine is done, or the next round begins."""

    number: int
    measured: int
    failures: Counter[str]
    late: int  #: still under way
    seconds: float  #: from its beginning


@dataclass(eq=False)
class _Machine:
    """What is kept of a machine from one round to the next."""

    target: Target
    offset: float  #: its moment, in seconds from the beginning of a round
    keeps_session: bool
    due: float = 0.0
    has_result: bool = False  #: that has not been yielded yet
    session: "Session | None" = None
    gone: bool = False

    def drop(self) -> None:
        """End its session without waiting for anything."""
        session, self.session = self.session, None
        if session is not None:
            session.abort()


class IntervalCollector:
    """The machines, their sessions and the clock. `with IntervalCollector(...) as collector`, then `run` it.

    One thread calls its methods. Entering reads keys, password and host keys: raises ConfigError or
    PermissionNeeded then, and nothing later. Leaving drops every session, except after `abandon`.
    """

    def __init__(
        self,
        targets: Iterable[Target],
        settings: CollectConfig,
        *,
        every: float,
        state_dir: Path,
        connector: Connector | None = None,
        counters: CounterCache | None = None,
        facts: FactsCache | None = None,
    ) -> None:
        """`every` in seconds. Each round is added to `counters`, which are not saved. A `connector` that was
        loaded before is used, and closed at the end, instead of a new one. `facts` says which machines are
        asked what they are, too."""
        self._targets = list(targets)
        self._settings = settings
        self._every = every
        self._state_dir = state_dir
        self._loaded = connector
        self.counters = counters or CounterCache()
        self.facts = facts or FactsCache()
        self._machines: dict[str, _Machine] = {}
        self._done: SimpleQueue[tuple[int, _Machine, Result]] = SimpleQueue()
        self._abandoned = False

    def __enter__(self) -> "IntervalCollector":
        self.connector = self._loaded or Connector.load(self._settings, self._state_dir)
        self._started = time.monotonic()
        self._spread = min(SPREAD * self._every, MAX_SPREAD, DISTANCE * len(self._targets))
        self._wanted = max(len(self._targets), self._settings.concurrency)
        self._room = room_for(self._wanted)
        self._waiting: set[_Machine] = set()
        self._pool = Pool(
            self._settings.concurrency,
            min(self._settings.deadline, self._every),
            per_subnet=self._settings.per_subnet,
            descriptors=self._room,
        )
        self.update(self._targets)
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.close()
        if self._abandoned:
            return
        for machine in self._machines.values():
            machine.drop()
        self.connector.close()

    def abandon(self) -> None:
        """Leave the sessions to the end of the process, which is near.

        Closed one by one, each wakes a thread of ours and the processes at its other end. With those on the
        same computer, a thousand took 1.7 s, of which 0.2 s were ours.
        """
        self._abandoned = True

    def update(self, targets: Iterable[Target]) -> None:
        """Measure these from now on. Those that were there before keep their sessions."""
        wanted = {target.key: target for target in targets}
        for key in self._machines.keys() - wanted.keys():
            self._forget(key)
        if len(wanted) > self._wanted:
            self._wanted = len(wanted)
            self._room = room_for(self._wanted)
        kept = self._room
        if self._room < len(wanted):
            kept -= min(kept, self._settings.concurrency)  # for those whose session is not kept
        if self._every > MAX_IDLE:
            kept = 0
        for key, target in wanted.items():
            known = self._machines.get(key)
            if known is not None and (known.target.address, known.target.port) == (
                target.address,
                target.port,
            ):
                known.target = target  # its name may be another
                continue
            if known is not None:
                self._forget(key)
            machine = _Machine(target, offset(key) * self._spread, keeps_session=len(self._machines) < kept)
            self._machines[key] = machine
            self.schedule(machine)

    def run(self, stop: threading.Event) -> Iterator[Result | Round | None]:
        """Results as they come, each round at its end, and None every `TICK`, until `stop` is set."""
        self._pool.start()
        number = 0
        early: tuple[int, _Machine, Result] | None = None  # of a round that begins with it
        while not stop.is_set():
            begins = self._started + number * self._every
            ends = begins + self._every
            self._waiting = {one for one in self._machines.values() if one.due < ends or one.has_result}
            measured, failures, over = 0, Counter[str](), False
            while not stop.is_set():
                left = ends - time.monotonic()
                try:
                    early = early or self._done.get(timeout=max(0.0, min(TICK, left)))
                except Empty:
                    if left <= 0:
                        break
                    yield None
                    continue
                if early[0] > number:
                    break
                (_, machine, result), early = early, None
                machine.has_result = False
                yield result
                measured += result.failure is None
                if result.failure:
                    failures[result.failure.reason] += 1
                self._waiting.discard(machine)
                if not (self._waiting or over):
                    over = True
                    yield Round(number, measured, failures, 0, time.monotonic() - begins)
            if not (over or stop.is_set()):
                late = len(self._waiting)
                yield Round(number, measured, failures, late, time.monotonic() - begins)
            number = max(number + 1, int((time.monotonic() - self._started) // self._every))

    def deliver(self, number: int, machine: _Machine, result: Result) -> None:
        """Take a result of a round from the pool, and schedule the machine for its next moment."""
        if result.failure:
            machine.session = None
        if machine.gone:
            machine.drop()  # it may have been opened a moment too late
        else:
            machine.has_result = True
            self.schedule(machine)
            self._done.put((number, machine, result))

    def schedule(self, machine: _Machine) -> None:
        """Put it into the pool for its next moment."""
        first = self._started + machine.offset
        number = max(0, int((time.monotonic() - first) // self._every) + 1)
        machine.due = first + number * self._every
        self._pool.put(_Visit(self, machine, number), machine.due)

    def _forget(self, key: str) -> None:
        machine = self._machines.pop(key)
        self._waiting.discard(machine)
        machine.gone = True
        machine.drop()


class _Visit(MeasuringJob):
    """One machine in one round."""

    def __init__(self, collector: IntervalCollector, machine: _Machine, number: int) -> None:
        super().__init__(machine.target)
        self._number = number
        self._collector = collector
        self._machine = machine

    @property
    def is_wanted(self) -> bool:
        return not self._machine.gone

    def begin(self) -> "Session":
        if self._machine.session is None:
            self._machine.session = self._collector.connector.session(self.target)
        return self._machine.session

    def measure(self, session: "Session", deadline: Deadline, logged_in: Callable[[], None]) -> Report:
        counters, facts, key = self._collector.counters, self._collector.facts, self.target.key
        kept = False
        try:
            asked = facts.due(self.target)  # for which the loop is started anew, with another script
            talks = session.is_talking and not asked
            output = self._next_block(session, deadline, logged_in) if talks else None
            before = counters.of(key)
            if output is None:
                if not session.alive:
                    session.close()
                    session.open(deadline)
                logged_in()
                since = before.boot_id if before else None
                probe = request(session.server, since=since, loop=True, facts=asked)
                output = whole(session.start(*probe, deadline, until=END))
            report = parse(output, utcnow(), before)
            counters.keep(key, report)
            facts.measured(self.target, report)
            boot = report.sample.boot_id
            if not asked and (asked := facts.due(self.target, boot)):
                again = request(session.server, since=boot, loop=True, facts=asked)
                report = with_facts(report, session.start(*again, deadline, until=END))
            kept = self._machine.keeps_session
            return report
        finally:
            if not kept:
                session.close()

    def _next_block(
        self, session: "Session", deadline: Deadline, logged_in: Callable[[], None]
    ) -> bytes | None:
        """Another block of the loop. None when the loop turns out to be gone: it may be started anew."""
        logged_in()
        try:
            output = session.ask(NEXT, deadline, until=END).stdout
        except HostFailed as error:
            if error.failure.reason not in ("connection lost", "unreachable"):  # to its bastion
                raise
            return None
        return output if END in output else None

    def deliver(self, result: Result) -> None:
        self._collector.deliver(self._number, self._machine, result)


def offset(key: str) -> float:
    """A machine's moment in the round, 0 to 1: the same on every day and every computer."""
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest()) / 2**64
