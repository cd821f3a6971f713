"""`labmon systems`: the machines that labmon knows."""

from dataclasses import asdict
from datetime import datetime
from enum import StrEnum
from typing import Annotated

import typer

from labmon.cli import trust
from labmon.cli.output import Column, Format, ago, percent, print_rows, printable, say, span, volume
from labmon.cli.wiring import LARGEST, As, load, open_store
from labmon.errors import UsageError
from labmon.fleet import find_lab

app = typer.Typer(no_args_is_help=True, help="The machines that labmon knows.")
app.command()(trust.trust)


class Said(StrEnum):
    """The statuses that people say; labmon finds out the others."""

    maintenance = "maintenance"
    active = "active"


# Where a terminal is too narrow, the last of the extra ones goes first.
COLUMNS = [
    Column("system_id", "ID", right=True),
    Column("ip_address", "Address"),
    Column("hostname", "Name", gives=True),
    Column("lab", "Lab", extra=True),
    Column("status", "Status"),
    Column("status_since", "Since", ago, right=True),
    Column("last_collected", "Measured", ago, right=True),
    Column("cpu_percent", "CPU", percent, right=True),
    Column("ram_percent", "RAM", percent, right=True, extra=True),
    Column("disk_percent", "Disk", percent, right=True, extra=True),
    Column("last_seen", "Seen", ago, right=True, extra=True),
    Column("gone_since", "Gone", ago, right=True, extra=True),
    Column("logged_in_users", "Users", right=True, extra=True),
    Column("uptime_seconds", "Up", span, right=True, extra=True),
    Column("dept_id", "Dept", right=True, extra=True),
    Column("mac_flag", "Flag", extra=True),
    Column("mac_address", "MAC", extra=True),
    Column("status_error", "Error", absent="", gives=True, extra=True),
]

# Shown of one machine only.
SIZES = [Column(name, name, volume) for name in ("ram_total_bytes", "disk_total_bytes")]


@app.command("list")
def list_(
    ctx: typer.Context,
    dept: Annotated[int | None, typer.Option(min=1, max=LARGEST, help="Only this department.")] = None,
    lab: Annotated[
        str | None, typer.Option(metavar="LAB", help="Only this lab, by number or name.", show_default=False)
    ] = None,
    status: Annotated[
        list[str] | None,
        typer.Option(
            help="Only those that are active, offline, refused, ...; may be repeated.", show_default=False
        ),
    ] = None,
    gone: Annotated[
        bool | None,
        typer.Option("--gone/--present", help="Only who the last scan of its address missed, or did not."),
    ] = None,
    form: As = Format.table,
) -> None:
    """List the machines: how they fare, since when, and their newest readings.

    Measured is the last good measurement, Seen the last time that a scan or a measurement found the machine.
    """
    from labmon.store import inventory, labs

    statuses = [_status(text) for text in status or ()] or None
    with open_store(load(ctx)) as store, store.transaction() as connection:
        lab_id = find_lab(lab, labs.names(connection)) if lab is not None else None
        rows = inventory.systems(connection, dept=dept, lab=lab_id, gone=gone, statuses=statuses)
    if form is Format.table and not rows and (gone is not None or statuses or lab or dept):
        say("no such systems")
        return
    if form is Format.table and not rows:
        say("no systems yet. Find some with: labmon scan 10.30.5.0/24 --dept 1")
        return
    print_rows(COLUMNS, rows, form)


