"""A campus with 30 days of one reading a minute, for `tests.bench.reads` and `tests.bench.dashboard_api`.

    python -m tests.bench.campus [--systems 2000] [--days 30]

By itself it prints the URL of the filled database and keeps it until Ctrl-C; both take that as `--database`.

Of the first 50 systems one day is stored, summed up and packed as always. The other systems and days are
copies of it, in the order in which they would have come, so that a system's rows lie as far apart as they do
in real life: packed until two days ago, from then on plain; sums of 5 minutes are there for 9 days. Each is
off at night, so there are two changes of status a day.
"""

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path

import psycopg

from labmon import pg
from labmon.messages import utcnow
from labmon.store.metrics import pack, partitions, rollup
from labmon.store.migrate import migrate
from tests.bench import store
from tests.bench.record import read
from tests.support.servers import PostgresServer

DAY = timedelta(days=1)
LAB = 25  #: systems in a lab
PATTERN = 50  #: systems whose day is stored as always
FINE = 9  #: days of which there are sums of 5 minutes


@contextmanager
def filled(chosen: argparse.Namespace) -> Iterator[tuple[psycopg.Connection, str]]:
    """A connection to the database that `options` name, or to a new one, and its URL."""
    if chosen.database:
        with pg.connect(chosen.database, name="bench") as connection:
            yield connection, chosen.database
        return
    settings = {
        "shared_buffers": "1GB",
        "max_wal_size": "8GB",
        "wal_level": "minimal",
        "max_wal_senders": "0",
    }
    with PostgresServer(settings=settings) as server, pg.connect(server.url(), name="bench") as connection:
        migrate(connection)
        begun = time.perf_counter()
        fill(connection, chosen.systems, chosen.days, utcnow())
        (size,) = connection.execute("SELECT pg_database_size(current_database())").fetchone()
        connection.rollback()
        print(
            f"{chosen.systems:,} systems, {chosen.days} days: {size / 2**30:.1f} GiB, "
            f"filled in {time.perf_counter() - begun:.0f} s: {server.url()}",
            flush=True,
        )
        yield connection, server.url()


def options(description: str) -> argparse.ArgumentParser:
    """Those of every bench of a filled campus."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--systems", type=int, default=2000, help=f"a multiple of {PATTERN}")
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--database", metavar="URL", help="one that tests.bench.campus has filled")
    return parser


def fill(connection: psycopg.Connection, count: int, days: int, now: datetime) -> None:
    """The inventory, readings, sums, changes of status and some alerts."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    whole = today - 2 * DAY
    store.begin(connection, read(Path("tests/data/lab-pc.jsonl.gz")), count)
    connection.execute(
        "INSERT INTO labs SELECT n, 1 + n %% 20, 'lab ' || n FROM generate_series(0, %s) n", [count // LAB]
    )
    connection.execute(
        "UPDATE systems SET lab_id = labs.lab_id, dept_id = labs.dept_id, hostname = 'pc-' || system_id, "
        "first_seen = %s FROM labs WHERE labs.lab_id = system_id / %s",
        [today - days * DAY, LAB],
    )
    connection.commit()
    pattern(connection, whole, now)
    copies = count // PATTERN
    for n in range(-2, days - 1):
        day = whole - n * DAY
        for level in rollup.LEVELS:
            if level is not rollup.LEVELS[0] or n < FINE - 2:
                copy(connection, level.table, "bucket", whole, day, now - level.width, copies)
        if n < 0:
            copy(connection, "metrics", "collected_at", whole, day, now, copies, "plain")
        else:
            copy(connection, "metrics_packed", "hour", whole, day, now, copies)
    store.newest(connection, today)
    happenings(connection, today, days, now)
    connection.autocommit = True
    connection.execute("VACUUM ANALYZE")
    connection.autocommit = False


def pattern(connection: psycopg.Connection, whole: datetime, now: datetime) -> None:
    """One day of the first systems as always; in the table `plain` it stays unpacked."""
    store.fill(connection, PATTERN, [whole])
    connection.execute(f"CREATE TABLE plain AS SELECT * FROM metrics_{whole:%Y%m%d} ORDER BY collected_at")
    connection.execute(
        "INSERT INTO rollup_due SELECT '5m', labmon_bucket('5 minutes', collected_at), "
        "array_agg(DISTINCT system_id) FROM plain GROUP BY 2"
    )
    while rollup.roll_up(connection, now):
        connection.commit()
    (part,) = [one for one in partitions.partitions(connection, "metrics") if one.first == whole]
    pack.pack(connection, part)
    connection.commit()


def copy(
    connection: psycopg.Connection,
    table: str,
    column: str,
    whole: datetime,
    day: datetime,
    past: datetime,
    copies: int,
    source: str = "",
) -> None:
    """The pattern's rows for all systems on another day, as far as they are over at `past`."""
    partitions.make(connection, table, [day.date()])
    rows = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
        [table],
    )
    names = [row[0] for row in rows]
    changed = {
        "system_id": f"system_id + {PATTERN} * copy",
        column: f"{column} + interval '{(day - whole).days} days' + copy * interval '1 ms'"
        if table == "metrics"
        else f"{column} + interval '{(day - whole).days} days'",
    }
    connection.execute("SET LOCAL session_replication_role = replica")  # no triggers: nothing is due
    connection.execute(
        f"INSERT INTO {table} ({', '.join(names)}) SELECT {', '.join(changed.get(n, n) for n in names)} "
        f"FROM (SELECT * FROM {source or table} WHERE system_id <= {PATTERN} AND {column} >= '{whole}' "
        f"AND {column} < '{min(whole + DAY, past - (day - whole))}' ORDER BY {column}, system_id) AS one, "
        f"generate_series({int(day == whole)}, {copies - 1}) AS copy"
    )
    connection.commit()


def happenings(connection: psycopg.Connection, today: datetime, days: int, now: datetime) -> None:
    """Two changes of status a day, and an alert of each rule that has a limit on one system in twenty."""
    connection.execute(
        "INSERT INTO system_history (system_id, at, change, new_value) "
        "SELECT system_id, day + hour * interval '1 hour' + system_id * interval '1 s', 'status', "
        "CASE hour WHEN 8 THEN 'active' ELSE 'offline' END "
        "FROM generate_series(%s::timestamptz, %s, '1 day') day, (VALUES (8), (20)) AS hours (hour), systems "
        "ORDER BY 2",
        [today - days * DAY, now],
    )
    connection.execute(
        "INSERT INTO alert_incidents (rule_id, alert_type, kind, system_id, severity, value, threshold, "
        "since, last_at, fired_at) "
        "SELECT rule_id, name, kind, systems.system_id, severity, 99, 90, %(at)s, %(at)s, %(at)s "
        "FROM systems, alert_rules WHERE kind = 'threshold' AND (systems.system_id + rule_id) %% 20 = 0",
        {"at": now},
    )
    connection.commit()


def main() -> None:
    chosen = options(__doc__).parse_args()
    with filled(chosen), suppress(KeyboardInterrupt):
        while True:
            time.sleep(3600)


if __name__ == "__main__":
    main()
