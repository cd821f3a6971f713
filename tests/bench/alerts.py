"""What the rules cost while measurements are stored: with the trigger and without, in turns, on one server.

    python -m tests.bench.alerts [--rules 50] [--batches 40]

Each batch is one reading of each of 1,000 systems, through the handler that `consume` uses: decode, check,
COPY, insert, commit, on a server with fsync. `of them over` is the share of (rule, system) pairs whose
condition holds: the same ones from batch to batch (`stay`), or each for a hundred readings (`wander`: of
5,000 alerts some fifty begin and some fifty end with every batch). `stored alone` leaves out the decoding.

Then what a batch costs with which thousands of alerts begin, fire and end at once, and what a tick costs
while 2,000 systems of 80 labs are measured, and while all but one of them are gone.
"""

import argparse
import random
import statistics
import time
from datetime import UTC, datetime, timedelta

import psycopg
from rich.console import Console
from rich.table import Table

from labmon.app.open import ingest_settings
from labmon.config.load import load
from labmon.ingest.handlers import handlers
from labmon.messages import Discovery, Metrics, Readings, encode
from labmon.store.inventory.systems import hold, record_discoveries
from labmon.store.metrics.record import record_metrics
from labmon.store.migrate import migrate
from tests.support.servers import PostgresServer

SYSTEMS = 1000
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
PERCENTS = ["cpu_percent", "ram_percent", "disk_percent", "gpu_percent", "cpu_iowait_percent", "swap_percent"]
OTHERS = [
    "network_sent_mbps",
    "network_recv_mbps",
    "load1",
    "disk_read_mbps",
    "process_count",
    "logged_in_users",
]
METRICS = PERCENTS + OTHERS


def prepare(connection, rules: int) -> None:
    migrate(connection)
    record_discoveries(
        connection,
        [
            Discovery(
                scan_id=1,
                dept_id=1,
                ip_address=f"10.0.{n // 250}.{n % 250 + 1}",
                discovered_at=BEGIN,
                scan_type="arp",
            )
            for n in range(SYSTEMS)
        ],
    )
    connection.execute("DELETE FROM alert_rules")
    for number in range(rules):
        threshold = 80 + number // len(METRICS)
        connection.execute(
            "INSERT INTO alert_rules (name, metric, threshold, clear_threshold, hold, clear_hold) "
            "VALUES (%s, %s, %s, %s, '2 min', '2 min')",
            [f"rule_{number}", METRICS[number % len(METRICS)], threshold, threshold - 10],
        )
    connection.commit()


SPELLS = {"stay": 1_000_000, "wander": 100}
"""Readings for which what is over stays so."""


def batch(number: int, over: float, dice: random.Random, spell_of: int) -> list[Metrics]:
    """A reading of every system."""
    rows = []
    for system in range(1, SYSTEMS + 1):
        values = {}
        for metric in METRICS:
            spell = random.Random(f"{system} {metric} {(number + system) // spell_of}").random()
            values[metric] = dice.uniform(86, 99) if spell < over else dice.uniform(5, 60)
        values["process_count"], values["logged_in_users"] = (
            int(values["process_count"]),
            int(values["logged_in_users"]),
        )
        rows.append(
            Metrics(
                system_id=system, collected_at=BEGIN + timedelta(minutes=number), metrics=Readings(**values)
            )
        )
    return rows


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rules", type=int, default=50)
    arguments.add_argument("--batches", type=int, default=40, help="of each kind")
    given = arguments.parse_args()
    table = Table(title=f"{given.rules} rules, batches of {SYSTEMS:,} metrics of {SYSTEMS:,} systems")
    for heading in ("of them over", "they", "firing", "", "without", "with", "ratio"):
        table.add_column(heading, justify="right")
    with PostgresServer(fsync=True) as server:
        for over, way in ((0.0, "stay"), (0.01, "stay"), (0.01, "wander"), (0.1, "stay"), (0.1, "wander")):
            with server.database() as name:
                for row in measured(server.url(name), given.rules, given.batches, over, SPELLS[way]):
                    table.add_row(f"{over:.0%}", way if over else "", *row)
        with server.database() as name:
            together = at_once(server.url(name), given.rules)
        with server.database() as name:
            gone = blackout(server.url(name))
    Console(width=100).print(table)
    print(together)
    for what, milliseconds, told in gone:
        print(f"a tick while {what}: {milliseconds:.0f} ms; {told} alerts told")


