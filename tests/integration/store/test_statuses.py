"""The newest word on a machine counts, whichever way and in whichever order it comes."""

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from labmon.app.open import ingest_settings
from labmon.config.tables import Config
from labmon.ingest.handlers import handlers
from labmon.messages import Discovery, Metrics, Readings, SystemStatus, encode
from labmon.store.inventory import history
from labmon.store.inventory.statuses import record_statuses, set_status
from labmon.store.inventory.systems import fleet, record_discoveries, systems
from labmon.store.metrics.record import record_metrics

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def at(minutes):
    return NOON + timedelta(minutes=minutes)


@pytest.fixture
def machines(connection):
    found = [
        Discovery(scan_id=1, dept_id=1, ip_address=f"10.0.0.{n}", discovered_at=at(-60), scan_type="ping")
        for n in (1, 2, 3)
    ]
    record_discoveries(connection, found)
    connection.commit()


def told(status="refused", minutes=0, *, system_id=1, since=None, error="refused: nothing listens"):
    return SystemStatus(
        system_id=system_id,
        status=status,
        since=at(minutes if since is None else since),
        checked_at=at(minutes),
        error=error if status != "active" else None,
    )


def reading(minutes=0, system_id=1):
    return Metrics(system_id=system_id, collected_at=at(minutes), metrics=Readings(load1=1.0))


def state(connection, system_id=1):
    (one,) = systems(connection, ids=[system_id])
    return one.status, one.status_since, one.status_error


def test_a_status_is_stored_with_since_when_and_why(connection, machines):
    assert state(connection) == ("discovered", at(-60), None)
    record_statuses(connection, [told(minutes=5, since=3)])
    assert state(connection) == ("refused", at(3), "refused: nothing listens")
    assert state(connection, 2) == ("discovered", at(-60), None)


def test_the_newest_of_a_batch_counts_and_an_older_or_repeated_one_changes_nothing(connection, machines):
    record_statuses(connection, [told("offline", 5), told("timed out", 9), told("refused", 7)])
    assert state(connection)[:2] == ("timed out", at(9))
    record_statuses(connection, [told("offline", 8), told("active", 9)])
    assert state(connection)[:2] == ("timed out", at(9))
    record_statuses(connection, [told("active", 10)])
    assert state(connection) == ("active", at(10), None)


def test_a_reading_makes_active_only_if_it_is_newer_than_the_status(connection, machines):
    record_metrics(connection, [reading(1)])
    assert state(connection) == ("active", at(1), None)
    record_statuses(connection, [told(minutes=5)])
    record_metrics(connection, [reading(4)])  # late
    record_metrics(connection, [reading(1)])  # again
    assert state(connection) == ("refused", at(5), "refused: nothing listens")
    (one,) = systems(connection, ids=[1])
    assert one.last_collected == at(4)
    record_metrics(connection, [reading(6)])
    assert state(connection) == ("active", at(6), None)
    record_metrics(connection, [reading(7)])
    assert state(connection) == ("active", at(6), None)
    record_statuses(connection, [told(minutes=6.5)])  # overtaken by the reading
    assert state(connection) == ("active", at(6), None)


def test_an_old_reading_does_not_make_a_newly_found_machine_active(connection, machines):
    record_metrics(connection, [reading(-600)])
    assert state(connection)[0] == "discovered"
    record_metrics(connection, [reading(-64)])  # its clock is four minutes slow
    assert state(connection)[0] == "active"


def test_a_machine_whose_clock_is_ahead_can_fail_in_the_meantime(connection, machines):
    now = datetime.now(UTC)
    ahead = Metrics(system_id=1, collected_at=now + timedelta(minutes=4), metrics=Readings(load1=1.0))
    record_metrics(connection, [ahead])
    assert state(connection)[0] == "active"
    failed_at = now + timedelta(minutes=1)
    failed = SystemStatus(system_id=1, status="offline", since=failed_at, checked_at=failed_at, error="x")
    record_statuses(connection, [failed])
    assert state(connection)[0] == "offline"


