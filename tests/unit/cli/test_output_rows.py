"""Rows that are read once, as tables and as JSON."""

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime

import pytest

from labmon.cli.output import Format, print_rows
from labmon.table import Column, table


@dataclass
class Inner:
    name: str


@dataclass
class Row:
    text: str | None
    number: int | float | bool | None
    at: datetime | None = None
    day: date | None = None
    several: list = field(default_factory=list)
    inner: Inner | None = None


ROWS = [
    Row("plain", 1),
    Row('quotes " and \\ and \x1b and \u202e and ü', 1.5, datetime(2026, 3, 1, tzinfo=UTC), date(2026, 3, 1)),
    Row(None, None, None, None, [1, ["two", {"three": None}]], Inner("x")),
    Row("", True, datetime(2026, 3, 1, 1, 2, 3, 4, tzinfo=UTC), None, [], None),
]


def plain(value):
    return value.isoformat().replace("+00:00", "Z")


# findings F6
@pytest.mark.parametrize("number", range(len(ROWS) + 1))
def test_rows_of_an_iterator_are_printed_as_json_prints_a_list(capsys, number):
    print_rows([], iter(ROWS[:number]), Format.json)
    expected = json.dumps([asdict(row) for row in ROWS[:number]], default=plain, indent=2)
    assert capsys.readouterr().out == expected + "\n"


# findings F6
def test_a_table_of_an_iterator_is_as_wide_as_its_last_row_needs(capsys):
    columns = [Column("text", "Text"), Column("number", "N", right=True), Column("day", "Day")]
    rows = [Row("a", n) for n in range(3000)] + [Row("long" * 5, 10**9)]
    print_rows(columns, iter(rows), Format.table)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3002
    assert lines[0] == "Text".ljust(20) + "  " + "N".rjust(10)
    assert lines[1] == "a".ljust(20) + "  " + "0".rjust(10)
    assert lines == table(columns, rows, None)


def test_nothing_is_said_of_an_iterator_without_rows(capsys):
    print_rows([Column("text", "Text")], iter([]), Format.table, "no systems")
    assert capsys.readouterr() == ("", "no systems\n")
