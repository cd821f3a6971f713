"""`labmon spool`: messages that wait on this machine for the broker or the database."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from typing import Annotated

import typer

from labmon.app.open import open_spool
from labmon.app.queues import spool
from labmon.cli.confirm import confirm
from labmon.cli.options import (
    FormatOption,
    QueueEnabled,
    QueueHost,
    Quiet,
    Yes,
    flag,
    interactive,
    load,
    numeric,
    option,
)
from labmon.cli.output import Format, print_change, print_facts, print_rows, say, stderr
from labmon.errors import BrokerRefused, LabmonError, UsageError
from labmon.readable import plural

app = typer.Typer(no_args_is_help=True, help="Messages on disk that wait for the broker or the database.")

Queue = Annotated[str | None, option("--queue", "NAME", "Only messages for this queue.")]
OtherDatabase = Annotated[bool, flag("--other-database", "Only messages about systems of another database.")]


@app.command()
def status(ctx: typer.Context, form: FormatOption = Format.table) -> None:
    """Show how many messages wait, since when, and how many were dropped."""
    found = spool.report(load(ctx))
    if form is Format.json:
        typer.echo(json.dumps(found.whole(), indent=2))
        return
    if form is Format.table:
        print_facts(found.facts(), 10)
        if not found.rows:
            return
        typer.echo()
    print_rows(spool.QUEUES, found.rows, form)


@app.command("list")
def list_(
    ctx: typer.Context,
    queue: Queue = None,
    other_database: OtherDatabase = False,
    limit: Annotated[
        int, numeric("--limit", "N", "Maximum number of messages, oldest first.", "-n", show_default=True)
    ] = 20,
    form: FormatOption = Format.table,
) -> None:
    """List the messages that wait, oldest first.

    Messages about systems of another database stay in the spool until labmon uses that database again: its
    numbers mean other systems there.
    """
    selected = spool.Selected(load(ctx), queue, other_database=other_database)
    rows = selected.rows(limit)
    if not rows:
        selected.check_queue()
    if not rows and form is Format.table:
        say("no such messages in the spool" if queue or other_database else "the spool is empty")
        return
    print_rows(spool.MESSAGES, rows, form)


@app.command()
def drop(
    ctx: typer.Context,
    queue: Queue = None,
    other_database: OtherDatabase = False,
    everything: Annotated[bool, flag("--all", "All messages.")] = False,
    yes: Yes = False,
    form: FormatOption = Format.table,
    quiet: Quiet = False,
) -> None:
    """Delete messages from the spool for good: those for one queue, of other databases, or all."""
    if everything == (queue is not None or other_database):
        raise UsageError("spool drop: say which messages, by --queue, --other-database, or --all")
    selected = spool.Selected(load(ctx), queue, other_database=other_database)
    count = selected.count()
    if not count and queue is not None:
        selected.check_queue()
    if count:
        lost = [f"{plural(count, 'message')} that arrived nowhere else would be lost"]
        confirm("Delete them for good?", yes=yes, consequences=lost)
    dropped = selected.drop()
    print_change(form, f"deleted: {dropped:,}", {"dropped": dropped}, quiet=quiet)


@app.command()
def flush(
    ctx: typer.Context,
    queue_enabled: QueueEnabled = None,
    queue_host: QueueHost = None,
    form: FormatOption = Format.table,
    quiet: Quiet = False,
) -> None:
    """Deliver waiting messages, oldest first. Safe to repeat and to interrupt.

    They go where `labmon collect` sends its own: to the queue with [queue] enabled or --queue-enabled, else
    into the database. No queue is made: that is for `labmon setup-queues`. Exit code 4 when the broker, or
    one of its queues, takes none, and 5 when the database takes none: these messages stay where they are.
    """
    config = load(ctx, {"queue.enabled": queue_enabled, "queue.host": queue_host})
    steps = spool.flush(config, say)
    done = next(steps)
    drawn = _bar(done.total) if done.total and interactive(quiet) else nullcontext(lambda sent: None)
    with closing(steps), drawn as draw:
        try:
            for done in steps:
                draw(done.sent)
        except LabmonError:
            say(f"{done.delivered}: {done.sent:,}; still in the spool: {open_spool(config).count():,}")
            raise
    print_change(form, "", {"messages": done.sent, "left": done.left, "other_database": done.other})
    quiet = quiet or form is not Format.table
    if done.left and not done.refused:
        say(f"{done.delivered}: {done.sent:,}; another labmon process is at work on the other {done.left:,}")
    elif not quiet or done.left:
        kept = f"; still in the spool: {done.left:,}" if done.left else ""
        something = done.sent or done.total
        say(f"{done.delivered}: {done.sent:,}{kept}" if something else "the spool is empty")
    if done.other:
        about = f"about another database, and not {done.delivered}: {done.other:,}"
        say(f"{about}. See: labmon spool list --other-database")
    if done.refused:
        reasons = "; ".join(f"{queue}: {reason}" for queue, reason in done.refused.items())
        raise BrokerRefused(f"{reasons}. See: labmon spool list")


@contextmanager
def _bar(total: int) -> Iterator[Callable[[int], None]]:
    """A line on the terminal that tells how far it is, drawn by calling what this yields."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = BarColumn(), TextColumn("{task.completed:,}/{task.total:,}"), TimeRemainingColumn()
    with Progress(*columns, console=stderr(), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda sent: bar.update(task, completed=sent, total=max(total, sent))
