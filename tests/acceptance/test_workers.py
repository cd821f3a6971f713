"""`labmon consume --workers`: processes that are killed, stopped, flooded and drained."""

import json
import os
import re
import signal
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import timedelta

import psycopg
import pytest

from labmon.brokers.base import Message
from labmon.brokers.postgres.broker import PostgresBroker
from labmon.messages import Metrics, Readings, encode, utcnow
from labmon.store.workers import recorded
from tests.support.clock import clock

QUEUE = "metrics_queue"


@pytest.fixture
def lab(lab, store_url):
    lab.environ["LABMON_DATABASE_URL"] = store_url
    lab.run("setup-queues")
    with psycopg.connect(store_url) as connection:
        connection.execute("INSERT INTO departments (dept_id) VALUES (1)")
        connection.execute(
            "INSERT INTO systems (system_id, dept_id) SELECT n, 1 FROM generate_series(1, 10) n"
        )
    return lab


@pytest.fixture
def publish(store_url):
    began = utcnow() - timedelta(hours=1)

    def put(first, past):
        """The readings with these numbers."""
        rows = [
            Metrics(
                system_id=1 + number % 10,
                collected_at=began + timedelta(milliseconds=number),
                metrics=Readings(cpu_percent=1.0),
            )
            for number in range(first, past)
        ]
        with PostgresBroker(store_url) as broker:
            broker.publish(QUEUE, [Message.new(encode(row)) for row in rows])

    return put


@pytest.fixture
def stored(store_url):
    def count():
        with psycopg.connect(store_url) as connection:
            return connection.execute("SELECT count(*) FROM metrics").fetchone()[0]

    return count


@pytest.fixture
def slow(store_url):
    """Storing a batch takes this long from now on."""

    def make(seconds):
        with psycopg.connect(store_url) as connection:
            connection.execute(f"""
                CREATE OR REPLACE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN PERFORM pg_sleep({seconds}); RETURN NULL; END $$;
                CREATE OR REPLACE TRIGGER slow AFTER UPDATE ON systems
                FOR EACH STATEMENT EXECUTE FUNCTION slow();
            """)

    return make


class Consume:
    """A running `labmon consume`."""

    def __init__(self, lab, process):
        self.lab = lab
        self.process = process

    def status(self):
        """What `--status --format json` prints, in less time."""
        with psycopg.connect(self.lab.environ["LABMON_DATABASE_URL"]) as connection:
            return [asdict(row) for row in recorded(connection)]

    def pids(self):
        """Of its worker processes that work, by number."""
        return {
            row["number"]: row["pid"]
            for row in self.status()
            if row["pid"] and row["state"] in ("idle", "busy")
        }

    def until(self, condition, seconds=30):
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.process.stderr.read()
            assert time.monotonic() < deadline, self.status()
            time.sleep(0.2)

    def children(self):
        """Its worker processes, as the system has them."""
        found = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, text=True
        )
        return [int(word) for word in found.stdout.split()]

    def stop(self, number=signal.SIGTERM, seconds=30):
        """Its exit code, and what it said."""
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=seconds)
        assert "Traceback" not in said, said
        return self.process.returncode, said


@pytest.fixture
def consume(lab):
    @contextmanager
    def start(*arguments, **environ):
        lab.environ |= environ
        running = Consume(lab, lab.start("consume", *arguments))
        try:
            yield running
        finally:
            if running.process.poll() is None:
                running.process.kill()
            running.process.communicate()

    return start


def doctor(lab):
    (lab.folder / "password").write_text("secret\n")
    return lab.run("doctor", LABMON_COLLECT_PASSWORD_FILE=str(lab.folder / "password")).stdout


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_workers_empty_the_queues_and_end(lab, publish, stored):
    publish(0, 3000)
    assert "metrics_queue: 3000 stored" in lab.run("consume", "--workers", "2", "--until-empty").stderr
    assert stored() == 3000


def test_a_worker_that_is_killed_is_replaced_and_counted(consume, lab, publish, stored):
    with consume("--workers", "2") as running:
        running.until(lambda: len(running.pids()) == 2)
        before = running.pids()
        os.kill(before[1], signal.SIGKILL)
        running.until(lambda: running.pids().get(1) not in (None, before[1]))
        assert running.pids()[2] == before[2]
        rows = json.loads(lab.run("consume", "--status", "--format", "json").stdout)
        assert {row["number"]: row["restarts"] for row in rows} == {1: 1, 2: 0}
        publish(0, 1000)
        running.until(lambda: stored() == 1000)
        code, said = running.stop()
    assert code == 0
    assert f"process {before[1]} was killed by SIGKILL; replaced in" in said
    assert "metrics_queue: 1000 stored" in said


