"""Questions to servers that may never answer: who asks waits for a while and no longer."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class NoAnswer(Exception):
    """There is none so far."""


class Asking(Generic[T]):
    """Asks in a thread of its own, one question at a time. Any thread may call it.

    The thread is a daemon, so that a dead connection keeps no process alive.
    """

    def __init__(self, name: str, ask: Callable[[], T]) -> None:
        self._name = name
        self._ask = ask
        self._lock = threading.Lock()
        self._answer: Future[T] | None = None
        self._is_late = False

    @property
    def is_open(self) -> bool:
        """True while a question has no answer."""
        return self._answer is not None and not self._answer.done()

    def answer(self, patience: float, *, late: float = 0) -> T:
        """The answer to a question that is asked now, or by another thread at this moment.

        Raises what the question raises, and NoAnswer after `patience` seconds; from then on after `late`
        seconds, until the answer has come.
        """
        with self._lock:
            if self._answer is None or self._answer.done():
                self._answer, self._is_late = Future(), False
                threading.Thread(target=self._run, args=(self._answer,), name=self._name, daemon=True).start()
            answer = self._answer
            wait = late if self._is_late else patience
        try:
            return answer.result(wait)
        except TimeoutError:
            if answer.done():
                raise
            with self._lock:
                self._is_late = self._is_late or self._answer is answer
            raise NoAnswer from None

    def _run(self, answer: Future[T]) -> None:
        try:
            answer.set_result(self._ask())
        except BaseException as error:
            answer.set_exception(error)
