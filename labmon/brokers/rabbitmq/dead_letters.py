"""Going through the dead letters of a queue at RabbitMQ, where to look at messages is to take them.

The server returns what was taken to a place before what was never taken, but behind what was returned
earlier. So the dead letters keep their order as long as every walk takes as many as were ever returned:
each takes `FIRST` of them at least, whether it reads them or not. After a walk that went further, and
removed less, the next ones begin where this one ended.
"""

import queue as queues
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from threading import Lock
from typing import Any

from labmon.brokers.base import HELD_BYTES, DeadLetter, Ids
from labmon.brokers.rabbitmq.connection import RabbitEndpoint
from labmon.brokers.rabbitmq.queue_length import take_first
from labmon.brokers.rabbitmq.session import AMQPError, Channel, Session
from labmon.brokers.rabbitmq.topology import look
from labmon.brokers.rabbitmq.wire import DEAD, IncomingMessage
from labmon.closing import Closing
from labmon.errors import BrokerUnavailable

FIRST = 500
"""Dead letters that a walk takes at first."""

LARGEST_PAGE = 20_000
"""Dead letters that one channel holds: each channel of a walk takes four times as many as the one before."""

RETURNED = 1.0
"""Seconds until what was returned is surely there. The server says that it is a little before that."""

QUIET = 2.0
"""Seconds without another dead letter after which the server is asked whether there are any."""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A dead letter that this walk holds."""

    letter: DeadLetter
    received: IncomingMessage
    page: "_Page"


class _Page:
    """A channel and what is held on it."""

    def __init__(self, channel: Channel, size: int) -> None:
        self.channel = channel
        self.size = size
        self.held = 0
        self.consumer_tag: str | None = None  #: while it receives


class DeadLetters(Closing):
    """One walk from the oldest on, over those that were there when it began.

    Holds `HELD_BYTES` of messages that were not looked at yet, about, and none that were and did not match.
    What it has not removed goes back to its place when it is closed.
    """

    def __init__(self, server: RabbitEndpoint, session: Session, queue: str) -> None:
        """Raises BrokerRefused when there is no such queue, and pika's errors."""
        self._server = server
        self._session = session
        self._queue = queue
        self._arrived: queues.SimpleQueue[tuple[_Page, IncomingMessage | None] | BaseException] = (
            queues.SimpleQueue()
        )
        self._lock = Lock()
        self._waiting_bytes = 0
        self._largest = 1
        self._received = 0
        self._pages: list[_Page] = []
        if look(session, queue + DEAD) is None:
            raise server.no_queue(queue + DEAD)
        self.total = self._begin()  #: how many there are; exact
        self._unseen = self._remaining = self.total

    def close(self) -> None:
        with suppress(AMQPError, TimeoutError):
            self._let_arrive()
            for page in self._pages if len(self._pages) > 1 else ():
                self._cancel(page)  # or it would be given what the others return
            for page in self._pages:
                # When a channel ends, what it held goes back in the old order; a nack would shuffle it.
                page.channel.close()
            if self._pages:
                self._wait_for(self._remaining)

    def find(self, limit: int, reason: str | None = None, id: str | None = None) -> list[Found]:
        """The oldest, of those whose reason and whose message's id begin so."""
        return list(islice(self._walk(reason, id), max(0, limit)))

    def count(self, limit: int | None, reason: str | None) -> int:
        """How many `find` would find."""
        return sum(1 for _ in islice(self._walk(reason), limit))

    def chunks(
        self, limit: int | None, reason: str | None, size: int, ids: Ids = None
    ) -> Iterator[list[Found]]:
        """The same, up to `size` at a time and of no more than `HELD_BYTES`, unless one alone is larger. Each
        chunk is removed before the next is asked for."""
        chunk: list[Found] = []
        held = 0
        for found in islice(self._walk(reason, ids=ids), limit):
            if chunk and (len(chunk) == size or held + found.received.cost > HELD_BYTES):
                yield chunk
                chunk, held = [], 0
            chunk.append(found)
            held += found.received.cost
        if chunk:
            yield chunk

    def remove(self, chosen: Sequence[Found]) -> None:
        """For good."""

        def remove() -> None:
            for one in chosen:
                one.page.channel.raw.basic_ack(one.received.method.delivery_tag)

        self._session.submit(remove)
        for one in chosen:
            one.page.held -= 1
        self._remaining -= len(chosen)

    def _begin(self) -> int:
        first = take_first(self._session, self._queue + DEAD)
        if first is None:
            return 0
        page = _Page(first.channel, FIRST + 1)
        self._pages.append(page)
        self._put(page, first.received)
        if first.left:
            self._subscribe(page, FIRST)
        return first.left + 1

    def _let_arrive(self) -> None:
        """Wait for what was asked for: the server gives back shuffled what it sends to a consumer that
        has just ended (rabbitmq-server issue 3729)."""
        expected = min(self.total, sum(page.size for page in self._pages))
        deadline = time.monotonic() + RETURNED
        while self._received < expected and self._pages[-1].consumer_tag and time.monotonic() < deadline:
            time.sleep(0.002)

    def _wait_for(self, count: int) -> None:
        """Until what was held is back."""
        deadline = time.monotonic() + RETURNED
        while time.monotonic() < deadline:
            found = look(self._session, self._queue + DEAD)
            if found is None or found.message_count >= count:
                return

    def _walk(self, reason: str | None, id: str | None = None, ids: Ids = None) -> Iterator[Found]:
        while self._unseen > 0:
            page, received = self._next()
            if page is None:
                return
            if received is None:  # it was cancelled because of the bytes that wait
                self._open_page(HELD_BYTES // self._largest)
                continue
            self._unseen -= 1
            page.held += 1
            if page.held >= page.size and page is self._pages[-1] and self._unseen > self._arrived.qsize():
                self._open_page(min(4 * page.size, LARGEST_PAGE, max(1, HELD_BYTES // self._largest)))
            letter = received.dead_letter(self._queue)
            begins_so = letter.reason.startswith(reason or "") and letter.message.id.startswith(id or "")
            if begins_so and (ids is None or letter.message.id in ids):
                yield Found(letter, received, page)

    def _next(self) -> tuple[_Page | None, IncomingMessage | None]:
        """The next that has arrived; no page when another process holds the rest."""
        try:
            arrived = self._arrived.get(timeout=QUIET)
        except queues.Empty:
            return self._asked_for()
        if isinstance(arrived, BaseException):
            raise BrokerUnavailable(
                f"{self._server.name}: the dead letters of {self._queue} are gone"
            ) from arrived
        page, received = arrived
        if received is not None:
            with self._lock:
                self._waiting_bytes -= received.cost
        return page, received

    def _asked_for(self) -> tuple[_Page | None, IncomingMessage | None]:
        """What a get finds after a silence: the server may only be slow."""
        first = take_first(self._session, self._queue + DEAD)
        if first is not None:
            page = _Page(first.channel, 1)
            self._pages.insert(0, page)
            return page, first.received
        try:  # what was on its way when the get was answered
            arrived = self._arrived.get(timeout=QUIET)
        except queues.Empty:
            return None, None
        self._arrived.put(arrived)
        return self._next()

    def _put(self, page: _Page, received: IncomingMessage) -> None:
        with self._lock:
            self._received += 1
            self._waiting_bytes += received.cost
            self._largest = max(self._largest, received.cost)
            is_too_much = self._waiting_bytes > HELD_BYTES
        self._arrived.put((page, received))
        if is_too_much and page.consumer_tag is not None:
            tag, page.consumer_tag = page.consumer_tag, None
            page.channel.raw.basic_cancel(tag, callback=lambda _: self._arrived.put((page, None)))

    @staticmethod
    def _cancel(page: _Page) -> None:
        def cancel(raw: Any, answer: Callable[[Any], None]) -> None:
            if page.consumer_tag is None:
                answer(None)
            else:
                raw.basic_cancel(page.consumer_tag, callback=answer)

        page.channel.ask(cancel)

    def _open_page(self, size: int) -> None:
        page = _Page(Channel(self._session), max(1, size))
        self._pages.append(page)
        self._subscribe(page, page.size)

    def _subscribe(self, page: _Page, count: int) -> None:
        def subscribe(raw: Any, answer: Callable[[Any], None]) -> None:
            raw.add_on_close_callback(lambda _, error: self._arrived.put(error))
            page.consumer_tag = raw.basic_consume(
                self._queue + DEAD,
                lambda _, *parts: self._put(page, IncomingMessage(*parts)),
                callback=answer,
            )

        page.channel.ask(lambda raw, answer: raw.basic_qos(prefetch_count=count, callback=answer))
        page.channel.ask(subscribe)
