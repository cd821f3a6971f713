"""What every page has around it, and the overview, in a browser."""

import re

import psycopg
import pytest
from playwright.sync_api import expect

from tests.browser.campus.conftest import settled
from tests.browser.campus.test_systems import record


def test_the_overview_shows_states_alerts_labs_and_the_worst(page):
    page.goto("/")
    settled(page)
    expect(page.locator(".tiles")).to_contain_text("2,000")
    expect(page.locator(".alerts-list a")).to_have_count(9)  # eight, and the way to the others
    expect(page.locator(".labs a")).to_have_count(40)
    assert page.locator(".labs b").all_inner_texts()[:3] == ["ENG-101", "ENG-102", "ENG-103"]
    expect(page.get_by_role("region", name="Busiest CPU").locator("a.more")).to_be_visible()
    page.locator(".tiles a", has_text="Down").click()
    expect(page).to_have_url(re.compile("/systems.state=down"))


def test_the_badge_of_the_alerts_counts_what_fires(page, campus_url):
    page.goto("/systems")
    expect(page.locator("#alerts-badge")).to_have_text(re.compile(r"^\d+ firing$"))


def test_the_theme_is_chosen_with_a_click_and_survives_a_reload(page):
    page.goto("/")
    settled(page)
    dark = "() => getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(dark)
    page.locator("#theme").click()
    assert page.evaluate(dark) != light
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.goto("/systems")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_nine_tabs_are_live_over_one_stream(browsing, dashboard, campus_url):
    with browsing.page(dashboard.url, "olga") as page:
        tabs = [page, *(page.context.new_page() for _ in range(8))]
        for tab in tabs:
            tab.goto("/systems?lab=3")
        for tab in tabs:
            expect(tab.locator("#live")).to_have_attribute("data-stream", "live")
            settled(tab)
        with psycopg.connect(campus_url, autocommit=True) as connection:
            record(connection, "eng-103-pc05", cpu=87.6)
        for tab in tabs:
            tab.locator("#filter").fill("eng-103-pc05")
            expect(tab.locator(".grid-body .grid-row:visible")).to_contain_text("87.6 %")


def test_without_a_shared_worker_a_tab_has_a_stream_of_its_own(browsing, dashboard, campus_url):
    with browsing.page(dashboard.url, "olga") as page:
        page.add_init_script("delete window.SharedWorker")
        page.goto("/systems?q=eng-104-pc06")
        settled(page)
        expect(page.locator("#live")).to_have_attribute("data-stream", "live")
        with psycopg.connect(campus_url, autocommit=True) as connection:
            record(connection, "eng-104-pc06", cpu=76.5)
        expect(page.locator(".grid-body .grid-row:visible")).to_contain_text("76.5 %")


def test_a_wrong_clock_at_the_desk_changes_no_age(browsing, dashboard):
    with browsing.page(dashboard.url, "olga") as page:
        page.clock.install(time="2031-05-05T05:05:05Z")
        page.goto("/systems")
        page.clock.run_for(2000)
        expect(page.locator(".grid-body .grid-row:visible [role=gridcell]:last-child").first).to_have_text(
            re.compile(r"^\d+ (s|min|h) ago$")
        )


def test_a_wall_screen_has_no_header_and_turns_to_the_labs(browsing, dashboard):
    with browsing.page(dashboard.url, "olga") as page:
        page.clock.install()
        page.goto("/?kiosk=1")
        expect(page.locator(".labs a").first).to_be_visible()
        expect(page.locator("header")).to_be_hidden()
        page.clock.run_for(31_000)
        expect(page).to_have_url(re.compile(r"/labs\?kiosk=1"))


@pytest.mark.parametrize("width", [390, 768, 1440, 2560])
@pytest.mark.parametrize("path", ["/", "/systems", "/systems/1"])
def test_no_page_scrolls_sideways(page, path, width):
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(path)
    settled(page)
    assert page.evaluate("() => document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_the_menu_of_a_phone_opens_and_leads_on(page):
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto("/")
    expect(page.get_by_role("link", name="Systems", exact=True)).to_be_hidden()
    page.get_by_role("button", name="Pages").click()
    page.locator("#nav").get_by_role("link", name="Systems", exact=True).click()
    expect(page).to_have_url(re.compile("/systems$"))


def test_text_has_contrast_in_both_themes(page):
    """Each pair of a badge's text and ground, and muted text, at least 4.5:1 by the formula of WCAG 2."""
    page.goto("/")
    for theme in ("light", "dark"):
        ratios = page.evaluate(CONTRAST, theme)
        low = {pair: ratio for pair, ratio in ratios.items() if ratio < 4.5}
        assert not low, (theme, low)


CONTRAST = """theme => {
  document.documentElement.dataset.theme = theme;
  const style = getComputedStyle(document.documentElement);
  const rgb = name => {
    const box = document.createElement('i');
    box.style.color = style.getPropertyValue(name);
    document.body.append(box);
    const found = getComputedStyle(box).color.match(/[\\d.]+/g).slice(0, 3).map(Number);
    box.remove();
    return found;
  };
  const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = name => rgb(name).map(v => linear(v / 255))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ratio = (a, b) => {
    const [x, y] = [light(a), light(b)].sort((m, n) => n - m);
    return (x + 0.05) / (y + 0.05);
  };
  const pairs = [['--accent-ink', '--accent'], ['--accent', '--surface'], ['--surface', '--critical']];
  for (const ground of ['--bg', '--surface', '--raised', '--hover', '--field', '--accent-soft'])
    for (const text of ['--ink', '--muted']) pairs.push([text, ground]);
  for (const name of ['up', 'warning', 'critical', 'down', 'maintenance', 'off', 'new', 'info'])
    pairs.push([`--${name}`, `--${name}-soft`], [`--${name}`, '--surface']);
  return Object.fromEntries(pairs.map(([a, b]) => [`${a} on ${b}`, ratio(a, b)]));
}"""
