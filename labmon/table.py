"""Results as text: the lines of a table, and values of JSON and CSV."""

import csv
import io
import json
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from datetime import UTC, date, datetime
from json.encoder import encode_basestring_ascii
from math import isfinite
from typing import Any

from labmon.colour import code_of, painted
from labmon.text import csv_cell, foreign, is_address


@dataclass(frozen=True)
class Column:
    """A field of the rows: its heading, and how a table shows it (JSON and CSV get the bare value)."""

    field: str
    heading: str
    show: Callable[[Any], str] = str
    right: bool = False
    absent: str = "-"  #: what a table shows for None
    gives: bool = False  #: long text, which is wrapped where the table is too wide
    extra: bool = False  #: left out where wrapping is not enough
    name: bool = False  #: a name, whose middle is left out on a terminal where it is very long
    host: bool = False  #: a host name, also with " (+3)" behind it; a domain that all have may be left out
    colour: bool = False  #: a status or a severity, which is coloured where colours are wanted


def table(columns: Sequence[Column], rows: Iterable[Any], width: int | None) -> list[str]:
    """The rows as the lines of a table: see `Cells`."""
    return list(Cells(columns, rows).lines(width))


class Cells:
    """What a table shows of some rows: each as one string, since lists take ten times the memory."""

    SEPARATOR = "\0"  # `foreign` leaves none in a cell

    def __init__(self, columns: Sequence[Column], rows: Iterable[Any]) -> None:
        self._columns = columns
        self._widths = [0] * len(columns)
        self._used = [False] * len(columns)
        self._words = [0] * len(columns)
        self.hidden = (
            0  #: columns that the last `lines` left out for lack of room; known after its first line
        )
        self.domain = ""  #: that the last `lines` left out, with its dot: ".lab.example.edu"
        self.rows = [self.SEPARATOR.join(self._read(row)) for row in rows]

    def _read(self, row: Any) -> Iterator[str]:
        for place, column in enumerate(self._columns):
            value = getattr(row, column.field)
            self._used[place] = self._used[place] or value is not None
            text = _cell(value, column)
            self._widths[place] = max(self._widths[place], _width(text))
            if column.gives:
                words = (_width(word) for word in text.split())
                self._words[place] = max([self._words[place], *(one for one in words if one <= WHOLE)])
            yield text

    def lines(self, width: int | None, *, colour: bool = False, drop_domain: bool = False) -> Iterator[str]:
        """The headings, then the rows, without columns that are empty in every row.

        Where it is wider than `width`, columns that give are wrapped, and extra ones left out; then others
        are wrapped, the widest first. With a `width`, very long names are shortened. `drop_domain`: host
        names are without the domain that all of them have.

        Much faster than a table of rich's, which takes half a minute for the addresses of a /16.
        """
        if drop_domain:
            self._drop_domain()
        places = [place for place in range(len(self._columns)) if self._used[place] or not self.rows]
        widths = {place: max(self._widths[place], _width(self._columns[place].heading)) for place in places}
        if width:
            for place in places:
                if self._columns[place].name:
                    widths[place] = min(widths[place], LONGEST_NAME)
        while width and _total(list(widths.values())) > width:
            shown = [self._columns[place] for place in widths]
            sizes = list(widths.values())
            extra = [place for place in widths if self._columns[place].extra]
            if giving := _giving(shown, sizes, 40) or (None if extra else _giving(shown, sizes, 16)):
                place, least = list(widths)[giving[0]], giving[1]
                widths[place] = max(least, widths[place] - (_total(sizes) - width))
            elif extra:
                del widths[extra[-1]]
            elif wide := self._widest(widths):
                place, least = wide
                widths[place] = max(least, widths[place] - (_total(sizes) - width))
            else:
                break  # the terminal has to wrap it
        self.hidden = len(places) - len(widths)
        yield from self._written(widths, shorten=width is not None, colour=colour)

    def _drop_domain(self) -> None:
        """Take the common domain out of the rows."""
        places = [place for place, column in enumerate(self._columns) if column.host]
        if not places:
            return
        cells = [row.split(self.SEPARATOR) for row in self.rows]
        domain = common_domain(row[place].partition(" (+")[0] for row in cells for place in places)
        if not domain:
            return
        for row in cells:
            for place in places:
                name, covered, more = row[place].partition(" (+")
                row[place] = f"{name.removesuffix(domain)}{covered}{more}"
        for place in places:
            self._widths[place] = max(_width(row[place]) for row in cells)
        self.domain = domain
        self.rows = [self.SEPARATOR.join(row) for row in cells]

    def _widest(self, widths: dict[int, int]) -> tuple[int, int] | None:
        """The widest column that can become narrower, and how narrow; words are broken only where there is no
        other way. None when none can."""
        for whole in (True, False):
            least = {
                place: max(LEAST_GIVING, self._words[place] if whole else 0)
                if self._columns[place].gives
                else LEAST
                for place in widths
            }
            place = max(widths, key=lambda place: (widths[place] > least[place], widths[place]))
            if widths[place] > least[place]:
                return place, least[place]
        return None

    def _written(self, widths: dict[int, int], *, shorten: bool, colour: bool) -> Iterator[str]:
        columns = [self._columns[place] for place in widths]
        sizes = list(widths.values())
        painting = [colour and column.colour for column in columns]
        yield from _broken([column.heading for column in columns], columns, sizes)
        for row in self.rows:
            cells = row.split(self.SEPARATOR)
            shown = [
                _shortened(cells[place]) if shorten and self._columns[place].name else cells[place]
                for place in widths
            ]
            codes = (
                [code_of(cell) if paint else "" for cell, paint in zip(shown, painting, strict=True)]
                if any(painting)
                else ()
            )
            yield from _broken(shown, columns, sizes, codes)


