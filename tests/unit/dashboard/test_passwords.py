"""Passwords: hashed so that guessing is slow, and compared without telling who exists."""

import threading

import pytest

from labmon.dashboard.security import passwords
from labmon.errors import UsageError

GOOD = "correct horse battery"


def test_a_hash_matches_its_password_and_no_other():
    stored = passwords.hashed(GOOD)
    assert GOOD not in stored
    assert passwords.matches(GOOD, stored)
    assert not passwords.matches(GOOD + "x", stored)
    assert not passwords.matches("", stored)


def test_two_hashes_of_one_password_differ():
    assert passwords.hashed(GOOD) != passwords.hashed(GOOD)


def test_the_work_is_what_owasp_recommends():
    assert passwords.hashed(GOOD).startswith("scrypt$32768$8$3$")


def test_nothing_matches_a_user_that_there_is_not():
    assert not passwords.matches("", None)
    assert not passwords.matches(GOOD, None)


def test_a_letter_typed_as_one_character_or_as_two_is_the_same():
    assert passwords.matches(
        "Köln Brüssel Ångström", passwords.hashed("Ko\u0308ln Bru\u0308ssel A\u030angstro\u0308m")
    )


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("short", "characters"),
        ("x" * 1001, "characters"),
        ("aaaaaaaaaaaa", "guessed"),
        ("anna.schmidt", "guessed"),
        ("with\0a nothing", "typed"),
        ("half of \ud800 a pair", "typed"),
    ],
)
def test_a_password_that_nobody_should_have_is_refused_without_being_quoted(password, reason):
    with pytest.raises(UsageError, match=reason) as error:
        passwords.check(password, "anna.schmidt")
    assert password not in str(error.value)


def test_a_crowd_that_logs_in_at_once_is_told_to_come_back(monkeypatch):
    entered, leave = threading.Semaphore(0), threading.Event()

    def slow(*_, **__):
        entered.release()
        leave.wait(30)
        return bytes(32)

    monkeypatch.setattr(passwords.hashlib, "scrypt", slow)
    busy, done = [], []

    def attempt():
        try:
            done.append(passwords.matches(GOOD, None))
        except passwords.Busy:
            busy.append(True)

    crowd = [threading.Thread(target=attempt) for _ in range(30)]
    for one in crowd:
        one.start()
    for _ in range(passwords.AT_ONCE):
        assert entered.acquire(timeout=30)
    assert not entered.acquire(timeout=0.2)  # the others wait
    leave.set()
    for one in crowd:
        one.join(30)
    assert len(done) == passwords.AT_ONCE + passwords.WAITING
    assert len(busy) == 30 - len(done)
