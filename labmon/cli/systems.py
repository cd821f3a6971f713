"""`labmon systems`: the machines that labmon knows."""

from typing import Annotated

import typer

from labmon.cli.output import Column, Format, ago, percent, print_rows, say, span
from labmon.cli.wiring import LARGEST, As, load, open_store

app = typer.Typer(no_args_is_help=True, help="The machines that labmon knows.")

COLUMNS = [
    Column("system_id", "ID", right=True),
    Column("ip_address", "Address"),
    Column("hostname", "Name", gives=True),
    Column("mac_address", "MAC", extra=True),
    Column("dept_id", "Dept", right=True),
    Column("lab_id", "Lab", right=True),
    Column("status", "Status"),
    Column("last_seen", "Seen", ago, right=True),
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
    form: As = Format.table,
) -> None:
    """List the machines with their newest readings."""
    from labmon.store import inventory

    with open_store(load(ctx)) as store, store.transaction() as connection:
        rows = inventory.systems(connection, dept=dept, lab=lab)
    if form is Format.table and not rows:
        say("no systems yet. Find some with: labmon scan 10.30.5.0/24 --dept 1")
        return
    print_rows(COLUMNS, rows, form)
