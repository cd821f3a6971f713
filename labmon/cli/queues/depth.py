"""`labmon setup-queues` and `labmon queue-depth`."""

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from labmon.app.open import open_broker
from labmon.app.queues.depth import COLUMNS, evaluated, exposition, queue_rows
from labmon.cli.options import FormatOption, QueueHost, Quiet, flag, load, option
from labmon.cli.output import Format, print_change, print_rows, say
from labmon.errors import UsageError

if TYPE_CHECKING:
    from labmon.brokers.base import Depth
    from labmon.config.tables import QueueConfig


def setup_queues(
    ctx: typer.Context,
    dry_run: Annotated[bool, flag("--dry-run", "Only print what would be made.")] = False,
    queue_host: QueueHost = None,
    form: FormatOption = Format.table,
    quiet: Quiet = False,
) -> None:
    """Make the queues and their dead-letter queues on the broker. Safe to repeat."""
    config = load(ctx, {"queue.host": queue_host})
    with open_broker(config) as broker:
        lines = broker.set_up(config.queue.names, dry_run=dry_run)
        # Advice on what is not there yet would be about nothing.
        lines += [] if dry_run else broker.advice()
        refusal = None if dry_run else broker.first_refusal(config.queue.names)
    print_change(form, "", *({"did": line} for line in lines), names=["did"])
    for line in [] if quiet or form is not Format.table else lines:
        say(line)
    if refusal:
        raise refusal


def queue_depth(
    ctx: typer.Context,
    watch: Annotated[bool, flag("--watch", "Repeat until Ctrl-C.", "-w")] = False,
    interval: Annotated[
        float, option("--interval", "N", "Seconds between two updates.", min=0.1, show_default=True)
    ] = 2.0,
    alert: Annotated[bool, flag("--alert", "Evaluate the backlog alert rules, and notify.")] = False,
    prometheus: Annotated[bool, flag("--prometheus", "Print in Prometheus text format.")] = False,
    queue_host: QueueHost = None,
    form: FormatOption = Format.table,
) -> None:
    """Show how many messages wait in each queue, and since when.

    Exit code like monitoring plugins: 0 ok, 1 warning (a queue is over [queue] depth_warning, or has dead
    letters), 2 critical (over depth_critical, or the broker takes no messages). Backlog alerts come from the
    queue_backlog rule, normally evaluated by `labmon consume`. With --alert this command evaluates it too,
    so cron can alert when no worker is running:

    labmon queue-depth --alert
    """
    from labmon.consume.backlog import BacklogLevel, level

    if not math.isfinite(interval):
        raise UsageError(f"--interval {interval}: expected a number of seconds")
    config = load(ctx, {"queue.host": queue_host})
    if watch and (prometheus or form is not Format.table):
        raise UsageError("--watch is for people: leave out --format and --prometheus")
    with open_broker(config) as broker, evaluated(config, alert) as judge:

        def look() -> "dict[str, Depth]":
            depths = {queue: broker.depth(queue) for queue in config.queue.names}
            judge(depths)
            return depths

        if watch:
            _watch(look, config.queue, interval)
        depths = look()
        refusal = broker.first_refusal(config.queue.names)
    if prometheus:
        typer.echo(exposition(depths), nl=False)
    else:
        print_rows(COLUMNS, queue_rows(depths, config.queue), form)
    if refusal:
        say(f"takes no messages: {refusal}")
    worst = max(level(depth, config.queue) for depth in depths.values())
    raise typer.Exit(BacklogLevel.critical if refusal else worst)


def _watch(look: "Callable[[], dict[str, Depth]]", settings: "QueueConfig", interval: float) -> None:
    """Until Ctrl-C. On a terminal the table stays in its place; elsewhere each look is printed."""
    from rich.live import Live
    from rich.text import Text

    from labmon.cli.output import stdout
    from labmon.table import table

    console = stdout()
    before: dict[str, Depth] | None = None
    at = time.monotonic()
    with Live(console=console, auto_refresh=False, transient=False) as live:
        while True:
            depths = look()
            now = time.monotonic()
            width = console.width if console.is_terminal else None
            shown = Text("\n".join(table(COLUMNS, queue_rows(depths, settings, before, now - at), width)))
            if console.is_terminal:
                live.update(shown, refresh=True)
            else:
                console.print(shown)
            before, at = depths, now
            time.sleep(interval)
