"""`labmon maintenance`: when machines are left alone."""

import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from labmon.cli.moments import moment, shown
from labmon.cli.output import Column, Format, print_rows, say
from labmon.cli.scopes import Comment, Dept, Lab, System, scope, whoever
from labmon.cli.wiring import As, Quiet, load, open_store
from labmon.errors import UsageError
from labmon.units import Seconds

if TYPE_CHECKING:
    from labmon.store.maintenance import Maintenance

app = typer.Typer(
    no_args_is_help=True, help="When machines are left alone, and the hours that labs are closed."
)


class Mode(StrEnum):
    """What goes on meanwhile."""

    skip = "skip"
    record = "record"
    mute = "mute"


@dataclass(frozen=True)
class _Row:
    """One as it is listed."""

    maintenance_id: int
    mode: str
    scope: str
    rule: str | None
    active: bool
    begins: datetime | None
    until: datetime | None
    weekly: str | None
    timezone: str | None
    said_by: str | None
    comment: str | None

    @classmethod
    def of(cls, one: "Maintenance") -> "_Row":
        return cls(
            one.maintenance_id,
            one.mode,
            str(one.scope),
            one.rule,
            one.active,
            one.begins,
            one.until,
            one.weekly,
            one.timezone,
            one.said_by,
            one.comment,
        )


def _when(at: datetime) -> str:
    return f"{at.astimezone():%a %d %b %H:%M}"


COLUMNS = [
    Column("maintenance_id", "ID", right=True),
    Column("mode", "Mode"),
    Column("scope", "Whose"),
    Column("rule", "Rule"),
    Column("active", "Now", lambda active: "on" if active else "-"),
    Column("begins", "From", _when),
    Column("until", "Until", _when),
    Column("weekly", "Weekly", gives=True),
    Column("said_by", "By", extra=True),
    Column("comment", "Comment", gives=True),
]


@app.command()
def add(
    ctx: typer.Context,
    dept: Dept = None,
    lab: Lab = None,
    system: System = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything.")] = False,
    begin: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="From then on.", show_default="now")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Until then.", show_default=False)
    ] = None,
    length: Annotated[
        str | None,
        typer.Option("--for", metavar="DURATION", help="So long: 90m, 2h, 7d.", show_default=False),
    ] = None,
    weekly: Annotated[
        str | None,
        typer.Option(metavar="HOURS", help='Every week: "Mon-Fri 18:00-08:00, Sat-Sun".', show_default=False),
    ] = None,
    timezone: Annotated[
        str | None,
        typer.Option(metavar="ZONE", help="Whose clock --weekly means.", show_default="this machine's"),
    ] = None,
    mode: Annotated[
        Mode,
        typer.Option(
            help="skip: do not measure. record: measure, judge nothing. mute: tell at the end what is left."
        ),
    ] = Mode.mute,
    comment: Comment = None,
    quiet: Quiet = False,
) -> None:
    """Leave machines alone for a time, or at certain hours of every week.

    Machines that are off at their lab's closing hours are off, not down:

    labmon maintenance add --lab 3 --weekly "Mon-Fri 20:00-07:00, Sat-Sun" --mode skip
    """
    from labmon.messages import utcnow
    from labmon.store import maintenance

    if everything == (dept is not None or lab is not None or system is not None):
        raise UsageError("say whose: --lab, --dept, --system, or --all")
    if length is not None and end is not None:
        raise UsageError("say either --to or --for")
    starts_at = moment(begin) if begin is not None else utcnow() if weekly is None else None
    ends_at = moment(end) if end is not None else None
    if length is not None:
        ends_at = (starts_at or utcnow()) + duration(length)
    if ends_at is not None and ends_at <= utcnow() and (starts_at is None or starts_at < ends_at):
        raise UsageError(f"it would be over already, at {shown(ends_at)}")
    with open_store(load(ctx)) as store, store.transaction() as connection:
        whose = scope(connection, dept, lab, system)
        number = maintenance.add(
            connection,
            mode.value,
            whose,
            starts_at=starts_at,
            ends_at=ends_at,
            weekly=weekly,
            timezone=timezone or (local_zone() if weekly is not None else None),
            said_by=whoever(),
            comment=comment,
        )
        (made,) = [
            one
            for one in maintenance.maintenances(connection, utcnow(), over=True)
            if one.maintenance_id == number
        ]
    if not quiet:
        next_ = f", next {_when(made.begins)}" if made.begins and not made.active else ""
        until = f", until {_when(made.until)}" if made.until and made.active else ""
        say(f"maintenance {number} of {whose}: {'on now' if made.active else 'not yet on'}{until}{next_}")


@app.command("list")
def list_(
    ctx: typer.Context,
    over: Annotated[bool, typer.Option("--over", help="With those that are over.")] = False,
    form: As = Format.table,
) -> None:
    """List maintenance, closing hours and silences: what is on, and what comes next."""
    from labmon.messages import utcnow
    from labmon.store import maintenance

    with open_store(load(ctx)) as store, store.transaction() as connection:
        rows = [_Row.of(one) for one in maintenance.maintenances(connection, utcnow(), over=over)]
    if form is Format.table and not rows:
        say("no maintenance. Add some with: labmon maintenance add --lab 3 --for 2h")
        return
    print_rows(COLUMNS, rows, form)


@app.command()
def remove(
    ctx: typer.Context,
    number: Annotated[int, typer.Argument(metavar="ID", help="Its number.")],
    quiet: Quiet = False,
) -> None:
    """End a maintenance or a silence for good. What fired meanwhile and still stands is told."""
    from labmon.store import maintenance

    with open_store(load(ctx)) as store, store.transaction() as connection:
        if not maintenance.remove(connection, number):
            raise UsageError(f"there is no maintenance {number}; labmon maintenance list has them all")
    if not quiet:
        say(f"maintenance {number} is over")


def duration(text: str) -> timedelta:
    """A length of time as people write it. Raises UsageError."""
    try:
        seconds = Seconds.parse(text)
    except ValueError as error:
        raise UsageError(f"{text!r}: {error}") from error
    if not seconds:
        raise UsageError(f"{text!r} is no time at all")
    return timedelta(seconds=seconds)


def local_zone() -> str:
    """The name of this machine's time zone; UTC where it has none."""
    named = os.environ.get("TZ", "").lstrip(":")
    _, found, name = str(Path("/etc/localtime").resolve()).partition("zoneinfo/")
    return named if "/" in named or named == "UTC" else name if found else "UTC"
