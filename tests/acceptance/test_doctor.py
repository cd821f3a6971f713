"""`labmon doctor` where something is broken: the culprit is named, and nothing else is blamed for it."""

import json
import random
import subprocess
import time

import psycopg
import pytest

from labmon.errors import Exit
from tests.support.small_disk import small_disk


def problems(lab, code, **environ):
    found = json.loads(lab.run("doctor", "--format", "json", code=code, **environ).stdout)
    return {one["check"]: one["said"] for one in found if one["state"] == "problem"}


@pytest.fixture
def by_password(lab):
    (lab.folder / "password").write_text("secret\n")
    lab.environ["LABMON_COLLECT_PASSWORD_FILE"] = str(lab.folder / "password")


def test_an_older_schema_is_one_problem_that_says_how_to_mend_it(lab, by_password, postgres_server):
    with postgres_server.database() as name:
        lab.environ["LABMON_DATABASE_URL"] = postgres_server.url(name)
        ((check, said),) = problems(lab, Exit.STORE, QUEUE_TYPE="postgres").items()
        assert check == "database"
        assert "labmon db migrate" in said
        with psycopg.connect(postgres_server.url(name)) as connection:
            assert connection.execute("SELECT to_regclass('systems')").fetchone() == (None,)


def test_a_state_folder_that_cannot_be_is_a_problem_of_all_that_needs_it(lab, by_password, store_url):
    (lab.folder / "file").touch()
    found = problems(
        lab, Exit.PERMISSION, LABMON_STATE_DIR=f"{lab.folder}/file", LABMON_DATABASE_URL=store_url
    )
    assert found.keys() == {"state", "spool", "collect"}
    assert all("cannot be written" in said for said in found.values())


def found(lab, check, code=None, **environ):
    rows = json.loads(lab.run("doctor", "--format", "json", code=code, **environ).stdout)
    return [(row["state"], row["said"]) for row in rows if row["check"] == check]


@pytest.fixture
def stored(lab, by_password, store_url):
    lab.environ["LABMON_DATABASE_URL"] = store_url
    with psycopg.connect(store_url, autocommit=True) as connection:
        yield connection


# findings C4
def test_a_read_only_database_is_a_problem(lab, stored):
    (name,) = stored.execute("SELECT current_database()").fetchone()
    stored.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    rows = found(lab, "database", Exit.STORE)
    assert ("problem", "read-only") in [(state, text[:9]) for state, text in rows]


# findings C4
def test_a_clock_that_is_off_is_a_problem(lab, stored):
    """A function of the same name, found before the server's own, stands for a server with another clock."""
    stored.execute("CREATE SCHEMA wrong")
    clock = (
        "CREATE OR REPLACE FUNCTION wrong.clock_timestamp() RETURNS timestamptz LANGUAGE sql "
        "AS $$ SELECT pg_catalog.clock_timestamp() {} $$"
    )
    (name,) = stored.execute("SELECT current_database()").fetchone()
    assert found(lab, "clock") == []
    stored.execute(clock.format("- interval '2 hours 10 minutes'"))
    stored.execute(f'ALTER DATABASE "{name}" SET search_path = wrong, pg_catalog, public')
    ((state, text),) = found(lab, "clock", Exit.STORE)
    assert (state, "clock is 2 h ahead of the database's" in text) == ("problem", True)
    stored.execute(clock.format("+ interval '1 minute'"))
    ((state, text),) = found(lab, "clock", Exit.OK)
    assert (state, "behind the database's" in text) == ("note", True)


# findings C4
def test_workers_that_serve_another_broker_are_a_problem(lab, stored):
    lab.run("setup-queues")
    stored.execute(
        "INSERT INTO workers (host, main_pid, number, queue, pid, state, state_since, stored, rejected, "
        "per_second, restarts, started_at, beat_at) VALUES ('elsewhere', 7, 1, 'metrics_queue', 7, 'idle', "
        "now(), 0, 0, 0, 0, now(), now())"
    )
    ((state, text),) = found(lab, "workers", Exit.BROKER)
    assert state == "problem"
    assert "none serves this broker (postgres): no consumer of metrics_queue" in text


# findings C4
def test_a_worker_of_this_broker_is_well(lab, stored):
    lab.run("setup-queues")
    with lab.start("consume", "--quiet") as worker:
        try:
            for _ in range(100):
                rows = found(lab, "workers")
                if rows[0][0] == "ok":
                    break
                time.sleep(0.2)
            assert [state for state, _ in rows] == ["ok"]
        finally:
            worker.terminate()
            worker.communicate(timeout=30)


# findings C4
def test_firing_alerts_are_not_ok(lab, stored):
    lab.run("scan", "127.0.0.1", "--dept", "1")
    fire = (
        "INSERT INTO alert_incidents (kind, alert_type, severity, system_id, value, threshold, since, "
        "last_at, fired_at) VALUES ('threshold', %s, %s, 1, 99, 90, now(), now(), now())"
    )
    assert found(lab, "alerts", Exit.OK) == [("ok", "nothing is wrong")]
    stored.execute(fire, ["cpu_high", "warning"])
    assert found(lab, "alerts", Exit.OK) == [("note", "1 firing: 1 warning. See: labmon alerts list")]
    stored.execute(fire, ["disk_full", "critical"])
    assert found(lab, "alerts", Exit.SOME_FAILED) == [
        ("problem", "2 firing: 1 critical, 1 warning. See: labmon alerts list")
    ]


