"""What programs read: every command's data, in every format, with the names of one vocabulary."""

import csv
import io
import json
import re
from pathlib import Path

import pytest
import typer

from labmon.app.open import open_broker
from labmon.brokers.base import Message
from labmon.cli import app
from labmon.config.load import load
from labmon.config.tables import Config
from labmon.dashboard.app import create_app
from labmon.dashboard.context import Context
from tests.acceptance.conftest import temporary_lab
from tests.acceptance.test_tables import CHANGES, LISTS, commands
from tests.acceptance.test_tables import site as site  # a fixture
from tests.support.dashboard import Dashboard

PAGE = Path(__file__).parents[2] / "examples" / "output" / "README.md"
FREE = {"by_status", "states", "alerts", "limits", "lanes", "detail"}
"""Objects whose members are statuses, severities, levels, lanes or what was given, not names."""

ONE = {"system": "1", "lab": "1", "alert": "1", "scan": "1700000000000000"}
"""Of what a path of the API names."""

NOT_JSON = {"/api/v1/systems.csv", "/api/v1/stream", "/metrics"}

FURTHER = [
    "systems history --scans",
    "systems facts --changed",
    "systems facts",
    "metrics summary --by-lab",
    "db status --tables",
]
"""Options that make a command answer with other names."""

NAMING = {"alerts show", "alerts test", "metrics range", "systems show"}
"""They name what an empty database does not have."""

ACTING = {"collect", "scan"}
"""They do something first; their columns are tested where they are."""


def vocabulary():
    """The names of the page's tables."""
    return set(re.findall(r"^\| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE))


def names_in(value):
    """The names of all members, at any depth."""
    if isinstance(value, list):
        return set().union(*map(names_in, value))
    if isinstance(value, dict):
        inner = (names_in(one) for name, one in value.items() if not (name in FREE and isinstance(one, dict)))
        return {name for name in value if not name.endswith("_queue")}.union(*inner)
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


def properties(document, where=""):
    """Where in the API's document, and the name, of each member of what is sent or answered."""
    if isinstance(document, list):
        for one in document:
            yield from properties(one, where)
    elif isinstance(document, dict):
        members = document.get("properties")
        for name in members if isinstance(members, dict) else ():
            yield where, name
        for name, one in document.items():
            yield from properties(one, f"{where}/{name}")


def facts_known(site):
    """System 1 has said what it is, and later something else."""
    disks = [{"name": "sda", "model": "Disk 9", "serial": "S-1", "size_bytes": 512 * 10**9}]
    cards = [{"name": "eth0", "mac_address": "00:1b:44:11:3a:b7", "speed_mbps": 1000}]
    units = ["cups.service", "ssh.service"]
    bodies = [
        {
            "system_id": 1,
            "asked_at": f"2026-03-01T10:0{number}:00Z",
            "facts": {"hostname": "pc-17", "kernel": f"6.1.{number}", "disks": disks, "network_cards": cards}
            | {"failed_units": units, "gpus": [{"id": "10de:2204", "model": "GPU", "driver": "nvidia"}]},
        }
        for number in (0, 1)
    ]
    with open_broker(load(environ=site.environ).config) as broker:
        broker.publish("discovery_queue", [Message.new(json.dumps(body).encode()) for body in bodies])
    site.run("consume", "--until-empty", "--quiet", code=None)


@pytest.fixture(scope="module")
def empty(postgres_server, schema_template):
    """A database in which nothing has happened."""
    with postgres_server.database(schema_template) as name, temporary_lab() as lab:
        lab.environ["LABMON_DATABASE_URL"] = postgres_server.url(name)
        lab.run("setup-queues")
        lab.run("departments", "set", "1", "--name", "Physics")
        lab.run("labs", "set", "A-101", "--dept", "1")
        yield lab


def test_every_command_with_a_format_is_tried_here():
    assert sorted(commands(typer.main.get_command(app))) == sorted({**LISTS, **CHANGES})


def test_no_command_prints_a_name_that_the_page_does_not_explain(site):
    found = seen_in(site, LISTS)
    (site.folder / "rules.toml").write_text(site.run("alerts", "rules", "export").stdout)
    (site.folder / "pw").write_text("correct horse battery\n")
    found |= seen_in(site, CHANGES)
    unexplained = {key: name for key, name in found.items() if key not in vocabulary()}
    assert unexplained == {}


def test_no_name_of_the_api_is_without_an_explanation():
    document = create_app(Context(Config(), None)).openapi()
    found = {name: where for where, name in properties(document)}
    assert {"system_id", "alert_id", "clear_for"} <= set(found)
    assert {name: where for name, where in found.items() if name not in vocabulary()} == {}


def test_no_answer_of_the_dashboard_has_a_name_without_an_explanation(site):
    """What the document cannot see: objects that it calls free."""
    facts_known(site)
    paths = create_app(Context(Config(), None)).openapi()["paths"]
    asked = [path.format(**ONE) for path, methods in paths.items() if "get" in methods]
    found = {}
    with Dashboard(site.environ["LABMON_DATABASE_URL"]) as server, server.browser() as browser:
        for path in asked:
            if path in NOT_JSON:
                continue
            answer = browser.get(path)
            assert answer.status_code == 200, (path, answer.text)
            found |= dict.fromkeys(names_in(answer.json()), path)
    assert {"system_id", "alert_id", "ready", "kernel"} <= set(found)
    assert not [f"{name} {path}" for name, path in sorted(found.items()) if name not in vocabulary()]


@pytest.mark.parametrize("words", FURTHER)
def test_no_other_form_of_a_command_prints_a_name_without_an_explanation(site, words):
    facts_known(site)
    rows = json.loads(answered(site, words, "json"))
    assert rows, words
    assert names_in(rows) - vocabulary() == set()


def test_columns_are_the_same_in_an_empty_database(site, empty):
    for name, more in LISTS.items():
        if name in NAMING or name in ACTING:
            continue
        full, none = (answered(one, f"{name} {more}", "csv").splitlines()[0] for one in (site, empty))
        assert full == none, name
        assert set(full.split(",")) <= vocabulary(), name


def test_a_cell_with_members_is_json(site):
    facts_known(site)
    for form, delimiter in (("csv", ","), ("tsv", "\t")):
        text = answered(site, "systems facts", form)
        (row,) = csv.DictReader(
            io.StringIO(text),
            delimiter=delimiter,
            quotechar='"' if form == "csv" else None,
            quoting=csv.QUOTE_MINIMAL if form == "csv" else csv.QUOTE_NONE,
        )
        assert row["hostname"] == "pc-17" and row["failed_units"] == "cups.service ssh.service"
        assert json.loads(row["disks"])[0]["size_bytes"] == 512 * 10**9


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
