"""`labmon systems facts`: what machines say of themselves."""

from typing import Annotated

import typer

from labmon.cli import complete
from labmon.cli.options import CALLED, FormatOption, From, Limit, connected, flag, option
from labmon.cli.output import Format, print_facts, print_rows, say
from labmon.errors import UsageError

Where = Annotated[
    list[str] | None,
    option("--where", "FACT~TEXT", "Only systems whose fact holds the text; also =, !=, <, >."),
]


def facts(
    ctx: typer.Context,
    system: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SYSTEM",
            help=f"Only these systems: {CALLED} Also lab:NAME, dept:NAME.",
            autocompletion=complete.systems,
        ),
    ] = None,
    where: Where = None,
    changed: Annotated[bool, flag("--changed", "List what changed instead, newest last.")] = False,
    from_: From = None,
    limit: Limit = 100,
    form: FormatOption = Format.table,
) -> None:
    """Show what the machines are: system, model, serial number, disks, cards.

    Each is asked once a day and after a boot, when it is measured.

    labmon systems facts --where os~Ubuntu --where "cpu_cores>8"
    """
    from labmon.app.inventory.facts import CHANGES, COLUMNS, MOUNTS, SUDOERS, conditions, facts_of_one, row
    from labmon.app.names import resolve_systems
    from labmon.cli.times import moment
    from labmon.store.inventory import facts as store

    if from_ is not None and not changed:
        raise UsageError("--from is of --changed")
    wanted = conditions(where or ())
    first = None if from_ is None else moment(from_)
    with connected(ctx) as connection:
        ids = resolve_systems(connection, system) if system else None
        if changed:
            if wanted:
                matching = set(store.matching(connection, wanted))
                ids = [one for one in ids if one in matching] if ids else sorted(matching)
            rows = store.changes(connection, ids=ids, first=first, limit=limit)
            print_rows(CHANGES, rows, form, "no fact has changed")
            return
        found = store.facts(connection, ids=ids, conditions=wanted)
        mounts = store.mounts(connection, ids[0]) if ids and len(ids) == 1 else []
    if form is not Format.table or len(ids or ()) != 1 or not found:
        nothing = "no such systems" if system or wanted else "no facts yet. They come with: labmon collect"
        print_rows(COLUMNS, map(row, found), form, nothing)
        return
    print_facts(facts_of_one(found[0]), 19)
    if mounts:
        typer.echo()
        print_rows(MOUNTS, mounts, form)
    if found[0].facts.serial is None and found[0].facts.vendor:
        say("no serial number: the account may not read it. Set [collect] sudo_serial, and in sudoers:")
        say(SUDOERS)