# findings C4
def test_a_target_that_cannot_be_reached_is_a_problem(lab, stored):
    lab.environ["LABMON_NOTIFY_TARGETS"] = '[{name = "hook", url = "http://127.0.0.1:1/"}]'
    assert found(lab, "notify", Exit.OK) == [("ok", "alerts are sent to hook")]
    lab.run("setup-queues")
    body = {
        "system_id": 0,
        "alert_type": "cpu_high",
        "severity": "critical",
        "metric": "cpu_percent",
        "value": 99.0,
        "threshold": 90.0,
        "timestamp": "2026-03-01T10:00:00Z",
    }
    stored.execute("SELECT labmon_publish('alert_queue', %s)", [json.dumps(body)])
    lab.run("consume", "--until-empty", code=None)
    ((state, text),) = found(lab, "notify", Exit.SOME_FAILED)
    assert state == "problem"
    assert text.startswith("hook has not been reached for")


# findings C4
def test_a_full_spool_is_a_problem(lab, stored):
    away = {"QUEUE_HOST": "127.0.0.1", "QUEUE_PORT": "1", "QUEUE_ENABLED": "true"}
    small = {"LABMON_SPOOL_MAX_BYTES": "1MiB"}
    lab.run("scan", "127.0.0.1", "--dept", "1", **away)
    assert [state for state, _ in found(lab, "spool", **small)] == ["note"]
    lab.run("scan", "127.0.0.0/19", "--dept", "1", "-q", "--no-names", **away, **small)
    rows = found(lab, "spool", Exit.BROKER, **small)
    assert rows[0][0] == "problem"
    assert "of [spool] max_bytes" in rows[0][1]


# findings C4
def test_dead_letters_are_a_warning_of_queue_depth(lab, stored):
    lab.run("setup-queues")
    lab.run("queue-depth", code=0)
    stored.execute("SELECT labmon_publish('metrics_queue', 'not json')")
    lab.run("consume", "--until-empty", code=Exit.SOME_FAILED)
    rows = json.loads(lab.run("queue-depth", "-f", "json", code=1).stdout)
    by_queue = {row["queue"]: (row["level"], row["advice"]) for row in rows}
    assert by_queue["metrics_queue"] == ("warning", "labmon dead-letters list metrics_queue")
    assert by_queue["alert_queue"] == ("ok", None)


@pytest.fixture
def refusing(lab, by_password, store_url):
    """One system in the store, where nothing listens."""
    lab.environ["LABMON_DATABASE_URL"] = store_url
    with psycopg.connect(store_url, autocommit=True) as connection:
        connection.execute("INSERT INTO departments (dept_id) VALUES (1)")
        connection.execute(
            "INSERT INTO systems (system_id, dept_id, ip_address, ssh_port) VALUES (1, 1, '127.0.0.1', 1)"
        )
        yield connection


def test_a_full_state_disk_is_a_problem_and_collecting_goes_on(lab, refusing):
    with small_disk(lab.folder / "state") as fill:
        fill()
        said = problems(lab, Exit.PERMISSION)
        assert "its disk is full" in said["state"]
        assert "its disk is full" in said["spool"]
        done = lab.run("collect", "--all", code=Exit.SOME_FAILED)
        assert "the disk is full: no new key is taken" in done.stderr
        assert refusing.execute("SELECT status FROM systems").fetchone() == ("refused",)


def test_a_read_only_state_folder_is_a_problem_of_the_state(lab, refusing):
    with small_disk(lab.folder / "state"):
        subprocess.run(["mount", "-o", "remount,ro", str(lab.folder / "state")], check=True)
        said = problems(lab, Exit.PERMISSION)
        assert said.keys() == {"state", "spool", "collect"}
        assert all("cannot be written" in one for one in said.values())
        assert "another place with [state] dir" in lab.run("collect", "--all", code=Exit.PERMISSION).stderr


FILES = ("retry.json", "counters", "inventory.json", "spool.db", "known_hosts")
LOCKS = ("retry.json.lock", "counters.lock", "host_keys.sqlite.lock", "spool.db.lock", "spool.db.draining")


def test_a_damaged_file_of_the_state_folder_is_no_bug(lab, refusing):
    state = lab.folder / "state"
    state.mkdir(mode=0o711)
    (state / "collecting").mkdir()
    for name in (*FILES, *LOCKS, "collecting/1-1.lock"):
        (state / name).write_bytes(random.Random(name).randbytes(5000))
    lab.run("collect", "--all", "--retry-all", code=Exit.SOME_FAILED)
    lab.run("spool", "status")
    (state / "host_keys.sqlite").write_bytes(random.Random(7).randbytes(8192))
    said = lab.run("collect", "--all", "--retry-all", code=Exit.PERMISSION).stderr
    assert "it is damaged" in said and "Move it away" in said
    assert "it is damaged" in lab.run("systems", "trust", code=Exit.PERMISSION).stderr
    assert "it is damaged" in problems(lab, Exit.PERMISSION)["collect"]


@pytest.mark.parametrize("name", [*FILES, *LOCKS, "host_keys.sqlite"])
def test_a_folder_in_the_place_of_a_state_file_is_no_bug(lab, refusing, name):
    (lab.folder / "state").mkdir(mode=0o711)
    (lab.folder / "state" / name).mkdir()
    done = lab.run("collect", "--all", "--retry-all", code=None)
    assert done.returncode in (Exit.SOME_FAILED, Exit.PERMISSION, Exit.BROKER), done.stderr
    assert "Traceback" not in done.stderr
