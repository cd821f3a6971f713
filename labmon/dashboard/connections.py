"""Connections: how many may be open, and how long each may take over a request.

Anybody may connect, long before we know who it is. Whoever sends half a request and waits holds a file
descriptor, of which a process has few: without them it answers nobody.
"""

import asyncio
import errno
import logging
import os
import resource
import socket
import time
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

logger = logging.getLogger(__name__)

HEADERS_WITHIN = 10.0
BODY_WITHIN = 30.0
READ_WITHIN = 30.0
"""Seconds for the headers of a request, for its body, and until a client takes more of an answer."""

IDLE = 5
"""Seconds that a connection may wait for its next request."""

OTHERS = 64
"""File descriptors kept for the database, the broker and files."""

MOST, LEAST = 2000, 16
"""Connections, however many descriptors there are."""

LOG_EVERY = 60.0

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def most_connections() -> int:
    """How many connections may be open: what the limit on file descriptors leaves."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return MOST if limit == resource.RLIM_INFINITY else max(LEAST, min(MOST, limit - OTHERS))


class Listener(socket.socket):
    """A listening socket with a limit on connections. Beyond it, the oldest that is not being answered goes.

    asyncio accepts until there is nothing more (BlockingIOError), and does not stop at an error: it logs one
    for each of thousands of attempts.
    """

    def __init__(self, listening: socket.socket, most: int) -> None:
        super().__init__(listening.family, listening.type, listening.proto, fileno=listening.detach())
        self.setblocking(False)
        self._most = most
        self._open: dict[int, socket.socket] = {}  # the oldest first
        self._answered: set[int] = set()
        self._spare = os.open(os.devnull, os.O_RDONLY)
        self._logged_at = float("-inf")

    def answering(self, number: int, is_answered: bool) -> None:
        """Say whether the connection with this descriptor has a whole request, whose answer is under way."""
        (self._answered.add if is_answered else self._answered.discard)(number)

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection. Raises BlockingIOError where there is none, or no room for it."""
        if len(self._open) >= self._most:
            self._forget_closed()
        if len(self._open) >= self._most:
            self._complain(f"{self._most} connections are open: the oldest without a request is closed")
            if not self._close_oldest():
                super().accept()[0].close()
            raise BlockingIOError(errno.EAGAIN, "no room for more connections")
        try:
            accepted, address = super().accept()
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            self._complain(f"cannot accept a connection: {error.strerror}")
            self._close_oldest()
            self._turn_away()
            raise BlockingIOError(errno.EAGAIN, "no room for more connections") from None
        number = accepted.fileno()
        self._open.pop(number, None)  # an earlier one of that descriptor is closed
        self._open[number] = accepted
        self._answered.discard(number)
        return accepted, address

    def close(self) -> None:
        """Stop listening."""
        if self._spare >= 0:
            os.close(self._spare)
            self._spare = -1
        super().close()

    def _forget_closed(self) -> None:
        self._open = {number: one for number, one in self._open.items() if one.fileno() >= 0}
        self._answered &= self._open.keys()

    def _close_oldest(self) -> bool:
        """End one; its transport sees the end, and closes it in the next turn of the loop."""
        self._forget_closed()
        for number, one in self._open.items():
            if number not in self._answered:
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:  # it has ended already, and its transport is about to see it
                    pass
                return True
        return False

    def _turn_away(self) -> None:
        """Accept with the descriptor kept for it, and close at once: else the loop would turn in vain."""
        if self._spare >= 0:
            os.close(self._spare)
            self._spare = -1
        try:
            super().accept()[0].close()
        except OSError:
            pass
        try:
            self._spare = os.open(os.devnull, os.O_RDONLY)
        except OSError:
            pass

    def _complain(self, text: str) -> None:
        if time.monotonic() - self._logged_at >= LOG_EVERY:
            self._logged_at = time.monotonic()
            logger.warning("%s", text)


def protocol(listener: Listener) -> type[H11Protocol]:
    """The protocol of the connections of a listener, as uvicorn takes it: a class."""

    class Patient(H11Protocol):
        """HTTP with a deadline for each part of a request."""

        _phase = ""
        _timer: asyncio.TimerHandle | None = None
        _number = -1
        _paused = False

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._number = transport.get_extra_info("socket").fileno()
            self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._watch()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._paused = True
            self._watch()

        def resume_writing(self) -> None:
            super().resume_writing()
            self._paused = False
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._paused, self._number = False, -1
            self._set("lost", None)
            super().connection_lost(exc)

        def shutdown(self) -> None:
            """The server stops: what has sent half a body is not waited for."""
            if self._phase == "body":
                self._late()
            else:
                super().shutdown()

        def _watch(self) -> None:
            """Begin the deadline of the part of a request that the connection is at."""
            if self._number < 0:
                return
            if self.cycle is None or self.cycle.response_complete:
                self._set("headers", HEADERS_WITHIN)
            elif self._paused:
                self._set("unread", READ_WITHIN)
            elif self.cycle.more_body:
                self._set("body", BODY_WITHIN)
            else:
                self._set("answer", None)

        def _set(self, phase: str, seconds: float | None) -> None:
            if phase == self._phase:
                return
            self._phase = phase
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._number >= 0:
                listener.answering(self._number, phase == "answer")
            if seconds is not None:
                self._timer = self.loop.call_later(seconds, self._late)

        def _late(self) -> None:
            if not self.transport.is_closing():
                self.transport.abort()

    return Patient
