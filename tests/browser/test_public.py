"""Free seats for everybody, and the report that is sent by mail."""

import re
import subprocess
import time

import psycopg
import pytest
from playwright.sync_api import expect

from labmon.store.migrate import migrate
from tests.browser.conftest import fill
from tests.support.clock import clock
from tests.support.dashboard import LABMON, Dashboard
from tests.support.frozen import frozen

pytestmark = pytest.mark.browser


@pytest.fixture
def open_house(store_url):
    """A dashboard with public pages. Lab A-101 is open, lab B-7 has one system and is closed all week."""
    fill(store_url)
    with psycopg.connect(store_url) as connection:
        connection.execute("UPDATE systems SET lab_id = 2, hostname = 'secret-name' WHERE system_id = 4")
    with Dashboard(store_url, LABMON_DASHBOARD_PUBLIC="true") as dashboard:
        command = [LABMON, "maintenance", "add", "--lab", "B-7", "--weekly", "Mon-Sun", "--mode", "skip"]
        subprocess.run(command, env=dashboard.environ, check=True, capture_output=True, timeout=60)
        yield dashboard


def test_free_seats_are_for_everybody_without_a_name_of_a_system(open_house, browsing):
    with browsing.page(open_house.url) as page:
        page.goto("/public/labs")
        expect(page.get_by_role("article").first).to_contain_text("1 of 2 free")
        expect(page.get_by_role("article").nth(1)).to_contain_text("Closed")
        assert page.locator(".seat-letter").count() > 3
        assert page.locator("script:not([src])").count() == 0
    with open_house.browser() as anybody:
        text = anybody.get("/public/labs.txt")
        assert text.text == "A-101 1 of 2 free; B-7 closed\n"
        assert text.headers["content-type"] == "text/plain; charset=utf-8"
        answer = anybody.get("/public/labs.json")
        assert answer.headers["cache-control"] == "public, max-age=15"
        first, second = answer.json()["labs"]
        assert first == {
            **{"lab": "A-101", "department": "Physics", "seats": 2, "free": 1, "busy": 1, "open": True},
            **{"hours": None, "timezone": None, "changes_at": None},
        }
        assert (second["open"], second["hours"], second["free"]) == (False, "closed", 0)
        everything = anybody.get("/public/labs").text + text.text + answer.text
        assert "pc-" not in everything and "secret-name" not in everything and "10.0.0." not in everything
        codes = [anybody.get("/public/labs.txt").status_code for _ in range(120)]
        assert codes[0] == 200 and codes[-1] == 429
        refused = anybody.get("/public/labs.txt")
        assert int(refused.headers["retry-after"]) <= 60


def test_while_the_database_is_away_what_is_known_is_shown_with_its_age(
    own_postgres_server, browsing, chromium
):
    with psycopg.connect(own_postgres_server.socket_conninfo("postgres")) as connection:
        migrate(connection)
    url = own_postgres_server.url("postgres")
    fill(url)
    with (
        Dashboard(url, LABMON_DASHBOARD_PUBLIC="true") as dashboard,
        dashboard.browser() as anybody,
        browsing.page(dashboard.url) as page,
    ):
        assert anybody.get("/public/labs.txt").text == "A-101 1 of 2 free\n"
        assert anybody.get("/public/labs.json").json()["old"] is False
        with frozen(own_postgres_server.pid):
            deadline = time.monotonic() + 60
            while not (found := anybody.get("/public/labs.json")).json()["old"]:
                assert time.monotonic() < deadline
                time.sleep(0.5)
            body = found.json()
            assert body["age_seconds"] >= 15 and body["labs"][0]["free"] == 1
            assert found.headers["cache-control"] == "public, max-age=2"
            begun = clock()
            text = anybody.get("/public/labs.txt").text
            assert clock() - begun < 2
            assert re.fullmatch(r"A-101 1 of 2 free \(\d+ s ago\)\n", text)
            page.goto("/public/labs")
            expect(page.get_by_role("status")).to_contain_text(re.compile(r"As of \d+ s ago"))
            expect(page.get_by_role("article").first).to_contain_text("1 of 2 free")
        deadline = time.monotonic() + 60
        while anybody.get("/public/labs.json").json()["old"]:
            assert time.monotonic() < deadline
            time.sleep(0.5)
        page.reload()
        expect(page.get_by_role("article").first).to_contain_text("1 of 2 free")
        expect(page.get_by_role("status")).to_have_count(0)


def test_there_are_no_public_pages_unless_they_are_switched_on(dashboard):
    with dashboard.browser() as anybody:
        for path in ("/public", "/public/labs", "/public/labs.json", "/public/labs.txt"):
            assert anybody.get(path).status_code == 404


def test_the_report_opens_as_a_file_and_asks_nobody_for_anything(dashboard, store_url, chromium, tmp_path):
    with psycopg.connect(store_url) as connection:
        connection.execute("UPDATE systems SET hostname = '<script>alert(1)</script>' WHERE system_id = 2")
    file = tmp_path / "labs.html"
    command = [LABMON, "report", "--html"]
    done = subprocess.run([*command, str(file)], env=dashboard.environ, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    context = chromium.new_context()
    asked, faults = [], []
    page = context.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda line: faults.append(line.text))
    page.goto(file.as_uri())
    assert asked == [file.as_uri()] and not faults
    expect(page.get_by_role("img", name="Seats of A-101: 1 busy, 1 free")).to_be_visible()
    expect(page.locator("body")).to_contain_text("CPU high")
    assert page.locator("script").count() == 0
    page.emulate_media(media="print")
    assert len(page.screenshot()) > 5000
    context.close()
    piped = subprocess.run([*command, "-"], env=dashboard.environ, capture_output=True, text=True, timeout=60)
    assert piped.stdout.startswith("<!doctype html>") and piped.stdout.endswith("</html>\n")
    wrong = subprocess.run(
        [*command, "/nowhere/labs.html"], env=dashboard.environ, capture_output=True, text=True, timeout=60
    )
    assert wrong.returncode == 2 and wrong.stderr.count("\n") == 1 and "cannot be written" in wrong.stderr
