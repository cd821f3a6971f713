"""`labmon departments`: departments and their subnets."""

from dataclasses import asdict
from typing import Annotated

import typer

from labmon.app.audit import record
from labmon.app.inventory.departments import COLUMNS, checked_name, host_in, network
from labmon.cli.listing import View, listing
from labmon.cli.options import LARGEST, FormatOption, NewAs, choices, connected, flag, option
from labmon.cli.output import Format, print_change, say
from labmon.errors import UsageError
from labmon.text import foreign

app = typer.Typer(no_args_is_help=True, help="List and change departments and their subnets.")


@app.command("list")
@listing(COLUMNS)
def list_(ctx: typer.Context, form: FormatOption = Format.table, *, view: View) -> None:
    """List the departments."""
    from labmon.store.inventory import departments

    with connected(ctx) as connection:
        rows = departments.departments(connection)
    nothing = "no departments yet. Make one with: labmon departments set 1 --subnet 10.30.5.0/24"
    view.print(COLUMNS, rows, form, "no such departments" if view.narrows else nothing)


@app.command("set")
def set_(
    ctx: typer.Context,
    dept: Annotated[int, typer.Argument(min=1, max=LARGEST, help="The department's number.", metavar="N")],
    name: Annotated[str | None, option("--name", "NAME", "The department's name.")] = None,
    code: Annotated[str | None, option("--code", "NAME", "The department's short name.")] = None,
    subnet: Annotated[
        list[str] | None, option("--subnet", "CIDR", "A subnet. Replaces all earlier subnets.")
    ] = None,
    new_as: Annotated[
        NewAs | None,
        option("--new-as", choices(NewAs), "What scans find is measured at once, or waits in quarantine."),
    ] = None,
    no_subnets: Annotated[bool, flag("--no-subnets", "Remove all subnets.")] = False,
    form: FormatOption = Format.table,
) -> None:
    """Make a department, or change it. `labmon scan --dept N` without addresses scans its subnets.

    labmon departments set 1 --name Physics --subnet 10.30.5.0/24
    """
    from labmon.store.inventory import departments

    if subnet and no_subnets:
        raise UsageError("only one of --subnet and --no-subnets can be given")
    name = None if name is None else checked_name(name, "--name")
    code = None if code is None else checked_name(code, "--code")
    subnets = [] if no_subnets else [network(text) for text in subnet] if subnet else None
    for text, taken in zip(subnet or (), subnets or (), strict=False):
        if given := host_in(text, taken):
            say(f"--subnet {given} is a machine's address: taken as its network, {taken}")
    with connected(ctx) as connection:
        departments.set_department(connection, dept, name=name, code=code, subnets=subnets, new_as=new_as)
        changed = {"name": name, "code": code, "subnets": subnets, "new_as": new_as}
        record(connection, "departments.set", f"department {dept}", changed)
        (now,) = departments.departments(connection, dept=dept)
    called = f", {foreign(now.name)}" if now.name else ""
    waits = "; what scans find waits in quarantine" if now.new_as == "quarantine" else ""
    print_change(
        form, f"department {dept}{called}: {', '.join(now.subnets) or 'no subnets'}{waits}", asdict(now)
    )
