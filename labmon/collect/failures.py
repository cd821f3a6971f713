"""Why a machine could not be measured: one word from a closed list, and one line for a human."""

import errno
import re
import socket
from dataclasses import dataclass, field
from typing import Literal

from labmon.errors import LabmonError
from labmon.messages import Status

Reason = Literal[
    "unreachable",  # no way to the address
    "refused",  # the machine is there and nothing listens on the port
    "timed out",  # the deadline passed; the detail says while doing what
    "connection lost",  # the other side hung up
    "no ssh",  # something listens, but it does not speak SSH, or none that we speak
    "host key unknown",  # policy strict, and no file of known hosts has a key of this machine
    "host key changed",  # another machine, a re-installed one, or an attack
    "host key revoked",  # marked so in a file of known hosts
    "not allowed",  # its address is outside [collect] allow, and nothing was sent there
    "auth failed",  # every key and password was refused
    "probe failed",  # logged in, but the probe did not run to its end
    "output unusable",  # it ran, and what it said cannot be read
    "local error",  # the fault is on our side: file descriptors, threads, disk
]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


@dataclass(frozen=True)
class Failure:
    """The reason to count by, and what happened with the next step where there is one."""

    reason: Reason
    detail: str
    silent: bool = field(default=False, compare=False)  #: nothing at the address has answered

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"

    @property
    def status(self) -> Status | None:
        """What this says about the machine. None when it is about us."""
        if self.silent:
            return "offline"
        return _STATUS.get(self.reason, "failed")


_STATUS: dict[Reason, Status | None] = {
    "unreachable": "unreachable",
    "refused": "refused",
    "timed out": "timed out",
    "auth failed": "auth failed",
    "not allowed": None,
    "local error": None,
}


class HostFailed(LabmonError):
    """Ends the measuring of one machine. Never leaves `labmon.collect`: there it becomes a result."""

    def __init__(self, reason: Reason, detail: str, *, silent: bool = False) -> None:
        super().__init__(f"{reason}: {detail}")
        self.failure = Failure(reason, detail, silent)


def one_line(text: str | bytes, limit: int = 200) -> str:
    """What a machine said, fit for a terminal and a log: no control characters, and not too much of it."""
    if isinstance(text, bytes):
        text = text[: 4 * limit].decode(errors="replace")
    text = _CONTROL.sub(" ", text).strip()
    return text if len(text) <= limit else text[: limit - 3] + "..."


_UNREACHABLE = {
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.EHOSTDOWN,
    errno.ENETDOWN,
    errno.EADDRNOTAVAIL,
    errno.EACCES,
    errno.EPERM,
    errno.EINVAL,
}
_SILENT = {errno.EHOSTUNREACH, errno.EHOSTDOWN}
"""What the kernel reports of an address that nothing answers at, on our own network or behind a router that
says so."""

_OURS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN}


CONNECTING = "connecting"
"""How the phase of a session begins in which nothing has come from the machine yet."""


def timed_out(seconds: float, phase: str) -> HostFailed:
    """The failure when the deadline passes in this phase."""
    return HostFailed("timed out", f"after {seconds:g} s, {phase}", silent=phase.startswith(CONNECTING))


def os_failure(error: OSError, doing: str) -> HostFailed:
    """What an error of a socket means, other than a timeout."""
    text = one_line(error.strerror or str(error))
    if isinstance(error, socket.gaierror):
        return HostFailed("unreachable", f"not an IP address: {text}")
    if isinstance(error, ConnectionRefusedError):
        return HostFailed("refused", "nothing listens on that port")
    if error.errno in _UNREACHABLE:
        return HostFailed("unreachable", text, silent=error.errno in _SILENT)
    if error.errno in _OURS:
        return HostFailed("local error", text)
    return HostFailed("connection lost", f"while {doing}: {text}")
