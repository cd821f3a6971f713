"""Everything that is printed: tables for people, JSON and CSV for programs, messages on stderr."""

import csv
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, make_dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import typer

from labmon.colour import BOLD, coloured, painted
from labmon.table import Cells, Column, facts, flat, json_line, json_text, one_cell
from labmon.text import foreign

if TYPE_CHECKING:
    from rich.console import Console


TSV_ESCAPES = {ord(one): text for one, text in (("\\", r"\\"), ("\t", r"\t"), ("\n", r"\n"), ("\r", r"\r"))}


class Format(StrEnum):
    """How results are printed."""

    table = "table"
    json = "json"
    ndjson = "ndjson"
    csv = "csv"
    tsv = "tsv"


_headers = True
"""Whether tables, CSV and TSV begin with the names of their columns; see `set_headers`."""


def set_headers(wanted: bool) -> None:
    """Whether all that this process prints has headers."""
    global _headers
    _headers = wanted


def notice(text: str) -> None:
    """Print one line about labmon itself on stderr."""
    say(f"labmon: {text}")


def say(text: str) -> None:
    """Print one line on stderr, whatever names and texts of others it quotes."""
    with suppress(OSError):  # a stderr that takes nothing changes neither the results nor the exit code
        typer.echo(foreign(text), err=True)


def print_rows(
    columns: Sequence[Column],
    rows: Iterable[Any],
    form: Format,
    nothing: str = "",
    *,
    wide: bool | None = None,
) -> None:
    """Print dataclass rows to stdout; `nothing` on stderr instead of a table without rows.

    A table omits columns that are empty in every row: the others need the room. JSON is a list of
    whole objects, NDJSON one a line, CSV and TSV a header line and these columns; all keep every
    column. Text cells of a CSV are escaped like a table's, and made harmless to spreadsheets. The rows are
    read once, and not kept. `wide`: a table has all its columns, and whole names, whatever the width; None:
    the command has no such option.
    """
    match form:
        case Format.json:
            _print_json(rows)
        case Format.ndjson:
            _print_ndjson(rows)
        case Format.csv:
            writer = csv.writer(sys.stdout)
            if _headers:
                writer.writerow([column.field for column in columns])
            writer.writerows([flat(getattr(row, column.field)) for column in columns] for row in rows)
        case Format.tsv:
            if _headers:
                sys.stdout.write("\t".join(column.field for column in columns) + "\n")
            for row in rows:
                sys.stdout.write("\t".join(_tsv(getattr(row, column.field)) for column in columns) + "\n")
        case Format.table:
            cells = Cells(columns, rows)
            if nothing and not cells.rows:
                say(nothing)
                return
            _print_table(cells, wide)


def _print_table(cells: Cells, wide: bool | None) -> None:
    colour = coloured(sys.stdout)
    lines = cells.lines(None if wide else _width(), colour=colour, drop_domain=wide is False)
    headings = next(lines)
    if _headers:
        typer.echo(painted(headings, BOLD if colour else ""))
    sys.stdout.writelines(f"{line}\n" for line in lines)
    left_out = [f"{cells.hidden} column{'s' * (cells.hidden > 1)} hidden"] if cells.hidden else []
    if cells.domain and sys.stdout.isatty():
        left_out.append(f"names without {cells.domain}")
    if left_out:
        sys.stdout.flush()  # it stands under the table
        remedy = "widen the terminal, or --format csv" if wide is None else "--wide"
        say(f"{', '.join(left_out)}: {remedy}")


def print_facts(pairs: Iterable[tuple[str, str]], left: int) -> None:
    """Print names and values about one thing to stdout, the values `left` characters in."""
    for line in facts(pairs, left, _width()):
        typer.echo(line)


def _width() -> int | None:
    """The terminal's; None where stdout is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def print_change(
    form: Format, said: str, *rows: Mapping[str, Any], quiet: bool = False, names: Sequence[str] = ()
) -> None:
    """What a command has changed: a line on stderr, or for programs a row for each thing, all of the same
    names: `names`, where there may be no row. `quiet` leaves out the line."""
    if form is Format.table:
        if said and not quiet:
            say(said)
        return
    names = list(rows[0]) if rows else names
    row_of = make_dataclass("Row", names)
    print_rows([Column(name, name) for name in names], [row_of(*row.values()) for row in rows], form)


def _tsv(value: Any) -> str:
    """A cell of a TSV file: backslash, tab and the ends of lines are escaped, as PostgreSQL's COPY does."""
    value = one_cell(value)
    return "" if value is None else foreign(str(value).translate(TSV_ESCAPES))


def _print_ndjson(rows: Iterable[Any]) -> None:
    """An object a line."""
    for row in rows:
        members = (f'"{one.name}": {json_line(getattr(row, one.name))}' for one in fields(row))
        sys.stdout.write(f"{{{', '.join(members)}}}\n")


def _print_json(rows: Iterable[Any]) -> None:
    """A list of objects, one at a time: all of a large inventory would take hundreds of megabytes."""
    separator, known = "[\n", None
    write = sys.stdout.write
    for row in rows:
        if type(row) is not known:  # once, as a rule
            known = type(row)
            names = [one.name for one in fields(row)]
            members = ",\n".join(f'    "{name}": %s' for name in names)
        values = tuple([json_text(getattr(row, name)) for name in names])
        write(f"{separator}  {{\n{members % values}\n  }}")
        separator = ",\n"
    write("[]\n" if separator == "[\n" else "\n]\n")


def stdout() -> "Console":
    """The console for results. Into a pipe or a file nothing is coloured, and nothing is cut to a width."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    return console if console.is_terminal else Console(highlight=False, width=1000, no_color=True)


def stderr() -> "Console":
    """The console for progress and messages."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)
