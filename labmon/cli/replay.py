"""`labmon replay`: events through the handlers again."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from labmon.cli.moments import From, To, moment
from labmon.cli.output import say, stderr
from labmon.cli.wiring import LARGEST, Quiet, interactive, load, named_queue, open_store, stops_on_interrupt
from labmon.errors import Exit, UsageError


def replay(
    ctx: typer.Context,
    queue: Annotated[str, typer.Option("--queue", metavar="NAME", help="What came to it.")],
    first: From = None,
    past: To = None,
    system: Annotated[
        int | None,
        typer.Option(
            "--system", min=1, max=LARGEST, metavar="ID", help="Only about this system.", show_default=False
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be stored: it is done, and taken back.")
    ] = False,
    notify: Annotated[bool, typer.Option("--notify", help="Alerts that come of it are sent.")] = False,
    quiet: Quiet = False,
) -> None:
    """Store again what was received from one time to another, as it came then.

    What is stored already stays as it is, so it may be repeated. Nobody is notified, but with --notify.
    """
    from labmon.consume import replay
    from labmon.messages import utcnow
    from labmon.store import events

    if first is None:
        raise UsageError("labmon replay: say from when on, such as --from 2026-03-01 or --from 2h")
    begin, end = moment(first), moment(past) if past else utcnow()
    if begin >= end:
        raise UsageError("labmon replay: --from is not before --to")
    config = load(ctx)
    queue = named_queue(queue, config)
    stop = threading.Event()
    with open_store(config) as store, stops_on_interrupt(stop) as signals:
        with store.transaction() as connection:
            total = events.count(connection, queue, begin, end, system=system)
        with _progress(total, shown=interactive(quiet)) as progress:
            done = replay.replay(
                store,
                config,
                queue,
                begin,
                end,
                system=system,
                notify=notify,
                dry_run=dry_run,
                stop=stop,
                progress=progress,
            )
    for reason, times in done.reasons.most_common():
        say(f"{times} not stored: {reason}")
    if not quiet:
        would = "would be " if dry_run else ""
        say(f"{queue}: {done.messages} of {total} messages {would}replayed, {done.rejected} not stored")
    if signal.SIGINT in signals:
        raise typer.Exit(Exit.INTERRUPTED)


@contextmanager
def _progress(total: int, *, shown: bool) -> Iterator[Callable[[int], None]]:
    if not shown:
        yield lambda done: None
        return
    from rich.progress import Progress

    with Progress(console=stderr(), transient=True) as bar:
        task = bar.add_task("replayed", total=total)
        yield lambda done: bar.update(task, completed=done)
