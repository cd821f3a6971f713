"""The socket of the dashboard. Opened before the database, so that a port that is taken is said at once."""

import errno
import ipaddress
import socket

from labmon.errors import AlreadyRunning, ConfigError, PermissionNeeded


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there. `::` takes IPv4 too.

    Raises ConfigError for what is no address of this machine, AlreadyRunning when the port is taken,
    PermissionNeeded for a port below 1024.
    """
    try:
        family, *_, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError) as error:
        raise ConfigError(f"[dashboard] host: {host!r} is no name or address of this machine") from error
    both = family == socket.AF_INET6 and address[0] == "::"
    try:
        return socket.create_server(address[:2], family=family, dualstack_ipv6=both, backlog=512)
    except OSError as error:
        match error.errno:
            case errno.EADDRINUSE:
                raise AlreadyRunning(
                    f"port {port} of {host} is in use by another program. Choose one with --port"
                ) from error
            case errno.EACCES:
                raise PermissionNeeded(
                    f"port {port}: ports below 1024 are for root. Choose one with --port, or put a reverse "
                    "proxy in front"
                ) from error
        raise ConfigError(f"[dashboard] host: {host} is no address of this machine") from error


def is_loopback(listener: socket.socket) -> bool:
    """True when only this machine can reach it."""
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback
