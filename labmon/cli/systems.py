"""`labmon systems`: the machines that labmon knows."""

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labmon.cli import trust
from labmon.cli.output import Column, Format, ago, percent, print_rows, printable, say, span
from labmon.cli.wiring import LARGEST, As, load, open_store
from labmon.errors import UsageError

if TYPE_CHECKING:
    from psycopg import Connection

app = typer.Typer(no_args_is_help=True, help="The machines that labmon knows.")
app.command()(trust.trust)

COLUMNS = [
    Column("system_id", "ID", right=True),
    Column("ip_address", "Address"),
    Column("hostname", "Name", gives=True),
    Column("mac_address", "MAC", extra=True),
    Column("mac_flag", "Flag"),
    Column("dept_id", "Dept", right=True),
    Column("lab_id", "Lab", right=True),
    Column("status", "Status"),
    Column("last_seen", "Seen", ago, right=True),
    Column("gone_since", "Gone", ago, right=True),
    Column("last_collected", "Measured", ago, right=True),
    Column("cpu_percent", "CPU", percent, right=True),
    Column("ram_percent", "RAM", percent, right=True),
    Column("disk_percent", "Disk", percent, right=True),
    Column("logged_in_users", "Users", right=True),
    Column("uptime_seconds", "Up", span, right=True),
]


@app.command("list")
def list_(
    ctx: typer.Context,
    dept: Annotated[int | None, typer.Option(min=1, max=LARGEST, help="Only this department.")] = None,
    lab: Annotated[int | None, typer.Option(min=1, max=LARGEST, help="Only this lab.")] = None,
    gone: Annotated[
        bool | None,
        typer.Option("--gone/--present", help="Only who the last scan of its address missed, or did not."),
    ] = None,
    form: As = Format.table,
) -> None:
    """List the machines with their newest readings."""
    from labmon.store import inventory

    with open_store(load(ctx)) as store, store.transaction() as connection:
        rows = inventory.systems(connection, dept=dept, lab=lab, gone=gone)
    if form is Format.table and not rows and gone is not None:
        say("no such systems")
        return
    if form is Format.table and not rows:
        say("no systems yet. Find some with: labmon scan 10.30.5.0/24 --dept 1")
        return
    print_rows(COLUMNS, rows, form)


HISTORY = [
    Column("at", "When", lambda at: f"{at.astimezone():%Y-%m-%d %H:%M:%S}"),
    Column("system_id", "ID", right=True),
    Column("ip_address", "Address"),
    Column("hostname", "Name"),
    Column("change", "Change"),
    Column("old_value", "Before"),
    Column("new_value", "After"),
    Column("scan_id", "Scan", right=True),
]

SCANS = [
    Column("scan_id", "Scan", right=True),
    Column("started_at", "Began", lambda at: f"{at.astimezone():%Y-%m-%d %H:%M:%S}"),
    Column("dept_id", "Dept", right=True),
    Column("target_range", "Addresses", lambda text: text if len(text) <= 60 else text[:57] + "..."),
    Column("scan_type", "By"),
    Column("status", "Status"),
    Column("systems_found", "Found", right=True),
    Column("systems_new", "New", right=True),
    Column("systems_moved", "Moved", right=True),
    Column("systems_gone", "Gone", right=True),
    Column("errors", "Errors", right=True),
]


@app.command()
def history(
    ctx: typer.Context,
    system: Annotated[
        int | None, typer.Argument(metavar="[ID]", help="Only this system.", show_default=False)
    ] = None,
    scan: Annotated[int | None, typer.Option(help="Only what this scan changed.", show_default=False)] = None,
    change: Annotated[
        list[str] | None,
        typer.Option(help="Only such changes: found, moved, gone, ...; may be repeated.", show_default=False),
    ] = None,
    scans: Annotated[bool, typer.Option("--scans", help="The scans themselves instead.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="The newest so many.")] = 100,
    form: As = Format.table,
) -> None:
    """Show what happened to the machines: found, moved, renamed, gone, back."""
    from labmon.store import history
    from labmon.store import scans as scan_records

    with open_store(load(ctx)) as store, store.transaction() as connection:
        if scans:
            print_rows(SCANS, scan_records.recent(connection, limit=limit), form)
            return
        _check_known(connection, system)
        rows = history.changes(connection, system_id=system, scan_id=scan, kinds=change, limit=limit)
    if form is Format.table and not rows:
        say("nothing has happened yet")
        return
    print_rows(HISTORY, rows, form)


@app.command()
def show(
    ctx: typer.Context,
    system: Annotated[int, typer.Argument(metavar="ID", help="The system.")],
    form: As = Format.table,
) -> None:
    """Show all that is known about one machine, and what happened to it."""
    from labmon.store import history, inventory

    with open_store(load(ctx)) as store, store.transaction() as connection:
        _check_known(connection, system)
        (one,) = inventory.systems(connection, ids=[system])
        happened = history.changes(connection, system_id=system, limit=20)
    if form is not Format.table:
        print_rows([Column(name, name) for name in asdict(one)], [one], form)
        return
    shown = {column.field: column for column in COLUMNS}
    for name, value in asdict(one).items():
        if value is not None:
            column = shown.get(name, Column(name, name))
            text = (
                f"{value.astimezone():%Y-%m-%d %H:%M:%S}"
                if isinstance(value, datetime)
                else column.show(value)
            )
            typer.echo(f"{name.replace('_', ' '):<16} {printable(text)}")
    if happened:
        typer.echo()
        columns = [
            column for column in HISTORY if column.field not in ("system_id", "ip_address", "hostname")
        ]
        print_rows(columns, happened, form)


def _check_known(connection: "Connection[Any]", system: int | None) -> None:
    from labmon.store import inventory

    if system is not None and not inventory.systems(connection, ids=[system]):
        raise UsageError(f"there is no system {system}; labmon systems list has them all")
