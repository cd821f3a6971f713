"""The list of systems, in a browser."""

import re
from datetime import UTC, datetime

import psycopg
from playwright.sync_api import expect

from labmon.messages import Metrics, Readings
from labmon.store.metrics.record import record_metrics
from tests.browser.campus.conftest import settled
from tests.support.campus import HOSTILE

ROWS = ".grid-body .grid-row:visible"


def opened(page, path="/systems"):
    page.goto(path)
    settled(page)
    expect(page.locator(ROWS).first).to_be_visible()


def names(page):
    """Systems in view, from the top."""
    return page.evaluate(
        "() => [...document.querySelectorAll('.grid-body .grid-row')].filter(r => !r.hidden)"
        ".sort((a, b) => a.ariaRowIndex - b.ariaRowIndex).map(r => r.querySelector('a').textContent)"
    )


def test_two_thousand_systems_are_fewer_than_sixty_elements(page):
    opened(page)
    assert page.locator("[role=grid]").get_attribute("aria-rowcount") == "2001"
    assert 10 < page.locator(".grid-body .grid-row").count() < 60
    page.locator("#grid").evaluate("grid => grid.scrollTop = grid.scrollHeight")
    expect(page.locator(".grid-body [aria-rowindex='2001']")).to_be_visible()
    assert page.locator(".grid-body .grid-row").count() < 60


def test_a_very_tall_window_has_fewer_than_sixty_row_elements_too(page):
    page.set_viewport_size({"width": 1440, "height": 6000})
    opened(page)
    assert page.locator(".grid-body .grid-row").count() < 60


def test_the_filter_wants_all_words_in_any_order(page):
    opened(page)
    page.locator("#filter").fill("pc07 sci")
    expect(page.locator("#shown")).to_have_text(re.compile(r"^10 of 2,000$"))
    found = names(page)
    assert found and all(name.startswith("sci-") and name.endswith("pc07") for name in found)
    page.locator("#filter").fill("nothing has this name")
    expect(page.get_by_text("Nothing matches the filter.")).to_be_visible()


def test_a_tile_shows_the_systems_of_its_state(page):
    opened(page)
    page.get_by_role("button", name=re.compile("Down")).click()
    expect(page.locator("#shown")).to_have_text(re.compile(r"of 2,000"))
    assert set(page.locator(f"{ROWS} .badge").all_inner_texts()) == {"Down"}
    assert "state=down" in page.url


def test_a_click_on_a_header_sorts_and_a_second_one_turns_it_round(page):
    opened(page)
    page.locator("[data-sort=hostname]").click()
    expect(page.locator("[role=columnheader][aria-sort=ascending]")).to_have_text(re.compile("System"))
    ordinary = [name for name in names(page) if name != HOSTILE]
    assert ordinary == sorted(ordinary)
    page.locator("[data-sort=hostname]").click()
    expect(page.locator("[role=columnheader][aria-sort=descending]")).to_have_text(re.compile("System"))
    assert names(page)[0].startswith("sci-205")


def test_addresses_are_sorted_as_numbers(page):
    opened(page, "/systems?sort=ip_address&cols=ip_address")
    first = page.locator(f"{ROWS} [role=gridcell]:nth-child(2)").all_inner_texts()
    assert sorted(first, key=lambda text: [int(part) for part in text.split(".")])[:3] == [
        "10.20.0.10",
        "10.20.0.11",
        "10.20.0.12",
    ]


def test_the_address_holds_filter_sort_and_columns(page):
    opened(page, "/systems?q=eng-101&sort=-cpu_percent&cols=cpu_percent,load1&lab=1")
    expect(page.locator("#filter")).to_have_value("eng-101")
    expect(page.locator("#lab")).to_have_value("1")
    assert page.locator("[role=columnheader]").all_inner_texts() == ["System", "CPU↓", "Load"]
    page.locator("#filter").fill("pc1")
    expect(page).to_have_url(re.compile(r"q=pc1"))
    page.reload()
    settled(page)
    expect(page.locator("#filter")).to_have_value("pc1")


