"""A phone of 360 px: every page fits, the header says how old the readings are, and a whole lab is seen."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.campus.conftest import settled
from tests.support.dashboard import add_user

NAME = "administrator-of-the-physics-department"
PAGES = (
    "/",
    "/systems",
    "/systems/1",
    "/labs",
    "/labs/1",
    "/alerts",
    "/queues",
    "/scans",
    "/rules",
    "/account",
)


@pytest.fixture(scope="module")
def dashboard(dashboard, campus_url):
    """The campus, with somebody whose name is long."""
    add_user(campus_url, NAME, "admin")
    return dashboard


@pytest.fixture(params=[360, 320])
def page(request, browsing, dashboard):
    with browsing.page(dashboard.url, NAME, viewport={"width": request.param, "height": 740}) as page:
        yield page


def box(page, selector):
    return page.locator(selector).bounding_box()


def test_no_page_is_wider_and_the_header_has_the_age_in_one_line(page):
    width = page.viewport_size["width"]
    for path in PAGES:
        page.goto(path)
        age = page.locator("#live .age")
        expect(age).to_have_text(re.compile(r"newest reading \d+ (s|min) ago"))
        assert box(page, "#live .age")["height"] < 20, path
        assert age.evaluate("(one) => parseFloat(getComputedStyle(one).fontSize)") >= 11
        assert page.evaluate("() => document.documentElement.scrollWidth") == width, path
        for part in page.locator(".shell-head :is(#nav-toggle, .brand, #live, summary:visible)").all():
            place = part.bounding_box()
            assert place["x"] >= 0 and place["x"] + place["width"] <= width, path


def test_what_is_wrong_is_said_beside_the_age(page):
    page.goto("/systems")
    expect(page.locator("#live .age")).to_contain_text("newest")
    page.evaluate(
        "() => import(document.querySelector('script[src$=\"shell.js\"]').src.replace('shell.js', 'live.js'))"
        ".then(({ live }) => live.emit('problem', { detail: 'gone' }))"
    )
    expect(page.locator("#live .word")).to_have_text("Database away")
    expect(page.locator("#live .age")).to_be_visible()
    assert box(page, "#live")["height"] < 40
    assert page.evaluate("() => document.documentElement.scrollWidth") == page.viewport_size["width"]


def test_a_whole_lab_is_seen_and_each_seat_can_be_met_with_a_finger(page):
    page.goto("/labs/1")
    settled(page)
    seat = page.locator("a.seat").first
    expect(seat).to_be_visible()
    assert seat.locator(".seat-shape").bounding_box()["width"] >= 23
    if page.viewport_size["width"] == 360:
        assert page.locator(".lab-scroll").evaluate("(one) => one.scrollWidth <= one.clientWidth")
    page.set_viewport_size({"width": 1280, "height": 740})  # the phone is turned, the window made wider
    expect(page.locator(".seat-name").first).to_be_visible()
