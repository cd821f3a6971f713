"""Messages into the broker; into the spool when it takes none. The only place that publishes again."""

import logging
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from labmon.brokers.base import Broker, Message
from labmon.config import Queue
from labmon.errors import LabmonError
from labmon.messages import Alert, AnyMessage, Discovery, Metrics, ScanFinished, SystemStatus, encode
from labmon.priority import Priorities
from labmon.spool import Spool, SpoolError

logger = logging.getLogger(__name__)

BATCH = 500
LINGER = 1.0
"""Seconds that a message may wait for others to fill its batch: all that a kill of the process can lose."""

HOLD = 20 * BATCH
"""Messages kept in memory while neither the broker nor the disk takes any, before giving up."""

MANY = 20_000
"""Spooled messages whose sending takes long enough to be announced."""


def queue_of(message: AnyMessage, names: Queue) -> str:
    """The configured queue that a message belongs to."""
    match message:
        case Discovery() | ScanFinished() | SystemStatus():
            return names.discovery_queue
        case Metrics():
            return names.metrics_queue
        case Alert():
            return names.alert_queue


class Publisher:
    """A sink that publishes what it is given, a batch at a time, and spools what the broker does not take.

    Enter it before the work and leave it after: entering sends what the spool holds, leaving says in one
    line, by `say`, what it holds then and why. What `flush` has returned for is the broker's, or on the disk
    and the broker's later, under the same ids. What is spooled goes first, unless another process is just
    sending it. A broker that failed is asked again only after growing pauses, without anybody waiting.

    `send` and `flush` raise SpoolError when messages were neither sent nor kept; these stay with it for the
    next `flush`. Any other exception, Ctrl-C too, leaves the messages at hand in the spool.
    """

    def __init__(
        self,
        open_broker: Callable[[], Broker],
        names: Queue,
        spool: Spool,
        say: Callable[[str], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`open_broker` is called when first needed, and again if it raised. Closing it is not done here."""
        self._open_broker = open_broker
        self._names = names
        self._priorities = Priorities(names)
        self._spool = spool
        self._say = say
        self._clock = clock
        self._pause = Pause(clock)
        self._broker: Broker | None = None
        self._declared: set[str] = set()
        self._waiting: dict[str, list[Message]] = {}
        self._room = BATCH
        self._due = 0.0
        self.rejected = 0  #: as a sink has it: what a queue cannot store is found out later
        self.spooled = 0  #: how many wait in the spool since
        self._trouble = ""  # with the broker
        self._defect = ""  # of the spool

    def __enter__(self) -> Self:
        with suppress(SpoolError):  # it will be said
            if (count := self._spool.count()) >= MANY:
                self._say(f"sending {count:,} messages from the spool first")
        self._contact()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if line := self.summary():
            self._say(line)

    def send(self, message: AnyMessage, *, dept: int | None = None, lab: int | None = None) -> None:
        """Publish it, now or with one of the next. `dept` and `lab` of its system decide on its lane."""
        if not self._waiting:
            self._room, self._due = BATCH, self._clock() + LINGER
        queue = queue_of(message, self._names)
        high = self._priorities.is_high(message, dept=dept, lab=lab)
        made = Message.new(encode(message), message.routing_key, high=high)
        self._waiting.setdefault(queue, []).append(made)
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
        """Publish or spool everything sent so far, and try to send what is in the spool."""
        try:
            self._hand_over()
        except SpoolError:
            self._pause.end()  # it is this or losing them
            self._hand_over()
        if self._pause.is_over:
            self._contact()

    def drain(self) -> Iterator[int]:
        """Send what the spool holds, oldest first, and yield how many went, batch by batch.

        Ends at once when another process is doing it. Raises what the broker does, and SpoolError.
        """
        if self._spool.is_empty():
            return
        with self._spool.draining() as mine:
            while mine and (batch := self._spool.oldest(BATCH)):
                for queue, messages in batch.messages.items():
                    self._publish(queue, messages)
                self._spool.remove(batch)
                yield batch.count
            if mine:
                self.spooled = 0

    def summary(self) -> str | None:
        """What the user should know about the spool, in one line. None while all is well."""
        try:
            waiting = self._spool.count()
        except SpoolError as error:
            return str(error)
        if not self._trouble or not waiting:
            return self._defect or None
        all_in_all = f" ({waiting:,} in all)" if 0 < self.spooled < waiting else ""
        dropped = f", {self._spool.dropped:,} older ones were dropped" if self._spool.dropped else ""
        return (
            f"{self._trouble}{'' if self._trouble[-1] in '.?!' else '.'} "
            f"Messages waiting in the spool: {self.spooled or waiting:,}{all_in_all}{dropped}; "
            "they go out first next time, or by: labmon spool flush"
        )

    def _hand_over(self) -> None:
        """Everything that waits. Raises SpoolError with the rest still waiting."""
        for queue, messages in list(self._waiting.items()):
            while batch := messages[:BATCH]:
                self._deliver(queue, batch)
                del messages[:BATCH]
            del self._waiting[queue]

    def _deliver(self, queue: str, batch: Sequence[Message]) -> None:
        sent = False
        try:
            sent = self._pause.is_over and self._contact(queue, batch)
        except BaseException as error:
            # Nobody knows whether the broker took them, and whoever pressed Ctrl-C waits for no broker.
            self._pause.for_good()
            self._trouble = "interrupted" if isinstance(error, KeyboardInterrupt) else repr(error)
            self._keep(queue, batch)
            del self._waiting[queue][: len(batch)]
            raise
        if not sent:
            self._keep(queue, batch)

    def _keep(self, queue: str, batch: Sequence[Message]) -> None:
        try:
            self._spool.append(queue, batch)
        except SpoolError as error:
            count = sum(map(len, self._waiting.values()))
            raise SpoolError(
                f"{count:,} messages were neither sent nor kept: {error}; {self._trouble}"
            ) from error
        self.spooled += len(batch)

    def _contact(self, queue: str = "", batch: Sequence[Message] = ()) -> bool:
        """Send what is in the spool, then these. False, and a pause begins, when the broker takes none."""
        started = self._clock()
        try:
            self._opened()
            self._drain_first()
            if batch:
                self._publish(queue, batch)
        except LabmonError as error:
            logger.info("%s; the spool takes the messages", error)
            self._trouble = str(error)
            self._pause.begin(self._clock() - started)
            return False
        self._trouble = ""
        self._pause.end()
        return True

    def _drain_first(self) -> None:
        self._defect = ""
        try:
            sent = sum(self.drain())
        except SpoolError as error:  # no reason to keep others from the broker
            self._defect = str(error)
        else:
            if sent:
                logger.info("%d messages sent from the spool", sent)

    def _opened(self) -> Broker:
        if self._broker is None:
            self._broker = self._open_broker()
        return self._broker

    def _publish(self, queue: str, messages: Sequence[Message]) -> None:
        broker = self._opened()
        try:
            if queue not in self._declared:
                broker.declare(queue)
                self._declared.add(queue)
            broker.publish(queue, messages)
        except LabmonError:
            self._declared.clear()  # it may come back without its queues
            raise


class Pause:
    """When a server that failed may be asked again: 0.5 s later at first, 30 s at most, jittered.

    At least three times as long as the failure took, so that a run spends no more than a quarter of its time
    on one that does not answer at all.
    """

    FIRST, LONGEST = 0.5, 30.0

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures = 0
        self._until = float("-inf")

    @property
    def is_over(self) -> bool:
        return self._clock() >= self._until

    def begin(self, took: float) -> None:
        wait = min(self.LONGEST, self.FIRST * 2 ** min(self._failures, 10))
        self._failures += 1
        self._until = self._clock() + max(random.uniform(wait / 2, wait), min(3 * took, self.LONGEST))

    def end(self) -> None:
        self._failures, self._until = 0, float("-inf")

    def for_good(self) -> None:
        self._until = float("inf")
