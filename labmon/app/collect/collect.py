"""What `labmon collect` does once; and what it shares with `--every`: which machines are due, and where their
results go.

`collect_once` yields what happens as it happens: `Started`, each `Result`, `Finished`.
"""

import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from labmon.app import address_lock
from labmon.app.collect.setup import CollectSetup
from labmon.app.fleet import Selection
from labmon.collect import once
from labmon.collect.counter_cache import CounterCache
from labmon.collect.facts_cache import FactsCache
from labmon.collect.hostkeys.policy import report_changes
from labmon.collect.lookup import Lookup
from labmon.collect.probe.script import FactsRequest
from labmon.collect.result import Result, Target, bug
from labmon.collect.retry import Due, RetrySchedule
from labmon.collect.ssh.connector import Connector
from labmon.config.tables import CollectConfig
from labmon.errors import LabmonError, UsageError
from labmon.fleet import Fleet, Machine, empty_department
from labmon.messages import utcnow
from labmon.scan.targets.address import number
from labmon.sinks.base import Sink


@dataclass(frozen=True)
class Started:
    """The machines are known, and the first of those that are due are about to be measured."""

    due: Due
    resting: int  #: left out because of a maintenance


@dataclass(frozen=True)
class Finished:
    """The end of a run. Not yielded when nothing was due."""

    due: Due
    results: list[Result]
    rejected: int  #: messages that could not be stored
    spooled: int  #: messages that wait on disk
    key_changes: int  #: machines with another host key than before, reported as alerts
    other_accounts: Counter[str]
    """Of machines that refused our account: the ones with which they were measured before."""


class CollectRun:
    """The selected machines, those of them that are due, and their results on the way to the sink."""

    def __init__(self, settings: CollectConfig, state_dir: Path, selection: Selection) -> None:
        self._selection = selection
        self._settings = settings
        self._state_dir = state_dir
        self._connector: Connector | None = None
        self.retries = RetrySchedule(
            state_dir / "retry.json", settings, lambda target: self.connector.fingerprint(target)
        )
        asks = FactsRequest(settings.image_file, settings.sudo_serial) if settings.facts else None
        self.facts = FactsCache(state_dir / "facts", asks)
        self._lookup = Lookup(settings)
        self.machines: list[Machine] = []
        self.resting = 0  #: left out because of a maintenance
        self.inventory = ""  #: the database that the machines are of
        self.other_accounts = Counter[str]()
        self._place: dict[int | None, tuple[int | None, int | None]] = {}

    def close(self) -> None:
        """End the bastions' connections. Repeatable."""
        if self._connector is not None:
            self._connector.close()

    @property
    def connector(self) -> Connector:
        """How the machines are reached. Loaded when it is first needed: raises what `Connector.load` does."""
        if self._connector is None:
            self._connector = Connector.load(self._settings, self._state_dir)
        return self._connector

    def update(self, fleet: Fleet, *, retry: bool = False) -> Due:
        """Take in an inventory just read. Returns the machines that are due; with `retry`, also those that
        failed before. Raises UsageError for a selection that the inventory does not have."""
        selected = self._selection.of(fleet, self._lookup)
        self.machines = [one for one in selected if not one.rests or self._selection.names_machines]
        self.resting = len(selected) - len(self.machines)
        self._place = {one.system_id: (one.dept_id, one.lab_id) for one in self.machines}
        self.inventory = fleet.inventory
        self.retries.update(fleet)
        if retry:
            self.retries.retry(self.machines)
        return self.due()

    def due(self) -> Due:
        """The machines that are due now, by the inventory of the last update."""
        return self.retries.due(self.machines, utcnow())

    def targets(self, due: Due) -> list[Target]:
        """Those to measure now; first the ones that failed before: one that is off costs a whole deadline."""
        machines = sorted(due.now, key=self.retries.has_failed, reverse=True)
        return [Target.of(one, self._settings.port, self.inventory) for one in machines]

    def take(self, result: Result, sink: Sink) -> Result:
        """Send what was measured, and the machine's status. Returns the result, or the failure it became.

        Raises LabmonError when the sink takes nothing from anyone. Whatever else goes wrong is this machine's
        failure, and leaves the others alone.
        """
        if result.failure is not None and result.failure.status == "auth failed":
            if account := self.connector.other_account(result.target):
                self.other_accounts[account] += 1
        dept, lab = self._place.get(result.target.system_id, (None, None))
        try:
            now = utcnow()
            status, facts = self.retries.record(result, now), self.facts.message(result, now)
            for message in (result.message, status, facts):
                if message:
                    sink.send(message, dept=dept, lab=lab, database=self.inventory)
        except LabmonError:
            raise
        except Exception as error:
            failure = bug(error, result.target)
            result = replace(result, readings=None, collected_at=None, failure=failure)
        return result


