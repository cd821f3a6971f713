"""Answers that come after their method has gone on.

Where most hosts answer at once, a method does not wait the whole timeout for the few that may be slow. Its
socket stays open instead, and their answers are taken in while other methods, details and names go on.
"""

import time

from labmon.scan.host import Host
from labmon.scan.methods.rounds import ProbeRounds


class LateAnswers:
    """The methods of one sweep that may still be answered."""

    def __init__(self) -> None:
        self._methods: list[ProbeRounds] = []

    def add(self, method: ProbeRounds) -> None:
        """Take in its late answers for as long as its socket is open."""
        self._methods.append(method)

    def receive(self) -> list[Host]:
        """Hosts that have answered since. Does not wait."""
        return [host for method in self._methods for host in method.receive()]

    @property
    def left(self) -> float:
        """Seconds until every host has had the whole timeout to answer its first question."""
        now = time.monotonic()
        return max((method.late_until - now for method in self._methods), default=0.0)
