"""Events, and what they are for."""

import json
from datetime import timedelta

import pytest

from labmon.app.open import ingest_settings
from labmon.config.load import load
from labmon.ingest.handlers import handlers
from labmon.ingest.replay import replay
from labmon.messages import Alert, Discovery, Metrics, Readings, encode, utcnow
from labmon.store import events


@pytest.fixture
def machines(connection):
    connection.execute("INSERT INTO departments (dept_id) VALUES (1)")
    connection.execute("INSERT INTO systems (system_id, dept_id) VALUES (1, 1), (2, 1)")
    connection.commit()


def reading(system=1, seconds=0, load=1.0):
    at = utcnow() - timedelta(hours=1) + timedelta(seconds=seconds)
    return encode(Metrics(system_id=system, collected_at=at, metrics=Readings(load1=load)))


@pytest.fixture
def handle(connection, config, machines):
    def handle(queue, *bodies, config=config):
        rejected = handlers(ingest_settings(config))[queue](connection, bodies)
        connection.commit()
        return rejected

    return handle


@pytest.fixture
def again(store, config):
    def again(queue="metrics_queue", *, first=None, past=None, **options):
        now = utcnow()
        return replay(
            store,
            ingest_settings(config),
            queue,
            first or now - timedelta(hours=1),
            past or now + timedelta(1),
            **options,
        )

    return again


def count(connection, table):
    number = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    connection.rollback()
    return number


def test_what_is_accepted_is_kept_as_it_came_and_what_is_rejected_is_not(connection, handle):
    odd = b' {"metrics": {"load1":1.50},"system_id" : 2, "collected_at":"%s", "x": "\xff"}\n' % (
        utcnow().isoformat().encode()
    )
    assert set(handle("metrics_queue", reading(), b"not json", odd, reading(system=99))) == {1, 3}
    kept = connection.execute("SELECT queue, systems, bodies FROM event_batches").fetchone()
    assert kept[:2] == ("metrics_queue", [1, 2])
    assert kept[2][1] == odd
    shown = events.newest(connection)
    assert [one.system_id for one in shown] == [1, 2]
    assert "1.50" in shown[1].body and "\\377" in shown[1].body
    assert count(connection, "events") == 2


def test_events_of_all_queues_are_told_apart_and_found_by_system(connection, handle):
    alert = Alert(system_id=2, alert_type="hot", severity="info", value=1, threshold=1, at=utcnow())
    found = Discovery(scan_id=1, dept_id=1, ip_address="10.0.0.9", discovered_at=utcnow(), scan_type="ping")
    handle("discovery_queue", encode(found))
    handle("metrics_queue", reading(1), reading(2))
    handle("alert_queue", encode(alert))
    assert [(one.queue, one.system_id) for one in events.newest(connection)] == [
        ("discovery_queue", None),
        ("metrics_queue", 1),
        ("metrics_queue", 2),
        ("alert_queue", 2),
    ]
    assert len(events.newest(connection, system=2)) == 2
    assert [one.queue for one in events.newest(connection, queue="alert_queue")] == ["alert_queue"]
    assert events.newest(connection, past=utcnow() - timedelta(hours=1)) == []
    assert [one.system_id for one in events.newest(connection, limit=2)] == [2, 2]


def test_nothing_is_kept_where_nothing_is_to_be(connection, handle, store_url):
    off = load(environ={"LABMON_DATABASE_URL": store_url, "LABMON_EVENTS_KEEP": "0s"}).config
    handle("metrics_queue", reading(), config=off)
    assert (count(connection, "metrics"), count(connection, "event_batches")) == (1, 0)


def test_events_and_rows_are_stored_together_or_not_at_all(connection, config, machines):
    handlers(ingest_settings(config))["metrics_queue"](connection, [reading()])
    connection.rollback()
    assert (count(connection, "metrics"), count(connection, "event_batches")) == (0, 0)


