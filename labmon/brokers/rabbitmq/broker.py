"""RabbitMQ 3.10 or later, driven by pika. Its queues are quorum queues: what they confirm is on the disk.

A broker asks on one connection and publishes on another, since the
server stops reading from those that publish when it is short of memory, and that is when people ask how
deep the queues are.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

from labmon.brokers.base import Broker, DeadLetter, Depth, Ids, Message
from labmon.brokers.kept import KeptConnection
from labmon.brokers.rabbitmq import policies, topology
from labmon.brokers.rabbitmq.connection import RabbitEndpoint
from labmon.brokers.rabbitmq.consumer import RabbitConsumer
from labmon.brokers.rabbitmq.dead_letters import DeadLetters
from labmon.brokers.rabbitmq.management import Management
from labmon.brokers.rabbitmq.permissions import Role
from labmon.brokers.rabbitmq.publisher import ConfirmingPublisher
from labmon.brokers.rabbitmq.queue_length import Length, length
from labmon.brokers.rabbitmq.session import Session
from labmon.brokers.rabbitmq.wire import DEAD, HIGH, OutgoingMessage, matches, new_message

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
        server: RabbitEndpoint,
        *,
        bindings: Mapping[str, str] | None = None,
        ttl: Mapping[str, float] | None = None,
    ) -> None:
        self._server = server
        self._bindings = dict(bindings or {})
        self._ttl = dict(ttl or {})
        self._management = Management(server) if server.management_url else None
        self._publisher = ConfirmingPublisher(server)
        self._asking = KeptConnection(lambda: server.connect("broker"), lambda session: not session.is_over)
        self._consumers: list[RabbitConsumer] = []

    def declare(self, queue: str) -> bool:
        with self._session(role=Role.set_up) as session:
            made = topology.declare(session, queue, self._bindings.get(queue))
        if made:
            self._publisher.queue_made()
        return made

    def is_declared(self, queue: str) -> bool:
        with self._session() as session:
            return not any(topology.missing(session, queue, self._bindings.get(queue)))

    def server_version(self) -> str:
        with self._session() as session:
            return session.server_version

    def publish(self, queue: str, messages: Sequence[Message]) -> None:
        if messages:
            pattern = self._bindings.get(queue)
            bound = pattern is not None and self._publisher.reaches(queue, pattern)
            now = time.time()
            self._publisher.publish(
                [self._outgoing(one, queue, pattern if bound else None, now) for one in messages]
            )

    def consume(self, queue: str, *, prefetch: int = 200) -> RabbitConsumer:
        consumer = RabbitConsumer(self._server, self._publisher, queue, prefetch, self._ttl.get(queue))
        self._consumers = [one for one in self._consumers if not one.is_closed]
        self._consumers.append(consumer)
        return consumer

    def depth(self, queue: str) -> Depth:
        """Without `in_flight`, of which the server only has figures that are some seconds old, and without
        `oldest_age_seconds`, which no quorum queue knows."""
        with self._session(queue) as session:
            dead, normal, high = (self._length(session, name) for name in topology.queues_of(queue))
        return Depth(
            ready=normal.ready + high.ready,
            ready_high=high.ready,
            in_flight=None,
            dead=dead.ready,
            consumers=normal.consumers,
            oldest_age_seconds=None,
        )

    def dead_letters(
        self, queue: str, *, limit: int = 50, reason: str | None = None, id: str | None = None
    ) -> list[DeadLetter]:
        """To look at them is to take and return them. For that moment `depth` does not count them, and no
        other process finds them."""
        with self._session(queue) as session, self._dead(session, queue) as dead:
            return [one.letter for one in dead.find(limit, reason, id)]

    def count_dead(self, queue: str, *, limit: int | None = None, reason: str | None = None) -> int:
        with self._session(queue) as session:
            if not reason:
                count = self._length(session, queue + DEAD).ready
                return count if limit is None else min(count, limit)
            with self._dead(session, queue) as dead:
                return dead.count(limit, reason)

    def requeue_dead(
        self, queue: str, *, limit: int | None = None, reason: str | None = None, ids: Ids = None
    ) -> int:
        requeued = 0
        with self._session(queue) as session, self._dead(session, queue) as dead:
            for chunk in dead.chunks(limit, reason, CHUNK, ids):
                now = time.time()
                self._publisher.publish([one.received.requeued(one.letter, queue, now=now) for one in chunk])
                dead.remove(chunk)
                requeued += len(chunk)
        return requeued

    def purge_dead(self, queue: str, *, reason: str | None = None, ids: Ids = None) -> int:
        with self._session(queue) as session:
            if reason is None and ids is None:
                return self._purge(session, queue + DEAD)
            purged = 0
            with self._dead(session, queue) as dead:
                for chunk in dead.chunks(None, reason, CHUNK, ids):
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
        with self._session(role=Role.set_up) as session:
            patterns = {queue: self._bindings.get(queue) for queue in queues}
            found = policies.made(session, patterns, dry_run=dry_run)
        if any(found.values()) and not dry_run:
            self._publisher.queue_made()
        verb = "would be made" if dry_run else "made"
        lines = [f"{name}: {verb if made else 'was there'}" for name, made in found.items()]
        return lines + policies.set_policies(self._management, self._policies(queues), dry_run=dry_run)

    def advice(self) -> list[str]:
        """Queues that are not as labmon would have made them, and policies worth setting."""
        with self._session() as session:
            lines = [line for queue in self._bindings for line in policies.differences(session, queue)]
        queues, vhost = list(self._bindings), self._server.vhost
        return lines + policies.missing_policies(self._management, vhost, queues, self._policies(queues))

    def close(self) -> None:
        while self._consumers:
            self._consumers.pop().close()
        self._publisher.close()
        self._asking.close()

    def _session(self, queue: str = "", role: Role = Role.work) -> AbstractContextManager[Session]:
        """The connection for questions. Its errors name the queue."""
        return self._asking.use(self._server.errors(queue, role))

    def _length(self, session: Session, name: str) -> Length:
        found = length(session, name)
        if found is None:
            raise self._server.no_queue(name)
        return found

    @staticmethod
    def _purge(session: Session, name: str) -> int:
        answer = session.channel().ask(lambda channel, answer: channel.queue_purge(name, callback=answer))
        return int(answer.method.message_count)

    def _dead(self, session: Session, queue: str) -> DeadLetters:
        return DeadLetters(self._server, session, queue)

    def _policies(self, queues: Sequence[str]) -> policies.Policies:
        return policies.policies(queues, self._ttl)

    @staticmethod
    def _outgoing(message: Message, queue: str, pattern: str | None, now: float) -> OutgoingMessage:
        exchange = ""
        if pattern is not None and matches(pattern, message.routing_key):
            exchange = topology.HIGH_EXCHANGE if message.high else topology.EXCHANGE
        return new_message(message, exchange, queue + HIGH if message.high else queue, now)
