"""How deep the queues are: for the supervisor, and for the alert rules."""

from collections.abc import Callable, Mapping

from labmon.brokers.base import Broker, Depth
from labmon.config import Config
from labmon.errors import BrokerError, BrokerRefused


class Depths:
    """Looks with a broker of its own. `known` is for any thread, `look` and `close` for one."""

    def __init__(self, config: Config, open_broker: Callable[[], Broker]) -> None:
        self.known: Mapping[str, Depth] = {}  #: as it was at the last look; {} while the broker is away
        self._config = config
        self._open_broker = open_broker
        self._broker: Broker | None = None

    def look(self) -> None:
        """Ask the broker. Raises BrokerError."""
        found = {}
        try:
            broker = self._broker = self._broker or self._open_broker()
            for queue in self._config.queue.names:
                try:
                    found[queue] = broker.depth(queue)
                except BrokerRefused:
                    continue  # not declared yet
        except BrokerError:
            self.known = {}
            raise
        self.known = found

    def close(self) -> None:
        """Never raises."""
        if self._broker is not None:
            self._broker.close()
            self._broker = None
