"""What programs read: every command's data, in every format, with the names of one vocabulary."""

import csv
import io
import json
import re
from pathlib import Path

import pytest
import typer

from labmon.cli import app
from tests.acceptance.test_tables import CHANGES, LISTS, commands
from tests.acceptance.test_tables import site as site  # a fixture

PAGE = Path(__file__).parents[2] / "examples" / "output" / "README.md"
FREE = {"by_status"}
"""Objects whose members are statuses, not names."""


def vocabulary():
    """The names of the page's tables."""
    return set(re.findall(r"^\| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE))


def names_in(value):
    """The names of all members, at any depth."""
    if isinstance(value, list):
        return set().union(*map(names_in, value))
    if isinstance(value, dict):
        inner = (names_in(one) for name, one in value.items() if name not in FREE)
        return set(value).union(*inner)
    return set()


def answered(site, words, form):
    """What a command prints, whatever its exit code says of what it found."""
    done = site.run(*words.split(), "--format", form, code=None)
    assert done.returncode in (0, 1, 2, 3, 6), (words, done.stderr)
    assert done.stdout or form == "ndjson" or done.returncode == 2, (words, done.stderr)
    return done.stdout


def seen_in(site, listing):
    found = {}
    for name, more in listing.items():
        text = answered(site, f"{name} {more}", "json")
        data = json.loads(text or "[]")
        for key in names_in(data):
            found.setdefault(key, name)
    return found


def test_every_command_with_a_format_is_tried_here():
    assert sorted(commands(typer.main.get_command(app))) == sorted({**LISTS, **CHANGES})


def test_no_command_prints_a_name_that_the_page_does_not_explain(site):
    found = seen_in(site, LISTS)
    (site.folder / "rules.toml").write_text(site.run("alerts", "rules", "export").stdout)
    (site.folder / "pw").write_text("correct horse battery\n")
    found |= seen_in(site, CHANGES)
    if dump := __import__("os").environ.get("DUMP"):
        Path(dump).write_text(json.dumps(found))
    unexplained = {key: name for key, name in found.items() if key not in vocabulary()}
    assert unexplained == {}


@pytest.mark.parametrize("words", ["labs list", "departments list", "alerts rules list", "config show"])
def test_one_list_in_all_formats(site, words):
    rows = json.loads(answered(site, words, "json"))
    assert [json.loads(line) for line in answered(site, words, "ndjson").splitlines()] == rows
    table = list(csv.DictReader(io.StringIO(answered(site, words, "csv"))))
    assert len(table) == len(rows) and set(table[0]) <= vocabulary()
    lines = answered(site, words, "tsv").splitlines()
    assert [line.split("\t") for line in lines][0] == list(table[0])
    assert len(lines) == len(rows) + 1
    bare = site.run(*words.split(), "--format", "tsv", "--no-headers", code=None).stdout.splitlines()
    assert bare == lines[1:]
    assert site.run("--no-headers", *words.split(), "-f", "csv", code=None).stdout.count("\n") == len(rows)
    headed = site.run(*words.split(), code=None).stdout.splitlines()
    assert site.run(*words.split(), "--no-headers", code=None).stdout.splitlines() == headed[1:]


def test_a_cell_of_tsv_has_neither_tabs_nor_line_ends(site):
    site.run("systems", "retire", "1", "--comment", r"sold\given")
    rows = answered(site, "systems history 1", "tsv").splitlines()
    assert {row.count("\t") for row in rows} == {rows[0].count("\t")}
    assert any(r"sold\\given" in row for row in rows)
    site.run("systems", "restore", "1")


def test_columns_of_csv_do_not_depend_on_the_data(site):
    full = answered(site, "systems list", "csv").splitlines()[0]
    none = answered(site, "systems list --status maintenance", "csv").splitlines()[0]
    assert full == none


def test_no_name_is_explained_twice_or_without_being_used():
    explained = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(explained) == len(set(explained))
    code = "\n".join(file.read_text() for file in (PAGE.parents[2] / "labmon").rglob("*.py"))
    assert [name for name in explained if not re.search(rf"\b{name}\b", code)] == []