def test_the_columns_menu_shows_and_hides_columns_and_remembers_them(page):
    opened(page)
    page.locator("#columns summary").click()
    page.get_by_label("Uptime").check()
    page.get_by_label("Memory").uncheck()
    expect(page.get_by_role("columnheader", name="Uptime")).to_be_visible()
    expect(page.get_by_role("columnheader", name="Memory")).to_have_count(0)
    opened(page, "/systems")
    expect(page.get_by_role("columnheader", name="Uptime")).to_be_visible()


def test_the_csv_link_gives_a_file(page):
    opened(page)
    with page.expect_download() as download:
        page.locator("#csv").click()
    text = download.value.path().read_text()
    assert text.startswith("hostname,ip_address,lab,state,") and text.count("\n") >= 2001


def test_keys_reach_the_filter_the_rows_and_a_system(page):
    opened(page)
    page.keyboard.press("/")
    expect(page.locator("#filter")).to_be_focused()
    page.keyboard.type("eng-101")
    page.keyboard.press("ArrowDown")
    expect(page.locator("[role=grid]")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.locator(".grid-row.active")).to_have_attribute("aria-rowindex", "3")
    page.keyboard.press("End")
    active = page.locator("[role=grid]").get_attribute("aria-activedescendant")
    expect(page.locator(f"#{active}")).to_be_visible()
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/systems/\d+$"))


def test_the_question_mark_says_which_keys_there_are(page):
    opened(page)
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keys")
    expect(dialog).to_contain_text("Filter the list")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


def test_a_hostile_name_is_text(page):
    opened(page, "/systems?q=onerror")
    expect(page.locator(f"{ROWS} a")).to_have_text(HOSTILE)
    assert page.locator("main img").count() == 0
    page.locator(f"{ROWS} a").click()
    expect(page.locator("h1")).to_have_text(HOSTILE)
    assert page.locator("main img").count() == 0


def test_a_new_reading_shows_without_a_reload_and_moves_nothing_under_the_pointer(page, campus_url):
    opened(page, "/systems?lab=2&sort=-cpu_percent")
    expect(page.locator("#live")).to_have_attribute("data-stream", "live")
    page.locator(ROWS).nth(3).hover()
    before = names(page)
    last = before[-1]
    with psycopg.connect(campus_url, autocommit=True) as connection:
        record(connection, last, cpu=99.9)
    row = page.locator(ROWS, has_text=last)
    expect(row).to_contain_text("99.9 %", timeout=30_000)
    assert names(page) == before
    page.mouse.move(5, 5)
    page.wait_for_function(
        "last => [...document.querySelectorAll('.grid-body .grid-row')].some("
        "row => !row.hidden && row.ariaRowIndex === '2' && row.textContent.includes(last))",
        arg=last,
    )


def record(connection, hostname, cpu):
    """Store a reading as a worker does."""
    (system,) = connection.execute("SELECT system_id FROM systems WHERE hostname = %s", [hostname]).fetchone()
    now = datetime.now(UTC).replace(microsecond=0)
    readings = Readings(cpu_percent=cpu, ram_percent=50.0, disk_percent=50.0)
    with connection.transaction():
        record_metrics(connection, [Metrics(system_id=system, collected_at=now, metrics=readings)])


def test_on_a_phone_the_list_needs_no_sideways_scrolling(page):
    page.set_viewport_size({"width": 390, "height": 844})
    opened(page)
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    assert page.locator("#grid").evaluate("grid => grid.scrollWidth <= grid.clientWidth")


def test_headers_are_reached_by_tab_and_sorted_by_enter_with_a_focus_that_is_seen(page):
    opened(page)
    page.locator("[data-sort=hostname]").focus()
    page.keyboard.press("Tab")
    header = page.locator("[data-sort=ip_address]")
    expect(header).to_be_focused()
    assert header.evaluate("one => getComputedStyle(one).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(page.locator("[role=columnheader]:has([data-sort=ip_address])")).to_have_attribute(
        "aria-sort", "ascending"
    )
    expect(header).to_be_focused()
