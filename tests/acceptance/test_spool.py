"""The broker goes and comes back: the commands succeed, say so, and everything arrives exactly once."""

import json
import os
import subprocess
import time
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from labmon.app.open import open_spool
from labmon.brokers.base import Message
from labmon.config.load import load
from labmon.messages import Metrics, Readings, encode

SCAN = ["scan", "127.0.0.0/29", "--dept", "1", "--no-names", "--queue-enabled"]
FOUND = 6 + 1
"""The messages of that scan: its hosts, and its end."""


@pytest.fixture
def broker(lab, own_postgres_server):
    """The queue on a server of its own, beside the store."""
    lab.environ |= {
        "QUEUE_ENABLED": "true",
        "QUEUE_TYPE": "postgres",
        "QUEUE_HOST": "127.0.0.1",
        "QUEUE_PORT": str(own_postgres_server.port),
        "QUEUE_USER": own_postgres_server.USER,
        "QUEUE_PASSWORD": own_postgres_server.PASSWORD,
        "LABMON_QUEUE_DATABASE": "postgres",
    }
    return own_postgres_server


@pytest.fixture
def store(lab, store_url):
    """A connection to the lab's store, which never goes away."""
    lab.environ["LABMON_DATABASE_URL"] = store_url
    with psycopg.connect(store_url, autocommit=True) as connection:
        yield connection


def spooled(lab):
    return json.loads(lab.run("spool", "status", "-f", "json").stdout)


def the_line(done, number):
    """The one line on stderr about the spool."""
    (line,) = [line for line in done.stderr.splitlines() if "Messages waiting" in line]
    assert "Is it running? " in line
    assert f"Messages waiting in the spool: {number}; " in line
    assert line.endswith("they go out first next time, or by: labmon spool flush")
    return line


def counts(store):
    """How many systems and scans the store has, and how many of those are in it more than once."""
    return [
        store.execute(query).fetchone()[0]
        for query in (
            "SELECT count(*) FROM systems",
            "SELECT count(*) - count(DISTINCT ip_address) FROM systems",
            "SELECT count(*) FROM scans",
        )
    ]


def test_the_broker_is_down_during_the_scan_and_back_later(lab, broker):
    """With nothing configured but the broker: the store is the embedded one."""
    broker.stop()
    done = lab.run(*SCAN)
    line = the_line(done, FOUND)
    assert "; kept in the spool\n" in done.stderr
    assert line.startswith(f"labmon: queue in PostgreSQL at 127.0.0.1:{broker.port}")
    the_line(lab.run(*SCAN, "--quiet"), f"{FOUND} ({2 * FOUND} in all)")
    status = spooled(lab)
    assert [status[key] for key in ("messages", "dropped_for_room", "dropped_for_age", "corrupt")] == [
        *(2 * FOUND, 0, 0, 0)
    ]
    assert [(one["queue"], one["messages"]) for one in status["queues"]] == [("discovery_queue", 2 * FOUND)]

    done = lab.run("spool", "flush", code=4)
    assert f"sent: 0; still in the spool: {2 * FOUND}" in done.stderr
    assert done.stderr.splitlines()[-1].endswith("Is it running?")
    assert spooled(lab)["messages"] == 2 * FOUND

    broker.start()
    lab.run("setup-queues")  # the server is new, and a flush makes no queues
    assert lab.run("spool", "flush").stderr == f"sent: {2 * FOUND}\n"
    assert spooled(lab)["messages"] == 0
    assert lab.run("spool", "flush").stderr == "the spool is empty\n"

    assert f"discovery_queue: {2 * FOUND} stored" in lab.run("consume", "--until-empty").stderr
    systems = json.loads(lab.run("systems", "list", "-f", "json").stdout)
    assert sorted(row["ip_address"] for row in systems) == [f"127.0.0.{n}" for n in range(1, 7)]


def test_the_next_command_sends_what_the_last_could_not(lab, broker, store):
    broker.stop()
    lab.run(*SCAN)
    broker.start()
    done = lab.run(*SCAN)
    assert "spool" not in done.stderr
    assert spooled(lab)["messages"] == 0
    lab.run("consume", "--until-empty")
    assert counts(store) == [6, 0, 2]


def test_commands_at_the_same_time_share_the_spool(lab, broker, store):
    broker.stop()
    # Of networks of their own: two scans of the same addresses would not run at the same time.
    running = [lab.start("scan", f"127.0.{n}.0/29", *SCAN[2:]) for n in range(4)]
    for process in running:
        _, said = process.communicate(timeout=60)
        assert (process.returncode, "Traceback" in said) == (0, False), said
    assert spooled(lab)["messages"] == 4 * FOUND
    broker.start()
    lab.run("setup-queues")
    running = [lab.start("spool", "flush") for _ in range(4)]
    for process in running:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
    assert spooled(lab)["messages"] == 0
    lab.run("consume", "--until-empty")
    assert counts(store) == [24, 0, 4]


