"""Webhooks, received by a real server."""

import hashlib
import hmac
import socket

import pytest

from labmon.alerts.notify.notification import Notification
from labmon.alerts.notify.sender import SendFailed
from labmon.alerts.notify.webhook import WebhookSender
from tests.support.receiver import Receiver
from tests.unit.alerts.deliveries import delivery

NOTIFICATION = Notification.of("admins", [delivery(1), delivery(2, system=43, severity="critical")])


@pytest.fixture
def receiver():
    with Receiver() as receiver:
        yield receiver


def send(url, *, secret="", timeout=5.0, clock=lambda: 1_000_000_000.9):
    WebhookSender(url, secret, timeout, clock=clock).send(NOTIFICATION)


def failure(url, **settings):
    with pytest.raises(SendFailed) as caught:
        send(url, **settings)
    assert "token-abc" not in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_webhook_gets_the_alerts_as_json(receiver):
    send(receiver.url)
    (one,) = receiver.received
    assert one.headers["Content-Type"] == "application/json"
    assert one.headers["Idempotency-Key"] == NOTIFICATION.key == one.document["id"]
    assert one.alerts == [(43, "cpu_high", "firing"), (42, "cpu_high", "firing")]
    assert "Labmon-Signature" not in one.headers


def test_what_is_signed_can_be_checked_by_its_receiver(receiver):
    send(receiver.url, secret="s3cret")
    (one,) = receiver.received
    fields = dict(part.split("=") for part in one.headers["Labmon-Signature"].split(","))
    assert fields["t"] == "1000000000"
    expected = hmac.new(b"s3cret", fields["t"].encode() + b"." + one.body, hashlib.sha256).hexdigest()
    assert hmac.compare_digest(fields["v1"], expected)


@pytest.mark.parametrize("code", [408, 425, 429, 500, 502, 503])
def test_an_answer_that_may_change_is_worth_another_attempt(code):
    with Receiver(then=code, headers={"Retry-After": "7"}) as receiver:
        error = failure(receiver.url)
    assert error.again
    assert error.after == 7
    assert str(code) in str(error)


@pytest.mark.parametrize("code", [400, 401, 404, 410, 413])
def test_a_no_is_final(code):
    with Receiver(then=code) as receiver:
        assert not failure(receiver.url).again


def test_a_redirect_is_not_followed():
    with (
        Receiver() as elsewhere,
        Receiver(then=307, headers={"Location": elsewhere.url}) as receiver,
    ):
        error = failure(receiver.url)
        assert not error.again
        assert elsewhere.received == []


def test_nobody_there_is_worth_another_attempt():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        error = failure(f"http://127.0.0.1:{free.getsockname()[1]}/hook/token-abc")
    assert error.again
    assert "Connection refused" in str(error)


def test_a_receiver_that_hangs_is_given_up_in_time():
    with Receiver(delay=2.0) as receiver:
        error = failure(receiver.url, timeout=0.3)
    assert error.again
    assert str(error) == "no answer within 0.3 s"


def test_a_certificate_that_nobody_vouches_for_is_refused(certificates):
    with Receiver(certificate=(certificates / "server.pem", certificates / "server.key")) as receiver:
        error = failure(receiver.url, secret="s3cret")
        assert receiver.received == []
    assert "certificate" in str(error)


def test_a_certificate_of_the_universitys_own_ca_is_accepted_where_it_is_named(certificates, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates / "ca.pem"))
    with Receiver(certificate=(certificates / "server.pem", certificates / "server.key")) as receiver:
        send(receiver.url)
        assert len(receiver.received) == 1


def test_what_is_no_address_is_final():
    assert not failure("http:///nowhere").again


# findings C10
@pytest.mark.parametrize(
    "header, seconds",
    [
        ("Sun, 09 Sep 2001 01:47:40 GMT", 60 - 0.9),
        ("Sun, 09 Sep 2001 01:46:00 GMT", 0),
        ("Wed, 21 Oct 2037 07:28:00 GMT", 3600),
        ("soon", 0),
        ("-5", 0),
    ],
)
def test_a_retry_after_may_be_a_date(header, seconds):
    with Receiver(then=429, headers={"Retry-After": header}) as receiver:
        assert failure(receiver.url).after == pytest.approx(seconds)
