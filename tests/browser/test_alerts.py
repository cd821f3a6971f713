"""The page of alerts: acknowledge, silence, history, and what other tabs see of it."""

import psycopg
import pytest
from playwright.sync_api import expect

from tests.integration.dashboard.lab import fire

pytestmark = pytest.mark.browser

SCRIPT = "<img src=x onerror=alert(1)><script>alert(2)</script>"


def open_alerts(page):
    page.goto("/alerts?state=all")
    expect(page.locator("#live")).to_have_attribute("data-state", "live")
    expect(page.locator("#alerts tbody tr").first).to_contain_text("pc-3")


def test_what_one_tab_acknowledges_the_other_sees_and_a_note_with_script_stays_text(dashboard, browsing):
    with browsing.page(dashboard.url, "olga") as page, browsing.page(dashboard.url, "vera") as other:
        open_alerts(page)
        open_alerts(other)
        page.get_by_role("button", name="Acknowledge pc-3: CPU high").click()
        page.get_by_label("Note").fill(SCRIPT)
        page.get_by_role("dialog").get_by_role("button", name="Acknowledge").click()
        expect(page.get_by_role("dialog")).to_be_hidden()
        for each in (page, other):
            expect(each.locator("#alerts tbody tr").first).to_contain_text(f"by olga: {SCRIPT}")
            assert each.locator("#alerts img").count() == 0
        page.get_by_role("button", name="Details of pc-3").click()
        expect(page.locator("tr.details")).to_contain_text(f"Acknowledged by olga: {SCRIPT}")
        page.get_by_role("button", name="Unacknowledge pc-3: CPU high").click()
        expect(other.locator("#alerts tbody tr").first).to_contain_text("Firing")


def test_the_link_of_a_mail_shows_that_alert_alone_until_another_view_is_chosen(page, store_url):
    rows = page.locator("#alerts tbody tr")
    with psycopg.connect(store_url) as connection:
        for system in (1, 2):
            fire(connection, system, "ram_high", "warning")
        (number,) = connection.execute("SELECT max(alert_id) FROM alert_incidents").fetchone()
    page.goto(f"/alerts?alert={number}")
    expect(rows).to_have_count(1)
    expect(page.locator("#alerts-sub")).to_have_text(f"Alert {number}")
    page.get_by_role("button", name="All", exact=True).click()
    expect(rows).to_have_count(3)
    assert "alert=" not in page.url


