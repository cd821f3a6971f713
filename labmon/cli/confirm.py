"""The question before something is removed for good."""

import sys
from collections.abc import Sequence

import typer

from labmon.cli.output import say
from labmon.errors import UsageError


def confirm(question: str, *, yes: bool, consequences: Sequence[str] = ()) -> None:
    """Return when the answer is yes; `yes` is the answer given by --yes. Ends the command after a no.

    `consequences` is what goes along with the thing that was named, printed before the question, a line each.
    Without a terminal, a command that names everything that goes is answer enough; if more goes along,
    UsageError is raised.
    """
    if yes:
        return
    for line in consequences:
        say(line)
    if not sys.stdin.isatty():
        if consequences:
            raise UsageError(f"{question} Confirm with --yes")
        return
    if not typer.confirm(question, err=True):
        say("nothing was changed")
        raise typer.Exit
