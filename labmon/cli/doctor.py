"""`labmon doctor`: is everything in place?"""

import typer

from labmon.cli.options import FormatOption, QueueHost, load
from labmon.cli.output import Format, print_rows
from labmon.errors import Exit
from labmon.table import Column

COLUMNS = [Column("check", "Check"), Column("state", "State", colour=True), Column("said", "", gives=True)]


def doctor(ctx: typer.Context, queue_host: QueueHost = None, form: FormatOption = Format.table) -> None:
    """Check everything that labmon needs, and print what is wrong and how to fix it.

    Changes nothing. Exit code 0 without problems, else the code of the first one.
    """
    from labmon.app.doctor import PROBLEM, examine

    findings = examine(load(ctx, {"queue.host": queue_host}))
    print_rows(COLUMNS, findings, form)
    raise typer.Exit(next((one.exit_code for one in findings if one.state == PROBLEM), Exit.OK))
