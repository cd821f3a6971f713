"""Whether to ask the silent again, judged by what earlier rounds found. No I/O."""

CERTAIN = 20
"""Hosts, all found in the first round, that show that nothing gets lost."""

ROUNDS_IN_DOUBT = 5
"""Rounds without a new host before the sweep ends, when no host at all has answered."""

CHEAP = 4096
"""Silent addresses up to which one more round is made on no more than a suspicion."""

QUICK = 0.5
"""Seconds that a round may take to be made only because few hosts have answered."""

LATE = 0.05
"""Share of the hosts that a later round may find without meaning loss: slow hosts, or a loss so rare that two
rounds make up for it."""


class RetryPolicy:
    """Is given the result of each round and decides whether there is another.

    The silent are asked at least twice, and again for as long as that finds new hosts. When it finds many,
    packets get lost, and all rounds are made, unless there are very many silent addresses.

    When three of ten packets are lost each way, half of the questions find their answer: six rounds leave
    2 % of the hosts undiscovered, the usual eight 0.5 %. A few hosts that all answered at once say little
    about the others, so the fewer they are, the more rounds must find nothing new. Where nothing is lost, two
    rounds are made when `CERTAIN` hosts have answered, and one more for every five hosts fewer, as long as a
    round is quick.
    """

    def __init__(self) -> None:
        self._found: int | None = None
        self._idle = 0  # rounds since the last new host
        self._lossy = False

    def goes_on(self, found: int, silent: int = 0, seconds: float = 0.0) -> bool:
        """After a round: `found` hosts so far; another round would ask `silent` addresses in `seconds`."""
        if self._found is not None:
            new = found - self._found
            self._idle = 0 if new else self._idle + 1
            self._lossy = self._lossy or new > LATE * found
        self._found = found
        if silent > CHEAP:
            return self._idle < 1
        enough = self._enough(found)
        return self._lossy or self._idle < (enough if seconds <= QUICK else min(enough, 2))

    @staticmethod
    def _enough(found: int) -> int:
        """Rounds without a new host after which none is expected any more."""
        return max(1, ROUNDS_IN_DOUBT - found * (ROUNDS_IN_DOUBT - 1) // CERTAIN)
