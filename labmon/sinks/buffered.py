"""The state machine under every sink: batches to a server, and to the spool while that server is away."""

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Self

from labmon.backoff import LONGEST, Backoff
from labmon.brokers.base import Message
from labmon.config.tables import QueueConfig
from labmon.errors import Exit, LabmonError
from labmon.messages import AnyMessage, encode
from labmon.readable import plural
from labmon.sinks.base import queue_of
from labmon.sinks.priority import Priorities
from labmon.sinks.spool.spool import Spool, SpooledBatch, SpoolError

logger = logging.getLogger(__name__)

BATCH = 500
LINGER = 1.0
"""Seconds that a message may wait for others to fill its batch: all that a kill of the process can lose."""

HOLD = 20 * BATCH
"""Messages kept in memory while neither the server nor the disk takes any, before giving up."""

DRAIN_TIME = 2.0
"""Seconds that a command spends on the spool each time it reaches the server. What is left goes with later
batches, later commands, or `labmon spool flush`: an outage of days must not hold up the next scan."""


class QueueRefused(LabmonError):
    """One queue takes nothing, while others may. Its messages stay in the spool."""

    exit_code = Exit.BROKER


class BufferedSink(ABC):
    """Delivers messages a batch at a time, and spools what the server does not take.

    Enter it before the work and leave it after: entering begins with what the spool holds, leaving says in
    one line, by `say`, what it holds then and why. What `flush` has returned for is delivered, or on the disk
    and delivered later under the same ids. What is spooled goes first, for DRAIN_TIME at a time, unless
    another process is sending it. A server that failed is asked again with exponential backoff, and no caller
    waits.

    `send` and `flush` raise SpoolError when messages were neither delivered nor kept; these stay with it for
    the next `flush`. Any other exception, Ctrl-C too, leaves the messages at hand in the spool.
    """

    DELIVERED = "sent"
    """The participle for a delivered message."""

    NEXT_TIME = "they go out first next time, or by: labmon spool flush"
    """What becomes of messages in the spool."""

    def __init__(
        self,
        settings: QueueConfig,
        spool: Spool,
        say: Callable[[str], None],
        *,
        database: str = "",
        away: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`database` is the identity of the database behind the server, as far as it is known.

        `away`: the server has just failed, and the user knows.
        """
        self.database = database
        self.rejected = 0
        self.spooled = 0
        self._settings = settings
        self._priorities = Priorities(settings)
        self._spool = spool
        self._say = say
        self._clock = clock
        self._gate = RetryGate(clock)
        if away:
            self._gate.failed(0)
        self._waiting: dict[tuple[str, str], list[Message]] = {}  #: by queue and database
        self._room = BATCH
        self._due = 0.0
        self._trouble = ""  #: with the server
        self._defect = ""  #: of the spool
        self._refused: dict[str, str] = {}  #: why queues took nothing of what is spooled for them
        self._unfinished = False  #: the spool was not emptied for lack of time

    @abstractmethod
    def _open(self) -> None:
        """Connect, unless connected. May set `database`. Raises LabmonError."""

    @abstractmethod
    def _deliver(self, queue: str, messages: Sequence[Message]) -> None:
        """Return once they are safe. Raises QueueRefused, or another LabmonError while the server is away."""

    def __enter__(self) -> Self:
        if self._gate.is_open:
            self._contact()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if line := self.summary():
            self._say(line)

    def send(
        self, message: AnyMessage, *, dept: int | None = None, lab: int | None = None, database: str = ""
    ) -> None:
        """See `Sink.send`."""
        if not self._waiting:
            self._room, self._due = BATCH, self._clock() + LINGER
        key = queue_of(message, self._settings), database
        high = self._priorities.is_high(message, dept=dept, lab=lab)
        made = Message.new(encode(message), message.routing_key, high=high)
        self._waiting.setdefault(key, []).append(made)
        self._room -= 1
        if self._room <= 0 or self._clock() >= self._due:
            try:
                self._hand_over()
            except SpoolError as error:
                if sum(map(len, self._waiting.values())) >= HOLD:
                    raise
                logger.warning("%s; trying again", error)
                self._room, self._due = BATCH, self._clock() + LINGER

    def flush(self) -> None:
        """Deliver or spool everything sent so far, and continue with what is in the spool."""
        try:
            self._hand_over()
        except SpoolError:
            self._gate.reset()  # it is this or losing them
            self._hand_over()
        if self._gate.is_open:
            self._contact()

    def drain(self, *, seconds: float = float("inf")) -> Iterator[int]:
        """Deliver what the spool holds, oldest first, and yield how many went, batch by batch.

        Ends at once when another process is doing it, and after about `seconds`. A queue that takes nothing
        keeps its messages and holds up no other (`refused`); those of another database stay. Raises what the
        server does, and SpoolError.
        """
        self._refused, self._unfinished = {}, False
        if self._spool.is_empty():
            return
        self._open()
        after, end = 0, self._clock() + seconds
        with self._spool.draining() as mine:
            while mine and (batch := self._next_batch(after)):
                delivered: list[str] = []
                try:
                    for queue, messages in batch.messages.items():
                        try:
                            self._deliver(queue, messages)
                        except QueueRefused as error:
                            self._refused[queue] = str(error)
                        else:
                            delivered.append(queue)
                finally:
                    self._spool.remove(batch, delivered)
                yield sum(len(batch.messages[queue]) for queue in delivered)
                after = batch.last
                if self._clock() >= end:
                    self._unfinished = self._next_batch(after) is not None
                    break
            if mine and self.spooled:
                self.spooled = min(self.spooled, self._spool.count())

    @property
    def refused(self) -> dict[str, str]:
        """The queues that took nothing in the last drain, and why."""
        return self._refused

    def summary(self) -> str | None:
        """What the user should know about the spool, in one line. None while all is well."""
        try:
            waiting = self._spool.count()
            foreign = self._spool.count(other_than=self.database) if waiting and self.database else 0
        except SpoolError as error:
            return str(error)
        parts = [self._defect] if self._defect else []
        if waiting and (self._trouble or self._unfinished or self.spooled > foreign):
            all_in_all = f" ({waiting:,} in all)" if 0 < self.spooled < waiting else ""
            dropped = f", {self._spool.dropped:,} older ones were dropped" if self._spool.dropped else ""
            parts += [self._trouble] if self._trouble else []
            parts.append(
                f"Messages waiting in the spool: {self.spooled or waiting:,}{all_in_all}{dropped}; "
                f"{self.NEXT_TIME}"
            )
        for queue, reason in self._refused.items():
            parts.append(f"Messages for {queue} stay in the spool: {reason}. See: labmon spool list")
        if foreign:
            be = "is" if foreign == 1 else "are"
            about = f"{plural(foreign, 'message')} in the spool {be} about another database"
            parts.append(f"{about}. See: labmon spool list")
        return _sentences(parts) or None

    def _next_batch(self, after: int) -> SpooledBatch | None:
        return self._spool.oldest(BATCH, after=after, skip=self._refused, database=self.database)

    def _hand_over(self) -> None:
        """Everything that waits. Raises SpoolError with the rest still waiting."""
        for (queue, database), messages in list(self._waiting.items()):
            while messages:
                try:
                    self._put(queue, database, messages[:BATCH])
                except SpoolError:
                    raise
                except BaseException:
                    del messages[:BATCH]  # `_put` has kept them
                    raise
                del messages[:BATCH]
            del self._waiting[queue, database]

    def _put(self, queue: str, database: str, batch: Sequence[Message]) -> None:
        """Deliver or spool a batch."""
        delivered = False
        try:
            delivered = self._gate.is_open and self._contact(queue, database, batch)
        except BaseException as error:
            # Whether the server took them is unknown, and Ctrl-C should not wait for a server.
            self._gate.close()
            self._trouble = "interrupted" if isinstance(error, KeyboardInterrupt) else repr(error)
            self._keep(queue, database, batch)
            raise
        if not delivered:
            self._keep(queue, database, batch)

    def _keep(self, queue: str, database: str, batch: Sequence[Message]) -> None:
        try:
            self._spool.append(queue, batch, database=database)
        except SpoolError as error:
            count = sum(map(len, self._waiting.values()))
            lost = f"{plural(count, 'message')} {'was' if count == 1 else 'were'}"
            raise SpoolError(f"{lost} neither {self.DELIVERED} nor kept: {error}; {self._trouble}") from error
        self.spooled += len(batch)

    def _contact(self, queue: str = "", database: str = "", batch: Sequence[Message] = ()) -> bool:
        """Deliver from the spool for a while, then this batch. False when the batch has to be spooled.

        That is while the server is away, which closes the gate, or when the batch is of another database.
        """
        started = self._clock()
        try:
            self._drain_for_a_while()
            if batch:
                self._open()
                if database and self.database and database != self.database:
                    return False
                if queue in self._refused:  # what is spooled for it goes first
                    raise QueueRefused(self._refused[queue])
                self._deliver(queue, batch)
        except LabmonError as error:
            logger.info("%s; the spool takes the messages", error)
            self._trouble = str(error)
            self._gate.failed(self._clock() - started)
            return False
        self._trouble = ""
        self._gate.reset()
        return True

    def _drain_for_a_while(self) -> None:
        self._defect = ""
        try:
            count = sum(self.drain(seconds=DRAIN_TIME))
        except SpoolError as error:  # no reason to keep others from the server
            self._defect = str(error)
        else:
            if count:
                logger.info("%d messages %s from the spool", count, self.DELIVERED)


class RetryGate:
    """Closed after a failure until the server may be asked again.

    At least three times as long as the failure took, so that a run spends no more than a quarter of its time
    on a server that does not answer at all.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._backoff = Backoff()
        self._until = float("-inf")

    @property
    def is_open(self) -> bool:
        return self._clock() >= self._until

    def failed(self, took: float) -> None:
        """Close it; the failure took this many seconds."""
        self._until = self._clock() + max(self._backoff.failed(), min(3 * took, LONGEST))

    def close(self) -> None:
        """Close it for good."""
        self._until = float("inf")

    def reset(self) -> None:
        """Open it; the next failure is the first again."""
        self._backoff.reset()
        self._until = float("-inf")


def _sentences(parts: Sequence[str]) -> str:
    *first, last = parts or [""]
    return " ".join([*(part if part[-1] in ".?!" else f"{part}." for part in first), last])
