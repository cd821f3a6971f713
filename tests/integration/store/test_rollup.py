"""Sums of readings, beside the same worked out by hand."""

import math
import struct
import threading
from collections import defaultdict
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labmon.messages import Metrics, Readings
from labmon.store.metrics import rollup
from labmon.store.metrics.record import record_metrics

from .conftest import NOON

METRICS = ("cpu_percent", "uptime_seconds", "cpu_temperature_celsius")
LATER = NOON + timedelta(days=10)


def sum_up(connection, now=LATER, **options):
    """Until nothing is due, and each step committed."""
    total = 0
    while written := rollup.roll_up(connection, now, **options):
        connection.commit()
        total += written
    connection.commit()
    return total


def stored(connection, level, metric):
    """{(system, bucket): (readings, count, min, avg, max)} of one metric."""
    rows = connection.execute(
        f"SELECT system_id, bucket, readings, COALESCE({metric}_count, CASE WHEN {metric}_avg IS NULL THEN 0 "
        f"ELSE readings END), {metric}_min, {metric}_avg, {metric}_max FROM metrics_{level}"
    )
    return {(row[0], row[1]): row[2:] for row in rows}


def by_hand(readings, width, metric):
    """The same of readings {(system, time): values}."""
    groups = defaultdict(list)
    for (system, at), values in readings.items():
        start = datetime.fromtimestamp(at.timestamp() // width * width, UTC)
        groups[system, start].append(values.get(metric))
    sums = {}
    for key, values in groups.items():
        there = [value for value in values if value is not None]
        least, most = min(there, default=None), max(there, default=None)
        sums[key] = (len(values), len(there), least, sum(there) / len(there) if there else None, most)
    return sums


def assert_same(stored, expected):
    assert stored.keys() == expected.keys()
    for key, (readings, count, least, average, most) in expected.items():
        assert stored[key][:2] == (readings, count)
        assert [value if value is None else real(value) for value in stored[key][2:5:2]] == [
            value if value is None else real(value) for value in (least, most)
        ]
        if average is not None:
            # A real has 24 bits, and the average of an hour is one of averages.
            assert math.isclose(stored[key][3], average, rel_tol=1e-6, abs_tol=1e-37)


def real(number):
    return struct.unpack("f", struct.pack("f", number))[0]


amounts = st.one_of(
    st.none(), st.floats(0, 100, width=32), st.sampled_from([0.0, 45.23, 100.0, 1e-40]).map(real)
)
values = st.fixed_dictionaries(
    {},
    optional={
        "cpu_percent": amounts,
        "uptime_seconds": st.one_of(st.none(), st.integers(0, 2**52)),
        "cpu_temperature_celsius": st.one_of(st.none(), st.floats(-200, 900, width=32)),
    },
).map(lambda values: values | {"load1": 1.0})
moments = st.one_of(
    st.integers(0, 3 * 86400),
    st.integers(0, 2 * 3600),
    st.sampled_from([0, 299, 300, 3599, 3600, 86399, 86400]),
).map(lambda seconds: NOON + timedelta(seconds=seconds))
batches = st.lists(st.lists(st.tuples(st.integers(1, 3), moments, values), max_size=12), max_size=6)


@given(batches, st.lists(st.booleans(), min_size=6, max_size=6), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_sums_equal_those_by_hand_whatever_is_late_repeated_and_shuffled(
    connection, put, batches, sum_up_after, random
):
    connection.execute("TRUNCATE metrics, metrics_5m, metrics_1h, metrics_1d, rollup_due")
    connection.commit()
    soon = NOON + timedelta(days=4)  # so that some of it is late, and some is not
    first = {}
    repeats = [reading for batch in batches for reading in batch if random.random() < 0.3]
    random.shuffle(repeats)
    for batch, then in zip([*batches, repeats], [*sum_up_after, True], strict=False):
        random.shuffle(batch)
        put(*((system, at, first.setdefault((system, at), values)) for system, at, values in batch))
        if then:
            sum_up(connection, soon)
    sum_up(connection, soon)
    for metric in METRICS:
        for level, width in (("5m", 300), ("1h", 3600), ("1d", 86400)):
            assert_same(stored(connection, level, metric), by_hand(first, width, metric))


def test_a_bucket_is_summed_up_when_it_has_ended(connection, put):
    put((1, NOON, {"cpu_percent": 10}), (1, NOON + timedelta(minutes=1), {"cpu_percent": 20}))
    assert sum_up(connection, NOON + timedelta(minutes=4)) == 0
    assert sum_up(connection, NOON + timedelta(minutes=5)) == 1
    assert stored(connection, "5m", "cpu_percent") == {(1, NOON): (2, 2, 10, 15, 20)}
    assert stored(connection, "1h", "cpu_percent") == {}
    assert sum_up(connection, NOON + timedelta(hours=12)) == 2
    midnight = NOON - timedelta(hours=12)
    assert stored(connection, "1h", "cpu_percent") == {(1, NOON): (2, 2, 10, 15, 20)}
    assert stored(connection, "1d", "cpu_percent") == {(1, midnight): (2, 2, 10, 15, 20)}


def test_only_what_is_touched_is_summed_up_again(connection, put):
    put(*((n, NOON + timedelta(minutes=m), {"load1": 1}) for n in (1, 2, 3) for m in range(0, 60, 5)))
    assert sum_up(connection) == 36 + 3 + 3
    assert put((2, NOON + timedelta(minutes=7), {"load1": 3})) == 1
    assert sum_up(connection) == 3
    assert stored(connection, "5m", "load1")[2, NOON + timedelta(minutes=5)] == (2, 2, 1, 2, 3)
    assert stored(connection, "1d", "load1")[2, NOON - timedelta(hours=12)][0] == 13


def test_a_repeat_makes_no_work(connection, put):
    put((1, NOON, {"load1": 1}))
    sum_up(connection)
    assert put((1, NOON, {"load1": 1})) == 0
    assert sum_up(connection) == 0


def test_a_transaction_that_commits_late_is_summed_up_all_the_same(store, connection, put):
    put((1, NOON, {"load1": 1}))
    with store.transaction() as slow:
        record_metrics(
            slow,
            [Metrics(system_id=1, collected_at=NOON + timedelta(seconds=1), metrics=Readings(load1=3.0))],
        )
        sum_up(connection)  # everything that is committed, and what will be is not waited for
        assert stored(connection, "5m", "load1") == {(1, NOON): (1, 1, 1, 1, 1)}
    sum_up(connection)
    assert stored(connection, "5m", "load1") == {(1, NOON): (2, 2, 1, 2, 3)}


def test_writers_and_the_one_who_sums_up_at_once_end_with_the_right_sums(store, store_url, connection, fleet):
    rows = {(1 + n % 3, NOON + timedelta(seconds=7 * n)): {"load1": float(n % 50)} for n in range(3000)}
    keys = list(rows)
    done = threading.Event()

    def write(part):
        for start in range(0, len(part), 25):
            with store.transaction() as one:
                record_metrics(
                    one,
                    [
                        Metrics(system_id=n, collected_at=at, metrics=Readings(**rows[n, at]))
                        for n, at in part[start : start + 25]
                    ],
                )

    def keep_summing():
        with psycopg.connect(store_url) as own:
            while not done.is_set():
                sum_up(own)

    writers = [threading.Thread(target=write, args=[keys[n::2]]) for n in range(2)]
    keeper = threading.Thread(target=keep_summing)
    for thread in (*writers, keeper):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    keeper.join()
    sum_up(connection)
    for level, width in (("5m", 300), ("1h", 3600), ("1d", 86400)):
        assert_same(stored(connection, level, "load1"), by_hand(rows, width, "load1"))


def test_a_late_reading_whose_sums_of_5_minutes_are_gone_is_in_the_hour_and_the_day(connection, put):
    put(*((1, NOON + timedelta(minutes=m), {"load1": 1}) for m in range(0, 60, 5)))
    sum_up(connection)
    connection.execute("DROP TABLE metrics_5m_20260301")
    connection.commit()
    put((1, NOON + timedelta(minutes=1), {"load1": 14}))
    sum_up(connection, keep_5m=5 * 86400)
    assert stored(connection, "1h", "load1") == {(1, NOON): (13, 13, 1, 2, 14)}
    assert stored(connection, "1d", "load1") == {(1, NOON - timedelta(hours=12)): (13, 13, 1, 2, 14)}
    assert stored(connection, "5m", "load1") == {}


@pytest.mark.parametrize("minutes, late", [(4, 0), (5, 0), (65, 60)])
def test_lag_is_how_long_something_has_been_waiting_to_be_summed_up(connection, put, minutes, late):
    put((1, NOON, {"load1": 1}))
    assert rollup.lag(connection, NOON + timedelta(minutes=minutes)) == timedelta(minutes=late)


# findings A7: one of three GPUs lost, nothing tells
def test_sums_show_the_fewest_gpus_of_their_time(connection, put):
    counts = {0: 3, 1: 3, 2: None, 3: 2, 60: 2, 61: 0}
    put(*((1, NOON + timedelta(minutes=m), {"load1": 1, "gpu_count": one}) for m, one in counts.items()))
    put((2, NOON, {"load1": 1}))
    sum_up(connection)
    an_hour = timedelta(hours=1)
    assert stored(connection, "5m", "gpu_count")[1, NOON] == (4, 3, 2, pytest.approx(8 / 3), 3)
    assert stored(connection, "1h", "gpu_count")[1, NOON + an_hour] == (2, 2, 0, 1, 2)
    assert stored(connection, "1d", "gpu_count")[1, NOON - 12 * an_hour] == (6, 5, 0, 2, 3)
    assert stored(connection, "1d", "gpu_count")[2, NOON - 12 * an_hour] == (1, 0, None, None, None)
