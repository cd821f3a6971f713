"""`labmon collect --every`: rounds without end, for systemd or a terminal."""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import NoReturn

from labmon.cli import collect_view as view
from labmon.cli.collect_run import Run, held
from labmon.cli.output import say
from labmon.cli.targets import Choice, open_fleet, read_fleet
from labmon.cli.wiring import Sink, interactive, open_sink, open_store, stops_on_interrupt
from labmon.collect.clocks import Clocks
from labmon.collect.hostkeys import report_changes
from labmon.collect.memory import MAX_AGE, Memory
from labmon.collect.rounds import Round, Rounds
from labmon.collect.runner import Result
from labmon.config import Config
from labmon.errors import Exit, LabmonError, StoreError, UsageError
from labmon.store.pool import Store
from labmon.systemd import notify, watchdog

logger = logging.getLogger(__name__)

LINGER = 1.0
"""Seconds after which a result is on its way, whether others come or not."""

REFRESH = 30.0
"""Seconds. The inventory is read anew at the end of a round, but no more often."""

PAUSE = 10.0
"""Seconds before a sink that took nothing is tried again."""


def collect_every(
    configure: Callable[[], Config], choice: Choice, *, every: float, retry_all: bool, quiet: bool
) -> None:
    """Measure until SIGTERM or Ctrl-C. SIGHUP reads configuration and inventory anew.

    The first start raises whatever is wrong; later on that is said, and things go on as they were. Does not
    return after a signal: see `_end`.
    """
    stop, reload = threading.Event(), threading.Event()
    with stops_on_interrupt(stop) as signals, _hangup(stop, reload):
        config, working = configure(), None
        while not stop.is_set():
            try:
                with _Service(config, choice, every=every, quiet=quiet, stop=stop) as service:
                    config, working = service.run(configure, reload, retry=retry_all), config
            except LabmonError as error:
                if working is None or config == working:
                    raise
                say(f"labmon: {error}. Going on as before")
                config = working
            retry_all = False
    _end(Exit.INTERRUPTED if signal.SIGINT in signals else Exit.OK)


