"""Answers that are made once for all who ask the same at about the same time: a class that opens one page."""

import gzip
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cached_property
from threading import Lock

from labmon.dashboard.live.shared import Shared

MOST = 64
"""Answers that are kept."""


@dataclass(frozen=True)
class Answer:
    """JSON, ready to be sent."""

    body: bytes

    @cached_property
    def body_gzip(self) -> bytes:
        """The same, compressed. Made once, by the first who wants it."""
        return gzip.compress(self.body, 5, mtime=0)


class Recent:
    """The newest answers by what was asked. Threads share it."""

    def __init__(self, max_age: float) -> None:
        self._max_age = max_age
        self._answers: OrderedDict[Hashable, Shared[Answer]] = OrderedDict()
        self._lock = Lock()

    def get(self, asked: Hashable, make: Callable[[], bytes]) -> Answer:
        """The answer to this question, made now or `max_age` seconds ago at most. Raises what `make` does."""
        with self._lock:
            if asked not in self._answers:
                self._answers[asked] = Shared(lambda: Answer(make()), self._max_age)
            found = self._answers[asked]
            self._answers.move_to_end(asked)
            while len(self._answers) > MOST:
                self._answers.popitem(last=False)
        return found.get()
