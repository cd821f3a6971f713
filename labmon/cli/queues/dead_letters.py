"""`labmon dead-letters`: list, replay and purge messages that could not be stored."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from labmon.app.audit import record_apart
from labmon.app.open import named_queue, open_broker
from labmon.app.queues.dead_letters import COLUMNS, DeadLetterRow
from labmon.cli.confirm import confirm
from labmon.cli.options import FormatOption, QueueHost, Quiet, Yes, flag, load, option
from labmon.cli.output import Format, print_change, print_rows, say, stdout
from labmon.errors import UsageError
from labmon.readable import plural
from labmon.text import foreign

if TYPE_CHECKING:
    from labmon.brokers.base import Broker

app = typer.Typer(no_args_is_help=True, help="List, replay and purge messages that could not be stored.")

ALL = 1_000_000
"""More dead letters than anybody looks through."""

QueueName = Annotated[
    str, typer.Argument(metavar="QUEUE", help="The queue, or the start of its name: metrics.")
]
Reason = Annotated[str | None, option("--reason", "TEXT", "Only those whose reason starts with TEXT.")]


@contextmanager
def _opened(ctx: typer.Context, queue: str, host: str | None) -> "Iterator[tuple[Broker, str]]":
    """The broker, and the queue's whole name."""
    config = load(ctx, {"queue.host": host})
    name = named_queue(queue, config)
    with open_broker(config) as broker:
        yield broker, name


@app.command("list")
def list_(
    ctx: typer.Context,
    queue: QueueName,
    limit: Annotated[
        int,
        option("--limit", "N", "Maximum number of rows, oldest first.", min=1, max=ALL, show_default=True),
    ] = 50,
    reason: Reason = None,
    queue_host: QueueHost = None,
    form: FormatOption = Format.table,
) -> None:
    """List dead letters of a queue, oldest first."""
    with _opened(ctx, queue, queue_host) as (broker, queue):
        letters = broker.dead_letters(queue, limit=limit, reason=reason)
        total = max(len(letters), broker.depth(queue).dead)
    if letters or form is not Format.table:
        print_rows(COLUMNS, [DeadLetterRow.of(letter) for letter in letters], form)
    if len(letters) < total:
        say(f"{len(letters)} of {plural(total, 'dead letter')} in {queue}")
    elif not letters:
        say(f"no dead letters in {queue}")


@app.command()
def show(
    ctx: typer.Context,
    queue: QueueName,
    message: Annotated[str, typer.Argument(metavar="ID", help="The message's ID, or the start of it.")],
    queue_host: QueueHost = None,
    form: FormatOption = Format.table,
) -> None:
    """Show one dead letter: reason, error, attempts, times and body. The oldest, if several IDs start so."""
    with _opened(ctx, queue, queue_host) as (broker, queue):
        letters = broker.dead_letters(queue, limit=1, id=message)
    if not letters:
        raise UsageError(
            f"no dead letter in {queue} has an ID that starts with {message!r}. "
            f"See: labmon dead-letters list {queue}"
        )
    row = DeadLetterRow.of(letters[0])
    if form is not Format.table:
        print_rows(COLUMNS, [row], form)
        return
    fields = {
        "message": row.id,
        "reason": row.reason,
        "error": row.error or "-",
        "attempts": str(row.attempts),
        "enqueued": f"{row.enqueued_at:%Y-%m-%d %H:%M:%S %Z}" if row.enqueued_at else "-",
        "died": f"{row.died_at:%Y-%m-%d %H:%M:%S %Z}",
        "routing key": row.routing_key or "-",
        "lane": "high" if row.high else "normal",
    }
    console = stdout()
    for name, value in fields.items():
        console.print(f"{name:<12}{foreign(value)}", markup=False)
    console.print(f"\n{foreign(row.body, lines=True)}", markup=False)


@app.command()
def replay(
    ctx: typer.Context,
    queue: QueueName,
    limit: Annotated[
        int | None, option("--limit", "N", "Only the N oldest.", min=1, max=ALL, show_default="all")
    ] = None,
    reason: Reason = None,
    dry_run: Annotated[bool, flag("--dry-run", "Only print how many it would be.")] = False,
    queue_host: QueueHost = None,
    form: FormatOption = Format.table,
    quiet: Quiet = False,
) -> None:
    """Put dead letters back into their queue. Attempts are counted from the start."""
    with _opened(ctx, queue, queue_host) as (broker, queue):
        if dry_run:
            count = broker.count_dead(queue, limit=limit, reason=reason)
            row = {"queue": queue, "count": count, "done": False}
            print_change(form, f"{count} would go back to {queue}", row)
            return
        count = broker.requeue_dead(queue, limit=limit, reason=reason)
        left = broker.depth(queue).dead
    record_apart(load(ctx), "dead_letters.replay", queue, {"count": count, "reason": reason}, say)
    now = f"; {left} still or again in the dead letters" if left and not (limit or reason) else ""
    row = {"queue": queue, "count": count, "done": True}
    print_change(form, f"{count} back in {queue}{now}", row, quiet=quiet)


@app.command()
def purge(
    ctx: typer.Context,
    queue: QueueName,
    reason: Reason = None,
    yes: Yes = False,
    queue_host: QueueHost = None,
    form: FormatOption = Format.table,
    quiet: Quiet = False,
) -> None:
    """Delete dead letters for good."""
    with _opened(ctx, queue, queue_host) as (broker, queue):
        going = broker.count_dead(queue, reason=reason)
        if going and not yes:
            which = f" whose reason starts with {reason!r}" if reason else ""
            goes = f"{plural(going, 'dead letter')} of {queue}{which} would be deleted for good"
            confirm("Delete them?", yes=False, consequences=[goes])
        count = broker.purge_dead(queue, reason=reason)
    record_apart(load(ctx), "dead_letters.discard", queue, {"count": count, "reason": reason}, say)
    which = f" with such a reason in {queue}" if reason else f" in {queue}"
    said = f"{plural(count, 'dead letter')} deleted from {queue}" if count else f"no dead letters{which}"
    print_change(form, said, {"queue": queue, "count": count, "done": True}, quiet=quiet)
