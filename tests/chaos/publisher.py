"""A collector that measures nothing: publishes numbered readings and keeps a ledger of what was confirmed.

    python -m tests.chaos.publisher LEDGER FIRST COUNT PER_SECOND

Configured by the environment, as `labmon` is. The ledger gets a line `FIRST AFTER_LAST` for each batch that
the publisher has answered for: on the broker, or on this machine's disk and the broker's later.
"""

import sys
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

from labmon.app.open import open_spool
from labmon.brokers import open_broker
from labmon.config.load import load
from labmon.messages import Metrics, Readings
from labmon.sinks.queued import QueueSink

SYSTEMS = 20
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
BATCH = 50


def reading(number: int) -> Metrics:
    """The reading with this number: who and when are the number."""
    return Metrics(
        system_id=1 + number % SYSTEMS,
        collected_at=EPOCH + timedelta(milliseconds=number),
        metrics=Readings(cpu_percent=float(number % 100)),
    )


def number_of(collected_at: datetime) -> int:
    """The number of the reading with this time."""
    return round((collected_at - EPOCH) / timedelta(milliseconds=1))


def main(ledger: str, first: int, count: int, per_second: int) -> None:
    config = load().config
    with ExitStack() as stack, open(ledger, "a") as book:
        publisher = QueueSink(
            lambda: stack.enter_context(open_broker(config.queue, store_url=config.database.url)),
            config.queue,
            open_spool(config),
            lambda line: print(line, file=sys.stderr, flush=True),
        )
        with publisher:
            started = time.monotonic()
            for start in range(first, first + count, BATCH):
                for number in range(start, start + BATCH):
                    publisher.send(reading(number))
                publisher.flush()
                book.write(f"{start} {start + BATCH}\n")
                book.flush()
                due = started + (start + BATCH - first) / per_second
                time.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
