"""Strangers who connect and wait; the streams of one user; signals that reload."""

import resource
import signal
import socket
import time

import httpx
import pytest

from tests.support.dashboard import Dashboard

FEW = 128

HALVES = [
    b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n",
    b"",
    b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\nname=",
]


@pytest.fixture
def few_files():
    """What is started meanwhile has few file descriptors."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (FEW, before[1]))
    try:
        yield lambda: resource.setrlimit(resource.RLIMIT_NOFILE, before)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("half", HALVES)
def test_two_hundred_half_requests_leave_the_dashboard_answering(shared_url, few_files, half):
    with Dashboard(shared_url) as dashboard:
        few_files()
        held = []
        try:
            for _ in range(200):
                one = socket.create_connection(("127.0.0.1", dashboard.port), 30)
                held.append(one)
                one.sendall(half)
            for _ in range(3):
                assert httpx.get(f"{dashboard.url}/healthz", timeout=20, trust_env=False).status_code == 200
        finally:
            for one in held:
                one.close()
        assert "Traceback" not in dashboard.log
        assert len(dashboard.log.splitlines()) < 10, dashboard.log[:2000]


@pytest.mark.parametrize("half", HALVES[:2])
def test_a_half_request_is_closed_after_its_deadline(dashboard, half):
    with socket.create_connection(("127.0.0.1", dashboard.port), 60) as one:
        one.sendall(half)
        try:
            assert one.recv(100) == b""
        except ConnectionResetError:
            pass


def test_a_user_has_twenty_streams_and_others_still_have_theirs(dashboard, browsers):
    viewer, operator = browsers["viewer"], browsers["operator"]
    with httpx.Client(limits=httpx.Limits(max_connections=50), trust_env=False, timeout=30) as client:
        url, cookies = f"{dashboard.url}/api/v1/stream", {"Cookie": _cookie(viewer)}
        opened = []
        try:
            for _ in range(20):
                opened.append(client.send(client.build_request("GET", url, headers=cookies), stream=True))
            assert {one.status_code for one in opened} == {200}
            assert client.get(url, headers=cookies).status_code == 429
            with client.stream("GET", url, headers={"Cookie": _cookie(operator)}) as other:
                assert other.status_code == 200
        finally:
            for one in opened:
                one.close()


def _cookie(browser):
    return "; ".join(f"{one.name}={one.value}" for one in browser.cookies.jar)


def test_the_stream_of_a_session_that_was_ended_ends_in_seconds(dashboard):
    with dashboard.logged_in("viewer") as one, dashboard.logged_in("viewer") as other:
        with one.stream("GET", "/api/v1/stream") as stream:
            assert other.delete("/api/v1/sessions").status_code == 204
            begun = time.monotonic()
            for _ in stream.iter_bytes():
                pass
            assert time.monotonic() - begun < 12  # 4 s, and a busy machine


def test_a_hangup_without_tls_changes_nothing(new_dashboard):
    dashboard = new_dashboard()
    for _ in range(2):
        dashboard.process.send_signal(signal.SIGHUP)
        assert httpx.get(f"{dashboard.url}/healthz", trust_env=False).status_code == 200
    assert dashboard.process.poll() is None


@pytest.mark.parametrize("path", ["/login", "/api/v1/login", "/api/v1/users"])
def test_a_half_sent_body_is_no_traceback_when_the_server_stops(new_dashboard, path):
    dashboard = new_dashboard()
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", dashboard.port), 30) as one:
        one.sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())
        httpx.get(f"{dashboard.url}/healthz", trust_env=False)
        assert dashboard.stop() == 0
    assert "Traceback" not in dashboard.log and "ERROR" not in dashboard.log


def test_a_body_with_two_lengths_is_refused_and_the_connection_closed(dashboard):
    with socket.create_connection(("127.0.0.1", dashboard.port), 30) as one:
        one.sendall(
            b"POST /api/v1/login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        )
        answer = b""
        while part := one.recv(65536):
            answer += part
    assert answer.startswith(b"HTTP/1.1 400 ") and answer.count(b"HTTP/1.1 ") == 1


def test_a_hangup_reads_the_certificate_again_and_keeps_the_old_one_where_it_is_broken(
    new_dashboard, certificates, tmp_path
):
    for name in ("server.pem", "server.key"):
        (tmp_path / name).write_bytes((certificates / name).read_bytes())
    files = f"--certificate={tmp_path / 'server.pem'}", f"--key={tmp_path / 'server.key'}"
    dashboard = new_dashboard(*files, scheme="https")
    for content, said in (
        ((tmp_path / "server.pem").read_bytes(), "was reloaded"),
        (b"nonsense", "was not reloaded"),
    ):
        (tmp_path / "server.pem").write_bytes(content)
        dashboard.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 30
        while said not in dashboard.log:
            assert time.monotonic() < deadline, dashboard.log
            time.sleep(0.05)
        assert httpx.get(f"{dashboard.url}/healthz", verify=False, trust_env=False).status_code == 200
    assert "Traceback" not in dashboard.log
