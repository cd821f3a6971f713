"""Packed days: exact, read as before, packed and unpacked whole or not at all."""

import math
import random
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labmon.app.open import ingest_settings
from labmon.ingest.handlers import handlers
from labmon.messages import Metrics, Readings, encode, utcnow
from labmon.store.metrics import codec, pack, partitions, retention
from labmon.store.metrics.rollup import METRICS

from .conftest import NOON
from .test_rollup import LATER, stored, sum_up

DAY = date(2026, 3, 1)
OF_OLD = Path(__file__).parents[2] / "data" / "pack-of-old.sql"


def part(connection, day=DAY):
    (found,) = [one for one in partitions.partitions(connection, "metrics") if one.day == day]
    return found


def packed(connection, day=DAY, now=LATER):
    sum_up(connection, now)
    done = pack.pack(connection, part(connection, day))
    connection.commit()
    return done


def rows(connection, table="readings"):
    return connection.execute(
        f"SELECT system_id, collected_at, {', '.join(METRICS)} FROM {table} ORDER BY 1, 2"
    ).fetchall()


def count(connection, table):
    return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


REALS = {
    "cpu_percent": st.floats(0, 100, width=32),
    "network_sent_mbps": st.floats(0, 2**49, width=32),
    "cpu_temperature_celsius": st.floats(-273, 1000, width=32),
}
sensors = st.one_of(
    st.none(),
    st.builds(lambda n, power: n / 10**power, st.integers(0, 100_000), st.integers(0, 4)),
    st.integers(0, 100).map(float),
)
values = st.fixed_dictionaries(
    {"load1": sensors.map(lambda value: value or 0.5)},
    optional={name: st.one_of(st.none(), numbers, sensors) for name, numbers in REALS.items()}
    | {
        name: st.one_of(st.none(), st.integers(0, 2**63 - 1), st.integers(0, 300))
        for name in ("uptime_seconds", "process_count", "ram_total_bytes", "disk_total_bytes", "gpu_count")
    },
)
moments = st.one_of(
    st.integers(0, 3600 * 10**6 - 1), st.integers(0, 60).map(lambda minute: minute * 60 * 10**6)
).map(lambda microseconds: NOON + timedelta(microseconds=microseconds))
readings = st.lists(
    st.tuples(st.integers(1, 3), moments, values), min_size=1, max_size=40, unique_by=lambda one: one[:2]
)


def empty(connection):
    connection.execute("TRUNCATE metrics, metrics_packed, rollup_due, unpacked_days")
    connection.commit()


@given(readings)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_packing_and_unpacking_changes_no_bit(connection, put, readings):
    empty(connection)
    put(*readings)
    before = rows(connection)
    assert packed(connection) == len(readings)
    assert rows(connection) == before
    assert count(connection, "metrics") == 0
    assert pack.unpack(connection, DAY) == len(readings)
    connection.commit()
    assert rows(connection, "metrics") == before
    assert count(connection, "metrics_packed") == 0
    # What Python shows as equal could still differ in the last bit: the server compares its own.
    put(*readings)
    assert count(connection, "metrics") == len(readings)


three_digits = st.builds(lambda n, power: n / 10**power, st.integers(0, 999), st.integers(-6, 4))


@given(
    st.one_of(
        st.lists(st.one_of(st.none(), st.floats(width=32)), min_size=1, max_size=70),
        st.lists(three_digits, min_size=1, max_size=70),
        st.lists(st.one_of(st.none(), three_digits), min_size=1, max_size=70),
    )
)
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_reals_at_all_come_back_bit_by_bit(connection, numbers):
    packed = codec.pack(numbers)
    if all(number is None for number in numbers):
        assert packed is None
        return
    for number, again in zip(numbers, unpacked(connection, "_real", packed, len(numbers)), strict=True):
        if number is None or math.isnan(number):
            assert again is None if number is None else math.isnan(again)
        else:
            assert bits(again) == bits(number)  # -0.0 too


whole_numbers = st.one_of(
    st.lists(
        st.one_of(st.none(), st.integers(0, 2**63 - 1), st.integers(-300, 300)), min_size=1, max_size=70
    ),
    st.lists(
        st.builds(lambda n, zeros: n * 10**zeros, st.integers(0, 999), st.integers(0, 15)),
        min_size=1,
        max_size=70,
    ),
    st.builds(
        lambda start, step, jitter: [start + step * place + late for place, late in enumerate(jitter)],
        st.integers(0, 2**40),
        st.integers(-(2**30), 2**30),
        st.lists(st.integers(0, 50), min_size=1, max_size=70),
    ),
    st.builds(  # a few that are many more than the others, of more than can be counted in a byte
        lambda most, few: [few.get(place, place % most) for place in range(900)],
        st.integers(1, 9),
        st.dictionaries(st.integers(0, 899), st.integers(0, 2**50), max_size=300),
    ),
)


