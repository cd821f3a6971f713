"""Publishing with confirms, many at a time.

pika's own blocking channel waits for the confirm of each message, which is 1,200 messages
a second, against 19,000 here.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from labmon.brokers.rabbitmq import topology
from labmon.brokers.rabbitmq.connection import RabbitEndpoint
from labmon.brokers.rabbitmq.session import ANSWER_TIMEOUT, AMQPError, Channel, Session, fail
from labmon.brokers.rabbitmq.wire import OutgoingMessage
from labmon.errors import BrokerRefused, BrokerUnavailable

WINDOW = 1000
"""Messages on their way at the same time. The next follow when half of them are confirmed."""

WINDOW_BYTES = 2**24
"""And no more than this, unless one alone is larger: until they are sent they are in memory twice."""

NEW_QUEUE = 1.5
"""Seconds that a new quorum queue is not quite there yet. RabbitMQ 3 writes its name to the disk up to a
second later; killed before, it starts with an empty queue, whatever it has confirmed."""

NO_ROUTE = 312


class Unsendable(Exception):
    """A message that pika cannot write."""


class NotConfirmed(Exception):
    """The server has sent a message back, or refused to keep it."""

    def __init__(self, message: OutgoingMessage | None, code: int, text: str) -> None:
        super().__init__(text)
        self.message = message
        self.code = code


class ConfirmingPublisher:
    """A connection that only publishes: short of memory, RabbitMQ stops reading from those that do.

    Connects when it is first used, and again when the last connection was lost. For any number of threads.
    """

    def __init__(self, server: RabbitEndpoint) -> None:
        self._server = server
        self._lock = threading.Lock()
        self._channel: _ConfirmingChannel | None = None
        self._sure_at = 0.0

    def queue_made(self) -> None:
        """Confirms mean little for a moment, so `publish` will wait."""
        self._sure_at = time.monotonic() + NEW_QUEUE

    def reaches(self, queue: str, pattern: str) -> bool:
        """True when messages for the queue can go through the exchanges, to which it is bound if need be.

        False where this account may not bind: then publish straight to the queue, since the binding cannot be
        checked. Asked once per connection. Raises as `publish`.
        """
        with self._lock, self._server.errors(queue):
            channel = self._opened()
            if queue not in channel.bound:
                channel.bound[queue] = topology.bind(channel.session, queue, pattern)
            return channel.bound[queue]

    def publish(self, messages: Sequence[OutgoingMessage]) -> None:
        """Return once the server has confirmed every one: a quorum queue has them on the disks of most nodes.

        Raises BrokerUnavailable and BrokerRefused; then any of them may have been taken.
        """
        if not messages:
            return
        with self._lock, self._server.errors():
            try:
                self._opened().publish(messages)
            except NotConfirmed as error:
                raise self._translated(error) from error
            except Unsendable as error:
                self._drop()
                raise BrokerRefused(f"{self._server.name}: {error}") from error
            except BaseException:  # Ctrl-C too: whatever is still on its way must not be mixed with the next
                self._drop()
                raise
        time.sleep(max(0.0, self._sure_at - time.monotonic()))

    def close(self) -> None:
        """Let the connection go. It may be used again."""
        with self._lock:
            self._drop()

    def _opened(self) -> "_ConfirmingChannel":
        if self._channel is not None and self._channel.channel.is_over:
            self._drop()
        if self._channel is None:
            session = self._server.connect("publisher")
            try:
                self._channel = _ConfirmingChannel(session)
            except BaseException:
                session.close()
                raise
        return self._channel

    def _drop(self) -> None:
        if self._channel is not None:
            self._channel.session.close()
            self._channel = None

    def _translated(self, error: NotConfirmed) -> BrokerRefused | BrokerUnavailable:
        if error.code == NO_ROUTE and error.message is not None:
            where = error.message.routing_key
            if error.message.exchange:
                where = f"queue for {where} at the exchange {error.message.exchange}"
            return self._server.no_queue(where)
        return BrokerUnavailable(f"{self._server.name}: {error}")


class _ConfirmingChannel:
    """One batch at a time."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.channel = Channel(session)
        self.bound: dict[str, bool] = {}
        self._published = 0  #: on this channel; it counts from one, as the server does
        self._batch: _Batch | None = None

        def confirm(channel: Any, answer: Any) -> None:
            channel.add_on_return_callback(self._returned)
            channel.add_on_close_callback(self._closed)
            channel.confirm_delivery(self._confirmed, callback=answer)

        self.channel.ask(confirm)

    def publish(self, messages: Sequence[OutgoingMessage]) -> None:
        batch = _Batch(messages, self.session.promise())

        def start() -> None:
            self._batch = batch
            self._send()

        self.session.submit(start)
        confirmed = 0
        while True:
            try:
                batch.done.result(ANSWER_TIMEOUT)
                return
            except TimeoutError:
                if batch.done.done() or batch.confirmed == confirmed:
                    raise
                confirmed = batch.confirmed

    def _send(self) -> None:
        batch = self._batch
        if batch is None or batch.done.done():
            return
        try:
            while batch.has_room() and batch.trouble is None:
                message = batch.unsent.pop()
                self.channel.raw.basic_publish(*message[:2], message.body, message.properties, mandatory=True)
                self._published += 1
                batch.unconfirmed[self._published] = len(message.body)
                batch.bytes += len(message.body)
        except AMQPError as error:
            fail(batch.done, error)
        except Exception as error:
            fail(batch.done, Unsendable(f"a message cannot be sent: {type(error).__name__}: {error}"))

    def _confirmed(self, frame: Any) -> None:
        """basic.ack or basic.nack: of one message, or of all up to it, in any order."""
        batch = self._batch
        if batch is None:
            return
        batch.confirm(frame.method.delivery_tag, frame.method.multiple)
        if frame.method.NAME == "Basic.Nack" and batch.trouble is None:
            batch.trouble = NotConfirmed(
                None, 0, "a queue did not take a message: it is full, or has no majority"
            )
        if not batch.unconfirmed and (batch.trouble or not batch.unsent):
            self._batch = None
            if batch.trouble:
                fail(batch.done, batch.trouble)
            else:
                batch.done.set_result(None)
        elif len(batch.unconfirmed) <= WINDOW // 2:
            self._send()

    def _returned(self, _: Any, method: Any, properties: Any, body: bytes) -> None:
        """Nothing is bound there. The confirm follows all the same."""
        if self._batch is not None and self._batch.trouble is None:
            message = OutgoingMessage(method.exchange, method.routing_key, properties, body)
            self._batch.trouble = NotConfirmed(message, method.reply_code, method.reply_text)

    def _closed(self, _: Any, error: BaseException) -> None:
        if self._batch is not None:
            fail(self._batch.done, error)


class _Batch:
    def __init__(self, messages: Sequence[OutgoingMessage], done: "Future[None]") -> None:
        self.done = done
        self.unsent = list(reversed(messages))
        self.unconfirmed: OrderedDict[int, int] = OrderedDict()  #: number -> size
        self.bytes = 0  #: of these
        self.confirmed = 0  #: how many
        self.trouble: NotConfirmed | None = None

    def has_room(self) -> bool:
        """True when the next one may be sent."""
        room = len(self.unconfirmed) < WINDOW and self.bytes < WINDOW_BYTES
        return bool(self.unsent) and (room or not self.unconfirmed)

    def confirm(self, number: int, multiple: bool) -> None:
        """One message, or all up to it."""
        while multiple and self.unconfirmed and (first := next(iter(self.unconfirmed))) <= number:
            self._forget(first)
        if not multiple:
            self._forget(number)

    def _forget(self, number: int) -> None:
        if number in self.unconfirmed:
            self.bytes -= self.unconfirmed.pop(number)
            self.confirmed += 1