def test_maintenance_lasts_until_somebody_ends_it(connection, machines):
    set_status(connection, [1, 2], "maintenance")
    since = state(connection)[1]
    record_statuses(connection, [told(minutes=10**6)])
    record_metrics(connection, [reading(10**6)])
    set_status(connection, [1], "maintenance")
    assert state(connection) == ("maintenance", since, None)
    set_status(connection, [1], "active")
    connection.commit()
    assert state(connection)[0] == "active"
    record_statuses(connection, [told(minutes=0)])  # from before
    assert state(connection)[0] == "active"
    later = datetime.now(UTC) + timedelta(seconds=1)
    record_statuses(
        connection, [SystemStatus(system_id=1, status="offline", since=later, checked_at=later, error="x")]
    )
    assert state(connection)[0] == "offline"


def test_any_order_and_any_repeats_end_in_the_same_state(connection, machines):
    events = [
        told("offline", 2),
        reading(3),
        told("refused", 4),
        told("active", 6),
        reading(7),
        told("timed out", 8),
    ]
    for seed in range(20):
        connection.execute(
            "UPDATE systems SET status = 'active', status_since = NULL, status_at = first_seen"
        )
        connection.execute("UPDATE systems SET last_collected = NULL")
        chance = random.Random(seed)
        order = events + chance.choices(events, k=3)
        chance.shuffle(order)
        for one in order:
            record_statuses(connection, [one]) if isinstance(one, SystemStatus) else record_metrics(
                connection, [one]
            )
        assert state(connection) == ("timed out", at(8), "refused: nothing listens")


def fared(connection, system_id=1):
    """How it fared over time: (minute, before, after)."""
    found = history.changes(connection, system_id=system_id, kinds=["status"])
    return [((one.at - NOON).total_seconds() / 60, one.old_value, one.new_value) for one in found]


def test_the_history_has_each_change_of_a_status_once_with_since_when_and_why(connection, machines):
    record_metrics(connection, [reading(1), reading(1, 2)])
    record_metrics(connection, [reading(2), reading(2, 2)])
    record_statuses(
        connection, [told(minutes=5, since=4), told("offline", 6, system_id=2, error="offline: x")]
    )
    record_statuses(
        connection, [told(minutes=65, since=4), told(minutes=66, since=4, error="refused: other")]
    )
    record_metrics(connection, [reading(70), reading(71, 2)])
    assert fared(connection) == [(1, None, "active"), (4, "active", "refused"), (70, "refused", "active")]
    assert fared(connection, 2) == [(1, None, "active"), (6, "active", "offline"), (71, "offline", "active")]
    refused, *_ = history.changes(connection, system_id=2, kinds=["status"])[1:]
    assert (refused.error, refused.scan_id) == ("offline: x", None)

    set_status(connection, [1, 2], "maintenance")
    record_statuses(connection, [told(minutes=80)])
    assert [one[1:] for one in fared(connection)[3:]] == [("active", "maintenance")]
    assert fared(connection, 3) == []


def test_the_history_of_a_backlog_is_whole_in_whatever_order_its_queues_are_emptied(connection, machines):
    record_metrics(connection, [reading(0)])
    record_metrics(connection, [reading(minute) for minute in range(60, 120)])
    record_statuses(connection, [told("offline", 10), told("refused", 20)])
    assert fared(connection)[2:] == [(20, "offline", "refused"), (119, "refused", "active")]
    record_statuses(connection, [told("active", 60), told("offline", 10)])
    assert fared(connection) == [
        (0, None, "active"),
        (10, "active", "offline"),
        (20, "offline", "refused"),
        (60, "refused", "active"),
    ]


def test_collectors_of_two_minds_are_told_apart_by_time(connection, machines):
    """One reaches it, and the other says so each hour, as of the time when it first did not."""
    record_statuses(connection, [told(minutes=1)])
    record_metrics(connection, [reading(2)])
    record_statuses(connection, [told(minutes=61, since=1)])
    assert state(connection)[0] == "refused"
    record_metrics(connection, [reading(62)])
    assert fared(connection) == [
        (1, None, "refused"),
        (2, "refused", "active"),
        (61, "active", "refused"),
        (62, "refused", "active"),
    ]


