"""The command line: load the configuration, call the library, print. Nothing imports this package.

Results go to stdout, messages to stderr. Heavy imports stay inside the commands, so that `--help` is quick.

options, listing, times                                the options that commands share, and what they mean
output, confirm, help                                  all that is printed: results, questions, the help
alerts, collect, dashboard, inventory, queues, scan, status    a folder for each group of commands
config, db, demo, doctor, report                       a module for each small one
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
from typer.core import TyperGroup

from labmon import __version__
from labmon.cli import config, db, demo, doctor, report
from labmon.cli.alerts import incidents, maintenance
from labmon.cli.collect import collect
from labmon.cli.dashboard import dashboard
from labmon.cli.help import use_plain_help
from labmon.cli.inventory import departments, labs, metrics, systems
from labmon.cli.mistakes import in_words
from labmon.cli.output import notice, say, set_headers
from labmon.cli.queues import consume, dead_letters, depth, events, replay, spool
from labmon.cli.scan import scan
from labmon.cli.status import status
from labmon.cli.times import unknown_zone
from labmon.config.home import set_missing_home
from labmon.errors import Exit, LabmonError
from labmon.signals import Terminated, terminate

# The exceptions of the parser, which typer carries inside itself and only publishes this leaf of.
_ParserError: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")


def _prepare() -> None:
    """Signals become exceptions, no name or locale makes printing fail, and `~` means a folder."""
    set_missing_home()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):  # nohup has it ignored
            signal.signal(number, terminate)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, _closed(name))
        else:
            stream.reconfigure(errors="backslashreplace")


def _closed(name: str) -> TextIO:
    """In place of a stream that was closed (`>&-`): one that takes no results; messages are dropped."""
    flags = os.O_RDONLY if name == "stdout" else os.O_WRONLY
    return open(os.open(os.devnull, flags | os.O_CLOEXEC), "w")


def _discard_output() -> None:
    """Nothing may be flushed at exit into what takes nothing."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _general_first(args: list[str]) -> list[str]:
    """The command line with `--config PATH` and `--no-headers` in front, wherever before a `--`."""
    first: list[str] = []
    rest: list[str] = []
    left = iter(args)
    for one in left:
        if one == "--":
            rest += [one, *left]
        elif one == "--config":
            first += [one, *(value for value in [next(left, None)] if value is not None)]
        elif one.startswith("--config=") or one == "--no-headers":
            first.append(one)
        else:
            rest.append(one)
    return first + rest


@contextmanager
def _reader_may_leave() -> Iterator[None]:
    """A reader (head, less) that has what it wanted is no error."""
    try:
        yield
    except BrokenPipeError as error:
        _discard_output()
        raise typer.Exit(Exit.OK) from error


class Root(TyperGroup):
    """Turns errors into one line on stderr and an exit code. Anything else is a bug and shows its trace."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        use_plain_help(self)

    def make_context(self, info_name: Any, args: list[str], *more: Any, **options: Any) -> Any:
        """Parse the command line, which prints --help and --version."""
        with _reader_may_leave():
            return super().make_context(info_name, _general_first(args), *more, **options)

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        with _reader_may_leave():
            result = super().invoke(ctx)
            sys.stdout.flush()
        return result

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the command line and end the process."""
        try:
            _prepare()
            code = super().main(*args, **options | {"standalone_mode": False})
        except _ParserError as error:
            code = Exit.USAGE
            if type(error).__name__ == "NoArgsIsHelpError":
                typer.echo(error.format_message())  # the help, where rich has not printed it by itself
            else:
                say(in_words(error))
        except LabmonError as error:
            code = error.exit_code
            from labmon.masking import mask_text

            say(f"labmon: {mask_text(str(error))}")
        except typer.Abort:
            code = Exit.INTERRUPTED
            say("labmon: interrupted")
        except UnicodeEncodeError as error:
            if error.reason != "surrogates not allowed":
                raise
            code = Exit.USAGE  # bytes of the command line, which the database does not take
            # It may be a URL with a password, or a piece of one.
            secret = any(sign in error.object for sign in ("://", "@", "password"))
            say(f"labmon: {'a setting' if secret else repr(error.object)[:100]} is not UTF-8")
        except OSError as error:
            if error.filename is not None:
                raise
            code = Exit.PERMISSION
            say(f"labmon: the output cannot be written: {error.strerror}. Make room, or send it elsewhere")
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
    cls=Root,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # locals hold passwords
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with: labmon demo, or labmon scan 10.30.5.0/24 --dept 1",
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
        typer.Option("--config", "-c", metavar="PATH", help="The configuration file.", show_default=False),
    ] = None,
    no_headers: Annotated[
        bool,
        typer.Option("--no-headers", help="Tables, CSV and TSV without headings.", show_default=False),
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Find the machines of a campus, measure them over SSH, queue and store the results."""
    ctx.obj = config_file
    set_headers(not no_headers)
    if unknown := unknown_zone():
        notice(f"there is no time zone {unknown!r} (TZ): times are in UTC. Name one such as Europe/Berlin")


FIND = "Find and measure"
QUEUE = "Queue and workers"
LOOK = "Look and set up"

app.command("status", rich_help_panel=LOOK)(status.status)

app.command("scan", rich_help_panel=FIND)(scan.scan)
app.command("collect", rich_help_panel=FIND)(collect.collect)
app.command("demo", rich_help_panel=FIND)(demo.demo)
app.command("consume", rich_help_panel=QUEUE)(consume.consume)
app.command("setup-queues", rich_help_panel=QUEUE)(depth.setup_queues)
app.command("queue-depth", rich_help_panel=QUEUE)(depth.queue_depth)
app.add_typer(dead_letters.app, name="dead-letters", rich_help_panel=QUEUE)
app.command("replay", rich_help_panel=QUEUE)(replay.replay)
app.add_typer(events.app, name="events", rich_help_panel=QUEUE)
app.add_typer(spool.app, name="spool", rich_help_panel=QUEUE)
app.add_typer(dashboard.app, name="dashboard", rich_help_panel=LOOK)
app.command("report", rich_help_panel=LOOK)(report.report)
app.command("doctor", rich_help_panel=LOOK)(doctor.doctor)
app.add_typer(systems.app, name="systems", rich_help_panel=LOOK)
app.add_typer(metrics.app, name="metrics", rich_help_panel=LOOK)
app.add_typer(incidents.app, name="alerts", rich_help_panel=LOOK)
app.add_typer(maintenance.app, name="maintenance", rich_help_panel=LOOK)
app.add_typer(departments.app, name="departments", rich_help_panel=LOOK)
app.add_typer(labs.app, name="labs", rich_help_panel=LOOK)
app.add_typer(db.app, name="db", rich_help_panel=LOOK)
app.add_typer(config.app, name="config", rich_help_panel=LOOK)


def main() -> None:
    """The console script."""
    app(prog_name="labmon")
