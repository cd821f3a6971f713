"""Logging, set up once by the command line."""

import logging
import re
import sys

_URL_PASSWORD = re.compile(r"(\w+://[^:/@\s]*):\S+@")  # to the last @: a password may hold one
_NAMED_PASSWORD = re.compile(r"(password=)('[^']*'|[^&\s]+)", re.IGNORECASE)


def hide_passwords(text: str) -> str:
    """`scheme://user:secret@host` and `password=secret` with the secret masked, wherever in the text."""
    return _NAMED_PASSWORD.sub(r"\1***", _URL_PASSWORD.sub(r"\1:***@", text))


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return hide_passwords(super().format(record))


def set_up(level: str) -> None:
    """Send labmon's log to stderr, from `level` (a name such as "info") upwards. Repeatable."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger("labmon")
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    root.propagate = False
