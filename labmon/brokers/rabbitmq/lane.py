"""One of the two queues that a consumer receives from, on a channel of its own.

RabbitMQ limits a consumer by a count of messages only. So a lane that holds more than `HELD_BYTES` gives up
its subscription; what arrives until that is done goes back to the server unseen (pika rejects it). When half
is settled the lane subscribes again, for as many as would fit if all were as large as the largest, and for
more of them once those were small.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from functools import partial
from typing import Any

from labmon.brokers.base import HELD_BYTES
from labmon.brokers.rabbitmq.session import CLOSE_TIMEOUT, Channel, ConsumerCancelled, Session
from labmon.brokers.rabbitmq.wire import IncomingMessage

GROWTH = 4
"""How many times as many messages are asked for, once small ones have come."""


class Lane:
    """Its messages: those that wait here, and the numbers of all that are not settled.

    `arrived` and `unsettled` are guarded by the consumer's lock. All else, but `open` and `close`, is for the
    thread of the connection.
    """

    def __init__(self, name: str, prefetch: int) -> None:
        self.name = name
        self.channel: Channel
        self.arrived: deque[IncomingMessage] = deque()  #: not handed out yet
        self.unsettled: OrderedDict[int, int] = OrderedDict()  #: number on the channel -> bytes, in order
        self.was_full = False
        self.settled_at = 0.0
        self.fetches = prefetch  #: how many the server may have sent that are not settled
        self.is_subscribed = False
        self._most = prefetch
        self._consumer_tag = ""
        self._is_changing = False
        self._is_closing = False
        self._count = 0
        self._bytes = 0
        self._largest = 1
        self._take: Callable[[Lane, IncomingMessage, int], None]

    def open(
        self,
        session: Session,
        take: Callable[["Lane", IncomingMessage, int], None],
        end: Callable[[BaseException], None],
    ) -> None:
        """Subscribe. On the thread of the connection `take` is called with each message and its bytes, and
        `end` when the server closes the channel or deletes the queue."""

        def start(channel: Any, answer: Callable[[Any], None]) -> None:
            channel.add_on_close_callback(lambda _, error: end(error))
            channel.add_on_cancel_callback(lambda _: end(ConsumerCancelled()))
            self._subscribe(self.fetches, answer)

        self._take = take
        self.channel = Channel(session)
        self.channel.ask(start)

    def close(self, session: Session) -> None:
        """Receive no more, and give back what is not settled. Raises pika's errors."""

        def end(_: Any, answer: Callable[[Any], None]) -> None:
            self._is_closing = True
            self._cancel(answer)

        self.channel.ask(end, timeout=CLOSE_TIMEOUT)
        session.submit(partial(self.channel.raw.basic_nack, 0, multiple=True))

    def settle(self, numbers: set[int], multiple: bool) -> tuple[int, list[int], int]:
        """(all up to this number at once, these one by one, bytes of both). The first may be 0, for none."""
        upto = 0
        for number in self.unsettled if multiple else ():
            if number not in numbers:
                break
            upto = number
        freed = sum(self.unsettled.pop(number) for number in numbers)
        return upto, sorted(number for number in numbers if number > upto), freed

    def settled(self, count: int, freed: int) -> None:
        """Note that the server has been sent the settling of `count` messages of `freed` bytes."""
        self._count -= count
        self._bytes -= freed
        self._adjust()

    def _arrive(self, _: Any, method: Any, properties: Any, body: bytes) -> None:
        received = IncomingMessage(method, properties, body)
        cost = received.cost
        self._count += 1
        self._bytes += cost
        if cost > self._largest:
            self._largest = cost
        self._take(self, received, cost)
        if self._bytes > HELD_BYTES or self.fetches < self._most:
            self._adjust()

    def _adjust(self) -> None:
        if self._is_changing or self._is_closing:
            return
        fitting = min(self._most, max(1, HELD_BYTES // self._largest))
        if self.is_subscribed:
            if self._bytes > HELD_BYTES:
                self._resubscribe_later(fitting)
            # With as many here as were asked for, none is on its way that pika would reject.
            elif self.fetches < fitting and self._count >= self.fetches:
                self._resubscribe_later(min(fitting, GROWTH * self.fetches))
        elif self._bytes <= HELD_BYTES // 2:
            self._subscribe(min(self.fetches, fitting), lambda _: None)

    def _resubscribe_later(self, count: int) -> None:
        self.fetches = count
        self._cancel(lambda _: self._adjust())

    def _subscribe(self, count: int, answer: Callable[[Any], None]) -> None:
        def subscribed(frame: Any) -> None:
            self._is_changing = False
            answer(frame)

        def consume(_: Any) -> None:
            self.is_subscribed = True
            self._consumer_tag = channel.basic_consume(self.name, self._arrive, callback=subscribed)

        channel = self.channel.raw
        self._is_changing = True
        self.fetches, self._largest = count, 1
        channel.basic_qos(prefetch_count=count, callback=consume)

    def _cancel(self, answer: Callable[[Any], None]) -> None:
        def cancelled(frame: Any) -> None:
            self._is_changing = False
            answer(frame)

        if not self.is_subscribed or self._is_changing:
            answer(None)
            return
        self.is_subscribed, self._is_changing = False, True
        self.channel.raw.basic_cancel(self._consumer_tag, callback=cancelled)
