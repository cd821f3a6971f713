"""Messages into the broker."""

from collections import defaultdict

from labmon.brokers.base import Broker, Message
from labmon.config import Queue
from labmon.messages import Alert, AnyMessage, Discovery, Metrics, ScanFinished, encode

BATCH = 500


def queue_of(message: AnyMessage, names: Queue) -> str:
    """The configured queue that a message belongs to."""
    match message:
        case Discovery() | ScanFinished():
            return names.discovery_queue
        case Metrics():
            return names.metrics_queue
        case Alert():
            return names.alert_queue


class Publisher:
    """A sink that publishes what it is given, a batch at a time.

    What `flush` has returned for is the broker's. `send` and `flush` raise BrokerError.
    """

    def __init__(self, broker: Broker, names: Queue) -> None:
        self._broker = broker
        self._names = names
        self._waiting: defaultdict[str, list[Message]] = defaultdict(list)
        self._declared: set[str] = set()

    def send(self, message: AnyMessage) -> None:
        """Publish it, now or with the next `flush`."""
        queue = queue_of(message, self._names)
        self._waiting[queue].append(Message.new(encode(message), message.routing_key))
        if len(self._waiting[queue]) >= BATCH:
            self._publish(queue)

    def flush(self) -> None:
        """Publish everything sent so far."""
        for queue in list(self._waiting):
            self._publish(queue)

    def _publish(self, queue: str) -> None:
        if queue not in self._declared:
            self._broker.declare(queue)
            self._declared.add(queue)
        self._broker.publish(queue, self._waiting[queue])
        del self._waiting[queue]