@given(whole_numbers)
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_whole_numbers_come_back(connection, numbers):
    if any(number is not None and number < 0 for number in numbers):
        numbers = [number if number is None else min(number, 2**62) for number in numbers]
    packed = codec.pack(numbers)
    if all(number is None for number in numbers):
        assert packed is None
    else:
        assert unpacked(connection, "", packed, len(numbers)) == numbers


def bits(number):
    return struct.unpack("I", struct.pack("f", number))[0]


def unpacked(connection, suffix, packed, places):
    return connection.execute(f"SELECT labmon_unpack{suffix}(%s, %s)", [packed, places]).fetchone()[0]


@pytest.fixture
def as_of_old(connection):
    """What packed in the database before codec.py did; rows of that time are there for years."""
    connection.execute("CREATE SCHEMA of_old")
    connection.execute("SET search_path = of_old, public")
    connection.execute(OF_OLD.read_bytes())
    connection.execute("SET search_path = public, of_old")  # where only of_old has a labmon_pack
    return lambda numbers, kind: connection.execute(
        f"SELECT labmon_pack(%s::{kind}[])", [numbers]
    ).fetchone()[0]


def test_what_was_packed_of_old_is_read(connection, as_of_old):
    chance = random.Random(7)
    for _ in range(60):
        places = chance.choice([1, 7, 60, 61, 900])
        usual = chance.choice([0, 1, 50, 10**6, 2**40])
        whole = [60 * place * chance.choice([0, 1]) + chance.randint(0, usual) for place in range(places)]
        for place in range(0, places, 11):
            whole[place] = chance.choice([None, 2**50, 3])
        few = [None if n is None else n % 10**5 / chance.choice([1, 10, 1000]) for n in whole]
        many = [chance.gauss(0, 1e9) for _ in whole]
        even = list(range(1000, 1000 + 60 * places, 60))
        for numbers in (whole, even):
            packed = as_of_old(numbers, "bigint")
            if packed is not None:
                assert unpacked(connection, "", packed, places) == numbers
        for reals in (few, many, [4.25] * places):
            packed = as_of_old(reals, "real")
            if packed is not None:
                again = unpacked(connection, "_real", packed, places)
                assert list(map(as_stored, again)) == list(map(as_stored, reals))


def as_stored(number):
    """The nearest that a real can be."""
    return number if number is None else struct.unpack("f", struct.pack("f", number))[0]


def test_time_that_goes_on_evenly_takes_no_space():
    assert len(codec.pack(list(range(1_000_000, 1_000_000 + 60 * 60, 60)))) == 7


def test_a_packed_hour_is_found_by_its_index(connection, put):
    put(*((n, NOON + timedelta(minutes=m), {"load1": 1}) for n in (1, 2, 3) for m in range(600)))
    packed(connection)
    connection.execute("SET enable_seqscan = off")  # so small a table would be read whole
    plan = "\n".join(
        row[0]
        for row in connection.execute(
            "EXPLAIN SELECT * FROM readings WHERE system_id = 2 AND hour >= %s AND hour < %s "
            "AND collected_at >= %s",
            [NOON, NOON + timedelta(hours=2), NOON],
        )
    )
    assert "Index Scan using metrics_packed_202603_pkey" in plan
    assert "Index Scan using metrics_20260301_pkey" in plan


def test_what_comes_late_for_a_packed_day_is_read_summed_up_and_packed_too(connection, put):
    put(*((1, NOON + timedelta(minutes=m), {"load1": 1}) for m in range(10)))
    packed(connection)
    put((1, NOON + timedelta(seconds=90), {"load1": 12}), (2, NOON, {"load1": 5}))
    assert len(rows(connection)) == 12
    before = rows(connection)
    assert packed(connection) == 2
    assert rows(connection) == before
    assert count(connection, "metrics") == 0
    assert stored(connection, "5m", "load1")[1, NOON] == (6, 6, 1, pytest.approx(17 / 6), 12)


def test_what_is_written_while_a_day_is_packed_leaves_it_unpacked(store, connection, put, monkeypatch):
    put((1, NOON, {"load1": 1}))
    sum_up(connection)
    at_the_swap = partitions.lock

    def late(*args):
        with store.transaction() as other:
            other.execute("INSERT INTO metrics (system_id, collected_at, load1) VALUES (2, %s, 5)", [NOON])
        at_the_swap(*args)

    monkeypatch.setattr(partitions, "lock", late)
    assert pack.pack(connection, part(connection)) is None
    connection.commit()
    assert (count(connection, "metrics"), count(connection, "metrics_packed")) == (2, 0)
    monkeypatch.undo()
    assert packed(connection) == 2


