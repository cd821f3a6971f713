"""`labmon labs`: the rooms of a department, and which machines stand there."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labmon.cli.output import Column, Format, print_rows, printable, say
from labmon.cli.wiring import LARGEST, As, load, open_store
from labmon.errors import UsageError
from labmon.fleet import find_lab, labs_called

if TYPE_CHECKING:
    from psycopg import Connection

app = typer.Typer(no_args_is_help=True, help="The labs and their machines.")

COLUMNS = [
    Column("lab_id", "ID", right=True),
    Column("name", "Name", gives=True),
    Column("dept_id", "Dept", right=True),
    Column("systems", "Systems", right=True),
    Column("active", "Active", right=True),
]

Dept = Annotated[int | None, typer.Option(min=1, max=LARGEST, help="Its department.", show_default=False)]


@app.command("list")
def list_(
    ctx: typer.Context,
    dept: Annotated[int | None, typer.Option(min=1, max=LARGEST, help="Only this department.")] = None,
    form: As = Format.table,
) -> None:
    """List the labs, with the number of their machines and of those that are active."""
    from labmon.store import labs

    with open_store(load(ctx)) as store, store.transaction() as connection:
        rows = labs.labs(connection, dept=dept)
    if form is Format.table and not rows:
        say("no labs yet. Make one with: labmon labs set A-101 --dept 1 --add 10.30.5.0/24")
        return
    print_rows(COLUMNS, rows, form)


@app.command("set")
def set_(
    ctx: typer.Context,
    lab: Annotated[str, typer.Argument(metavar="LAB", help="Its name, or the number it has already.")],
    dept: Dept = None,
    name: Annotated[str | None, typer.Option(help="Give it another name.", show_default=False)] = None,
    add: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WHICH",
            help="Put these machines there: 10.30.5.0/25, 10.30.5.10-40, or the ID of one; may be repeated.",
            show_default=False,
        ),
    ] = None,
    remove: Annotated[
        list[str] | None,
        typer.Option(metavar="WHICH", help="Take these out of it; may be repeated.", show_default=False),
    ] = None,
) -> None:
    """Make a lab, or change it: its name, and which machines stand there. Safe to repeat.

    labmon labs set A-101 --dept 1 --add 10.30.5.0/25
    """
    from labmon.store import labs

    with open_store(load(ctx)) as store, store.transaction() as connection:
        known = [one for one in labs.names(connection) if dept in (None, one.dept_id)]
        if not labs_called(lab, known):
            if dept is None:
                raise UsageError(
                    f"there is no lab {printable(lab)!r}: say its department, and it is made: --dept N"
                )
            lab_id = labs.make(connection, dept, _name(lab))
            done = "made"
        else:
            lab_id = find_lab(lab, known)
            dept = next(one.dept_id for one in known if one.lab_id == lab_id)
            done = ""
        if name is not None:
            labs.rename(connection, lab_id, _name(name))
        leaving = _which(connection, remove or [], dept)
        coming = _which(connection, add or [], dept)
        removed = labs.take_out(connection, leaving, lab_id)
        added = labs.place(connection, coming, lab_id)
        (now,) = [one for one in labs.labs(connection, dept=dept) if one.lab_id == lab_id]
    changes = [done, f"{added} added" if added else "", f"{removed} removed" if removed else ""]
    said = ", ".join(filter(None, changes))
    what = f"{now.systems} system{'s' * (now.systems != 1)}"
    say(f"lab {lab_id}, {printable(now.name)}: {what}{f' ({said})' if said else ''}")


@app.command()
def remove(
    ctx: typer.Context,
    lab: Annotated[str, typer.Argument(metavar="LAB", help="Its name or its number.")],
    dept: Dept = None,
) -> None:
    """Remove a lab. Its machines stay, without a lab."""
    from labmon.store import labs

    with open_store(load(ctx)) as store, store.transaction() as connection:
        known = [one for one in labs.names(connection) if dept in (None, one.dept_id)]
        lab_id = find_lab(lab, known)
        left = labs.remove(connection, lab_id)
    say(f"lab {lab_id} removed; {left} systems are without a lab now")


def _name(text: str) -> str:
    text = text.strip()
    if not (0 < len(text) <= 100 and text.isprintable()):
        raise UsageError(f"{printable(text)[:60]!r} is no name for a lab: write something such as A-101")
    return text


def _which(connection: "Connection[Any]", texts: Sequence[str], dept: int) -> list[int]:
    """The department's machines at these addresses, and those with these numbers. Raises UsageError."""
    from labmon.scan import address
    from labmon.scan.targets import parse
    from labmon.store import inventory, labs

    ids = [int(text) for text in texts if text.isdecimal()]
    inventory.check_known(connection, ids)
    for text in texts:
        if not text.isdecimal():
            asked = parse([text], max_hosts=2**32, force=True).spans
            spans = [(address.text(first), address.text(last)) for first, last in asked]
            found = labs.within(connection, spans, dept=dept)
            if not found:
                find = f"labmon scan {text} --dept {dept}"
                say(f"no system of department {dept} is at {text} so far. Find them with: {find}")
            ids += found
    return ids
