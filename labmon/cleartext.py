"""Passwords that cross a network unencrypted: logged once for each server."""

import ipaddress
import logging

logger = logging.getLogger(__name__)

_warned: set[str] = set()


def is_local(host: str) -> bool:
    """True for this machine: a socket's path, no host, localhost, a loopback address."""
    if not host or host.startswith(("/", "@")) or host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0]).is_loopback
    except ValueError:
        return False


def warn(server: str, host: str, step: str, *, certain: bool = True) -> None:
    """Log that a password goes to this host in the clear, unless it is this machine or was logged before.

    Call it before the password is sent, while the reader can still stop it. `step` says how to encrypt; not
    `certain` where the server decides whether it is encrypted.
    """
    if not is_local(host) and server not in _warned:
        _warned.add(server)
        how = "not encrypted" if certain else "perhaps not encrypted (the server decides)"
        logger.warning("%s: %s, so the password can be read on its way. %s", server, how, step)
