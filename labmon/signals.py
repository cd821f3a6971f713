"""Signals that end labmon: as an exception, or as an event for what finishes its work first."""

import os
import select
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Self


class Terminated(BaseException):
    """A signal that ends labmon, as an exception: what is open gets closed on the way out.

    Python drops an exception that comes while it compiles a module or runs a destructor. One that goes before
    the command line has seen any end of the command (`too_late`) was dropped so, and comes once more.
    """

    too_late = False

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
        self.code = 128 + number  #: as a shell reports it

    def __del__(self) -> None:
        if not Terminated.too_late and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGALRM, lambda *_: terminate(self.number, None))
            signal.setitimer(signal.ITIMER_REAL, 0.01)

    @classmethod
    def behind(cls, error: BaseException | None) -> Self | None:
        """Find the signal that made this error: what runs in the body of a class is reported as another."""
        while error is not None and not isinstance(error, cls):
            error = error.__cause__
        return error


def terminate(number: int, _: object) -> None:
    """A handler of signals: raises Terminated."""
    if number == signal.SIGHUP:
        _drop_lost_terminal()
    raise Terminated(number)


def _drop_lost_terminal() -> None:
    """What is printed to a terminal that has gone is dropped: an error about it would hide what was done."""
    for number in (1, 2):
        gone = select.poll()
        gone.register(number, 0)
        if any(event & select.POLLHUP for _, event in gone.poll(0)):
            os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), number)


@contextmanager
def stops_on_interrupt(stop: threading.Event) -> Iterator[list[int]]:
    """The first Ctrl-C, SIGTERM or SIGHUP sets `stop`, the second ends labmon. Yields the signals that came.

    When a terminal is closed, the shell and the kernel both send a SIGHUP: a second one is ignored.
    """
    came: list[int] = []

    def handle(number: int, _: object) -> None:
        came.append(number)
        stop.set()
        if number == signal.SIGHUP:
            _drop_lost_terminal()
            before[signal.SIGHUP] = signal.SIG_IGN
        signal.signal(number, before[signal.Signals(number)])

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup has it ignored
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def exit_code(came: Sequence[int]) -> int:
    """The exit code after a signal, as a shell reports it: 128 and its number."""
    return 128 + came[0]
