"""Everything that is printed: tables for people, JSON and CSV for programs, talk on stderr."""

import csv
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
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
    absent: str = "-"  #: what a table shows for None
    gives: bool = False  #: long text, which is broken over lines where a table is too wide
    extra: bool = False  #: left out where a table is too wide even so


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
            writer.writerows([[_flat(row[column.field]) for column in columns] for row in values])
        case Format.table:
            width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
            headings, *lines = table(columns, rows, width)
            bold = sys.stdout.isatty() and "NO_COLOR" not in os.environ
            typer.echo(typer.style(headings, bold=True) if bold else headings)
            for line in lines:
                typer.echo(line)


def table(columns: Sequence[Column], rows: Sequence[Any], width: int | None) -> list[str]:
    """The rows as the lines of a table, the headings first; without columns that say nothing about any row.

    Where it is wider than `width`, extra columns go, and those that give are broken over several lines.
    Much faster than a table of rich's, which takes half a minute for the addresses of a /16.
    """
    from rich.cells import cell_len

    shown = [one for one in columns if not rows or any(getattr(row, one.field) is not None for row in rows)]
    cells = [[_cell(getattr(row, one.field), one) for one in shown] for row in rows]
    lines = [[one.heading for one in shown], *cells]
    widths = [max(cell_len(line[place]) for line in lines) for place in range(len(shown))]
    while width and _total(widths) > width:
        extra = [place for place, one in enumerate(shown) if one.extra]
        if giving := _giving(shown, widths, 40) or (None if extra else _giving(shown, widths, 16)):
            place, least = giving
            widths[place] = max(least, widths[place] - (_total(widths) - width))
        elif extra:
            gone = extra[-1]
            del shown[gone], widths[gone]
            for line in lines:
                del line[gone]
        else:
            break  # the terminal has to wrap it
    return [text for line in lines for text in _broken(line, shown, widths)]


def _giving(columns: Sequence[Column], widths: Sequence[int], least: int) -> tuple[int, int] | None:
    """The widest column that gives and is wider than this, and how narrow it may become."""
    found = [(size, place) for place, size in enumerate(widths) if columns[place].gives and size > least]
    return (max(found)[1], max(least, len(columns[max(found)[1]].heading))) if found else None


GAP = "  "


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _cell(value: Any, column: Column) -> str:
    return column.absent if value is None else printable(column.show(value))


def _broken(line: Sequence[str], columns: Sequence[Column], widths: Sequence[int]) -> Iterator[str]:
    """A row as one line, or as several where a cell is wider than its column."""
    from rich.cells import cell_len

    parts = [
        textwrap.wrap(cell, size) if cell_len(cell) > size else [cell]
        for cell, size in zip(line, widths, strict=True)
    ]
    for number in range(max(map(len, parts), default=0)):
        texts = []
        for part, column, size in zip(parts, columns, widths, strict=True):
            text = part[number] if number < len(part) else ""
            padding = " " * (size - cell_len(text))
            texts.append(padding + text if column.right else text + padding)
        yield GAP.join(texts).rstrip()


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
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else value


def _flat(value: Any) -> Any:
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


def volume(amount: int) -> str:
    """Bytes, in the largest unit that says enough."""
    for unit, least in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if amount >= 2 * least:
            return f"{amount / least:.0f} {unit}"
    return f"{amount} B"


def percent(value: float) -> str:
    """Whole percents: more digits of a one-second sample mean nothing."""
    return f"{value:.0f} %"
