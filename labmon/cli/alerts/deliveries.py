"""`labmon alerts deliveries`: which notifications were sent, wait, or failed."""

from enum import StrEnum
from typing import Annotated

import typer

from labmon.app.open import open_store
from labmon.cli.options import FormatOption, choices, flag, load, numeric, option
from labmon.cli.output import Format, print_rows, say
from labmon.errors import UsageError
from labmon.text import nearest


class State(StrEnum):
    """Which deliveries are listed."""

    all = "all"
    waiting = "waiting"
    held = "held"
    sent = "sent"
    superseded = "superseded"
    withdrawn = "withdrawn"
    failed = "failed"


def deliveries(
    ctx: typer.Context,
    state: Annotated[
        State, option("--state", choices(State), "Only deliveries in this state.", show_default=True)
    ] = State.all,
    to: Annotated[str | None, option("--to", "TARGET", "Only deliveries to this target.")] = None,
    limit: Annotated[
        int,
        numeric("--limit", "N", "Maximum number of rows, newest first.", "-n", max=10_000, show_default=True),
    ] = 50,
    retry: Annotated[bool, flag("--retry", "Send the failed ones again; list nothing.")] = False,
    form: FormatOption = Format.table,
) -> None:
    """List notifications: sent, waiting, failed and why.

    labmon alerts deliveries --state failed
    """
    from labmon.alerts import deliveries
    from labmon.app.alerts.deliveries import COLUMNS, DeliveryRow

    config = load(ctx)
    known = [target.name for target in config.notify.targets]
    with open_store(config) as store, store.transaction() as connection:
        found = deliveries.recent(
            connection, state=None if state is State.all else state.value, target=to, limit=limit
        )
        if to and to not in known and not found:
            raise UsageError(f"there is no target {to!r}{nearest(to, known) or ', see [notify] targets'}")
        if retry:
            count = deliveries.try_again(connection, target=to)
            say(f"{count} will be sent again by labmon consume" if count else "none has failed")
            return
    rows = [DeliveryRow.of(one) for one in found]
    nothing = "no deliveries" if known else "no targets yet: see [notify] in the configuration"
    print_rows(COLUMNS, rows, form, nothing)
