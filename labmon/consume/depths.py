"""How deep the queues are, for the supervisor to act on and, when it lasts, for somebody to be told."""

from collections.abc import Callable, Mapping

from labmon.backlog import due_alerts
from labmon.brokers.base import Broker, Depth
from labmon.config import Config
from labmon.errors import BrokerError, BrokerRefused
from labmon.messages import utcnow
from labmon.publish import Publisher
from labmon.spool import Spool


class Depths:
    """Looks with a broker of its own. `known` is for any thread, `look` and `close` for one."""

    def __init__(self, config: Config, open_broker: Callable[[], Broker], say: Callable[[str], None]) -> None:
        """`say` is told when an alert has to wait in the spool."""
        self.known: Mapping[str, Depth] = {}  #: as it was at the last look; {} while the broker is away
        self._config = config
        self._open_broker = open_broker
        self._say = say
        self._broker: Broker | None = None

    def look(self) -> None:
        """Ask the broker, and send the queue_backlog alerts that are due. Raises BrokerError, OSError."""
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
        alerts = due_alerts(found, self._config.queue, self._config.state.path, utcnow())
        if alerts:
            with Publisher(
                lambda: broker, self._config.queue, Spool.of(self._config), self._say
            ) as publisher:
                for one in alerts:
                    publisher.send(one)
                publisher.flush()

    def close(self) -> None:
        """Never raises."""
        if self._broker is not None:
            self._broker.close()
            self._broker = None
