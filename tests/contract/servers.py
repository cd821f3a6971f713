"""A clean broker of each kind for the contract suite, and where the kinds honestly differ.

A new kind is a subclass of `BrokerServer`, an entry in `OPENERS`, and in `conftest.py` two fixtures and a
word in `KINDS`. No test asks which kind it runs on.
"""

import json
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

import psycopg

from labmon.brokers.base import Broker, Consumer, Delivery
from labmon.brokers.memory import MemoryBroker, MemoryServer
from labmon.brokers.postgres.broker import PostgresBroker
from labmon.brokers.rabbitmq.broker import RabbitBroker
from labmon.brokers.rabbitmq.connection import RabbitEndpoint as RabbitAddress
from labmon.brokers.redis.broker import RedisBroker
from labmon.brokers.redis.connection import RedisEndpoint
from labmon.errors import BrokerError
from tests.support.rabbitmq_server import RabbitServer
from tests.support.redis_server import RedisServer
from tests.support.servers import PostgresServer

OPENERS: dict[str, Callable[..., Broker]] = {
    "postgres": PostgresBroker,
    "redis": lambda lease, **arguments: RedisBroker(RedisEndpoint(**arguments), lease=lease),
    "rabbitmq": lambda **arguments: RabbitBroker(RabbitAddress(**arguments)),
}
"""How another process opens its broker, from keyword arguments that survive JSON."""


class BrokerServer(ABC):
    """One clean broker, and what the tests may do to it."""

    differences: Mapping[str, bool]
    """What the contract leaves to the server. A test that only makes sense where one of these holds says so
    with `@pytest.mark.needs("...")`:

    fetches_on_demand   a consumer holds nothing that nobody has received yet
    lease_is_timed      a lease ends by time, though its consumer lives
    release_is_free     a release that is not `failed` costs no attempt
    counts_in_flight    `Depth.in_flight` is a number
    counts_consumers    `Depth.consumers` is a number
    counts_lanes        `Depth.ready_high` is a number
    knows_oldest_age    `Depth.oldest_age_seconds` is a number
    has_passwords       somebody can be refused
    outlives_processes  other processes can reach it
    can_be_cut          `cut_reject` works
    """

    patience = 10.0  #: seconds after which what has not come true never will

    def __init__(self) -> None:
        self._opened: list[Broker] = []

    def open(self, *, lease: float = 60.0, ttl: Mapping[str, float] | None = None) -> Broker:
        """Another broker object on the same server. Closed with the test."""
        broker = self._open(lease=lease, ttl=ttl)
        self._opened.append(broker)
        return broker

    def close(self) -> None:
        for broker in self._opened:
            broker.close()

    @abstractmethod
    def _open(self, *, lease: float, ttl: Mapping[str, float] | None) -> Broker: ...

    def holder(self, queue: str, lease: float) -> list[str]:
        """The command of another process that receives from the queue and then holds what it has."""
        raise NotImplementedError

    def open_with_wrong_password(self) -> Broker:
        raise NotImplementedError

    def cut_reject(self, consumer: Consumer, deliveries: list[Delivery]) -> None:
        """Reject, and lose the server half way."""
        raise NotImplementedError

    @abstractmethod
    def stop(self) -> None:
        """Take the server away."""

    @abstractmethod
    def start(self) -> None:
        """And back, with what it had."""

    def eventually(self, ask: Callable[[], object], expected: object) -> None:
        """Some servers count late, and leases end when they end."""
        deadline = time.monotonic() + self.patience
        while (answer := ask()) != expected and time.monotonic() < deadline:
            time.sleep(0.05)
        assert answer == expected

    def known(self, difference: str, value: object) -> object:
        """The value, or None where this server cannot say."""
        return value if self.differences[difference] else None


class MemoryBrokers(BrokerServer):
    differences = {
        "fetches_on_demand": True,
        "lease_is_timed": True,
        "release_is_free": True,
        "counts_in_flight": True,
        "counts_consumers": True,
        "counts_lanes": True,
        "knows_oldest_age": True,
        "has_passwords": False,
        "outlives_processes": False,
        "can_be_cut": False,
    }

    def __init__(self) -> None:
        super().__init__()
        self._server = MemoryServer()

    def _open(self, *, lease: float, ttl: Mapping[str, float] | None) -> Broker:
        return MemoryBroker(self._server, lease=lease, ttl=ttl)

    def stop(self) -> None:
        self._server.stop()

    def start(self) -> None:
        self._server.start()


class PostgresBrokers(BrokerServer):
    differences = {
        "fetches_on_demand": True,
        "lease_is_timed": True,
        "release_is_free": True,
        "counts_in_flight": True,
        "counts_consumers": True,
        "counts_lanes": True,
        "knows_oldest_age": True,
        "has_passwords": True,
        "outlives_processes": True,
        "can_be_cut": True,
    }

    def __init__(self, server: PostgresServer, database: str) -> None:
        super().__init__()
        self._server = server
        self._database = database

    def _open(self, *, lease: float, ttl: Mapping[str, float] | None) -> Broker:
        return PostgresBroker(self._server.url(self._database), lease=lease, ttl=ttl)

    def holder(self, queue: str, lease: float) -> list[str]:
        url = self._server.url(self._database)
        return _holder("postgres", queue, conninfo=url, lease=lease)

    def open_with_wrong_password(self) -> Broker:
        return PostgresBroker(self._server.url(self._database, password="wrong"))

    def cut_reject(self, consumer: Consumer, deliveries: list[Delivery]) -> None:
        """The dead letters' table is locked, so the reject waits in the middle; then its session is ended."""
        raised: list[BrokerError] = []

        def reject() -> None:
            try:
                consumer.reject(deliveries, "cut")
            except BrokerError as error:
                raised.append(error)

        with psycopg.connect(self._server.url(self._database)) as session:
            session.execute("LOCK TABLE labmon_queue_dead")
            thread = threading.Thread(target=reject)
            thread.start()
            waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = %s"
            deadline = time.monotonic() + self.patience
            while (row := session.execute(waiting, (self._database,)).fetchone()) is None:
                assert time.monotonic() < deadline
            session.execute("SELECT pg_terminate_backend(%s)", row)
            thread.join(self.patience)
        assert raised, "the reject was not cut"

    def stop(self) -> None:
        self._server.stop()

    def start(self) -> None:
        self._server.start()


