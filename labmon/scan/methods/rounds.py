"""Asking many addresses, then the silent ones again: what ping, ARP and neighbour discovery share."""

import errno
import os
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import ClassVar

from labmon.scan.host import Host
from labmon.scan.methods.context import SweepContext
from labmon.scan.pacing.loss import (
    MARGIN,
    MAX_SLOW,
    SLOW_SECONDS,
    TEST_FIRST,
    TEST_QUESTIONS,
    TEST_RATE,
    LossMeter,
    known_questions,
)
from labmon.scan.pacing.rate import TICK, RateLimiter
from labmon.scan.pacing.retries import RetryPolicy
from labmon.scan.pacing.timeout import BETWEEN, AdaptiveTimeout

STUCK = 5.0
"""Seconds without one packet accepted by the system after which each further address is tried only once."""

BUSY = {errno.EAGAIN, errno.ENOBUFS}
"""Send buffer, device queue or neighbour table are full, which passes."""

NO_ROOM = "No buffer space available: send queue or table of neighbours full"

ASKED, ANSWERED = 1, 2


def reason_of(number: int) -> str:
    """What the user reads for an errno of sending."""
    return NO_ROOM if number == errno.ENOBUFS else os.strerror(number)


class ProbeRounds(ABC):
    """Iterate it once. Yields the hosts that have answered since the last list, often none, each once.

    Every target is asked once, and the silent ones again for as long as `RetryPolicy` says, at most
    `retries` times. Where `LossMeter` finds that a lower rate loses less, the next rounds are slower. When
    it is not likely that all hosts were found, `progress.gaps` says why.

    Afterwards, for as long as its socket is open, `receive` hands out hosts that answer after the end.
    """

    phase: ClassVar[str]

    def __init__(
        self,
        targets: Sequence[str],
        context: SweepContext,
        timeout: AdaptiveTimeout | None = None,
    ) -> None:
        self._targets = targets
        self._retries = context.settings.retries
        self._progress = context.progress
        self._stop = context.stop
        self._limiter = self._usual = context.limiter
        self._timeout = timeout or AdaptiveTimeout(context.settings.timeout)
        self._late_limit: float = self._timeout.limit  # seconds from the first question to the last answer
        self._state = bytearray(len(targets))
        self._open = 0  # asked and not answered
        self._found = 0
        self._prompt: list[int] = []  # answered so fast that a missing answer means loss
        self._asked_again: Counter[int] = Counter()  # known hosts, and questions without an answer yet
        self._loss = LossMeter()
        self._slow_seconds = 0.0  # of rounds at a lower rate
        self._rate = 0.0  # questions per second of the last round, as measured
        self._accepted = time.monotonic()  # when the system last accepted a packet
        self._first_asked = 0.0  # when the first round had ended

    @abstractmethod
    def _put(self, round_: int, number: int, address: str) -> None:
        """Send one question. Raises OSError, with an errno in BUSY when it may work in a moment."""

    @abstractmethod
    def _wait(self, seconds: float) -> None:
        """Return when something can be received, or the time is over."""

    @abstractmethod
    def _take(self) -> Iterator[tuple[int, Host]]:
        """Answers that have come in, each with the number of its target; repeats included."""

    def __iter__(self) -> Iterator[list[Host]]:
        heard = 0.0  # seconds waited since the last question
        retries = RetryPolicy()
        for round_ in range(1 + self._retries):
            yield from self._ask(round_)
            if not round_:
                self._first_asked = time.monotonic()
            heard = 0.0
            if round_ == self._retries:
                break
            heard = self._timeout.between
            yield from self._listen(heard)
            self._end_round()
            if self._loss.is_high and self._silent and not self._stop.is_set():
                yield from self._slow_down(round_)
            if not self._goes_on(retries):
                break
        yield from self._listen(max(0.0, self._timeout.at_the_end - heard))
        yield self.receive()
        self._end_round()
        if not self._loss.is_complete(self._found):
            self._progress.gaps[
                f"{self.phase}: packets were lost on the way (in the last round about "
                f"{100 * (self._loss.share or 0):.0f} %), so machines may be missing"
            ] = None

    @property
    def late_until(self) -> float:
        """When, by the monotonic clock, every silent host has had its time to answer its first question;
        0 when none is silent."""
        return self._first_asked + self._late_limit if self._open else 0.0

    @property
    def _silent(self) -> int:
        return len(self._targets) - self._found

    def _end_round(self) -> None:
        self._loss.end_round()
        self._asked_again.clear()

    def _goes_on(self, retries: RetryPolicy) -> bool:
        silent, rate = self._silent, self._limiter.rate
        more = retries.goes_on(self._found, silent, silent / rate if rate else 0.0)
        if self._limiter is not self._usual and self._loss.share == 0:
            return False  # all were asked at a rate at which nothing gets lost
        return more or not self._loss.is_complete(self._found)

    def _ask(self, round_: int) -> Iterator[list[Host]]:
        """Ask the silent, and between them some known hosts, to measure loss."""
        if not self._silent:
            return
        self._progress.start(f"{self.phase} again" if round_ else self.phase, self._silent)
        most = known_questions(len(self._prompt), self._silent) if round_ else 0
        known = self._known_hosts(most)
        every = max(1, self._silent // (most + 1))
        began, sent, asked = time.monotonic(), 0, 0
        for number, address in self._in_order(round_):
            if self._state[number] == ANSWERED:
                continue
            if self._stop.is_set():
                return
            if (trouble := self._send(round_, number, address)) is not None:
                yield from self._insist(round_, number, address, trouble)
            sent, asked = sent + 1, asked + 1
            if known and asked % every == 0 and asked <= every * most:
                self._ask_known(round_, known[asked // every % len(known)])
                sent += 1
            if sent >= self._limiter.batch:
                self._usual.spend(sent)
                if self._limiter is not self._usual:
                    self._limiter.spend(sent)
                sent = 0
                self._progress.asked = asked
                yield self.receive()
                yield from self._pause()
        self._usual.spend(sent)
        self._progress.asked = asked
        self._rate = asked / max(time.monotonic() - began, 1e-3)

    def _in_order(self, round_: int) -> Iterator[tuple[int, str]]:
        """The targets with their numbers. Each round begins at another place: where only a burst gets
        through, it is not always for the same addresses."""
        if not round_:
            yield from enumerate(self._targets)
            return
        start = round_ * len(self._targets) // (1 + self._retries)
        yield from islice(enumerate(self._targets), start, None)
        yield from islice(enumerate(self._targets), start)

    def _pause(self) -> Iterator[list[Host]]:
        """Keep the rate, and receive meanwhile."""
        while (pause := max(self._limiter.pause(), self._usual.pause())) and not self._stop.is_set():
            self._wait(min(pause, TICK))
            yield self.receive()

    def _insist(self, round_: int, number: int, address: str, trouble: int | None) -> Iterator[list[Host]]:
        """Send again after `trouble`, an errno, for as long as that may help."""
        while trouble is not None and not self._stop.is_set():
            if trouble not in BUSY or time.monotonic() - self._accepted > STUCK:
                if not self._state[number]:
                    self._progress.refused[address] = reason_of(trouble)
                return
            self._wait(0.005)
            yield self.receive()
            trouble = self._send(round_, number, address)

    def _known_hosts(self, most: int) -> list[int]:
        """Numbers of hosts that have answered promptly, from all parts of the range."""
        step = max(1, len(self._prompt) // most) if most else 1
        return self._prompt[::step][:most]

    def _ask_known(self, round_: int, number: int) -> None:
        try:
            self._put(round_, number, self._targets[number])
        except OSError:
            return  # it says nothing about the way there
        self._asked_again[number] += 1
        self._loss.asked()

    def _slow_down(self, round_: int) -> Iterator[list[Host]]:
        """Lower the rate of the next round where that loses less and does not take too long."""
        before = self._limiter.rate
        if self._silent > MAX_SLOW:
            return
        if self._loss.rate_matters is None:
            before = min(self._rate, self._usual.rate or self._rate)
            yield from self._test_lower_rate(round_)
            self._loss.end_test()
        self._limiter = self._usual
        rate = self._loss.slower(before) if self._loss.rate_matters else None
        if rate is None:
            return
        self._slow_seconds += self._silent / rate
        if self._slow_seconds > SLOW_SECONDS:
            self._progress.gaps[
                f"{self.phase}: only about {rate / MARGIN:,.0f} packets a second get through, at which "
                f"{self._silent:,} addresses take too long: scan smaller ranges with --rate {rate:.0f}"
            ] = None
        else:
            self._limiter = RateLimiter(rate)

    def _test_lower_rate(self, round_: int) -> Iterator[list[Host]]:
        """Ask known hosts at `TEST_RATE`."""
        test, known = RateLimiter(TEST_RATE), self._known_hosts(TEST_QUESTIONS)
        for count in range(TEST_QUESTIONS):
            if count == TEST_FIRST:
                self._loss.restart()
                self._asked_again.clear()
            self._ask_known(round_, known[count % len(known)])
            test.spend(1)
            self._usual.spend(1)
            while (pause := test.pause()) and not self._stop.is_set():
                self._wait(min(pause, TICK))
                yield self.receive()
        yield from self._listen(self._timeout.between)

    def _send(self, round_: int, number: int, address: str) -> int | None:
        """The errno of what went wrong, if anything did."""
        try:
            self._put(round_, number, address)
        except OSError as error:
            return error.errno or errno.EIO
        self._accepted = time.monotonic()
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
            hosts = self.receive()
            yield hosts
            if left <= 0 and not hosts:
                return

    def receive(self) -> list[Host]:
        """Hosts that have answered since the last look. Does not wait."""
        hosts = []
        for number, host in self._take():
            # Only what was asked, from the address that was asked: no repeats, no answer before its question.
            if number >= len(self._state) or self._targets[number] != host.address:
                continue  # a broadcast, a router with several addresses, or a forgery
            if self._asked_again[number]:
                self._asked_again[number] -= 1
                self._loss.answered()
            if self._state[number] != ASKED:
                continue
            self._state[number] = ANSWERED
            self._open -= 1
            self._timeout.observe(host.rtt)
            if host.rtt is not None and host.rtt <= BETWEEN:
                self._prompt.append(number)
            hosts.append(host)
        self._found += len(hosts)
        self._progress.found += len(hosts)
        return hosts
