"""How fast and how small the store is, on a private PostgreSQL with its durable settings.

    python -m tests.bench.store [--systems 2000] [--days 4]

2,000 systems at one reading a minute are 2.9 million rows a day; 4 days are 11.5 million, 35 days are 100.
The readings are those of the real probe on a lab PC, as `tests.bench.record` has recorded them, and so are
the irregular times. From 8 to 18 hours there are lessons, one hour in three a busy one, and then it is night.
A system's next reading is the 61st after its last of that kind, over and over, and each system begins at
another place: neighbours are a good minute apart, as they were recorded.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import msgspec
import psycopg
from rich.console import Console
from rich.table import Table

from labmon.app.open import open_store
from labmon.config.load import load
from labmon.messages import Metrics, encode, utcnow
from labmon.store import events, housekeeping
from labmon.store.metrics import latest, pack, partitions, rollup, series, summary, top
from labmon.store.migrate import migrate
from tests.bench.record import Recorded, read
from tests.support.servers import PostgresServer

NAMES = ", ".join(rollup.METRICS)


KINDS = ("night", "lesson", "busy")

# What s (a system) and m (the minute of the day) are in the middle of.
MIXED = """
CASE WHEN m / 60 NOT BETWEEN 8 AND 17 THEN 'night' WHEN (m / 60 + s) % 3 = 0 THEN 'busy' ELSE 'lesson' END
"""


def jitter(recording: list[Recorded]) -> list[timedelta]:
    """How much earlier or later than usual each came after the one before."""
    gaps = [after.collected_at - before.collected_at for before, after in pairwise(recording)]
    return [timedelta(0), *(gap - statistics.median(gaps) for gap in gaps)]


def begin(connection: psycopg.Connection, recording: list[Recorded], systems: int) -> None:
    connection.execute("INSERT INTO departments (dept_id) SELECT generate_series(1, 20)")
    connection.execute(
        "INSERT INTO systems (system_id, dept_id, ip_address, status) "
        "SELECT n, 1 + n %% 20, '10.0.0.0'::inet + n, 'active' FROM generate_series(1, %s) n",
        [systems],
    )
    connection.execute(
        "CREATE TABLE recording AS "
        "SELECT '' AS kind, 0 AS place, 0 AS places, interval '0' AS jitter, * FROM metrics"
    )
    with connection.cursor().copy(
        f"COPY recording (kind, place, places, jitter, {NAMES}) FROM STDIN"
    ) as copy:
        for kind in KINDS:
            of_kind = [one for one in recording if one.kind == kind]
            for place, (one, late) in enumerate(zip(of_kind, jitter(of_kind), strict=True)):
                copy.write_row((kind, place, len(of_kind), late, *msgspec.structs.astuple(one.metrics)))
    connection.execute("CREATE UNIQUE INDEX ON recording (kind, place)")
    connection.execute("CREATE TABLE kinds AS SELECT DISTINCT kind, places FROM recording")
    connection.execute("ANALYZE recording, kinds")


def fill(connection: psycopg.Connection, systems: int, days: list[datetime], kind: str = MIXED) -> None:
    """`kind` is an SQL expression on s and m."""
    for day in days:
        part = f"metrics_{day:%Y%m%d}"
        partitions.make(connection, "metrics", [day.date()])
        # Up for 9 days and so many odd seconds when this day began.
        uptime = "floor(777600.4 + s * 101.7 + extract(epoch FROM at - %(day)s))::bigint"
        connection.execute(
            f"""
            INSERT INTO {part} (system_id, collected_at, {NAMES})
            SELECT s, at, {NAMES.replace("uptime_seconds", uptime)}
            FROM generate_series(1, %(systems)s) s, generate_series(0, %(last)s) m
            JOIN LATERAL (SELECT ({kind.replace("%", "%%")}) AS kind) hour ON true
            JOIN kinds USING (kind)
            JOIN LATERAL (
                SELECT * FROM recording
                WHERE recording.kind = hour.kind AND place = (m * 61 + s * 37) %% kinds.places
            ) one ON true
            JOIN LATERAL (
                SELECT %(day)s + m * interval '1 minute' + s * interval '23 ms' + one.jitter AS at
            ) moment ON true
            ORDER BY m, s
            """,
            {
                "day": day,
                "systems": systems,
                "last": min(1440, int((utcnow() - day).total_seconds() // 60) - 1) - 1,
            },
        )
        connection.commit()


def newest(connection: psycopg.Connection, day: datetime) -> None:
    connection.execute(
        "UPDATE systems SET last_collected = (SELECT max(collected_at) "
        f"FROM metrics_{day:%Y%m%d} newest WHERE newest.system_id = systems.system_id)"
    )
    connection.commit()


def timed(run: Callable[[], object]) -> tuple[float, object]:
    started = time.perf_counter()
    result = run()
    return time.perf_counter() - started, result


def ms(run: Callable[[], object]) -> tuple[str, object]:
    """The median of 15 runs, and the worst."""
    took = [timed(run) for _ in range(15)]
    seconds = [one[0] for one in took]
    return f"{statistics.median(seconds) * 1000:.1f} ms (worst {max(seconds) * 1000:.0f})", took[0][1]


class Explaining:
    """A connection whose statements are explained instead: which indexes serve them."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self.connection = connection

    def indexes(self, run: Callable[[psycopg.Connection], object]) -> str:
        self.connection.execute("LOAD 'auto_explain'")
        found: set[str] = set()

        def hear(notice: psycopg.errors.Diagnostic) -> None:
            for line in (notice.message_primary or "").splitlines():
                if " using " in line:
                    index = line.split(" using ")[1].split(" ")[0]
                    found.add("".join(c for c in index if not c.isdigit()).replace("__", "_"))
                elif "Seq Scan on metrics" in line and "never executed" not in line:
                    found.add("a whole partition")

        self.connection.add_notice_handler(hear)
        for setting in ("log_min_duration = 0", "log_analyze = on", "log_level = notice"):
            self.connection.execute(f"SET auto_explain.{setting}")
        run(self.connection)
        self.connection.execute("SET auto_explain.log_min_duration = -1")
        self.connection.remove_notice_handler(hear)
        return ", ".join(sorted(found))


