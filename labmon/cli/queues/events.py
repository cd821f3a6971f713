"""`labmon events`: every accepted message, as it came."""

from typing import Annotated

import typer

from labmon.app.names import past_system
from labmon.app.open import named_queue, open_store
from labmon.cli import complete
from labmon.cli.listing import View, listing
from labmon.cli.options import FormatOption, From, System, To, load, option
from labmon.cli.output import Format, say
from labmon.cli.times import period
from labmon.readable import shown
from labmon.table import Column

app = typer.Typer(no_args_is_help=True, help="Show accepted messages as they were received.")

COLUMNS = [
    Column("received_at", "Received", shown),
    Column("queue", "Queue"),
    Column("system_id", "ID", right=True),
    Column("body", "Message", gives=True),
]


@app.command()
@listing(COLUMNS, limit=20, newest=True)
def show(
    ctx: typer.Context,
    queue: Annotated[
        str | None,
        option("--queue", "QUEUE", "Only messages from this queue.", autocompletion=complete.queues),
    ] = None,
    first: From = None,
    past: To = None,
    system: System = None,
    form: FormatOption = Format.table,
    *,
    view: View,
) -> None:
    """Show accepted messages, the newest last."""
    from labmon.store import events
    from labmon.store.inventory.systems import check_known

    config = load(ctx)
    begin, end = period(first, past)
    with open_store(config) as store, store.transaction() as connection:
        number = None if system is None else past_system(connection, system)
        rows = events.newest(
            connection,
            queue=named_queue(queue, config) if queue else None,
            first=begin,
            past=end,
            system=number,
            limit=view.to_fetch,
        )
        if not rows and number is not None:
            check_known(connection, [number])
    if form is Format.table and not rows:
        say("no such events" if config.events.keep else "no events are kept: [events] keep is 0s")
        return
    view.print(COLUMNS, rows, form, "no such events")
