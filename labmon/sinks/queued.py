"""Messages into the broker; into the spool when it takes none."""

import time
from collections.abc import Callable, Sequence

from labmon.brokers.base import Broker, Message
from labmon.config.tables import QueueConfig
from labmon.errors import BrokerRefused, LabmonError
from labmon.sinks.buffered import BufferedSink, QueueRefused
from labmon.sinks.spool.spool import Spool


class QueueSink(BufferedSink):
    """Publishes what it is given. Declares the configured queues; all others have to exist."""

    def __init__(
        self,
        open_broker: Callable[[], Broker],
        settings: QueueConfig,
        spool: Spool,
        say: Callable[[str], None],
        *,
        database: str = "",
        declares: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`open_broker` is called when first needed, and again if it raised. Closing it is not done here.

        Without `declares` no queue is made: one that is missing is refused.
        """
        super().__init__(settings, spool, say, database=database, clock=clock)
        self._open_broker = open_broker
        self._broker: Broker | None = None
        self._undeclared = set(settings.names) if declares else set()
        self._declares = declares

    def _open(self) -> None:
        self._connected()

    def _connected(self) -> Broker:
        if self._broker is None:
            self._broker = self._open_broker()
        return self._broker

    def _deliver(self, queue: str, messages: Sequence[Message]) -> None:
        broker = self._connected()
        try:
            if queue in self._undeclared:
                broker.declare(queue)
                self._undeclared.discard(queue)
            broker.publish(queue, messages)
        except LabmonError as error:
            if self._declares:
                self._undeclared = set(self._settings.names)  # it may come back without its queues
            if isinstance(error, BrokerRefused):
                raise QueueRefused(str(error)) from error
            raise
