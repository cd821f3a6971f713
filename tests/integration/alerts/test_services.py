"""Apprise, with a real mail server."""

import pytest

from labmon.alerts.notification import Notification
from labmon.alerts.sender import SendFailed
from labmon.alerts.services import Service
from labmon.errors import ConfigError
from tests.mailbox import Mailbox
from tests.unit.alerts.deliveries import delivery

NOTIFICATION = Notification.of("admins", [delivery(1), delivery(2, system=43, severity="critical")])


def test_a_mail_arrives():
    with Mailbox() as mailbox:
        Service("admins", mailbox.url).send(NOTIFICATION)
        (mail,) = mailbox.mails
    assert mail["Subject"] == "[labmon] 1 critical, 1 warning in A-101"
    assert mail["To"] == "admins@example.edu"
    text = mail.get_body(("plain",)) or mail
    assert "critical: cpu_high on pc-43, A-101: 95.5 (threshold 90)" in text.get_content()


def test_a_mail_that_is_not_taken_is_worth_another_attempt(capfd):
    with Mailbox(refuse="451 later") as mailbox, pytest.raises(SendFailed) as caught:
        Service("admins", mailbox.url).send(NOTIFICATION)
    assert caught.value.again
    assert str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_mail_server_that_is_away_is_worth_another_attempt_and_no_secret_is_told(capfd):
    mailbox = Mailbox()  # not started
    url = mailbox.url.replace("mailto://", "mailto://robot:s3cretword@")
    with pytest.raises(SendFailed) as caught:
        Service("admins", url).send(NOTIFICATION)
    assert caught.value.again
    assert "s3cretword" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("url", ["nosuch://x", "mailto://", "slack://", "no url at all"])
def test_an_address_that_apprise_cannot_read_names_the_target_and_not_the_address(url):
    with pytest.raises(ConfigError, match="admins") as caught:
        Service("admins", url)
    assert url not in str(caught.value)
