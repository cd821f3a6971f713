"""What stands still is seen: on a wall screen, on a phone, in the header of every page."""

import re
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from playwright.sync_api import expect

from labmon.store.migrate import migrate
from tests.browser.conftest import fill
from tests.integration.dashboard.lab import measure
from tests.support.dashboard import Dashboard
from tests.support.frozen import frozen


def of_minutes_ago(store_url, minutes):
    """Only readings of so long ago, a minute apart."""
    with psycopg.connect(store_url) as connection:
        connection.execute("DELETE FROM metrics")
        connection.execute("UPDATE systems SET last_collected = NULL")
        connection.commit()
        end = datetime.now(UTC) - timedelta(minutes=minutes)
        measure(connection, 1, *(end - timedelta(minutes=n) for n in range(5)))


def test_the_header_is_amber_when_readings_are_old(page, store_url):
    of_minutes_ago(store_url, 4)
    page.goto("/systems")
    expect(page.locator("#live")).to_have_attribute("data-state", "old")
    expect(page.locator("#live")).to_contain_text("Readings are 4 min old")


@pytest.mark.parametrize(
    ("minutes", "text"), [(1, r"newest reading 1 min ago"), (9, r"Readings are 9 min old")]
)
def test_a_phone_shows_the_age_too(page, store_url, minutes, text):
    of_minutes_ago(store_url, minutes)
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto("/labs")
    shown = page.locator("#live .age" if minutes == 1 else "#live .word")
    expect(shown).to_have_text(re.compile(text))
    expect(shown).to_be_visible()
    assert page.evaluate("() => document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_a_wall_screen_has_clock_state_and_age(page, store_url):
    of_minutes_ago(store_url, 4)
    page.goto("/?kiosk=1")
    expect(page.locator("#clock")).to_have_text(re.compile(r"^\d\d:\d\d:\d\d"))
    expect(page.locator(".kiosk-line")).to_contain_text("Readings are 4 min old")


def test_a_database_that_hangs_is_said_on_the_wall_and_at_an_action(own_postgres_server, browsing):
    with psycopg.connect(own_postgres_server.socket_conninfo("postgres")) as connection:
        migrate(connection)
    url = own_postgres_server.url("postgres")
    fill(url)
    with (
        Dashboard(url) as dashboard,
        browsing.page(dashboard.url, "olga") as wall,
        browsing.page(dashboard.url, "olga") as desk,
    ):
        wall.goto("/?kiosk=1")
        desk.goto("/alerts")
        expect(wall.locator("#live")).to_have_attribute("data-stream", "live")
        button = desk.get_by_role("button", name=re.compile("^Acknowledge ")).first
        expect(button).to_be_visible()
        with frozen(own_postgres_server.pid):
            expect(wall.locator(".kiosk-line")).to_contain_text("Database away", timeout=40_000)
            expect(desk.locator("#live")).to_contain_text("Database away", timeout=40_000)
            button.click()
            desk.locator("dialog").get_by_role("button", name="Acknowledge").click()
            expect(desk.locator("dialog")).to_contain_text("PostgreSQL", timeout=40_000)
        expect(wall.locator(".kiosk-line")).to_contain_text("Live", timeout=40_000)
    browsing.forgive("503", "Failed to load resource")


def test_a_phone_reaches_columns_and_csv(page):
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto("/systems?lab=1&sort=hostname&cols=load1")
    expect(page.locator("#csv")).to_be_visible()
    expect(page.locator("#csv")).to_have_attribute(
        "href", re.compile(r"lab=1&sort=hostname&columns=hostname%2Cload1$")
    )
    page.locator("#columns summary").click()
    box = page.locator("#columns .menu-list").bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 390


def test_the_filter_finds_exactly_what_follows_an_equals_sign(page):
    page.goto("/systems")
    page.locator("#filter").fill("=10.0.0.1")
    expect(page.locator("#shown")).to_have_text("1 of 4")


def test_the_overview_counts_what_needs_somebody(page):
    page.goto("/")
    expect(page.locator("#sub")).to_contain_text("1 critical or down")


def test_the_filter_is_left_with_enter_and_the_keys_work_again(page):
    page.goto("/systems")
    expect(page.locator("#shown")).to_contain_text("4")
    page.keyboard.press("/")
    expect(page.locator("#filter")).to_be_focused()
    page.keyboard.type("pc-2?")
    expect(page.locator("#filter")).to_have_value("pc-2?")
    page.keyboard.press("Backspace")
    expect(page.locator("#shown")).to_have_text("1 of 4")
    page.keyboard.press("Enter")
    expect(page.locator("#filter")).not_to_be_focused()
    page.keyboard.press("?")
    expect(page.locator("dialog")).to_contain_text("Filter the list")
    page.keyboard.press("Escape")
    expect(page.locator("dialog[open]")).to_have_count(0)
    expect(page.locator("#shown")).to_have_text("1 of 4")
