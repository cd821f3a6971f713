"""Clocks that are ahead: what they left in the inventory gives way to the next true time (findings A2).

By the clock of the database, for the queue and without one.
"""

import json
from datetime import timedelta, timezone

import msgspec
import pytest

from labmon.app.open import ingest_settings, open_store
from labmon.ingest.handlers import handlers
from labmon.messages import Discovery, Metrics, Readings, ScanFinished, SystemStatus, encode, utcnow
from labmon.sinks.direct import DirectSink
from labmon.sinks.spool.spool import Spool
from labmon.store.inventory import systems

YEARS = timedelta(days=3650)
TIMES = ("first_seen", "last_seen", "seen_at", "last_collected", "status_at", "status_since", "gone_since")


@pytest.fixture
def machine(connection):
    """Machine 42, with every time ten years ahead, as one run under a wrong clock left them."""
    connection.execute("INSERT INTO departments (dept_id) VALUES (1)")
    connection.execute(
        "INSERT INTO systems (system_id, dept_id, ip_address, status) VALUES (42, 1, '10.0.0.9', 'active')"
    )
    for name in ("last_seen", "seen_at", "last_collected", "status_at", "status_since"):
        connection.execute(f"UPDATE systems SET {name} = now() + interval '10 years'")
    connection.commit()
    return connection


def ahead(connection):
    """The times that are still in the future."""
    values = connection.execute(f"SELECT {', '.join(TIMES)} FROM systems WHERE system_id = 42").fetchone()
    return [name for name, value in zip(TIMES, values, strict=True) if value and value > utcnow()]


def reading(at, cpu=5.0):
    return Metrics(system_id=42, collected_at=at, metrics=Readings(cpu_percent=cpu))


def test_the_next_true_reading_repairs_what_a_wrong_clock_left(machine, config):
    handle = handlers(ingest_settings(config))["metrics_queue"]
    at = utcnow() - timedelta(seconds=5)
    assert handle(machine, [encode(reading(at, 77))]) == {}
    assert ahead(machine) == ["seen_at"]  # of the scan, which no reading is
    (shown,) = systems.systems(machine)
    assert (shown.last_collected, shown.cpu_percent) == (at, 77)


def test_the_next_true_status_repairs_it_too(machine, config):
    handle = handlers(ingest_settings(config))["discovery_queue"]
    now = utcnow()
    status = SystemStatus(system_id=42, status="offline", since=now, checked_at=now)
    assert handle(machine, [encode(status)]) == {}
    assert not {"status_at", "status_since"} & set(ahead(machine))
    (shown,) = systems.systems(machine)
    assert (shown.status, shown.status_since) == ("offline", now)


def test_the_next_true_scan_finds_it_where_it_is(machine, config):
    handle = handlers(ingest_settings(config))["discovery_queue"]
    found = Discovery(
        scan_id=7, dept_id=2, ip_address="10.0.0.9", hostname="pc-9", discovered_at=utcnow(), scan_type="ping"
    )
    assert handle(machine, [encode(found)]) == {}
    assert not {"last_seen", "seen_at"} & set(ahead(machine))
    (shown,) = systems.systems(machine)
    assert (shown.system_id, shown.dept_id, shown.hostname) == (42, 2, "pc-9")


def test_another_machine_takes_the_address_over_from_one_that_is_ahead(machine, config):
    machine.execute("UPDATE systems SET mac_address = '00:1b:44:11:3a:b7'")
    found = Discovery(
        scan_id=7,
        dept_id=1,
        ip_address="10.0.0.9",
        mac_address="00:1b:44:11:3a:b8",
        discovered_at=utcnow(),
        scan_type="arp",
    )
    assert handlers(ingest_settings(config))["discovery_queue"](machine, [encode(found)]) == {}
    rows = machine.execute("SELECT host(ip_address), mac_address::text FROM systems ORDER BY system_id")
    assert rows.fetchall() == [(None, "00:1b:44:11:3a:b7"), ("10.0.0.9", "00:1b:44:11:3a:b8")]


def test_what_collecting_is_told_of_signs_of_life_is_not_ahead(machine):
    (known,) = systems.fleet(machine).machines
    assert known.seen_at is None


def test_readings_within_the_allowed_skew_stay_in_order_of_arrival(machine, config):
    """A machine whose clock is always half an hour ahead: the newest that came is shown."""
    handle = handlers(ingest_settings(config))["metrics_queue"]
    for minute in range(3):
        at = utcnow() + timedelta(minutes=30 + minute)
        assert handle(machine, [encode(reading(at, minute))]) == {}
        (shown,) = systems.systems(machine)
        assert (shown.last_collected, shown.cpu_percent) == (at, minute)


