"""Measure many machines at once. A machine that fails is a result; one that hangs delays no other."""

import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from labmon import config
from labmon.collect.access import Access
from labmon.collect.deadline import Deadline
from labmon.collect.descriptors import room_for
from labmon.collect.failures import HostFailed, one_line
from labmon.collect.memory import Memory
from labmon.collect.parse import Report, parse
from labmon.collect.pool import MOST, Job, Pool
from labmon.collect.probe import END, request
from labmon.collect.result import Result as Result
from labmon.collect.result import Target as Target
from labmon.messages import utcnow

if TYPE_CHECKING:
    from labmon.collect.ssh import Output, Session

TICK = 0.1
"""Seconds. How soon the caller's `stop` is seen: an Event cannot be waited for together with a queue."""


def collect(
    targets: Iterable[Target],
    settings: config.Collect,
    *,
    state_dir: Path,
    stop: threading.Event | None = None,
    memory: Memory | None = None,
) -> Iterator[Result]:
    """Measure every target once; results come in the order in which they are ready, one per target.

    Keys, password and host keys are read first, before any machine is contacted: raises ConfigError or
    PermissionNeeded then, and nothing later. The run ends within one deadline of the last start. Setting
    `stop`, or leaving the iterator, ends it at once; machines without a result by then have none. Rates are
    those since the last run where `memory` knows of it, and it is told of this one, but not saved.
    """
    targets = list(targets)
    if not targets:
        return iter(())
    access = Access.load(settings, state_dir)
    return _results(targets, settings, access, stop or threading.Event(), memory or Memory())


def _results(
    targets: list[Target],
    settings: config.Collect,
    access: Access,
    stop: threading.Event,
    memory: Memory,
) -> Iterator[Result]:
    done: SimpleQueue[Result] = SimpleQueue()
    pool = Pool(
        settings.concurrency,
        settings.deadline,
        per_subnet=settings.per_subnet,
        descriptors=room_for(min(len(targets), MOST), least=min(len(targets), settings.concurrency)),
    )
    try:
        for target in targets:
            pool.put(_Once(target, access, memory, done.put))
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
        access.close()


class _Once(Job):
    """One login, one round trip."""

    def __init__(
        self,
        target: Target,
        access: Access,
        memory: Memory,
        done: Callable[[Result], None],
    ) -> None:
        super().__init__(target)
        self._access = access
        self._memory = memory
        self._done = done

    def begin(self) -> "Session":
        return self._access.session(self.target)

    def measure(self, session: "Session", deadline: Deadline, logged_in: Callable[[], None]) -> Report:
        try:
            session.open(deadline)
            logged_in()
            before = self._memory.of(self.target.key)
            since = before.boot_id if before else None
            output = session.run(*request(session.server, since=since), deadline, until=END)
            return parse(whole(output), utcnow(), before)
        finally:
            session.close()

    def deliver(self, result: Result, report: Report | None) -> None:
        if report is not None:
            self._memory.keep(self.target.key, report)
        self._done(result)


def whole(output: "Output") -> bytes:
    """What the probe printed. Raises `HostFailed` when it ended in some other way."""
    if END not in output.stdout and output.status != 0:
        status = f"exit status {output.status}" if output.status is not None else "killed"
        said = one_line(output.stderr or output.stdout[-200:])
        raise HostFailed("probe failed", f"{status}: {said}" if said else status)
    return output.stdout
