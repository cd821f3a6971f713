"""The notifier on a real store: what is told to whom and when, and what survives what."""

import threading
import time

import psycopg
import pytest

from labmon.alerts import deliveries
from labmon.alerts.notify.notifier import WORK, Notifier
from labmon.alerts.notify.sender import SendFailed
from labmon.store.leader import claimed
from tests.integration.alerts.telling import eventually, notifying, raised, states, store_alerts, target
from tests.support.clock import clock
from tests.support.receiver import Receiver

pytestmark = pytest.mark.usefixtures("machines")


def test_an_alert_is_told_once_with_the_machines_name_and_place(configured, connection, receiver):
    config = configured(target(receiver))
    with notifying(config):
        store_alerts(connection, config, raised())
        receiver.wait(1)
        eventually(lambda: states(connection) == {"sent": 1})
        time.sleep(0.4)
    (one,) = receiver.received
    assert one.alerts == [(42, "cpu_high", "firing")]
    assert one.document["alerts"][0]["about"] == "pc-42 (10.0.0.42)"
    assert one.document["alerts"][0]["place"] == "A-101"


def test_a_message_that_is_delivered_twice_is_told_once(configured, connection, receiver):
    config = configured(target(receiver))
    alert = raised()
    store_alerts(connection, config, alert, alert)
    store_alerts(connection, config, alert)
    with notifying(config):
        receiver.wait(1)
        time.sleep(0.4)
    assert receiver.alerts == [(42, "cpu_high", "firing")]


def test_each_target_is_told_of_what_it_wants(configured, connection, receiver):
    with Receiver() as physics, Receiver() as critical:
        config = configured(
            target(receiver, "all"),
            target(physics, "physics", departments=[1]),
            target(critical, "critical", severities=["critical"]),
        )
        store_alerts(
            connection,
            config,
            raised(2),
            raised(3),
            raised(4, severity="critical"),
            raised(0, "queue_backlog"),
        )
        with notifying(config):
            for one in (receiver, physics, critical):
                one.wait(1)
        assert sorted(system for system, _, _ in receiver.alerts) == [0, 2, 3, 4]
        assert sorted(system for system, _, _ in physics.alerts) == [2, 4]
        assert sorted(system for system, _, _ in critical.alerts) == [4]


def test_two_thousand_machines_at_once_are_one_notification(configured, connection, receiver):
    config = configured(target(receiver), group_wait="5s")
    with notifying(config):
        for start in range(1, 2001, 500):
            store_alerts(connection, config, *(raised(n, "no_data") for n in range(start, start + 500)))
        receiver.wait(1)
        eventually(lambda: states(connection) == {"sent": 2000})
        time.sleep(0.4)
    (one,) = receiver.received
    assert len(one.alerts) == 2000


def test_the_next_notification_waits_for_company_but_a_critical_one_does_not(
    configured, connection, receiver
):
    config = configured(target(receiver), group_interval="1h")
    with notifying(config):
        store_alerts(connection, config, raised(2))
        receiver.wait(1)
        store_alerts(connection, config, raised(3))
        time.sleep(1.2)
        assert len(receiver.received) == 1
        store_alerts(connection, config, raised(4, severity="critical"))
        receiver.wait(2)
    assert [one.alerts for one in receiver.received] == [
        [(2, "cpu_high", "firing")],
        [(4, "cpu_high", "firing"), (3, "cpu_high", "firing")],
    ]


def test_an_alert_that_ended_before_anybody_was_told_is_told_by_its_end(configured, connection, receiver):
    config = configured(target(receiver))
    store_alerts(connection, config, raised())
    store_alerts(connection, config, raised(state="resolved"))
    with notifying(config):
        receiver.wait(1)
        eventually(lambda: states(connection) == {"sent": 1, "superseded": 1})
    assert receiver.alerts == [(42, "cpu_high", "resolved")]


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr("labmon.alerts.notify.notifier.FIRST_PAUSE", 0.2)


def test_a_target_that_is_away_is_told_when_it_is_back(configured, connection, impatient):
    with Receiver(answers=[503, 500]) as receiver:
        config = configured(target(receiver))
        store_alerts(connection, config, raised())
        with notifying(config):
            receiver.wait(3)
            eventually(lambda: states(connection) == {"sent": 1})
        assert len({one.headers["Idempotency-Key"] for one in receiver.received}) == 1
    (kept,) = deliveries.recent(connection, limit=10)
    assert (kept.state, kept.attempts, kept.error) == ("sent", 3, None)