def _giving(columns: Sequence[Column], widths: Sequence[int], least: int) -> tuple[int, int] | None:
    """The widest column that gives and is wider than this, and how narrow it may become."""
    found = [(size, place) for place, size in enumerate(widths) if columns[place].gives and size > least]
    return (max(found)[1], max(least, len(columns[max(found)[1]].heading))) if found else None


LEAST = 10
"""Characters of the narrowest column that is wrapped: a date. One that gives becomes narrower still."""

LEAST_GIVING = 8

WHOLE = 16
"""Characters of a word that is never broken in a column that gives: it may be of a command to copy. Longer
ones are names and paths."""

LONGEST_NAME = 40
"""Characters of a name on a terminal."""

GAP = "  "


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _cell(value: Any, column: Column) -> str:
    return column.absent if value is None else foreign(column.show(value))


def _width(text: str) -> int:
    """The columns of a terminal that it takes: two for a character of East Asia, none for an accent."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _broken(
    line: Sequence[str], columns: Sequence[Column], widths: Sequence[int], codes: Sequence[str] = ()
) -> Iterator[str]:
    """A row as one line, or as several where a cell is wider than its column."""
    if all(_width(cell) <= size for cell, size in zip(line, widths, strict=True)):
        yield _joined(line, columns, widths, codes)
        return
    parts = [
        _wrapped(cell, size) if _width(cell) > size else [cell]
        for cell, size in zip(line, widths, strict=True)
    ]
    for number in range(max(map(len, parts), default=0)):
        yield _joined([part[number] if number < len(part) else "" for part in parts], columns, widths, codes)


def _shortened(name: str) -> str:
    if _width(name) <= LONGEST_NAME:
        return name
    begin, end = name, name
    while _width(begin) > LONGEST_NAME // 2 - 1:
        begin = begin[:-1]
    while _width(end) > LONGEST_NAME // 2 - 2:
        end = end[1:]
    return f"{begin}...{end}"


def _wrapped(text: str, size: int) -> list[str]:
    """The text in lines of at most `size` columns of the terminal, where a character may take two.

    A word is broken only where it has no room in a line of its own, and then at a hyphen if it has one.
    """
    lines = []
    for line in textwrap.wrap(text, size, break_long_words=False, break_on_hyphens=False):
        lines += [line] if len(line) <= size else textwrap.wrap(line, size)
    while wide := [line for line in lines if _width(line) > size]:
        place = lines.index(wide[0])
        kept = wide[0]
        while _width(kept) > size:
            kept = kept[:-1]
        lines[place : place + 1] = [kept, wide[0][len(kept) :]]
    return lines


def _joined(
    line: Sequence[str], columns: Sequence[Column], widths: Sequence[int], codes: Sequence[str] = ()
) -> str:
    texts = []
    for place, (text, column, size) in enumerate(zip(line, columns, widths, strict=True)):
        padding = " " * (size - _width(text))
        text = painted(text, codes[place]) if codes else text
        texts.append(padding + text if column.right else text + padding)
    return GAP.join(texts).rstrip()


def common_domain(names: Iterable[str]) -> str:
    """What all host names with a domain end with, from a dot on; "" if there are fewer than two different
    ones, or nothing in common. The first label is never part of it; names without a dot count for nothing."""
    common: list[str] | None = None
    first = ""
    several = False
    for name in names:
        if "." not in name or name == first or name[0].isdigit() and is_address(name):
            continue
        labels = name.split(".")[:0:-1]
        if common is None:
            first, common = name, labels
            continue
        several = True
        same = next((n for n, (a, b) in enumerate(zip(common, labels, strict=False)) if a != b), None)
        common = common[: min(len(common), len(labels)) if same is None else same]
        if not common:
            return ""
    return "." + ".".join(reversed(common)) if several and common else ""


def facts(pairs: Iterable[tuple[str, str]], left: int, width: int | None) -> Iterator[str]:
    """Names and values, one pair a line, the values `left` characters in; with a width they are wrapped."""
    for name, value in pairs:
        text = foreign(value)
        lines = _wrapped(text, width - left) if width and left + _width(text) > width else [text]
        for number, line in enumerate(lines):
            yield f"{'' if number else name:<{left}}{line}"


def json_text(value: Any) -> str:
    """A member of an object two levels deep. The json module takes ten times as long where it indents, so it
    does only what has members itself."""
    if (write := _JSON.get(type(value))) is not None:
        return write(value)
    return textwrap.indent(json.dumps(value, default=plain, indent=2), "    ").lstrip()


def json_line(value: Any) -> str:
    """A member of an object that is one line."""
    write = _JSON.get(type(value))
    return write(value) if write is not None else json.dumps(value, default=plain)


_JSON: dict[type, Callable[[Any], str]] = {
    type(None): lambda _: "null",
    str: encode_basestring_ascii,
    bool: lambda value: "true" if value else "false",
    int: int.__repr__,
    float: lambda value: float.__repr__(value) if isfinite(value) else json.dumps(value),
    datetime: lambda value: f'"{plain(value)}"',
}
"""How what is in nearly every row is written."""


def plain(value: Any) -> Any:
    """A value for JSON: times in UTC, dataclasses as objects."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()[: -len("+00:00")] + "Z"
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return value.isoformat() if isinstance(value, date) else value


def one_cell(value: Any) -> Any:
    """A value for one cell of CSV or TSV: a list of words joined, what has members as JSON."""
    if isinstance(value, list) and all(isinstance(one, str | int | float) for one in value):
        return " ".join(map(str, value))
    value = plain(value)
    return json.dumps(value, default=plain) if isinstance(value, list | dict) else value


def flat(value: Any) -> Any:
    """A value for a cell of CSV: foreign text escaped, and no formula."""
    value = one_cell(value)
    return csv_cell(foreign(value)) if isinstance(value, str) else value


def csv_line(values: Iterable[Any]) -> str:
    """One line of CSV, for a file that is not printed row by row."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow([flat(value) for value in values])
    return out.getvalue()
