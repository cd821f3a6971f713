"""How long an alert takes from the row that raises it to the webhook that receives it, on each broker; and
what a campus without power amounts to.

    python -m tests.bench.delivery [--broker redis] [--alerts 100]

`labmon consume` runs with the [notify] settings as they come: the first second is the wait for company. Each
critical alert is of another machine; the time begins before the row is written. Then 2,000 machines in 80
labs, measured every two seconds, fall silent at once; twenty in another building do not. The rules are the
usual ones with seconds for minutes.
"""

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from rich.console import Console
from rich.table import Table

from labmon.messages import Metrics, Readings
from labmon.store.metrics.record import record_metrics
from labmon.store.migrate import migrate
from tests.chaos.conftest import environ_of
from tests.support.rabbitmq_server import RabbitServer
from tests.support.receiver import Receiver
from tests.support.redis_server import RedisServer
from tests.support.servers import PostgresServer

LABMON = str(Path(sys.executable).parent / "labmon")
SYSTEMS, LABS, SPARED = 2000, 80, 20

RULES = """
[[rule]]
name = "full"
metric = "disk_percent"
threshold = 90
severity = "critical"
[[rule]]
name = "no_data"
kind = "no_data"
threshold = 10
for = "2s"
[[rule]]
name = "lab_down"
kind = "lab_down"
comparison = ">="
threshold = 50
clear = 20
for = "2s"
severity = "critical"
[[rule]]
name = "network_down"
kind = "network_down"
comparison = ">="
threshold = 50
clear = 20
for = "2s"
severity = "critical"
"""


@contextmanager
def campus(broker: str) -> Iterator[tuple[psycopg.Connection, Receiver]]:
    """A store with machines and rules, somebody who is told, and `labmon consume` at work."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="labmon-bench-", dir="/tmp")))
        folder.chmod(0o711)
        store = stack.enter_context(PostgresServer(fsync=True))
        kinds = {"redis": RedisServer, "rabbitmq": RabbitServer}
        queue = stack.enter_context(kinds[broker]()) if broker in kinds else store
        receiver = stack.enter_context(Receiver())
        environ = os.environ | environ_of(queue)
        environ |= {
            "LABMON_DATABASE_URL": store.url(),
            "LABMON_STATE_DIR": str(folder / "state"),
            "LABMON_CONFIG": str(folder / "config.toml"),
            "LABMON_NOTIFY_TARGETS": f'[{{name = "admins", url = "{receiver.url}"}}]',
        }
        (folder / "config.toml").touch()
        (folder / "rules.toml").write_text(RULES)
        connection = stack.enter_context(psycopg.connect(store.url()))
        migrate(connection)
        connection.execute("INSERT INTO departments (dept_id) VALUES (1), (2)")
        connection.execute(
            "INSERT INTO labs (lab_id, dept_id, name) "
            "SELECT n, 1, 'lab ' || n FROM generate_series(1, %s) AS n",
            [LABS],
        )
        connection.execute(
            "INSERT INTO systems (system_id, dept_id, lab_id, ip_address) "
            "SELECT n, CASE WHEN n > %(all)s THEN 2 ELSE 1 END, "
            "CASE WHEN n <= %(all)s THEN 1 + n %% %(labs)s END, '10.1.0.0'::inet + n "
            "FROM generate_series(1, %(all)s + %(spared)s) AS n",
            {"all": SYSTEMS, "labs": LABS, "spared": SPARED},
        )
        connection.commit()
        run = [LABMON, "alerts", "rules", "import", str(folder / "rules.toml"), "--replace"]
        subprocess.run(run, env=environ, check=True, capture_output=True)
        subprocess.run([LABMON, "setup-queues"], env=environ, check=True, capture_output=True)
        consumer = subprocess.Popen([LABMON, "consume"], env=environ, stderr=subprocess.DEVNULL)
        try:
            time.sleep(3)
            yield connection, receiver
        finally:
            consumer.terminate()
            consumer.wait(60)


def measure(connection: psycopg.Connection, systems: range, **readings: float) -> None:
    now = datetime.now(UTC)
    rows = [Metrics(system_id=n, collected_at=now, metrics=Readings(**readings)) for n in systems]
    record_metrics(connection, rows)
    connection.commit()


def delays(connection: psycopg.Connection, receiver: Receiver, alerts: int) -> list[float]:
    """Seconds from row to webhook, one for each alert; they come at random, three a second."""
    began: dict[int, float] = {}
    for system in range(1, alerts + 1):
        time.sleep(random.expovariate(3.0))
        began[system] = time.monotonic()
        measure(connection, range(system, system + 1), disk_percent=95.0)
    deadline = time.monotonic() + 30
    while len(receiver.alerts) < alerts and time.monotonic() < deadline:
        time.sleep(0.05)
    came = {system: one.at for one in receiver.received for system, _, _ in one.alerts}
    assert len(came) == alerts, f"{len(came)} of {alerts} were told"
    return [came[system] - began[system] for system in began]


def power_loss(connection: psycopg.Connection, receiver: Receiver) -> tuple[int, int]:
    """(notifications, alerts in them) until it has been quiet for twenty seconds."""
    everybody, spared = range(1, SYSTEMS + SPARED + 1), range(SYSTEMS + 1, SYSTEMS + SPARED + 1)
    for _ in range(12):
        measure(connection, everybody, load1=1.0)
        time.sleep(2)
    before = len(receiver.received)
    last, known = time.monotonic(), before
    while time.monotonic() - last < 20 or (known == before and time.monotonic() - last < 90):
        measure(connection, spared, load1=1.0)
        time.sleep(2)
        if len(receiver.received) > known:
            known, last = len(receiver.received), time.monotonic()
    news = receiver.received[before:]
    for one in news:
        print("  ", one.document["title"])
    return len(news), sum(len(one.alerts) for one in news)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--broker", choices=["postgres", "redis", "rabbitmq"], action="append")
    parser.add_argument("--alerts", type=int, default=100)
    options = parser.parse_args()
    table = Table("broker", "row to webhook: median", "p99", "worst", "power loss: notifications", "alerts")
    for broker in options.broker or ["postgres", "redis", "rabbitmq"]:
        with campus(broker) as (connection, receiver):
            found = sorted(delays(connection, receiver, options.alerts))
            told, alerts = power_loss(connection, receiver)
        p99 = found[min(len(found) - 1, int(0.99 * len(found)))]
        table.add_row(
            broker,
            f"{statistics.median(found):.2f} s",
            f"{p99:.2f} s",
            f"{found[-1]:.2f} s",
            str(told),
            str(alerts),
        )
    Console().print(table)


if __name__ == "__main__":
    main()
