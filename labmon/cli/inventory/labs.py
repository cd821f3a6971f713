"""`labmon labs`: the rooms of a department, and the systems in them."""

from dataclasses import asdict
from typing import Annotated

import typer

from labmon.app.audit import record
from labmon.app.inventory import labs
from labmon.app.scope import dept_id
from labmon.cli.confirm import confirm
from labmon.cli.listing import View, listing
from labmon.cli.options import Dept, FormatOption, LabName, Yes, connected, option
from labmon.cli.output import Format, print_change, say
from labmon.readable import plural
from labmon.text import foreign

app = typer.Typer(no_args_is_help=True, help="List and change labs and the systems in them.")


@app.command("list")
@listing(labs.COLUMNS, failed="Only labs with systems that are not active.")
def list_(
    ctx: typer.Context,
    dept: Dept = None,
    form: FormatOption = Format.table,
    *,
    view: View,
) -> None:
    """List the labs, with the number of their systems and of those that are active."""
    from labmon.store.inventory import labs as inventory

    with connected(ctx) as connection:
        rows = inventory.labs(connection, dept=dept_id(connection, dept))
    nothing = "no labs yet. Make one with: labmon labs set A-101 --dept 1 --add 10.30.5.0/24"
    nothing = "no such labs" if view.narrows else nothing
    view.print(labs.COLUMNS, rows, form, nothing, failed=lambda one: one.active < one.systems)


@app.command("set")
def set_(
    ctx: typer.Context,
    lab: LabName,
    dept: Dept = None,
    name: Annotated[str | None, option("--name", "NAME", "Rename the lab.")] = None,
    add: Annotated[
        list[str] | None,
        option("--add", "SYSTEMS", "Systems to add: 10.30.5.0/25, 10.30.5.10-40, or the ID or name of one."),
    ] = None,
    remove: Annotated[
        list[str] | None, option("--remove", "SYSTEMS", "Systems to take out, written the same way.")
    ] = None,
    form: FormatOption = Format.table,
) -> None:
    """Make a lab, or change its name and which systems are in it. Safe to repeat.

    labmon labs set A-101 --dept 1 --add 10.30.5.0/25
    """
    with connected(ctx) as connection:
        done = labs.set_lab(
            connection,
            lab,
            dept_id(connection, dept, to_make=True),
            name=name,
            add=add or [],
            remove=remove or [],
            notice=say,
        )
        changed = {"name": name, "added": done.added or None, "removed": done.removed or None}
        action = "labs.add" if done.made else "labs.set"
        record(connection, action, f"lab {done.lab.lab_id} {done.lab.name}", changed)
    now = done.lab
    changes = [
        "made" if done.made else "",
        f"{done.added} added" if done.added else "",
        f"{done.removed} removed" if done.removed else "",
    ]
    did = ", ".join(filter(None, changes))
    what = plural(now.systems, "system")
    said = f"lab {now.lab_id}, {foreign(now.name)}: {what}{f' ({did})' if did else ''}"
    print_change(form, said, asdict(now) | {"added": done.added, "removed": done.removed})


@app.command()
def remove(
    ctx: typer.Context,
    lab: LabName,
    dept: Dept = None,
    yes: Yes = False,
    form: FormatOption = Format.table,
) -> None:
    """Remove a lab, with its alert rules, maintenance and silences. Its systems stay, without a lab."""
    from labmon.store.inventory import labs as inventory

    with connected(ctx) as connection:
        found = labs.find(connection, lab, dept_id(connection, dept))
        goes = [f"also removed: {text}" for text in labs.depending(connection, found.lab_id)]
        confirm(f"Remove lab {found.lab_id}, {found.name}?", yes=yes, consequences=goes)
        left = inventory.remove(connection, found.lab_id)
        record(connection, "labs.remove", f"lab {found.lab_id} {found.name}", {"systems": left})
    said = f"lab {found.lab_id} removed; {plural(left, 'system')} without a lab now"
    print_change(form, said, {"lab_id": found.lab_id, "name": found.name, "systems": left})
