"""The pages of queues and dead letters, with each broker; and what they do while a server is away."""

import subprocess

import psycopg
import pytest
from playwright.sync_api import expect

from labmon.app.open import open_broker
from labmon.brokers.base import Message
from labmon.config.load import load
from tests.browser.conftest import fill
from tests.support.dashboard import LABMON, Dashboard

pytestmark = pytest.mark.browser


@pytest.fixture(params=["postgres", "redis", "rabbitmq"])
def queue(request, store_url):
    """Settings of a clean corner of a broker."""
    server = request.getfixturevalue(f"{request.param}_server")
    found = {"QUEUE_TYPE": request.param, "QUEUE_HOST": "127.0.0.1", "QUEUE_PORT": str(server.port)}
    match request.param:
        case "postgres":
            with server.database() as name:
                yield found | {
                    "QUEUE_USER": server.USER,
                    "QUEUE_PASSWORD": server.PASSWORD,
                    "LABMON_QUEUE_DATABASE": name,
                }
        case "redis":
            server.cli("FLUSHALL")
            yield found | {"QUEUE_USER": "", "QUEUE_PASSWORD": server.PASSWORD}
        case "rabbitmq":
            with server.vhost() as name:
                yield found | {
                    "QUEUE_USER": "guest",
                    "QUEUE_PASSWORD": "guest",
                    "LABMON_QUEUE_VHOST": name,
                }


READING = '{"system_id": %s, "collected_at": "2026-01-01T00:00:%02dZ", "metrics": {"cpu_percent": 5}}'


@pytest.fixture
def queued(store_url, queue):
    """A dashboard on that broker, whose store has the small campus."""
    fill(store_url)
    with Dashboard(store_url, **queue) as dashboard:
        yield dashboard


def run(dashboard, *arguments, code=0):
    command = [LABMON, *arguments]
    done = subprocess.run(
        command, env=dashboard.environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == code, done.stderr
    return done.stderr


def kill_readings(dashboard, *bodies):
    """Have a worker reject these messages."""
    run(dashboard, "setup-queues")
    environ = {k: v for k, v in dashboard.environ.items() if k.startswith(("LABMON_", "QUEUE_"))}
    with open_broker(load(environ=environ).config) as broker:
        broker.publish("metrics_queue", [Message.new(body.encode()) for body in bodies])
    run(dashboard, "consume", "--until-empty", code=6)


def stored(store_url, system):
    with psycopg.connect(store_url) as connection:
        row = connection.execute("SELECT count(*) FROM metrics WHERE system_id = %s", [system]).fetchone()
    return row[0]


def test_a_dead_letter_replayed_on_the_page_lands_in_metrics_and_another_is_discarded(
    queued, browsing, store_url
):
    kill_readings(queued, READING % (7, 1), '{"password": "hunter2", "<b>": 1}')
    with browsing.page(queued.url, "olga") as page:
        page.goto("/queues/dead")
        rows = page.locator("#dead tbody tr")
        expect(rows).to_have_count(2)
        page.get_by_label("Filter dead letters").fill("unknown system")
        expect(rows).to_have_count(1)
        with psycopg.connect(store_url) as connection:
            connection.execute("INSERT INTO systems (system_id, dept_id) VALUES (7, 1)")
        rows.first.get_by_role("checkbox").check()
        page.get_by_role("button", name="Replay").click()
        page.get_by_role("dialog").get_by_role("button", name="Replay").click()
        expect(page.locator("#toasts")).to_contain_text("1 message put back")
        assert "1 stored" in run(queued, "consume", "--until-empty")
        assert stored(store_url, 7) == 1
        page.get_by_label("Filter dead letters").fill("")
        expect(rows).to_have_count(1)
        expect(rows).to_contain_text("Undecodable")
        page.get_by_role("button", name="Details").click()
        expect(page.locator("tr.details pre")).to_contain_text("***")
        expect(page.locator("tr.details pre")).not_to_contain_text("hunter2")
        page.get_by_label("Select all").check()
        page.get_by_role("button", name="Discard").click()
        page.get_by_role("dialog").get_by_role("button", name="Discard").click()
        expect(page.locator("#dead")).to_contain_text("No dead letters")


def test_the_queues_page_says_that_the_broker_is_away_and_the_rest_works(
    store_url, own_redis_server, browsing
):
    fill(store_url)
    server = own_redis_server
    settings = {"QUEUE_TYPE": "redis", "QUEUE_HOST": "127.0.0.1", "QUEUE_PORT": str(server.port)}
    settings |= {"QUEUE_USER": "", "QUEUE_PASSWORD": server.PASSWORD}
    with Dashboard(store_url, **settings) as dashboard:
        run(dashboard, "setup-queues")
        with browsing.page(dashboard.url, "vera") as page:
            page.goto("/queues")
            expect(page.locator("#queues tbody tr")).to_have_count(3)
            server.stop()
            expect(page.locator("#broker")).to_contain_text("cannot be read", timeout=30_000)
            expect(page.locator("#queues tbody tr")).to_have_count(3)
            page.goto("/labs/1")
            expect(page.locator("a.seat")).to_have_count(2)
            page.goto("/queues")
            expect(page.locator("#broker")).to_contain_text("cannot be read", timeout=30_000)
            server.start()
            expect(page.locator("#broker")).to_be_empty(timeout=30_000)


def test_a_page_keeps_what_it_shows_while_the_database_is_away_and_comes_back_by_itself(
    own_postgres_server, browsing
):
    from labmon.store.migrate import migrate

    server = own_postgres_server
    with server.database() as name:
        url = server.url(name)
        with psycopg.connect(url) as connection:
            migrate(connection)
        fill(url)
        with Dashboard(url) as dashboard, browsing.page(dashboard.url, "olga") as page:
            page.goto("/alerts")
            row = page.locator("#alerts tbody tr")
            expect(row).to_contain_text("pc-3", timeout=30_000)
            server.stop()
            page.get_by_label("Severity").select_option("critical")
            expect(page.locator("#alerts .notice")).to_be_visible(timeout=60_000)
            expect(row).to_have_count(1)
            expect(row).to_contain_text("pc-3")
            server.start()
            expect(page.locator("#alerts .notice")).to_be_hidden(timeout=60_000)
            expect(row).to_have_count(1)
    browsing.forgive("503", "500", "ERR_")


def test_a_server_that_is_started_again_makes_the_page_live_again(dashboard, browsing, store_url):
    with browsing.page(dashboard.url, "olga") as page:
        page.goto("/alerts?state=all")
        live = page.locator("#live")
        expect(page.locator("#alerts tbody tr")).to_contain_text("pc-3", timeout=30_000)
        expect(live).to_have_attribute("data-state", "live", timeout=30_000)
        dashboard.stop()
        expect(live).to_have_attribute("data-state", "reconnecting", timeout=30_000)
        expect(page.locator("#alerts tbody tr")).to_have_count(1)
        with psycopg.connect(store_url) as connection:
            connection.execute("UPDATE alert_incidents SET severity = 'info'")
        dashboard.start()
        expect(live).to_have_attribute("data-state", "live", timeout=60_000)
        expect(page.locator("#alerts tbody tr")).to_contain_text("Info", timeout=30_000)
    browsing.forgive("ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE", "ERR_EMPTY", "ERR_ABORTED", "Failed to load")
