"""The round that is made every minute, and what it leaves when it is killed."""

import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from labmon.config.load import load
from labmon.errors import AlreadyRunning, ConfigError
from labmon.messages import utcnow
from labmon.store.housekeeping import Done, tick
from labmon.store.metrics import pack, partitions, retention
from labmon.store.migrate import migrate
from tests.support.clock import clock

from .conftest import NOON

QUIET = datetime(2026, 3, 2, 0, 30, tzinfo=UTC)


def names(connection, table):
    connection.rollback()
    return [part.name for part in partitions.partitions(connection, table)]


def count(connection, table):
    number = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    connection.rollback()  # who has read a table keeps it from being dropped
    return number


@pytest.fixture
def keeping(store_url):
    def keeping(**settings):
        environ = {"LABMON_DATABASE_URL": store_url}
        environ |= {f"LABMON_RETENTION_{name}".upper(): value for name, value in settings.items()}
        return load(environ=environ).config

    return keeping


def test_there_are_partitions_for_the_next_days(store, config, connection):
    tick(store, config.retention, config.events, now=NOON)
    assert names(connection, "metrics") == ["metrics_20260301", "metrics_20260302", "metrics_20260303"]
    assert names(connection, "metrics_1h") == ["metrics_1h_202603"]
    assert names(connection, "metrics_1d") == ["metrics_1d_2026"]
    assert names(connection, "event_batches")[0] == "event_batches_20260301"


def test_a_day_is_summed_up_then_packed_then_dropped(store, keeping, connection, put):
    config = keeping(pack_after="2d", raw="10d", rollup_5m="5d", rollup_1h="20d", rollup_1d="800d")
    put((1, NOON, {"load1": 1}))
    done = tick(store, config.retention, config.events, now=QUIET)
    assert (done.summed_up, done.packed, done.dropped) == (3, [], [])
    done = tick(store, config.retention, config.events, now=QUIET + timedelta(days=2))
    assert done.packed == ["metrics_20260301"]
    assert count(connection, "readings") == 1
    done = tick(store, config.retention, config.events, now=QUIET + timedelta(days=5))
    assert "metrics_5m_20260301" in done.dropped
    assert names(connection, "metrics")[0] == "metrics_20260305"  # nothing is in the others any more
    connection.rollback()
    done = tick(store, config.retention, config.events, now=QUIET + timedelta(days=41))
    assert "metrics_packed_202603" in done.dropped
    assert (count(connection, "readings"), count(connection, "metrics_1h")) == (0, 1)
    done = tick(store, config.retention, config.events, now=QUIET + timedelta(days=52))
    assert "metrics_1h_202603" in done.dropped
    connection.rollback()
    assert count(connection, "metrics_1d") == 1
    done = tick(store, config.retention, config.events, now=QUIET + timedelta(days=4 * 366))
    assert "metrics_1d_2026" in done.dropped


def test_what_comes_while_a_day_is_packed_is_summed_up_meanwhile(
    store, keeping, connection, put, monkeypatch
):
    config = keeping(pack_after="2d")
    put(*((n, NOON, {"load1": n}) for n in (1, 2, 3)))
    now = QUIET + timedelta(days=3)
    summed_up = []
    put_aside = pack.put_aside

    def look(*args):
        summed_up.append(count(connection, "metrics_5m"))
        if len(summed_up) == 1:
            put((1, now - timedelta(minutes=10), {"load1": 5}))
        put_aside(*args)

    monkeypatch.setattr(pack, "AT_ONCE", 1)
    monkeypatch.setattr(pack, "put_aside", look)
    assert tick(store, config.retention, config.events, now=now).packed == ["metrics_20260301"]
    assert summed_up == [3, 4, 4]


def test_readings_that_are_not_summed_up_are_not_dropped(store, keeping, connection, put):
    config = keeping(raw="10d", rollup_1h="10d", pack_after="0s")
    put((1, NOON, {"load1": 1}))
    later = NOON + timedelta(days=30)
    stopped = threading.Event()
    stopped.set()
    tick(store, config.retention, config.events, now=later, stop=stopped)  # nothing but the partitions

    (part,) = [one for one in partitions.partitions(connection, "metrics") if one.name == "metrics_20260301"]
    assert not retention.drop(connection, part)
    connection.commit()
    assert count(connection, "metrics") == 1
    assert tick(store, config.retention, config.events, now=later).dropped


def test_nothing_is_dropped_or_packed_where_everything_is_kept(store, keeping, connection, put):
    config = keeping(
        raw="0s", pack_after="0s", rollup_5m="0s", rollup_1h="0s", history="0s", alerts="0s", audit="0s"
    )
    put((1, NOON, {"load1": 1}))
    done = tick(store, config.retention, config.events, now=NOON + timedelta(days=5000))
    assert (done.packed, done.forgotten) == ([], 0)
    assert [name for name in done.dropped if not name.startswith("event")] == []
    assert count(connection, "metrics") == 1


