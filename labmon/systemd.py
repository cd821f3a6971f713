"""What systemd is told about a service of `Type=notify`: the protocol of sd_notify(3)."""

import os
import socket
from contextlib import suppress


def notify(text: str) -> None:
    """Send such as "READY=1" or "WATCHDOG=1", where systemd asked for it. Elsewhere nothing happens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
        # A name that begins with @ is of the abstract namespace, which the kernel writes with a NUL.
        out.connect("\0" + address[1:] if address[0] == "@" else address)
        out.sendall(text.encode())


def watchdog() -> float | None:
    """Seconds between two "WATCHDOG=1" after which this process would be ended. None: nobody watches it."""
    wanted = os.environ.get("WATCHDOG_USEC", "")
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()) or not wanted.isdecimal():
        return None
    return int(wanted) / 1e6 or None
