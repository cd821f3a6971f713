"""Targets with a limit on size, redirects, answers without end: only what cannot be sent is given up."""

import msgspec
import pytest

from labmon.alerts import deliveries
from labmon.alerts.notify import notifier
from labmon.alerts.notify.apprise_sender import AppriseSender
from labmon.alerts.notify.notification import Notification
from labmon.alerts.notify.sender import SendFailed
from labmon.app.open import open_store
from labmon.store.leader import claimed
from tests.integration.alerts.telling import eventually, notifying, raised, states, store_alerts, target
from tests.support.receiver import Receiver
from tests.unit.alerts.deliveries import delivery

pytestmark = pytest.mark.usefixtures("machines")


def mattermost(receiver, overflow=""):
    return receiver.url.split("/hook")[0].replace("http://", "mmost://") + "/abcdefghijklmnop" + overflow


# findings A4
@pytest.mark.parametrize("code", [413, 400])
def test_what_is_too_large_for_a_webhook_is_sent_in_parts(configured, connection, code):
    with Receiver(limit=2000, too_large=code) as receiver:
        config = configured(target(receiver))
        store_alerts(connection, config, *(raised(n) for n in range(1, 41)))
        with notifying(config):
            eventually(lambda: states(connection) == {"sent": 40})
        assert sorted(system for system, _, _ in receiver.alerts) == list(range(1, 41))
        assert receiver.refused


# findings A4
def test_only_the_one_alert_that_is_too_large_by_itself_is_given_up(configured, connection):
    with Receiver(limit=800) as receiver:
        config = configured(target(receiver))
        alerts = [raised(n) for n in range(1, 11)]
        huge = msgspec.structs.replace(raised(11), note="n" * 253)
        store_alerts(connection, config, *alerts, huge)
        with notifying(config):
            eventually(lambda: states(connection) == {"sent": 10, "failed": 1})
    (given_up,) = deliveries.recent(connection, state="failed", limit=10)
    assert given_up.alert.system_id == 11
    assert "413" in given_up.error


# findings A4
def test_a_target_that_refuses_everything_is_not_asked_thousands_of_times(
    configured, connection, monkeypatch
):
    monkeypatch.setattr(notifier, "MAX_REQUESTS", 8)
    with Receiver(then=413) as receiver:
        config = configured(target(receiver))
        store_alerts(connection, config, *(raised(n) for n in range(1, 101)))
        with notifying(config):
            eventually(lambda: any(one.attempts for one in deliveries.recent(connection, limit=200)))
            connection.rollback()
            assert len(receiver.received) <= 8
        assert states(connection)["waiting"] >= 90


# findings A4
@pytest.mark.parametrize("overflow", ["", "?overflow=split", "?overflow=upstream"])
def test_a_chat_service_with_a_limit_gets_everything_in_parts(configured, connection, overflow):
    with Receiver(limit=2000, too_large=400, then=200) as receiver:
        config = configured({"name": "chat", "url": mattermost(receiver, overflow)})
        store_alerts(connection, config, *(raised(n) for n in range(1, 31)))
        with notifying(config):
            eventually(lambda: states(connection) == {"sent": 30})
        text = "\n".join(one.document["text"] for one in receiver.received)
    assert all(f"10.0.0.{n})" in text for n in range(2, 31) if f"pc-{n} " in text)
    assert text.count("cpu_high on ") >= 30


# findings A4
def test_what_a_chat_service_refuses_altogether_is_retried():
    many = Notification.of("chat", [delivery(n, system=n) for n in range(1, 4)])
    with Receiver(then=400) as receiver, pytest.raises(SendFailed) as caught:
        AppriseSender("chat", mattermost(receiver)).send(many)
    assert caught.value.again and caught.value.refused


# findings A13
def test_an_answer_that_drips_is_given_up_at_the_deadline():
    one = Notification.of("chat", [delivery(1)])
    with Receiver(drip=True) as receiver:
        for sender in (
            AppriseSender("chat", mattermost(receiver), timeout=1.0),
            notifier.open_sender(*webhook(receiver, timeout=1.0)),
        ):
            with pytest.raises(SendFailed, match="no answer within 1 s") as caught:
                sender.send(one)
            assert caught.value.again


def webhook(receiver, timeout):
    from labmon.config.tables import NotifyConfig, NotifyTarget
    from labmon.config.units import Seconds

    return NotifyTarget(name="hook", url=receiver.url), NotifyConfig(timeout=Seconds(timeout))


# findings D3
def test_a_run_that_cannot_notify_says_so(configured, connection, receiver, caplog):
    config = configured(target(receiver))
    store_alerts(connection, config, raised())
    with open_store(config) as store, store.session("one") as holder, store.session("two") as other:
        assert claimed(holder, notifier.WORK)
        notifier.Notifier(config.notify).send_all(other)
    assert "alerts wait for admins: another labmon process is sending" in caplog.text
    assert receiver.received == []


# findings B8
@pytest.mark.parametrize("query", ["", "?redirect=yes"])
@pytest.mark.parametrize("code", [301, 307, 308])
def test_apprise_follows_no_redirect(code, query):
    one = Notification.of("chat", [delivery(1)])
    with (
        Receiver() as elsewhere,
        Receiver(then=code, headers={"Location": elsewhere.url}) as receiver,
        pytest.raises(SendFailed),
    ):
        AppriseSender("chat", mattermost(receiver, query)).send(one)
    assert elsewhere.received == []


# findings C8
def test_the_reason_of_a_failure_is_the_services():
    one = Notification.of("chat", [delivery(1)])
    with Receiver(then=403) as receiver, pytest.raises(SendFailed) as caught:
        AppriseSender("chat", mattermost(receiver)).send(one)
    assert "403" in str(caught.value)
    assert "abcdefghijklmnop" not in str(caught.value)
