"""`labmon consume`: the workers, and how they are doing."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from labmon.cli.output import Format, say
from labmon.cli.wiring import (
    As,
    QueueHost,
    Quiet,
    interactive,
    load,
    named_queue,
    open_store,
    stops_on_interrupt,
)
from labmon.cli.workers import live, print_status
from labmon.errors import Exit, UsageError

if TYPE_CHECKING:
    from labmon.brokers.base import Broker
    from labmon.config import Config
    from labmon.consume.register import Member
    from labmon.store.pool import Store


class Team(Protocol):
    """The workers: of this process, or in processes of their own."""

    def run(self, look: Callable[[], None]) -> None:
        """Work until done or stopped; `look` is called a few times a second. Raises LabmonError."""

    def members(self) -> "list[Member]":
        """The processes as they are."""

    def tally(self) -> dict[str, tuple[int, int]]:
        """What was stored and what was rejected, by queue."""


def consume(
    ctx: typer.Context,
    queue: Annotated[
        list[str] | None,
        typer.Option(
            "--queue", metavar="NAME", help="Only this queue; may be repeated.", show_default="all three"
        ),
    ] = None,
    workers: Annotated[
        str | None,
        typer.Option(metavar="N|A..B", help="Worker processes, watched over.", show_default="config"),
    ] = None,
    batch: Annotated[
        int | None, typer.Option(help="Messages stored in one transaction.", show_default="config")
    ] = None,
    flush_ms: Annotated[
        int | None,
        typer.Option(min=0, help="How long a message may wait for its batch.", show_default="config"),
    ] = None,
    max_memory: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Replace a process that holds more.", show_default="config"),
    ] = None,
    grace: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="How long a stop waits for the batches in hand.", show_default="config"
        ),
    ] = None,
    until_empty: Annotated[
        bool, typer.Option("--until-empty", help="End when nothing is left to do.")
    ] = False,
    status: Annotated[
        bool, typer.Option("--status", help="Show who works, on all machines, and end.")
    ] = False,
    queue_host: QueueHost = None,
    quiet: Quiet = False,
    form: As = Format.table,
) -> None:
    """Store what the queues bring, until SIGTERM or Ctrl-C; then the batch in hand is finished."""
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
        with _team(config, store, chosen, stop, until_empty) as team:
            try:
                _work(team, stop, quiet)
            finally:
                for name, (stored, rejected) in {} if quiet else team.tally().items():
                    dead = f", {rejected} to the dead letters" if rejected else ""
                    say(f"{name}: {stored} stored{dead}")
    if signal.SIGINT in signals:
        raise typer.Exit(Exit.INTERRUPTED)


@contextmanager
def _team(
    config: "Config", store: "Store", queues: Sequence[str], stop: threading.Event, until_empty: bool
) -> Iterator[Team]:
    """The workers, and what is done beside them."""
    from labmon.brokers import open_broker
    from labmon.consume.alerting import Alerting
    from labmon.consume.crew import Crew
    from labmon.consume.depths import Depths
    from labmon.consume.duties import Duties
    from labmon.consume.supervisor import Supervisor

    def broker() -> "Broker":
        return open_broker(config, store_url=store.url)

    depths = Depths(config, broker)
    alerting = None
    if config.queue.alert_queue in queues:
        alerting = Alerting(config, store, broker, lambda: depths.known)
    team: Crew | Supervisor
    if config.consume.workers.most > 1 or config.consume.max_memory:
        team = Supervisor(config, queues, stop, lambda: depths.known, until_empty=until_empty)
    else:
        team = Crew(config, queues, store, stop, until_empty=until_empty)
    with Duties(config, store, depths, None if until_empty else alerting, team.members):
        yield team
        if until_empty and alerting and not stop.is_set():
            alerting.finish(stop)


def _work(team: Team, stop: threading.Event, quiet: bool) -> None:
    """Until the end; meanwhile systemd is told that all is well, and a terminal shows the counts."""
    from labmon.consume.register import Register
    from labmon.systemd import notify, watchdog

    with live(team.members, Register()) if interactive(quiet) else nullcontext(lambda: None) as draw:
        every = watchdog()
        told, stopping = 0.0, False

        def look() -> None:
            nonlocal told, stopping
            if every and time.monotonic() - told >= every / 3:
                told = time.monotonic()
                notify("WATCHDOG=1")
            if stop.is_set() and not stopping:
                stopping = True
                notify("STOPPING=1")
            draw()

        notify("READY=1")
        team.run(look)
