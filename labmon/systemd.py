"""Notifications to systemd from a service of `Type=notify`: the protocol of sd_notify(3)."""

import os
import socket
from contextlib import suppress


def notify(text: str) -> None:
    """Send a state such as "READY=1" or "WATCHDOG=1", if systemd started this process; else do nothing."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
        # @ stands for the NUL that begins a name in the abstract namespace.
        out.connect("\0" + address[1:] if address[0] == "@" else address)
        out.sendall(text.encode())


def watchdog() -> float | None:
    """Seconds without "WATCHDOG=1" after which systemd ends this process. None: no watchdog."""
    wanted = os.environ.get("WATCHDOG_USEC", "")
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()) or not wanted.isdecimal():
        return None
    return int(wanted) / 1e6 or None
