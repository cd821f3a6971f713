"""A browser on a real dashboard over a real PostgreSQL: no console error, no outside request."""

import asyncio

import psycopg
import pytest
from playwright.sync_api import sync_playwright

from tests.integration.dashboard.lab import campus, fire, measure, minutes_ago
from tests.support.absent import absent
from tests.support.browsing import ARGUMENTS, CHROMIUM, Browsing
from tests.support.dashboard import Dashboard, add_user


@pytest.fixture(scope="module")  # not session: an event loop that stays open breaks all later asyncio.run
def chromium():
    if not CHROMIUM:
        absent("chromium is not installed. Install it with: make servers")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()
    asyncio.run(asyncio.sleep(0))  # which fails while a loop is left running, and so would later tests


@pytest.fixture
def browsing(chromium):
    found = Browsing(chromium)
    yield found
    assert not found.faults


def fill(store_url):
    """Four systems, two of them in lab A-101, with readings; one alert; a user of each role."""
    with psycopg.connect(store_url) as connection:
        campus(connection, systems=4)
        measure(connection, 1, minutes_ago(2), minutes_ago(1), cpu=5.0, users=0)
        measure(connection, 2, minutes_ago(2), minutes_ago(1), cpu=95.0, users=2)
        fire(connection, 3, "cpu_high", "critical")
    for name, role in (("ada", "admin"), ("olga", "operator"), ("vera", "viewer")):
        add_user(store_url, name, role)


@pytest.fixture
def dashboard(store_url):
    fill(store_url)
    with Dashboard(store_url) as dashboard:
        yield dashboard


@pytest.fixture
def page(dashboard, browsing):
    """A page of the operator's."""
    with browsing.page(dashboard.url, "olga") as page:
        yield page
