"""`labmon events`: every accepted message, as it came."""

from typing import Annotated

import typer

from labmon.cli.moments import From, To, moment, shown
from labmon.cli.output import Column, Format, print_rows, say
from labmon.cli.wiring import LARGEST, As, load, named_queue, open_store

app = typer.Typer(no_args_is_help=True, help="Every accepted message, as it came.")

COLUMNS = [
    Column("received_at", "Received", shown),
    Column("queue", "Queue"),
    Column("system_id", "ID", right=True),
    Column("body", "Message", gives=True),
]


@app.command()
def show(
    ctx: typer.Context,
    queue: Annotated[
        str | None,
        typer.Option("--queue", metavar="NAME", help="Only what came to this queue.", show_default=False),
    ] = None,
    first: From = None,
    past: To = None,
    system: Annotated[
        int | None,
        typer.Option(
            "--system", min=1, max=LARGEST, metavar="ID", help="Only about this system.", show_default=False
        ),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=LARGEST, help="The newest so many.")] = 20,
    form: As = Format.table,
) -> None:
    """Show the messages that were accepted, the newest last."""
    from labmon.store import events

    config = load(ctx)
    with open_store(config) as store, store.transaction() as connection:
        rows = events.newest(
            connection,
            queue=named_queue(queue, config) if queue else None,
            first=moment(first) if first else None,
            past=moment(past) if past else None,
            system=system,
            limit=limit,
        )
    if form is Format.table and not rows:
        say("no such events" if config.events.keep else "no events are kept: [events] keep is 0s")
        return
    print_rows(COLUMNS, rows, form)
