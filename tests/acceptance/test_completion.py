"""What the shell offers on Tab: the embedded database, a large inventory, a configuration of its own."""

import os
import subprocess
import time

import psycopg
import pytest

from labmon.store.embedded import Embedded, running_url
from tests.acceptance.conftest import LABMON


def offered(lab, line, last=""):
    """What bash gets for a line; nothing may be printed besides."""
    words = [*line.split(), last]
    asked = {
        "_LABMON_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    done = subprocess.run(
        [LABMON], env=lab.env | asked, cwd=lab.folder, capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def test_the_embedded_database_is_asked_while_it_runs_and_never_started(lab):
    lab.run("departments", "set", "1", "--name", "Physics")
    state = lab.folder / "state"
    assert running_url(state) is None, "the command before was the last that used it"
    assert offered(lab, "labmon systems list --dept", "Ph") == []
    assert running_url(state) is None, "completing has started it"
    with Embedded(state):
        assert offered(lab, "labmon systems list --dept", "Ph") == ["Physics"]
    assert running_url(state) is None, "completing has kept it"


def test_nothing_is_made_where_labmon_was_never_used(lab):
    assert offered(lab, "labmon systems show", "pc") == []
    assert not (lab.folder / "state").exists()


@pytest.fixture
def campus(lab, store_url):
    """2,000 systems of ten labs in a database."""
    lab.environ["LABMON_DATABASE_URL"] = store_url
    with psycopg.connect(store_url) as connection:
        connection.execute("INSERT INTO departments VALUES (1, 'Physics', 'PHY')")
        connection.execute("INSERT INTO labs SELECT n, 1, 'Lab ' || n FROM generate_series(1, 10) n")
        connection.execute(
            "INSERT INTO systems (system_id, dept_id, lab_id, ip_address, hostname) "
            "SELECT n, 1, 1 + n % 10, '10.30.0.0'::inet + n, format('pc%s.lab-%s.uni.example', n, n % 10) "
            "FROM generate_series(1, 2000) n"
        )
    return lab


def test_two_thousand_systems_are_offered_within_a_second_of_processor_time(campus):
    before, began = os.times(), time.monotonic()
    assert "pc1999" in offered(campus, "labmon systems show", "pc199")
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    print(f"{used:.2f} s of processor time, {time.monotonic() - began:.2f} s in all")
    assert used < 1


def test_a_configuration_named_after_the_command_is_asked(campus):
    url = campus.environ.pop("LABMON_DATABASE_URL")
    (campus.folder / "other.toml").write_text(f'[database]\nurl = "{url}"\n')
    assert offered(campus, "labmon systems show --config other.toml", "pc1999") == ["pc1999"]
    assert offered(campus, "labmon --config other.toml systems show", "pc1999") == ["pc1999"]


def test_a_name_of_very_many_systems_is_refused_with_some_of_them(campus):
    with psycopg.connect(campus.environ["LABMON_DATABASE_URL"]) as connection:
        connection.execute(
            "UPDATE systems SET hostname = format('pc.n%s.example', system_id) WHERE system_id < 50"
        )
    said = campus.run("systems", "show", "pc", code=2).stderr
    assert said.startswith("labmon: pc means 49 systems: 1 (pc.n1.example), 2 (pc.n2.example), ")
    assert ", ... Name one" not in said and "..." in said and said.count("\n") == 1
    for command in (("alerts", "silence", "--system"), ("systems", "retire"), ("metrics", "range")):
        assert campus.run(*command, "pc", code=2).stderr == said, command
    assert campus.run("systems", "list", "--status", "retired", "--format", "json").stdout.strip() == "[]"
