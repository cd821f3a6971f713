"""Asking many addresses, then the silent ones again: what ping and ARP have in common."""

import errno
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from threading import Event
from typing import ClassVar

from labmon.config import Scan
from labmon.scan.host import Host
from labmon.scan.pace import TICK, Pace
from labmon.scan.persistence import Persistence
from labmon.scan.progress import Progress
from labmon.scan.timing import Patience

PATIENCE = 5.0
"""Seconds without one packet taken after which each further address is tried only once."""

BUSY = {errno.EAGAIN, errno.ENOBUFS}  # send buffer, device queue or neighbour table full: all pass

ASKED, ANSWERED = 1, 2


class Rounds(ABC):
    """Iterate it once. Yields the hosts that have answered since the last list, often none, each once.

    Every target is asked once, and the silent ones again for as long as `Persistence` says, at most
    `retries` times.
    """

    phase: ClassVar[str]

    def __init__(
        self,
        targets: Sequence[str],
        settings: Scan,
        progress: Progress,
        stop: Event,
        *,
        pace: Pace | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._targets = targets
        self._retries = settings.retries
        self._rate = settings.rate
        self._progress = progress
        self._stop = stop
        self._pace = pace or Pace(settings.rate)
        self._patience = patience or Patience(settings.timeout)
        self._state = bytearray(len(targets))
        self._open = 0  # asked and not answered
        self._found = 0
        self._took = time.monotonic()  # when the system last took a packet

    @abstractmethod
    def _put(self, round_: int, number: int, address: str) -> None:
        """Send one question. Raises OSError, with an errno in BUSY when it may work in a moment."""

    @abstractmethod
    def _wait(self, seconds: float) -> None:
        """Until something can be received, or the time is over."""

    @abstractmethod
    def _take(self) -> Iterator[tuple[int, Host]]:
        """What has come in and is an answer of the target with that number; it may be a repeat."""

    def __iter__(self) -> Iterator[list[Host]]:
        heard = 0.0  # seconds waited since the last question
        persistence = Persistence()
        for round_ in range(1 + self._retries):
            yield from self._ask(round_)
            heard = 0.0
            if round_ == self._retries:
                break
            heard = self._patience.between
            yield from self._listen(heard)
            silent = len(self._targets) - self._found
            if not persistence.goes_on(self._found, silent, silent / self._rate if self._rate else 0.0):
                break
        yield from self._listen(max(0.0, self._patience.at_the_end - heard))
        yield self._receive()

    def _ask(self, round_: int) -> Iterator[list[Host]]:
        silent = len(self._targets) - self._found
        if not silent:
            return
        self._progress.start(f"{self.phase} again" if round_ else self.phase, silent)
        sent = 0
        for number, address in enumerate(self._targets):
            if self._state[number] == ANSWERED:
                continue
            if self._stop.is_set():
                return
            while (trouble := self._send(round_, number, address)) is not None:
                if self._stop.is_set():
                    return
                if trouble not in BUSY or time.monotonic() - self._took > PATIENCE:
                    if not self._state[number]:
                        self._progress.refused[address] = os.strerror(trouble)
                    break
                self._wait(0.005)
                yield self._receive()
            sent += 1
            if sent % self._pace.batch == 0:
                self._pace.spend(self._pace.batch)
                self._progress.asked = sent
                yield self._receive()
                while (pause := self._pace.pause()) and not self._stop.is_set():
                    self._wait(min(pause, TICK))
                    yield self._receive()
        self._pace.spend(sent % self._pace.batch)
        self._progress.asked = sent

    def _send(self, round_: int, number: int, address: str) -> int | None:
        """The errno of what went wrong, if anything did."""
        try:
            self._put(round_, number, address)
        except OSError as error:
            return error.errno or errno.EIO
        self._took = time.monotonic()
        if not self._state[number]:
            self._state[number] = ASKED
            self._open += 1
            self._progress.refused.pop(address, None)
        return None

    def _listen(self, seconds: float) -> Iterator[list[Host]]:
        deadline = time.monotonic() + seconds
        while self._open and not self._stop.is_set():
            left = deadline - time.monotonic()
            self._wait(max(0.0, min(left, TICK)))
            hosts = self._receive()
            yield hosts
            if left <= 0 and not hosts:
                return

    def _receive(self) -> list[Host]:
        hosts = []
        for number, host in self._take():
            # Only what was asked and is open: no repeats, and nobody can answer before the question.
            if number >= len(self._state) or self._state[number] != ASKED:
                continue
            if self._targets[number] != host.address:
                continue  # a broadcast, a router with several addresses, or a forgery
            self._state[number] = ANSWERED
            self._open -= 1
            self._patience.observe(host.rtt)
            hosts.append(host)
        self._found += len(hosts)
        self._progress.found += len(hosts)
        return hosts
