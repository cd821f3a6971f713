"""Scan, collect, queue, consume, look: by the installed command, over real SSH, on both kinds of database."""

import csv
import io
import json
import os
import signal
import time
from datetime import datetime

import psycopg
import pytest

from labmon.demo.sshd import DemoServer
from labmon.store.embedded import Embedded
from tests.acceptance.conftest import either_store, no_demo_left
from tests.support.clock import clock
from tests.unit.test_messages import SEED_ALERT, SEED_DISCOVERY, SEED_METRICS


@pytest.fixture
def machines(lab):
    """Two machines that can be measured, 127.0.0.1 and .2; the others of the network refuse SSH."""
    with DemoServer(["127.0.0.1", "127.0.0.2"], key_file=lab.folder / "key") as server:
        lab.environ |= {
            "LABMON_COLLECT_PORT": str(server.port),
            "LABMON_COLLECT_KEY_FILES": str(lab.folder / "key"),
        }
        yield server


@pytest.fixture
def database(stored_lab):
    """A connection to the lab's store."""
    if "LABMON_DATABASE_URL" in stored_lab.environ:
        with psycopg.connect(stored_lab.environ["LABMON_DATABASE_URL"], autocommit=True) as connection:
            yield connection
    else:
        with Embedded(stored_lab.folder / "state") as server:
            with psycopg.connect(server.url, autocommit=True) as connection:
                yield connection


def systems(lab):
    return {row["ip_address"]: row for row in json.loads(lab.run("systems", "list", "-f", "json").stdout)}


def depth(lab, queue="metrics_queue"):
    rows = json.loads(lab.run("queue-depth", "-f", "json").stdout)
    return next(row for row in rows if row["queue"] == queue)


@either_store
def test_scan_then_collect_then_consume(stored_lab, machines):
    lab = stored_lab
    scanned = json.loads(lab.run("scan", "127.0.0.0/29", "--dept", "3", "-f", "json").stdout)
    assert [host["ip_address"] for host in scanned] == [f"127.0.0.{n}" for n in range(1, 7)]
    assert {row["dept_id"] for row in systems(lab).values()} == {3}

    assert "metrics_queue: made" in lab.run("setup-queues").stderr
    assert "metrics_queue: was there" in lab.run("setup-queues").stderr

    done = lab.run("collect", "--all", "--queue-enabled", "-f", "json", code=6)
    results = {row["ip_address"]: row for row in json.loads(done.stdout)}
    assert results["127.0.0.1"]["failure"] is None
    assert results["127.0.0.3"]["failure"].startswith("refused")
    assert "2 of 6 measured, queued for metrics_queue; 4 failed: 4 refused" in done.stderr
    assert depth(lab)["ready"] == 2
    assert systems(lab)["127.0.0.1"]["cpu_percent"] is None

    assert "metrics_queue: 2 stored" in lab.run("consume", "--until-empty").stderr
    assert (depth(lab)["ready"], depth(lab)["in_flight"], depth(lab)["dead"]) == (0, 0, 0)
    stored = systems(lab)
    assert stored["127.0.0.1"]["status"] == "active"
    assert stored["127.0.0.3"]["status"] == "refused"
    for name in ("cpu_percent", "ram_percent", "disk_percent", "uptime_seconds"):
        assert stored["127.0.0.2"][name] == pytest.approx(results["127.0.0.2"][name], rel=1e-5)


