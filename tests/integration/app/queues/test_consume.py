import threading

import pytest

from labmon.app.open import open_broker, open_spool, worker_settings
from labmon.app.queues import consume, depth
from labmon.brokers.base import Message
from labmon.config.load import load
from labmon.consume.supervisor.supervisor import Supervisor
from labmon.consume.worker_threads import WorkerThreads
from labmon.messages import Metrics, Readings, encode, utcnow


@pytest.fixture
def queued(config, store):
    """The queues in the database, with a reading of system 42 that waits."""
    with store.transaction() as connection:
        connection.execute("INSERT INTO departments VALUES (1)")
        connection.execute("INSERT INTO systems (system_id, dept_id) VALUES (42, 1)")
    reading = Metrics(system_id=42, collected_at=utcnow(), metrics=Readings(cpu_percent=5.0))
    with open_broker(config, store) as broker:
        broker.set_up(config.queue.names, dry_run=False)
        broker.publish("metrics_queue", [Message.new(encode(reading), "metrics.42")])
    return config


def count(store, table):
    with store.transaction() as connection:
        return connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()[0]


def test_workers_store_what_waits_and_leave_no_row_of_themselves(queued, store):
    stop, drawn = threading.Event(), []
    settings, spool = worker_settings(queued), open_spool(queued)
    with consume.workers(settings, spool, store, queued.queue.names, stop, until_empty=True) as team:
        consume.run(team.workers, stop, lambda: drawn.append(len(team.workers.processes())))
        assert team.workers.tally()["metrics_queue"] == (1, 0)
    assert team.unsent == 0
    assert drawn and consume.shortfall(team) == ""
    assert count(store, "metrics") == 1
    assert count(store, "workers") == 0


@pytest.mark.parametrize(("workers", "kind"), [("1", WorkerThreads), ("1..2", Supervisor)])
def test_more_than_one_process_has_a_supervisor(queued, store, workers, kind):
    config = load(
        environ={"LABMON_DATABASE_URL": queued.database.url, "LABMON_CONSUME_WORKERS": workers}
    ).config
    stop = threading.Event()
    stop.set()
    with consume.workers(worker_settings(config), open_spool(config), store, ["metrics_queue"], stop) as team:
        assert isinstance(team.workers, kind)


def test_a_backlog_is_evaluated_from_cron_and_stored_as_an_alert(queued, store):
    with store.transaction() as connection:
        connection.execute("UPDATE alert_rules SET hold = '0' WHERE name = 'queue_backlog'")
    deep = {"metrics_queue": depth_of(20_000)}
    with depth.evaluated(queued, True) as judge:
        judge(deep)
    with store.transaction() as connection:
        rows = connection.execute("SELECT alert_type FROM alerts").fetchall()
    assert rows == [("queue_backlog:metrics_queue",)]


def depth_of(ready):
    from labmon.brokers.base import Depth

    return Depth(ready, ready_high=None, in_flight=0, dead=0, consumers=1, oldest_age_seconds=None)
