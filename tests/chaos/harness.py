"""A publisher with a ledger, several workers and real servers; and at the end, the accounts."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import psycopg

from labmon.brokers import open_broker
from labmon.config.load import load
from labmon.store.migrate import migrate
from tests.acceptance.conftest import LABMON
from tests.chaos.publisher import SYSTEMS, number_of
from tests.support.servers import PostgresServer, Server

LONG = os.environ.get("CHAOS") == "long"
SECONDS = 30 if LONG else 5
PER_SECOND = 500


@dataclass
class Accounts:
    """What became of the readings that the publisher answered for."""

    confirmed: int
    stored: int
    lost: int
    buried: int  #: good readings among the dead letters
    delay: float  #: seconds from the last confirmation until the last was stored

    def row(self, what: str) -> str:
        return f"| {what} | {self.confirmed} | {self.lost} | {self.buried} | {self.delay:.1f} s |"


def prepare_store(url):
    """The schema, and the machines that the publisher speaks of."""
    with psycopg.connect(url) as connection:
        migrate(connection)
        connection.execute("INSERT INTO departments (dept_id) VALUES (1)")
        connection.execute(
            "INSERT INTO systems (system_id, dept_id) SELECT n, 1 FROM generate_series(1, %s) n", [SYSTEMS]
        )


@dataclass
class Campus:
    """One store, one broker, and the processes of labmon."""

    folder: Path
    store: PostgresServer
    database: str  #: in it
    broker: Server  #: the store itself, where the queue is in it
    environ: dict[str, str]
    workers: list[subprocess.Popen] = field(default_factory=list)
    publishers: list[subprocess.Popen] = field(default_factory=list)
    sent: int = 0

    def __post_init__(self):
        self.run("setup-queues")

    @property
    def env(self):
        foreign = ("LABMON_", "QUEUE_", "DISCOVERY_QUEUE", "METRICS_QUEUE", "ALERT_QUEUE")
        ours = {
            "LABMON_CONFIG": str(self.folder / "config.toml"),
            "LABMON_STATE_DIR": str(self.folder / "state"),
            "LABMON_DATABASE_URL": self.url,
            "LABMON_DATABASE_CONNECT_TIMEOUT": "2s",
            "LABMON_QUEUE_LEASE": "5s",
            "LABMON_CONSUME_STUCK_AFTER": "4s",
        }
        return {k: v for k, v in os.environ.items() if not k.startswith(foreign)} | ours | self.environ

    @property
    def url(self):
        return self.store.url(self.database)

    @property
    def ledger(self):
        return self.folder / "ledger"

    def run(self, *arguments, codes=(0,)):
        done = subprocess.run(
            [LABMON, *arguments], env=self.env, cwd=self.folder, capture_output=True, text=True, timeout=300
        )
        assert done.returncode in codes, done.stderr
        return done

    def start_worker(self, *arguments):
        log = open(self.folder / f"worker-{len(self.workers)}.log", "w")
        worker = subprocess.Popen(
            [LABMON, "consume", "--queue", "metrics", *arguments],
            env=self.env | {"LABMON_CONSUME_BATCH": "100"},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        log.close()
        self.workers.append(worker)
        return worker

    def start_publisher(self, count, per_second=PER_SECOND, **environ):
        """Publish the next `count` readings."""
        arguments = [str(self.ledger), str(self.sent), str(count), str(per_second)]
        with open(self.folder / "publisher.log", "a") as log:
            publisher = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.publisher", *arguments],
                env=self.env | environ,
                cwd=Path(__file__).parents[2],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.sent += count
        self.publishers.append(publisher)
        return publisher

    def confirmed(self):
        numbers = set()
        if self.ledger.exists():
            for line in self.ledger.read_text().splitlines():
                first, after = map(int, line.split())
                numbers |= set(range(first, after))
        return numbers

    def stored(self):
        with psycopg.connect(self.url) as connection:
            rows = connection.execute("SELECT collected_at FROM readings").fetchall()
        numbers = [number_of(at) for (at,) in rows]
        assert len(numbers) == len(set(numbers)), "a reading is stored twice"
        return set(numbers)

    def until_some_are_stored(self):
        """All are at work then, and there is more to come."""
        deadline = time.monotonic() + 60
        while not self.stored() or not self.registered() >= {worker.pid for worker in self.workers}:
            assert time.monotonic() < deadline, "nothing was stored, or not all began"
            time.sleep(0.1)

    def registered(self):
        """The processes that were started and have said so in the store."""
        with psycopg.connect(self.url) as connection:
            return {pid for (pid,) in connection.execute("SELECT main_pid FROM workers")}

    def buried(self):
        """The readings among the dead letters, with the reasons."""
        config = load(environ={k: v for k, v in self.env.items() if k.startswith(("LABMON", "QUEUE"))}).config
        found = {}
        with open_broker(config.queue, store_url=config.database.url) as broker:
            for letter in broker.dead_letters(config.queue.metrics_queue, limit=100_000):
                try:
                    at = json.loads(letter.message.body)["collected_at"]
                    number = number_of(datetime.fromisoformat(at))
                except (ValueError, KeyError):
                    continue
                found[number] = letter.reason
        return found

    def settle(self, patience=120.0) -> Accounts:
        """Wait until everything that was confirmed is stored, and count."""
        for publisher in self.publishers:
            publisher.wait(patience)
        started = time.monotonic()
        self.run("spool", "flush")
        confirmed = self.confirmed()
        while (missing := confirmed - self.stored()) and time.monotonic() - started < patience:
            if missing <= set(self.buried()):
                break
            time.sleep(0.2)
        delay = time.monotonic() - started
        buried, stored = self.buried(), self.stored()
        return Accounts(
            len(confirmed),
            len(stored),
            len(confirmed - stored - set(buried)),
            len(set(buried) & confirmed),
            delay,
        )

    def processes(self, supervisor):
        """The worker processes of a `labmon consume --workers N`."""
        pid = str(supervisor.pid)
        found = subprocess.run(["ps", "-o", "pid=", "--ppid", pid], capture_output=True, text=True)
        return [int(word) for word in found.stdout.split()]

    def check_workers(self, *killed):
        """None but those has ended, and none has met a bug."""
        for number, worker in enumerate(self.workers):
            said = (self.folder / f"worker-{number}.log").read_text()
            assert "Traceback" not in said, said
            if worker not in killed:
                assert worker.poll() is None, f"worker {number} ended with {worker.returncode}: {said}"

    def close(self):
        for process in self.workers + self.publishers:
            if process.poll() is None:
                process.kill()
            process.wait()