def test_in_any_order_the_history_ends_with_what_is_and_repeats_nothing(connection, machines):
    chance = random.Random(7)
    statuses = ["active", "offline", "refused", "timed out"]
    for _ in range(40):
        connection.execute("UPDATE systems SET status = 'discovered', status_since = NULL, status_at = NULL")
        connection.execute("UPDATE systems SET last_collected = NULL")
        connection.execute("DELETE FROM system_history WHERE change = 'status'")
        words = [told(chance.choice(statuses), minute) for minute in chance.sample(range(30), 8)]
        words += chance.choices(words, k=3)
        chance.shuffle(words)
        while words:
            batch = [words.pop() for _ in range(min(len(words), chance.randint(1, 4)))]
            record_statuses(connection, batch)
            if chance.random() < 0.3:
                record_metrics(connection, [reading(chance.randrange(30))])
            found = fared(connection)
            assert found[-1][2] == state(connection)[0]
            assert all(before != after for _, before, after in found)
            assert found == sorted(found, key=lambda one: one[0])


def test_the_handler_takes_all_three_kinds_and_rejects_strangers(connection, machines):
    handle_discoveries = handlers(ingest_settings(Config()), record=False)["discovery_queue"]
    discovery = Discovery(scan_id=2, dept_id=1, ip_address="10.0.0.9", discovered_at=at(1), scan_type="ping")
    rejected = handle_discoveries(
        connection,
        [
            encode(told(minutes=1)),
            encode(discovery),
            encode(told(system_id=99)),
            b'{"checked_at": 5, "status": 1}',
        ],
    )
    assert {place: one.reason for place, one in rejected.items()}.keys() == {2, 3}
    assert "system_id 99 is not in the inventory" in rejected[2].reason
    assert rejected[3].reason.startswith("undecodable")
    assert state(connection)[0] == "refused"
    assert len(systems(connection)) == 4


def test_workers_that_store_statuses_and_readings_of_the_same_machines_do_not_fail_each_other(
    store, machines
):
    handle_discoveries = handlers(ingest_settings(Config()), record=False)["discovery_queue"]

    def work(seed):
        chance = random.Random(seed)
        for minute in range(30):
            numbers = chance.sample([1, 2, 3], 3)
            with store.transaction() as connection:
                if seed % 2:
                    handle_discoveries(
                        connection, [encode(told(minutes=minute, system_id=n)) for n in numbers]
                    )
                else:
                    from labmon.store.inventory.systems import hold

                    hold(connection, numbers)
                    record_metrics(connection, [reading(minute, n) for n in numbers])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    with store.transaction() as connection:
        assert {one.status for one in systems(connection)} <= {"active", "refused"}


def test_the_fleet_is_what_collecting_has_to_know(connection, machines):
    connection.execute("INSERT INTO labs (lab_id, dept_id, name) VALUES (7, 1, 'A-101')")
    connection.execute("UPDATE systems SET lab_id = 7, ssh_port = 2222, hostname = 'pc' WHERE system_id = 1")
    connection.execute("UPDATE systems SET ip_address = NULL WHERE system_id = 3")
    record_metrics(connection, [reading(5, system_id=2)])
    set_status(connection, [1], "active")
    read = fleet(connection)
    assert [(one.name, one.lab_id) for one in read.labs] == [("A-101", 7)]
    first, second = read.machines
    assert (first.address, first.system_id, first.dept_id, first.lab_id) == ("10.0.0.1", 1, 1, 7)
    assert (first.name, first.port) == ("pc", 2222)
    assert first.seen_at > at(0)  # somebody said that it is well
    assert (second.port, second.seen_at) == (None, at(5))


def test_machines_are_listed_by_status(connection, machines):
    record_statuses(connection, [told("offline", 1), told("refused", 1, system_id=2)])
    listed = systems(connection, statuses=["offline", "discovered"])
    assert [one.system_id for one in listed] == [1, 3]
