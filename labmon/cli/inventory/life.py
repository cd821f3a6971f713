"""`labmon systems retire`, `ignore`, `restore`, `accept`, `merge`, `split`, `undo` and `remove`."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from labmon.app.names import resolve_system, resolve_systems
from labmon.app.scope import dept_id, lab_id
from labmon.cli.confirm import confirm
from labmon.cli.options import (
    CALLED,
    LARGEST,
    Comment,
    Dept,
    FormatOption,
    Lab,
    SystemName,
    Systems,
    Yes,
    connected,
    flag,
)
from labmon.cli.output import Format, print_rows, say
from labmon.errors import UsageError
from labmon.readable import plural
from labmon.table import Column

if TYPE_CHECKING:
    from labmon.app.inventory import life
    from labmon.pg import Connection

    Act = Callable[[Connection[Any], list[int]], list[life.Outcome]]

OUTCOMES = [Column(name, name) for name in ("system_id", "action", "done", "did", "notes")]
REMOVED = [Column(name, name) for name in ("removed", "count")]


def retire(
    ctx: typer.Context, system: Systems, comment: Comment = None, form: FormatOption = Format.table
) -> None:
    """Take systems out of service and keep their history: not measured, not counted, no alerts.

    A scan that finds one again says so. To have it back: labmon systems restore.
    """
    _run(ctx, system, _take_out("retired", comment), form)


def ignore(
    ctx: typer.Context, system: Systems, comment: Comment = None, form: FormatOption = Format.table
) -> None:
    """Pass over systems that are no lab PCs: a printer, a router, a phone.

    Scans say nothing about them, and lists hide them. To have one back: labmon systems restore.
    """
    _run(ctx, system, _take_out("ignored", comment), form)


def restore(ctx: typer.Context, system: Systems, form: FormatOption = Format.table) -> None:
    """Have retired or ignored systems measured again."""
    from labmon.app.inventory import life

    _run(ctx, system, lambda store, which: life.restore(store, which, life.ourselves()), form)


def accept(
    ctx: typer.Context,
    system: Annotated[
        list[str] | None, typer.Argument(metavar="SYSTEM", help=f"Systems: {CALLED}", show_default=False)
    ] = None,
    dept: Dept = None,
    lab: Lab = None,
    everything: Annotated[bool, flag("--all", "All that wait.")] = False,
    form: FormatOption = Format.table,
) -> None:
    """Let systems out of quarantine: they are measured from now on.

    labmon systems accept --dept 1
    """
    from labmon.app.inventory import life

    if bool(system) + (dept is not None or lab is not None) + everything != 1:
        raise UsageError("say which: systems by name, --dept, --lab or --all")

    def act(connection: "Connection[Any]", named: list[int]) -> "list[life.Outcome]":
        where = {"dept": dept_id(connection, dept), "lab": lab_id(connection, lab)}
        waiting = named or life.quarantined(connection, **where)
        return life.accept(connection, waiting, life.ourselves())

    _run(ctx, system or [], act, form, "no system waits in quarantine")


def merge(
    ctx: typer.Context,
    system: SystemName,
    other: Annotated[str, typer.Argument(metavar="OTHER", help="The system that goes.")],
    form: FormatOption = Format.table,
) -> None:
    """Make two systems one that are the same machine: readings, history and alerts under the first ID.

    Of two readings of the same time, that of the first system is kept. To take them apart again: labmon
    systems split.
    """
    from labmon.app.inventory import life

    with connected(ctx) as connection:
        one, gone = resolve_system(connection, system), resolve_system(connection, other)
        done = life.merge(connection, one, gone, life.ourselves())
    report([done], form)


def split(
    ctx: typer.Context,
    system: SystemName,
    other: Annotated[
        int | None,
        typer.Argument(min=1, max=LARGEST, metavar="ID", help="The ID of one, if several were merged."),
    ] = None,
    form: FormatOption = Format.table,
) -> None:
    """Take apart what a merge has joined. What came since stays with the first system."""
    from labmon.app.inventory import life

    with connected(ctx) as connection:
        done = life.split(connection, resolve_system(connection, system), other, life.ourselves())
    report([done], form)


def undo(ctx: typer.Context, system: Systems, form: FormatOption = Format.table) -> None:
    """Take back the last change that a person made to these systems; again, and the one before.

    What was changed since, such as the name by a scan, stays, and is reported. A removal cannot be undone.
    """
    from labmon.app.inventory import life

    _run(ctx, system, lambda store, which: life.undo(store, which, life.ourselves()), form)


def remove(ctx: typer.Context, system: Systems, yes: Yes = False, form: FormatOption = Format.table) -> None:
    """Delete systems with their readings and all else that is known of them, for good.

    Consider: labmon systems retire, which keeps the history.
    """
    from labmon.app.inventory import life

    with connected(ctx) as connection:
        systems = resolve_systems(connection, system)
        doomed = {} if yes else life.doomed(connection, systems)
    which = f"system{'s' if len(systems) > 1 else ''} {', '.join(map(str, systems))}"
    if not yes:
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
    return ", ".join(plural(number, name.removesuffix("s"), name) for name, number in counts.items())


def _take_out(status: Literal["retired", "ignored"], comment: str | None) -> "Act":
    from labmon.app.inventory import life

    def act(connection: "Connection[Any]", systems: list[int]) -> "list[life.Outcome]":
        return life.take_out(connection, systems, status, life.ourselves(), comment=comment)

    return act


def _run(
    ctx: typer.Context,
    words: Sequence[str],
    act: "Act",
    form: Format,
    nothing: str = "",
) -> None:
    with connected(ctx) as connection:
        outcomes = act(connection, resolve_systems(connection, words))
    report(outcomes, form, nothing)


def report(outcomes: "Sequence[life.Outcome]", form: Format, nothing: str = "") -> None:
    """A line for each system, or the same as data."""
    if form is not Format.table:
        print_rows(OUTCOMES, outcomes, form)
        return
    if not outcomes:
        say(nothing)
    for one in outcomes:
        say("; ".join((f"system {one.system_id}: {one.did}", *one.notes)))
