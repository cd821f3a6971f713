"""Options that several commands share, each defined once, and what is done with them."""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from labmon import logs
from labmon.app.open import open_store
from labmon.cli import complete
from labmon.cli.output import Format
from labmon.cli.times import with_unit
from labmon.errors import UsageError

if TYPE_CHECKING:
    from labmon.config.tables import Config
    from labmon.pg import Connection

LARGEST = 2**31 - 1
"""Of the numbers of departments, labs and systems."""


def option(name: str, metavar: str, help: str, *names: str, **more: Any) -> Any:
    """An option with a value: `--name METAVAR`. The default is not shown, unless `show_default` says what."""
    return typer.Option(name, *names, metavar=metavar, help=help, **{"show_default": False} | more)


def numeric(name: str, metavar: str, help: str, *names: str, **more: Any) -> Any:
    """An option with a whole number from 1."""
    return option(name, metavar, help, *names, **{"min": 1, "max": LARGEST} | more)


def setting(name: str, metavar: str, help: str, *names: str, **more: Any) -> Any:
    """An option that overrides a key of the configuration."""
    return option(name, metavar, help, *names, **{"show_default": "config"} | more)


def lasting(name: str, help: str, *names: str, **more: Any) -> Any:
    """An option with a duration, in a unit."""
    return option(name, "TIME", help, *names, callback=with_unit, **more)


def flag(name: str, help: str, *names: str, **more: Any) -> Any:
    """An option without a value: `--name`, or `--name/--no-name`."""
    return typer.Option(name, *names, help=help, **{"show_default": False} | more)


def choices(kind: Iterable[str]) -> str:
    """The values of an enumeration, as help names them: table|json|csv."""
    return "|".join(kind)


class NewAs(StrEnum):
    """What becomes of a machine that a scan finds for the first time."""

    active = "active"
    quarantine = "quarantine"


Dept = Annotated[
    str | None,
    option("--dept", "DEPT", "The department's number, name or code.", autocompletion=complete.departments),
]
Lab = Annotated[str | None, option("--lab", "LAB", "The lab's name or number.", autocompletion=complete.labs)]
CALLED = "ID, address, host name (its first labels are enough) or MAC address."
System = Annotated[
    str | None, option("--system", "SYSTEM", f"The system: {CALLED}", autocompletion=complete.systems)
]

From = Annotated[str | None, option("--from", "TIME", "Begin: a time, or 2h for two hours ago.")]
To = Annotated[str | None, option("--to", "TIME", "End, not included.", show_default="now")]

Limit = Annotated[
    int, numeric("--limit", "N", "Maximum number of rows, newest first.", "-n", show_default=True)
]
LabName = Annotated[
    str, typer.Argument(metavar="LAB", help="The lab's name or number.", autocompletion=complete.labs)
]
SystemName = Annotated[
    str, typer.Argument(metavar="SYSTEM", help=f"The system: {CALLED}", autocompletion=complete.systems)
]
Systems = Annotated[
    list[str],
    typer.Argument(
        metavar="SYSTEM",
        help=f"Systems: {CALLED} Also lab:NAME, dept:NAME, or @FILE with one a line.",
        show_default=False,
        autocompletion=complete.systems,
    ),
]

QueueEnabled = Annotated[
    bool | None,
    flag(
        "--queue/--no-queue",
        "Publish to the queue, or store directly.",
        "--queue-enabled",
        show_default="config",
    ),
]
QueueHost = Annotated[str | None, setting("--queue-host", "HOST", "The broker's host.")]
Quiet = Annotated[bool, flag("--quiet", "Print only warnings and errors.", "-q")]
FormatOption = Annotated[
    Format, option("--format", choices(Format), "Output format.", "-f", show_default=True)
]
Yes = Annotated[bool, flag("--yes", "Do not ask for confirmation.", "-y")]


def load(ctx: typer.Context, flags: Mapping[str, Any] | None = None) -> "Config":
    """The checked configuration, with the command line on top, and logging set up by it."""
    from labmon.config import load as settings

    config = settings.load(ctx.obj, flags=flags).config
    logs.set_up(config.log.level)
    return config


class Sent(Protocol):
    """A sink, or what is known of one that is closed."""

    @property
    def spooled(self) -> int:
        """Messages that wait on the disk."""


@contextmanager
def connected(ctx: typer.Context) -> "Iterator[Connection[Any]]":
    """The store, in one transaction. Raises as `Store.transaction` does."""
    with open_store(load(ctx)) as store, store.transaction() as connection:
        yield connection


def destination(config: "Config", queue: str, sent: Sent) -> str:
    """Where messages went, for the closing line."""
    if sent.spooled:
        return "kept in the spool"
    return f"queued for {queue}" if config.queue.enabled else "stored"


def interactive(quiet: bool) -> bool:
    """True when a person watches: progress is drawn on a terminal and nowhere else."""
    return sys.stderr.isatty() and not quiet


LONGEST_COMMENT = 253
"""Characters, as of a rule's note: it is one line in a table, and in a message."""


def _one_line(text: str | None) -> str | None:
    if text is None or (0 < len(text) <= LONGEST_COMMENT and not re.search(r"[\x00-\x1f\x7f]", text)):
        return text
    raise UsageError(f"--comment: expected one line of 1 to {LONGEST_COMMENT} characters")


Comment = Annotated[
    str | None, option("--comment", "TEXT", "The reason, shown to others.", "-m", callback=_one_line)
]
