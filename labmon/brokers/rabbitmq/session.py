"""A connection to RabbitMQ and the thread that serves it, so that heartbeats go on while a database is slow.

Nothing of pika's is touched on any other thread.
"""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any

from pika import ConnectionParameters
from pika.adapters.select_connection import IOLoop
from pika.adapters.utils.connection_workflow import AMQPConnectorException as AMQPConnectorException
from pika.exceptions import AMQPConnectionError
from pika.exceptions import AMQPError as AMQPError
from pika.exceptions import ChannelClosed as ChannelClosed
from pika.exceptions import ChannelClosedByBroker as ChannelClosedByBroker
from pika.exceptions import ConsumerCancelled as ConsumerCancelled
from pika.spec import Basic

from labmon.brokers.rabbitmq.fast_frames import FastConnection

CONNECT_TIMEOUT = 5.0
"""Seconds for one address to accept, and as many again for TLS and AMQP."""

ANSWER_TIMEOUT = 30.0
"""Seconds without an answer after which a server is as good as away, as a queue without its majority is."""

CLOSE_TIMEOUT = 3.0

GetEmpty = Basic.GetEmpty

Question = Callable[[Any, Callable[[Any], None]], None]
"""Of pika's channel and of what to call with the answer."""

_pika = logging.getLogger("pika")
_pika.addHandler(logging.NullHandler())
_pika.setLevel(logging.CRITICAL)  # it logs tracebacks of what it raises, which labmon reports in one line


class Session:
    """One connection. `promise` and `submit` are for any thread, `channel` for one."""

    def __init__(self, parameters: ConnectionParameters) -> None:
        """Return when it is open. Raises pika's errors, OSError and TimeoutError."""
        self._lock = threading.Lock()
        self._error: BaseException | None = None
        self._promises: set[Future[Any]] = set()
        self._asking: Channel | None = None
        self._loop = IOLoop()
        opened = self.promise()
        self.connection = FastConnection(
            parameters,
            on_open_callback=opened.set_result,
            on_open_error_callback=self._ended,
            on_close_callback=self._ended,
            custom_ioloop=self._loop,
        )
        self._thread = threading.Thread(target=self._serve, name="labmon rabbitmq", daemon=True)
        self._thread.start()
        try:
            opened.result(3 * CONNECT_TIMEOUT)
        except BaseException:
            self.close()
            raise

    @property
    def is_over(self) -> bool:
        """True when the connection is lost or closed."""
        return self._error is not None

    @property
    def server_version(self) -> str:
        """As the server said when the connection was opened: "RabbitMQ 3.12.1"."""
        said = self.connection.server_properties or {}
        return f"{said.get('product', 'RabbitMQ')} {said.get('version', '')}".strip()

    def channel(self) -> "Channel":
        """The channel for questions and answers, a new one when the last question closed it."""
        if self._asking is None or self._asking.is_over:
            self._asking = Channel(self)
        return self._asking

    def promise(self) -> Future[Any]:
        """A future for something that the thread will know. It fails when the connection is lost."""
        promise: Future[Any] = Future()
        with self._lock:
            if self._error is not None:
                promise.set_exception(self._error)
            else:
                self._promises.add(promise)
        promise.add_done_callback(self._promises.discard)
        return promise

    def submit(self, job: Callable[[], None]) -> None:
        """Run it on the thread, after what was submitted before. Raises why the connection is over."""
        with self._lock:
            if self._error is not None:
                raise self._error.with_traceback(None)
            self._loop.add_callback_threadsafe(partial(self._do, job))

    def close(self) -> None:
        """Close the connection, or drop it when the server does not answer. Idempotent; never raises."""
        for end in (self._close, self._abort):
            with suppress(Exception):
                self.submit(end)
            self._thread.join(CLOSE_TIMEOUT)
            if not self._thread.is_alive():
                return

    def _close(self) -> None:
        if not (self.connection.is_closing or self.connection.is_closed):
            self.connection.close()

    def _abort(self) -> None:
        if not self.connection.abort():
            self._loop.stop()

    @staticmethod
    def _do(job: Callable[[], None]) -> None:
        with suppress(AMQPError):  # on a closed channel: its own callback has the reason
            job()

    def _serve(self) -> None:
        while True:
            try:
                self._loop.start()
                break
            except Exception as error:  # from a callback: a mistake, pika's or labmon's
                if self._error is not None:
                    break
                self._note(error)
                self._abort()
        self._note(AMQPConnectionError("it is closed"))
        self._loop.close()

    def _ended(self, _: Any, error: BaseException) -> None:
        self._note(error)
        self._loop.stop()

    def _note(self, error: BaseException) -> None:
        if not isinstance(error, AMQPError | AMQPConnectorException | OSError):
            error = AMQPConnectionError(f"{type(error).__name__}: {error}")
        with self._lock:
            if self._error is None:
                self._error = error
            promises = list(self._promises)
        for promise in promises:
            fail(promise, self._error)


class Channel:
    """One channel, for one thread at a time. When the server refuses something on it, it is over."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.error: BaseException | None = None
        self.raw: Any = None  #: pika's own
        self._waiting: Future[Any] | None = None

        def start(opened: Callable[[Any], None]) -> None:
            self.raw = session.connection.channel(on_open_callback=opened)
            self.raw.add_on_close_callback(self._closed)

        self._await(start)

    @property
    def is_over(self) -> bool:
        """True when nothing can be asked any more."""
        return self.error is not None or self.session.is_over

    def ask(self, question: Question, *, timeout: float = ANSWER_TIMEOUT) -> Any:
        """The server's answer. The question is called on the connection's thread.

        Raises pika's errors, and TimeoutError.
        """
        return self._await(lambda answer: question(self.raw, answer), timeout)

    def close(self) -> None:
        """Return when the server has taken back what was not settled. Raises as `ask` does."""
        with suppress(ChannelClosed):
            self._await(lambda _: self.raw.close())

    def _await(self, start: Callable[[Callable[[Any], None]], None], timeout: float = ANSWER_TIMEOUT) -> Any:
        promise = self.session.promise()

        def job() -> None:
            self._waiting = promise
            try:
                if self.error is not None:
                    raise self.error.with_traceback(None)
                start(promise.set_result)
            except Exception as error:
                fail(promise, error)

        self.session.submit(job)
        return promise.result(timeout)

    def _closed(self, _: Any, error: BaseException) -> None:
        self.error = error
        if self._waiting is not None:
            fail(self._waiting, error)


def fail(promise: Future[Any], error: BaseException) -> None:
    """Unless it is done."""
    if not promise.done():
        promise.set_exception(error)
