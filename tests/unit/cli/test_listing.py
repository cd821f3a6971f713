"""--search, --sort, --columns and --limit of lists, without a database."""

import csv
import io
import json
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
import typer
from typer.testing import CliRunner

from labmon.cli.listing import SEARCHED, View, column_called, completed, listing, natural
from labmon.cli.options import FormatOption
from labmon.cli.output import Format
from labmon.errors import UsageError
from labmon.readable import shown
from labmon.table import Column


@dataclass
class Row:
    system_id: int
    name: str | None
    status: str
    at: datetime | None = None
    load: float | None = None


COLUMNS = [
    Column("system_id", "ID", right=True),
    Column("name", "Name", host=True),
    Column("status", "Status", colour=True),
]
MORE = [Column("at", "Last seen", shown), Column("load", "Load", right=True)]
KNOWN = [*COLUMNS, *MORE]
ROWS = [
    Row(1, "pc-10.example.edu", "active", datetime(2026, 3, 1, 12, tzinfo=UTC), 0.5),
    Row(2, "pc-9.example.edu", "auth failed", None, 17.0),
    Row(17, None, "offline", datetime(2026, 2, 1, 12, tzinfo=UTC), None),
]


def ids(view, **more):
    return [row.system_id for row in view.chosen(ROWS, **more)]


@pytest.mark.parametrize(
    "words, found",
    [
        ("PC-1", [1]),
        ("pc failed", [2]),
        ("pc nothing", []),
        ("17", [2, 17]),  # a number is meant whole: the ID of one, the load of another
        ("7", []),
        ("2026-02", [17]),
        ("edu 2026-03-01", [1]),
    ],
)
def test_each_word_is_in_some_column(words, found):
    assert ids(View(KNOWN, tuple(words.casefold().split()))) == found


def test_rows_are_sorted_as_people_count_and_the_empty_ones_are_last():
    assert ids(View(KNOWN, sort=(("name", False),))) == [2, 1, 17]
    assert ids(View(KNOWN, sort=(("name", True),))) == [1, 2, 17]
    assert ids(View(KNOWN, sort=(("load", True),))) == [2, 1, 17]


def test_natural_order():
    addresses = ["10.0.0.9", "10.0.0.10", "9.0.0.1", "fe80::9", "fe80::10", "fd00::1"]
    assert sorted(addresses, key=natural) == [
        *("9.0.0.1", "10.0.0.9", "10.0.0.10"),
        *("fd00::1", "fe80::9", "fe80::10"),
    ]
    assert sorted(["pc-10", "PC-9", "10.0.x", "pc"], key=natural) == ["10.0.x", "pc", "PC-9", "pc-10"]
    assert sorted(["warning", "critical", "info"], key=natural) == ["info", "warning", "critical"]


def test_the_limit_keeps_the_first_or_of_a_history_the_newest():
    assert ids(View(KNOWN, limit=2)) == [1, 2]
    assert ids(View(KNOWN, limit=2, newest=True)) == [2, 17]
    assert ids(View(KNOWN, sort=(("load", True),), limit=1, newest=True)) == [2]


def test_a_history_is_read_further_back_where_rows_are_left_out():
    assert View(KNOWN, limit=50).to_fetch == 50
    assert View(KNOWN, ("x",), limit=50).to_fetch == SEARCHED


def test_only_what_failed():
    assert ids(View(KNOWN, failed=True), failed=lambda row: row.status != "active") == [2, 17]


def test_columns_are_called_as_in_json_or_as_in_the_heading():
    assert column_called("Last seen", KNOWN).field == "at"
    assert column_called("last-seen", KNOWN).field == "at"
    assert column_called("system_id", KNOWN).field == column_called("id", KNOWN).field
    with pytest.raises(UsageError, match="no column 'stauts'. Did you mean status?"):
        column_called("stauts", KNOWN)


def test_names_of_columns_are_completed_behind_a_comma_and_a_minus():
    assert completed("st", KNOWN) == ["status"]
    assert completed("name,l", KNOWN) == ["name,load"]
    assert completed("-l", KNOWN) == ["-load"]
    assert len(completed("", KNOWN)) == len(KNOWN)


def run(*arguments):
    app = typer.Typer()

    @app.command()
    @listing(COLUMNS, more=MORE, failed="Only what failed.")
    def rows(form: FormatOption = Format.table, *, view: View) -> None:
        """Rows."""
        view.print(COLUMNS, iter(ROWS), form, "none", failed=lambda row: row.status != "active")

    return CliRunner().invoke(app, arguments)


def test_a_table_has_the_columns_asked_for_in_their_order():
    lines = run("--columns", "status,name").output.splitlines()
    assert lines[:2] == ["Status       Name", "active       pc-10"]
    assert run().output.splitlines()[0].split() == ["ID", "Name", "Status"]


def test_wide_tables_have_whole_names():
    assert "pc-10.example.edu" in run("--wide").output
    assert "pc-10.example.edu" not in run().output


def test_json_and_csv_have_only_these_columns_and_whole_names():
    found = json.loads(run("--format", "json", "--columns", "name,load", "--limit", "1").output)
    assert found == [{"name": "pc-10.example.edu", "load": 0.5}]
    assert len(json.loads(run("--format", "json").output)[0]) == 5
    text = run("--format", "csv", "--columns", "id,name", "--sort", "-id").output
    assert list(csv.reader(io.StringIO(text)))[1:] == [
        ["17", ""],
        ["2", "pc-9.example.edu"],
        ["1", "pc-10.example.edu"],
    ]


@pytest.mark.parametrize("option", ["--sort", "--columns"])
def test_a_column_that_there_is_not_is_a_wrong_usage(option):
    error = run(option, "nmae").exception
    assert isinstance(error, UsageError)
    assert str(error) == "there is no column 'nmae'. Did you mean name?"
