"""Names by which the dashboard may be asked for, and the path at which a proxy serves it.

A page of a stranger can have its own name point at 127.0.0.1 (DNS rebinding), and would then be of the same
origin as the dashboard. It cannot do so with a name of ours, nor with an IP address.
"""

import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from labmon.config.tables import DashboardConfig

Refuse = Callable[[Scope, Receive, Send, int, str], Awaitable[None]]
"""Answers with a status and a text."""


def known_names(settings: DashboardConfig) -> frozenset[str]:
    """Every name, in lower case, that a Host header may have beside IP addresses."""
    # Not its full name: that would ask the DNS, which may take its time.
    names = ["localhost", socket.gethostname(), settings.host, *settings.hosts]
    if settings.url:
        names.append(urlsplit(settings.url).hostname or "")
    return frozenset(name.lower().rstrip(".") for name in names if name)


def name_of(host: str) -> str:
    """The name or address of a Host header, without the port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower().rstrip(".")


def is_known(host: str, names: Iterable[str]) -> bool:
    """True for a Host header with one of these names, or with an IP address."""
    name = name_of(host)
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in names
    return True


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL, to be compared: the usual port of the scheme is left out."""
    scheme, _, rest = url.lower().partition("://")
    host = rest.partition("/")[0]
    return f"{scheme}://{host.removesuffix({'https': ':443', 'http': ':80'}.get(scheme, ''))}"


class KnownHosts:
    """Refuses requests for other names, and puts the root path before the path where a proxy took it away.

    The proxy may pass paths on as they are, or without the root path: both work.
    """

    def __init__(self, app: ASGIApp, names: frozenset[str], root_path: str, refuse: Refuse) -> None:
        self._app = app
        self._names = names
        self._root = root_path
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or not is_known(hosts[0], self._names):
            text = "this is not a name of this server. Add it to [dashboard] hosts, or set [dashboard] url"
            await self._refuse(scope, receive, send, 400, text)
            return
        if self._root:
            path = scope["path"]
            if path != self._root and not path.startswith(f"{self._root}/"):
                path = self._root + path
            scope = {**scope, "root_path": self._root, "path": path if path != self._root else f"{path}/"}
        await self._app(scope, receive, send)
