"""`labmon spool`: what waits on this machine for the broker."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer

from labmon.cli.output import Column, Format, ago, print_rows, say, span, stderr
from labmon.cli.wiring import As, QueueHost, Quiet, interactive, load, open_broker
from labmon.errors import LabmonError

if TYPE_CHECKING:
    from labmon.spool import Status

app = typer.Typer(no_args_is_help=True, help="Messages that wait on this machine for the broker.")


@dataclass(frozen=True)
class _Row:
    queue: str
    messages: int
    oldest_age: float


@app.command()
def status(ctx: typer.Context, form: As = Format.table) -> None:
    """Show how much waits, since when, and what had to be dropped."""
    from labmon.spool import Spool

    found = Spool.of(load(ctx)).status()
    rows = [_Row(one.queue, one.messages, _age(one.oldest_at)) for one in found.queues]
    if form is Format.json:
        typer.echo(json.dumps(_whole(found, rows), indent=2))
        return
    if form is Format.table:
        for name, value in _facts(found):
            typer.echo(f"{name:<10}{value}")
        if not rows:
            return
        typer.echo()
    columns = [
        Column("queue", "Queue"),
        Column("messages", "Messages", "{:,}".format, right=True),
        Column("oldest_age", "Oldest", span, right=True),
    ]
    print_rows(columns, rows, form)


@app.command()
def flush(ctx: typer.Context, queue_host: QueueHost = None, quiet: Quiet = False) -> None:
    """Send what waits to the broker, oldest first. Safe to repeat, and to interrupt.

    Exit code 4 when the broker takes none: everything stays where it is.
    """
    from labmon.publish import Publisher
    from labmon.spool import Spool

    config = load(ctx, {"queue.host": queue_host})
    spool = Spool.of(config)
    total, sent = spool.count(), 0
    with ExitStack() as stack:
        publisher = Publisher(lambda: stack.enter_context(open_broker(config)), config.queue, spool, say)
        draw = stack.enter_context(_bar(total)) if total and interactive(quiet) else lambda _: None
        try:
            for number in publisher.drain():
                sent += number
                draw(sent)
        except LabmonError:
            say(f"sent: {sent:,}; still in the spool: {spool.count():,}")
            raise
    left = spool.count()
    if left:
        say(f"sent: {sent:,}; another labmon process is sending the other {left:,}")
    elif not quiet:
        say(f"sent: {sent:,}" if sent else "the spool is empty")


@contextmanager
def _bar(total: int) -> Iterator[Callable[[int], None]]:
    """A line on the terminal that tells how far it is, drawn by calling what this yields."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = BarColumn(), TextColumn("{task.completed:,}/{task.total:,} sent"), TimeRemainingColumn()
    with Progress(*columns, console=stderr(), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda sent: bar.update(task, completed=sent, total=max(total, sent))


def _facts(found: "Status") -> list[tuple[str, str]]:
    oldest = "-" if found.oldest_at is None else ago(found.oldest_at)
    dropped = found.dropped_for_room + found.dropped_for_age
    facts = [
        ("File", found.file),
        ("Messages", f"{found.messages:,}"),
        ("Size", f"{found.bytes / 2**20:.1f} MiB, at most {found.max_bytes / 2**20:.0f}"),
        ("Oldest", f"{oldest}, at most {span(found.max_age)}"),
        ("Dropped", f"{dropped:,}"),
        ("Corrupt", f"{found.corrupt:,}"),
    ]
    if found.last_dropped_at:
        why = f"{found.dropped_for_room:,} for room, {found.dropped_for_age:,} for age"
        facts[4] = ("Dropped", f"{dropped:,} ({why}), last {ago(found.last_dropped_at)} ago")
    if found.set_aside:
        facts.append(("Damaged", f"{found.set_aside} times the whole file, set aside beside it"))
    return facts


def _whole(found: "Status", rows: list[_Row]) -> dict[str, Any]:
    dropped_at = found.last_dropped_at
    return {
        "file": found.file,
        "messages": found.messages,
        "bytes": found.bytes,
        "max_bytes": found.max_bytes,
        "oldest_age": max((row.oldest_age for row in rows), default=None),
        "max_age": found.max_age,
        "dropped_for_room": found.dropped_for_room,
        "dropped_for_age": found.dropped_for_age,
        "last_dropped_at": dropped_at and dropped_at.isoformat().replace("+00:00", "Z"),
        "corrupt": found.corrupt,
        "set_aside": found.set_aside,
        "queues": [asdict(row) for row in rows],
    }


def _age(moment: datetime) -> float:
    return max(0.0, (datetime.now(UTC) - moment).total_seconds())
