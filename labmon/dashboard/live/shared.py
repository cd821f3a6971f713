"""Something that is read once for all who ask at about the same time."""

import time
from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


class Shared(Generic[T]):
    """Reads again when what it has is older than `max_age` seconds. Any thread may ask.

    What the read raises is raised to all until then, so that a hundred clients do not wait one after the
    other for a server that is away.
    """

    def __init__(self, read: Callable[[], T], max_age: float) -> None:
        self._read = read
        self._max_age = max_age
        self._lock = Lock()
        self._at = float("-inf")
        self._value: T | None = None
        self._error: Exception | None = None

    def get(self, max_age: float | None = None) -> T:
        """The newest, or one that is no older than this. Raises what the read does."""
        limit = self._max_age if max_age is None else max_age
        asked = time.monotonic()
        if asked - self._at > limit:
            with self._lock:
                if asked - self._at > limit:  # nobody else has read it while this one waited
                    self._refresh()
        if self._error is not None:
            raise self._error.with_traceback(None)
        assert self._value is not None
        return self._value

    def expire(self) -> None:
        """What it has is out of date: the next question reads again."""
        self._at = float("-inf")

    def _refresh(self) -> None:
        begun = time.monotonic()
        try:
            self._value, self._error = self._read(), None
        except Exception as error:
            self._error = error
            begun = time.monotonic()
        self._at = begun
