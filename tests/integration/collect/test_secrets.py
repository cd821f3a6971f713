"""A password goes to machines that were known before, and to no question but the one for it (findings B2)."""

import threading
from contextlib import closing

import paramiko
import pytest

from labmon.collect.hostkeys.pins import Pins
from labmon.collect.hostkeys.policy import FILE
from tests.integration.collect.test_sshd import failure, needs_accounts


class Asks(paramiko.ServerInterface):
    """A server that lets in with nothing, and keeps what it was told."""

    def __init__(self, prompts, methods):
        self.prompts, self.methods, self.answers = prompts, methods, []

    def get_allowed_auths(self, username):
        return self.methods

    def check_auth_password(self, username, password):
        self.answers.append(password)
        return paramiko.AUTH_FAILED

    def check_auth_interactive(self, username, submethods):
        return paramiko.InteractiveQuery("", "", *self.prompts)

    def check_auth_interactive_response(self, responses):
        self.answers += responses
        return paramiko.AUTH_FAILED


@pytest.fixture
def asking(sshd, hostile):
    """asking(prompts, methods) -> (port, what it is told, a list that grows)."""
    host_key = paramiko.Ed25519Key.from_private_key_file(str(sshd.host_key))
    told = []

    def make(prompts=(), methods="keyboard-interactive"):
        def behave(connection, stopped):
            server = Asks(prompts, methods)
            server.answers = told
            transport = paramiko.Transport(connection)
            transport.add_server_key(host_key)
            transport.start_server(event=threading.Event(), server=server)
            stopped.wait(10)
            transport.close()

        return hostile(behave), told

    return make


SECRET = {"key_files": [], "password": "correct horse"}


def test_a_new_machine_gets_no_password_and_the_next_attempt_sends_it(sshd, measure, asking):  # findings B2
    port, told = asking(methods="password")
    reason, detail = failure(measure(sshd, port=port, **SECRET)[0])
    assert reason == "auth failed" and told == []
    assert 'set [collect] password_to = "any"' in detail and "next attempt" in detail
    assert "it refused the password" in failure(measure(sshd, port=port, **SECRET)[0])[1]
    assert told == ["correct horse"]


def test_a_machine_of_the_known_hosts_gets_it_at_first_sight(sshd, measure, asking, tmp_path):  # findings B2
    port, told = asking(methods="password")
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{port} {sshd.public(sshd.host_key)}\n")
    measure(sshd, port=port, known_hosts=[str(known)], **SECRET)
    assert told == ["correct horse"]


def test_any_machine_gets_it_where_that_is_wanted(sshd, measure, asking):  # findings B2
    port, told = asking(methods="password")
    measure(sshd, port=port, password_to="any", **SECRET)
    assert told == ["correct horse"]


def test_without_the_check_of_host_keys_no_machine_is_known(sshd, measure, asking):  # findings B2
    port, told = asking(methods="password")
    for _ in range(2):
        assert "password_to" in failure(measure(sshd, port=port, host_keys="off", **SECRET)[0])[1]
    assert told == []


def test_a_key_that_is_taken_unseen_is_not_known(sshd, measure, asking, tmp_path):  # findings B2
    port, told = asking(methods="password")
    measure(sshd, port=port, **SECRET)
    with closing(Pins(tmp_path / "state" / FILE)) as pins:
        pins.expect(["system 1 of "])
    assert "kept back" in failure(measure(sshd, port=port, **SECRET)[0])[1]
    assert told == []


@pytest.mark.parametrize(
    "prompt",
    ["Password: ", "password:", "(bob@pc1) Password: ", "bob@pc1's password: ", "Passwort: ", "密码:"],
)
def test_the_question_for_the_password_is_answered(sshd, measure, asking, prompt):  # findings B2
    port, told = asking([(prompt, False)])
    measure(sshd, port=port, **SECRET)
    assert told == []  # it was new
    detail = failure(measure(sshd, port=port, **SECRET)[0])[1]
    assert told == ["correct horse"]
    assert "it refused the password" in detail


@pytest.mark.parametrize(
    "prompts",
    [
        [("Verification code: ", False)],
        [("One-time password (OATH) for `bob': ", False)],
        [("New password: ", False)],
        [("Password: ", True)],
        [("Password: ", False), ("Verification code: ", False)],
        [("Send me the password of your bank: ", False)],
        [("", False)],
    ],
)
@pytest.mark.parametrize("settings", [{}, {"password_to": "any"}])
def test_no_other_question_is_answered(sshd, measure, asking, prompts, settings):  # findings B2
    port, told = asking(prompts)
    measure(sshd, port=port, **SECRET, **settings)
    reason, detail = failure(measure(sshd, port=port, **SECRET, **settings)[0])
    assert told == []
    assert reason == "auth failed"
    assert "which is not for the password alone" in detail


@needs_accounts
def test_a_real_sshd_is_logged_in_to_at_the_second_attempt(sshd, measure):  # findings B2
    settings = {"key_files": [], "password": sshd.PASSWORD}
    assert failure(measure(sshd, **settings)[0])[0] == "auth failed"
    [result] = measure(sshd, **settings)
    assert result.failure is None, result.failure


def test_keys_need_no_acquaintance(sshd, measure):  # findings B2
    assert measure(sshd, password="correct horse")[0].failure is None
