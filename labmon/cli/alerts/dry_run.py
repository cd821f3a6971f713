"""`labmon alerts test`: which targets would be notified of an alert, and why; with --send they are."""

from typing import Annotated

import typer

from labmon.cli import complete
from labmon.cli.options import FormatOption, System, flag, load, option
from labmon.cli.output import Format, print_rows, say
from labmon.errors import Exit


def test(
    ctx: typer.Context,
    rule: Annotated[
        str | None,
        typer.Argument(
            metavar="RULE",
            help="The rule's name or ID. Without one: a test message.",
            autocompletion=complete.rules,
        ),
    ] = None,
    to: Annotated[
        str | None, option("--to", "TARGET", "Only this target.", autocompletion=complete.targets)
    ] = None,
    system: System = None,
    why: Annotated[
        bool, flag("--why/--no-why", "Show why each target is notified, or is not.", show_default=True)
    ] = True,
    send: Annotated[bool, flag("--send", "Send the notifications.")] = False,
    form: FormatOption = Format.table,
) -> None:
    """Show which targets would be notified if a rule fired now. Without --send nothing is sent.

    labmon alerts test cpu_high --system 42
    labmon alerts test --to admins --send
    """
    from labmon.app.alerts import dry_run as app

    config = load(ctx)
    run = app.dry_run(config, rule, system, to)
    print_rows(app.COLUMNS if why else app.COLUMNS[:2], run.rows, form)
    if send and not app.send(config.notify, run, say):
        raise typer.Exit(Exit.SOME_FAILED)