def test_the_queue_is_in_the_store_and_the_store_is_down(lab, own_postgres_server):
    lab.environ["LABMON_DATABASE_URL"] = own_postgres_server.url()
    lab.environ["QUEUE_ENABLED"] = "true"
    lab.run("db", "migrate")
    own_postgres_server.stop()
    done = lab.run(*SCAN)
    (line,) = [line for line in done.stderr.splitlines() if "Messages waiting" in line]
    assert f"PostgreSQL at 127.0.0.1:{own_postgres_server.port}" in line
    lab.run("spool", "flush", code=5)
    own_postgres_server.start()
    lab.run("setup-queues")
    lab.run("spool", "flush")
    lab.run("consume", "--until-empty")
    with psycopg.connect(own_postgres_server.url()) as store:
        assert counts(store) == [6, 0, 1]


def test_a_broker_that_refuses_is_no_reason_to_lose_anything(lab, broker):
    done = lab.run(*SCAN, QUEUE_PASSWORD="wrong")
    (line,) = [line for line in done.stderr.splitlines() if "Messages waiting" in line]
    assert "password authentication failed" in line
    assert "wrong" not in line
    lab.run("setup-queues")
    assert lab.run("spool", "flush").stderr == f"sent: {FOUND}\n"


def readings(count, system_id=1):
    """Messages of one machine, a second apart."""
    start = datetime.now(UTC) - timedelta(hours=12)
    return [
        Message.new(
            encode(
                Metrics(
                    system_id=system_id,
                    collected_at=start + timedelta(seconds=number),
                    metrics=Readings(cpu_percent=number % 100),
                )
            ),
            "metrics.collected",
        )
        for number in range(count)
    ]


def test_sigkill_in_the_middle_of_a_flush_loses_nothing(lab, broker, store):
    store.execute("INSERT INTO departments (dept_id) VALUES (1)")
    store.execute("INSERT INTO systems (system_id, dept_id, ip_address) VALUES (1, 1, '127.0.0.1')")
    total = 30_000
    lab.run("setup-queues")
    spool = open_spool(load(environ={"LABMON_STATE_DIR": str(lab.folder / "state")}).config)
    messages = readings(total)
    for start in range(0, total, 500):
        spool.append("metrics_queue", messages[start : start + 500])
    left = [total]
    for _ in range(3):
        flush = lab.start("spool", "flush")
        deadline = time.monotonic() + 30
        while spool.count() > left[-1] - 1000 and time.monotonic() < deadline:
            time.sleep(0.002)
        flush.kill()
        flush.communicate(timeout=10)
        left.append(spool.count())
    assert total > left[1] > 0
    lab.run("spool", "flush")
    lab.run("consume", "--until-empty")
    assert store.execute("SELECT count(*) FROM metrics").fetchone()[0] == total


def test_the_server_is_killed_in_the_middle_of_a_flush(lab, broker, store):
    store.execute("INSERT INTO departments (dept_id) VALUES (1)")
    store.execute("INSERT INTO systems (system_id, dept_id, ip_address) VALUES (1, 1, '127.0.0.1')")
    total = 30_000
    lab.run("setup-queues")
    spool = open_spool(load(environ={"LABMON_STATE_DIR": str(lab.folder / "state")}).config)
    spool.append("metrics_queue", readings(total))
    flush = lab.start("spool", "flush")
    deadline = time.monotonic() + 30
    while spool.count() > total - 2000 and time.monotonic() < deadline:
        time.sleep(0.002)
    broker.kill()
    _, said = flush.communicate(timeout=60)
    assert flush.returncode == 4, said
    assert "Traceback" not in said
    broker.start()
    lab.run("spool", "flush")
    lab.run("consume", "--until-empty")
    assert store.execute("SELECT count(*) FROM metrics").fetchone()[0] == total


def test_a_damaged_spool_is_set_aside_and_the_command_succeeds(lab, broker):
    broker.stop()
    (lab.folder / "state").mkdir(mode=0o711)
    (lab.folder / "state" / "spool.db").write_bytes(b"torn" * 3000)
    done = lab.run(*SCAN)
    assert "set aside as spool.db.corrupt-" in done.stderr
    status = spooled(lab)
    assert (status["messages"], status["set_aside"]) == (FOUND, 1)
    assert "1 times the whole file" in lab.run("spool", "status").stdout


