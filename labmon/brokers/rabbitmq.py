"""RabbitMQ 3.10 or later, driven by pika. Its queues are quorum queues: what they confirm is on the disk.

`rabbitmq_topology` draws the exchanges and queues, `rabbitmq_wire` says what a message looks like,
`rabbitmq_session` has the threads. A broker asks on one connection and publishes on another, since the
server stops reading from those that publish when it is short of memory, and that is when people ask how
deep the queues are.
"""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from labmon.brokers import rabbitmq_setup as setup
from labmon.brokers import rabbitmq_topology as topology
from labmon.brokers.base import Broker, DeadLetter, Depth, Message
from labmon.brokers.rabbitmq_connection import Server
from labmon.brokers.rabbitmq_consumer import RabbitConsumer
from labmon.brokers.rabbitmq_dead import DeadLetters
from labmon.brokers.rabbitmq_management import Management
from labmon.brokers.rabbitmq_publisher import Publisher
from labmon.brokers.rabbitmq_session import Session
from labmon.brokers.rabbitmq_wire import DEAD, HIGH, Letter, matches, new_letter
from labmon.errors import BrokerError, BrokerUnavailable

logger = logging.getLogger(__name__)

CHUNK = 1000
"""Dead letters that are put back at once."""


class RabbitBroker(Broker):
    """Connects when it is first used.

    `bindings` gives the routing keys of a queue, such as "metrics.#": its messages go through the exchange,
    where others can listen in; those of a queue without go straight to it. `ttl` gives the seconds after
    which a queue's messages are expired.
    """

    def __init__(
        self,
        server: Server,
        *,
        bindings: Mapping[str, str] | None = None,
        ttl: Mapping[str, float] | None = None,
    ) -> None:
        self._server = server
        self._bindings = dict(bindings or {})
        self._ttl = dict(ttl or {})
        self._management = Management(server) if server.management_url else None
        self._publisher = Publisher(server)
        self._asking: Session | None = None
        self._consumers: list[RabbitConsumer] = []

    def declare(self, queue: str) -> bool:
        with self._session() as session:
            made = topology.declare(session, queue, self._bindings.get(queue))
        if made:
            self._publisher.queue_made()
        return made

    def is_declared(self, queue: str) -> bool:
        with self._session() as session:
            return not any(topology.missing(session, queue, self._bindings.get(queue)))

    def publish(self, queue: str, messages: Sequence[Message]) -> None:
        if messages:
            pattern = self._bindings.get(queue)
            bound = pattern is not None and self._publisher.reaches(queue, pattern)
            now = time.time()
            self._publisher.publish(
                [self._letter(one, queue, pattern if bound else None, now) for one in messages]
            )

    def consume(self, queue: str, *, prefetch: int = 200) -> RabbitConsumer:
        consumer = RabbitConsumer(self._server, self._publisher, queue, prefetch, self._ttl.get(queue))
        self._consumers = [one for one in self._consumers if not one.is_closed]
        self._consumers.append(consumer)
        return consumer

    def depth(self, queue: str) -> Depth:
        """`in_flight` only with the management API, and then as it was some seconds ago. `oldest_age`
        never: no quorum queue can say. Half a second long, after a start, a queue says 0 until it has a
        leader."""
        with self._session(queue) as session:
            dead, normal, high = (self._look(session, name) for name in topology.queues_of(queue))
        return Depth(
            ready=normal.message_count + high.message_count,
            ready_high=high.message_count,
            in_flight=self._in_flight(queue),
            dead=dead.message_count,
            consumers=normal.consumer_count,
            oldest_age=None,
        )

    def dead_letters(self, queue: str, *, limit: int = 50, reason: str | None = None) -> list[DeadLetter]:
        """To look at them is to fetch and return them, up to `rabbitmq_dead.WINDOW` of them so that they
        stay in order. For that moment `depth` does not count them, and nobody else finds them."""
        with self._session(queue) as session, self._dead(session, queue) as dead:
            return [one.letter for one in dead.find(reason, limit)]

    def requeue_dead(self, queue: str, *, limit: int | None = None, reason: str | None = None) -> int:
        requeued = 0
        with self._session(queue) as session, self._dead(session, queue) as dead:
            for chunk in dead.chunks(reason, limit, CHUNK):
                now = time.time()
                self._publisher.publish([one.received.revived(one.letter, queue, now=now) for one in chunk])
                dead.remove(chunk)
                requeued += len(chunk)
        return requeued

    def purge_dead(self, queue: str, *, reason: str | None = None) -> int:
        with self._session(queue) as session:
            if reason is None:
                return self._purge(session, queue + DEAD)
            purged = 0
            with self._dead(session, queue) as dead:
                for chunk in dead.chunks(reason, None, CHUNK):
                    dead.remove(chunk)
                    purged += len(chunk)
            return purged

    def purge(self, queue: str) -> int:
        with self._session(queue) as session:
            return sum(self._purge(session, lane) for lane in (queue, queue + HIGH))

    def set_up(self, queues: Sequence[str], *, dry_run: bool = False) -> list[str]:
        """Declare these queues and, where the management API is configured, set their policies.

        Returns what was made and what was there, a line each. `dry_run` only says what would be made.
        """
        with self._session() as session:
            patterns = {queue: self._bindings.get(queue) for queue in queues}
            found = setup.made(session, patterns, dry_run=dry_run)
        if any(found.values()) and not dry_run:
            self._publisher.queue_made()
        verb = "would be made" if dry_run else "made"
        lines = [f"{name}: {verb if made else 'was there'}" for name, made in found.items()]
        return lines + setup.set_policies(self._management, self._policies(queues), dry_run=dry_run)

    def advice(self) -> list[str]:
        """Queues that are not as labmon would have made them, and policies worth setting."""
        with self._session() as session:
            lines = [line for queue in self._bindings for line in setup.differences(session, queue)]
        queues, vhost = list(self._bindings), self._server.vhost
        return lines + setup.missing_policies(self._management, vhost, queues, self._policies(queues))

    def close(self) -> None:
        while self._consumers:
            self._consumers.pop().close()
        self._publisher.close()
        self._disconnect()

    @contextmanager
    def _session(self, queue: str = "") -> Iterator[Session]:
        """The connection for questions, a new one if the last was lost. Its errors are said of the queue."""
        try:
            with self._server.errors(queue):
                if self._asking is None or self._asking.is_over:
                    self._disconnect()
                    self._asking = self._server.connect("broker")
                yield self._asking
        except BrokerUnavailable:
            self._disconnect()
            raise

    def _disconnect(self) -> None:
        if self._asking is not None:
            self._asking.close()
            self._asking = None

    def _look(self, session: Session, name: str) -> Any:
        found = topology.look(session, name)
        if found is None:
            raise self._server.no_queue(name)
        return found

    @staticmethod
    def _purge(session: Session, name: str) -> int:
        answer = session.line().ask(lambda channel, answer: channel.queue_purge(name, callback=answer))
        return int(answer.method.message_count)

    def _dead(self, session: Session, queue: str) -> DeadLetters:
        return DeadLetters(self._server, session, queue)

    def _in_flight(self, queue: str) -> int | None:
        if self._management is None:
            return None
        try:
            return self._management.unsettled([queue, queue + HIGH])
        except BrokerError as error:
            logger.warning("%s", error)
            return None

    def _policies(self, queues: Sequence[str]) -> dict[str, dict[str, Any]]:
        return setup.policies(queues, self._ttl)

    @staticmethod
    def _letter(message: Message, queue: str, pattern: str | None, now: float) -> Letter:
        exchange = ""
        if pattern is not None and matches(pattern, message.routing_key):
            exchange = topology.HIGH_EXCHANGE if message.high else topology.EXCHANGE
        return new_letter(message, exchange, queue + HIGH if message.high else queue, now)