def test_a_worker_that_hangs_is_killed_and_replaced(consume, lab):
    with consume("--workers", "2", LABMON_CONSUME_STUCK_AFTER="10s") as running:
        running.until(lambda: len(running.pids()) == 2)
        before = running.pids()
        os.kill(before[2], signal.SIGSTOP)
        running.until(lambda: any(row["state"] == "silent" for row in running.status()))
        running.until(lambda: running.pids().get(2) not in (None, before[2]))
        assert not is_alive(before[2])
        assert running.pids()[1] == before[1]
        assert "sent no heartbeat for" in running.stop()[1]


def test_a_worker_that_is_busy_for_longer_than_that_is_left_alone(consume, publish, stored, slow):
    slow(6)
    with consume("--workers", "2", "--queue", "metrics", LABMON_CONSUME_STUCK_AFTER="3s") as running:
        running.until(lambda: len(running.pids()) == 2)
        before = running.pids()
        publish(0, 10)
        running.until(lambda: any(row["state"] == "busy" for row in running.status()))
        running.until(lambda: stored() == 10)
        assert running.pids() == before


def test_the_workers_end_with_their_supervisor(consume, publish, stored, lab):
    with consume("--workers", "3") as running:
        running.until(lambda: len(running.pids()) == 3)
        children = running.children()
        assert len(children) == 3
        running.process.kill()
        deadline = time.monotonic() + 10
        while any(map(is_alive, children)):
            assert time.monotonic() < deadline
            time.sleep(0.1)
    publish(0, 100)
    assert "100 stored" in lab.run("consume", "--until-empty").stderr
    assert stored() == 100


def test_who_was_killed_is_shown_as_dead_and_who_ends_well_is_not_shown(consume, lab, store_url):
    with consume() as running:
        running.until(lambda: running.pids())
        running.process.kill()
    with psycopg.connect(store_url) as connection:
        connection.execute("UPDATE workers SET beat_at = now() - interval '1 minute'")
    assert re.search(r"dead for \d+ (s|min)", lab.run("consume", "--status").stdout)
    assert f"(process {running.process.pid}) sent no heartbeat for" in doctor(lab)
    with consume("--workers", "2") as running:
        running.until(lambda: len(running.pids()) == 2)
        assert running.stop()[0] == 0
        assert not any(row["is_alive"] for row in running.status())


def test_a_deep_queue_gets_more_workers_and_loses_them_again(consume, publish, stored, slow):
    slow(0.5)
    publish(0, 600)
    settings = {
        "LABMON_QUEUE_DEPTH_WARNING": "50",
        "LABMON_CONSUME_SCALE_UP_AFTER": "1s",
        "LABMON_CONSUME_SCALE_DOWN_AFTER": "2s",
        "LABMON_CONSUME_BATCH": "10",
    }
    with consume("--workers", "1..3", **settings) as running:
        running.until(lambda: len(running.pids()) == 3)
        extra = [row for row in running.status() if row["number"] > 1]
        assert {row["queue"] for row in extra} == {QUEUE}
        slow(0)
        running.until(lambda: stored() == 600)
        running.until(lambda: len(running.pids()) == 1)
        assert running.children() == [running.pids()[1]]
        said = running.stop()[1]
    assert "worker 2 helps" in said
    assert "is not needed any more" in said
    assert "metrics_queue: 600 stored" in said


