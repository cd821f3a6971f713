"""One system, in a browser: charts above all."""

import re
import time

import psycopg
import pytest
from playwright.sync_api import expect

from tests.browser.campus.conftest import settled

CHART = "figure.chart:has(h2:text-matches('^CPU'))"


def opened(page, path="/systems/1"):
    page.goto(path)
    settled(page)
    expect(page.locator(f"{CHART} .line").first).to_be_visible()


def segments(page):
    return page.locator(f"{CHART} .series-1 .line").get_attribute("d").count("M")


def test_each_measured_metric_has_a_chart_and_the_others_are_named(page):
    opened(page)
    titles = page.locator("figure.chart h2").all_text_contents()
    usual = {"CPU %", "Memory %", "Network Mbit/s", "Disk space %", "Load, 1 min", "Temperature °C"}
    assert usual <= set(titles)
    assert len(titles) == len(set(titles))
    expect(page.locator("#unmeasured")).to_contain_text("gpu")


def test_a_gap_is_a_gap(page):
    opened(page)
    assert segments(page) == 2
    line = page.locator(f"{CHART} .series-1 .line").get_attribute("d")
    xs = [float(x) for x in re.findall(r"[ML]([\d.]+) ", line)]
    widest = max(after - before for before, after in zip(xs, xs[1:], strict=False))
    plot = max(xs) - min(xs)
    assert plot / 24 * 0.8 < widest < plot / 24 * 1.6, "an hour of the day is missing"


def test_the_average_is_drawn_and_the_maximum_shaded(page):
    opened(page)
    expect(page.locator(f"{CHART} .series-1 .band")).to_have_attribute("d", re.compile(r"^M.*Z$"))
    expect(page.locator(f"{CHART} .chart-legend")).to_contain_text(re.compile(r"avg \d+\.\d · max \d+\.\d"))


def test_the_limit_of_a_rule_is_a_dashed_line_with_words(page):
    opened(page)
    limit = page.locator(f"{CHART} .limit-warning")
    expect(limit.locator("text")).to_have_text("Used warning 95")
    assert limit.locator("line").evaluate("line => getComputedStyle(line).strokeDasharray") != "none"


def test_the_crosshair_stands_in_all_charts_at_the_same_time(page):
    opened(page)
    box = page.locator(f"{CHART} svg").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 3, box["y"] + 60)
    shown = page.locator("figure.chart .chip:visible")
    assert shown.count() == page.locator("figure.chart").count()
    assert len(set(page.locator("figure.chart .chip text").all_text_contents())) == 1
    page.mouse.move(box["x"] + box["width"] / 3, 5)
    expect(shown).to_have_count(0)


def test_arrow_keys_move_the_crosshair_and_say_the_value(page):
    opened(page)
    page.locator(f"{CHART} svg").focus()
    page.keyboard.press("ArrowLeft")
    first = page.locator(f"{CHART} [aria-live]").text_content()
    assert re.search(r"Used \d+\.\d", first)
    page.keyboard.press("ArrowLeft")
    assert page.locator(f"{CHART} [aria-live]").text_content() != first


def test_dragging_zooms_all_charts_and_a_double_click_goes_back(page):
    opened(page)
    box = page.locator(f"{CHART} svg").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 70, steps=4)
    expect(page.locator(f"{CHART} .mark")).to_be_visible()
    page.mouse.up()
    expect(page).to_have_url(re.compile(r"from=\d+&to=\d+"))
    first, past = map(int, re.search(r"from=(\d+)&to=(\d+)", page.url).groups())
    assert 1.5 * 3600 < past - first < 4 * 3600
    expect(page.get_by_role("button", name="Back")).to_be_visible()
    page.locator(f"{CHART} svg").dblclick(position={"x": 200, "y": 60})
    expect(page).not_to_have_url(re.compile("from="))
    page.go_back()
    expect(page).to_have_url(re.compile("from="))


@pytest.mark.parametrize("name", ["1 h", "7 d", "30 d", "1 y"])
def test_a_range_is_in_the_address_and_draws(page, name):
    opened(page)
    page.get_by_role("button", name=name, exact=True).click()
    expect(page).to_have_url(re.compile(f"range={name.replace(' ', '')}"))
    expect(page.get_by_role("button", name=name, exact=True)).to_have_attribute("aria-pressed", "true")
    expect(page.locator(f"{CHART} .line").first).to_be_visible()


def test_times_are_those_of_the_viewer(browsing, dashboard):
    """The same place on the axis, in a zone that is five and a half hours ahead."""
    said = []
    end = int(time.time()) // 3600 * 3600 - 3600
    for zone in ("UTC", "Asia/Kolkata"):
        with browsing.page(dashboard.url, "olga", timezone_id=zone) as page:
            opened(page, f"/systems/1?from={end - 3600}&to={end}")
            said.append(page.locator(f"{CHART} .tick.mid").all_text_contents())
    utc, kolkata = said
    assert utc != kolkata


def test_facts_availability_and_history_are_there(page):
    opened(page)
    expect(page.locator("#facts")).to_contain_text("10.20.0.10")
    expect(page.locator("#availability .strip")).to_have_count(2)
    expect(page.locator("#availability [role=img]").first).to_have_attribute("aria-label", re.compile("Up"))
    expect(page.locator("#history")).to_contain_text("no answer within 10 s")
    expect(page.locator("#history")).to_contain_text("unreachable")


def test_a_firing_alert_stands_on_the_page_of_its_system(page):
    opened(page, "/systems/2")
    expect(page.locator("#firing")).to_contain_text("Disk full")
    expect(page.locator("#badges")).to_contain_text("Critical")


def test_a_system_that_there_is_not_says_so(page, browsing):
    page.goto("/systems/999999")
    expect(page.locator("h1")).to_have_text("Not Found")
    expect(page.get_by_text("it may have been removed")).to_be_visible()
    expect(page.locator("figure.chart")).to_have_count(0)
    browsing.forgive("404")  # the browser logs each


def test_an_operator_plans_maintenance_and_a_viewer_has_no_button(browsing, dashboard, campus_url):
    with browsing.page(dashboard.url, "vera") as page:
        opened(page, "/systems/6")
        expect(page.get_by_role("button", name="Plan maintenance")).to_have_count(0)
    with browsing.page(dashboard.url, "olga") as page:
        opened(page, "/systems/6")
        page.get_by_role("button", name="Plan maintenance").click()
        page.get_by_label("Why").fill("<b>new fan</b>")
        page.get_by_role("button", name="Plan", exact=True).click()
        expect(page.get_by_role("dialog")).to_have_count(0)
        expect(page.locator("#badges")).to_contain_text("Maintenance")
    with psycopg.connect(campus_url) as connection:
        assert connection.execute("SELECT count(*) FROM maintenance WHERE system_id = 6").fetchone() == (1,)


def test_sizes_and_times_have_axes_in_their_own_units(page):
    opened(page)
    ticks = page.locator("figure.chart:has(h2:text-is('Memory size')) .tick.num").all_text_contents()
    assert ticks == ["0", "5 GiB", "10 GiB", "15 GiB", "20 GiB"]
