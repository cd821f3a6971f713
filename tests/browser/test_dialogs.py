"""Dialogs: what they take, and what they say is missing."""

import psycopg
import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_a_rule_with_a_broken_number_gets_another_limit_and_a_clear_limit(dashboard, browsing, store_url):
    with psycopg.connect(store_url) as connection:
        connection.execute(
            "UPDATE alert_rules SET threshold = 0.5, clear_threshold = 0.25 WHERE name = 'ram_high'"
        )
        connection.execute(
            "UPDATE alert_rules SET threshold = 90, clear_threshold = 85 WHERE name = 'cpu_high'"
        )
    with browsing.page(dashboard.url, "ada") as page:
        page.goto("/rules")
        page.get_by_role("button", name="Change ram_high, all").click()
        page.get_by_label("Limit", exact=True).fill("0.75")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("dialog")).to_be_hidden()
        page.get_by_role("button", name="Change cpu_high, all").click()
        page.get_by_label("Limit", exact=True).fill("30")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("dialog").get_by_role("alert")).to_have_text(
            "Clear at 85: it must be at most the limit, 30, or empty."
        )
        page.get_by_label("Clear at").fill("22.5")
        page.get_by_label("Clear hold").fill("3m")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("dialog")).to_be_hidden()
    with psycopg.connect(store_url) as connection:
        rows = connection.execute(
            "SELECT threshold, clear_threshold, extract(epoch FROM clear_hold)::int FROM alert_rules "
            "WHERE name IN ('cpu_high', 'ram_high') ORDER BY name"
        ).fetchall()
    assert rows[0] == (30, 22.5, 180)
    assert rows[1][:2] == (0.75, 0.25)


def test_an_empty_limit_is_said_to_be_missing(dashboard, browsing):
    with browsing.page(dashboard.url, "ada") as page:
        page.goto("/rules")
        page.get_by_role("button", name="Change cpu_high, all").click()
        page.get_by_label("Limit", exact=True).fill("")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("dialog").get_by_role("alert")).to_have_text("Limit is missing.")
        expect(page.get_by_label("Limit", exact=True)).to_be_focused()


def test_an_admin_adds_a_rule_for_a_lab(dashboard, browsing, store_url):
    with browsing.page(dashboard.url, "ada") as page:
        page.goto("/rules")
        page.get_by_role("button", name="Add rule").click()
        page.get_by_label("Name").fill("cpu_high")
        page.get_by_label("Metric").fill("cpu_percnt")
        page.get_by_label("Limit", exact=True).fill("99.5")
        page.get_by_label("Scope").select_option("Lab A-101")
        page.get_by_role("button", name="Add", exact=True).click()
        expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("cpu_percent")
        browsing.forgive("422")
        page.get_by_label("Metric").fill("cpu_percent")
        page.get_by_role("button", name="Add", exact=True).click()
        expect(page.locator("#rules tbody tr", has_text="lab 1")).to_contain_text("cpu_percent > 99.5")


def test_a_mistake_in_weekly_hours_is_a_sentence_without_options(page, browsing):
    page.goto("/maintenance")
    page.get_by_role("button", name="Plan maintenance").click()
    page.get_by_label("Or every week").fill("Mo-Fr late")
    page.get_by_role("button", name="Plan", exact=True).click()
    said = page.get_by_role("dialog").get_by_role("alert")
    expect(said).to_contain_text("Weekly 'Mo-Fr late': write")
    expect(said).not_to_contain_text("--")
    browsing.forgive("422")


def test_a_time_in_a_mistake_is_the_viewers(page, browsing):
    page.goto("/maintenance")
    page.get_by_role("button", name="Plan maintenance").click()
    page.get_by_label("From").fill("2027-03-01T12:30")
    page.get_by_label("Until").fill("2027-03-01T11:15")
    page.get_by_role("button", name="Plan", exact=True).click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_have_text(
        "It would end at 1 Mar, 11:15, before it begins"
    )
    browsing.forgive("422")
