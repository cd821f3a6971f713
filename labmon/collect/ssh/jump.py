"""The bastions of a `ProxyJump`: [user@]host[:port] or ssh://[user@]host[:port], separated by commas."""

import socket
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import unquote

from labmon.errors import ConfigError


@dataclass(frozen=True)
class Hop:
    """One bastion. `user` and `port` are None where the text leaves them open."""

    host: str
    user: str | None = None
    port: int | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        user = f"{self.user}@" if self.user else ""
        return f"{user}{host}:{self.port}" if self.port else user + host


def parse_hops(text: str, where: str) -> tuple[Hop, ...]:
    """The bastions in the order in which they are passed; none for "" and "none".

    Raises ConfigError that begins with `where`, the name of the setting.
    """
    if text.strip().lower() in ("", "none"):
        return ()
    hops = []
    for part in text.split(","):
        hop = _hop(part.strip())
        if hop is None:
            raise ConfigError(f"{where}: {part.strip()!r} is not [user@]host[:port]")
        hops.append(hop)
    return tuple(hops)


def parse_port(text: str) -> int | None:
    """A port by its number or by its name in /etc/services; None for what is neither."""
    digits = text.lstrip(" \t").removeprefix("+")
    if digits.isascii() and digits.isdigit():
        return int(digits) if len(digits) < 10 and 1 <= int(digits) <= 65535 else None
    try:
        return socket.getservbyname(text, "tcp")
    except (OSError, UnicodeError, ValueError):
        return None


def _hop(text: str) -> Hop | None:
    uri = text.startswith("ssh://")
    user, at, rest = text.removeprefix("ssh://").rpartition("@")
    if uri:
        rest, user = rest.removesuffix("/"), unquote(user)
    if rest.startswith("["):
        host, bracket, port = rest[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            return None
        port = port.removeprefix(":")
    else:
        host, _, port = rest.partition(":")
    number = parse_port(port) if port else None
    if (
        not host
        or (at and not user)
        or (port and number is None)
        or any(one in host + user for one in " \t/")
    ):
        return None
    try:
        host = str(ip_address(host))
    except ValueError:
        pass
    return Hop(host, user or None, number)