def test_many_alerts_are_acknowledged_at_once_and_filtered_by_state(page, store_url):
    with psycopg.connect(store_url) as connection:
        for system in (1, 2, 4):
            fire(connection, system, "ram_high", "warning")
    page.goto("/alerts")
    expect(page.locator("#alerts tbody tr")).to_have_count(4)
    page.get_by_label("Severity").select_option("warning")
    expect(page.locator("#alerts tbody tr")).to_have_count(3)
    page.get_by_label("Select all").check()
    expect(page.locator("#chosen")).to_contain_text("3 selected")
    page.locator("#chosen").get_by_role("button", name="Acknowledge", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Acknowledge").click()
    expect(page.locator("#alerts")).to_contain_text("Nothing here")
    page.get_by_role("button", name="Acknowledged", exact=True).click()
    expect(page.locator("#alerts tbody tr")).to_have_count(3)
    expect(page.locator("#alerts tbody")).to_contain_text("by olga")
    page.get_by_role("button", name="Resolved").click()
    expect(page.locator("#alerts")).to_contain_text("Nothing here")


def test_an_alert_is_silenced_for_eight_hours(page, store_url):
    open_alerts(page)
    page.get_by_role("button", name="Silence pc-3: CPU high").click()
    page.get_by_label("For").select_option("8 hours")
    page.get_by_label("Note").fill("fan is ordered")
    page.get_by_role("dialog").get_by_role("button", name="Silence").click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    with psycopg.connect(store_url) as connection:
        row = connection.execute(
            "SELECT mode, system_id, rule, comment, said_by, "
            "round(extract(epoch FROM ends_at - now()) / 3600) FROM maintenance"
        ).fetchone()
    assert row == ("silence", 3, "cpu_high", "fan is ordered", "olga", 8)
    page.goto("/maintenance")
    expect(page.locator("#maintenance tbody tr")).to_contain_text("fan is ordered")


def test_a_viewer_sees_no_button_that_changes_anything(dashboard, browsing):
    with browsing.page(dashboard.url, "vera") as page:
        open_alerts(page)
        assert page.locator("#alerts input, #alerts .row-actions button").count() == 0
        for path, row in (("/rules", "#rules tbody tr"), ("/maintenance", "#maintenance .empty")):
            page.goto(path)
            expect(page.locator(row).first).to_be_visible()
            assert page.locator("main button").count() == 0
        csrf = page.locator("meta[name=csrf]").get_attribute("content")
        for path in ("/api/v1/alerts/ack", "/api/v1/dead-letters/discard"):
            answer = page.request.post(
                path, data={"ids": [1], "queue": "metrics_queue"}, headers={"X-CSRF-Token": csrf}
            )
            assert answer.status == 403, answer.text()
        assert page.goto("/audit").status == 403
        browsing.forgive("403")


def test_an_admin_changes_a_rule_and_finds_it_in_the_audit(dashboard, browsing, store_url):
    with browsing.page(dashboard.url, "ada") as page:
        page.goto("/rules")
        page.get_by_role("button", name="Change cpu_high, all").click()
        page.get_by_label("Limit").fill("88")
        page.get_by_label("Must last").fill("7m")
        page.get_by_role("button", name="Save").click()
        row = page.locator("#rules tbody tr", has_text="cpu_high")
        expect(row).to_contain_text("cpu_percent > 88")
        expect(row).to_contain_text("7 min")
        page.goto("/audit")
        expect(page.locator("#audit tbody tr").first).to_contain_text("rules.set")


def test_maintenance_is_planned_for_a_lab_and_ended(page):
    page.goto("/maintenance")
    page.get_by_role("button", name="Plan maintenance").click()
    page.get_by_label("What").select_option("Lab A-101")
    page.get_by_label("Comment").fill("new disks")
    page.get_by_role("button", name="Plan", exact=True).click()
    row = page.locator("#maintenance tbody tr")
    expect(row).to_contain_text("Lab A-101")
    expect(row).to_contain_text("olga")
    page.get_by_role("button", name="End maintenance 1").click()
    page.get_by_role("button", name="End it").click()
    expect(page.locator("#maintenance")).to_contain_text("Nothing is planned")


def test_a_user_makes_a_token_once_and_revokes_it(page):
    page.goto("/account")
    page.get_by_role("button", name="New token").click()
    page.get_by_label("What is it for").fill("Grafana")
    page.get_by_role("button", name="Make").click()
    shown = page.get_by_label("Token", exact=True)
    assert shown.input_value().startswith("lmt_")
    page.get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Revoke Grafana").click()
    page.get_by_role("button", name="Revoke", exact=True).click()
    expect(page.locator("#tokens")).to_contain_text("No tokens")


def test_a_silence_and_an_acknowledgement_are_undone_from_the_note(page, store_url):
    open_alerts(page)
    page.get_by_role("button", name="Silence pc-3: CPU high").click()
    page.get_by_role("dialog").get_by_role("button", name="Silence").click()
    expect(page.locator("#alerts tbody tr").first).to_contain_text("Silenceduntil")
    page.locator("#toasts").get_by_role("button", name="Undo").click()
    expect(page.locator("#alerts tbody tr").first).not_to_contain_text("Silenced")
    page.get_by_role("button", name="Acknowledge pc-3: CPU high").click()
    page.get_by_role("dialog").get_by_role("button", name="Acknowledge").click()
    expect(page.locator("#alerts tbody tr").first).to_contain_text("by olga")
    page.locator("#toasts").get_by_role("button", name="Undo").click()
    expect(page.locator("#alerts tbody tr").first).to_contain_text("Firing")
    page.get_by_label("Filter alerts").fill("no such thing")
    expect(page.locator("#alerts")).to_contain_text("Nothing here")
    page.get_by_label("Filter alerts").fill("cpu high")
    expect(page.locator("#alerts tbody tr")).to_have_count(1)
    page.goto("/systems/3")
    page.get_by_role("button", name="Silence CPU high").click()
    page.get_by_role("dialog").get_by_role("button", name="Silence").click()
    expect(page.locator("#firing")).to_contain_text("silenced until")


def test_the_audit_is_filtered_by_text(dashboard, browsing):
    with browsing.page(dashboard.url, "ada") as page:
        page.goto("/audit")
        expect(page.locator("#audit tbody tr").first).to_contain_text("login")
        page.get_by_label("Filter the audit").fill("nobody did this")
        expect(page.locator("#audit")).to_contain_text("Nothing has been changed yet")
