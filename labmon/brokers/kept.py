"""The connection that a broker keeps for itself, beside those of its consumers."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Generic, Protocol, TypeVar

from labmon.errors import BrokerUnavailable


class _Closes(Protocol):
    def close(self) -> None: ...


C = TypeVar("C", bound=_Closes)


class KeptConnection(Generic[C]):
    """Made when it is first used, and anew when the last was lost."""

    def __init__(self, connect: Callable[[], C], is_usable: Callable[[C], bool]) -> None:
        self._connect = connect
        self._is_usable = is_usable
        self._current: C | None = None

    @contextmanager
    def use(self, errors: AbstractContextManager[None]) -> Iterator[C]:
        """The connection; closed after BrokerUnavailable, as which `errors` raises that it was lost."""
        try:
            with errors:
                if self._current is None or not self._is_usable(self._current):
                    self.close()
                    self._current = self._connect()
                yield self._current
        except BrokerUnavailable:
            self.close()
            raise

    def close(self) -> None:
        """The next use connects again."""
        if self._current is not None:
            self._current.close()
            self._current = None
