"""Storing without a queue: the same messages to the same handlers, in the same process."""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

import psycopg

from labmon import pg
from labmon.brokers.base import Message
from labmon.config import Config
from labmon.consume.handlers import handlers
from labmon.errors import LabmonError, StoreError
from labmon.messages import AnyMessage, encode
from labmon.priority import Priorities
from labmon.publish import Pause, queue_of
from labmon.spool import Spool, SpoolError
from labmon.store.pool import Store

logger = logging.getLogger(__name__)

BATCH = 500


class Direct:
    """A sink that stores what it is given, a batch at a time, and spools it while the database is away.

    Enter it before the work and leave it after: entering stores what the spool holds, leaving says in one
    line, by `say`, what it holds then and why. What `flush` has returned for is stored, or on the disk. What
    can never be stored is said and counted.

    `send` and `flush` raise SpoolError when messages were neither stored nor kept. `flush` raises StoreError
    when the database took some for nonsense, after all others were stored.
    """

    def __init__(
        self,
        open_store: Callable[[], Store],
        config: Config,
        spool: Spool,
        say: Callable[[str], None],
        *,
        away: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`open_store` is called when first needed, and again if it raised. Closing it is not done here.

        `away`: it has just raised, and that has been said.
        """
        self._open_store = open_store
        self._queue = config.queue
        self._priorities = Priorities(config.queue)
        self._handlers = handlers(config)
        self._spool = spool
        self._say = say
        self._pause = Pause(clock)
        if away:
            self._pause.begin(0)
        self._clock = clock
        self._opened: Store | None = None
        self._waiting: defaultdict[str, list[Message]] = defaultdict(list)
        self._trouble = ""
        self._refused: list[str] = []  #: why the database did not take a message
        self.rejected = 0  #: messages that could not be stored, so far
        self.spooled = 0  #: messages that went to the spool, and are there still

    def __enter__(self) -> Self:
        with suppress(SpoolError):  # it will be said when somebody needs it
            if self._pause.is_over and not self._spool.is_empty():
                self._reaches(self._drain)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(SpoolError):
            if self.spooled:
                waiting = (
                    f"Messages waiting in the spool: {self._spool.count():,}; they are stored first next time"
                )
                stop = "" if self._trouble.endswith((".", "?", "!")) else "."
                self._say(f"{self._trouble}{stop} {waiting}" if self._trouble else waiting)

    def send(self, message: AnyMessage, *, dept: int | None = None, lab: int | None = None) -> None:
        """Store it, now or with the next `flush`. `dept` and `lab` matter only if a queue gets it later."""
        queue = queue_of(message, self._queue)
        high = self._priorities.is_high(message, dept=dept, lab=lab)
        self._waiting[queue].append(Message.new(encode(message), message.routing_key, high=high))
        if len(self._waiting[queue]) >= BATCH:
            self._store_all(queue)

    def flush(self) -> None:
        """Store everything sent so far."""
        for queue in list(self._waiting):
            self._store_all(queue)
        if refused := self._refused:
            self._refused = []
            raise StoreError(f"{len(refused)} messages could not be stored: {refused[0]}")

    def _store_all(self, queue: str) -> None:
        messages = self._waiting.pop(queue)
        try:
            self._store_or_spool(queue, messages)
        except psycopg.Error:  # one by one, so that only the culprit pays
            for place, message in enumerate(messages):
                try:
                    self._store_or_spool(queue, [message])
                except psycopg.Error as error:
                    self._refused.append(pg.one_line(error))
                except SpoolError:
                    self._waiting[queue] = messages[place:]
                    raise

    def _store_or_spool(self, queue: str, messages: list[Message]) -> None:
        """Raises psycopg's errors where it is the messages that are wrong."""
        if self._pause.is_over and self._reaches(lambda: self._store_in_order(queue, messages)):
            return
        try:
            self._spool.append(queue, messages)
        except SpoolError as error:
            self._pause.end()  # the next `flush` has to find a database, or they are lost
            self._waiting[queue] = messages
            raise SpoolError(
                f"{len(messages)} messages were neither stored nor kept: {error}; {self._trouble}"
            ) from error
        self.spooled += len(messages)

    def _reaches(self, work: Callable[[], None]) -> bool:
        """False, and a pause begins, when there is no database to do it."""
        started = self._clock()
        try:
            work()
        except SpoolError:
            raise
        except LabmonError as error:
            logger.info("%s; the spool takes the messages", error)
            self._trouble = str(error)
            self._pause.begin(self._clock() - started)
            return False
        self._trouble = ""
        self._pause.end()
        return True

    def _store_in_order(self, queue: str, messages: Sequence[Message]) -> None:
        if self.spooled:
            self._drain()
        self._store(queue, messages)

    def _store(self, queue: str, messages: Sequence[Message]) -> None:
        if self._opened is None:
            self._opened = self._open_store()
        with self._opened.transaction() as connection:
            rejected = self._handlers[queue](connection, [one.body for one in messages])
        self.rejected += len(rejected)
        for rejection in rejected.values():
            self._say(f"not stored: {rejection.reason}")

    def _drain(self) -> None:
        """Store what the spool holds, oldest first, unless another process is at it."""
        with self._spool.draining() as mine:
            while mine and (batch := self._spool.oldest(BATCH)):
                if not batch.messages.keys() <= self._handlers.keys():
                    logger.warning("%s: messages for another queue; see labmon spool", self._spool.path)
                    return
                try:
                    for queue, messages in batch.messages.items():
                        self._store(queue, messages)
                except psycopg.Error as error:
                    logger.warning("%s: messages that cannot be stored: %s", self._spool.path, error)
                    return
                self._spool.remove(batch)
            if mine:
                self.spooled = 0
