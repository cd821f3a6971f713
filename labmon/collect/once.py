"""Measure many machines at once. A machine that fails is a result; one that hangs delays no other."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from labmon.collect.counter_cache import CounterCache
from labmon.collect.deadline import Deadline
from labmon.collect.facts_cache import FactsCache
from labmon.collect.failures import HostFailed, one_line
from labmon.collect.pool.descriptors import room_for
from labmon.collect.pool.workers import MAX_THREADS, MeasuringJob, Pool
from labmon.collect.probe.parse import Report, parse
from labmon.collect.probe.script import END, request
from labmon.collect.result import Result as Result
from labmon.collect.result import Target as Target
from labmon.collect.ssh.connector import Connector
from labmon.config.tables import CollectConfig
from labmon.messages import utcnow

if TYPE_CHECKING:
    from labmon.collect.ssh.session import CommandResult, Session

TICK = 0.1
"""Seconds until the caller's `stop` is seen: an Event cannot be waited for together with a queue."""


def collect(
    targets: Iterable[Target],
    settings: CollectConfig,
    *,
    state_dir: Path,
    connector: Connector | None = None,
    stop: threading.Event | None = None,
    counters: CounterCache | None = None,
    facts: FactsCache | None = None,
) -> Iterator[Result]:
    """Measure every target once; results come in the order in which they are ready, one per target.

    Keys, password and host keys are read first, before any machine is contacted: raises ConfigError or
    PermissionNeeded then, and nothing later. The run ends within one deadline of the last start. Setting
    `stop`, or leaving the iterator, ends it at once; machines without a result by then have none. Rates are
    those since the last run where `counters` has it; this run is added to them, but they are not saved.
    A `connector` that was loaded before is used, and closed at the end, instead of a new one. `facts` says
    which machines are asked what they are, too.
    """
    targets = list(targets)
    if not targets:
        return iter(())
    connector = connector or Connector.load(settings, state_dir)
    caches = (counters or CounterCache(), facts or FactsCache())
    return _results(targets, settings, connector, stop or threading.Event(), *caches)


def _results(
    targets: list[Target],
    settings: CollectConfig,
    connector: Connector,
    stop: threading.Event,
    counters: CounterCache,
    facts: FactsCache,
) -> Iterator[Result]:
    done: SimpleQueue[Result] = SimpleQueue()
    pool = Pool(
        settings.concurrency,
        settings.deadline,
        per_subnet=settings.per_subnet,
        descriptors=room_for(min(len(targets), MAX_THREADS), least=min(len(targets), settings.concurrency)),
    )
    try:
        for target in targets:
            pool.put(_Once(target, connector, counters, facts, done.put))
        pool.start(len(targets))
        left = len(targets)
        while left and not stop.is_set():
            try:
                result = done.get(timeout=TICK)
            except Empty:
                continue
            left -= 1
            yield result
    finally:
        pool.close()
        connector.close()


class _Once(MeasuringJob):
    """One login, one round trip."""

    def __init__(
        self,
        target: Target,
        connector: Connector,
        counters: CounterCache,
        facts: FactsCache,
        done: Callable[[Result], None],
    ) -> None:
        super().__init__(target)
        self._connector = connector
        self._counters = counters
        self._facts = facts
        self._done = done

    def begin(self) -> "Session":
        return self._connector.session(self.target)

    def measure(self, session: "Session", deadline: Deadline, logged_in: Callable[[], None]) -> Report:
        try:
            session.open(deadline)
            logged_in()
            before = self._counters.of(self.target.key)
            since = before.boot_id if before else None
            asked = self._facts.due(self.target)
            output = session.run(*request(session.server, since=since, facts=asked), deadline, until=END)
            report = parse(whole(output), utcnow(), before)
            self._counters.keep(self.target.key, report)
            self._facts.measured(self.target, report)
            boot = report.sample.boot_id
            if not asked and (asked := self._facts.due(self.target, boot)):
                again = request(session.server, since=boot, facts=asked)
                return with_facts(report, session.run(*again, deadline, until=END))
            return report
        finally:
            session.close()

    def deliver(self, result: Result) -> None:
        self._done(result)


def with_facts(report: Report, output: "CommandResult") -> Report:
    """A report with the facts of another output, if these can be read."""
    with suppress(HostFailed):
        return replace(report, facts=parse(whole(output), utcnow(), report.sample).facts)
    return report


def whole(output: "CommandResult") -> bytes:
    """What the probe printed. Raises `HostFailed` when it ended in some other way."""
    if END not in output.stdout and output.status != 0:
        status = f"exit status {output.status}" if output.status is not None else "killed"
        words = one_line(output.stderr or output.stdout[-200:])
        raise HostFailed("probe failed", f"{status}: {words}" if words else status)
    return output.stdout
