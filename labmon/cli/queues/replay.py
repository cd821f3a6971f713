"""`labmon replay`: events through the handlers again."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from labmon.app.names import past_system
from labmon.app.open import ingest_settings, named_queue, open_store
from labmon.cli import complete
from labmon.cli.options import FormatOption, From, Quiet, System, To, flag, interactive, load, option
from labmon.cli.output import Format, print_change, say, stderr
from labmon.cli.times import period
from labmon.errors import UsageError
from labmon.readable import plural
from labmon.signals import exit_code, stops_on_interrupt


def replay(
    ctx: typer.Context,
    queue: Annotated[
        str,
        option("--queue", "QUEUE", "The queue that the messages came from.", autocompletion=complete.queues),
    ],
    first: From = None,
    past: To = None,
    system: System = None,
    dry_run: Annotated[
        bool, flag("--dry-run", "Only print what would be stored: a trial run, rolled back.")
    ] = False,
    notify: Annotated[bool, flag("--notify", "Also send notifications about alerts that result.")] = False,
    form: FormatOption = Format.table,
    quiet: Quiet = False,
) -> None:
    """Store messages again that were received in a period of time.

    What is stored already stays as it is, so it is safe to repeat. No notifications without --notify.
    """
    from labmon.ingest import replay
    from labmon.messages import utcnow
    from labmon.store import events
    from labmon.store.inventory.systems import check_known

    if first is None:
        raise UsageError("labmon replay: say from when on, such as --from 2026-03-01 or --from 2h")
    begin, end = period(first, past)
    assert begin is not None
    end = end or utcnow()
    config = load(ctx)
    queue = named_queue(queue, config)
    stop = threading.Event()
    with open_store(config) as store, stops_on_interrupt(stop) as signals:
        with store.transaction() as connection:
            number = None if system is None else past_system(connection, system)
            total = events.count(connection, queue, begin, end, system=number)
            if not total and number is not None:
                check_known(connection, [number])
        with _progress(total, shown=interactive(quiet)) as progress:
            done = replay.replay(
                store,
                ingest_settings(config),
                queue,
                begin,
                end,
                system=number,
                notify=notify,
                dry_run=dry_run,
                stop=stop,
                progress=progress,
            )
    for reason, times in done.reasons.most_common():
        say(f"{times} not stored: {reason}")
    would = "would be " if dry_run else ""
    messages = f"{done.messages} of {plural(total, 'message')} {would}replayed"
    row = {"queue": queue, "messages": done.messages, "rejected": done.rejected, "done": not dry_run}
    print_change(form, f"{queue}: {messages}, {done.rejected} not stored", row, quiet=quiet)
    if signals:
        raise typer.Exit(exit_code(signals))


@contextmanager
def _progress(total: int, *, shown: bool) -> Iterator[Callable[[int], None]]:
    if not shown:
        yield lambda done: None
        return
    from rich.progress import Progress

    with Progress(console=stderr(), transient=True) as bar:
        task = bar.add_task("replayed", total=total)
        yield lambda done: bar.update(task, completed=done)
