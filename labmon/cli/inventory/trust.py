"""`labmon systems trust`: accept the new host keys of machines that were reinstalled."""

import sys
from typing import Annotated

import typer

from labmon.app.scope import dept_number
from labmon.cli.options import Dept, FormatOption, Lab, Yes, flag, load
from labmon.cli.output import Format, notice, print_rows, say
from labmon.errors import UsageError


def trust(
    ctx: typer.Context,
    machines: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ID|HOST",
            help="Systems by ID, address or name; also bastions, and addresses not in the inventory.",
            show_default=False,
        ),
    ] = None,
    lab: Lab = None,
    dept: Dept = None,
    unseen: Annotated[bool, flag("--next", "Accept the next key that they present, whatever it is.")] = False,
    yes: Yes = False,
    form: FormatOption = Format.table,
) -> None:
    """Accept changed host keys, for example after machines were reinstalled.

    Without systems: only list the machines whose key was refused. With --next, before a lab is reinstalled:
    forget their keys, and accept the next ones without a look.

    labmon systems trust 17

    labmon systems trust --lab 3 --yes
    """
    from labmon.app.collect.setup import CollectSetup
    from labmon.app.collect.trust import COLUMNS, key_changes

    config = load(ctx)
    setup = CollectSetup.of(config)
    named = bool(machines) or lab is not None or dept is not None
    if unseen and not named:
        raise UsageError("systems trust --next: say which machines, by ID, HOST, --lab or --dept")
    number = None if dept is None else dept_number(config, dept)
    with key_changes(setup, machines or [], lab, number, unseen=unseen, notice=notice) as changes:
        if changes.rows or form is not Format.table:
            print_rows(COLUMNS, changes.rows, form)
        many, new = len(changes.wanted), len(changes.refused)
        if unseen:
            if many and _agreed(f"Forget the keys of these {many} and accept the next ones?", yes):
                changes.expect()
                say(f"{many} may show any key, once")
        elif not new:
            say("none of them was refused for its host key" if named else "no machine is refused for its key")
        elif named and _agreed(f"Accept the keys that these {new} show?", yes):
            changes.accept()
            say(f"{new} new {'keys' if new > 1 else 'key'} accepted")


def _agreed(question: str, yes: bool) -> bool:
    """Raises UsageError where there is no terminal to ask at."""
    if yes:
        return True
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("systems trust: no key is accepted without a confirmation; say --yes")
    if typer.confirm(question, err=True):
        return True
    say("nothing has changed")
    return False
