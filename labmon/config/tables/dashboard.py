"""[dashboard]"""

import re
from collections.abc import Iterator
from ipaddress import ip_network
from typing import Annotated
from urllib.parse import urlsplit

import msgspec

from labmon.config.tables.fields import RootPath, Table, comment

HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?|\[?[0-9A-Fa-f:.]+\]?")
"""A host name or an address."""


class DashboardConfig(Table, frozen=True, kw_only=True):
    """The web pages of `labmon dashboard`."""

    host: Annotated[
        str,
        comment(
            "The address to listen on. While no user exists (labmon dashboard users add) only 127.0.0.1 or "
            "::1. 0.0.0.0 or ::: all addresses of this machine."
        ),
    ] = "127.0.0.1"
    port: Annotated[int, comment("The port to listen on.", ge=1, le=65535)] = 8480
    root_path: Annotated[
        RootPath,
        comment('The path at which a reverse proxy serves it, such as "/labmon". Empty: at its root.'),
    ] = ""
    url: Annotated[
        str,
        comment(
            "Its address in the browser, such as https://labs.example.edu/labmon, where that is another one: "
            "behind a reverse proxy."
        ),
    ] = ""
    hosts: Annotated[
        list[str],
        comment(
            "Further host names by which browsers reach it. localhost, this machine's name, the host of url "
            "and all IP addresses are known. Requests for other names are refused."
        ),
    ] = msgspec.field(default_factory=list)
    proxies: Annotated[
        list[str],
        comment(
            "Addresses or networks of reverse proxies, whose X-Forwarded-For and X-Forwarded-Proto headers "
            "are believed. Those of this machine are known."
        ),
    ] = msgspec.field(default_factory=list)
    certificate: Annotated[
        str, comment("A PEM file with the certificate chain, to serve https. Empty: http.")
    ] = ""
    key: Annotated[str, comment("A PEM file with the certificate's private key.")] = ""
    public: Annotated[
        bool, comment("true: show without a login how many seats of each lab are free, and nothing else.")
    ] = False

    def faults(self) -> Iterator[tuple[str, str]]:
        """A certificate needs its key; addresses and host names are such."""
        if bool(self.certificate) != bool(self.key):
            yield "key" if self.certificate else "certificate", "certificate and key are set together"
        if self.url and not _is_web_address(self.url):
            yield "url", "expected https://HOST or https://HOST/PATH"
        for one in self.proxies:
            try:
                ip_network(one, strict=False)
            except ValueError:
                yield "proxies", f"{one!r}: expected an address or a network, such as 10.0.0.5 or 10.0.0.0/24"
        for one in self.hosts:
            if not HOST.fullmatch(one):
                yield "hosts", f"{one!r}: expected a host name, such as labs.example.edu"


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
