"""How often to ask, judged by what asking again has brought. No I/O."""

CERTAIN = 20
"""So many hosts, all found in the first round, show that nothing gets lost."""

ROUNDS_IN_DOUBT = 5
"""Rounds that must bring nobody new before the sweep ends, when nobody at all has answered."""

CHEAP = 4096
"""So many silent addresses may be asked some more on no more than a suspicion."""

QUICK = 0.5
"""So many seconds a round may take to be made on the doubt alone that few hosts leave."""

LATE = 0.05
"""A share of the hosts that may turn up in a later round for being slow, or by a loss so rare that two
rounds make up for it."""


class Persistence:
    """Told of each round, says whether to make another.

    The silent are asked at least once more, and on for as long as that brings somebody new. When it brings
    many, packets do get lost, and there is no reason to stop, unless the silent are very many.

    When of ten packets three are lost each way, half of the questions find their answer: six rounds leave
    2 % of the hosts undiscovered, the usual eight 0.5 %. A few hosts that all answered at once say little
    about the others, so the fewer they are the more rounds must bring nobody. Where nothing is lost, two
    rounds are made when `CERTAIN` hosts have answered, and one more for every five that they are fewer, as
    long as a round is quick.
    """

    def __init__(self) -> None:
        self._found: int | None = None
        self._idle = 0  # rounds since somebody new was found
        self._lossy = False

    def goes_on(self, found: int, silent: int = 0, seconds: float = 0.0) -> bool:
        """After a round: `found` so far, `silent` is how many another round would ask, in so many seconds."""
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
        """Idle rounds after which nobody else is to be expected."""
        return max(1, ROUNDS_IN_DOUBT - found * (ROUNDS_IN_DOUBT - 1) // CERTAIN)
