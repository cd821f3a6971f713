"""How many questions get lost, measured on hosts that have answered before. No I/O.

Silence of an address says nothing about loss, since there may be no machine. So each round after the first
also asks some hosts that are known to be there. Their share of answers is the share of answers of all.
Routers, switches and firewalls often let only a limited number of pings a second through; then a lower rate
loses less, which a short test at `TEST_RATE` shows. Loss by chance is the same at any rate.
"""

import math
from dataclasses import dataclass

TEST_RATE = 100.0
"""Questions per second of the test whether a lower rate loses less."""

TEST_QUESTIONS = 20
"""Questions of the test, to known hosts in turn."""

TEST_FIRST = 6
"""The first of them do not count: a limit lets a burst through before it begins."""

MAX_TESTS = 4
"""Tests in one sweep. More than one is made only while too few hosts are known to be sure."""

NOTICED = 0.2
"""Share of lost questions from which the rate may be the reason."""

FEWEST = 3
"""Lost questions, of the sweep so far, below which a share says nothing."""

CERTAIN = 2.6
"""Standard errors between test and rounds that show that the rate matters; by chance once in two hundred."""

ENOUGH = 10
"""Questions in the rounds after which a test without a difference shows that the rate does not matter."""

MARGIN = 0.7
"""Share of the measured limit that is used: what asks beside this sweep needs some of it, too."""

SLOW_SECONDS = 60.0
"""Seconds that rounds at a lower rate may take in all. Larger ranges are not asked at that rate."""

MAX_SLOW = 50_000
"""Addresses up to which a lower rate is tried: more take too long at usual limits, up to 1,000 a second."""

NEGLIGIBLE = 0.001
"""Hosts that may be expected to be undiscovered in a sweep that counts as complete."""


def known_questions(found: int, silent: int) -> int:
    """How many questions to `found` known hosts to ask in a round that asks `silent` addresses: enough to
    measure, and cheap. A few hosts are asked several times."""
    return min(max(found, 16), silent // 2, max(32, min(256, silent // 8))) if found else 0


@dataclass
class Count:
    """Questions to known hosts, and answers."""

    asked: int = 0
    answered: int = 0

    @property
    def through(self) -> float:
        """Share of the questions that found their answer."""
        return min(self.answered, self.asked) / self.asked if self.asked else 0.0

    def add(self, other: "Count") -> None:
        """Count these, too."""
        self.asked += other.asked
        self.answered += min(other.answered, other.asked)


class LossMeter:
    """Counts questions to known hosts and their answers, round by round."""

    def __init__(self) -> None:
        self.undiscovered = 1.0
        """Share of the hosts that no round has reached, as far as measured."""
        self.share: float | None = None
        """Lost share of the last round; None while nothing has been measured."""
        self.rate_matters: bool | None = None
        """Whether a lower rate loses less; None while that is open."""
        self._now = Count()
        self._usual = Count()  # of all rounds at the usual rate
        self._tests = Count()
        self._tests_made = 0
        self._lost = 0
        self._good = TEST_RATE * MARGIN  # a rate at which little was lost
        self._limit = math.inf  # the highest rate that makes sense, as far as measured

    def asked(self) -> None:
        """A known host has been asked."""
        self._now.asked += 1

    def answered(self) -> None:
        """It has answered."""
        self._now.answered += 1

    def restart(self) -> None:
        """Leave out what was counted since the last round."""
        self._now = Count()

    def end_round(self) -> None:
        """Take what was counted since the last round for the loss of this one."""
        count, self._now = self._now, Count()
        if not count.asked:
            return
        lost = 1 - count.through
        self._lost += count.asked - min(count.answered, count.asked)
        # The first round, which knew no hosts to measure with, lost as much as the second.
        self.undiscovered *= lost * lost if self.share is None else lost
        self.share = lost
        if not self.rate_matters:
            self._usual.add(count)

    @property
    def is_high(self) -> bool:
        """Whether the last round lost so much that the rate may be the reason."""
        return self.share is not None and self.share >= NOTICED and self._lost >= FEWEST

    def end_test(self) -> None:
        """Judge what was counted since the last round as a test at `TEST_RATE`."""
        count, self._now = self._now, Count()
        self._tests.add(count)
        self._tests_made += 1
        usual, test = self._usual, self._tests
        if not usual.asked or not test.asked:
            return
        both = (usual.answered + test.answered) / (usual.asked + test.asked)
        error = math.sqrt(both * (1 - both) * (1 / usual.asked + 1 / test.asked))
        difference = test.through - usual.through
        if error and difference > CERTAIN * error:
            self.rate_matters = True
            if test.through < 1 - NOTICED:
                self._good = self._limit = TEST_RATE * test.through * MARGIN
        elif (usual.asked >= ENOUGH and difference < error) or self._tests_made >= MAX_TESTS:
            self.rate_matters = False

    def slower(self, rate: float) -> float | None:
        """The next rate after a round at `rate`; None: the usual one, since lower ones lose no less.

        Between `rate` and one that has been tested: a limit that lets bursts through looks higher than it is.
        """
        lost = self.share or 0.0
        if rate <= 1.5 * self._good and lost > 0.6 * (1 - self._usual.through):
            self.rate_matters = False
            return None
        through = rate * max(1 - lost, 0.1) * MARGIN
        best = max(min(through, math.sqrt(rate * self._good)), min(self._good, through))
        return min(best, self._limit)

    def is_complete(self, found: int) -> bool:
        """Whether no more than `NEGLIGIBLE` hosts are likely to be undiscovered; True where it is unknown."""
        if self.share is None:
            return True
        # A product of measured shares is too rough where they are large, however many rounds were made.
        is_low = self.rate_matters or 1 - self._usual.through < NOTICED
        return bool(is_low) and found * self.undiscovered <= NEGLIGIBLE
