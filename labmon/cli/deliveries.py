"""`labmon alerts deliveries`: who was told of what."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated

import typer

from labmon.cli.output import Column, Format, print_rows, say
from labmon.cli.wiring import As, load, open_store
from labmon.errors import UsageError


class Shown(StrEnum):
    """Which deliveries are listed."""

    all = "all"
    waiting = "waiting"
    held = "held"
    sent = "sent"
    superseded = "superseded"
    withdrawn = "withdrawn"
    failed = "failed"


@dataclass(frozen=True)
class _Row:
    """A delivery as it is listed."""

    at: datetime
    target: str
    state: str
    alert_type: str
    alert_state: str
    about: str
    attempts: int
    error: str | None


COLUMNS = [
    Column("at", "Since", lambda at: f"{at.astimezone():%m-%d %H:%M:%S}"),
    Column("target", "Target"),
    Column("state", "State"),
    Column("alert_type", "Alert"),
    Column("alert_state", "Is", extra=True),
    Column("about", "About", gives=True),
    Column("attempts", "Tries", right=True, extra=True),
    Column("error", "Why", absent="", gives=True),
]


def deliveries(
    ctx: typer.Context,
    state: Annotated[Shown, typer.Option(help="Only those in this state.")] = Shown.all,
    to: Annotated[
        str | None, typer.Option("--to", metavar="TARGET", help="Only to this target.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, the newest.")] = 50,
    retry: Annotated[
        bool, typer.Option("--retry", help="Have those that failed sent after all, and end.")
    ] = False,
    form: As = Format.table,
) -> None:
    """List who was told of what, who is still to be told, and who could not be.

    labmon alerts deliveries --state failed
    """
    from labmon.store import deliveries

    config = load(ctx)
    known = [target.name for target in config.notify.targets]
    with open_store(config) as store, store.transaction() as connection:
        if retry:
            count = deliveries.try_again(connection, target=to)
            say(f"{count} to be sent again by labmon consume" if count else "none has failed")
            return
        wanted = None if state is Shown.all else state.value
        found = deliveries.recent(connection, state=wanted, target=to, limit=limit)
    if to and to not in known and not found:
        raise UsageError(f"there is no target {to!r}. There are: {', '.join(known) or 'none, see [notify]'}")
    if form is Format.table and not found:
        say("nobody was told of anything" if known else "no targets yet: see [notify] in the configuration")
        return
    rows = [
        _Row(
            one.created_at,
            one.target,
            one.state,
            one.alert.alert_type,
            one.alert.state,
            one.about,
            one.attempts,
            one.error,
        )
        for one in found
    ]
    print_rows(COLUMNS, rows, form)
