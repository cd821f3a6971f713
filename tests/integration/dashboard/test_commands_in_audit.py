"""What commands change stands in the record of changes, with the account that ran them."""

import getpass
import json
import subprocess

import psycopg
import pytest

from tests.integration.dashboard.lab import campus, fire
from tests.support.dashboard import LABMON, Dashboard


@pytest.fixture
def labmon(store_url):
    one = Dashboard(store_url)

    def run(*arguments):
        done = subprocess.run(
            [LABMON, *arguments],
            env=one.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done

    yield run
    one.close()


def test_each_change_by_a_command_is_recorded_with_the_account(labmon, store_url):
    with psycopg.connect(store_url) as connection:
        campus(connection, systems=4)
        alert = fire(connection, 3, "cpu_high", "critical")
    labmon("alerts", "ack", str(alert))
    labmon("alerts", "rules", "set", "ram_high", "--above", "97")
    labmon("labs", "set", "A-101", "--name", "A-102")
    labmon("systems", "set", "4", "--port", "2222")
    labmon("departments", "set", "1", "--name", "Physics")
    labmon("maintenance", "add", "--system", "2", "--for", "2h", "-m", "disks")
    labmon("alerts", "silence", "--rule", "cpu_high", "--for", "1h")
    with psycopg.connect(store_url) as connection:
        rows = connection.execute(
            "SELECT action, object, detail, actor, address FROM audit ORDER BY audit_id"
        ).fetchall()
    assert {row[3:] for row in rows} == {(getpass.getuser(), "command line")}
    assert [row[0] for row in rows] == [
        "alerts.ack",
        "rules.set",
        "labs.set",
        "systems.set",
        "departments.set",
        "maintenance.add",
        "alerts.silence",
    ]
    found = {row[0]: row for row in rows}
    assert found["systems.set"][1:3] == ("system 4", {"did": "port 2222"})
    assert found["maintenance.add"][1] == "system 2"
    assert {"starts_at", "until", "mode"} < found["maintenance.add"][2].keys()
    assert found["alerts.ack"][2] == {}  # nobody wrote a note
    assert "null" not in json.dumps([row[2] for row in rows])


def test_dead_letters_that_are_purged_are_recorded(labmon, store_url):
    labmon("setup-queues")
    labmon("dead-letters", "purge", "metrics", "--yes")
    with psycopg.connect(store_url) as connection:
        rows = connection.execute("SELECT action, object, detail FROM audit").fetchall()
    assert rows == [("dead_letters.discard", "metrics_queue", {"count": 0})]
