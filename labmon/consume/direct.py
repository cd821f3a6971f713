"""Storing without a queue: the same messages to the same handlers, in the same process."""

from collections import defaultdict
from collections.abc import Callable

import psycopg

from labmon import pg
from labmon.config import Config
from labmon.consume.handlers import Rejection, handlers
from labmon.errors import StoreError
from labmon.messages import AnyMessage, encode
from labmon.publish import queue_of
from labmon.store.pool import Store

BATCH = 500


class Direct:
    """A sink that stores what it is given, a batch at a time. `on_reject` hears of what cannot be stored.

    `send` and `flush` raise StoreError; what has not been stored by then is lost with the process, which is
    what the queue is for.
    """

    def __init__(
        self, store: Store, config: Config, on_reject: Callable[[AnyMessage, Rejection], None]
    ) -> None:
        self._store = store
        self._queue = config.queue
        self._handlers = handlers(config)
        self._on_reject = on_reject
        self.rejected = 0  #: messages that could not be stored, so far
        self._waiting: defaultdict[str, list[AnyMessage]] = defaultdict(list)

    def send(self, message: AnyMessage, *, dept: int | None = None, lab: int | None = None) -> None:
        """Store it, now or with the next `flush`. There are no lanes here for `dept` and `lab` to choose."""
        queue = queue_of(message, self._queue)
        self._waiting[queue].append(message)
        if len(self._waiting[queue]) >= BATCH:
            self._store_all(queue)

    def flush(self) -> None:
        """Store everything sent so far."""
        for queue in list(self._waiting):
            self._store_all(queue)

    def _store_all(self, queue: str) -> None:
        messages = self._waiting.pop(queue)
        try:
            with self._store.transaction() as connection:
                rejected = self._handlers[queue](connection, [encode(message) for message in messages])
        except psycopg.Error as error:
            raise StoreError(f"{len(messages)} messages could not be stored: {pg.one_line(error)}") from error
        self.rejected += len(rejected)
        for place, rejection in rejected.items():
            self._on_reject(messages[place], rejection)
