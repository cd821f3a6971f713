"""What a page asks of the store, with 30 days of one reading a minute: p50 and p95.

    python -m tests.bench.reads [--systems 2000] [--days 30] [--database URL]

The campus is that of `tests.bench.campus`, and "now" is its newest reading. Questions are put to another
system each time. Time is that of the whole answer in Python; beside it stands the CPU time of
the database's backend and of this process, which other work on the machine does not change.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import psycopg

from labmon.config.tables import RetentionConfig
from labmon.config.units import Seconds
from labmon.store.inventory import availability, systems
from labmon.store.metrics import latest
from labmon.store.metrics.chart import chart
from labmon.store.metrics.rollup import METRICS
from tests.bench import campus, growth

KEEP = RetentionConfig(pack_after=Seconds(2 * 86400))
DAY = timedelta(days=1)
TIMES = 60

SPANS = {
    "1 h": timedelta(hours=1),
    "24 h": DAY,
    "24 h, packed": DAY,
    "7 d": 7 * DAY,
    "30 d": 30 * DAY,
    "1 y": 365 * DAY,  # of a month
}


def questions(connection: psycopg.Connection, now: datetime) -> Iterator[tuple[str, Callable[[int], object]]]:
    """Each with the function that asks it about a system."""
    yield "latest values of all systems", lambda _: latest.latest(connection, now)
    yield "systems list: status, lab, newest values", lambda _: systems.systems(connection)
    yield (
        "open alerts by system",
        lambda _: connection.execute(
            "SELECT system_id, count(*), max(array_position('{info,warning,critical}', severity)) "
            "FROM alert_incidents WHERE resolved_at IS NULL AND fired_at IS NOT NULL GROUP BY system_id"
        ).fetchall(),
    )
    for name, span in SPANS.items():
        past = now - 5 * DAY if "packed" in name else now

        def series(system: int, past: datetime = past, span: timedelta = span) -> object:
            return chart(connection, system, METRICS, past - span, past, now=now, keep=KEEP).t

        yield f"series of {len(METRICS)} metrics, {name}", series
    for name, span in (("24 h", DAY), ("30 d", 30 * DAY)):
        yield (
            f"availability of a system, {name}",
            lambda system, span=span: availability.availability(connection, system, now, span).states,
        )


def main() -> None:
    with campus.filled(campus.options(__doc__).parse_args()) as (connection, _):
        (count,) = connection.execute("SELECT count(*) FROM systems").fetchone()
        (newest,) = connection.execute("SELECT max(last_collected) FROM systems").fetchone()
        for name, ask in questions(connection, newest):
            took: list[float] = []
            worked: list[float] = []
            for n in range(TIMES):
                busy = growth.cpu(connection) + time.process_time()
                before = time.perf_counter()
                answer = ask(1 + n * 761 % count)
                took.append(1000 * (time.perf_counter() - before))
                worked.append(1000 * (growth.cpu(connection) + time.process_time() - busy))
                connection.rollback()
            p95, cpu = (statistics.quantiles(one, n=20)[-1] for one in (took, worked))
            print(
                f"{name:45} {len(answer):6} rows  p50 {statistics.median(took):6.1f}  p95 {p95:6.1f} ms"
                f"  CPU p50 {statistics.median(worked):6.1f}  p95 {cpu:6.1f} ms",
                flush=True,
            )


if __name__ == "__main__":
    main()