def test_without_the_queue_the_same_is_stored_directly(stored_lab, machines):
    lab = stored_lab
    lab.run("scan", "127.0.0.1-2", "--dept", "1")
    done = lab.run("collect", "--all", "-f", "csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["ip_address"] for row in rows] == ["127.0.0.1", "127.0.0.2"]
    assert float(systems(lab)["127.0.0.2"]["cpu_percent"]) == pytest.approx(float(rows[1]["cpu_percent"]))


def test_a_scan_through_the_queue_arrives_with_its_record(stored_lab, database):
    lab = stored_lab
    assert (
        "queued for discovery_queue"
        in lab.run("scan", "127.0.0.0/29", "--dept", "1", QUEUE_ENABLED="true").stderr
    )
    assert systems(lab) == {}
    lab.run("consume", "--until-empty", "--queue", "discovery")
    assert len(systems(lab)) == 6
    found, status = database.execute("SELECT systems_found, status FROM scans").fetchone()
    assert (found, status) == (6, "completed")


def test_a_dry_run_stores_nothing(stored_lab):
    assert "--dry-run" in stored_lab.run("scan", "127.0.0.0/29", "--dept", "1", "--dry-run").stderr
    assert systems(stored_lab) == {}


def test_machines_are_chosen_by_department_system_and_address(stored_lab, machines):
    lab = stored_lab
    lab.run("scan", "127.0.0.1", "--dept", "1")
    lab.run("scan", "127.0.0.2", "--dept", "2")

    def measured(*arguments):
        done = lab.run("collect", *arguments, "-f", "json")
        return [(row["system_id"], row["ip_address"]) for row in json.loads(done.stdout)]

    assert measured("--dept", "2") == [(2, "127.0.0.2")]
    assert measured("--system", "1") == [(1, "127.0.0.1")]
    assert measured("--host", "127.0.0.2") == [(2, "127.0.0.2")]
    assert "there is no lab '9'" in lab.run("collect", "--lab", "9", code=2).stderr
    assert "department 9 has no machine" in lab.run("collect", "--dept", "9", code=2).stderr  # findings C12


def test_an_address_that_the_inventory_does_not_know_is_only_shown(stored_lab, machines):
    lab = stored_lab
    done = lab.run("collect", "--host", "127.0.0.1", "-f", "json")
    (row,) = json.loads(done.stdout)
    assert row["system_id"] is None
    assert row["uptime_seconds"] > 0
    assert systems(lab) == {}


def test_a_machine_whose_clock_is_wrong_is_told(stored_lab, machines, monkeypatch):
    """The machines' shell is one that says it is ten minutes ago."""
    lab = stored_lab
    folder = lab.folder / "bin"
    folder.mkdir()
    past = int(time.time()) - 600
    (folder / "sh").write_text(f"#!/bin/sh\n/bin/sh \"$@\" | sed '/^#time/{{n;s/^[0-9]*/{past}/}}'\n")
    (folder / "sh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    done = lab.run("collect", "--host", "127.0.0.1", "-f", "json")
    (row,) = json.loads(done.stdout)
    assert -620 < row["clock_skew_seconds"] < -595
    assert abs(datetime.fromisoformat(row["collected_at"]).timestamp() - time.time()) < 60
    assert "127.0.0.1: its clock is 60" in done.stderr
    assert "s behind, so its measurements carry the time of this machine\n" in done.stderr
    assert "clock" not in lab.run("collect", "--host", "127.0.0.1", "--quiet").stderr


@either_store
def test_messages_of_the_guide_put_in_by_plain_sql_are_stored(stored_lab, database):
    lab = stored_lab
    lab.run("setup-queues")
    database.execute("INSERT INTO departments (dept_id) VALUES (1)")
    database.execute("INSERT INTO systems (system_id, dept_id) VALUES (42, 1)")
    without = json.loads(SEED_METRICS)
    del without["system_id"]
    publish = "SELECT labmon_publish(%s, %s)"
    for queue, body in [
        ("discovery_queue", SEED_DISCOVERY.decode()),
        ("metrics_queue", SEED_METRICS.decode()),
        ("alert_queue", SEED_ALERT.decode()),
        ("metrics_queue", json.dumps(without)),
    ]:
        database.execute(publish, [queue, body])
    said = lab.run("consume", "--until-empty", code=6).stderr
    assert "metrics_queue: 1 stored, 1 to the dead letters" in said

    (metrics,) = database.execute(
        "SELECT system_id, collected_at, cpu_percent, uptime_seconds, logged_in_users FROM metrics"
    ).fetchall()
    assert metrics[0] == 42
    assert metrics[1].isoformat().startswith("2025-11-25T10:35:00")
    assert metrics[2:] == (pytest.approx(45.23), 345600, 3)
    assert systems(lab)["10.30.5.10"]["mac_address"] == "00:1b:44:11:3a:b7"
    assert database.execute("SELECT alert_type, severity FROM alerts").fetchall() == [("cpu_high", "warning")]
    ((reason, body),) = database.execute("SELECT reason, body FROM labmon_queue_dead").fetchall()
    assert "system_id" in reason
    assert json.loads(body) == without


def test_the_scripts_environment_names_work_on_a_broker_of_its_own(stored_lab, machines, postgres_server):
    lab = stored_lab
    with postgres_server.database() as name:
        lab.environ |= {
            "QUEUE_ENABLED": "true",
            "QUEUE_TYPE": "postgres",
            "QUEUE_HOST": "127.0.0.1",
            "QUEUE_PORT": str(postgres_server.port),
            "QUEUE_USER": postgres_server.USER,
            "QUEUE_PASSWORD": postgres_server.PASSWORD,
            "LABMON_QUEUE_DATABASE": name,
            "DISCOVERY_QUEUE": "found_here",
            "METRICS_QUEUE": "measured_here",
            "ALERT_QUEUE": "told_here",
        }
        lab.run("setup-queues")
        lab.run("scan", "127.0.0.1", "--dept", "1")
        assert depth(lab, "found_here")["ready"] == 2  # the machine, and the end of the scan
        lab.run("consume", "--until-empty")
        lab.run("collect", "--all")
        assert depth(lab, "measured_here")["ready"] == 1
        lab.run("consume", "--until-empty")
        assert systems(lab)["127.0.0.1"]["status"] == "active"


def test_two_commands_share_the_embedded_database(lab):
    with lab.start("consume") as worker:
        lab.run("scan", "127.0.0.0/29", "--dept", "1", "--queue-enabled")
        deadline = time.monotonic() + 30
        while len(systems(lab)) < 6:
            assert time.monotonic() < deadline
        worker.send_signal(signal.SIGTERM)
        out, said = worker.communicate(timeout=30)
        assert (worker.returncode, out) == (0, "")
        assert "discovery_queue: 7 stored" in said
    assert not (lab.folder / "state/postgres/data/postmaster.pid").exists()


def test_interrupting_a_worker_is_no_error_but_is_told_apart(lab):
    lab.run("db", "migrate")  # which says that it makes a new embedded database
    with lab.start("consume", "--quiet") as worker:
        while not (lab.folder / "state/postgres/data/postmaster.pid").exists():
            time.sleep(0.05)
        time.sleep(1)
        worker.send_signal(signal.SIGINT)
        assert worker.wait(30) == 130
        assert worker.stderr.read() == ""


def test_an_interrupted_scan_keeps_what_it_found(stored_lab):
    lab = stored_lab
    # Slow enough to be interrupted: 254 addresses at 20 a second.
    with lab.start("scan", "127.0.1.0/24", "--dept", "1", "--rate", "20", "--type", "ping") as scan:
        deadline = time.monotonic() + 60
        while not systems(lab):
            assert time.monotonic() < deadline, "nothing was found"
        scan.send_signal(signal.SIGINT)
        out, said = scan.communicate(timeout=30)
    assert scan.returncode == 130
    assert "interrupted" in said
    kept = systems(lab)
    assert 0 < len(kept) < 254
    assert len(kept) == len(out.splitlines()) - 1


def test_one_machine_that_hangs_does_not_delay_the_others(stored_lab, machines):
    lab = stored_lab
    import socket

    with socket.create_server(("127.0.0.3", machines.port)):  # accepts, and never says a word
        lab.run("scan", "127.0.0.1-3", "--dept", "1")
        start = clock()
        done = lab.run("collect", "--all", "--deadline", "4s", code=6)
        assert clock() - start < 10
    assert "2 of 3 measured, stored; 1 failed: 1 timed out" in done.stderr


def test_a_wrong_password_is_a_failure_of_that_machine_and_is_not_printed(stored_lab, machines):
    lab = stored_lab
    password = lab.folder / "password"
    password.write_text("hunter2\n")
    lab.run("scan", "127.0.0.1", "--dept", "1")
    done = lab.run(
        "collect", "--all", code=6, LABMON_COLLECT_KEY_FILES="", LABMON_COLLECT_PASSWORD_FILE=str(password)
    )
    assert "auth failed" in done.stdout
    assert "hunter2" not in done.stdout + done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_an_unreadable_key_file_is_named(lab, machines):
    (lab.folder / "key").chmod(0)
    assert str(lab.folder / "key") in lab.run("collect", "--host", "127.0.0.1", code=2).stderr


def test_a_file_that_is_no_key_is_named(stored_lab):
    lab = stored_lab
    (lab.folder / "key").write_text("not a key")
    done = lab.run("collect", "--host", "127.0.0.1", "--key", lab.folder / "key", code=2)
    assert str(lab.folder / "key") in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_demo_shows_it_all_and_leaves_nothing_behind(lab):
    with no_demo_left():
        start = clock()
        done = lab.run("demo", timeout=120)
        assert clock() - start < 30
    for words in ("scan 127.0.0.0/28", "setup-queues", "collect --all --queue-enabled", "queue-depth"):
        assert f"$ labmon {words}" in done.stdout
    assert "12 of 14 measured, queued for metrics_queue; 2 failed: 2 refused" in done.stderr
    assert "metrics_queue: 12 stored" in done.stderr
    assert done.stdout.count("active") == 12
