"""The page of a system that is young or gone, by a wrong clock, with a wrong address; and the overview."""

import re
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from playwright.sync_api import expect

from labmon.store.metrics.rollup import roll_up
from tests.integration.dashboard.lab import measure

pytestmark = pytest.mark.browser

LINE = "figure.chart:has(h2:text-matches('^CPU')) .line"


def chosen(page):
    return page.locator("#ranges button[aria-pressed=true]")


def test_a_system_that_was_measured_first_minutes_ago_shows_the_last_hour(page, store_url):
    page.goto("/systems/1")
    expect(chosen(page)).to_have_text("1 h")
    expect(page.locator(LINE)).to_have_attribute("d", re.compile("^M"))
    expect(page).not_to_have_url(re.compile("range="))
    expect(page.locator("#availability .strip-title")).to_have_text(["24 h"])
    page.get_by_role("button", name="24 h", exact=True).click()
    expect(page).to_have_url(re.compile("range=24h"))
    page.reload()
    expect(chosen(page)).to_have_text("24 h")


@pytest.mark.parametrize("hours", [7, 60])
def test_one_that_was_measured_earlier_shows_a_day(page, store_url, hours):
    """Also where it was off for the weekend."""
    with psycopg.connect(store_url) as connection:
        began = datetime.now(UTC) - timedelta(hours=hours)
        connection.execute("UPDATE systems SET first_seen = %s", [began])
        measure(connection, 1, *[began + timedelta(minutes=n) for n in range(60)])
        connection.commit()
        while roll_up(connection, datetime.now(UTC)):
            connection.commit()
    with page.expect_response("**/availability?days=30"):
        page.goto("/systems/1")
    expect(page.locator(LINE)).to_have_attribute("d", re.compile("^M"))
    page.wait_for_timeout(500)
    expect(chosen(page)).to_have_text("24 h")


def test_a_system_that_is_removed_while_its_page_is_open_says_so_after_a_reload(page, browsing, store_url):
    page.goto("/systems/2")
    expect(page.locator(LINE)).to_have_attribute("d", re.compile("^M"))
    with psycopg.connect(store_url) as connection:
        connection.execute("DELETE FROM systems WHERE system_id = 2")
    page.get_by_role("button", name="6 h", exact=True).click()
    expect(page.get_by_text("it may have been removed")).to_be_visible()
    page.reload()
    expect(page.get_by_text("it may have been removed")).to_be_visible()
    browsing.forgive("404")


@pytest.mark.parametrize(
    "query",
    [
        "from=1&to=32503680000",
        "from=-31536000000&to=1e99",
        "from=1e400&to=2e400",
        "range=1000y",
        "from=x&to=y",
    ],
)
def test_a_range_of_a_thousand_years_in_the_address_leaves_a_page_that_can_be_used(page, browsing, query):
    page.goto(f"/systems/1?{query}")
    expect(page.locator("#name")).to_have_text("pc-1")
    page.get_by_role("button", name="1 h", exact=True).click()
    expect(page.locator(LINE)).to_have_attribute("d", re.compile("^M"))
    expect(page.locator(".notice-error")).to_have_count(0)
    browsing.forgive("422")


@pytest.mark.parametrize("days", [-1, 1])
def test_a_clock_at_the_desk_that_is_a_day_off_changes_no_chart(browsing, dashboard, days):
    with browsing.page(dashboard.url, "olga") as page:
        page.clock.set_system_time(datetime.now(UTC) + timedelta(days=days))
        page.goto("/systems/1?range=1h")
        expect(page.locator(LINE)).to_have_attribute("d", re.compile("^M"))
        expect(page.locator("#facts")).to_contain_text(re.compile(r"Newest reading\d+ (s|min) ago"))


def test_a_session_that_ended_leads_to_the_login_and_back(page, browsing, store_url):
    page.goto("/systems/1?range=6h")
    expect(page.locator(LINE)).to_have_attribute("d", re.compile("^M"))
    with psycopg.connect(store_url) as connection:
        connection.execute("DELETE FROM web_sessions")
    page.get_by_role("button", name="1 h", exact=True).click()
    expect(page).to_have_url(re.compile("/login.next="))
    page.get_by_label("Name").fill("olga")
    page.get_by_label("Password").fill("correct horse battery")
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(re.compile("/systems/1"))
    browsing.forgive("401", "ERR_ABORTED")


def test_words_of_limits_never_overlap(page):
    page.goto("/systems/1")
    expect(page.locator(LINE)).to_have_attribute("d", re.compile("^M"))
    for values in ([97, 90], [97, 95, 93, 91], [100, 99], [50, 49, 48, 47, 46], [97, 20]):
        boxes = page.evaluate(LIMITS, values)
        assert len(boxes) == len(values)
        assert all(next_[0] >= before[1] for before, next_ in zip(boxes, boxes[1:], strict=False)), boxes


LIMITS = """async (values) => {
  const base = document.querySelector('script[src$="shell.js"]').src.replace('shell.js', '');
  const { Chart } = await import(base + 'chart.js');
  const element = document.createElement('figure');
  document.body.append(element);
  const limits = values.map((threshold) => ({ threshold, severity: 'warning' }));
  new Chart(element, { title: 'x', most: 100 })
    .draw({ from: 0, to: 3600, t: [0, 3600], series: [{ name: 'u', avg: [10, 90] }], limits });
  const boxes = [...element.querySelectorAll('.limit text')].map((text) => text.getBBox());
  element.remove();
  return boxes.map((box) => [box.y + 1, box.y + box.height]);
}"""


def test_one_lab_is_one_lab_and_its_name_has_the_room_that_there_is(page, store_url):
    with psycopg.connect(store_url) as connection:
        connection.execute("UPDATE labs SET name = 'Laboratory of demonstrations' WHERE lab_id = 1")
        connection.execute("DELETE FROM labs WHERE lab_id = 2")
    page.goto("/")
    expect(page.locator(".labs b")).to_have_text(["Laboratory of demonstrations", "In no lab"])
    expect(page.get_by_role("region", name="Labs").locator(".more")).to_have_text("1 lab")
    expect(page.locator("#sub")).to_contain_text("1 lab")
    assert page.locator(".labs b").first.evaluate("b => b.scrollWidth <= b.clientWidth")


def test_the_history_of_the_queues_is_drawn_on_two_hours(page):
    texts = page.goto("/") and page.evaluate(SPARK)
    assert texts[0] == "2 h ago"


SPARK = """async () => {
  const base = document.querySelector('script[src$="shell.js"]').src.replace('shell.js', '');
  const parts = await import(base + 'pages/overview-parts.js');
  const now = Date.now() / 1000;
  const depth = [[now - 1500, 4], [now, 1]];
  const queues = [{ ready: 1, in_flight: 0, dead: 0 }];
  const card = parts.queues({ queues, depth, now: new Date(now * 1000).toISOString() });
  return [...card.querySelectorAll('.spark-foot span')].map((span) => span.textContent);
}"""
