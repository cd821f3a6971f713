"""How many messages wait in the queues: for the supervisor and for the alert rules."""

from collections.abc import Callable, Mapping, Sequence

from labmon.brokers.base import Broker, Depth
from labmon.errors import BrokerError, BrokerRefused


class QueueDepths:
    """Asks over a connection of its own. `known` is for any thread, `refresh` and `close` are for one."""

    def __init__(self, queues: Sequence[str], open_broker: Callable[[], Broker]) -> None:
        self.known: Mapping[str, Depth] = {}  #: as of the last refresh; {} while the broker is away
        self._queues = queues
        self._open_broker = open_broker
        self._broker: Broker | None = None

    def refresh(self) -> None:
        """Ask the broker; queues that are not declared yet are left out. Raises BrokerError."""
        found = {}
        try:
            broker = self._broker = self._broker or self._open_broker()
            for queue in self._queues:
                try:
                    found[queue] = broker.depth(queue)
                except BrokerRefused:
                    continue
        except BrokerError:
            self.known = {}
            raise
        self.known = found

    def close(self) -> None:
        """Close the connection. Never raises."""
        if self._broker is not None:
            self._broker.close()
            self._broker = None
