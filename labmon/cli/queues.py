"""`labmon setup-queues` and `labmon queue-depth`."""

from dataclasses import dataclass

import typer

from labmon.cli.output import Column, Format, print_rows, say, span
from labmon.cli.wiring import As, QueueHost, Quiet, load, open_broker


@dataclass(frozen=True)
class _Row:
    queue: str
    ready: int
    in_flight: int | None
    dead: int
    consumers: int | None
    oldest_age: float | None


def setup_queues(ctx: typer.Context, queue_host: QueueHost = None, quiet: Quiet = False) -> None:
    """Make the queues and their dead letters at the broker. Safe to repeat."""
    config = load(ctx, {"queue.host": queue_host})
    with open_broker(config) as broker:
        for queue in config.queue.names:
            made = broker.declare(queue)
            if not quiet:
                say(f"{queue}: {'made' if made else 'was there'}")


def queue_depth(ctx: typer.Context, queue_host: QueueHost = None, form: As = Format.table) -> None:
    """Show how many messages wait in each queue, and how long the oldest has been waiting."""
    config = load(ctx, {"queue.host": queue_host})
    with open_broker(config) as broker:
        rows = []
        for queue in config.queue.names:
            depth = broker.depth(queue)
            rows.append(
                _Row(queue, depth.ready, depth.in_flight, depth.dead, depth.consumers, depth.oldest_age)
            )
    columns = [
        Column("queue", "Queue"),
        Column("ready", "Ready", right=True),
        Column("in_flight", "In flight", right=True),
        Column("dead", "Dead", right=True),
        Column("consumers", "Consumers", right=True),
        Column("oldest_age", "Oldest", span, right=True),
    ]
    print_rows(columns, rows, form)
