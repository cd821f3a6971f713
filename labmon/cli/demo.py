"""`labmon demo`: a whole lab on this machine, with the real commands."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from labmon.cli.extras import require_dashboard
from labmon.cli.options import flag, option
from labmon.cli.output import say, stdout
from labmon.errors import UsageError


def demo(
    keep: Annotated[bool, flag("--keep", "Keep the folder of the demo, with its database.")] = False,
    dashboard: Annotated[
        bool, flag("--dashboard", "Then serve the dashboard, with new data every 5 s, until Ctrl-C.")
    ] = False,
    port: Annotated[
        int | None, option("--port", "N", "The port of the dashboard, with --dashboard.", min=1, max=65535)
    ] = None,
) -> None:
    """Run a demo lab: a dozen SSH servers on 127.0.0.x are found, measured, queued and stored.

    Nothing leaves this machine, nothing is installed, and the demo's folder is removed at the end.
    """
    from labmon.demo.lab import SIGNALLED, STEPS, demo_lab, run

    if port is not None and not dashboard:
        raise UsageError("--port is for the dashboard: say --dashboard, too")
    if dashboard:
        require_dashboard()

    with demo_lab(_say_kept if keep else None) as environ:
        for words, arguments in STEPS:
            _print_step(words, arguments)
            if (code := run(arguments, environ)) > SIGNALLED:
                raise typer.Exit(code)
        if dashboard:
            _serve(environ, port)
        else:
            say("To see it in a browser, with new data every 5 s: labmon demo --dashboard")


def _serve(environ: dict[str, str], port: int | None) -> None:
    """The dashboard in front, collecting and storing beside it, until Ctrl-C."""
    from labmon.config.tables import DashboardConfig
    from labmon.demo.lab import LAB, free_port, live, run

    run(LAB, environ)
    arguments = ["dashboard", "--port", str(port or free_port(DashboardConfig().port))]
    _print_step("Look at them in a browser. Ctrl-C ends the demo.", arguments)
    with live(environ):
        run(arguments, environ)


def _say_kept(folder: Path) -> None:
    say(f"kept: {folder}. Look with: LABMON_STATE_DIR={folder / 'state'} labmon systems list")


def _print_step(words: str, arguments: list[str]) -> None:
    from rich.text import Text

    console = stdout()
    console.print()
    console.print(Text(f"# {words}", style="dim"))
    console.print(Text(f"$ labmon {shlex.join(arguments)}", style="bold"))
    sys.stdout.flush()
