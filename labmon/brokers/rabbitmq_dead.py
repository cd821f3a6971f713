"""Going through the dead letters of a queue at RabbitMQ, where to look at messages is to take them."""

import queue as queues
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

from labmon.brokers import rabbitmq_topology as topology
from labmon.brokers.base import DeadLetter
from labmon.brokers.rabbitmq_connection import Server
from labmon.brokers.rabbitmq_session import AMQPError, GetEmpty, Line, Session
from labmon.brokers.rabbitmq_wire import DEAD, Received
from labmon.errors import BrokerUnavailable

WINDOW = 20_000
"""Dead letters that are fetched together. What is returned goes before what was never fetched, but behind
what was returned earlier. So they keep their places as long as everybody fetches as many as were ever
returned."""

RETURNED = 1.0
"""Seconds until what was returned is surely there. The server says that it is a little before that."""

QUIET = 2.0
"""Seconds without another one after which somebody else must have the rest."""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A dead letter that this walk holds."""

    letter: DeadLetter
    received: Received
    line: Line


class DeadLetters:
    """One walk from the oldest on, over those that were there when it began.

    What it has not removed goes back to its place when it is left.
    """

    def __init__(self, server: Server, session: Session, queue: str) -> None:
        self._server = server
        self._session = session
        self._queue = queue
        self._arrived: queues.SimpleQueue[tuple[Line, Received] | BaseException] = queues.SimpleQueue()
        self._held: dict[Line, int] = {}
        self._count()  # raises where there is no such queue
        self._first = self._another()
        self._unseen = self._begin(self._first)
        self._remaining = self._unseen

    def __enter__(self) -> "DeadLetters":
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(AMQPError, TimeoutError):
            for line in self._held:
                # When a channel ends, what it held goes back in the old order; a nack would shuffle it.
                line.close()
            if self._held:
                self._wait_for(self._remaining)

    def find(self, reason: str | None, limit: int) -> list[Found]:
        """The oldest, of those whose reason begins so."""
        return list(islice(self._walk(reason), max(0, limit)))

    def chunks(self, reason: str | None, limit: int | None, size: int) -> Iterator[list[Found]]:
        """The same, some at a time; each chunk is removed before the next is asked for."""
        walk = islice(self._walk(reason), limit)
        while chunk := list(islice(walk, size)):
            yield chunk

    def remove(self, chosen: Sequence[Found]) -> None:
        """For good."""

        def remove() -> None:
            for one in chosen:
                one.line.channel.basic_ack(one.received.method.delivery_tag)

        self._session.submit(remove)
        for one in chosen:
            self._held[one.line] -= 1
        self._remaining -= len(chosen)

    def _count(self) -> int:
        found = topology.look(self._session, self._queue + DEAD)
        if found is None:
            raise self._server.no_queue(self._queue + DEAD)
        return int(found.message_count)

    def _begin(self, line: Line) -> int:
        """How many there are, some of which this line is being given.

        Just after a start, a quorum queue has no leader or has not read all of its log, and counts nothing
        or a part. To subscribe takes its turn in that log, and so does to get, which finds nothing here and
        whose answer comes after all that was given.
        """

        def get(channel: Any, answer: Callable[[Any], None]) -> None:
            def got(_: Any, *parts: Any) -> None:
                self._arrived.put((line, Received(*parts)))
                answer(True)

            channel.add_callback(lambda _: answer(False), [GetEmpty])
            channel.basic_get(self._queue + DEAD, got)

        left = self._count()
        if left:
            return WINDOW + left
        line.ask(get)
        return self._arrived.qsize()

    def _wait_for(self, count: int) -> None:
        """Until what was held is back."""
        deadline = time.monotonic() + RETURNED
        while self._count() < count and time.monotonic() < deadline:
            pass

    def _walk(self, reason: str | None) -> Iterator[Found]:
        line = self._first
        while self._unseen > 0:
            if self._held[line] >= WINDOW:
                line = self._another()
            try:
                arrived = self._arrived.get(timeout=QUIET)
            except queues.Empty:
                return
            if isinstance(arrived, BaseException):
                raise BrokerUnavailable(
                    f"{self._server.name}: the dead letters of {self._queue} are gone"
                ) from arrived
            self._unseen -= 1
            source, received = arrived
            self._held[source] += 1
            letter = received.dead_letter(self._queue)
            if reason is None or letter.reason.startswith(reason):
                yield Found(letter, received, source)

    def _another(self) -> Line:
        """A channel can hold so many; the next ones come to another."""
        line = Line(self._session)
        self._held[line] = 0
        line.ask(lambda channel, answer: channel.basic_qos(prefetch_count=WINDOW, callback=answer))
        line.ask(partial(self._subscribe, line))
        return line

    def _subscribe(self, line: Line, channel: Any, answer: Callable[[Any], None]) -> None:
        channel.add_on_close_callback(lambda _, error: self._arrived.put(error))
        channel.basic_consume(
            self._queue + DEAD,
            lambda _, *parts: self._arrived.put((line, Received(*parts))),
            callback=answer,
        )
