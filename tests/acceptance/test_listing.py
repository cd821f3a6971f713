"""--search, --sort, --columns, --wide, --limit and --failed of the lists, by the installed command."""

import csv
import io
import json
import os
import pty
import re
import subprocess

import psycopg
import pytest

from tests.acceptance.conftest import LABMON, temporary_lab
from tests.support import campus


@pytest.fixture(scope="module")
def site(postgres_server, schema_template, warm_labmon):
    with postgres_server.database(schema_template) as name, temporary_lab() as lab:
        url = lab.environ["LABMON_DATABASE_URL"] = postgres_server.url(name)
        with psycopg.connect(url) as connection:
            campus.build(connection, systems=400, labs=10, detailed=2, hours=1)
            connection.execute("UPDATE systems SET hostname = 'eng-101-pc04' WHERE system_id = 4")
            connection.execute("UPDATE systems SET hostname = hostname || '.lab.example.edu'")
        lab.warm = warm_labmon
        yield lab


LISTS = {
    "systems list": "",
    "systems history": "",
    "systems history --scans": "",
    "metrics latest": "",
    "metrics range 1": "",
    "metrics summary": "",
    "alerts list": "",
    "alerts history": "",
    "labs list": "",
    "departments list": "",
    "events show": "",
}


def rows(lab, *command, code=0):
    return json.loads(lab.run(*command, "--format", "json", code=code).stdout)


@pytest.mark.parametrize("command", LISTS)
def test_every_list_has_the_same_options(site, command):
    words = command.split()
    whole = rows(site, *words, "--limit", "1000")
    assert len(rows(site, *words, "--limit", "1")) == min(1, len(whole))
    assert rows(site, *words, "--search", "no-such-word-anywhere") == []
    lines = site.run(*words, "--wide").stdout.splitlines()
    if not whole:
        return
    field = list(whole[0])[0]
    ordered = rows(site, *words, "--limit", "1000", "--sort", f"-{field}")
    assert ordered == sorted(whole, key=lambda row: row[field], reverse=True)
    only = rows(site, *words, "--columns", field, "--limit", "2")
    assert all(list(row) == [field] for row in only)
    assert lines


@pytest.mark.parametrize("command", LISTS)
@pytest.mark.parametrize("option", ["--sort", "--columns"])
def test_a_column_that_there_is_not_is_wrong_usage_with_the_nearest(site, command, option):
    said = site.run(*command.split(), option, "nmae", code=2).stderr
    assert said.startswith("labmon: there is no column 'nmae'")


def test_search_finds_each_word_in_any_column(site):
    found = rows(site, "systems", "list", "--search", "AUTH eng-101")
    assert [(one["status"], one["lab"]) for one in found] == [("auth failed", "ENG-101")]
    said = site.run("systems", "list", "--search", "nowhere")
    assert (said.stdout, said.stderr) == ("", "no such systems\n")


def test_addresses_are_sorted_by_number_and_names_as_people_count(site):
    found = rows(site, "systems", "list", "--sort", "ip_address", "--columns", "ip_address")
    numbers = [[int(part) for part in one["ip_address"].split(".")] for one in found]
    assert numbers == sorted(numbers)
    names = [one["hostname"] for one in rows(site, "systems", "list", "--sort", "name", "--lab", "ENG-101")]
    numbers = [int(re.search(r"pc(\d+)", name)[1]) for name in names]
    assert numbers == sorted(numbers)


def test_failed_ones_of_each_list(site):
    failing = rows(site, "systems", "list", "--failed")
    assert {one["status"] for one in failing} == {"unreachable", "auth failed"}
    unseen = rows(site, "alerts", "list", "--failed")
    assert unseen
    assert {one["acknowledged_by"] for one in unseen} == {None}
    assert len(rows(site, "alerts", "list")) > len(unseen)
    worse = rows(site, "systems", "history", "--failed")
    assert {one["new_value"] for one in worse} == {"unreachable"}
    assert rows(site, "systems", "history", "--scans", "--failed") == []
    assert all(one["measured"] < one["systems"] for one in rows(site, "metrics", "summary", "--failed"))
    assert all(one["active"] < one["systems"] for one in rows(site, "labs", "list", "--failed"))
    stale = {one["system_id"] for one in rows(site, "metrics", "latest", "--failed")}
    assert {one["system_id"] for one in failing} <= stale


def test_columns_of_csv_and_those_that_are_shown_only_when_asked_for(site):
    text = site.run("systems", "list", "--columns", "name,port", "--limit", "1", "-f", "csv").stdout
    assert list(csv.reader(io.StringIO(text))) == [
        ["hostname", "ssh_port"],
        ["eng-101-pc01.lab.example.edu", "22"],
    ]
    assert site.run("systems", "list", "--columns", "name,port", "--limit", "1").stdout.split() == [
        *("Name", "Port", "eng-101-pc01.lab.example.edu", "22")
    ]
    table = site.run("alerts", "list", "--columns", "id,metric,about", "--limit", "2").stdout
    assert table.splitlines()[0].split() == ["ID", "Metric", "About"]


def test_the_common_domain_is_left_out_of_tables_only(site):
    for command in (["systems", "list"], ["metrics", "latest"], ["alerts", "list"]):
        assert ".lab.example.edu" not in site.run(*command).stdout
        assert ".lab.example.edu" in site.run(*command, "--wide").stdout
        assert ".lab.example.edu" in site.run(*command, "-f", "csv").stdout


def on_a_terminal(lab, *command, columns=80, **environ):
    leader, follower = pty.openpty()
    env = lab.env | {"COLUMNS": str(columns), "TERM": "xterm"} | environ
    with subprocess.Popen(
        [LABMON, *command], env=env, stdout=follower, stderr=subprocess.PIPE, text=True
    ) as process:
        os.close(follower)
        text = b""
        while True:
            try:
                text += os.read(leader, 65536)
            except OSError:
                break
        said = process.stderr.read()
    os.close(leader)
    return text.decode().replace("\r\n", "\n"), said


def test_what_does_not_fit_is_said_and_the_reason_is_kept(site):
    text, said = on_a_terminal(site, "systems", "list", "--failed")
    assert re.fullmatch(r"\d+ columns hidden, names without \.lab\.example\.edu: --wide\n", said)
    assert "Reason" in text.splitlines()[0]
    text, said = on_a_terminal(site, "systems", "list", "--failed", "--wide")
    assert (said, "MAC" in text.splitlines()[0]) == ("", True)


def test_statuses_are_coloured_on_a_terminal_unless_that_is_not_wanted(site):
    text, _ = on_a_terminal(site, "systems", "list", "--failed")
    assert "\x1b[31mauth failed\x1b[0m" in text
    text, _ = on_a_terminal(site, "alerts", "list")
    assert "\x1b[31mcritical\x1b[0m" in text
    text, _ = on_a_terminal(site, "systems", "list", "--failed", NO_COLOR="1")
    assert "\x1b" not in text
    assert "\x1b" not in site.run("systems", "list", "--failed").stdout


def test_columns_are_completed(site):
    words = "labmon systems list --sort sta"
    env = {"_LABMON_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": "4"}
    assert site.run(code=None, **env).stdout.split() == ["status", "status_since", "status_error"]
    env |= {"COMP_WORDS": "labmon systems list --columns hostname,la", "COMP_CWORD": "4"}
    assert "hostname,last_seen" in site.run(code=None, **env).stdout.split()
