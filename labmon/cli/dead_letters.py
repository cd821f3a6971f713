"""`labmon dead-letters`: what could not be stored, why, and back it goes."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from labmon.cli.output import Column, Format, ago, print_rows, printable, say, stdout
from labmon.cli.wiring import As, QueueHost, Quiet, load, named_queue, open_broker
from labmon.errors import UsageError

if TYPE_CHECKING:
    from labmon.brokers.base import DeadLetter

app = typer.Typer(no_args_is_help=True, help="Messages that could not be stored, and why.")

ALL = 1_000_000
"""More dead letters than anybody looks through."""

QueueName = Annotated[str, typer.Argument(metavar="QUEUE", help="Its name, or how it begins: metrics.")]
Reason = Annotated[str | None, typer.Option(help="Only those whose reason begins so.", show_default=False)]


@dataclass(frozen=True)
class _Row:
    """A dead letter as it is listed."""

    id: str
    reason: str
    error: str
    attempt: int
    died_at: datetime
    enqueued_at: datetime | None
    routing_key: str
    high: bool
    body: str

    @classmethod
    def of(cls, letter: "DeadLetter") -> "_Row":
        return cls(
            letter.message.id,
            letter.reason,
            letter.error,
            letter.attempt,
            letter.died_at,
            letter.enqueued_at,
            letter.message.routing_key,
            letter.message.high,
            letter.message.body.decode(errors="backslashreplace"),
        )


@app.command("list")
def list_(
    ctx: typer.Context,
    queue: QueueName,
    limit: Annotated[int, typer.Option(min=1, max=ALL, help="The oldest so many.")] = 50,
    reason: Reason = None,
    queue_host: QueueHost = None,
    form: As = Format.table,
) -> None:
    """List the oldest dead letters of a queue."""
    config = load(ctx, {"queue.host": queue_host})
    queue = named_queue(queue, config)
    with open_broker(config) as broker:
        letters = broker.dead_letters(queue, limit=limit, reason=reason)
        total = broker.depth(queue).dead
    columns = [
        Column("id", "Message"),
        Column("reason", "Reason", gives=True),
        Column("error", "Error", gives=True),
        Column("attempt", "Attempts", right=True),
        Column("died_at", "Died", ago, right=True),
    ]
    if letters or form is not Format.table:
        print_rows(columns, [_Row.of(letter) for letter in letters], form)
    if len(letters) < total:
        say(f"{len(letters)} of {total} dead letters in {queue}")
    elif not letters:
        say(f"no dead letters in {queue}")


@app.command()
def show(
    ctx: typer.Context,
    queue: QueueName,
    message: Annotated[str, typer.Argument(help="The message's id, or how it begins.")],
    queue_host: QueueHost = None,
) -> None:
    """Show one dead letter whole: reason, error, attempts, times and body."""
    config = load(ctx, {"queue.host": queue_host})
    queue = named_queue(queue, config)
    with open_broker(config) as broker:
        letters = broker.dead_letters(queue, limit=ALL)
    found = [letter for letter in letters if letter.message.id.startswith(message)]
    if len(found) != 1:
        many = f"{len(found)} dead letters begin" if found else "no dead letter begins"
        raise UsageError(f"{many} with {message!r} in {queue}. See: labmon dead-letters list {queue}")
    row = _Row.of(found[0])
    said = {
        "message": row.id,
        "reason": row.reason,
        "error": row.error or "-",
        "attempts": str(row.attempt),
        "enqueued": f"{row.enqueued_at:%Y-%m-%d %H:%M:%S %Z}" if row.enqueued_at else "-",
        "died": f"{row.died_at:%Y-%m-%d %H:%M:%S %Z}",
        "routing key": row.routing_key or "-",
        "lane": "high" if row.high else "normal",
    }
    console = stdout()
    for name, value in said.items():
        console.print(f"{name:<12}{value}", markup=False)
    console.print(f"\n{printable(row.body)}", markup=False)


@app.command()
def replay(
    ctx: typer.Context,
    queue: QueueName,
    limit: Annotated[
        int | None, typer.Option(min=1, max=ALL, help="The oldest so many.", show_default="all")
    ] = None,
    reason: Reason = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many it would be.")] = False,
    queue_host: QueueHost = None,
    quiet: Quiet = False,
) -> None:
    """Put dead letters back into the queue they came from, attempts counted from the start."""
    config = load(ctx, {"queue.host": queue_host})
    queue = named_queue(queue, config)
    with open_broker(config) as broker:
        if dry_run:
            count = len(broker.dead_letters(queue, limit=limit or ALL, reason=reason))
            say(f"{count} would go back to {queue}")
            return
        count = broker.requeue_dead(queue, limit=limit, reason=reason)
    if not quiet:
        say(f"{count} back in {queue}")


@app.command()
def purge(
    ctx: typer.Context,
    queue: QueueName,
    reason: Reason = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    queue_host: QueueHost = None,
    quiet: Quiet = False,
) -> None:
    """Drop dead letters for good."""
    config = load(ctx, {"queue.host": queue_host})
    queue = named_queue(queue, config)
    with open_broker(config) as broker:
        if not yes:
            which = f"whose reason begins with {reason!r}" if reason else f"all {broker.depth(queue).dead}"
            confirmed(f"Drop the dead letters of {queue} for good: {which}?")
        count = broker.purge_dead(queue, reason=reason)
    if not quiet:
        say(f"{count} dropped from the dead letters of {queue}")


def confirmed(question: str) -> None:
    """Ask; go on only after yes. Raises UsageError where nobody can be asked."""
    import sys

    if not sys.stdin.isatty():
        raise UsageError("nobody is there to confirm this: say --yes")
    if not typer.confirm(question, err=True):
        raise typer.Exit