def test_the_pauses_between_attempts_grow(configured, connection, monkeypatch, caplog):
    monkeypatch.setattr("labmon.alerts.notify.notifier.FIRST_PAUSE", 0.4)
    monkeypatch.setattr("labmon.backoff.random.uniform", lambda low, high: high)
    with Receiver(answers=[503, 503]) as receiver:
        config = configured(target(receiver))
        store_alerts(connection, config, raised())
        with notifying(config):
            receiver.wait(3)
        first, second, third = (one.at for one in receiver.received)
    assert second - first >= 0.4
    assert third - second >= 0.8
    # What was scheduled; what passes on a loaded machine may be longer.
    assert [one.args[2] for one in caplog.records if "retry in" in one.msg] == [0.4, 0.8]


def test_a_no_is_kept_and_can_be_tried_again(configured, connection):
    with Receiver(answers=[404]) as receiver:
        config = configured(target(receiver))
        store_alerts(connection, config, raised())
        with notifying(config):
            eventually(lambda: states(connection) == {"failed": 1})
            (kept,) = deliveries.recent(connection, state="failed", limit=10)
            assert kept.error == "it answered 404"
            time.sleep(0.4)
            assert len(receiver.received) == 1
            assert deliveries.try_again(connection) == 1
            connection.commit()
            receiver.wait(2)
            eventually(lambda: states(connection) == {"sent": 1})


def test_after_a_day_in_vain_an_alert_is_given_up_and_newer_ones_are_not(configured, connection, receiver):
    config = configured(target(receiver))
    store_alerts(connection, config, raised(2))
    connection.execute(
        "UPDATE deliveries SET created_at = now() - interval '25 hours', error = 'no connection'"
    )
    store_alerts(connection, config, raised(4))
    with notifying(config):
        receiver.wait(1)
        eventually(lambda: states(connection) == {"failed": 1, "sent": 1})
    assert receiver.alerts == [(4, "cpu_high", "firing")]
    assert deliveries.recent(connection, state="failed", limit=1)[0].error == "no connection"


def test_a_slow_target_delays_no_other(configured, connection, receiver):
    with Receiver(delay=5.0) as slow:
        config = configured(target(slow, "slow"), target(receiver, "quick"), timeout="10s")
        with notifying(config):
            store_alerts(connection, config, raised())
            slow.wait(1)
            began = clock()
            for _ in range(3):
                store_alerts(connection, config, raised())
                receiver.wait(len(receiver.received) + 1, 3)
            assert clock() - began < 4


def test_a_stop_is_quick_while_a_target_hangs_and_nothing_is_forgotten(configured, connection, receiver):
    with Receiver(delay=8.0) as slow:
        config = configured(target(slow), timeout="20s")
        store_alerts(connection, config, raised())
        began = clock()
        with notifying(config):
            slow.wait(1)
        assert clock() - began < 6
    assert states(connection) == {"waiting": 1}


def test_who_is_killed_between_sending_and_recording_repeats_and_loses_nothing(
    configured, connection, receiver
):
    config = configured(target(receiver))
    store_alerts(connection, config, raised())

    class Killed(Notifier):
        def _settle(self, connection, outcome):
            raise KeyboardInterrupt

    with psycopg.connect(config.database.url, autocommit=True) as other, pytest.raises(KeyboardInterrupt):
        Killed(config.notify).send_all(other)
    assert states(connection) == {"waiting": 1}
    with notifying(config):
        receiver.wait(2)
        eventually(lambda: states(connection) == {"sent": 1})
    first, second = receiver.received
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]


def test_of_two_processes_one_tells_and_the_other_takes_over(
    configured, connection, receiver, store, monkeypatch
):
    monkeypatch.setattr("labmon.store.leader.RETRY", 0.3)
    config = configured(target(receiver))
    stops = [threading.Event(), threading.Event()]
    threads = [threading.Thread(target=Notifier(config.notify).run, args=[store, stop]) for stop in stops]
    for thread in threads:
        thread.start()
    try:
        for number in range(1, 6):
            store_alerts(connection, config, raised(number))
            receiver.wait(number)
        told = "SELECT count(*) FROM deliveries WHERE state = 'sent'"
        deadline = time.monotonic() + 10  # who dies before it is noted tells it again
        while connection.execute(told).fetchone() != (5,) and time.monotonic() < deadline:
            connection.rollback()
            time.sleep(0.02)
        owner = connection.execute(
            "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND database = "
            "(SELECT oid FROM pg_database WHERE datname = current_database())"
        ).fetchall()
        assert len(owner) == 1
        connection.execute("SELECT pg_terminate_backend(%s)", owner[0])
        connection.commit()
        store_alerts(connection, config, raised(6))
        receiver.wait(6)
    finally:
        for stop in stops:
            stop.set()
        for thread in threads:
            thread.join(30)
    assert [system for system, _, _ in receiver.alerts] == [1, 2, 3, 4, 5, 6]


