"""The command line: load the configuration, call the library, print. Nothing imports this package.

Results go to stdout, talk to stderr. Heavy imports stay inside the commands, so that `--help` is quick.
"""

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated, Any, Self

import typer
from typer.core import TyperGroup

from labmon import __version__
from labmon.cli import (
    alerts,
    collect,
    config,
    consume,
    db,
    dead_letters,
    demo,
    departments,
    doctor,
    events,
    labs,
    maintenance,
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
    """A signal that ends labmon, as an exception: what is open gets closed on the way out.

    Python drops an exception that comes while it compiles a module or runs a destructor. One that goes before
    `Group.main` has seen any end of the command was dropped so, and comes once more.
    """

    too_late = False

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
        self.code = 128 + number  #: as a shell reports it

    def __del__(self) -> None:
        if not Terminated.too_late and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGALRM, lambda *_: _terminate(self.number, None))
            signal.setitimer(signal.ITIMER_REAL, 0.01)

    @classmethod
    def behind(cls, error: BaseException | None) -> Self | None:
        """Find the signal that made this error: what runs in the body of a class is reported as another."""
        while error is not None and not isinstance(error, cls):
            error = error.__cause__
        return error


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
        try:
            _prepare()
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
        except typer.Abort:
            code = Exit.INTERRUPTED
            say("labmon: interrupted")
        except UnicodeEncodeError as error:
            if error.reason != "surrogates not allowed":
                raise
            code = Exit.USAGE  # bytes of the command line, which the database does not take
            say(f"labmon: {error.object!a:.100} is not UTF-8")
        except OSError as error:
            if error.filename is not None:
                raise
            code = Exit.BUG
            say(f"labmon: the output cannot be written: {error.strerror}")
            _discard_output()
        except BaseException as error:
            signalled = Terminated.behind(error)
            if signalled is None:
                raise
            code = signalled.code
            say("labmon: interrupted")
        finally:
            Terminated.too_late = True
        sys.exit(code if isinstance(code, int) else Exit.OK)


app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_show_locals=False,  # locals hold passwords
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with **labmon demo**, or **labmon scan 10.30.5.0/24 --dept 1**.",
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
app.add_typer(alerts.app, name="alerts", rich_help_panel=LOOK)
app.add_typer(maintenance.app, name="maintenance", rich_help_panel=LOOK)
app.add_typer(departments.app, name="departments", rich_help_panel=LOOK)
app.add_typer(labs.app, name="labs", rich_help_panel=LOOK)
app.add_typer(db.app, name="db", rich_help_panel=LOOK)
app.add_typer(config.app, name="config", rich_help_panel=LOOK)


def main() -> None:
    """The console script."""
    app(prog_name="labmon")