def test_a_process_that_grows_too_large_is_replaced_after_its_batch(consume, publish, stored):
    with consume("--workers", "1", "--max-memory", "20MiB") as running:
        publish(0, 100)
        running.until(lambda: stored() == 100)
        running.until(lambda: any(row["restarts"] for row in running.status()))
        publish(100, 200)
        running.until(lambda: stored() == 200)
        assert "are over the limit of 20 MiB; replaced after its batch" in running.stop()[1]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_finishes_the_batch_in_hand(consume, publish, stored, slow, workers, store_url):
    slow(2)
    with consume("--workers", workers, "--queue", "metrics", "--batch", "10") as running:
        running.until(lambda: running.pids())
        publish(0, 10)
        running.until(lambda: any(row["state"] == "busy" for row in running.status()))
        code, said = running.stop()
    assert (code, stored()) == (0, 10)
    assert "metrics_queue: 10 stored" in said
    with PostgresBroker(store_url) as broker:
        depth = broker.depth(QUEUE)
    assert (depth.ready, depth.in_flight) == (0, 0)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_takes_longer_than_the_grace_time_stays_in_the_queue(
    consume, publish, stored, slow, workers, lab
):
    slow(30)
    arguments = ["--workers", workers, "--queue", "metrics", "--grace", "1s"]
    with consume(*arguments, LABMON_QUEUE_LEASE="3s") as running:
        running.until(lambda: running.pids())
        publish(0, 10)
        running.until(lambda: any(row["state"] == "busy" for row in running.status()))
        began = clock()
        _, said = running.stop()
    assert clock() - began < 12
    assert "not done within the grace time" in said
    assert stored() == 0
    slow(0)
    assert "10 stored" in lab.run("consume", "--until-empty").stderr
    assert stored() == 10


def test_a_database_that_hangs_keeps_nobody_long_from_the_end(lab, consume, own_postgres_server):
    lab.environ["LABMON_DATABASE_URL"] = own_postgres_server.url()
    lab.run("db", "migrate")
    with consume("--grace", "1s") as running:
        running.until(lambda: len(running.status()) == 3)
        with frozen(own_postgres_server):
            time.sleep(6)  # for all that is done beside the workers to come to want something of it
            began = clock()
            running.stop(seconds=60)
            assert clock() - began < 15


@contextmanager
def frozen(server):
    """It accepts connections, and that is all."""
    os.kill(server.pid, signal.SIGSTOP)
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(server.pid)], capture_output=True, text=True)
    pids = [server.pid, *map(int, found.stdout.split())]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):  # who was waiting for a connection that is gone
                os.kill(pid, signal.SIGCONT)


def test_what_will_not_get_better_ends_them_all(lab, consume, store_url):
    with consume("--workers", "2") as running:
        running.until(lambda: len(running.pids()) == 2)
        with psycopg.connect(store_url) as connection:
            connection.execute("ALTER TABLE systems RENAME TO gone")
        with PostgresBroker(store_url) as broker:
            one = Metrics(system_id=1, collected_at=utcnow(), metrics=Readings(load1=1.0))
            broker.publish(QUEUE, [Message.new(encode(one))])
        _, said = running.process.communicate(timeout=30)
    assert running.process.returncode == 5
    assert "systems" in said.splitlines()[-1]
    assert "Traceback" not in said


def test_ctrl_c_ends_them_all(consume):
    with consume("--workers", "2") as running:
        running.until(lambda: len(running.pids()) == 2)
        children = running.children()
        assert running.stop(signal.SIGINT)[0] == 130
    assert not any(map(is_alive, children))


def test_nobody_works(lab):
    done = lab.run("consume", "--status")
    assert (done.stdout, done.stderr) == ("", "no workers. Start them with: labmon consume\n")
    assert json.loads(lab.run("consume", "--status", "-f", "json").stdout) == []
    assert "no worker is running. Start one with: labmon consume" in doctor(lab)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_systemd_is_told(consume, lab, publish, slow, workers):
    slow(3)  # so that stopping takes some time
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        path = str(lab.folder / "notify")
        systemd.bind(path)
        systemd.settimeout(20)
        with consume("--workers", workers, NOTIFY_SOCKET=path, WATCHDOG_USEC="3000000") as running:
            assert systemd.recv(100) == b"READY=1"
            began = clock()
            assert [systemd.recv(100) for _ in range(3)] == [b"WATCHDOG=1"] * 3
            assert clock() - began < 3
            publish(0, 10)
            running.until(lambda: any(row["state"] == "busy" for row in running.status()))
            running.process.terminate()
            while (said := systemd.recv(100)) == b"WATCHDOG=1":
                pass
            assert said == b"STOPPING=1"


def test_a_queue_that_stays_deep_is_an_alert(lab, consume, publish, store_url):
    publish(0, 50)
    lab.run("alerts", "rules", "set", "queue_backlog", "--above", "10", "--clear", "5", "--for", "1s")

    def alerts():
        with psycopg.connect(store_url) as connection:
            return connection.execute("SELECT system_id, alert_type, value FROM alerts").fetchall()

    with consume("--queue", "alert") as running:
        running.until(alerts)
        time.sleep(6)  # and no second one
        assert alerts() == [(0, "queue_backlog:metrics_queue", 50.0)]