FUTURE = utcnow() + YEARS
MESSAGES = [
    reading(FUTURE),
    SystemStatus(system_id=42, status="offline", since=utcnow(), checked_at=FUTURE),
    Discovery(scan_id=1, dept_id=1, ip_address="10.0.0.1", discovered_at=FUTURE, scan_type="ping"),
    ScanFinished(
        scan_id=1, dept_id=1, scan_type="ping", target_range="10.0.0.1", started_at=FUTURE,
        finished_at=FUTURE, systems_found=1, status="completed",
    ),
]  # fmt: skip


@pytest.mark.parametrize("message", MESSAGES, ids=lambda one: type(one).__name__)
def test_without_a_queue_too_the_database_s_clock_says_what_is_in_the_future(
    machine, config, tmp_path, message, monkeypatch
):
    """The clock of the machine that runs labmon is the one that is wrong."""
    for module in ("labmon.ingest.handlers", "labmon.store.events", "labmon.messages"):
        monkeypatch.setattr(f"{module}.utcnow", lambda: FUTURE, raising=False)
    said = []
    spool = Spool(tmp_path / "spool.db", max_bytes=2**20, max_age=86400)
    with (
        open_store(config) as store,
        DirectSink(lambda: store, ingest_settings(config), spool, said.append) as sink,
    ):
        sink.send(message)
        sink.flush()
    assert sink.rejected == 1
    assert said[0].endswith("is in the future: a wrong clock")
    assert machine.execute("SELECT max(received_at) FROM events").fetchone() == (None,)


def test_events_are_stamped_by_the_database_s_clock(machine, config, monkeypatch):
    monkeypatch.setattr("labmon.messages.utcnow", lambda: FUTURE)
    handlers(ingest_settings(config))["metrics_queue"](
        machine, [encode(reading(utcnow() - timedelta(minutes=1)))]
    )
    assert machine.execute("SELECT received_at < now() + interval '1 minute' FROM events").fetchone() == (
        True,
    )


# Events of messages that are delivered again (findings D2)


def test_a_message_delivered_again_is_one_event_and_one_published_twice_is_two(machine, config):
    handle = handlers(ingest_settings(config))["metrics_queue"]
    now = utcnow()
    bodies = [encode(reading(now - timedelta(minutes=n + 1))) for n in range(3)]
    handle(machine, bodies)
    for _ in range(5):  # stored, and never acknowledged
        handle(machine, bodies, dict.fromkeys(range(3), now))
    assert machine.execute("SELECT count(*) FROM events").fetchone() == (3,)
    handle(machine, bodies[:1])  # another message with the same body
    assert machine.execute("SELECT count(*) FROM events").fetchone() == (4,)


def test_a_message_that_failed_before_is_an_event_when_it_is_stored(machine, config):
    handle = handlers(ingest_settings(config))["metrics_queue"]
    now = utcnow()
    handle(machine, [encode(reading(now - timedelta(minutes=1)))])
    new = encode(reading(now - timedelta(minutes=2)))
    handle(machine, [new, b"no json"], {0: now - timedelta(hours=2), 1: now})
    assert machine.execute("SELECT count(*) FROM events").fetchone() == (2,)


@pytest.mark.parametrize("enqueued_at", [utcnow() - 400 * YEARS / 10, utcnow() + YEARS, None])
def test_a_foreign_time_of_enqueueing_does_no_harm(machine, config, enqueued_at):
    handle = handlers(ingest_settings(config))["discovery_queue"]
    found = Discovery(scan_id=7, dept_id=2, ip_address="10.0.0.9", discovered_at=utcnow(), scan_type="ping")
    handle(machine, [encode(found)])
    handle(machine, [encode(found)], {0: enqueued_at or utcnow().replace(year=1)})
    assert machine.execute("SELECT count(*) FROM events").fetchone() == (1,)


def test_each_kind_counts_once(machine, config):
    now = utcnow()
    status = SystemStatus(system_id=42, status="offline", since=now, checked_at=now)
    other = msgspec.structs.replace(status, status="refused")
    handle = handlers(ingest_settings(config))["discovery_queue"]
    for again in ({}, {0: now, 1: now}, {0: now, 1: now}):
        handle(machine, [encode(status), encode(other)], again)
    assert machine.execute("SELECT count(*) FROM events").fetchone() == (2,)


# What comes late does not replace what came from the future, nor what is newer