def test_what_is_neither_sent_nor_kept_ends_with_code_4_and_a_line_that_says_so(lab, broker):
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    state = lab.folder / "state"
    state.mkdir(mode=0o711)
    command = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=711", "labmon-test", str(state)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"this system mounts no tmpfs: {done.stderr.strip()}")
    try:
        with (state / "other").open("wb", buffering=0) as other:
            while free := os.statvfs(state).f_bavail:
                other.write(b"x" * 4096 * free)
        broker.stop()
        done = lab.run(*SCAN, code=4)
        (line,) = [line for line in done.stderr.splitlines() if "neither" in line]
        assert line.startswith(f"labmon: {FOUND} messages were neither sent nor kept: ")
        assert "Is it running?" in line
    finally:
        subprocess.run(["umount", str(state)], check=True)


def test_the_status_is_for_people_and_for_programs(lab, broker):
    empty = lab.run("spool", "status").stdout
    assert str(lab.folder / "state" / "spool.db") in empty
    assert "Messages  0" in empty
    assert not (lab.folder / "state").exists()
    broker.stop()
    lab.run(*SCAN)
    shown = lab.run("spool", "status").stdout
    assert f"Messages  {FOUND}" in shown
    assert "at most 256" in shown
    assert "at most 7 d" in shown
    assert "discovery_queue" in shown
    rows = lab.run("spool", "status", "-f", "csv").stdout.splitlines()
    assert rows[0] == "queue,messages,oldest_age_seconds"
    assert rows[1].startswith(f"discovery_queue,{FOUND},")
    bound = json.loads(lab.run("spool", "status", "-f", "json", LABMON_SPOOL_MAX_BYTES="2GiB").stdout)
    assert bound["max_bytes"] == 2 * 2**30


# Queues that take nothing, and messages of another database (findings A9, A3)


def put(lab, queue, messages, database=""):
    spool = open_spool(load(environ={"LABMON_STATE_DIR": str(lab.folder / "state")}).config)
    spool.append(queue, messages, database=database)


def test_a_misspelt_queue_holds_up_no_other_and_is_not_made_and_can_be_dropped(lab, broker):
    put(lab, "metrcs_queue", readings(3))
    put(lab, "discovery_queue", readings(2))
    lab.run("setup-queues")
    done = lab.run("spool", "flush", code=4)
    assert "sent: 2; still in the spool: 3\n" in done.stderr
    assert "metrcs_queue: " in done.stderr.splitlines()[-1]
    assert done.stderr.endswith("See: labmon spool list\n")
    listed = json.loads(lab.run("spool", "list", "-f", "json").stdout)
    assert [(one["queue"], one["database"]) for one in listed] == [("metrcs_queue", "any")] * 3
    assert json.loads(listed[0]["body"])["system_id"] == 1
    assert "metrcs_queue" in lab.run("spool", "list", "--limit", "1").stdout

    assert "--queue, --other-database, or --all" in lab.run("spool", "drop", code=2).stderr
    assert "--yes" in lab.run("spool", "drop", "--queue", "metrcs_queue", code=2).stderr
    assert lab.run("spool", "drop", "--queue", "discovery_queue", "--yes").stderr == "deleted: 0\n"
    assert "no queue 'nope'" in lab.run("spool", "drop", "--queue", "nope", "--yes", code=2).stderr
    assert lab.run("spool", "drop", "--queue", "metrcs_queue", "--yes").stderr == "deleted: 3\n"
    assert lab.run("spool", "flush").stderr == "the spool is empty\n"
    assert lab.run("spool", "list").stderr == "the spool is empty\n"


def test_a_flush_makes_no_queue_and_says_which_command_does(lab, broker):
    put(lab, "metrics_queue", readings(1))
    assert "labmon setup-queues" in lab.run("spool", "flush", code=4).stderr
    lab.run("setup-queues")
    assert lab.run("spool", "flush").stderr == "sent: 1\n"