class RedisBrokers(BrokerServer):
    differences = {
        "fetches_on_demand": True,
        "lease_is_timed": True,
        "release_is_free": True,
        "counts_in_flight": True,
        "counts_consumers": True,
        "counts_lanes": True,
        "knows_oldest_age": True,
        "has_passwords": True,
        "outlives_processes": True,
        "can_be_cut": True,
    }

    def __init__(self, server: RedisServer) -> None:
        super().__init__()
        self._server = server
        self.cli = server.cli  #: redis-cli
        server.cli("FLUSHALL")

    def _open(self, *, lease: float, ttl: Mapping[str, float] | None) -> Broker:
        return RedisBroker(RedisEndpoint(**self._address()), lease=lease, ttl=ttl)

    def _address(self) -> dict[str, object]:
        return {"host": "127.0.0.1", "port": self._server.port, "password": self._server.PASSWORD}

    def holder(self, queue: str, lease: float) -> list[str]:
        return _holder("redis", queue, **self._address(), lease=lease)

    def open_with_wrong_password(self) -> Broker:
        return RedisBroker(RedisEndpoint(**{**self._address(), "password": "wrong"}))

    def cut_reject(self, consumer: Consumer, deliveries: list[Delivery]) -> None:
        """The server is told to let all writes wait, so the reject does; then its connection is ended."""
        raised: list[BrokerError] = []

        def reject() -> None:
            try:
                consumer.reject(deliveries, "cut")
            except BrokerError as error:
                raised.append(error)

        self._server.cli("CLIENT", "PAUSE", "60000", "WRITE")
        try:
            thread = threading.Thread(target=reject)
            thread.start()
            deadline = time.monotonic() + self.patience
            waiting: list[str] = []
            while not waiting:
                assert time.monotonic() < deadline
                clients = self._server.cli("CLIENT", "LIST").splitlines()
                waiting = [
                    one for one in clients if "name=labmon/" in one and "cmd=eval" in one and "flags=b" in one
                ]
            self._server.cli("CLIENT", "KILL", "ID", waiting[0].split()[0].removeprefix("id="))
            thread.join(self.patience)
        finally:
            self._server.cli("CLIENT", "UNPAUSE")
        assert raised, "the reject was not cut"

    def stop(self) -> None:
        self._server.stop()

    def start(self) -> None:
        self._server.start()


class RabbitBrokers(BrokerServer):
    differences = {
        "fetches_on_demand": False,
        "lease_is_timed": False,
        "release_is_free": False,  # since RabbitMQ 4.3 it is
        "counts_in_flight": False,
        "counts_consumers": True,
        "counts_lanes": True,
        "knows_oldest_age": False,
        "has_passwords": True,
        "outlives_processes": True,
        "can_be_cut": True,
    }

    def __init__(self, server: RabbitServer, vhost: str) -> None:
        super().__init__()
        self._server = server
        self._vhost = vhost

    def _open(self, *, lease: float, ttl: Mapping[str, float] | None) -> Broker:
        return RabbitBroker(self._address(), ttl=ttl)

    def _address(self, password: str = "guest") -> RabbitAddress:
        return RabbitAddress("127.0.0.1", self._server.port, password=password, vhost=self._vhost)

    def holder(self, queue: str, lease: float) -> list[str]:
        return _holder("rabbitmq", queue, host="127.0.0.1", port=self._server.port, vhost=self._vhost)

    def open_with_wrong_password(self) -> Broker:
        return RabbitBroker(self._address("wrong"))

    def cut_reject(self, consumer: Consumer, deliveries: list[Delivery]) -> None:
        """The server stops reading from the consumer: it gets copies, but no acks. Then it hangs up."""
        readers = self._server.suspend(self._vhost, "labmon consumer")
        assert len(readers) == 1, "the reject was not cut"
        consumer.reject(deliveries, "cut")
        self._server.kill_processes(readers)

    def stop(self) -> None:
        self._server.stop()

    def start(self) -> None:
        self._server.start()


def _holder(kind: str, queue: str, **arguments: object) -> list[str]:
    return [sys.executable, "-m", "tests.contract.servers", kind, queue, json.dumps(arguments)]


def hold(kind: str, queue: str, arguments: str) -> None:
    """What the process of `BrokerServer.holder` does: receive, say how many, hold them until killed."""
    with OPENERS[kind](**json.loads(arguments)) as broker, broker.consume(queue) as consumer:
        held = consumer.receive(100, 10.0)
        while more := consumer.receive(100, 0.5):  # a batch may come in parts
            held += more
        print(len(held), flush=True)
        time.sleep(60)


if __name__ == "__main__":
    hold(*sys.argv[1:])
