"""The process: what it listens to, what it refuses, how it ends."""

import json
import re
import signal
import socket
import ssl
import subprocess
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import psycopg
import pytest
import trustme

from tests.support.clock import clock
from tests.support.dashboard import LABMON, PASSWORD, Dashboard, add_user, meta
from tests.support.servers import free_port

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


def raw(dashboard, *lines, body=b""):
    """The answer to a request that no client of Python would send: its first line, and all of it."""
    with socket.create_connection(("127.0.0.1", dashboard.port), 30) as connection:
        connection.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode() + body)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer.split(b"\r\n")[0].decode(), answer.decode(errors="replace")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 303),
        ("/login", 200),
        ("/nothing", 404),
        ("/api/v1/me", 401),
        ("/api/v1/nothing", 404),
        ("/healthz", 200),
        ("/readyz", 200),
        ("/metrics", 401),
        ("/openapi.json", 401),
        ("/static/0000/app.css", 404),
    ],
)
def test_every_response_has_the_headers(dashboard, path, status):
    with dashboard.browser() as stranger:
        answer = stranger.get(path)
    assert answer.status_code == status
    for name, value in HEADERS.items():
        assert answer.headers[name].startswith(value), name
    assert "require-trusted-types-for 'script'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert "strict-transport-security" not in answer.headers  # only over https
    assert "server" not in answer.headers


def test_what_is_refused_before_the_application_has_the_headers_too(dashboard):
    with dashboard.browser() as stranger:
        refused = stranger.get("/healthz", headers={"Host": "evil.example"})
        too_large = stranger.post("/api/v1/login", content=b"x" * (2**20 + 1))
        method = stranger.request("TRACE", "/healthz")
    assert [one.status_code for one in (refused, too_large, method)] == [400, 413, 405]
    for answer in (refused, too_large, method):
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")


def test_static_files_are_kept_for_ever_under_the_hash_of_their_content(dashboard):
    with dashboard.browser() as stranger:
        page = stranger.get("/login").text
        path = re.search(r'href="([^"]*app\.css)"', page)[1]
        answer = stranger.get(path)
        script = stranger.get(path.replace("app.css", "lib.js"))
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert script.headers["content-type"].startswith("text/javascript")
    assert script.headers["content-encoding"] == "gzip"


@pytest.mark.parametrize(
    "path", ["/../pages/pages.py", "/..%2f..%2fapp.py", "/%2e%2e/app.py", "/pages/../../app.py"]
)
def test_nothing_but_static_files_is_served_as_one(dashboard, path):
    with dashboard.browser() as stranger:
        folder = re.search(r'href="([^"]*)/app\.css"', stranger.get("/login").text)[1]
    first, whole = raw(dashboard, f"GET {folder}{path} HTTP/1.1", "Host: localhost")
    assert " 404 " in first
    assert "import" not in whole


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "evil.example:80", "a b", ""])
def test_a_name_that_is_not_ours_is_refused(dashboard, host):
    first, whole = raw(dashboard, "GET /healthz HTTP/1.1", f"Host: {host}")
    assert " 400 " in first


def test_no_host_and_two_hosts_are_refused(dashboard):
    assert " 400 " in raw(dashboard, "GET /healthz HTTP/1.0")[0]
    assert " 400 " in raw(dashboard, "GET /healthz HTTP/1.1", "Host: localhost", "Host: evil.example")[0]


def test_configured_names_are_ours(new_dashboard):
    one = new_dashboard(
        LABMON_DASHBOARD_HOSTS="labs.example.edu", LABMON_DASHBOARD_URL="https://m.example.edu"
    )
    for host in ("labs.example.edu", "LABS.example.edu:8480", "m.example.edu", "localhost", "192.0.2.1"):
        assert " 200 " in raw(one, "GET /healthz HTTP/1.1", f"Host: {host}")[0]


