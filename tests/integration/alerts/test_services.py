"""Apprise, with a real mail server."""

import pytest

from labmon.alerts.notify.apprise_sender import AppriseSender
from labmon.alerts.notify.notification import Notification
from labmon.alerts.notify.sender import SendFailed
from labmon.errors import ConfigError
from tests.support.mailbox import Mailbox
from tests.unit.alerts.deliveries import delivery

NOTIFICATION = Notification.of(
    "admins", [delivery(1), delivery(2, system=43, severity="critical", place="<b>A-101 & more")]
)


def test_a_mail_arrives():
    with Mailbox() as mailbox:
        AppriseSender("admins", mailbox.url).send(NOTIFICATION)
        (mail,) = mailbox.mails
    assert mail["Subject"] == "[labmon] 1 critical, 1 warning"
    assert mail["To"] == "admins@example.edu"
    assert mail.get_content_type() == "multipart/alternative"
    plain = mail.get_body(("plain",)).get_content()
    assert plain.rstrip().splitlines() == NOTIFICATION.rendered.text.splitlines()
    html = mail.get_body(("html",)).get_content()
    assert html.count("<tr") == 3
    assert "&lt;b&gt;A-101 &amp; more" in html and "<b>A-101" not in html


def test_who_wants_text_gets_a_plain_mail():
    with Mailbox() as mailbox:
        AppriseSender("admins", mailbox.url + "&format=text").send(NOTIFICATION)
        (mail,) = mailbox.mails
    assert mail.get_content_type() == "text/plain"
    assert mail.get_content().rstrip().splitlines() == NOTIFICATION.rendered.text.splitlines()


def test_a_mail_that_is_not_taken_is_worth_another_attempt(capfd):
    with Mailbox(refuse="451 later") as mailbox, pytest.raises(SendFailed) as caught:
        AppriseSender("admins", mailbox.url).send(NOTIFICATION)
    assert caught.value.again
    assert str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_mail_server_that_is_away_is_worth_another_attempt_and_no_secret_is_told(capfd):
    mailbox = Mailbox()  # not started
    url = mailbox.url.replace("mailto://", "mailto://robot:s3cretword@")
    with pytest.raises(SendFailed) as caught:
        AppriseSender("admins", url).send(NOTIFICATION)
    assert caught.value.again
    assert "s3cretword" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("url", ["nosuch://x", "mailto://", "slack://", "no url at all"])
def test_an_address_that_apprise_cannot_read_names_the_target_and_not_the_address(url):
    with pytest.raises(ConfigError, match="admins") as caught:
        AppriseSender("admins", url)
    assert url not in str(caught.value)
