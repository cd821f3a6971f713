"""Going through many dead letters at RabbitMQ with the commands: a screenful costs a screenful, and no count
is wrong. A part of `tests.bench.growth`."""

import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labmon.brokers.base import Message
from labmon.brokers.rabbitmq.broker import RabbitBroker
from labmon.brokers.rabbitmq.connection import RabbitEndpoint
from tests.support.rabbitmq_server import RabbitServer

QUEUE = "metrics_queue"
AT_ONCE = 2_000
MIB = 100
"""What a command may hold, whatever the number of dead letters."""


def dead_letters(size: int) -> dict[str, float]:
    """CPU seconds of the commands with so many dead letters."""
    with RabbitServer() as server:
        _fill(server, size)
        costs = {}

        def run(name: str, *arguments: str) -> str:
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            done = subprocess.run(
                [Path(sys.executable).parent / "labmon", "dead-letters", *arguments],
                env={**os.environ, "QUEUE_TYPE": "rabbitmq", "QUEUE_HOST": "127.0.0.1"}
                | {"QUEUE_PORT": str(server.port), "QUEUE_USER": "guest", "QUEUE_PASSWORD": "guest"},
                capture_output=True,
                text=True,
            )
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            assert done.returncode == 0, done.stderr
            assert after.ru_maxrss <= MIB * 1024, f"{name}: {after.ru_maxrss / 1024:.0f} MiB"
            costs[name] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            return done.stdout + done.stderr

        assert f"50 of {size} dead letters" in run("dead letters, list 50", "list", QUEUE)
        listed = json.loads(
            run("dead letters, list 50", "list", QUEUE, "--format", "json").rsplit("]", 1)[0] + "]"
        )
        assert len(listed) == 50
        assert listed[0]["id"] in run("dead letters, show", "show", QUEUE, listed[0]["id"])
        text = run("dead letters, count all", "replay", QUEUE, "--dry-run")
        assert int(re.match(r"(\d+) would", text)[1]) == size, text
        text = run("dead letters, replay all", "replay", QUEUE)
        assert f"{size} back in {QUEUE}" in text and "still" not in text, text
    return costs


def _fill(server: RabbitServer, size: int) -> None:
    with _broker(server) as broker, broker.consume(QUEUE) as consumer:
        dead = 0
        for first in range(0, size, AT_ONCE):
            count = min(AT_ONCE, size - first)
            broker.publish(QUEUE, [Message(f"m{first + n}", b"no reading") for n in range(count)])
            while dead < first + count:
                deliveries = consumer.receive(AT_ONCE, 10)
                assert deliveries
                consumer.reject(deliveries, "not valid")
                dead += len(deliveries)


@contextmanager
def _broker(server: RabbitServer) -> Iterator[RabbitBroker]:
    with RabbitBroker(RabbitEndpoint("127.0.0.1", server.port), bindings={QUEUE: "metrics.#"}) as broker:
        broker.declare(QUEUE)
        yield broker
