"""The command line: load the configuration, call the library, print. Nothing imports this package.

Results go to stdout, talk to stderr. Heavy imports stay inside the commands, so that `--help` is quick.
"""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from labmon import __version__
from labmon.cli import (
    collect,
    config,
    consume,
    db,
    dead_letters,
    demo,
    departments,
    doctor,
    queues,
    scan,
    spool,
    systems,
)
from labmon.cli.output import say
from labmon.errors import Exit, LabmonError

# The exceptions of the parser, which typer carries inside itself and only publishes this leaf of.
_ParserError: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")


class Group(TyperGroup):
    """Turns errors into one line on stderr and an exit code. Anything else is a bug and shows its trace."""

    def main(self, *args: Any, **options: Any) -> Any:
        try:
            code = super().main(*args, **options | {"standalone_mode": False})
        except _ParserError as error:
            code = Exit.USAGE
            where = error.ctx.command_path if getattr(error, "ctx", None) else "labmon"
            if type(error).__name__ == "NoArgsIsHelpError":
                typer.echo(error.format_message())  # the help, where rich has not printed it by itself
            else:
                said = " ".join(error.format_message().split()).rstrip(".")
                say(f"{where}: {said}. See: {where} --help")
        except LabmonError as error:
            code = error.exit_code
            say(f"labmon: {error}")
        except (KeyboardInterrupt, typer.Abort):
            code = Exit.INTERRUPTED
            say("labmon: interrupted")
        except BrokenPipeError:
            # The reader (head, less) has what it wanted. Nothing may be flushed into the pipe at exit.
            code = Exit.OK
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(code if isinstance(code, int) else Exit.OK)


app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_show_locals=False,  # locals hold passwords
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with [bold]labmon demo[/bold], or [bold]labmon scan 10.30.5.0/24 --dept 1[/bold].",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"labmon {__version__}")
        raise typer.Exit


@app.callback()
def options(
    ctx: typer.Context,
    config_file: Annotated[
        Path | None,
        typer.Option("--config", "-c", metavar="FILE", help="Configuration file.", show_default=False),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Find the computers of a campus, measure them over SSH, queue and store what they say."""
    ctx.obj = config_file


FIND = "Find and measure"
QUEUE = "Queue and workers"
LOOK = "Look and set up"

app.command("scan", rich_help_panel=FIND)(scan.scan)
app.command("collect", rich_help_panel=FIND)(collect.collect)
app.command("demo", rich_help_panel=FIND)(demo.demo)
app.command("consume", rich_help_panel=QUEUE)(consume.consume)
app.command("setup-queues", rich_help_panel=QUEUE)(queues.setup_queues)
app.command("queue-depth", rich_help_panel=QUEUE)(queues.queue_depth)
app.add_typer(dead_letters.app, name="dead-letters", rich_help_panel=QUEUE)
app.add_typer(spool.app, name="spool", rich_help_panel=QUEUE)
app.command("doctor", rich_help_panel=LOOK)(doctor.doctor)
app.add_typer(systems.app, name="systems", rich_help_panel=LOOK)
app.add_typer(departments.app, name="departments", rich_help_panel=LOOK)
app.add_typer(db.app, name="db", rich_help_panel=LOOK)
app.add_typer(config.app, name="config", rich_help_panel=LOOK)


def main() -> None:
    """The console script."""
    app(prog_name="labmon")
