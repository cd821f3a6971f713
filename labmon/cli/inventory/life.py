"""`labmon systems retire`, `ignore`, `restore`, `accept`, `merge`, `split`, `undo` and `remove`."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labmon.app.inventory import life
from labmon.app.scope import check_dept, lab_id
from labmon.cli.confirm import confirm
from labmon.cli.options import (
    LARGEST,
    Comment,
    Dept,
    FormatOption,
    Lab,
    SystemID,
    Yes,
    connected,
    flag,
)
from labmon.cli.output import Format, print_rows, say
from labmon.errors import UsageError
from labmon.table import Column

if TYPE_CHECKING:
    from labmon.pg import Connection

Systems = Annotated[
    list[int], typer.Argument(min=1, max=LARGEST, metavar="ID", help="The systems' IDs.", show_default=False)
]

OUTCOMES = [Column(name, name) for name in ("system_id", "action", "done", "did", "notes")]
REMOVED = [Column(name, name) for name in ("removed", "count")]


def retire(
    ctx: typer.Context, system: Systems, comment: Comment = None, form: FormatOption = Format.table
) -> None:
    """Take systems out of service and keep their history: not measured, not counted, no alerts.

    A scan that finds one again says so. To have it back: labmon systems restore.
    """
    _run(
        ctx,
        lambda connection: life.take_out(*(connection, system, "retired", life.ourselves()), comment=comment),
        form,
    )


def ignore(
    ctx: typer.Context, system: Systems, comment: Comment = None, form: FormatOption = Format.table
) -> None:
    """Pass over systems that are no computers of a lab: a printer, a router, a phone.

    Scans say nothing about them, and lists hide them. To have one back: labmon systems restore.
    """
    _run(
        ctx,
        lambda connection: life.take_out(*(connection, system, "ignored", life.ourselves()), comment=comment),
        form,
    )


def restore(ctx: typer.Context, system: Systems, form: FormatOption = Format.table) -> None:
    """Have retired or ignored systems measured again."""
    _run(ctx, lambda connection: life.restore(connection, system, life.ourselves()), form)


def accept(
    ctx: typer.Context,
    system: Annotated[
        list[int] | None,
        typer.Argument(min=1, max=LARGEST, metavar="ID", help="The systems' IDs.", show_default=False),
    ] = None,
    dept: Dept = None,
    lab: Lab = None,
    everything: Annotated[bool, flag("--all", "All that wait.")] = False,
    form: FormatOption = Format.table,
) -> None:
    """Let systems out of quarantine: they are measured from now on.

    labmon systems accept --dept 1
    """
    if bool(system) + (dept is not None or lab is not None) + everything != 1:
        raise UsageError("say which: systems by their IDs, --dept, --lab or --all")

    def act(connection: "Connection[Any]") -> list[life.Outcome]:
        check_dept(connection, dept)
        waiting = life.quarantined(connection, dept=dept, lab=lab_id(connection, lab))
        return life.accept(connection, system or waiting, life.ourselves())

    _run(ctx, act, form, "no system waits in quarantine")


def merge(
    ctx: typer.Context,
    system: SystemID,
    other: Annotated[int, typer.Argument(min=1, max=LARGEST, metavar="ID", help="The one that goes.")],
    form: FormatOption = Format.table,
) -> None:
    """Make two systems one that are the same machine: readings, history and alerts under the first ID.

    Of two readings of the same time, that of the first system is kept. To take them apart again: labmon
    systems split.
    """
    with connected(ctx) as connection:
        done = life.merge(connection, system, other, life.ourselves())
    report([done], form)


def split(
    ctx: typer.Context,
    system: SystemID,
    other: Annotated[
        int | None, typer.Argument(min=1, max=LARGEST, metavar="ID", help="Which, if several were merged.")
    ] = None,
    form: FormatOption = Format.table,
) -> None:
    """Take apart what a merge has joined. What came since stays with the first system."""
    with connected(ctx) as connection:
        done = life.split(connection, system, other, life.ourselves())
    report([done], form)


def undo(ctx: typer.Context, system: Systems, form: FormatOption = Format.table) -> None:
    """Take back the last change that a person made to these systems; again, and the one before.

    What was changed since, such as the name by a scan, is left, and said. A removal cannot be undone.
    """
    _run(ctx, lambda connection: life.undo(connection, system, life.ourselves()), form)


def remove(ctx: typer.Context, system: Systems, yes: Yes = False, form: FormatOption = Format.table) -> None:
    """Delete systems with their readings and all else that is known of them, for good.

    Consider: labmon systems retire, which keeps the history.
    """
    systems = list(dict.fromkeys(system))
    which = f"system{'s' if len(systems) > 1 else ''} {', '.join(map(str, systems))}"
    if not yes:
        with connected(ctx) as connection:
            doomed = life.doomed(connection, systems)
        goes = _counted(doomed) or "nothing else that is known of them"
        told = f"with {which} go: {goes}. This cannot be undone"
        confirm(f"Remove {which} for good?", yes=False, consequences=[told])
    with connected(ctx) as connection:
        gone = life.remove(connection, systems, life.ourselves())
    if form is not Format.table:
        print_rows(REMOVED, [life.Removed(name, count) for name, count in gone.items()], form)
        return
    say(f"removed {which}, and {_counted(gone) or 'nothing else'}")


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in counts.items())


def _run(
    ctx: typer.Context,
    act: "Callable[[Connection[Any]], list[life.Outcome]]",
    form: Format,
    nothing: str = "",
) -> None:
    with connected(ctx) as connection:
        outcomes = act(connection)
    report(outcomes, form, nothing)


def report(outcomes: Sequence[life.Outcome], form: Format, nothing: str = "") -> None:
    """A line for each system, or the same as data."""
    if form is not Format.table:
        print_rows(OUTCOMES, outcomes, form)
        return
    if not outcomes:
        say(nothing)
    for one in outcomes:
        say("; ".join((f"system {one.system_id}: {one.did}", *one.notes)))