def test_old_alerts_and_history_are_forgotten(store, keeping, connection, put):
    config = keeping(history="10d", alerts="20d", audit="10d")
    connection.execute("INSERT INTO departments (dept_id) VALUES (9)")
    connection.execute("INSERT INTO systems (system_id, dept_id) VALUES (9, 9)")
    for days in (5, 15, 25):
        at = NOON - timedelta(days=days)
        connection.execute("INSERT INTO system_history (system_id, at, change) VALUES (9, %s, 'found')", [at])
        connection.execute(
            "INSERT INTO audit (at, actor, action, object, address) VALUES (%s, 'alice', 'a', 'b', 'c')", [at]
        )
        connection.execute("INSERT INTO alerts VALUES (9, 'cpu_high', %s, 'warning', 95, 90)", [at])
        connection.execute(
            "INSERT INTO alert_incidents (alert_type, kind, system_id, severity, value, threshold, since, "
            "last_at, fired_at, resolved_at) "
            "VALUES ('cpu_high', 'threshold', 9, 'warning', 95, 90, %s, %s, %s, %s)",
            [at] * 4,
        )
        for state in ("sent", "waiting", "held"):
            connection.execute(
                "INSERT INTO deliveries (target, alert, about, created_at, state) "
                "VALUES ('admins', '{}', 'pc-9', %s, %s)",
                [at, state],
            )
    connection.commit()
    assert tick(store, config.retention, config.events, now=NOON).forgotten == 7
    assert count(connection, "audit") == 1
    assert (count(connection, "system_history"), count(connection, "alerts")) == (1, 2)
    assert count(connection, "alert_incidents WHERE kind = 'threshold'") == 2
    assert count(connection, "deliveries WHERE state = 'sent'") == 2
    # Those are given up, or told after all, by who tells them.
    assert count(connection, "deliveries WHERE state IN ('waiting', 'held')") == 6


def test_a_table_that_is_in_use_is_dropped_another_time(store, keeping, connection, put):
    config = keeping(raw="10d", rollup_1h="10d", pack_after="0s")
    put((1, NOON, {"load1": 1}))
    later = NOON + timedelta(days=30)
    tick(store, config.retention, config.events, now=NOON + timedelta(days=5))
    with store.transaction() as reader:
        reader.execute("SELECT * FROM metrics").fetchall()
        done = tick(store, config.retention, config.events, now=later)
        assert "metrics_20260301" in done.postponed
    assert "metrics_20260301" in tick(store, config.retention, config.events, now=later).dropped


def test_two_at_once_do_not_mix(store, config, connection):
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('labmon_housekeeping_step'))")
    with pytest.raises(AlreadyRunning):
        tick(store, config.retention, config.events, now=NOON)


def test_a_second_maintain_from_cron_is_no_failure(connection, store_url, tmp_path):
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('labmon_housekeeping_step'))")
    ended = subprocess.run(
        [sys.executable, "-m", "labmon", "db", "maintain"],
        env={"LABMON_DATABASE_URL": store_url, "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stdout) == (0, "")
    assert "housekeeping is already running" in ended.stderr


def test_a_second_round_has_nothing_to_do(store, config, put):
    put(*((n, NOON + timedelta(minutes=m), {"load1": 1}) for n in (1, 2, 3) for m in range(60)))
    assert tick(store, config.retention, config.events, now=QUIET + timedelta(days=8)) != Done()
    tick(store, config.retention, config.events, now=QUIET + timedelta(days=8))
    started = clock()
    assert tick(store, config.retention, config.events, now=QUIET + timedelta(days=8)) == Done()
    assert clock() - started < 1


@pytest.mark.parametrize("after", [0.05, 0.15, 0.3, 0.5, 0.8])
def test_killed_at_any_point_it_loses_nothing_and_the_next_round_ends_the_work(
    own_postgres_server, tmp_path, after
):
    """The process, by SIGKILL; and half the time the server too."""
    url = own_postgres_server.url()
    week_ago = utcnow().replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=10)
    with psycopg.connect(url) as connection:
        migrate(connection)
        connection.execute("INSERT INTO departments (dept_id) VALUES (1)")
        connection.execute(
            "INSERT INTO systems (system_id, dept_id) SELECT n, 1 FROM generate_series(1, 20) n"
        )
        for day in range(2):
            connection.execute("SELECT labmon_metrics_day(%s)", [(week_ago + timedelta(days=day)).date()])
        connection.execute(
            "INSERT INTO metrics (system_id, collected_at, load1) SELECT s, %s + m * interval '1 minute', s "
            "FROM generate_series(1, 20) s, generate_series(0, 2879) m",
            [week_ago],
        )
    environ = {"LABMON_DATABASE_URL": url, "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    command = [sys.executable, "-m", "labmon", "db", "maintain"]
    process = subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    with psycopg.connect(url, autocommit=True) as watcher:
        while process.poll() is None and time.monotonic() < deadline:  # until it has begun
            busy = watcher.execute(
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE query LIKE '%rollup_due%' AND pid <> pg_backend_pid()"
            ).fetchone()[0]
            if busy:
                break
    time.sleep(after)
    process.kill()
    process.wait()
    if after in (0.15, 0.5):
        own_postgres_server.kill()
        own_postgres_server.start()
    with psycopg.connect(url) as connection:
        assert count(connection, "readings") == 57600
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120)
    deadline = time.monotonic() + 30
    while "another process" in ended.stderr and time.monotonic() < deadline:  # the server has not noticed yet
        time.sleep(0.2)
        ended = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    with psycopg.connect(url) as connection:
        assert (count(connection, "readings"), count(connection, "metrics")) == (57600, 0)
        assert connection.execute("SELECT sum(readings) FROM metrics_1d").fetchone() == (57600,)
        assert connection.execute("SELECT sum(readings) FROM metrics_5m").fetchone() == (57600,)
        assert count(connection, "rollup_due") == 0


def test_the_settings_must_agree(store_url):
    for settings in (
        {"RAW": "10d", "ROLLUP_1H": "5d"},
        {"ROLLUP_1D": "5d"},
        {"RAW": "0s"},
        {"PACK_AFTER": "1h"},
    ):
        with pytest.raises(ConfigError, match="retention"):
            load(environ={f"LABMON_RETENTION_{name}": value for name, value in settings.items()})
