"""`labmon setup-queues` and `labmon queue-depth`."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from labmon.cli.output import Column, Format, print_rows, say, span
from labmon.cli.wiring import As, QueueHost, Quiet, load, open_broker, open_store
from labmon.errors import UsageError

if TYPE_CHECKING:
    from labmon.brokers.base import Depth
    from labmon.config import Config


@dataclass(frozen=True)
class _Row:
    """A queue as it is printed."""

    queue: str
    ready: int
    ready_high: int | None
    in_flight: int | None
    dead: int
    consumers: int | None
    oldest_age: float | None
    level: str
    advice: str | None
    change: float | None  #: ready messages more than at the last look, per second


COLUMNS = [
    Column("queue", "Queue"),
    Column("ready", "Ready", "{:,}".format, right=True),
    Column("ready_high", "of these high", "{:,}".format, right=True, extra=True),
    Column("change", "Change/s", "{:+,.0f}".format, right=True),
    Column("in_flight", "In flight", "{:,}".format, right=True),
    Column("dead", "Dead", "{:,}".format, right=True),
    Column("consumers", "Consumers", right=True),
    Column("oldest_age", "Oldest", span, right=True),
    Column("level", "State"),
    Column("advice", "Do", absent="", gives=True),
]


def setup_queues(
    ctx: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be made.")] = False,
    queue_host: QueueHost = None,
    quiet: Quiet = False,
) -> None:
    """Make the queues and their dead letters at the broker. Safe to repeat."""
    config = load(ctx, {"queue.host": queue_host})
    with open_broker(config) as broker:
        lines = broker.set_up(config.queue.names, dry_run=dry_run)
        # Advice on what is not there yet would be about nothing.
        lines += [] if dry_run else broker.advice()
    for line in [] if quiet else lines:
        say(line)


def queue_depth(
    ctx: typer.Context,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Look again and again, until Ctrl-C.")] = False,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 2.0,
    alert: Annotated[
        bool, typer.Option("--alert", help="Judge by the alert rules, and tell who is to be told.")
    ] = False,
    prometheus: Annotated[
        bool, typer.Option("--prometheus", help="Print the text format of Prometheus.")
    ] = False,
    queue_host: QueueHost = None,
    form: As = Format.table,
) -> None:
    """Show how many messages wait in each queue, and how long the oldest has been waiting.

    Exit code 0: fine, 1: a queue is over [queue] depth_warning, 2: over depth_critical; as monitoring
    plugins do. When a backlog is told is the alert rule queue_backlog's affair, which `labmon consume` looks
    after; with --alert this does as well, from cron, for when no worker is left who could:

    labmon queue-depth --alert
    """
    from labmon.backlog import level

    config = load(ctx, {"queue.host": queue_host})
    if watch and (prometheus or form is not Format.table):
        raise UsageError("--watch is for people: leave out --format and --prometheus")
    with open_broker(config) as broker, _judged(config, alert) as judge:

        def look() -> "dict[str, Depth]":
            depths = {queue: broker.depth(queue) for queue in config.queue.names}
            judge(depths)
            return depths

        if watch:
            _watch(look, config, interval)
        depths = look()
    if prometheus:
        typer.echo(_exposition(depths), nl=False)
    else:
        print_rows(COLUMNS, _rows(depths, config), form)
    raise typer.Exit(max(level(depth, config.queue) for depth in depths.values()))


@contextmanager
def _judged(config: "Config", alert: bool) -> "Iterator[Callable[[Mapping[str, Depth]], None]]":
    """What is done with each look. With `alert` the rules judge it, and what they find is told at once."""
    if not alert:
        yield lambda depths: None
        return
    from threading import Event

    from labmon.brokers import open_broker
    from labmon.consume.alerting import Alerting

    seen: dict[str, Depth] = {}
    with open_store(config) as store:
        alerting = Alerting(config, store, lambda: open_broker(config, store_url=store.url), lambda: seen)

        def judge(depths: "Mapping[str, Depth]") -> None:
            seen.update(depths)
            alerting.finish(Event())

        yield judge


def _rows(
    depths: "Mapping[str, Depth]",
    config: "Config",
    before: "Mapping[str, Depth] | None" = None,
    seconds: float = 0,
) -> list[_Row]:
    from labmon.backlog import level

    rows = []
    for queue, depth in depths.items():
        state = level(depth, config.queue)
        rows.append(
            _Row(
                queue,
                depth.ready,
                depth.ready_high,
                depth.in_flight,
                depth.dead,
                depth.consumers,
                depth.oldest_age,
                state.name,
                state.advice or None,
                (depth.ready - before[queue].ready) / seconds if before and seconds else None,
            )
        )
    return rows


def _watch(look: "Callable[[], dict[str, Depth]]", config: "Config", interval: float) -> None:
    """Until Ctrl-C. On a terminal the table stays in its place; elsewhere each look is printed."""
    from rich.live import Live
    from rich.text import Text

    from labmon.cli.output import stdout, table

    console = stdout()
    before: dict[str, Depth] | None = None
    at = time.monotonic()
    with Live(console=console, auto_refresh=False, transient=False) as live:
        while True:
            depths = look()
            now = time.monotonic()
            width = console.width if console.is_terminal else None
            shown = Text("\n".join(table(COLUMNS, _rows(depths, config, before, now - at), width)))
            if console.is_terminal:
                live.update(shown, refresh=True)
            else:
                console.print(shown)
            before, at = depths, now
            time.sleep(interval)


def _exposition(depths: "Mapping[str, Depth]") -> str:
    """Prometheus' text format (0.0.4); what the server cannot say is left out."""
    from prometheus_client import CollectorRegistry, Gauge, generate_latest

    registry = CollectorRegistry()
    gauges = {
        "ready": "Messages that wait, both lanes.",
        "ready_high": "Messages that wait in the high lane.",
        "in_flight": "Messages that a worker holds.",
        "dead": "Messages that could not be stored.",
        "consumers": "Workers connected to the queue.",
        "oldest_age": "How long the oldest message has been waiting.",
    }
    for name, help_ in gauges.items():
        metric = f"labmon_queue_{name}" + ("_seconds" if name == "oldest_age" else "")
        gauge = Gauge(metric, help_, ["queue"], registry=registry)
        for queue, depth in depths.items():
            value = getattr(depth, name)
            if value is not None:
                gauge.labels(queue).set(value)
    return str(generate_latest(registry), "utf-8")
