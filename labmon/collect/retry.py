"""Machines that failed are retried with exponential backoff, and never given up.

The first failure leaves a machine out for `retry_first`, each further one for twice as long, up to
`retry_max`; each time a random quarter less, so that those which failed together drift apart. A machine is
retried at once, and its backoff starts again, when

* it answers, or the store has a newer sign of life (a scan, another collector);
* anything that its connection is made of is another than when it failed: account, keys and password,
  address and port, the bastions, the ssh_config's word on it, its pinned or known host key
  (`ConnectionPlan.fingerprint`);
* the user wants it (`--retry-all`, or the machine was named).

When a machine that was offline is back, those of its lab which are offline too are tried in the next round:
labs are switched on together.

What that costs and brings, with the defaults (1 and 30 minutes, deadline 20 s, 64 at a time):

* A machine that is off costs a thread and a socket for a whole deadline, and a slot in the pool for a tenth
  of a second (`pool`). Tried every 26 minutes on average, 13 of 1,000 wait at any time; tried every minute,
  333 would.
* A machine that is switched on alone is measured 13 minutes later on average, 30 at most. In a lab of 30 that
  is switched on at once, one is tried within 1 minute on average (30 / 31), and the others follow in the
  next round. A scan sees them all at once, whenever it runs.
"""

import logging
import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple, Self

import msgspec
from msgspec import Struct

from labmon import backoff, files
from labmon.collect.failures import one_line
from labmon.collect.result import Result, Target
from labmon.config.tables import CollectConfig
from labmon.fleet import Fleet, Machine
from labmon.messages import LINE, Status, SystemStatus

logger = logging.getLogger(__name__)

JITTER = 0.25
"""The part of an interval that chance may take away. Less than half, so that intervals grow all the same."""

REFRESH = timedelta(hours=1)
"""A status that has not changed is reported again after this time: a message may have been lost."""


class Due(NamedTuple):
    """Some machines, sorted by when they are to be tried."""

    now: list[Machine]
    later: int
    next_at: datetime | None  #: when the first of those left for later is due


class _Entry(Struct, omit_defaults=True):
    """A machine that failed the last time."""

    status: Status
    error: str
    since: datetime
    failed_at: datetime
    due_at: datetime
    failures: int = 1  #: since the backoff started
    seen_at: datetime | None = None  #: the newest sign of life that was known then
    reported_at: datetime | None = None
    login: str = ""  #: the fingerprint of the connection that failed


class _File(Struct, omit_defaults=True):
    """What is kept: machines by number, and the database whose numbers these are, see `Fleet`."""

    inventory: str = ""
    failed: dict[int, _Entry] = msgspec.field(default_factory=dict)


