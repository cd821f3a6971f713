"""`labmon report`: the labs as one file for a help desk or a mail."""

import os
from pathlib import Path
from typing import Annotated

import typer

from labmon.cli.extras import require_dashboard
from labmon.cli.options import Quiet, connected, option
from labmon.cli.output import say
from labmon.errors import UsageError


def report(
    ctx: typer.Context,
    html: Annotated[str, option("--html", "PATH", "The HTML file to write; - for standard output.")],
    quiet: Quiet = False,
) -> None:
    """Write the overview and the seat maps of all labs as one HTML file, which needs no server.

    labmon report --html labs.html
    """
    require_dashboard()
    from labmon.dashboard import report as document
    from labmon.messages import utcnow

    with connected(ctx) as connection:
        text = document.report(connection, utcnow())
    if html == "-":
        typer.echo(text, nl=False)
        return
    _write(Path(html), text)
    if not quiet:
        say(f"wrote {html}")


def _write(path: Path, text: str) -> None:
    """By way of a rename, so that a web server never sends half of it. Raises UsageError."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"{path} is no file")
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error
