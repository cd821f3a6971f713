"""The use case of `labmon scan`: ask a range, store the machines that answer, and report what changed."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from labmon.app import address_lock
from labmon.app.fleet import known_database
from labmon.app.inventory import life
from labmon.app.open import open_sink, open_store
from labmon.app.scan import range
from labmon.config.tables import Config
from labmon.errors import UsageError
from labmon.messages import ScanFinished, new_scan_id, utcnow
from labmon.scan.host import Host
from labmon.scan.progress import Progress
from labmon.scan.sweep import Method, Sweep
from labmon.scan.targets.address import order
from labmon.scan.targets.target_set import Targets
from labmon.scan.unproven import UnprovenAnswers, describe
from labmon.sinks.base import NullSink, Sink

if TYPE_CHECKING:
    from labmon.store.inventory.history import Change
    from labmon.store.inventory.scans import ScanRecord
    from labmon.store.pool import Store

CHANGES = ("found", "moved", "gone", "shared", "unshared", "answered")
"""Kinds of changes that a scan reports."""


@dataclass(frozen=True)
class ScanRequest:
    """What to scan, and how."""

    dept: int
    targets: tuple[str, ...] = ()  #: as typed; empty: the department's subnets
    exclude: tuple[str, ...] = ()
    method: Method = "auto"
    force: bool = False  #: large ranges, others' networks, and answers that prove no machine
    dry_run: bool = False  #: store nothing
    new_as: Literal["active", "quarantine"] | None = None  #: None: as the department says


@dataclass(frozen=True)
class ScanChanges:
    """What a stored scan has changed."""

    record: "ScanRecord"
    before: datetime | None  #: when the last whole scan of this range began
    changes: "list[Change]"
    waiting: int = 0  #: systems of the department in quarantine


@dataclass
class ScanResult:
    """What a scan found, and what became of it."""

    targets: Targets
    hosts: list[Host]  #: by address
    started_at: datetime
    finished_at: datetime
    interrupted: bool = False
    notes: list[str] = field(default_factory=list)  #: what the user should know, a line each
    unproven: str = ""  #: about answers that prove no machine and were left out; a line, or empty
    link_local: int = 0  #: hosts not stored, since their address means nothing on another machine
    rejected: int = 0  #: messages that could not be stored
    sink: Sink = field(default_factory=NullSink)
    changes: ScanChanges | None = None  #: where the scan was stored directly


class Scan:
    """One scan, opened by `open_scan`. Set `stop` to end it early; what was found by then is kept.

    `progress` and `hosts` may be read by other threads while it runs.
    """

    def __init__(
        self,
        config: Config,
        request: ScanRequest,
        targets: Targets,
        store: "Store | None",
        notice: Callable[[str], None],
    ) -> None:
        self.stop = threading.Event()
        self.hosts: list[Host] = []
        self._config = config
        self._request = request
        self._targets = targets
        self._store = store
        self._notice = notice
        known = range.known(config.state.path, store, targets) if targets.on_link else []
        self._sweep = Sweep(targets, config.scan, method=request.method, stop=self.stop, known=known)
        self._unproven = UnprovenAnswers()
        self._scan_id = new_scan_id()

    @property
    def progress(self) -> Progress:
        """Live counters of the sweep."""
        return self._sweep.progress

    def run(self) -> ScanResult:
        """Scan, and send each host to the sink as soon as it is complete. Raises LabmonError."""
        dry_run = self._request.dry_run
        opened: AbstractContextManager[Sink] = (
            nullcontext(NullSink())
            if dry_run
            else open_sink(
                self._config,
                self._store,
                notice=self._notice,
                database=known_database(self._config.state.path),
            )
        )
        with opened as sink:
            started_at = utcnow()
            for host in self._sweep:
                self.hosts.append(host)
                if self._request.force or not self._unproven.holds(host):
                    self._send(host, sink)
            left_out = self._unproven.judge(self._targets.spans)
            unproven = {host.address for host in left_out}
            for host in self._unproven.hosts.values():
                if host.address not in unproven:
                    self._send(host, sink)
            finished_at = utcnow()
            self.hosts[:] = [host for host in self.hosts if host.address not in unproven]
            sink.send(self._finished(started_at, finished_at, unproven))
        result = ScanResult(
            self._targets,
            sorted(self.hosts, key=lambda host: order(host.address)),
            started_at,
            finished_at,
            interrupted=self.stop.is_set(),
            notes=self._sweep.notes,
            unproven=describe(left_out) if left_out else "",
            link_local=sum(bool(host.zone) for host in self.hosts),
            rejected=sink.rejected,
            sink=sink,
        )
        if self._store and not (dry_run or self._config.queue.enabled or sink.spooled):
            result.changes = self._changes(self._store)
        return result

    def _send(self, host: Host, sink: Sink) -> None:
        if not host.zone:
            waits = self._request.new_as == "quarantine"
            sink.send(host.discovery(self._scan_id, self._request.dept, waits=waits))

    def _finished(self, started_at: datetime, finished_at: datetime, unproven: set[str]) -> ScanFinished:
        progress = self._sweep.progress
        asked = range.asked(self._targets, progress.refused.keys() | unproven)
        whole = asked and not progress.gaps
        return ScanFinished(
            scan_id=self._scan_id,
            dept_id=self._request.dept,
            scan_type="+".join(sorted({host.scan_type for host in self.hosts})) or self._request.method,
            target_range=asked or str(self._targets)[:4096],
            started_at=started_at,
            finished_at=finished_at,
            systems_found=len(self.hosts),
            status="interrupted" if self.stop.is_set() else "completed" if whole else "incomplete",
            errors=len(progress.refused),
        )

    def _changes(self, store: "Store") -> ScanChanges | None:
        from labmon.store.inventory import history, scans

        with store.transaction() as connection:
            outcome = scans.outcome(connection, self._scan_id)
            changes = history.changes(connection, scan_id=self._scan_id, kinds=list(CHANGES))
            waiting = life.quarantined(connection, dept=self._request.dept)
            if self._request.new_as == "active":
                new = {one.system_id for one in changes if one.change == "found"}
                let_in = [one for one in waiting if one in new]
                life.accept(connection, let_in, life.ourselves())
                waiting = [one for one in waiting if one not in new]
        return ScanChanges(*outcome, changes, len(waiting)) if outcome else None


@contextmanager
def open_scan(config: Config, request: ScanRequest, *, notice: Callable[[str], None]) -> Iterator[Scan]:
    """Find out what to ask, hold these addresses, and open the store where it is needed.

    `notice` gets a line when messages go to the spool. Raises UsageError for a range that may not be scanned,
    AlreadyRunning when another scan is asking some of it, and StoreError.
    """
    if request.new_as == "active" and config.queue.enabled:
        raise UsageError(
            "--new-as active lets systems in after they were stored, which a queue leaves to others. "
            "Use --no-queue, or afterwards: labmon systems accept"
        )
    with ExitStack() as stack:
        store: Store | None = None
        if not request.targets:
            store = stack.enter_context(open_store(config))
        targets = range.targets(
            request.targets, request.exclude, request.dept, config.scan, store, force=request.force
        )
        running = "a scan of these addresses is running"
        stack.enter_context(address_lock.held(config.state.path / "scans", targets.claims, running))
        if store is None and not request.dry_run and not config.queue.enabled:
            store = stack.enter_context(open_store(config))
        yield Scan(config, request, targets, store, notice)
