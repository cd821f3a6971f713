"""Seat maps: states by shape and letter, colours by metric, hover, keyboard, print."""

import psycopg
import pytest
from playwright.sync_api import expect

from labmon.dashboard import seats
from labmon.store.inventory.states import STATES, SystemState

pytestmark = pytest.mark.browser


def seat(number, **values):
    blank = dict.fromkeys(SystemState._fields)
    known = {"system_id": number, "ip_address": f"10.0.0.{number}", "state": "up", "dept_id": 1, "alerts": 0}
    return SystemState(**blank | known | {"status": "active"} | values)


ROOMS = {
    "a plan with aisles": [
        seat(n, seat_column=n if n < 3 else n + 4, seat_row=1 + n % 2 * 3) for n in range(1, 7)
    ],
    "no plan": [seat(n, hostname=f"a-101-pc{n:02}.example.edu") for n in (12, 9, 2, 1, 40, 17, 30, 8)],
    "some without a seat": [
        seat(1, seat_column=3, seat_row=2),
        seat(2),
        seat(3, ip_address="fe80::1:2"),
        seat(4, ip_address=None),
    ],
    "one seat far away": [seat(1, seat_column=1, seat_row=1), seat(2, seat_column=32767, seat_row=32767)],
    "one system": [seat(1, hostname="somewhere-with-a-very-long-name")],
    "one name unlike the others": [
        seat(n, hostname="<b>" if n == 3 else f"eng-101-pc{n:02}") for n in range(1, 6)
    ],
    "nobody": [],
}


IN_THE_PAGE = """async (systems) => {
    const script = document.querySelector('script[src*="/static/"]').src;
    const plan = script.replace(/(shell|pages.*).js$/, "seatplan.js");
    const { placeSeats, seatNames, kindOf } = await import(plan);
    const { places } = placeSeats(systems);
    const names = seatNames(systems);
    return [...places].map(([one, { column, row }]) =>
        [one.system_id, +column.toFixed(3), +row.toFixed(3), names.get(one), kindOf(one).word]);
}"""


def test_python_draws_the_seats_where_the_page_does(page):
    page.goto("/labs")
    for room, systems in ROOMS.items():
        found = page.evaluate(IN_THE_PAGE, [one._asdict() for one in systems])
        names = seats.names(systems)
        drawn = [
            [one.system_id, round(column, 3), round(row, 3), names[one.system_id], seats.kind_of(one).word]
            for one, column, row in seats.places(systems)
        ]
        assert sorted(found) == sorted(drawn), room
        assert len(drawn) == len(systems)


def test_every_state_has_a_seat_of_its_own():
    assert set(STATES) | {"busy", "free"} == set(seats.kinds())
    looks = [(one.letter, one.shape, one.mark) for one in seats.kinds().values()]
    assert len({letter for letter, _, _ in looks}) == len(looks)


def test_a_lab_shows_its_seats_by_letter_and_goes_to_the_system_that_is_chosen(page):
    page.goto("/labs")
    page.get_by_role("link", name="A-101").click()
    seats = page.locator("a.seat")
    expect(seats).to_have_count(2)
    expect(seats.locator(".seat-letter")).to_have_text(["F", "B"])
    expect(page.get_by_role("group", name="Seats of A-101: 1 free, 1 busy")).to_be_visible()
    seats.first.hover()
    expect(page.locator(".seat-facts")).to_contain_text("pc-1")
    seats.first.click()
    page.wait_for_url("**/systems/1")


def test_seats_are_walked_with_the_arrows_and_opened_with_enter(page):
    page.goto("/labs/1")
    expect(page.locator("a.seat")).to_have_count(2)
    page.locator("a.seat").first.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".seat-facts")).to_contain_text("pc-2")
    said = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert said.startswith("B 2: pc-2, Busy"), said
    page.keyboard.press("Escape")
    expect(page.locator(".seat-facts")).to_be_hidden()
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    page.wait_for_url("**/systems/1")


def test_seats_are_coloured_by_a_metric_with_a_legend(page):
    page.goto("/labs/1")
    page.get_by_label("Colour by").select_option("CPU")
    expect(page.locator("a.seat .seat-letter")).to_have_text(["5", "95"])
    expect(page.get_by_role("list", name="Legend")).to_contain_text("80 – 100 %")
    expect(page.locator("a.seat").nth(1)).to_have_class("seat seat-busy seat-metric seat-m4")
    page.reload()
    expect(page.locator("a.seat .seat-letter").first).to_have_text("5")


def test_a_seat_changes_while_the_page_is_open(page, store_url):
    page.goto("/labs/1")
    expect(page.locator("a.seat .seat-letter").first).to_have_text("F")
    expect(page.locator("#live")).to_have_attribute("data-state", "live")
    with psycopg.connect(store_url) as connection:
        connection.execute("UPDATE systems SET status = 'maintenance' WHERE system_id = 1")
    expect(page.locator("a.seat .seat-letter").first).to_have_text("M")


def test_a_printed_lab_is_a_clean_sheet(page):
    page.goto("/labs/1")
    expect(page.locator("a.seat")).to_have_count(2)
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    page.emulate_media(media="print", color_scheme="dark")
    ink = "() => getComputedStyle(document.body).color"
    assert page.evaluate(ink) == "rgb(16, 19, 26)", "dark on white, whatever the theme"
    for hidden in (".shell-head", "#print", ".crumbs"):
        expect(page.locator(hidden).first).to_be_hidden()
    for shown in ("h1", ".seatmap", "#legend", "#systems", "#printed"):
        expect(page.locator(shown)).to_be_visible()
    assert len(page.locator(".seatmap").screenshot()) > 1000
