"""Storing without a queue: the same messages to the same handlers, in the same process."""

import time
from collections.abc import Callable, Sequence

from labmon import pg
from labmon.brokers.base import Message
from labmon.errors import LabmonError, StoreError, StoreForbidden
from labmon.ingest.handlers import handlers
from labmon.ingest.settings import IngestSettings
from labmon.readable import plural
from labmon.sinks.buffered import BufferedSink, QueueRefused
from labmon.sinks.spool.spool import Spool
from labmon.store.identity import database_id
from labmon.store.pool import Store


class DirectSink(BufferedSink):
    """Stores what it is given, and spools it while the database is away or is another one.

    What can never be stored is said and counted (`rejected`). `flush` raises StoreError when the database
    took some messages for nonsense, after all others were stored, and StoreForbidden when the role may not
    store at all: then they are in the spool.
    """

    DELIVERED = "stored"
    NEXT_TIME = "they are stored first next time"

    def __init__(
        self,
        open_store: Callable[[], Store],
        settings: IngestSettings,
        spool: Spool,
        say: Callable[[str], None],
        *,
        away: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`open_store` is called when first needed, and again if it raised. Closing it is not done here.

        `away`: it has just raised, and that has been said.
        """
        super().__init__(settings.queue, spool, say, away=away, clock=clock)
        self._open_store = open_store
        self._handlers = handlers(settings)
        self._store: Store | None = None
        self._nonsense: list[str] = []  #: why the database did not take a message
        self._forbidden: StoreForbidden | None = None

    def flush(self) -> None:
        """Store or spool everything sent so far."""
        super().flush()
        if error := self._forbidden:
            self._forbidden = None
            raise error
        if reasons := self._nonsense:
            self._nonsense = []
            raise StoreError(f"{plural(len(reasons), 'message')} could not be stored: {reasons[0]}")

    def _open(self) -> None:
        self._opened()

    def _opened(self) -> Store:
        if self._store is None:
            store = self._open_store()
            with store.transaction() as connection:
                self.database = database_id(connection)
            self._store = store
        return self._store

    def _deliver(self, queue: str, messages: Sequence[Message]) -> None:
        if queue not in self._handlers:
            raise QueueRefused(f"it is none of the configured queues, {', '.join(self._handlers)}")
        try:
            self._handle(queue, messages)
        except StoreForbidden as error:
            self._forbidden = error
            raise
        except LabmonError:
            raise
        except Exception as error:  # one by one, so that only the culprit pays
            if len(messages) > 1:
                for message in messages:
                    self._deliver(queue, [message])
            else:
                self._nonsense.append(_reason(error))

    def _handle(self, queue: str, messages: Sequence[Message]) -> None:
        with self._opened().transaction() as connection:
            rejected = self._handlers[queue](connection, [one.body for one in messages])
        self.rejected += len(rejected)
        for rejection in rejected.values():
            self._say(f"not stored: {rejection.reason}")


def _reason(error: Exception) -> str:
    if isinstance(error, pg.Error):
        return pg.one_line(error)
    return " ".join(f"{type(error).__name__}: {error}".split())
