"""`labmon collect --every` as a service: rounds without end, and everything that happens as an event.

`collect_service` yields `ServiceStarted`, then each `Result` and `RoundFinished`, and `Tick` several times a
second, until it is stopped. It prints nothing: its caller draws the events and tells systemd.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from labmon.app.collect.collect import CollectRun, held, none_selected
from labmon.app.collect.setup import CollectSetup
from labmon.app.fleet import Selection
from labmon.collect.clock_skew import ClockSkews
from labmon.collect.counter_cache import MAX_AGE, CounterCache
from labmon.collect.hostkeys.policy import report_changes
from labmon.collect.interval import IntervalCollector, Round
from labmon.collect.result import Result
from labmon.collect.retry import Due
from labmon.collect.ssh.connector import Connector, FileVersion
from labmon.config.tables import Config
from labmon.errors import LabmonError, StoreError, UsageError
from labmon.sinks.base import Sink
from labmon.store.pool import Store

logger = logging.getLogger(__name__)

LINGER = 1.0
"""Seconds after which a result is sent, whether others come or not."""

REFRESH = 30.0
"""Seconds. The inventory is read anew at the end of a round, but no more often."""

PAUSE = 10.0
"""Seconds before a sink that took nothing is tried again."""


@dataclass(frozen=True)
class ServiceStarted:
    """The first round begins, also after a new configuration."""

    due: Due
    nothing: str  #: why no machine is selected; empty when some are


@dataclass(frozen=True)
class RoundFinished:
    """A round is over, and its results are sent."""

    round: Round
    due: Due  #: of this round
    lost: int  #: messages that could not be stored
    spooled: int  #: messages that wait on disk
    next_count: int  #: machines of the next round


@dataclass(frozen=True)
class Notice:
    """One line that an administrator should see."""

    text: str


@dataclass(frozen=True)
class ClockChanged:
    """A machine's clock turned out to be wrong, or right again; the text names it."""

    text: str


@dataclass(frozen=True)
class StoreLost:
    """The inventory cannot be read anew. The machines known before are measured."""

    text: str


@dataclass(frozen=True)
class Reloading:
    """Configuration and inventory are being read anew."""


@dataclass(frozen=True)
class Reloaded:
    """They were, or the old ones stay in use."""


@dataclass(frozen=True)
class Tick:
    """Nothing happened, and all is well."""


@dataclass(frozen=True)
class Stopping:
    """It is stopping, and sends what is left."""


Event = (
    ServiceStarted
    | Result
    | RoundFinished
    | Notice
    | ClockChanged
    | StoreLost
    | Reloading
    | Reloaded
    | Tick
    | Stopping
)
Events = Generator[Event, None, None]


def collect_service(
    configure: Callable[[], Config],
    selection: Selection,
    *,
    every: float,
    retry: bool,
    stop: threading.Event,
    reload: threading.Event,
) -> Iterator[Event]:
    """Measure every `every` seconds until `stop` is set. `reload` reads configuration and inventory anew.

    `retry`: the first round also has the machines that failed before. The first start raises LabmonError for
    whatever is wrong; after that it is a `Notice`, and the service goes on as before.
    """
    config, working = configure(), None
    while not stop.is_set():
        service = _Service(config, selection, every=every, stop=stop, reload=reload)
        try:
            yield from service.run(configure, retry=retry)
            config, working = service.next_config, config
        except LabmonError as error:
            yield from service.pending()
            if working is None or config == working:
                raise
            yield Notice(f"{error}. Going on as before")
            config = working
        retry = False


