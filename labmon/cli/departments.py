"""`labmon departments`: who the machines belong to, and where theirs are."""

from ipaddress import ip_network
from typing import Annotated

import typer

from labmon.cli.output import Column, Format, print_rows, say
from labmon.cli.wiring import LARGEST, As, load, open_store
from labmon.errors import UsageError

app = typer.Typer(no_args_is_help=True, help="The departments and their subnets.")

COLUMNS = [
    Column("dept_id", "Dept", right=True),
    Column("code", "Code"),
    Column("name", "Name"),
    Column("subnets", "Subnets", lambda subnets: ", ".join(subnets) or "-"),
    Column("systems", "Systems", right=True),
]


@app.command("list")
def list_(ctx: typer.Context, form: As = Format.table) -> None:
    """List the departments."""
    from labmon.store import departments

    with open_store(load(ctx)) as store, store.transaction() as connection:
        rows = departments.departments(connection)
    if form is Format.table and not rows:
        say("no departments yet. Make one with: labmon departments set 1 --subnet 10.30.5.0/24")
        return
    print_rows(COLUMNS, rows, form)


@app.command("set")
def set_(
    ctx: typer.Context,
    dept: Annotated[int, typer.Argument(min=1, max=LARGEST, help="Its number.", metavar="DEPT")],
    name: Annotated[str | None, typer.Option(help="Its name.", show_default=False)] = None,
    code: Annotated[str | None, typer.Option(help="Its short name.", show_default=False)] = None,
    subnet: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CIDR", help="Its subnets, in place of those it had; may be repeated.", show_default=False
        ),
    ] = None,
    no_subnets: Annotated[bool, typer.Option("--no-subnets", help="It has no subnets any more.")] = False,
) -> None:
    """Make a department, or change it. With subnets, `labmon scan --dept N` alone scans these.

    labmon departments set 1 --name Physics --subnet 10.30.5.0/24 --subnet 10.30.6.0/24
    """
    from labmon.store import departments

    if subnet and no_subnets:
        raise UsageError("say either --subnet or --no-subnets")
    subnets = [] if no_subnets else [_network(text) for text in subnet] if subnet else None
    with open_store(load(ctx)) as store, store.transaction() as connection:
        departments.set_department(connection, dept, name=name, code=code, subnets=subnets)


def _network(text: str) -> str:
    try:
        return str(ip_network(text.strip(), strict=False))
    except ValueError:
        raise UsageError(f"--subnet {text[:60]!r} is no network: write 10.30.5.0/24") from None
