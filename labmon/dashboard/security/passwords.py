"""Passwords: scrypt (RFC 7914), with its parameters and a salt beside the result."""

import hashlib
import hmac
import os
import threading
import unicodedata
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager

from labmon.errors import LabmonError, UsageError
from labmon.text import is_utf8

SHORTEST = 10
LONGEST = 1000
"""Characters. A long one costs nothing; a very long one is an attack."""

_N, _R, _P = 2**15, 8, 3
"""OWASP's recommendation for 32 MiB of memory; a quarter of a second of one core."""

_MOST_MEMORY = 64 * 2**20
"""Bytes. Python allows 32 MiB where nothing is said, which these parameters exceed by a little."""

AT_ONCE = 2
WAITING = 8

_room = threading.BoundedSemaphore(AT_ONCE + WAITING)
_working = threading.BoundedSemaphore(AT_ONCE)
"""Anybody can ask for a login. Two are worked on at a time, and a few wait: who is in goes on working."""


class Busy(LabmonError):
    """Too many logins at once."""


def check(password: str, name: str = "") -> None:
    """Raises UsageError for a password that nobody should have. `name` is the user's."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise UsageError(f"the password has {len(password)} characters: {SHORTEST} to {LONGEST} are allowed")
    if "\0" in password or not is_utf8(password):
        raise UsageError("the password holds characters that cannot be typed")
    if len(set(password)) < 4 or (name and password.lower() in (name * 2, name)):
        raise UsageError("the password can be guessed: take a longer one, of several words")


def hashed(password: str) -> str:
    """What is stored of a password. Raises Busy."""
    salt = os.urandom(16)
    return f"scrypt${_N}${_R}${_P}${_text(salt)}${_text(_derive(password, salt, _N, _R, _P))}"


def matches(password: str, stored: str | None) -> bool:
    """True when it is the password. Takes as long for a user that there is not (None). Raises Busy."""
    if len(password) > LONGEST:
        password = ""
    n, r, p, salt, wanted = (stored or _NOBODY).split("$")[1:]
    found = _derive(password, b64decode(salt), int(n), int(r), int(p))
    return hmac.compare_digest(found, b64decode(wanted)) and stored is not None


def _derive(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    # The same letter typed on two keyboards may be one character or two.
    text = unicodedata.normalize("NFKC", password).encode(errors="replace")
    with _turn():
        return hashlib.scrypt(text, salt=salt, n=n, r=r, p=p, maxmem=_MOST_MEMORY, dklen=32)


@contextmanager
def _turn() -> Iterator[None]:
    if not _room.acquire(blocking=False):
        raise Busy("too many people are logging in at this moment. Try again in a few seconds")
    try:
        with _working:
            yield
    finally:
        _room.release()


def _text(binary: bytes) -> str:
    return b64encode(binary).decode()


_NOBODY = f"scrypt${_N}${_R}${_P}${_text(bytes(16))}${_text(bytes(32))}"