@pytest.fixture
def one_by_one(monkeypatch):
    monkeypatch.setattr(pack, "AT_ONCE", 1)


def test_a_day_is_packed_aside_machine_by_machine_and_seen_packed_only_whole(connection, put, one_by_one):
    put(*((n, NOON + timedelta(minutes=m), {"load1": m}) for n in (1, 2, 3) for m in range(n)))
    sum_up(connection)
    day, before = part(connection), rows(connection)
    assert pack.outstanding(connection, day) == [[1], [2], [3]]
    pack.put_aside(connection, day, [1])
    connection.commit()
    assert pack.outstanding(connection, day) == [[2], [3]]  # so a round that was killed is gone on with
    assert pack.swap(connection, day) is None
    connection.commit()
    assert (rows(connection), count(connection, "metrics_packed")) == (before, 0)
    pack.put_aside(connection, day, [2, 3])
    assert pack.outstanding(connection, day) == []
    assert pack.swap(connection, day) == 6
    connection.commit()
    assert rows(connection) == before
    assert (count(connection, "metrics"), count(connection, "metrics_packing")) == (0, 0)


def test_what_comes_late_for_what_is_packed_aside_is_packed_aside_again(connection, put, one_by_one):
    put(*((n, NOON, {"load1": n}) for n in (1, 2)))
    sum_up(connection)
    day = part(connection)
    pack.put_aside(connection, day, [1, 2])
    put((2, NOON + timedelta(minutes=1), {"load1": 7}))
    assert pack.swap(connection, day) is None
    connection.commit()
    sum_up(connection)
    assert pack.outstanding(connection, day) == [[2]]
    assert packed(connection) == 3
    assert len(rows(connection)) == 3


def test_what_was_packed_aside_of_a_day_that_was_unpacked_since_is_worth_nothing(connection, put):
    put((1, NOON, {"load1": 1}))
    packed(connection)
    put((1, NOON + timedelta(minutes=1), {"load1": 2}))
    sum_up(connection)
    pack.put_aside(connection, part(connection), [1])  # both, of which one is plain
    connection.commit()
    assert pack.unpack(connection, DAY) == 1
    connection.commit()
    assert count(connection, "metrics_packing") == 0
    assert pack.outstanding(connection, part(connection)) == [[1]]
    assert packed(connection) == 2
    assert [row[1] for row in rows(connection)] == [NOON, NOON + timedelta(minutes=1)]


def test_two_who_pack_the_same_day_keep_out_of_each_others_way(store, connection, put):
    put(*((n, NOON, {"load1": n}) for n in (1, 2, 3)))
    sum_up(connection)
    day = part(connection)
    with store.transaction() as other:
        pack.put_aside(other, day, [1, 2, 3])
        pack.put_aside(connection, day, [1, 2, 3])
        assert pack.swap(connection, day) is None
        connection.commit()
    assert pack.pack(connection, day) == 3
    assert pack.pack(connection, day) == 0
    connection.commit()
    assert len(rows(connection)) == 3


def test_a_day_that_somebody_reads_is_packed_another_time(store, connection, put):
    put((1, NOON, {"load1": 1}))
    sum_up(connection)
    with store.transaction() as reader:
        reader.execute("SELECT * FROM metrics").fetchall()
        assert pack.pack(connection, part(connection)) is None
        connection.commit()
    assert (count(connection, "metrics"), count(connection, "metrics_packed")) == (1, 0)
    assert packed(connection) == 1


def test_a_day_that_somebody_else_dropped_meanwhile_is_left_alone(connection, put):
    put((1, NOON, {"load1": 1}))
    sum_up(connection)
    gone = part(connection)
    assert retention.drop(connection, gone)
    assert pack.pack(connection, gone) is None
    assert not retention.drop(connection, gone)


def test_a_day_that_is_not_summed_up_is_not_packed(connection, put):
    put((1, NOON, {"load1": 1}))
    assert pack.pack(connection, part(connection)) is None
    connection.commit()
    assert packed(connection) == 1


def test_readers_see_every_reading_once_while_days_are_packed_and_unpacked(store, connection, put):
    put(*((n, NOON + timedelta(minutes=m), {"load1": 1}) for n in (1, 2, 3) for m in range(100)))
    sum_up(connection)
    seen, stop = set(), threading.Event()

    def read():
        while not stop.is_set():
            with store.transaction() as reader:
                seen.add(count(reader, "readings"))

    thread = threading.Thread(target=read)
    thread.start()
    swaps = 0
    for _ in range(40):
        if pack.pack(connection, part(connection)):
            swaps += 1
        connection.commit()
        swaps += bool(pack.unpack(connection, DAY))
        connection.commit()
    stop.set()
    thread.join()
    assert swaps > 10
    assert seen == {300}


