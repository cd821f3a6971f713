"""`labmon consume`: the workers, and how they are doing."""

import signal
import threading
from contextlib import nullcontext
from typing import Annotated

import typer

from labmon.app.open import named_queue, open_spool, open_store, worker_settings
from labmon.cli.options import (
    FormatOption,
    QueueHost,
    Quiet,
    flag,
    interactive,
    lasting,
    load,
    option,
    setting,
)
from labmon.cli.output import Format, say
from labmon.cli.queues.workers import live, print_status
from labmon.errors import Exit, UsageError
from labmon.signals import exit_code, stops_on_interrupt

OnlyQueues = Annotated[
    list[str] | None, option("--queue", "QUEUE", "Only this queue.", show_default="all three")
]
Workers = Annotated[str | None, setting("--workers", "N|A..B", "Number of worker processes.")]
FlushMs = Annotated[
    int | None, setting("--flush-ms", "N", "Milliseconds to wait for a batch to fill.", min=0)
]
MaxMemory = Annotated[str | None, setting("--max-memory", "SIZE", "Replace a process that uses more memory.")]
Grace = Annotated[
    str | None, lasting("--grace", "How long to wait for current batches on stop.", show_default="config")
]


def consume(
    ctx: typer.Context,
    queue: OnlyQueues = None,
    workers: Workers = None,
    batch: Annotated[int | None, setting("--batch", "N", "Messages per transaction.")] = None,
    flush_ms: FlushMs = None,
    max_memory: MaxMemory = None,
    grace: Grace = None,
    until_empty: Annotated[bool, flag("--until-empty", "Exit when the queues are empty.")] = False,
    status: Annotated[bool, flag("--status", "Print the state of all workers, on all machines.")] = False,
    queue_host: QueueHost = None,
    quiet: Quiet = False,
    form: FormatOption = Format.table,
) -> None:
    """Store messages from the queues until stopped. SIGTERM and Ctrl-C finish the current batch.

    With --until-empty, the exit code is 6 when messages went to the dead letters, or alerts were not sent.
    """
    from labmon.app.heartbeat import HeartbeatUrl
    from labmon.app.queues import consume as app

    flags = {
        "queue.host": queue_host,
        "consume.workers": workers,
        "consume.batch": batch,
        "consume.flush": None if flush_ms is None else f"{flush_ms}ms",
        "consume.max_memory": max_memory,
        "consume.grace": grace,
    }
    config = load(ctx, flags)
    if status:
        print_status(config, form)
        return
    if form is not Format.table:
        raise UsageError("--format is for --status")
    chosen = list(dict.fromkeys(named_queue(name, config) for name in queue or config.queue.names))
    stop = threading.Event()
    with open_store(config) as store, stops_on_interrupt(stop) as signals:
        settings, spool = worker_settings(config), open_spool(config)
        heartbeat = HeartbeatUrl(config.heartbeat, "consume")
        with app.workers(
            settings, spool, store, chosen, stop, until_empty=until_empty, heartbeat=heartbeat
        ) as team:
            workers_ = team.workers
            try:
                with live(workers_.processes) if interactive(quiet) else nullcontext(lambda: None) as draw:
                    app.run(workers_, stop, draw)
            finally:
                for name, (stored, rejected) in {} if quiet else workers_.tally().items():
                    dead = f", {rejected} to the dead letters" if rejected else ""
                    say(f"{name}: {stored} stored{dead}")
    if signals and signal.SIGTERM not in signals:  # which is how a service is stopped
        raise typer.Exit(exit_code(signals))
    if until_empty and (wrong := app.shortfall(team)):
        say(f"done in part: {wrong}")
        raise typer.Exit(Exit.SOME_FAILED)