class _Service:
    """One configuration at work; the next one when there is another."""

    def __init__(
        self,
        config: Config,
        selection: Selection,
        *,
        every: float,
        stop: threading.Event,
        reload: threading.Event,
    ) -> None:
        self._config = config
        self.next_config = config
        self._selection = selection
        self._every = every
        self._stop = stop
        self._reload = reload
        self._events: deque[Event] = deque()
        self._setup = setup = CollectSetup.of(config)
        self._run = CollectRun(setup.settings, setup.state_dir, selection)
        self._counters = CounterCache(setup.state_dir / "counters", max_age=max(MAX_AGE, 3 * every))
        self._clocks = ClockSkews()
        self._store: Store | None = None
        self._stores = ExitStack()
        self._store_error = ""
        self._read_at = 0.0
        self._unusable: dict[Path, FileVersion] = {}  #: files of the connector that cannot be used any more

    def run(self, configure: Callable[[], Config], *, retry: bool) -> Events:
        """Measure until stopped, or until there is another configuration, which is `next_config` then, or the
        same with other keys or another ssh_config."""
        with self._open(retry) as (collector, sink, due):
            yield from self.pending()
            for event in collector.run(self._stop):
                match event:
                    case Result():
                        yield sink.take(self._run, event)
                        if text := self._clocks.check(event):
                            yield ClockChanged(text)
                    case Round():
                        due = self._finish_round(event, due, collector, sink)
                    case None:
                        sink.flush_if_due()
                        yield Tick()
                yield from self.pending()
                if self._reload.is_set():
                    self._reload.clear()
                    yield Reloading()
                    self._configure_anew(configure)
                    if self.next_config != self._config or self._connects_otherwise():
                        break
                    self._read_inventory()
                    due = self._run.due()
                    collector.update(self._run.targets(due))
                    yield from self.pending()
                    yield Reloaded()
                elif isinstance(event, Round) and self._connects_otherwise():
                    break
            if self._stop.is_set():
                yield Stopping()
                collector.abandon()
        yield from self.pending()

    def pending(self) -> Events:
        """What is to be said by now."""
        while self._events:
            yield self._events.popleft()

    def _notice(self, text: str) -> None:
        self._events.append(Notice(text))

    @contextmanager
    def _open(self, retry: bool) -> "Iterator[tuple[IntervalCollector, _RetryingSink, Due]]":
        """Everything that is open while rounds go on. Leaving sends and saves what was measured by then."""
        state_dir = self._setup.state_dir
        with self._stores:
            self._store, fleet = self._stores.enter_context(
                self._setup.fleet.open(self._selection, notice=self._notice)
            )
            self._read_at = time.monotonic()
            due = self._run.update(fleet, retry=retry)
            empty = not (self._run.machines or self._run.resting)
            nothing = none_selected(self._selection, fleet, self._setup.fleet.place) if empty else ""
            try:
                with (
                    held(state_dir, self._selection, self._run.machines),
                    self._open_sink() as sink,
                    IntervalCollector(
                        self._run.targets(due),
                        self._setup.settings,
                        every=self._every,
                        state_dir=state_dir,
                        connector=self._run.connector,
                        counters=self._counters,
                        facts=self._run.facts,
                    ) as collector,
                ):
                    self._events.append(ServiceStarted(due, nothing))
                    try:
                        yield collector, sink, due
                    finally:
                        sink.flush()
            finally:
                self._counters.save()
                self._run.retries.save()
                self._run.facts.save()
                if not self._stop.is_set():  # see `IntervalCollector.abandon`
                    self._run.close()

    @contextmanager
    def _open_sink(self) -> "Iterator[_RetryingSink]":
        """What the sink raises when it is closed, at the end, is a notice: nothing can be tried again."""
        stack = ExitStack()
        sink = stack.enter_context(
            self._setup.open_sink(
                self._store,
                notice=self._notice,
                away=self._store is None,
                database=self._run.inventory,
            )
        )
        try:
            yield _RetryingSink(sink, self._notice)
        finally:
            try:
                stack.close()
            except LabmonError as error:
                self._notice(str(error))

    def _finish_round(
        self, over: Round, due: Due, collector: IntervalCollector, sink: "_RetryingSink"
    ) -> Due:
        """Send and save what the round brought; prepare the next, whose machines are returned."""
        sink.flush()
        sink.report_changes(self._setup.state_dir, self._run.inventory)
        self._counters.save()
        self._run.retries.save()
        self._run.facts.save()
        if time.monotonic() - self._read_at >= REFRESH:
            self._read_at = time.monotonic()
            self._read_inventory()
        if sink.works:
            self._setup.heartbeat.request_soon()
        following = self._run.due()
        collector.update(self._run.targets(following))
        self._events.append(RoundFinished(over, due, sink.lost(), sink.spooled, len(following.now)))
        return following

    def _configure_anew(self, configure: Callable[[], Config]) -> None:
        try:
            self.next_config = configure()
        except LabmonError as error:
            self._notice(f"{error}. Going on as before")

    def _connects_otherwise(self) -> bool:
        """True when keys, password or ssh_config are others than at the start, and can be used."""
        changed = self._run.connector.changed_files()
        if not changed or changed == self._unusable:
            return False
        try:
            Connector.load(self._setup.settings, self._setup.state_dir).close()
        except LabmonError as error:
            self._unusable = changed  # not in every round of a night
            self._notice(f"{error}. Going on as before")
            return False
        return True

    def _read_inventory(self) -> None:
        """Read the inventory anew, if the store is there."""
        try:
            if self._store is None:
                self._store = self._stores.enter_context(self._setup.fleet.open_store())
            self._run.update(self._setup.fleet.read(self._store))
            self._store_error = ""
        except (StoreError, UsageError) as error:
            if str(error) != self._store_error:  # not in every round of a night
                self._events.append(StoreLost(f"{error}. Going on with the machines known before"))
            self._store_error = str(error)


class _RetryingSink:
    """A sink that may fail and is tried again: what it could not take stays with it, or was reported."""

    def __init__(self, sink: Sink, notice: Callable[[str], None]) -> None:
        self._sink = sink
        self._notice = notice
        self._since: float | None = None  #: something was sent and not flushed
        self._not_before = 0.0
        self._error = ""
        self._rejected = 0

    def take(self, run: CollectRun, result: Result) -> Result:
        """Have a result sent, or report why it was not."""
        if self._since is None:
            self._since = time.monotonic()
        with self._reported():
            result = run.take(result, self._sink)
        return result

    def flush_if_due(self) -> None:
        """Flush after `LINGER`, for the last of those that came together."""
        if self._since is not None and time.monotonic() - self._since >= LINGER:
            self.flush()

    def flush(self) -> None:
        """Flush, unless it failed a moment ago."""
        if time.monotonic() >= self._not_before:
            self._since = None
            with self._reported():
                self._sink.flush()

    def report_changes(self, state_dir: Path, inventory: str) -> None:
        """Send host keys that changed as alerts, unless something failed a moment ago."""
        if time.monotonic() >= self._not_before:
            with self._reported():
                report_changes(state_dir, self._sink, inventory)

    @property
    def spooled(self) -> int:
        """How many wait on the disk."""
        return self._sink.spooled

    @property
    def works(self) -> bool:
        """True when all that was sent has arrived, at the last try."""
        return not self._error and not self._sink.spooled

    def lost(self) -> int:
        """How many more were rejected since the last call."""
        lost = self._sink.rejected - self._rejected
        self._rejected = self._sink.rejected
        return lost

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
            self._error = ""
        except LabmonError as error:
            self._not_before = time.monotonic() + PAUSE
            if str(error) != self._error:  # not in every round of a night
                self._notice(str(error))
            self._error = str(error)