def test_a_lost_day_is_rebuilt_and_a_second_replay_changes_nothing(connection, handle, again):
    for start in range(0, 2500, 100):
        handle("metrics_queue", *(reading(1 + n % 2, seconds=n) for n in range(start, start + 100)))
    before = connection.execute("SELECT * FROM metrics ORDER BY 1, 2").fetchall()
    connection.execute("TRUNCATE metrics, rollup_due")
    connection.commit()
    seen = []
    done = again(progress=seen.append)
    assert (done.messages, done.rejected) == (2500, 0)
    assert seen == [2000, 2500]
    assert connection.execute("SELECT * FROM metrics ORDER BY 1, 2").fetchall() == before
    assert count(connection, "rollup_due") > 0
    connection.execute("TRUNCATE rollup_due")
    connection.commit()
    assert again().messages == 2500
    assert (count(connection, "metrics"), count(connection, "rollup_due")) == (2500, 0)
    assert count(connection, "event_batches") == 25  # a replay is no event


def test_one_system_alone_is_replayed(connection, handle, again):
    handle("metrics_queue", *(reading(1 + n % 2, seconds=n) for n in range(10)))
    connection.execute("TRUNCATE metrics")
    connection.commit()
    assert again(system=2).messages == 5
    assert connection.execute("SELECT DISTINCT system_id FROM metrics").fetchall() == [(2,)]


def test_only_what_came_in_that_time_is_replayed(connection, handle, again):
    handle("metrics_queue", reading(1))
    between = utcnow()
    handle("metrics_queue", reading(2, seconds=5))
    connection.execute("TRUNCATE metrics")
    connection.commit()
    assert again(past=between).messages == 1
    assert connection.execute("SELECT system_id FROM metrics").fetchall() == [(1,)]
    connection.rollback()
    assert again(first=between).messages == 1
    assert count(connection, "metrics") == 2


def test_a_dry_run_tells_and_changes_nothing(connection, handle, again):
    handle("metrics_queue", reading(1), reading(2))
    connection.execute("TRUNCATE metrics")
    connection.execute("DELETE FROM systems WHERE system_id = 2")
    connection.commit()
    done = again(dry_run=True)
    assert (done.messages, done.rejected) == (2, 1)
    assert list(done.reasons) == ["unknown system: system_id 2 is not in the inventory"]
    assert count(connection, "metrics") == 0
    assert again().reasons == done.reasons
    assert count(connection, "metrics") == 1


@pytest.mark.parametrize("notify, said", [(False, "on"), (True, "")])
def test_triggers_can_see_that_it_is_a_replay(connection, handle, again, notify, said):
    handle("metrics_queue", reading(1))
    connection.execute("TRUNCATE metrics")
    connection.execute("CREATE TABLE heard (said text)")
    connection.execute(
        "CREATE FUNCTION hear() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "INSERT INTO heard VALUES (COALESCE(current_setting('labmon.replay', true), '')); RETURN NULL; END $$"
    )
    connection.execute(
        "CREATE TRIGGER hear AFTER INSERT ON metrics FOR EACH STATEMENT EXECUTE FUNCTION hear()"
    )
    connection.commit()
    again(notify=notify)
    assert connection.execute("SELECT said FROM heard").fetchall() == [(said,)]
    connection.rollback()
    again(notify=True)
    assert connection.execute("SELECT said FROM heard").fetchall()[-1] == (
        "",
    )  # it ended with its transaction


def test_the_command_line_replays_and_shows(handle, connection, store_url, tmp_path):
    import subprocess
    import sys

    def labmon(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "labmon", *arguments],
            env={"LABMON_DATABASE_URL": store_url, "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=60,
        )

    handle("metrics_queue", reading(1), reading(2))
    connection.execute("TRUNCATE metrics")
    connection.commit()
    shown = labmon("events", "show", "--system", "2", "--format", "json")
    assert [json.loads(one["body"])["system_id"] for one in json.loads(shown.stdout)] == [2]
    dry = labmon("replay", "--queue", "metrics", "--from", "2h", "--dry-run")
    assert "2 of 2 messages would be replayed, 0 not stored" in dry.stderr
    assert count(connection, "metrics") == 0
    done = labmon("replay", "--queue", "metrics", "--from", "2h")
    assert (done.returncode, done.stdout) == (0, "")
    assert "metrics_queue: 2 of 2 messages replayed, 0 not stored" in done.stderr
    assert count(connection, "metrics") == 2
    wrong = labmon("replay", "--queue", "metrics", "--from", "the other day")
    assert wrong.returncode == 2 and "'the other day' is not a time" in wrong.stderr
