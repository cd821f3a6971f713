"""How fast a broker is, on a private server with its durable settings.

    python -m tests.bench.broker --broker postgres [--messages 1000000]

Prints a table: each figure, and beside it its peer from the same run.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import pika
import psycopg
from rich.console import Console
from rich.table import Table

from labmon.brokers.base import Broker, Consumer, Message
from labmon.brokers.memory import MemoryBroker, MemoryServer
from labmon.brokers.postgres.broker import PostgresBroker
from labmon.brokers.rabbitmq.broker import RabbitBroker
from labmon.brokers.rabbitmq.connection import RabbitEndpoint as RabbitAddress
from labmon.brokers.redis.broker import RedisBroker
from labmon.brokers.redis.connection import RedisEndpoint
from labmon.messages import Metrics, Readings, encode
from tests.support.rabbitmq_server import RabbitServer
from tests.support.redis_server import RedisServer
from tests.support.servers import PostgresServer

QUEUE = "metrics_queue"
SAMPLE = 20_000
"""Messages of the small rounds, before and after the large one."""


@dataclass
class Subject:
    """A broker to measure. `size` is what its server keeps on disk for the queue, in bytes.

    `naive` publishes that many messages as one does with the driver alone. Returns the messages per second.
    """

    open: Callable[[], Broker]
    size: Callable[[], int]
    naive: Callable[[int], float] | None = None


@contextmanager
def memory() -> Iterator[Subject]:
    server = MemoryServer()
    yield Subject(lambda: MemoryBroker(server), lambda: 0)


@contextmanager
def postgres() -> Iterator[Subject]:
    with PostgresServer(fsync=True) as server:
        with psycopg.connect(server.url(), autocommit=True) as session:

            def size() -> int:
                return session.execute("SELECT pg_total_relation_size('labmon_queue')").fetchone()[0]

            yield Subject(lambda: PostgresBroker(server.url()), size)


@contextmanager
def redis() -> Iterator[Subject]:
    with RedisServer() as server:  # appendfsync always

        def size() -> int:
            return sum(file.stat().st_size for file in (server.folder / "appendonlydir").iterdir())

        endpoint = RedisEndpoint("127.0.0.1", server.port, password=server.PASSWORD)
        yield Subject(lambda: RedisBroker(endpoint), size)


@contextmanager
def rabbitmq() -> Iterator[Subject]:
    with RabbitServer() as server:

        def size() -> int:
            files = (path for path in (server.folder / "data").rglob("*") if path.is_file())
            return sum(path.stat().st_size for path in files)

        def naive(total: int) -> float:
            """pika's blocking channel, which waits for each confirm."""
            connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", server.port))
            channel = connection.channel()
            channel.confirm_delivery()
            properties = pika.BasicProperties(delivery_mode=2)
            started = time.perf_counter()
            for body in bodies(total):
                channel.basic_publish("labmon", "metrics.collected", body, properties, mandatory=True)
            rate = total / (time.perf_counter() - started)
            connection.close()
            return rate

        def open() -> Broker:
            return RabbitBroker(RabbitAddress("127.0.0.1", server.port), bindings={QUEUE: "metrics.#"})

        yield Subject(open, size, naive)


SUBJECTS = {"memory": memory, "postgres": postgres, "redis": redis, "rabbitmq": rabbitmq}


def bodies(number: int) -> list[bytes]:
    """Readings as a lab PC sends them: all fields of the guide and then some."""
    now = datetime.now(UTC)
    readings = Readings(
        cpu_percent=45.23,
        ram_percent=67.89,
        disk_percent=55.12,
        network_sent_mbps=12.45,
        network_recv_mbps=8.32,
        gpu_percent=78.9,
        uptime_seconds=345600,
        logged_in_users=3,
        load1=1.25,
        ram_total_bytes=16 * 2**30,
        disk_total_bytes=512_110_190_592,
        swap_percent=1.5,
        disk_read_mbps=3.25,
        disk_write_mbps=0.75,
        process_count=312,
    )
    return [encode(Metrics(system_id=n, collected_at=now, metrics=readings)) for n in range(1, number + 1)]


