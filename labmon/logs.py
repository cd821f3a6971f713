"""Logging, set up once by the command line."""

import logging
import re
import sys
from typing import TextIO

_URL_PASSWORD = re.compile(r"(\b\w+://[^:/@\s]*):\S+@")  # to the last @: a password may hold one
_NAMED_PASSWORD = re.compile(r"(password=)('[^']*'|[^&\s]+)", re.IGNORECASE)


def hide_passwords(text: str) -> str:
    """`scheme://user:secret@host` and `password=secret` with the secret masked, wherever in the text."""
    return _NAMED_PASSWORD.sub(r"\1***", _URL_PASSWORD.sub(r"\1:***@", text))


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return hide_passwords(super().format(record))


class _Stderr(logging.StreamHandler[TextIO]):
    """Whatever is stderr when a line is logged: a live view puts itself in its place, to draw below."""

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, _: TextIO) -> None:
        pass  # the base class wants to keep one


def set_up(level: str) -> None:
    """Send labmon's log to stderr, from `level` (a name such as "info") upwards. Repeatable."""
    handler = _Stderr()
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger("labmon")
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    root.propagate = False