def test_what_is_about_another_database_is_set_aside_shown_and_never_sent(lab, broker, store):
    lab.run("collect", "--all", code=None)  # reads the inventory, and with it the database's identity
    (ours,) = store.execute("SELECT inventory::text FROM labmon_identity").fetchone()
    lab.run("setup-queues")
    put(lab, "metrics_queue", readings(2), "0" * 32)
    put(lab, "metrics_queue", readings(1), ours)
    done = lab.run("spool", "flush")
    assert done.stderr.splitlines() == [
        "sent: 1",
        "about another database, and not sent: 2. See: labmon spool list --other-database",
    ]
    assert "2 about another database" in lab.run("spool", "status").stdout
    assert spooled(lab)["other_database"] == 2
    listed = json.loads(lab.run("spool", "list", "--other-database", "-f", "json").stdout)
    assert [one["database"] for one in listed] == [f"another ({'0' * 32})"] * 2
    said = lab.run("consume", "--until-empty", code=6).stderr
    assert "metrics_queue: 0 stored, 1 to the dead letters" in said  # a machine that nobody knows
    assert lab.run("spool", "drop", "--other-database", "--yes").stderr == "deleted: 2\n"


@pytest.mark.parametrize("way", ["direct", "queue"])
def test_a_mistyped_database_gets_no_reading_of_the_right_one(lab, own_postgres_server, store_url, way):
    """Machine 1 of one database is not machine 1 of another."""
    right, wrong = own_postgres_server.url(), store_url
    lab.environ["QUEUE_ENABLED"] = str(way == "queue").lower()
    lab.run("db", "migrate", LABMON_DATABASE_URL=right)
    for url in (right, wrong):
        with psycopg.connect(url) as connection:
            connection.execute("INSERT INTO departments (dept_id) VALUES (1)")
            connection.execute("INSERT INTO systems (dept_id, ip_address) VALUES (1, '127.0.0.9')")
    key = lab.folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    lab.environ |= {"LABMON_DATABASE_URL": right, "LABMON_COLLECT_KEY_FILES": str(key)}
    lab.run("collect", "--host", "127.0.0.8", code=None)  # reads the inventory, and sends nothing
    own_postgres_server.stop()
    done = lab.run("collect", "--all", code=None)  # nothing listens: a status of machine 1
    assert "Messages waiting in the spool: 1" in done.stderr
    lab.run("consume", "--until-empty", LABMON_DATABASE_URL=wrong)
    done = lab.run("collect", "--host", "127.0.0.8", code=None, LABMON_DATABASE_URL=wrong)
    assert "1 message in the spool is about another database. See: labmon spool list" in done.stderr
    lab.run("consume", "--until-empty", LABMON_DATABASE_URL=wrong)
    with psycopg.connect(wrong) as connection:
        assert connection.execute("SELECT status FROM systems").fetchall() == [("discovered",)]
    own_postgres_server.start()
    lab.run("collect", "--host", "127.0.0.8", code=None)
    assert spooled(lab)["messages"] == 0
    lab.run("consume", "--until-empty")
    with psycopg.connect(right) as connection:
        assert connection.execute("SELECT status <> 'discovered' FROM systems").fetchall() == [(True,)]


# Without a queue a flush stores, since nothing would consume what it publishes


@pytest.fixture
def plain(lab, store):
    """No queue is enabled, and none was made; with one machine in the inventory."""
    store.execute("INSERT INTO departments (dept_id) VALUES (1)")
    store.execute("INSERT INTO systems (system_id, dept_id, ip_address) VALUES (1, 1, '127.0.0.1')")
    return lab


def test_without_a_queue_a_flush_stores_what_waits(plain, store):
    put(plain, "metrics_queue", readings(3))
    assert plain.run("spool", "flush").stderr == "stored: 3\n"
    assert store.execute("SELECT count(*) FROM metrics").fetchone() == (3,)
    assert store.execute("SELECT to_regclass('labmon_queue')").fetchone() == (None,)
    assert spooled(plain)["messages"] == 0


def test_without_a_queue_nothing_is_published_where_queues_exist(plain, store):
    plain.run("setup-queues")
    put(plain, "metrics_queue", readings(2))
    plain.run("spool", "flush")
    assert store.execute("SELECT count(*) FROM metrics").fetchone() == (2,)
    rows = json.loads(plain.run("queue-depth", "-f", "json", code=None).stdout)
    assert [row["ready"] for row in rows] == [0, 0, 0]


def test_a_flush_says_what_can_never_be_stored(plain):
    put(plain, "metrics_queue", [*readings(1), *readings(1, system_id=99)])
    said = plain.run("spool", "flush").stderr
    assert "not stored: unknown system: system_id 99" in said
    assert spooled(plain)["messages"] == 0


def test_without_a_database_a_flush_leaves_everything_in_the_spool(plain):
    put(plain, "metrics_queue", readings(2))
    plain.environ["LABMON_DATABASE_URL"] = "postgresql://127.0.0.1:1/nothing"
    said = plain.run("spool", "flush", code=5).stderr
    assert said.startswith("stored: 0; still in the spool: 2\n")
    assert spooled(plain)["messages"] == 2
