"""Everything that is printed: tables for people, JSON and CSV for programs, talk on stderr."""

import csv
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


class Format(StrEnum):
    """How results are printed."""

    table = "table"
    json = "json"
    csv = "csv"


@dataclass(frozen=True)
class Column:
    """A field of the rows: its heading, and how a table shows it (JSON and CSV get the bare value)."""

    field: str
    heading: str
    show: Callable[[Any], str] = str
    right: bool = False
    absent: str = "-"  #: what a table shows for None


def say(text: str) -> None:
    """One line of talk, to stderr."""
    typer.echo(text, err=True)


def print_rows(columns: Sequence[Column], rows: Sequence[Any], form: Format) -> None:
    """Print dataclass rows to stdout.

    A table leaves out columns that say nothing about any row: the others need the room. JSON is a list of
    whole objects, CSV a header line and these columns; both keep every one.
    """
    values = [asdict(row) for row in rows]
    match form:
        case Format.json:
            typer.echo(json.dumps(values, default=_plain, indent=2))
        case Format.csv:
            writer = csv.writer(sys.stdout)
            writer.writerow([column.field for column in columns])
            writer.writerows([[_cell(row[column.field]) for column in columns] for row in values])
        case Format.table:
            stdout().print(table(columns, rows))


def table(columns: Sequence[Column], rows: Sequence[Any]) -> "Table":
    """The rows as a table for a console, without columns that say nothing about any row."""
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    shown = [one for one in columns if not rows or any(getattr(row, one.field) is not None for row in rows)]
    for column in shown:
        drawn.add_column(column.heading, justify="right" if column.right else "left", overflow="ellipsis")
    for row in rows:
        cells = [(getattr(row, column.field), column) for column in shown]
        texts = (one.absent if cell is None else printable(one.show(cell)) for cell, one in cells)
        drawn.add_row(*map(Text, texts))
    return drawn


def printable(text: str) -> str:
    """Somebody else's words, with what would act on the terminal made visible."""
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)


def stdout() -> "Console":
    """The console for results. Into a pipe or a file nothing is coloured, and nothing is cut to a width."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    return console if console.is_terminal else Console(highlight=False, width=1000, no_color=True)


def stderr() -> "Console":
    """The console for progress and talk."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def _plain(value: Any) -> Any:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value


def _cell(value: Any) -> Any:
    return " ".join(map(str, value)) if isinstance(value, list) else _plain(value)


def ago(moment: datetime) -> str:
    """How long since, in the largest unit that says enough: "12 s", "5 min", "3 h", "8 d"."""
    return span((datetime.now(UTC) - moment).total_seconds())


def span(seconds: float) -> str:
    """A duration in its largest unit."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def percent(value: float) -> str:
    """Whole percents: more digits of a one-second sample mean nothing."""
    return f"{value:.0f} %"
