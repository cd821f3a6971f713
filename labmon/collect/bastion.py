"""The way to a machine, and its bastions (`ProxyJump`): one connection each, shared by all behind it."""

import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

from labmon.collect.deadline import Deadline
from labmon.collect.failures import HostFailed, one_line
from labmon.collect.hostkeys import HostKeys, Machine
from labmon.collect.login import Login

if TYPE_CHECKING:
    from labmon.collect.ssh import Session
    from labmon.collect.ssh_transport import Forwarded

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Way:
    """Where a machine is, who it has to be, who logs in there, and through whom."""

    address: str
    port: int
    machine: Machine
    login: Login
    through: Optional["Bastion"] = None


class Bastion:
    """A machine that forwards connections: opened by whoever needs it first, and anew when it was lost.

    One that cannot be opened fails everybody who waits for it at that moment, and for `seconds` everybody who
    comes later, at once: a thousand machines behind it do not wait a thousand times. `seconds` should be less
    than a machine's own deadline, for there to be time to say so.
    """

    def __init__(self, name: str, way: Callable[[], Way], host_keys: HostKeys, seconds: float) -> None:
        self.name = name
        self._way = way
        self._host_keys = host_keys
        self._seconds = seconds
        self._changed = threading.Condition()
        self._attempt: _Attempt | None = None
        self._closed = False

    def channel(self, address: str, port: int, deadline: Deadline) -> "Forwarded":
        """A connection from the bastion to an address of its network, for use as a socket.

        Raises `HostFailed`: refused, or unreachable with the bastion's name; TimeoutError at the deadline.
        """
        session = self._session(deadline)
        try:
            return session.forward(address, port, deadline, patience=self._seconds)
        except HostFailed as error:
            if session.alive:
                raise
            raise self.lost(error.failure.detail) from error

    def lost(self, detail: str) -> HostFailed:
        """What a machine behind it says when the connection to the bastion is gone."""
        return HostFailed("unreachable", one_line(f"bastion {self.name}: {detail}", 400))

    @property
    def alive(self) -> bool:
        """False when whoever goes through it has just lost the way."""
        attempt = self._attempt
        return attempt is not None and attempt.session is not None and attempt.session.alive

    def close(self) -> None:
        """End the connection and whatever goes through it. Repeatable; nobody is let through any more."""
        with self._changed:
            self._closed = True
            attempt = self._attempt
            self._changed.notify_all()
        if attempt is not None and attempt.session is not None:
            attempt.session.abort()
            attempt.session.close()

    def _session(self, deadline: Deadline) -> "Session":
        with self._changed:
            if not self._closed and (self._attempt is None or self._attempt.over):
                self._attempt = _Attempt(Deadline.after(self._seconds))
                # A daemon: a look-up of a name may hang, and must not keep the process alive.
                threading.Thread(
                    target=self._open, args=(self._attempt,), name="labmon-bastion", daemon=True
                ).start()
            attempt = self._attempt
            while True:
                if self._closed or attempt is None:
                    raise self.lost("closed")
                if attempt.failure is not None:
                    raise self.lost(attempt.failure)
                if attempt.ready and attempt.session is not None:
                    return attempt.session
                if attempt.deadline.passed:
                    attempt.fail(f"timed out: after {self._seconds:g} s")
                    continue
                if deadline.passed:
                    raise TimeoutError
                self._changed.wait(min(deadline.left, attempt.deadline.left))

    def _open(self, attempt: "_Attempt") -> None:
        from labmon.collect.ssh import Session

        failure = ""
        session = Session(self.name, self._way, self._host_keys)
        timer = threading.Timer(attempt.deadline.left, session.abort)
        timer.daemon = True
        try:
            with self._changed:
                attempt.session = session
                wanted = not self._closed
            timer.start()
            if wanted:
                session.open(attempt.deadline)
                session.insist(self._seconds)
        except HostFailed as error:
            failure = str(error.failure)
        except Exception as error:  # told to each machine behind it
            logger.exception("a bug, met at bastion %s", self.name)
            failure = f"a bug: {one_line(repr(error))}"
        timer.cancel()
        with self._changed:
            if failure:
                attempt.fail(failure)
            given_up = self._closed or attempt.failure is not None
            attempt.ready = not given_up
            self._changed.notify_all()
        if given_up:
            session.close()


class _Attempt:
    """One opening of the connection, and what came of it."""

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline
        self.session: Session | None = None
        self.ready = False
        self.failure: str | None = None
        self._failed_at = 0.0

    def fail(self, said: str) -> None:
        """The first failure counts."""
        if self.failure is None:
            self.failure, self._failed_at = said, time.monotonic()

    @property
    def over(self) -> bool:
        """True when it is time for another one."""
        if self.failure is not None:
            return time.monotonic() >= self._failed_at + self.deadline.seconds
        return self.ready and not (self.session is not None and self.session.alive)


def resolved(host: str) -> str:
    """The address of a bastion's name. Takes its time, so only where nobody waits without a bound. Raises
    `HostFailed`."""
    try:
        return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
    except OSError as error:
        raise HostFailed("unreachable", f"{host}: {one_line(error.strerror or str(error))}") from error