def collect_once(
    setup: CollectSetup,
    selection: Selection,
    *,
    retry: bool,
    stop: threading.Event,
    notice: Callable[[str], None],
) -> Generator[Started | Result | Finished, None, None]:
    """Measure the selected machines that are due, once, and send the results.

    `retry`: also those that failed before. `notice` gets lines about a database or queue that is away.
    Setting `stop` ends it soon; what was measured by then is kept. Raises LabmonError: AlreadyRunning when
    another run has these machines, UsageError when there are none, and, after all were measured, what the
    sink raised.
    """
    settings, state_dir = setup.settings, setup.state_dir
    counters = CounterCache(state_dir / "counters")
    with (
        setup.fleet.open(selection, notice=notice) as (store, fleet),
        closing(CollectRun(settings, state_dir, selection)) as run,
    ):
        due = run.update(fleet, retry=retry or selection.names_machines)
        if not (run.machines or run.resting):
            raise UsageError(none_selected(selection, fleet, setup.fleet.place))
        yield Started(due, run.resting)
        if not due.now:
            setup.heartbeat.request()
            return
        with (
            held(state_dir, selection, run.machines),
            setup.open_sink(store, notice=notice, away=store is None, database=run.inventory) as sink,
        ):
            measured = once.collect(
                run.targets(due),
                settings,
                state_dir=state_dir,
                connector=run.connector,
                stop=stop,
                counters=counters,
                facts=run.facts,
            )
            results = []
            try:
                for result in _taken(run, measured, sink):
                    results.append(result)
                    yield result
                key_changes = report_changes(state_dir, sink, run.inventory)
            finally:
                counters.save()
                run.retries.save()
                run.facts.save()
    if not (sink.spooled or stop.is_set()):
        setup.heartbeat.request()
    yield Finished(due, results, sink.rejected, sink.spooled, key_changes, run.other_accounts)


def _taken(run: CollectRun, results: Iterator[Result], sink: Sink) -> Iterator[Result]:
    """The results, each sent. A sink that raises is tried again with the next, and flushed when all are done:
    then it raises what is still wrong."""
    for result in results:
        try:
            result = run.take(result, sink)
        except LabmonError:
            pass  # it keeps what it could not send
        yield result
    sink.flush()


def none_selected(selection: Selection, fleet: Fleet, place: str) -> str:
    """Why there is no machine to measure, and what to do; `place` is where the inventory is."""
    if selection.dept is not None and fleet.machines:
        return empty_department(selection.dept, fleet.machines)
    if selection.lab is not None and fleet.machines:
        return f"lab {selection.lab} has no machine with an address. See: labmon labs set --help"
    return (
        f"no machine to measure: the inventory of {place} has none. Find some with: "
        "labmon scan 10.30.5.0/24 --dept 1; let in what waits with: labmon systems accept --all; or see "
        "[database] url if it should not be this one"
    )


@contextmanager
def held(state_dir: Path, selection: Selection, machines: list[Machine]) -> Iterator[None]:
    """Keep other runs off these machines. Raises AlreadyRunning when one has any of them.

    Naming machines one by one skips the lock.
    """
    if selection.names_machines:
        yield
        return
    numbers = sorted(number(one.address) for one in machines)
    with address_lock.held(
        state_dir / "collecting",
        [(one, one) for one in numbers],
        "these machines are being measured already",
    ):
        yield
