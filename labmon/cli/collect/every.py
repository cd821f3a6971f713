"""`labmon collect --every`: signals, systemd, and what is printed of the service."""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import datetime
from typing import NoReturn

from labmon.app.collect import rows as rows
from labmon.app.collect import service as service
from labmon.app.fleet import Selection
from labmon.cli.collect import view
from labmon.cli.options import interactive
from labmon.cli.output import say
from labmon.collect.result import Result
from labmon.config.tables import Config
from labmon.errors import Exit
from labmon.signals import stops_on_interrupt
from labmon.systemd import notify, watchdog


def collect_every(
    configure: Callable[[], Config], selection: Selection, *, every: float, retry: bool, quiet: bool
) -> None:
    """Measure until SIGTERM or Ctrl-C. SIGHUP reads configuration and inventory anew.

    The first start raises LabmonError; later on an error is printed, and the service goes on. Does not return
    after a signal: see `_end`.
    """
    stop, reload = threading.Event(), threading.Event()
    supervisor = _Systemd()
    with (
        stops_on_interrupt(stop) as signals,
        _hangup(stop, reload),
        view.live(0) if interactive(quiet) else nullcontext(None) as line,
    ):
        printer = _Printer(line, quiet=quiet)
        for event in service.collect_service(
            configure, selection, every=every, retry=retry, stop=stop, reload=reload
        ):
            supervisor.tell(event)
            printer.draw(event)
    _end(Exit.INTERRUPTED if signal.SIGINT in signals else Exit.OK)


def _end(code: Exit) -> NoReturn:
    """End the process now that all is saved, and with it the sessions and their threads.

    Python would first clean up after each of them: of a thousand, that takes three times as long as all else.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(code)


class _Systemd:
    """Tells systemd that the service is ready, and then that it is alive, twice as often as it wants to
    know."""

    def __init__(self) -> None:
        interval = watchdog()
        self._pause = interval / 2 if interval else None
        self._next = 0.0
        self._is_ready = False

    def tell(self, event: service.Event) -> None:
        """Every event is a sign of life."""
        match event:
            case service.RoundFinished():
                notify(f"STATUS={_round_line(event)}")
            case service.Reloading():
                notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
            case service.Reloaded():
                notify("READY=1")
            case service.Stopping():
                notify("STOPPING=1")
        if not self._is_ready:
            self._is_ready = True
            notify("READY=1")
        if self._pause is not None and (now := time.monotonic()) >= self._next:
            self._next = now + self._pause
            notify("WATCHDOG=1")


class _Printer:
    """Prints what the service does: a line per round; with --quiet only what is wrong, and once."""

    def __init__(self, line: view.Live | None, *, quiet: bool) -> None:
        self._line = line
        self._quiet = quiet
        self._trouble = ""  #: what was wrong in the last round

    def draw(self, event: service.Event) -> None:
        """Print or draw one event."""
        match event:
            case Result():
                if self._line:
                    self._line.add(event)
            case service.ServiceStarted():
                self._start(event)
            case service.RoundFinished():
                trouble = rows.reasons(event.round.failures)
                # With --quiet only what was not said before. A lab that is off is news once.
                if not self._quiet or (trouble and trouble != self._trouble):
                    self._say(_round_line(event))
                self._trouble = trouble
                if self._line:
                    self._line.begin(event.next_count)
            case service.Notice() | service.StoreLost():
                self._say(f"labmon: {event.text}")
            case service.ClockChanged():
                self._say(event.text)

    def _start(self, event: service.ServiceStarted) -> None:
        if event.nothing:
            self._say(f"labmon: {event.nothing}")
        elif event.due.later and not (event.due.now or self._quiet):
            self._say(rows.nothing_due(event.due))
        if self._line:
            self._line.begin(len(event.due.now))

    def _say(self, text: str) -> None:
        if self._line:
            self._line.say(text)
        else:
            say(text)


def _round_line(event: service.RoundFinished) -> str:
    """What a round came to: the messages it lost, and all that wait in the spool."""
    over, due = event.round, event.due
    kept = f"; {event.spooled} kept in the spool (why: labmon doctor)" if event.spooled else ""
    late = f"; {over.late} not done yet" if over.late else ""
    later = f"; {due.later} that failed before are left for later" if due.later else ""
    return (
        f"{datetime.now():%H:%M:%S} round {over.number + 1}: {over.measured} measured in {over.seconds:.1f} s"
        + (f"; {event.lost} could not be stored" if event.lost else "")
        + kept
        + rows.reasons(over.failures)
        + late
        + later
    )


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
