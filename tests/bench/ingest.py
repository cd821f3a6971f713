"""How fast one worker process stores what a queue brings, beside the loop that most people write first.

    python -m tests.bench.ingest [--broker rabbitmq] [--messages 60000] [--seconds 20]

Private servers with their durable settings; messages as in the guide, of 2,000 machines; the installed
`labmon consume`. Prints a table: each figure, and beside it its peer from the same run.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pika
import psycopg
from rich.console import Console
from rich.table import Table

from labmon.brokers import open_broker
from labmon.brokers.base import Message
from labmon.config.load import load
from labmon.messages import Metrics, Readings, encode
from labmon.store.migrate import migrate
from tests.acceptance.conftest import LABMON
from tests.chaos.conftest import KINDS, environ_of
from tests.support.servers import PostgresServer

SYSTEMS = 2000
BATCH = 500
NAIVE = 3000
"""Messages for the naive loop, which is slow."""

PER_SECOND = 500
"""Messages a second while the delay is measured."""

EVENTS = {"events off": {"LABMON_EVENTS_KEEP": "0s"}, "events on": {"LABMON_EVENTS_KEEP": "7d"}}

PATIENCE = 300.0


@dataclass
class Run:
    """What storing took."""

    messages: int
    seconds: float
    cpu: float  #: seconds of the worker process
    rss: int = 0  #: its peak, in bytes

    @property
    def rate(self) -> float:
        return self.messages / self.seconds

    def __str__(self) -> str:
        each = f"{1e6 * self.cpu / self.messages:.0f} µs of CPU each"
        return f"{self.rate:,.0f}/s, {each}"


class Bench:
    """A store and a broker, and the settings by which labmon finds them."""

    def __init__(self, url: str, environ: dict[str, str], folder: Path) -> None:
        self.url = url
        self.environ = environ | {"LABMON_DATABASE_URL": url, "LABMON_STATE_DIR": str(folder / "state")}
        self.folder = folder
        self.published = 0
        self._began = datetime.now(UTC) - timedelta(hours=2)
        config = load(environ=self.environ).config
        self.queue = config.queue.metrics_queue
        self.broker = open_broker(config.queue, store_url=url)
        self.broker.declare(self.queue)

    def publish(self, count: int) -> tuple[int, datetime]:
        """That many new readings, a batch at a time. Returns the key of the last one."""
        for _ in range(count // BATCH):
            batch = [self._next() for _ in range(BATCH)]
            self.broker.publish(self.queue, [Message.new(encode(one), one.routing_key) for one in batch])
        return batch[-1].system_id, batch[-1].collected_at

    def _next(self) -> Metrics:
        """Of one machine after the other, in turn."""
        turn, place = divmod(self.published, SYSTEMS)
        self.published += 1
        return reading(1 + place, self._began + timedelta(milliseconds=100 * turn, microseconds=place))

    @contextmanager
    def worker(self, **environ: str) -> Iterator[int]:
        """`labmon consume` in a process of its own: its pid."""
        with open(self.folder / "worker.log", "w") as log:
            process = subprocess.Popen(
                [LABMON, "consume", "--queue", "metrics"],
                env=os.environ | self.environ | environ,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            yield process.pid
        finally:
            process.terminate()
            process.wait(60)


def reading(system_id: int, at: datetime) -> Metrics:
    """A message as the guide shows it: eight fields."""
    return Metrics(
        system_id=system_id,
        collected_at=at,
        metrics=Readings(
            cpu_percent=45.23,
            ram_percent=67.89,
            disk_percent=55.12,
            network_sent_mbps=12.45,
            network_recv_mbps=8.32,
            gpu_percent=78.90,
            uptime_seconds=345600,
            logged_in_users=3,
        ),
    )


def ingest(bench: Bench, messages: int, **environ: str) -> Run:
    """A full queue, from the first row to the last."""
    with psycopg.connect(bench.url, autocommit=True) as session:
        stored, last = count(session), bench.publish(messages)
        with bench.worker(**environ) as pid:
            wait_until(lambda: count(session) > stored)
            missing, started, used = messages - (count(session) - stored), time.perf_counter(), cpu(pid)
            wait_until(lambda: is_stored(session, last))
            wait_until(lambda: count(session) == stored + messages)
            return Run(missing, time.perf_counter() - started, cpu(pid) - used, peak_rss(pid))


def naive(bench: Bench, port: int) -> Run:
    """pika with prefetch 1, json, one row, one commit, one ack."""
    bench.publish(NAIVE)
    fields = [field for field in json.loads(encode(reading(1, datetime.now(UTC))))["metrics"]]
    columns = ", ".join(["system_id", "collected_at", *fields])
    insert = f"INSERT INTO metrics ({columns}) VALUES ({', '.join(['%s'] * (2 + len(fields)))})"
    connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port))
    channel = connection.channel()
    channel.basic_qos(prefetch_count=1)
    with psycopg.connect(bench.url) as session:
        started, used = time.perf_counter(), time.process_time()
        for number, (method, _, body) in enumerate(channel.consume(bench.queue), 1):
            one = json.loads(body)
            values = [one["metrics"][field] for field in fields]
            session.execute(insert, [one["system_id"], one["collected_at"], *values])
            session.commit()
            channel.basic_ack(method.delivery_tag)
            if number == NAIVE:
                break
        run = Run(NAIVE, time.perf_counter() - started, time.process_time() - used)
    connection.close()
    return run


def delays(bench: Bench, seconds: int) -> list[float]:
    """Seconds from publishing to commit, of readings that come evenly, sorted.

    `collected_at` is the time of publishing, and the server remembers each commit's.
    """
    with bench.worker(), psycopg.connect(bench.url, autocommit=True) as session:
        stored, together = count(session), 5
        bench.publish(BATCH)
        wait_until(lambda: count(session) == stored + BATCH)
        began, started = datetime.now(UTC), time.perf_counter()
        for turn in range(PER_SECOND * seconds // together):
            time.sleep(max(0.0, started + turn * together / PER_SECOND - time.perf_counter()))
            now = datetime.now(UTC)
            batch = [reading(1 + (turn * together + place) % SYSTEMS, now) for place in range(together)]
            bench.broker.publish(bench.queue, [Message.new(encode(one), one.routing_key) for one in batch])
        wait_until(lambda: count(session) == stored + BATCH + PER_SECOND * seconds, 0.1)
        rows = session.execute(
            "SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin) - collected_at)::float8 "
            "FROM metrics WHERE collected_at >= %s ORDER BY 1",
            [began],
        ).fetchall()
    return [row[0] for row in rows]


def count(session: psycopg.Connection) -> int:
    return session.execute("SELECT count(*) FROM metrics").fetchone()[0]


def is_stored(session: psycopg.Connection, key: tuple[int, datetime]) -> bool:
    """Cheap enough to ask all the time."""
    query = "SELECT FROM metrics WHERE (system_id, collected_at) = (%s, %s)"
    return session.execute(query, key).fetchone() is not None


def wait_until(condition: Callable[[], bool], pause: float = 0.005) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the worker does not store what was published")
        time.sleep(pause)


def cpu(pid: int) -> float:
    """Seconds that the process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_rss(pid: int) -> int:
    """Bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def ms(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms"


def measure(kind: str, messages: int, seconds: int) -> Iterator[tuple[str, str, str]]:
    """Rows of the table: what, the figure, its peer."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="labmon-bench-")))
        store = stack.enter_context(PostgresServer(fsync=True, settings={"track_commit_timestamp": "on"}))
        broker = store if kind == "postgres" else stack.enter_context(KINDS[kind]())
        with psycopg.connect(store.url()) as session:
            migrate(session)
            session.execute("INSERT INTO departments (dept_id) VALUES (1)")
            session.execute(
                "INSERT INTO systems (system_id, dept_id) SELECT n, 1 FROM generate_series(1, %s) n",
                [SYSTEMS],
            )
            # The naive loop makes none.
            session.execute("SELECT labmon_metrics_day(current_date - ago) FROM generate_series(0, 1) ago")
        bench = Bench(store.url(), environ_of(broker), folder)
        stack.callback(bench.broker.close)
        peer = naive(bench, broker.port) if kind == "rabbitmq" else None
        for how, environ in EVENTS.items():
            run = ingest(bench, messages, **environ)
            times = f" ({run.rate / peer.rate:.1f} times)" if peer else ""
            what = f"{kind}: stored by one worker process, {how}"
            yield what, f"{run}{times}", f"naive loop {peer}" if peer else ""
        yield f"{kind}: its memory at most", f"{run.rss / 2**20:.0f} MiB", ""
        if seconds:
            took = delays(bench, seconds)
            p50, p99 = took[len(took) // 2], took[len(took) * 99 // 100]
            what = f"{kind}: from publishing to commit at {PER_SECOND}/s, p99"
            yield what, ms(p99), f"median {ms(p50)}, worst {ms(took[-1])}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--broker", choices=["rabbitmq", "redis", "postgres"], default="rabbitmq")
    parser.add_argument("--messages", type=int, default=60_000)
    parser.add_argument("--seconds", type=int, default=20, help="of measuring the delay; 0: leave it out")
    chosen = parser.parse_args()
    table = Table("what", "figure", "its peer", title="labmon consume")
    for row in measure(chosen.broker, chosen.messages, chosen.seconds):
        table.add_row(*row)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