def packed_bytes(connection: psycopg.Connection) -> int:
    return sum(one.bytes for one in partitions.partitions(connection, "metrics_packed"))


def packing(connection: psycopg.Connection, day: datetime) -> tuple[str, str]:
    (part,) = [one for one in partitions.partitions(connection, "metrics") if one.first == day]
    before = packed_bytes(connection)
    took, count = timed(lambda: pack.pack(connection, part))
    connection.commit()
    assert count
    size = packed_bytes(connection) - before
    return (
        f"{part.bytes / size:.1f}x smaller, {took:.0f} s",
        f"{part.bytes / count:.0f} -> {size / count:.1f} bytes a reading, index included",
    )


def measure(server: PostgresServer, chosen: argparse.Namespace) -> Iterator[tuple[str, str, str]]:
    """Rows of the table: what, the figure, its peer."""
    recording = read(chosen.recording)
    now = utcnow()
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    days = [today - timedelta(days=n) for n in range(chosen.days, -1, -1)]
    config = load(
        environ={
            "LABMON_DATABASE_URL": server.url(),
            "LABMON_RETENTION_PACK_AFTER": "0s",
        }
    ).config
    with psycopg.connect(server.url(), options="-c timezone=UTC") as connection:
        migrate(connection)
        connection.commit()
        begin(connection, recording, chosen.systems)
        took, _ = timed(lambda: fill(connection, chosen.systems, days))
        newest(connection, days[-1])
        connection.execute("ANALYZE")
        connection.commit()
        (rows,) = connection.execute("SELECT count(*) FROM metrics").fetchone()
        yield "filling", f"{took:.0f} s", f"{rows:,} rows, {len(recording)} recorded"

        def due(day: datetime) -> None:
            connection.execute(
                "INSERT INTO rollup_due SELECT '5m', labmon_bucket('5 minutes', collected_at), "
                f"array_agg(DISTINCT system_id) FROM metrics_{day:%Y%m%d} GROUP BY 2"
            )
            connection.commit()

        def sum_up() -> None:
            while rollup.roll_up(connection, now):
                connection.commit()
            connection.commit()

        whole = days[-2]
        due(whole)
        took, _ = timed(sum_up)
        peer, _ = timed(
            lambda: connection.execute(
                "SELECT system_id, labmon_bucket('5 minutes', collected_at), "
                + ", ".join(f"count({m}), min({m}), avg({m}), max({m})" for m in rollup.METRICS)
                + f" FROM metrics_{whole:%Y%m%d} GROUP BY 1, 2"
            )
        )
        yield "summing up one day, three levels", f"{took:.1f} s", f"GROUP BY of 5 minutes alone {peer:.1f} s"
        due(days[-1])
        sum_up()
        # The rest of 30 days, so that a month of hours is there to be read.
        hours = ", ".join(f"{m}_min, {m}_avg, {m}_max" for m in rollup.METRICS)
        for n in range(2, 31):
            day = today - timedelta(days=n)
            partitions.make(connection, "metrics_1h", [day.date()])
            connection.execute(
                f"INSERT INTO metrics_1h (system_id, bucket, readings, {hours}) "
                f"SELECT system_id, bucket - %s, readings, {hours} FROM metrics_1h "
                "WHERE bucket >= %s AND bucket < %s",
                [whole - day, whole, whole + timedelta(days=1)],
            )
        connection.commit()
        connection.execute("ANALYZE metrics_1h")
        connection.commit()
        with open_store(config) as store:
            housekeeping.tick(store, config.retention, config.events)
            figure, _ = ms(lambda: housekeeping.tick(store, config.retention, config.events))
        yield "the tick when nothing is late", figure, "at most 1 s"

        month = now - timedelta(days=30)
        reads = {
            f"latest of {chosen.systems} systems": lambda c: latest.latest(c, now),
            "one system, 30 days": lambda c: series.series(c, 42, "cpu_percent", month, now, "1h"),
            "one system, its last day, raw": lambda c: series.series(
                c, 42, "cpu_percent", now - timedelta(days=1), now, "raw"
            ),
            "departments, summed up": lambda c: summary.summaries(c, now),
            "top 10 now": lambda c: top.top(c, "cpu_percent", now),
            "top 10 of 24 hours": lambda c: top.top(c, "cpu_percent", now, over=timedelta(days=1)),
            "free machines": lambda c: latest.latest(c, now, usage="free"),
        }
        for what, run in reads.items():
            figure, result = ms(lambda run=run: run(connection))
            yield what, figure, f"{len(result)} rows, by {Explaining(connection).indexes(run)}"
        connection.commit()
        if not chosen.pack:
            return

        yield ("packing one day", *packing(connection, days[0]))
        for kind, day in zip(KINDS, (days[0] - timedelta(days=n) for n in (1, 2, 3)), strict=False):
            fill(connection, 200, [day], f"'{kind}'")
            yield (f"packing a day of nothing but {kind}, 200 systems", *packing(connection, day))
        past = days[0] + timedelta(days=1)
        figure, result = ms(
            lambda: series.series(connection, 42, "cpu_percent", past - timedelta(hours=12), past, "raw")
        )
        yield "one system, 12 hours of a packed day", figure, f"{len(result)} rows"

        bodies = [
            encode(Metrics(system_id=n + 1, collected_at=now, metrics=recording[n % len(recording)].metrics))
            for n in range(500)
        ]

        def keep() -> None:
            for _ in range(200):
                events.record(connection, "metrics_queue", bodies, utcnow())
                connection.commit()

        took, _ = timed(keep)
        (size,) = connection.execute(
            "SELECT pg_total_relation_size(%s)", [f"event_batches_{now:%Y%m%d}"]
        ).fetchone()
        yield (
            "events, 500 at a time, each batch committed",
            f"{100_000 / took:,.0f}/s",
            f"{size / 100_000:.0f} bytes each, of {len(bodies[0])}",
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--systems", type=int, default=2000)
    parser.add_argument("--days", type=int, default=4)
    parser.add_argument("--pack", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--recording", type=Path, default=Path("tests/data/lab-pc.jsonl.gz"))
    chosen = parser.parse_args()
    table = Table(
        "what", "figure", "beside it", title=f"{chosen.systems} systems, {chosen.days} days and today"
    )
    with PostgresServer(fsync=True, settings={"shared_buffers": "1GB", "max_wal_size": "8GB"}) as server:
        for row in measure(server, chosen):
            print(*row, sep=" | ", flush=True)
            table.add_row(*row)
    Console().print(table)


if __name__ == "__main__":
    main()