def test_a_day_unpacked_by_hand_stays_so_until_it_is_packed_by_hand(connection, put):
    put((1, NOON, {"load1": 1}))
    packed(connection)
    assert pack.unpack(connection, DAY) == 1
    later = NOON + timedelta(days=30)
    assert pack.ripe(connection, later, 7 * 86400) == []
    pack.repack(connection, DAY)
    assert [one.day for one in pack.ripe(connection, later, 7 * 86400)] == [DAY]


def test_a_day_is_ripe_some_time_after_its_end_and_never_within_a_day(connection, put):
    put((1, NOON, {"load1": 1}))
    end = datetime(2026, 3, 2, tzinfo=UTC)
    assert pack.ripe(connection, end + timedelta(days=7, seconds=-1), 7 * 86400) == []
    assert len(pack.ripe(connection, end + timedelta(days=7), 7 * 86400)) == 1
    assert pack.ripe(connection, end + timedelta(hours=23), 0) == []


@pytest.fixture
def handle(connection, config, fleet):
    def handle(*rows):
        bodies = [
            encode(Metrics(system_id=n, collected_at=at, metrics=Readings(load1=load)))
            for n, at, load in rows
        ]
        rejected = handlers(ingest_settings(config))[config.queue.metrics_queue](connection, bodies)
        connection.commit()
        return rejected

    return handle


def test_a_repeat_of_a_packed_reading_is_stored_once(connection, handle):
    at = utcnow() - timedelta(days=5)
    handle((1, at, 1.0), (2, at, 2.0))
    day = at.date()
    assert packed(connection, day, utcnow()) == 2
    assert handle((1, at, 1.0), (1, at + timedelta(microseconds=1), 3.0), (2, at, 2.0)) == {}
    assert [(row[0], row[1]) for row in rows(connection)] == [
        (1, at),
        (1, at + timedelta(microseconds=1)),
        (2, at),
    ]


def test_a_reading_of_a_day_that_is_being_dropped_as_empty_waits_and_makes_it_anew(
    store_url, connection, handle
):
    at = utcnow() - timedelta(days=100)
    day = at.date()
    partitions.make(connection, "metrics", [day])
    connection.commit()
    with ThreadPoolExecutor(1) as pool, psycopg.connect(store_url) as keeper:
        assert retention.drop_hollow(keeper, part(keeper, day))
        waiting = pool.submit(handle, (1, at, 1.0))
        deadline = time.monotonic() + 20
        while not keeper.execute("SELECT FROM pg_locks WHERE NOT granted").fetchall():
            assert time.monotonic() < deadline and not waiting.done()
            time.sleep(0.01)
        keeper.commit()
        assert waiting.result(30) == {}
    assert [(row[0], row[1]) for row in rows(connection)] == [(1, at)]


def test_a_partition_that_somebody_asked_for_is_theirs_before_the_first_row(store_url, connection, fleet):
    partitions.make(connection, "metrics", [DAY])
    connection.commit()
    partitions.make(connection, "metrics", [DAY])
    with psycopg.connect(store_url) as keeper:
        assert not retention.drop_hollow(keeper, part(keeper))
        keeper.rollback()
        connection.commit()
        assert retention.drop_hollow(keeper, part(keeper))


def test_a_reading_older_than_any_that_is_kept_is_a_dead_letter(connection, handle, config):
    long_ago = utcnow() - timedelta(seconds=config.retention.raw + 60)
    rejected = handle((1, long_ago, 1.0), (1, utcnow(), 1.0))
    assert [place for place in rejected] == [0]
    assert "older than [retention] raw, 1825d" in rejected[0].reason
    assert count(connection, "readings") == 1


def test_what_does_not_change_costs_a_dozen_bytes_an_hour(connection, put):
    put(*((1, NOON + timedelta(minutes=n), {"disk_total_bytes": 2_512_509_124_608}) for n in range(60)))
    assert packed(connection) == 60
    query = "SELECT octet_length(disk_total_bytes) FROM metrics_packed"
    assert connection.execute(query).fetchone()[0] <= 12
    assert {row[0] for row in connection.execute("SELECT disk_total_bytes FROM readings")} == {
        2_512_509_124_608
    }


# findings A7: one of three GPUs lost, nothing tells
def test_the_number_of_gpus_is_the_same_in_a_packed_day(connection, put):
    counts = [3, 3, None, 2, 0, 3]
    put(*((1, NOON + timedelta(minutes=n), {"load1": 1, "gpu_count": one}) for n, one in enumerate(counts)))
    assert packed(connection) == len(counts)
    query = "SELECT gpu_count FROM readings ORDER BY collected_at"
    assert [row[0] for row in connection.execute(query)] == counts
    assert count(connection, "metrics") == 0
