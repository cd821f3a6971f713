"""`labmon maintenance`: planned maintenance, closing hours and silences."""

from enum import StrEnum
from typing import Annotated

import typer

from labmon.app.alerts.maintenance import COLUMNS, TABLE, MaintenanceRow, described, find, plan, planned, when
from labmon.app.audit import record
from labmon.app.scope import scope
from labmon.cli.confirm import confirm
from labmon.cli.options import (
    Comment,
    Dept,
    FormatOption,
    Lab,
    Quiet,
    System,
    Yes,
    choices,
    connected,
    flag,
    lasting,
    option,
)
from labmon.cli.output import Format, print_change, print_rows, say
from labmon.cli.times import duration, moment, period
from labmon.errors import UsageError
from labmon.readable import shown

app = typer.Typer(no_args_is_help=True, help="Plan maintenance and closing hours of labs.")


class Mode(StrEnum):
    """What is suspended meanwhile."""

    skip = "skip"
    record = "record"
    mute = "mute"


@app.command()
def add(
    ctx: typer.Context,
    dept: Dept = None,
    lab: Lab = None,
    system: System = None,
    everything: Annotated[bool, flag("--all", "All systems.")] = False,
    begin: Annotated[str | None, option("--from", "TIME", "Begin.", show_default="now")] = None,
    end: Annotated[str | None, option("--to", "TIME", "End. Only --weekly needs none.")] = None,
    length: Annotated[str | None, lasting("--for", "Duration: 90m, 2h, 7d.")] = None,
    weekly: Annotated[
        str | None, option("--weekly", "HOURS", 'Every week: "Mon-Thu 18:00-08:00, Fri 18:00-Mon 8:00".')
    ] = None,
    timezone: Annotated[
        str | None,
        option("--timezone", "ZONE", "The time zone of --weekly.", show_default="this machine's"),
    ] = None,
    mode: Annotated[
        Mode,
        option(
            "--mode",
            choices(Mode),
            "skip: do not measure. record: measure, but evaluate no rules. mute: measure and evaluate, but "
            "send notifications only at the end, for alerts still firing.",
            show_default=True,
        ),
    ] = Mode.mute,
    comment: Comment = None,
    form: FormatOption = Format.table,
    quiet: Quiet = False,
) -> None:
    """Suspend measuring or notifications for a time, or for certain hours of every week.

    During a lab's closing hours its machines are switched off, not down:

    labmon maintenance add --lab 3 --weekly "Mon-Fri 20:00-7:00" --mode skip
    """
    from labmon.messages import utcnow

    if everything == (dept is not None or lab is not None or system is not None):
        raise UsageError("give one of --lab, --dept, --system and --all")
    if length is not None and end is not None:
        raise UsageError("only one of --to and --for can be given")
    if begin is not None and end is not None:
        period(begin, end)
    starts_at = moment(begin) if begin is not None else utcnow() if weekly is None else None
    ends_at = moment(end) if end is not None else None
    if length is not None:
        ends_at = (starts_at or utcnow()) + duration(length, "--for")
    if ends_at is not None and ends_at <= utcnow() and (starts_at is None or starts_at < ends_at):
        raise UsageError(f"it would be over already at {shown(ends_at)}")
    with connected(ctx) as connection:
        about = scope(connection, dept, lab, system)
        made = plan(
            connection,
            mode.value,
            about,
            starts_at,
            ends_at,
            weekly=weekly,
            timezone=timezone,
            comment=comment,
        )
        record(connection, "maintenance.add", str(about), planned(made))
    if form is not Format.table:
        print_rows(COLUMNS, [MaintenanceRow.of(made)], form)
    elif not quiet:
        following = f", next {when(made.begins)}" if made.begins and not made.active else ""
        until = f", until {when(made.until)}" if made.until and made.active else ""
        state = "on now" if made.active else "not yet on"
        if made.always and not made.until:
            end = f"To end it: labmon maintenance remove {made.maintenance_id}"
            until = f". Its hours are the whole week, so it never ends. {end}"
        say(f"maintenance {made.maintenance_id} of {about}: {state}{until}{following}")


@app.command("list")
def list_(
    ctx: typer.Context,
    over: Annotated[bool, flag("--over", "Include those that are over.")] = False,
    form: FormatOption = Format.table,
) -> None:
    """List maintenance, closing hours and silences: current ones, and when the next begin."""
    from labmon.messages import utcnow
    from labmon.store.inventory import maintenance

    with connected(ctx) as connection:
        rows = [MaintenanceRow.of(one) for one in maintenance.maintenances(connection, utcnow(), over=over)]
    columns = TABLE if form is Format.table else COLUMNS
    print_rows(columns, rows, form, "no maintenance. Add one with: labmon maintenance add --lab 3 --for 2h")


@app.command()
def remove(
    ctx: typer.Context,
    number: Annotated[int, typer.Argument(metavar="ID", help="The ID of the maintenance or silence.")],
    yes: Yes = False,
    form: FormatOption = Format.table,
    quiet: Quiet = False,
) -> None:
    """End a maintenance or a silence for good. Alerts still firing are notified then."""
    from labmon.store.inventory import maintenance

    with connected(ctx) as connection:
        found = find(connection, number)
        confirm(f"Remove {described(found)}?", yes=yes)
        maintenance.remove(connection, number)
        record(connection, "maintenance.remove", described(found))
    row = {"maintenance_id": number, "mode": found.mode, "scope": str(found.scope), "active": False}
    print_change(form, f"maintenance {number} is over", row, quiet=quiet)
