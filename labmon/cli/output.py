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
            writer.writerows([[_plain(row[column.field]) for column in columns] for row in values])
        case Format.table:
            _print_table(columns, values)


def _print_table(columns: Sequence[Column], rows: Sequence[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    console = stdout()
    columns = [one for one in columns if not rows or any(row[one.field] is not None for row in rows)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.heading, justify="right" if column.right else "left", overflow="ellipsis")
    for row in rows:
        cells = (row[column.field] for column in columns)
        shown = (
            "-" if cell is None else column.show(cell) for cell, column in zip(cells, columns, strict=True)
        )
        table.add_row(*(Text(cell) for cell in shown))
    console.print(table)


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