def publish(broker: Broker, total: int, batch: int) -> float:
    """Messages per second, each confirmed."""
    payload = bodies(batch)
    seconds = 0.0
    for _ in range(total // batch):
        messages = [Message.new(body, "metrics.collected") for body in payload]
        started = time.perf_counter()
        broker.publish(QUEUE, messages)
        seconds += time.perf_counter() - started
    return total / seconds


@dataclass
class Drained:
    """What it took to empty a queue."""

    rate: float  #: messages per second, received and acked
    receives: list[float]  #: seconds of each receive


def drain(broker: Broker, total: int, batch: int) -> Drained:
    with broker.consume(QUEUE, prefetch=2 * batch) as consumer:
        return empty(consumer, total, batch)


def empty(consumer: Consumer, total: int, batch: int) -> Drained:
    receives, received = [], 0
    started = time.perf_counter()
    while received < total:
        asked = time.perf_counter()
        deliveries = consumer.receive(batch, 5.0)
        took = time.perf_counter() - asked
        if not deliveries:
            raise RuntimeError(f"the queue ended after {received} of {total} messages")
        receives.append(took)
        consumer.ack(deliveries)
        received += len(deliveries)
    return Drained(total / (time.perf_counter() - started), receives)


def depths(broker: Broker, expected: int) -> list[float]:
    """Seconds of each of 50 calls."""
    took = []
    for _ in range(50):
        started = time.perf_counter()
        depth = broker.depth(QUEUE)
        took.append(time.perf_counter() - started)
        if depth.ready != expected:
            raise RuntimeError(f"{depth} but {expected} messages are waiting")
    return took


def ms(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1000:.2f} ms (worst {max(seconds) * 1000:.1f})"


def measure(subject: Subject, total: int, batch: int) -> Iterator[tuple[str, str, str]]:
    """Rows of the table: what, the figure, its peer."""
    with subject.open() as broker:
        broker.declare(QUEUE)
        publish(broker, SAMPLE, batch)
        before = drain(broker, SAMPLE, batch)
        none_waiting = depths(broker, 0)
        single = publish(broker, 2000, 1)
        single_drained = drain(broker, 2000, 1)
        naive = ""
        if subject.naive:
            naive = f"; the driver alone {subject.naive(2000):,.0f}/s"
            drain(broker, 2000, batch)

        rate = publish(broker, total, batch)
        peer = f"one at a time {single:,.0f}/s{naive}"
        yield f"publish, confirmed, {batch} at a time", f"{rate:,.0f}/s", peer
        full, full_size = depths(broker, total), subject.size()
        yield f"depth with {total:,} waiting", ms(full), f"with none {ms(none_waiting)}"
        drained = drain(broker, total, batch)
        yield (
            f"receive and ack, one consumer, {batch} at a time",
            f"{drained.rate:,.0f}/s",
            f"one at a time {single_drained.rate:,.0f}/s",
        )
        empty_size = subject.size()
        publish(broker, SAMPLE, batch)
        after = drain(broker, SAMPLE, batch)
        yield (
            f"receive of up to {batch} after {total:,} messages",
            ms(after.receives),
            f"before {ms(before.receives)}",
        )
        yield (
            "size on disk afterwards",
            f"{empty_size / 1e6:,.0f} MB",
            f"with {total:,} waiting {full_size / 1e6:,.0f} MB",
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--broker", choices=SUBJECTS, default="postgres")
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=500)
    chosen = parser.parse_args()
    size = len(bodies(1)[0])
    table = Table("what", "figure", "its peer", title=f"{chosen.broker}, bodies of {size} bytes")
    with SUBJECTS[chosen.broker]() as subject:
        for row in measure(subject, chosen.messages, chosen.batch):
            table.add_row(*row)
    Console().print(table)


if __name__ == "__main__":
    main()