def test_a_body_that_grows_too_large_is_refused_while_it_comes(dashboard):
    def chunks():
        for _ in range(40):
            yield b"x" * 2**16

    with dashboard.browser() as stranger:
        try:
            answer = stranger.post("/login", content=chunks())
        except httpx.TransportError:  # it stopped listening: as good
            return
    assert answer.status_code == 413


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"name": 1}',
        b'{"name": "a", "password": ["hunter2"]}',
        b"\xff\xfe",
        b"[" * 10_000,
    ],
)
def test_a_body_that_is_none_is_a_problem_that_does_not_quote_it(dashboard, body):
    with dashboard.browser() as stranger:
        answer = stranger.post("/api/v1/login", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"
    assert "hunter2" not in answer.text


def test_guessing_a_password_takes_longer_and_longer(new_dashboard, store_url):
    add_user(store_url, "anna")
    one = new_dashboard()
    with one.browser() as guesser:
        answers = [
            guesser.post("/login", data={"name": "anna", "password": f"guess number {number}"})
            for number in range(6)
        ]
        assert [answer.status_code for answer in answers] == [401] * 5 + [429]
        assert "the name or the password is wrong" in answers[0].text
        assert "too many failed logins" in answers[-1].text
        assert int(answers[-1].headers["retry-after"]) >= 1
        right = guesser.post("/api/v1/login", json={"name": "Anna", "password": PASSWORD})
        assert right.status_code == 429  # it would tell the guesser that it was right
        time.sleep(1.1)
        assert guesser.post("/api/v1/login", json={"name": "Anna", "password": PASSWORD}).status_code == 204
    with psycopg.connect(store_url) as connection:
        rows = connection.execute("SELECT action, count(*) FROM audit GROUP BY action").fetchall()
    assert dict(rows) == {"login.failed": 5, "login": 1}


def test_a_login_does_not_wait_behind_the_guesses_of_other_addresses(new_dashboard, store_url):
    add_user(store_url, "anna")
    one = new_dashboard()
    codes = []

    def guess(address):
        way = httpx.HTTPTransport(local_address=address)
        with one.browser(transport=way, timeout=120) as guesser:
            for number in range(3):
                guess = {"name": f"nobody{number}", "password": "x"}
                codes.append(guesser.post("/api/v1/login", json=guess).status_code)

    sources = [f"127.0.0.{2 + number // 4}" for number in range(12)]
    threads = [threading.Thread(target=guess, args=(source,)) for source in sources]
    for thread in threads:
        thread.start()
    with one.browser(timeout=120) as browser:
        while len(codes) < 2:
            time.sleep(0.01)
        begun, before = clock(), len(codes)
        assert browser.post("/api/v1/login", json={"name": "anna", "password": PASSWORD}).status_code == 204
        assert clock() - begun < 2
        assert len(codes) - before <= 6  # the guesses that were being compared, not those that waited
    for thread in threads:
        thread.join()
    assert set(codes) == {401}  # none was refused since others guessed


def test_names_that_do_not_exist_fail_in_the_same_way_and_leave_no_rows(new_dashboard, store_url):
    add_user(store_url, "anna")
    one = new_dashboard()
    with one.browser() as guesser:
        known, unknown, odd = (
            guesser.post("/api/v1/login", json={"name": name, "password": "x"})
            for name in ("anna", "otto", "a\0b")
        )
    assert known.status_code == unknown.status_code == 401
    assert known.json() == unknown.json()
    assert odd.status_code == 422  # no name at all
    with psycopg.connect(store_url) as connection:
        assert connection.execute("SELECT count(*) FROM audit").fetchone() == (1,)


def test_without_a_user_only_the_account_that_started_it_gets_in(new_dashboard, store_url):
    one = new_dashboard()
    assert "no user exists" in one.log
    with one.browser() as own:
        page = own.get("/").text
        assert meta(page, "user") == "local" and "labmon dashboard users add" in page
        assert own.get("/api/v1/me").json()["role"] == "admin"
        made = {"name": "anna", "role": "admin", "password": PASSWORD}
        assert own.post("/api/v1/users", json=made).status_code == 403  # any page could send it
        token = {"X-CSRF-Token": meta(page, "csrf")}
        assert own.post("/api/v1/tokens", json={"name": "x"}, headers=token).status_code == 409
        foreign = own.post("/api/v1/users", json=made, headers=token | {"Origin": "http://evil.example"})
        assert foreign.status_code == 403
        for header in ("X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"):
            assert own.get("/api/v1/me", headers={header: "127.0.0.1"}).status_code == 401
        assert own.post("/api/v1/users", json=made, headers=token).status_code == 201
        assert own.get("/api/v1/me").status_code == 401  # from now on there is a user


def test_beyond_this_machine_it_does_not_listen_without_a_user(store_url):
    one = Dashboard(store_url, "--host=0.0.0.0")
    done = one.run()
    assert done.returncode == 2
    assert "users add" in done.stderr and done.stderr.count("\n") == 1
    add_user(store_url, "anna")
    with one:
        assert " 200 " in raw(one, "GET /healthz HTTP/1.1", "Host: 127.0.0.1")[0]


@pytest.mark.parametrize("strips", [True, False], ids=["the proxy takes it away", "the proxy leaves it"])
def test_behind_a_proxy_with_a_root_path_every_link_has_it(new_dashboard, store_url, strips):
    add_user(store_url, "anna", "admin")
    one = new_dashboard(root="/monitor")
    with one.browser(base_url=f"http://127.0.0.1:{one.port}") as browser:
        seen = "" if strips else "/monitor"
        assert browser.get(f"{seen}/systems").headers["location"] == "/monitor/login?next=/systems"
        page = browser.get(f"{seen}/login").text
        links = re.findall(r'(?:href|src|action)="([^"]*)"', page)
        assert links and all(link.startswith("/monitor/") for link in links)
        for link in links:
            if "/static/" in link:
                assert browser.get(link.removeprefix("/monitor") if strips else link).status_code == 200
        fields = {"name": "anna", "password": PASSWORD, "next": "/systems"}
        assert browser.post(f"{seen}/login", data=fields).headers["location"] == "/monitor/systems"
        assert browser.get(f"{seen}/systems").status_code == 200
        assert browser.get(f"{seen}/api/v1/me").json()["name"] == "anna"
        assert browser.get(f"{seen}/api/v1/me").headers["content-type"] == "application/json"


def test_a_proxy_of_this_machine_says_who_asks_and_over_https(new_dashboard, store_url):
    add_user(store_url, "anna", "admin")
    one = new_dashboard(LABMON_DASHBOARD_URL="https://labs.example.edu/")
    headers = {
        "X-Forwarded-For": "192.0.2.9, 127.0.0.1",
        "X-Forwarded-Proto": "https",
        "Host": "labs.example.edu",
    }
    with one.browser(headers=headers | {"Origin": "https://labs.example.edu"}) as browser:
        answer = browser.post("/login", data={"name": "anna", "password": PASSWORD})
    assert answer.status_code == 303
    assert (
        answer.headers["set-cookie"].startswith("__Host-labmon_session=")
        and "Secure" in answer.headers["set-cookie"]
    )
    assert answer.headers["strict-transport-security"]
    with psycopg.connect(store_url) as connection:
        assert connection.execute("SELECT address FROM web_sessions").fetchone() == ("192.0.2.9",)


def test_an_address_that_is_none_is_not_recorded(new_dashboard, store_url):
    add_user(store_url, "anna", "admin")
    one = new_dashboard()
    with one.browser(headers={"X-Forwarded-For": "<script>"}) as browser:
        assert browser.post("/login", data={"name": "anna", "password": PASSWORD}).status_code == 303
    with psycopg.connect(store_url) as connection:
        assert connection.execute("SELECT DISTINCT address FROM audit").fetchone() == ("",)


def test_over_tls_the_cookie_is_secure_and_browsers_stay_with_https(new_dashboard, store_url, certificates):
    add_user(store_url, "anna")
    one = new_dashboard(
        f"--certificate={certificates / 'server.pem'}", f"--key={certificates / 'server.key'}", scheme="https"
    )
    one.verify = ssl.create_default_context(cafile=certificates / "ca.pem")
    assert f"https://127.0.0.1:{one.port}/" in one.log
    with one.browser() as browser:
        answer = browser.post("/login", data={"name": "anna", "password": PASSWORD})
        assert answer.headers["set-cookie"].startswith("__Host-labmon_session=")
        assert "Secure" in answer.headers["set-cookie"]
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
        assert browser.get("/api/v1/me").json()["name"] == "anna"


def streams(dashboard, count):
    """Open streams, each of which has sent something."""
    opened = []
    with dashboard.logged_in("viewer") as browser:
        cookie = browser.cookies["labmon_session"]
    for _ in range(count):
        connection = socket.create_connection(("127.0.0.1", dashboard.port), 30)
        lines = ["GET /api/v1/stream HTTP/1.1", "Host: localhost", f"Cookie: labmon_session={cookie}", "", ""]
        connection.sendall("\r\n".join(lines).encode())
        opened.append(connection)
    for connection in opened:
        assert b"200 OK" in connection.recv(100)
    return opened


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_a_signal_ends_it_soon_with_streams_open(new_dashboard, store_url, number):
    add_user(store_url, "viewer")
    one = new_dashboard()
    opened = streams(one, 20)
    begun = time.monotonic()
    code = one.stop(number)
    took = time.monotonic() - begun
    for connection in opened:
        connection.close()
    assert code == (0 if number == signal.SIGTERM else 130)
    assert took < 10, took  # two seconds on an idle machine
    assert one.log.count("\n") == 1, one.log  # the line that said where it is


def test_a_second_after_the_database_is_back_so_is_everything(own_postgres_server):
    with own_postgres_server.database() as name:
        url = own_postgres_server.url(name)
        one = Dashboard(url)
        subprocess.run([LABMON, "db", "migrate"], env=one.environ, check=True, capture_output=True)
        add_user(url, "anna", "admin")
        with one, one.logged_in("anna", timeout=60) as browser:
            assert browser.get("/readyz").json() == {"status": "ok"}
            own_postgres_server.stop()
            begun = time.monotonic()
            answers = [browser.get(path) for path in ("/readyz", "/api/v1/me", "/api/v1/users", "/readyz")]
            took = time.monotonic() - begun
            assert [answer.status_code for answer in answers] == [503] * 4
            assert all(answer.headers["content-type"] == "application/problem+json" for answer in answers)
            assert took < 15  # the first waits three seconds; the others are told at once
            assert browser.get("/healthz").status_code == 200
            page = browser.get("/systems", headers={"Accept": "text/html"})
            assert page.status_code == 503 and 'http-equiv="refresh"' in page.text
            own_postgres_server.start()
            deadline = time.monotonic() + 30
            while browser.get("/readyz").status_code != 200:
                assert time.monotonic() < deadline
                time.sleep(0.2)
            assert browser.get("/api/v1/me").json()["name"] == "anna"
            assert browser.get("/systems", headers={"Accept": "text/html"}).status_code == 200
            assert "Traceback" not in one.log


def fails(store_url, *options, **environ):
    """The exit code of a dashboard that cannot start, and the line that it says."""
    one = Dashboard(store_url)
    done = one.run(*options, **environ)
    one.close()
    assert done.stdout == "" and done.stderr.count("\n") == 1, done.stderr
    return done.returncode, done.stderr


def test_a_port_that_is_taken_is_said_before_anything_else(store_url):
    with socket.create_server(("127.0.0.1", 0)) as other:
        code, said = fails(store_url, f"--port={other.getsockname()[1]}")
    assert code == 7 and "--port" in said


@pytest.mark.parametrize("host", ["192.0.2.1", "x" * 300])
def test_an_address_of_another_machine_is_refused(store_url, host):
    code, said = fails(store_url, f"--host={host}")
    assert code == 2 and "[dashboard] host" in said


def test_a_certificate_that_cannot_be_served_is_named(store_url, certificates, tmp_path):
    key, certificate = certificates / "server.key", certificates / "server.pem"
    (tmp_path / "empty.pem").touch()
    for options in (
        [f"--certificate={tmp_path / 'none.pem'}", f"--key={key}"],
        [f"--certificate={certificate}", f"--key={tmp_path / 'none.key'}"],
        [f"--certificate={tmp_path / 'empty.pem'}", f"--key={key}"],
        [f"--certificate={certificates / 'ca.pem'}", f"--key={key}"],
        [f"--certificate={certificate}"],
    ):
        code, said = fails(store_url, *options)
        assert code == 2 and "[dashboard]" in said, said


@pytest.mark.parametrize(
    ("days", "mode", "expected"),
    [
        (-1, 0o640, ["expired on"]),
        (3, 0o600, ["expires on"]),
        (90, 0o644, ["can be read by every account"]),
        (90, 0o640, []),
    ],
)
def test_a_certificate_that_ends_and_a_key_for_all_are_warned_of(
    new_dashboard, tmp_path, days, mode, expected
):
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", not_after=datetime.now(UTC) + timedelta(days=days))
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    (tmp_path / "key.pem").chmod(mode)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    files = f"--certificate={tmp_path / 'cert.pem'}", f"--key={tmp_path / 'key.pem'}"
    one = new_dashboard(*files, scheme="https")
    said = [line for line in one.log.splitlines() if re.search(r"\[dashboard\] (certificate|key):", line)]
    assert len(said) == len(expected)
    assert all(words in line for words, line in zip(expected, said, strict=True))


def test_a_database_that_is_away_at_the_start_is_said(store_url):
    code, said = fails(f"postgresql://labmon:x@127.0.0.1:{free_port()}/labmon")
    assert code == 5 and "Is it running?" in said


def test_without_the_extra_it_says_how_to_get_it(store_url, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['fastapi'] = None")
    code, said = fails(store_url, PYTHONPATH=str(tmp_path))
    assert code == 2 and "pip install 'labmon[dashboard]'" in said


def test_the_process_shows_no_secret_to_other_accounts(new_dashboard, store_url):
    one = new_dashboard()
    shown = Path(f"/proc/{one.process.pid}/cmdline").read_text()
    assert "correct" not in shown and "password" not in shown.lower()
    with one.browser() as browser:
        everything = json.dumps(
            [browser.get(path).text for path in ("/", "/readyz", "/openapi.json", "/metrics")]
        )
    assert "correct%20horse" not in everything and "correct horse" not in everything