@pytest.fixture
def seen(connection):
    """Machine 42, found an hour ago."""
    connection.execute("INSERT INTO departments (dept_id) VALUES (1)")
    connection.execute(
        "INSERT INTO systems (system_id, dept_id, ip_address, first_seen, last_seen) "
        "VALUES (42, 1, '10.0.0.9', now() - interval '1 hour', now() - interval '1 hour')"
    )
    connection.commit()
    return connection


LATE = [timedelta(minutes=5), timedelta(hours=2), timedelta(days=20)]


@pytest.mark.parametrize("late", LATE, ids=str)
@pytest.mark.parametrize("status", ["discovered", "maintenance"])
def test_a_late_reading_does_not_replace_one_from_the_future(seen, config, late, status):
    seen.execute("UPDATE systems SET status = %s, status_at = now() - interval '30 days'", [status])
    handle = handlers(ingest_settings(config))["metrics_queue"]
    came = utcnow()
    assert handle(seen, [encode(reading(came + timedelta(minutes=50), 50))]) == {}
    assert handle(seen, [encode(reading(came - late, 5))]) == {}
    (shown,) = systems.systems(seen)
    assert (shown.last_collected, shown.cpu_percent) == (came + timedelta(minutes=50), 50)
    assert came - timedelta(seconds=1) <= shown.last_seen <= utcnow()
    assert seen.execute("SELECT count(*) FROM metrics").fetchone() == (2,)
    true = utcnow()
    seen.commit()  # the database's now() is that of the transaction
    assert handle(seen, [encode(reading(true, 6))]) == {}
    (shown,) = systems.systems(seen)
    assert (shown.last_collected, shown.cpu_percent) == (true, 6)


def test_a_late_status_does_not_replace_one_from_the_future(seen, config):
    handle = handlers(ingest_settings(config))["discovery_queue"]
    now = utcnow()
    for status, at in (("offline", now + timedelta(minutes=50)), ("refused", now - timedelta(minutes=5))):
        one = SystemStatus(system_id=42, status=status, since=at, checked_at=at)
        assert handle(seen, [encode(one)]) == {}
    assert [one.status for one in systems.systems(seen)] == ["offline"]
    seen.commit()
    at = utcnow()
    assert handle(seen, [encode(SystemStatus(system_id=42, status="active", since=at, checked_at=at))]) == {}
    assert [one.status for one in systems.systems(seen)] == ["active"]


def test_a_late_sighting_does_not_replace_one_from_the_future(seen, config):
    handle = handlers(ingest_settings(config))["discovery_queue"]
    now = utcnow()
    for scan, name, at in ((1, "new", now + timedelta(minutes=50)), (2, "old", now - timedelta(days=900))):
        found = Discovery(
            scan_id=scan, dept_id=1, ip_address="10.0.0.9", hostname=name, discovered_at=at, scan_type="ping"
        )
        assert handle(seen, [encode(found)]) == {}
    assert [one.hostname for one in systems.systems(seen)] == ["new"]


@pytest.mark.parametrize("hours, minutes", [(23, 59), (-23, -59), (15, 59), (18, 0)])
def test_a_time_with_any_offset_is_stored_with_its_batch(seen, config, hours, minutes):
    """PostgreSQL takes no offset of 16 hours or more; RFC 3339 does."""
    handle = handlers(ingest_settings(config))["metrics_queue"]
    at = utcnow() - timedelta(seconds=30)
    zone = timezone(timedelta(hours=hours, minutes=minutes))
    odd = {"system_id": 42, "collected_at": at.astimezone(zone).isoformat(), "metrics": {"load1": 2.0}}
    bodies = [encode(reading(at - timedelta(seconds=5))), json.dumps(odd).encode()]
    assert handle(seen, bodies) == {}
    (shown,) = systems.systems(seen)
    assert shown.last_collected == at
    assert seen.execute("SELECT count(*) FROM metrics").fetchone() == (2,)


def test_a_sighting_at_an_address_that_is_no_machine_s_is_rejected_alone(seen, config):
    handle = handlers(ingest_settings(config))["discovery_queue"]
    odd = ["::ffff:127.9.0.1", "0.0.0.0", "255.255.255.255", "224.0.0.1", "fe80::1", "8.8.8.8"]
    bodies = [
        json.dumps(
            {
                "scan_id": 1,
                "dept_id": 1,
                "ip_address": address,
                "discovered_at": utcnow().isoformat(),
                "scan_type": "ping",
            }
        ).encode()
        for address in odd
    ]
    rejected = handle(seen, bodies)
    assert sorted(rejected) == [0, 1, 2, 3, 4]
    assert all(one.reason.startswith("undecodable: ") for one in rejected.values())
    assert {one.ip_address for one in systems.systems(seen)} == {"10.0.0.9", "8.8.8.8"}