def blackout(url: str) -> list[tuple[str, float, int]]:
    """(what goes on, milliseconds of the tick in the middle, alerts told by all of them)"""
    with psycopg.connect(url) as connection:
        migrate(connection)
        connection.execute(
            "INSERT INTO departments VALUES (1);"
            "INSERT INTO labs SELECT n, 1, n::text FROM generate_series(1, 80) n;"
            "INSERT INTO systems (dept_id, lab_id, ip_address) "
            "SELECT 1, 1 + n / 25, '10.0.0.0'::inet + n FROM generate_series(1, 1999) n;"
            "UPDATE alert_rules SET enabled = true"
        )
        return [
            ("2,000 systems are measured", *ticks(connection, range(0, 6), "true")),
            ("all but one of them are gone", *ticks(connection, range(6, 26), "system_id = 1")),
            ("they are back", *ticks(connection, range(26, 36), "true")),
        ]


def ticks(connection, minutes: range, who: str) -> tuple[float, int]:
    took, told = [], 0
    for minute in minutes:
        now = BEGIN + timedelta(minutes=minute)
        connection.execute("SELECT labmon_metrics_day(%s::date)", [now])
        connection.execute(
            "INSERT INTO metrics (system_id, collected_at, cpu_percent, disk_percent, ram_total_bytes, "
            f"disk_total_bytes) SELECT system_id, %s, 5, 50, 2^34, 2^40 FROM systems WHERE {who}",
            [now],
        )
        connection.execute(f"UPDATE systems SET last_collected = %s WHERE {who}", [now])
        connection.commit()
        started = time.perf_counter()
        told += connection.execute("SELECT labmon_alerts_tick(%s, '{}')", [now]).fetchone()[0]
        connection.commit()
        took.append(1000 * (time.perf_counter() - started))
    assert not connection.execute("SELECT said FROM alert_errors").fetchall()
    return statistics.median(took), told


def at_once(url: str, rules: int) -> str:
    """What a batch takes with which a tenth of the pairs goes over, fires, and is over."""
    dice = random.Random(1)
    took = []
    with psycopg.connect(url) as connection:
        prepare(connection, rules)
        for number in range(
            21
        ):  # quiet, over from the 7th on, quiet from the 14th on; all hold for 2 minutes
            rows = batch(number, 0.1 if 7 <= number < 14 else 0.0, dice, SPELLS["stay"])
            started = time.perf_counter()
            record_metrics(connection, rows)
            connection.commit()
            took.append(1000 * (time.perf_counter() - started))
        firing = connection.execute(
            "SELECT count(*) FROM alert_incidents WHERE fired_at IS NOT NULL"
        ).fetchone()[0]
    usual = statistics.median(took[2:7])
    steps = {"begin": took[7], "fire": took[9], "end": took[16]}
    said = ", ".join(
        f"{what} {one:,.0f} ms ({1000 * (one - usual) / firing:.0f} µs each)" for what, one in steps.items()
    )
    return f"{firing:,} alerts at once: {said}; a batch of which none changes: {usual:.0f} ms"


def measured(url: str, rules: int, batches: int, over: float, spell_of: int):
    config = load(environ={"LABMON_DATABASE_URL": url}).config
    handle = handlers(ingest_settings(config))[config.queue.metrics_queue]
    dice = random.Random(1)
    took = {(way, trigger): [] for way in ("handled", "stored alone") for trigger in ("DISABLE", "ENABLE")}
    with psycopg.connect(url) as connection:
        prepare(connection, rules)
        for number in range(2 * batches + 8):
            way = "handled" if number % 4 < 2 else "stored alone"
            # Every other batch without the trigger: both find the same tables, caches and checkpoints.
            trigger = ("ENABLE", "DISABLE")[number % 2]
            rows = batch(number, over, dice, spell_of)
            bodies = [encode(row) for row in rows]
            connection.execute(f"ALTER TABLE metrics {trigger} TRIGGER labmon_alerts")
            connection.commit()
            started = time.perf_counter()
            if way == "handled":
                assert not handle(connection, bodies)
            else:
                hold(connection, range(1, SYSTEMS + 1))
                record_metrics(connection, rows)
            connection.commit()
            if number >= 8:
                took[way, trigger].append(time.perf_counter() - started)
        firing = connection.execute("SELECT count(*) FROM alert_incidents WHERE state = 'firing'").fetchone()[
            0
        ]
        errors = connection.execute("SELECT said FROM alert_errors").fetchall()
        assert not errors, errors
    for way in ("handled", "stored alone"):
        without, with_ = (
            SYSTEMS / statistics.median(took[way, trigger]) for trigger in ("DISABLE", "ENABLE")
        )
        yield f"{firing:,}", way, f"{without:,.0f}/s", f"{with_:,.0f}/s", f"{with_ / without:.2f}"


if __name__ == "__main__":
    main()
