"""Logging, set up once by the command line."""

import logging
import sys
from types import TracebackType
from typing import TextIO

from labmon.masking import mask_text
from labmon.text import foreign

# What libraries log of themselves is no word of labmon's: it says what went wrong in a line of its own.
# Without a handler anywhere, Python would print their warnings to stderr.
logging.getLogger().addHandler(logging.NullHandler())


class _Formatter(logging.Formatter):
    """One line for each record, whatever foreign text it quotes, and no password in it."""

    def format(self, record: logging.LogRecord) -> str:
        return mask_text(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:
        return foreign(super().formatMessage(record))

    def formatException(
        self, ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
    ) -> str:
        return foreign(super().formatException(ei), lines=True)


class _Stderr(logging.StreamHandler[TextIO]):
    """Write to what is stderr when a record comes: a live view replaces it in order to draw below."""

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
