"""`labmon consume`: the workers."""

import signal
import threading
from typing import TYPE_CHECKING, Annotated

import typer

from labmon.cli.output import say
from labmon.cli.wiring import QueueHost, Quiet, load, named_queue, open_store, stops_on_interrupt
from labmon.errors import Exit

if TYPE_CHECKING:
    from labmon.consume.worker import Worker


def consume(
    ctx: typer.Context,
    queue: Annotated[
        list[str] | None,
        typer.Option(
            "--queue", metavar="NAME", help="Only this queue; may be repeated.", show_default="all three"
        ),
    ] = None,
    until_empty: Annotated[
        bool, typer.Option("--until-empty", help="End when nothing is left to do.")
    ] = False,
    queue_host: QueueHost = None,
    quiet: Quiet = False,
) -> None:
    """Store what the queues bring, until SIGTERM or Ctrl-C; then the batch in hand is finished."""
    from labmon.brokers import open_broker
    from labmon.consume.handlers import handlers
    from labmon.consume.worker import Worker

    config = load(ctx, {"queue.host": queue_host})
    chosen = [named_queue(name, config) for name in queue or config.queue.names]
    stop = threading.Event()
    with open_store(config) as store, stops_on_interrupt(stop) as signals:
        handle = handlers(config)
        workers = [
            Worker(
                name,
                handle[name],
                lambda: open_broker(config, store_url=store.url),
                store,
                config.consume,
                stop,
                until_empty=until_empty,
            )
            for name in dict.fromkeys(chosen)
        ]
        failures = _run_all(workers, stop)
    for worker in [] if quiet else workers:
        dead = f", {worker.tally.rejected} to the dead letters" if worker.tally.rejected else ""
        say(f"{worker.queue}: {worker.tally.stored} stored{dead}")
    if failures:
        raise failures[0]
    if signal.SIGINT in signals:
        raise typer.Exit(Exit.INTERRUPTED)


def _run_all(workers: list["Worker"], stop: threading.Event) -> list[Exception]:
    """One thread per queue. The first to fail for good stops the others; its error is the command's."""
    failures: list[Exception] = []

    def run(worker: "Worker") -> None:
        try:
            worker.run()
        except Exception as error:
            failures.append(error)
            stop.set()

    threads = [threading.Thread(target=run, args=[worker], name=worker.queue) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        # In slices: a signal's handler runs in this thread, and only between them on some systems.
        while thread.is_alive():
            thread.join(0.2)
    return failures