class RetrySchedule:
    """Which machines failed and when each is retried, kept in a small file.

    `update` with the inventory, ask which are `due`, `record` each result, `save`; leaving the block saves,
    too. Times are the caller's. The file holds failing machines. Several processes may use it, each for
    machines of its own: saving writes what changed here, and keeps what others wrote meanwhile, unless that
    is about another database.
    """

    def __init__(
        self,
        path: Path,
        settings: CollectConfig,
        fingerprint: Callable[[Target], str],
        *,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        """A file that cannot be read is as good as none: then every machine is tried. `fingerprint` is
        `Connector.fingerprint`; it is asked for machines that fail."""
        self._path = path
        self._first = float(settings.retry_first)
        self._longest = timedelta(seconds=settings.retry_max)
        self._port = settings.port
        self._fingerprint = fingerprint
        self._uniform = uniform
        kept = _read(path)
        self._inventory, self._failed = kept.inventory, kept.failed
        self._touched: set[int] = set()  #: those to be written
        self._seen: dict[int, datetime | None] = {}
        self._place: dict[int, str] = {}
        self._neighbours: defaultdict[str, list[int]] = defaultdict(list)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.save()

    def __len__(self) -> int:
        """How many failed the last time they were tried."""
        return len(self._failed)

    def update(self, fleet: Fleet) -> None:
        """Take in the inventory: machines no longer in it are dropped, those seen since they failed are
        due."""
        machines = {one.system_id: one for one in fleet.machines if one.system_id is not None}
        if fleet.inventory != self._inventory:
            if self._failed:
                logger.info("%s: of another database, so it is started anew", self._path)
            self._inventory = fleet.inventory
            self._failed.clear()
        self._touched.update(self._failed.keys() - machines.keys())
        self._failed = {number: entry for number, entry in self._failed.items() if number in machines}
        self._seen = {number: one.seen_at for number, one in machines.items()}
        self._place = {number: machines[number].neighbourhood for number in self._failed}
        self._neighbours.clear()
        for number, place in self._place.items():
            self._neighbours[place].append(number)
        for number, entry in self._failed.items():
            seen_at = machines[number].seen_at
            # Newer than what was known before, too: another computer's clock may be ahead of ours.
            if seen_at and (entry.seen_at is None or seen_at > entry.seen_at):
                if seen_at > entry.failed_at:
                    entry.reported_at = None  # the store may believe that all is well
                    self._reset(number)
                entry.seen_at = seen_at
                self._touched.add(number)

    def due(self, machines: Iterable[Machine], now: datetime) -> Due:
        """Sort out which are to be tried now. Machines that the inventory does not know always are."""
        tried, waits = [], []
        for one in machines:
            entry = self._failed.get(one.system_id) if one.system_id is not None else None
            until = self._due_at(entry) if entry else now
            # A clock that was set back makes no machine wait for it.
            if (
                entry is None
                or until <= now
                or now < entry.failed_at
                or entry.login != self._fingerprint(Target.of(one, self._port, self._inventory))
            ):
                tried.append(one)
            else:
                waits.append(until)
        return Due(tried, len(waits), min(waits, default=None))

    def has_failed(self, machine: Machine) -> bool:
        """True when it failed the last time it was tried."""
        return machine.system_id in self._failed

    def retry(self, machines: Iterable[Machine]) -> None:
        """Make them due, and start their backoff again."""
        for one in machines:
            if one.system_id is not None and one.system_id in self._failed:
                self._reset(one.system_id)

    def record(self, result: Result, now: datetime) -> SystemStatus | None:
        """Take in the result of a machine. Returns the status for the store, if it is new."""
        number = result.target.system_id
        if number is None:
            return None
        if result.failure is None:
            return self._recovered(number, now)
        status = result.failure.status
        if status is None:  # our own fault: it is retried as if it had not been tried
            return None
        error = one_line(str(result.failure), LINE).encode("utf-8", "replace").decode()
        before = self._failed.get(number)
        login = self._fingerprint(result.target)
        is_first = before is None or before.login != login
        failures = 1 if before is None or is_first else before.failures + 1
        self._touched.add(number)
        entry = self._failed[number] = _Entry(
            status=status,
            error=error,
            since=before.since if before and before.status == status else now,
            failed_at=now,
            due_at=now + self._interval(failures),
            failures=failures,
            seen_at=before.seen_at if before else self._seen.get(number),
            reported_at=before.reported_at if before else None,
            login=login,
        )
        same = before and (before.status, before.error) == (status, error)
        if same and entry.reported_at and timedelta(0) <= now - entry.reported_at < REFRESH:
            return None
        entry.reported_at = now
        return SystemStatus(
            system_id=number, status=status, since=entry.since, checked_at=now, error=entry.error
        )

    def save(self) -> None:
        """Keep it for the next run. A disk that takes nothing is logged; then more is tried than need be."""
        if not self._touched:
            return
        with files.locked(self._path):
            kept = _read(self._path)
            if kept.inventory != self._inventory:
                kept = _File(self._inventory)
            for number in self._touched:
                kept.failed.pop(number, None)
                if number in self._failed:
                    kept.failed[number] = self._failed[number]
            if files.replace(self._path, msgspec.json.encode(kept)):
                self._touched.clear()

    def _recovered(self, number: int, now: datetime) -> SystemStatus | None:
        entry = self._failed.pop(number, None)
        if entry is None:
            return None
        self._touched.add(number)
        if entry.status == "offline":
            for neighbour in self._neighbours.get(self._place.get(number, ""), ()):
                other = self._failed.get(neighbour)
                if other and other.status == "offline":
                    other.due_at = min(other.due_at, now)
                    self._touched.add(neighbour)
        return SystemStatus(system_id=number, status="active", since=now, checked_at=now)

    def _interval(self, failures: int) -> timedelta:
        seconds = backoff.delay(
            failures,
            first=self._first,
            longest=self._longest.total_seconds(),
            jitter=JITTER,
            uniform=self._uniform,
        )
        return timedelta(seconds=seconds)

    def _due_at(self, entry: _Entry) -> datetime:
        """Also where `retry_max` was longer when it was written."""
        return min(entry.due_at, entry.failed_at + self._longest)

    def _reset(self, number: int) -> None:
        entry = self._failed[number]
        entry.failures = 0
        entry.due_at = entry.failed_at
        self._touched.add(number)


def _read(path: Path) -> _File:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_File)
    except FileNotFoundError:
        return _File()
    except (OSError, msgspec.MsgspecError, ValueError) as error:
        logger.warning("%s: cannot be read: %s", path, error)
        return _File()
