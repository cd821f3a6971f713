from dataclasses import replace

import pytest

from labmon.messages import utcnow
from labmon.store.workers import WorkerRow, record, recorded


@pytest.fixture
def row():
    return WorkerRow(
        host="lab1",
        main_pid=10,
        number=1,
        queue="metrics_queue",
        pid=11,
        state="idle",
        state_since=utcnow(),
        stored=5,
        rejected=1,
        per_second=2.5,
        last_batch=5,
        last_batch_at=utcnow(),
        rss_bytes=50_000_000,
        restarts=0,
    )


def test_a_worker_has_one_row_that_is_written_anew(connection, row):
    record(connection, "lab1", 10, [row])
    connection.commit()
    record(connection, "lab1", 10, [replace(row, stored=9, pid=12, restarts=1)])
    (seen,) = recorded(connection)
    assert (seen.stored, seen.pid, seen.restarts, seen.is_alive) == (9, 12, 1, True)
    assert seen.beat_at > seen.started_at


def test_whoever_is_gone_has_no_row_and_others_keep_theirs(connection, row):
    record(connection, "lab1", 10, [row, replace(row, number=2)])
    record(connection, "lab2", 10, [replace(row, host="lab2")])
    record(connection, "lab1", 10, [replace(row, number=2)])
    assert [(seen.host, seen.number) for seen in recorded(connection)] == [("lab1", 2), ("lab2", 1)]
    record(connection, "lab1", 10, [])
    assert [seen.host for seen in recorded(connection)] == ["lab2"]


def test_whoever_has_not_been_heard_of_is_dead_and_in_the_end_forgotten(connection, row):
    record(connection, "lab1", 10, [row])
    connection.execute("UPDATE workers SET beat_at = now() - interval '1 minute'")
    (seen,) = recorded(connection)
    assert not seen.is_alive
    assert 60 <= seen.silent_seconds < 90
    connection.execute("UPDATE workers SET beat_at = now() - interval '2 days'")
    record(connection, "lab2", 10, [])
    assert recorded(connection) == []
