"""How the costs grow with the number of systems: CPU seconds at four sizes, and the exponent through them.

    python -m tests.bench.growth [--sizes 2500,5000,10000,20000] [--only NAME]

Of dead letters there are ten times as many as systems; `ticks` and `listing` may well be given 100,000.

Linear work has an exponent of 1, work that compares all with all one of 2; above 1.15 the exit code is 1.
Counted is the CPU time of the database's backend (of the command itself where a command is measured), so
other processes on the machine change nothing. Readings come a minute apart, in a time of their own.
"""

import argparse
import math
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from psycopg import Connection

from labmon import pg
from labmon.alerts.deliveries import whereabouts
from labmon.messages import Alert
from labmon.store.migrate import migrate
from tests.bench.dead_letters import dead_letters
from tests.support.servers import PostgresServer

LIMIT = 1.15
SIZES = (2_500, 5_000, 10_000, 20_000)
LAB = 25  #: systems in a lab
BEGIN = datetime(2026, 3, 2, tzinfo=UTC)

Costs = dict[str, float]


def campus(connection: Connection, systems: int) -> None:
    """So many systems in labs of 25 and networks of 256, and the rules of a new database."""
    migrate(connection)
    connection.execute("INSERT INTO departments VALUES (1)")
    connection.execute(
        "INSERT INTO labs SELECT n, 1, n::text FROM generate_series(0, %s) n", [systems // LAB]
    )
    connection.execute(
        "INSERT INTO systems (dept_id, lab_id, ip_address, hostname) "
        "SELECT 1, n / %s, '10.0.0.0'::inet + n, 'pc-' || n FROM generate_series(1, %s) n",
        [LAB, systems],
    )
    connection.commit()


def cpu(connection: Connection) -> float:
    """CPU seconds of the session's backend so far."""
    return int(Path(f"/proc/{connection.info.backend_pid}/schedstat").read_text().split()[0]) / 1e9


def measure(connection: Connection, minute: int, which: str) -> None:
    """A reading of each of these systems."""
    now = BEGIN + timedelta(minutes=minute)
    connection.execute("SELECT labmon_metrics_day(%s::date)", [now])
    connection.execute(
        "INSERT INTO metrics (system_id, collected_at, cpu_percent, disk_percent, ram_total_bytes, "
        f"disk_total_bytes) SELECT system_id, %s, 5, 50, 2^34, 2^40 FROM systems WHERE {which}",
        [now],
    )
    connection.execute(f"UPDATE systems SET last_collected = %s WHERE {which}", [now])
    connection.commit()


def tick(connection: Connection, minute: int) -> float:
    """CPU seconds of one."""
    before = cpu(connection)
    connection.execute("SELECT labmon_alerts_tick(%s, '{}')", [BEGIN + timedelta(minutes=minute)])
    connection.commit()
    took = cpu(connection) - before
    assert not connection.execute("SELECT place, said FROM alert_errors").fetchall()
    return took


def ticks(connection: Connection, systems: int) -> Costs:
    """While all are measured, and while all but one of them are gone."""
    for minute in range(5):
        measure(connection, minute, "true")
        quiet = tick(connection, minute)
    after = []
    for minute in range(5, 19):
        measure(connection, minute, "system_id = 1")
        after.append(tick(connection, minute))
    covered = connection.execute("SELECT count(DISTINCT system_id) FROM alert_covers").fetchone()
    assert covered == (systems - 1,), covered
    return {"tick": quiet, "tick, power cut": max(after), "tick, power is off": sorted(after[-5:])[2]}


def sightings(connection: Connection, systems: int) -> Costs:
    """A look at every system by a session that made its plans before the alerts of all groups were opened."""

    def look(count: int) -> None:
        connection.execute(
            "SELECT labmon_alerts_apply(array_agg("
            "(rule_id, systems.system_id, '', %s, 1, 5, false, false)::labmon_sighting)) "
            "FROM systems, alert_rules WHERE kind = 'no_data' AND systems.system_id <= %s",
            [BEGIN, count],
        )

    for _ in range(10):
        look(1)
    connection.execute(
        "INSERT INTO alert_incidents (rule_id, alert_type, kind, system_id, subject, severity, value, "
        "threshold, since, last_at, fired_at) "
        "SELECT rule_id, name, kind, 0, 'group ' || n, severity, 99, threshold, %(at)s, %(at)s, %(at)s "
        "FROM alert_rules, generate_series(1, %(groups)s) AS n WHERE kind = 'network_down'",
        {"at": BEGIN, "groups": systems // 20},
    )
    before = cpu(connection)
    look(systems)
    connection.commit()
    return {"sightings": cpu(connection) - before}


def routing(connection: Connection, systems: int) -> Costs:
    """Where the alerts of every tenth system belong, 500 at a time."""
    alerts = [
        Alert(
            system_id=n,
            alert_type="hot",
            severity="warning",
            value=99.0,
            threshold=90.0,
            at=BEGIN,
            alert_id=n,
        )
        for n in range(1, systems, 10)
    ]
    before = cpu(connection)
    for first in range(0, len(alerts), 500):
        whereabouts(connection, alerts[first : first + 500])
    return {"routing of alerts": cpu(connection) - before}


def listing(connection: Connection, systems: int) -> Costs:
    """`labmon systems list`, as a table and as JSON, within 100 MiB."""
    costs = {}
    url = connection.info.dsn
    for form in ("table", "json"):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [Path(sys.executable).parent / "labmon", "systems", "list", "--format", form],
            env={**os.environ, "LABMON_DATABASE_URL": f"{url} password='{PostgresServer.PASSWORD}'"},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert after.ru_maxrss <= 100 * 1024, f"{after.ru_maxrss / 1024:.0f} MiB"
        costs[f"systems list, {form}"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return costs


CASES: dict[str, Callable[[Connection, int], Costs]] = {
    "ticks": ticks,
    "sightings": sightings,
    "routing": routing,
    "listing": listing,
}


NAMES = (*CASES, "dead letters")


def exponent(costs: dict[int, float]) -> float:
    """The slope of the straight line through the logarithms, by least squares."""
    points = [(math.log(size), math.log(cost)) for size, cost in costs.items()]
    x_mean, y_mean = (sum(values) / len(points) for values in zip(*points, strict=True))
    return sum((x - x_mean) * (y - y_mean) for x, y in points) / sum((x - x_mean) ** 2 for x, _ in points)


@contextmanager
def connected(server: PostgresServer) -> Iterator[Connection]:
    with server.database() as name, pg.connect(server.url(name), name="bench") as connection:
        yield connection


def growth(server: PostgresServer, case: str, sizes: tuple[int, ...]) -> dict[str, dict[int, float]]:
    """CPU seconds of each thing that the case measures, by number of systems, or of dead letters."""
    costs: dict[str, dict[int, float]] = {}
    for size in sizes:
        if case == "dead letters":
            for name, cost in dead_letters(10 * size).items():
                costs.setdefault(name, {})[10 * size] = cost
            continue
        with connected(server) as connection:
            campus(connection, size)
            connection.execute("ANALYZE systems")
            connection.commit()
            for name, cost in CASES[case](connection, size).items():
                costs.setdefault(name, {})[size] = cost
    return costs


def main() -> int:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--sizes", default=",".join(map(str, SIZES)))
    arguments.add_argument("--only", choices=NAMES)
    given = arguments.parse_args()
    sizes = tuple(map(int, given.sizes.split(",")))
    steep = []
    with PostgresServer() as server:
        for case in [given.only] if given.only else NAMES:
            for name, costs in growth(server, case, sizes).items():
                slope = exponent(costs) if len(costs) > 1 else 0.0
                steep += [name] if slope > LIMIT else []
                figures = "  ".join(f"{size:,}: {cost:.3f} s" for size, cost in costs.items())
                print(f"{name:22} {figures}  exponent {slope:.2f}", flush=True)
    if steep:
        print(f"faster than the work ({LIMIT}): {', '.join(steep)}", file=sys.stderr)
    return bool(steep)


if __name__ == "__main__":
    raise SystemExit(main())