def test_a_bug_in_a_sender_is_an_attempt_in_vain(configured, connection, receiver):
    class Broken:
        resend = 0.0

        def send(self, notification):
            raise KeyError("a bug")

    config = configured(target(receiver))
    store_alerts(connection, config, raised())
    with notifying(config, open=lambda target, settings: Broken()):
        eventually(lambda: deliveries.recent(connection, limit=1)[0].attempts == 1)
    (kept,) = deliveries.recent(connection, limit=1)
    assert (kept.state, kept.error) == ("waiting", "a bug: KeyError")


def test_a_target_may_say_when_to_come_again(configured, connection, receiver):
    class Busy:
        resend = 0.0

        def send(self, notification):
            raise SendFailed("it answered 429", after=1000)

    config = configured(target(receiver))
    store_alerts(connection, config, raised())
    with notifying(config, open=lambda target, settings: Busy()):
        eventually(lambda: deliveries.recent(connection, limit=1)[0].attempts == 1)
    (wait,) = connection.execute("SELECT not_before - clock_timestamp() FROM notified").fetchone()
    assert 900 < wait.total_seconds() <= 1000


def test_who_tells_all_at_once_leaves_it_to_a_process_that_is_at_it(configured, connection, store, receiver):
    config = configured(target(receiver))
    store_alerts(connection, config, raised())
    with store.session("one") as one, store.session("other") as other:
        assert claimed(one, WORK)
        Notifier(config.notify).send_all(other)
        assert states(connection) == {"waiting": 1}
        one.close()
        eventually(lambda: claimed(other, WORK))
        Notifier(config.notify).send_all(other)
    assert states(connection) == {"sent": 1}


def once(config):
    """One run of cron: a process that notifies of what waits, and ends."""
    with psycopg.connect(config.database.url, autocommit=True) as other:
        Notifier(config.notify).send_all(other)


def set_wait(connection, interval):
    connection.execute("UPDATE notified SET not_before = clock_timestamp() + %s::interval", [interval])
    connection.commit()


@pytest.mark.parametrize(
    "answer", [{"then": 429, "headers": {"Retry-After": "3600"}}, {"then": 503}, {"then": 500}]
)
def test_a_target_that_failed_is_left_alone_by_every_process_until_its_time(
    configured, connection, answer, caplog
):
    with Receiver(**answer) as receiver:
        config = configured(target(receiver))
        store_alerts(connection, config, raised())
        for _ in range(3):
            once(config)
        store_alerts(connection, config, raised(43, severity="critical"))
        once(config)
        assert len(receiver.received) == 1
        assert "alerts wait for admins, which failed: retry in" in caplog.text
        set_wait(connection, "-1 second")
        once(config)
        assert len(receiver.received) == 2


def test_one_target_that_waits_holds_up_no_other(configured, connection, receiver):
    with Receiver(then=503) as away:
        config = configured(target(away, "away"), target(receiver, "there"))
        for system in (42, 43):
            store_alerts(connection, config, raised(system))
            once(config)
        assert (len(away.received), len(receiver.received)) == (1, 2)


def test_trying_again_by_hand_does_not_wait(configured, connection):
    with Receiver(answers=[503]) as receiver:
        config = configured(target(receiver))
        store_alerts(connection, config, raised())
        once(config)
        deliveries.try_again(connection)
        connection.commit()
        once(config)
        assert len(receiver.received) == 2
    assert states(connection) == {"sent": 1}


def test_what_notified_once_lets_the_next_process_notify_at_once(configured, connection, receiver):
    config = configured(target(receiver))
    with psycopg.connect(config.database.url, autocommit=True) as stays_connected:
        for system in (42, 43):
            store_alerts(connection, config, raised(system))
            Notifier(config.notify).send_all(stays_connected)
            once(config)
            store_alerts(connection, config, raised(system + 10))
            once(config)
    assert len(receiver.received) == 4
