"""Bastions (`ProxyJump`): one connection to each, shared by all machines behind it."""

import logging
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from labmon.collect.deadline import Deadline
from labmon.collect.failures import HostFailed, one_line
from labmon.collect.hostkeys.policy import HostKeys
from labmon.collect.ssh.plan import ConnectionPlan

if TYPE_CHECKING:
    from labmon.collect.ssh.session import Session
    from labmon.collect.ssh.transport import Forwarded

logger = logging.getLogger(__name__)


class Bastion:
    """A machine that forwards connections: opened by the first session that needs it, and anew when lost.

    When it cannot be opened, all sessions that wait for it fail, and so does, at once, every session of the
    next `seconds`: a thousand machines behind it do not wait a thousand times. `seconds` should be less than
    a machine's own deadline, for there to be time to report it.
    """

    def __init__(
        self, name: str, make_plan: Callable[[bool], ConnectionPlan], host_keys: HostKeys, seconds: float
    ) -> None:
        """`make_plan` is told whether to look up the bastion's name, which may take long."""
        self.name = name
        self._make_plan = make_plan
        self._host_keys = host_keys
        self._seconds = seconds
        self._changed = threading.Condition()
        self._attempt: _Attempt | None = None
        self._closed = False

    def fingerprint(self) -> str:
        """See `ConnectionPlan.fingerprint`, of its own plan; nothing is looked up."""
        return self._make_plan(False).fingerprint(self._host_keys)

    def channel(self, address: str, port: int, deadline: Deadline) -> "Forwarded":
        """A connection from the bastion to an address of its network, for use as a socket.

        Raises `HostFailed`: refused, or unreachable with the bastion's name; TimeoutError at the deadline.
        """
        session = self._session(deadline)
        try:
            return session.forward(address, port, deadline, timeout=self._seconds)
        except HostFailed as error:
            if session.alive:
                raise
            raise self.lost(error.failure.detail) from error

    def lost(self, detail: str) -> HostFailed:
        """The failure of a machine behind it when the connection to the bastion is gone."""
        return HostFailed("unreachable", one_line(f"bastion {self.name}: {detail}", 400))

    def close(self) -> None:
        """End the connection and all that go through it. Repeatable; no session gets through any more."""
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
        from labmon.collect.ssh.session import Session

        failure = ""
        session = Session(self.name, lambda: self._make_plan(True), self._host_keys)
        timer = threading.Timer(attempt.deadline.left, session.abort)
        timer.daemon = True
        try:
            with self._changed:
                attempt.session = session
                wanted = not self._closed
            timer.start()
            if wanted:
                session.open(attempt.deadline)
                session.set_user_timeout(self._seconds)
        except HostFailed as error:
            failure = str(error.failure)
        except Exception as error:  # the failure of each machine behind it
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
    """One attempt to open the connection, and its outcome."""

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline
        self.session: Session | None = None
        self.ready = False
        self.failure: str | None = None
        self._failed_at = 0.0

    def fail(self, failure: str) -> None:
        """The first failure counts."""
        if self.failure is None:
            self.failure, self._failed_at = failure, time.monotonic()

    @property
    def over(self) -> bool:
        """True when it is time for another attempt."""
        if self.failure is not None:
            return time.monotonic() >= self._failed_at + self.deadline.seconds
        return self.ready and not (self.session is not None and self.session.alive)


def resolved(host: str) -> str:
    """The address of a bastion's name. May take long, so call it only where the waiting is bounded. Raises
    `HostFailed`."""
    try:
        return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
    except OSError as error:
        raise HostFailed("unreachable", f"{host}: {one_line(error.strerror or str(error))}") from error