@app.command("set")
def set_(
    ctx: typer.Context,
    system: Annotated[list[int], typer.Argument(min=1, max=LARGEST, metavar="ID", help="The systems.")],
    lab: Annotated[
        str | None,
        typer.Option(metavar="LAB", help="The lab they stand in, by number or name.", show_default=False),
    ] = None,
    no_lab: Annotated[bool, typer.Option("--no-lab", help="They are in no lab any more.")] = False,
    status: Annotated[
        Said | None,
        typer.Option(help="maintenance: it stays so until you say active.", show_default=False),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Their SSH port; 0: the usual one.", show_default=False),
    ] = None,
    hostname: Annotated[
        str | None,
        typer.Option(help="The name of one system, until a scan finds another.", show_default=False),
    ] = None,
) -> None:
    """Change what labmon cannot find out by itself.

    labmon systems set 12 13 14 --lab A-101
    """
    from labmon.store import inventory, labs, statuses

    if lab is not None and no_lab:
        raise UsageError("say either --lab or --no-lab")
    if hostname is not None and (len(system) > 1 or not hostname.strip() or not hostname.isprintable()):
        raise UsageError("--hostname is the name of one system")
    if (lab, status, port, hostname) == (None,) * 4 and not no_lab:
        raise UsageError("say what to change: --lab, --no-lab, --status, --port or --hostname")
    with open_store(load(ctx)) as store, store.transaction() as connection:
        inventory.check_known(connection, system)
        if no_lab or lab is not None:
            lab_id = find_lab(lab, labs.names(connection)) if lab is not None else None
            labs.place(connection, system, lab_id)
        if status is not None:
            statuses.set_status(connection, system, status.value)
        inventory.edit(connection, system, hostname=hostname and hostname.strip(), port=port)


MEANING = {
    "discovered": "found by a scan, and not measured so far",
    "active": "measured",
    "offline": "nothing at its address answers: switched off, or a firewall drops everything",
    "unreachable": "the network has no way to its address, which says nothing about the machine",
    "refused": "it is there, and nothing listens on its SSH port",
    "auth failed": "it is there, and takes none of our keys and passwords",
    "timed out": "it is there, and did not finish within the deadline",
    "failed": "it is there, and something else went wrong",
    "maintenance": "somebody said so; it stays so until labmon systems set ID --status active",
}

HISTORY = [
    Column("at", "When", lambda at: f"{at.astimezone():%Y-%m-%d %H:%M:%S}"),
    Column("system_id", "ID", right=True),
    Column("ip_address", "Address", extra=True),
    Column("hostname", "Name", gives=True, extra=True),
    Column("change", "Change"),
    Column("old_value", "Before"),
    Column("new_value", "After"),
    Column("error", "Error", absent="", gives=True),
    Column("scan_id", "Scan", right=True, extra=True),
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
    scan: Annotated[
        int | None,
        typer.Option(min=0, max=2**63 - 1, help="Only what this scan changed.", show_default=False),
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option(
            help="Only such changes: found, moved, status, ...; may be repeated.", show_default=False
        ),
    ] = None,
    scans: Annotated[bool, typer.Option("--scans", help="The scans themselves instead.")] = False,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=LARGEST, help="The newest so many.")
    ] = 100,
    form: As = Format.table,
) -> None:
    """Show what happened to the machines: found, moved, renamed, gone, back, and how their status changed."""
    from labmon.store import history, inventory
    from labmon.store import scans as scan_records

    with open_store(load(ctx)) as store, store.transaction() as connection:
        if scans:
            print_rows(SCANS, scan_records.recent(connection, limit=limit), form)
            return
        if system is not None:
            inventory.check_known(connection, [system])
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
        inventory.check_known(connection, [system])
        (one,) = inventory.systems(connection, ids=[system])
        happened = history.changes(connection, system_id=system, limit=20)
    if form is not Format.table:
        print_rows([Column(name, name) for name in asdict(one)], [one], form)
        return
    shown = {column.field: column for column in COLUMNS + SIZES}
    for name, value in asdict(one).items():
        if value is not None:
            column = shown.get(name, Column(name, name))
            text = (
                f"{value.astimezone():%Y-%m-%d %H:%M:%S}"
                if isinstance(value, datetime)
                else column.show(value)
            )
            means = f" ({MEANING[text]})" if name == "status" else ""
            typer.echo(f"{name.replace('_', ' '):<16} {printable(text)}{means}")
    if happened:
        typer.echo()
        columns = [
            column for column in HISTORY if column.field not in ("system_id", "ip_address", "hostname")
        ]
        print_rows(columns, happened, form)


def _status(text: str) -> str:
    """A status as people type it: "auth-failed" is one, too. Raises UsageError, which names them all."""
    from labmon.store.statuses import STATUSES

    status = text.strip().lower().replace("-", " ").replace("_", " ")
    if status not in STATUSES:
        raise UsageError(f"there is no status {text!r}. There are: {', '.join(STATUSES)}")
    return status
