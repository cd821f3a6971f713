"""A database that takes every question and answers none: said within seconds, and over by itself."""

import time

import psycopg
import pytest

from labmon.app.open import open_store
from labmon.config.load import load
from labmon.dashboard.context import READY
from labmon.errors import StoreUnavailable
from labmon.store.migrate import migrate
from tests.support.clock import clock
from tests.support.dashboard import Dashboard, add_user
from tests.support.frozen import frozen

BOUND = 25  # seconds; it takes 3 to 9 on a machine that is not busy


@pytest.fixture
def url(own_postgres_server):
    with psycopg.connect(own_postgres_server.socket_conninfo("postgres")) as connection:
        migrate(connection)
    url = own_postgres_server.url("postgres")
    add_user(url, "olga", "operator")
    return url


def asked(browser, method, path, **more):
    """The answer, and the seconds that it took."""
    begun = time.monotonic()
    answer = browser.request(method, path, **more)
    return answer, time.monotonic() - begun


def test_pages_data_and_actions_answer_that_it_is_away(url, own_postgres_server):
    with Dashboard(url) as dashboard, dashboard.logged_in("olga", timeout=60) as browser:
        assert browser.get("/api/v1/summary").status_code == 200
        with (
            browser.stream("GET", "/api/v1/stream", timeout=60) as stream,
            frozen(own_postgres_server.pid),
        ):
            begun = time.monotonic()
            assert any(line == "event: problem" for line in _until(stream, "event: problem"))
            assert time.monotonic() - begun < BOUND
            for method, path in (
                ("GET", "/systems"),
                ("GET", "/api/v1/alerts"),
                ("POST", "/api/v1/alerts/ack"),
            ):
                more = {"json": {"ids": [1], "note": ""}} if method == "POST" else {}
                answer, seconds = asked(browser, method, path, **more)
                assert answer.status_code == 503, answer.text
                assert seconds < BOUND
        deadline = time.monotonic() + 60
        while browser.get("/api/v1/alerts").status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def test_who_watches_is_told_within_a_second_and_then_at_once(url, own_postgres_server):
    with Dashboard(url) as dashboard, dashboard.browser(timeout=60) as browser:
        assert browser.get("/readyz").status_code == 200
        with frozen(own_postgres_server.pid):
            for _ in range(5):
                begun = clock()
                answer = browser.get("/readyz")
                assert clock() - begun < READY + 0.2
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
                assert "127.0.0.1" not in answer.text  # a stranger need not know where it is
            assert browser.get("/healthz").status_code == 200
        deadline = time.monotonic() + 60
        while browser.get("/readyz").status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def _until(stream, last):
    for line in stream.iter_lines():
        yield line
        if line == last:
            return


def test_a_statement_that_is_already_on_its_way_has_a_deadline(url, own_postgres_server):
    config = load(environ={"LABMON_DATABASE_URL": url}).config
    with (
        open_store(config, answer_within=1.0) as store,
        pytest.raises(StoreUnavailable, match="no answer for 2 seconds"),
        store.transaction() as connection,
    ):
        connection.execute("SELECT 1")
        with frozen(own_postgres_server.pid):
            connection.execute("SELECT 2")
