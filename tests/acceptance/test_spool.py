"""The broker goes and comes back: the commands succeed, say so, and everything arrives exactly once."""

import json
import os
import subprocess
import time
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from labmon.brokers.base import Message
from labmon.messages import Metrics, Readings, encode
from labmon.settings import load
from labmon.spool import Spool

SCAN = ["scan", "127.0.0.0/29", "--dept", "1", "--no-names", "--queue-enabled"]
FOUND = 6 + 1
"""The messages of that scan: its hosts, and its end."""


@pytest.fixture
def broker(lab, own_postgres_server):
    """The queue on a server of its own, beside the store."""
    lab.environ |= {
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
    assert "Is the server running? " in line
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
    assert done.stderr.splitlines()[-1].endswith("Is the server running?")
    assert spooled(lab)["messages"] == 2 * FOUND

    broker.start()
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
    running = [lab.start("spool", "flush") for _ in range(4)]
    for process in running:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
    assert spooled(lab)["messages"] == 0
    lab.run("consume", "--until-empty")
    assert counts(store) == [24, 0, 4]


def test_the_queue_is_in_the_store_and_the_store_is_down(lab, own_postgres_server):
    lab.environ["LABMON_DATABASE_URL"] = own_postgres_server.url()
    lab.run("db", "migrate")
    own_postgres_server.stop()
    done = lab.run(*SCAN)
    (line,) = [line for line in done.stderr.splitlines() if "Messages waiting" in line]
    assert f"PostgreSQL at 127.0.0.1:{own_postgres_server.port}" in line
    lab.run("spool", "flush", code=5)
    own_postgres_server.start()
    lab.run("spool", "flush")
    lab.run("consume", "--until-empty")
    with psycopg.connect(own_postgres_server.url()) as store:
        assert counts(store) == [6, 0, 1]


def test_a_broker_that_refuses_is_no_reason_to_lose_anything(lab, broker):
    done = lab.run(*SCAN, QUEUE_PASSWORD="wrong")
    (line,) = [line for line in done.stderr.splitlines() if "Messages waiting" in line]
    assert "password authentication failed" in line
    assert "wrong" not in line
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
    spool = Spool.of(load(environ={"LABMON_STATE_DIR": str(lab.folder / "state")}).config)
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
    spool = Spool.of(load(environ={"LABMON_STATE_DIR": str(lab.folder / "state")}).config)
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
        assert "Is the server running?" in line
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
    assert rows[0] == "queue,messages,oldest_age"
    assert rows[1].startswith(f"discovery_queue,{FOUND},")
    bound = json.loads(lab.run("spool", "status", "-f", "json", LABMON_SPOOL_MAX_BYTES="2GiB").stdout)
    assert bound["max_bytes"] == 2 * 2**30
