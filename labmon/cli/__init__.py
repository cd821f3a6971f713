"""The command line: load the configuration, call the library, print. Nothing imports this package.

Results go to stdout, talk to stderr. Heavy imports stay inside the commands, so that `--help` is quick.
"""

import os
import signal
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
    events,
    metrics,
    queues,
    replay,
    scan,
    spool,
    systems,
)
from labmon.cli.output import say
from labmon.errors import Exit, LabmonError

# The exceptions of the parser, which typer carries inside itself and only publishes this leaf of.
_ParserError: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")


class Terminated(BaseException):
    """A signal that ends labmon, as an exception: what is open gets closed on the way out."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.code = 128 + number  #: as a shell reports it


def _prepare() -> None:
    """Signals become exceptions, and no name or locale makes printing fail."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):  # nohup has it ignored
            signal.signal(number, _terminate)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))
        else:
            stream.reconfigure(errors="backslashreplace")


def _terminate(number: int, _: object) -> None:
    raise Terminated(number)


def _discard_output() -> None:
    """Nothing may be flushed at exit into what takes nothing."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Group(TyperGroup):
    """Turns errors into one line on stderr and an exit code. Anything else is a bug and shows its trace."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command. A reader (head, less) that has what it wanted is no error."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError as error:
            _discard_output()
            raise typer.Exit(Exit.OK) from error
        return result

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the command line and end the process."""
        _prepare()
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
        except (Terminated, typer.Abort) as error:
            code = error.code if isinstance(error, Terminated) else Exit.INTERRUPTED
            say("labmon: interrupted")
        except OSError as error:
            if error.filename is not None:
                raise
            code = Exit.BUG
            say(f"labmon: the output cannot be written: {error.strerror}")
            _discard_output()
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
app.command("replay", rich_help_panel=QUEUE)(replay.replay)
app.add_typer(events.app, name="events", rich_help_panel=QUEUE)
app.add_typer(spool.app, name="spool", rich_help_panel=QUEUE)
app.command("doctor", rich_help_panel=LOOK)(doctor.doctor)
app.add_typer(systems.app, name="systems", rich_help_panel=LOOK)
app.add_typer(metrics.app, name="metrics", rich_help_panel=LOOK)
app.add_typer(departments.app, name="departments", rich_help_panel=LOOK)
app.add_typer(db.app, name="db", rich_help_panel=LOOK)
app.add_typer(config.app, name="config", rich_help_panel=LOOK)


def main() -> None:
    """The console script."""
    app(prog_name="labmon")
