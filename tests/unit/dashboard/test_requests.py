"""What is read from a request before it is believed: host, origin, the page to go to, the connection."""

import os
import socket

import pytest

from labmon.config.tables import DashboardConfig
from labmon.dashboard.pages.pages import next_page
from labmon.dashboard.security import csrf, hosts, local

NAMES = hosts.known_names(
    DashboardConfig(hosts=["Labs.Example.EDU"], url="https://monitor.example.edu:8443/labmon")
)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8480",
        "LOCALHOST.",
        "127.0.0.1:8480",
        "[::1]:8480",
        "[::1]",
        "192.0.2.7",
        "labs.example.edu",
        "monitor.example.edu:8443",
        socket.gethostname(),
    ],
)
def test_our_names_and_all_addresses_are_known(host):
    assert hosts.is_known(host, NAMES)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "labs.example.edu@evil.example",
        "a b",
    ],
)
def test_other_names_are_not(host):
    assert not hosts.is_known(host, NAMES)


@pytest.mark.parametrize("page", ["/", "/systems", "/systems?q=a%20b&lab=3", "/labs/1#x", "/a/../b"])
def test_a_page_of_ours_is_where_the_login_leads(page):
    assert next_page(page) == page


@pytest.mark.parametrize(
    "page",
    [
        "",
        "systems",
        "//evil.example",
        "/\\evil.example",
        "\\/evil.example",
        "https://evil.example",
        "javascript:alert(1)",
        "/\t/evil.example",
        "/a\\b",
        "/a\r\nSet-Cookie: x=1",
        " //evil.example",
        "/\u2028",
        "/" + "a" * 3000,
    ],
)
def test_anything_else_leads_to_the_first_page(page):
    assert next_page(page) == "/"


def test_an_origin_is_ours_by_host_header_or_by_the_configured_address():
    asked = {"host": "127.0.0.1:8480"}
    url = "https://labs.example.edu/labmon"
    assert not csrf.foreign_origin(asked, "", "http")
    assert not csrf.foreign_origin(asked | {"origin": "http://127.0.0.1:8480"}, "", "http")
    assert not csrf.foreign_origin(asked | {"origin": "https://labs.example.edu"}, url, "http")
    assert csrf.foreign_origin(asked | {"origin": "https://labs.example.edu"}, "", "http")
    assert csrf.foreign_origin(asked | {"origin": "https://labs.example.edu:8443"}, url, "http")
    assert csrf.foreign_origin(asked | {"origin": "null"}, url, "http")
    assert csrf.foreign_origin({"origin": "null"}, "", "http")


def test_the_default_port_may_be_written_or_not():
    assert not csrf.foreign_origin(
        {"host": "labs.example.edu:443", "origin": "https://labs.example.edu"}, "", "https"
    )
    assert not csrf.foreign_origin({"host": "a:80", "origin": "http://a"}, "", "http")


@pytest.mark.parametrize("origin", ["http://a", "https://a:80", "https://a:8443", "a", "http://a:443"])
def test_an_origin_of_another_scheme_or_port_is_foreign(origin):
    assert csrf.foreign_origin({"host": "a", "origin": origin}, "", "https")


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
def test_the_kernel_says_whose_the_other_end_of_a_connection_is(family):
    with connected(family) as (client, server):
        scope = {"client": client.getsockname()[:2], "server": server.getsockname()[:2], "headers": []}
        assert local.is_own(scope)
        scope["client"] = (scope["client"][0], 1)
        assert not local.is_own(scope)


def test_an_ipv4_connection_to_a_socket_of_both_kinds_is_found():
    with connected(socket.AF_INET6, "::", "127.0.0.1") as (client, server):
        peer = server.getpeername()
        assert peer[0] == "::ffff:127.0.0.1"
        assert local.is_own({"client": peer[:2], "server": server.getsockname()[:2], "headers": []})


@pytest.mark.skipif(os.geteuid() != 0, reason="takes another account")
def test_another_account_of_this_machine_is_not_ours(monkeypatch):
    with connected(socket.AF_INET) as (client, server):
        scope = {"client": client.getsockname()[:2], "server": server.getsockname()[:2], "headers": []}
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
        assert not local.is_own(scope)


@pytest.mark.parametrize("header", [b"x-forwarded-for", b"forwarded", b"via", b"x-real-ip"])
def test_what_a_proxy_passes_on_is_not_ours(header):
    with connected(socket.AF_INET) as (client, server):
        ends = {"client": client.getsockname()[:2], "server": server.getsockname()[:2]}
        assert not local.is_own(ends | {"headers": [(header, b"127.0.0.1")]})


class connected:
    """The two ends of a connection within this machine."""

    def __init__(self, family, listen="", connect=""):
        loopback = "127.0.0.1" if family == socket.AF_INET else "::1"
        both = listen == "::"
        self.listener = socket.create_server((listen or loopback, 0), family=family, dualstack_ipv6=both)
        port = self.listener.getsockname()[1]
        self.client = socket.create_connection((connect or loopback, port))
        self.server, _ = self.listener.accept()

    def __enter__(self):
        return self.client, self.server

    def __exit__(self, *_):
        for one in (self.client, self.server, self.listener):
            one.close()