def _end(code: Exit) -> NoReturn:
    """End the process now that all is kept, and with it the sessions and their threads.

    Python would first tidy up after each of them: of a thousand, that takes three times as long as all else.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(code)


class _Service:
    """One configuration at work: store, sink, lane, rounds."""

    def __init__(
        self, config: Config, choice: Choice, *, every: float, quiet: bool, stop: threading.Event
    ) -> None:
        self._config = config
        self._choice = choice
        self._every = every
        self._quiet = quiet
        self._stop = stop
        self._stack = ExitStack()
        self._run = Run(config, choice)
        self._memory = Memory(config.state.path / "counters", max_age=max(MAX_AGE, 3 * every))
        self._store: Store | None = None
        self._outlet: _Outlet | None = None
        self._rounds: Rounds | None = None
        self._clocks = Clocks()
        self._said = ""  # of what is wrong, in the last round
        self._say = say

    def __enter__(self) -> "_Service":
        return self

    def __exit__(self, *_: object) -> None:
        """What was measured by then is kept. At the end of the process the sessions end with it."""
        if self._stop.is_set():
            notify("STOPPING=1")
            if self._rounds is not None:
                self._rounds.abandon()
        if self._outlet is not None:
            self._outlet.flush()
        try:
            self._stack.close()
        except LabmonError as error:
            say(f"labmon: {error}")
        self._memory.save()
        self._run.lane.save()

    def run(self, configure: Callable[[], Config], reload: threading.Event, *, retry: bool) -> Config:
        """Until stopped, or until there is another configuration, which is returned."""
        enter = self._stack.enter_context
        self._store, fleet = enter(open_fleet(self._config, self._choice))
        due = self._run.look(fleet, retry=retry)
        enter(held(self._config, self._choice, self._run.machines))
        sink = enter(open_sink(self._config, self._store, away=self._store is None))
        outlet = self._outlet = _Outlet(sink, lambda text: self._say(text))
        state_dir = self._config.state.path
        rounds = self._rounds = enter(
            Rounds(
                self._run.targets(due),
                self._config.collect,
                every=self._every,
                state_dir=state_dir,
                memory=self._memory,
            )
        )
        if not (self._quiet or due.now):
            say(view.nothing_to_do(due))
        alive = _Alive()
        read_at = time.monotonic()
        with view.live(len(due.now)) if interactive(self._quiet) else nullcontext(None) as line:
            self._say = line.say if line else say
            for event in rounds.run(self._stop):
                alive.tell()
                if isinstance(event, Result):
                    outlet.call(self._run.take, event)
                    if told := self._clocks.look(event):
                        self._say(told)
                    if line:
                        line.add(event)
                elif isinstance(event, Round):
                    outlet.flush()
                    outlet.report_changes(state_dir, self._run.inventory)
                    self._memory.save()
                    self._run.lane.save()
                    self._tell(event, view.round_line(event, due, outlet.lost(), outlet.spooled))
                    if time.monotonic() - read_at >= REFRESH:
                        read_at = time.monotonic()
                        self._look()
                    due = self._run.due()
                    rounds.update(self._run.targets(due))
                    if line:
                        line.begin(len(due.now))
                else:
                    outlet.flush_if_due()
                if reload.is_set():
                    reload.clear()
                    notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
                    try:
                        config = configure()
                    except LabmonError as error:
                        self._say(f"labmon: {error}. Going on as before")
                        config = self._config
                    if config != self._config:
                        return config
                    self._look()
                    due = self._run.due()
                    rounds.update(self._run.targets(due))
                    notify("READY=1")
        return self._config

    def _look(self) -> None:
        """Read the inventory anew, if the store is there."""
        try:
            if self._store is None:
                self._store = self._stack.enter_context(open_store(self._config))
            self._run.look(read_fleet(self._store, self._config))
        except (StoreError, UsageError) as error:
            logger.warning("%s. Going on with the machines known before", error)

    def _tell(self, over: Round, line: str) -> None:
        notify(f"STATUS={line}")
        trouble = view.reasons(over.failures)
        # Quietly: only what has not been said before. A lab that is off is news once.
        if not self._quiet or (trouble and trouble != self._said):
            self._say(line)
        self._said = trouble


class _Outlet:
    """A sink that may fail and is tried again: what it could not take stays with it or has been told."""

    def __init__(self, sink: Sink, say: Callable[[str], None]) -> None:
        self._sink = sink
        self._say = say
        self._since: float | None = None  #: something was sent and not flushed
        self._not_before = 0.0
        self._error = ""
        self._rejected = 0

    def call(self, take: Callable[[Result, Sink], None], result: Result) -> None:
        """Have a result taken, or say why it was not."""
        if self._since is None:
            self._since = time.monotonic()
        with self._told():
            take(result, self._sink)

    def flush_if_due(self) -> None:
        """Now and then, for the last of those that came together."""
        if self._since is not None and time.monotonic() - self._since >= LINGER:
            self.flush()

    def flush(self) -> None:
        """Unless it failed a moment ago."""
        if time.monotonic() >= self._not_before:
            self._since = None
            with self._told():
                self._sink.flush()

    def report_changes(self, state_dir: Path, inventory: str) -> None:
        """Of host keys, as alerts, unless something failed a moment ago."""
        if time.monotonic() >= self._not_before:
            with self._told():
                report_changes(state_dir, self._sink, inventory)

    @property
    def spooled(self) -> int:
        """How many wait on the disk."""
        return self._sink.spooled

    def lost(self) -> int:
        """How many more were rejected since this was asked last."""
        lost = self._sink.rejected - self._rejected
        self._rejected = self._sink.rejected
        return lost

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
            self._error = ""
        except LabmonError as error:
            self._not_before = time.monotonic() + PAUSE
            if str(error) != self._error:  # not in every round of a night
                self._say(f"labmon: {error}")
            self._error = str(error)


class _Alive:
    """Tells systemd that we are ready, and then that we are alive, twice as often as it wants to know."""

    def __init__(self) -> None:
        interval = watchdog()
        self._pause = interval / 2 if interval else None
        self._next = time.monotonic()
        notify("READY=1")

    def tell(self) -> None:
        if self._pause is not None and (now := time.monotonic()) >= self._next:
            self._next = now + self._pause
            notify("WATCHDOG=1")


@contextmanager
def _hangup(stop: threading.Event, reload: threading.Event) -> Iterator[None]:
    """SIGHUP sets `reload`; but `stop` when it came because the terminal has gone."""
    terminal = sys.stderr.isatty()

    def handle(*_: object) -> None:
        (stop if terminal and not os.isatty(2) else reload).set()

    before = signal.signal(signal.SIGHUP, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)
