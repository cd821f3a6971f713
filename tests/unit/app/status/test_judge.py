"""What is a warning, what is critical, and what the first line says of it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from labmon.app.status.judge import first_line, performance_data, troubles
from labmon.app.status.report import (
    FailingSystem,
    Level,
    QueueStatus,
    Report,
    SpoolStatus,
    Versions,
    WorkersStatus,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
WELL = Report(
    NOW,
    Versions("1", "3.11", "PostgreSQL 15.4", 33, "postgres"),
    "here",
    systems=312,
    newest_reading_at=NOW - timedelta(seconds=42),
    usual_gap_seconds=60.0,
    reading_due=True,
    queue_enabled=True,
    queues=[QueueStatus("metrics_queue", 5, 0, 1, 0.1, "ok")],
    workers=WorkersStatus(1, 0, ["srv"], 5.0),
    spool=SpoolStatus(0, 0, 100, None),
)


def judged(**changes):
    report = replace(WELL, **changes)
    report.troubles = troubles(report)
    return report


def alert(severity, **more):
    known = {"acknowledged_by": None, "muted": None, "silenced_until": None}
    return SimpleNamespace(severity=severity, alert_type="cpu_high", subject="pc-1", **known | more)


def test_all_is_well():
    report = judged()
    assert report.level is Level.ok
    assert first_line(report) == "labmon OK - 312 systems, 0 failing, 0 alerts, newest reading 42 s old"


def test_failing_systems_alone_are_no_trouble():
    one = FailingSystem(1, "10.0.0.1", "pc", None, "offline", NOW, "")
    report = judged(failing=[one, one, one])
    assert (report.level, first_line(report)[:36]) == (Level.ok, "labmon OK - 312 systems, 3 failing, ")


@pytest.mark.parametrize(
    "level, part, changes",
    [
        ("critical", "database", {"database_error": "Connection refused"}),
        ("critical", "queues", {"queue_error": "Connection refused"}),
        ("ok", "queues", {"queue_error": "Connection refused", "queue_enabled": False}),
        ("critical", "workers", {"workers": WorkersStatus(0, 0, [], 0.0)}),
        ("warning", "workers", {"workers": WorkersStatus(0, 0, [], 0.0), "queue_enabled": False}),
        ("ok", "workers", {"workers": WorkersStatus(0, 0, [], 0.0), "queue_enabled": False, "queues": []}),
        ("warning", "workers", {"workers": WorkersStatus(1, 1, ["srv"], 0.0)}),
        ("critical", "alerts", {"alerts": [alert("critical"), alert("warning")]}),
        ("warning", "alerts", {"alerts": [alert("warning")]}),
        ("ok", "alerts", {"alerts": [alert("info")]}),
        ("ok", "alerts", {"alerts": [alert("critical", acknowledged_by="ada")]}),
        ("ok", "alerts", {"alerts": [alert("critical", silenced_until=NOW)]}),
        ("warning", "queues", {"queues": [QueueStatus("metrics_queue", 0, 4, 1, 0, "warning")]}),
        ("warning", "queues", {"queues": [QueueStatus("metrics_queue", 9999, 0, 1, 0, "warning")]}),
        ("critical", "queues", {"queues": [QueueStatus("metrics_queue", 99999, 0, 1, 0, "critical")]}),
        ("warning", "spool", {"spool": SpoolStatus(3, 50, 100, NOW)}),
        ("critical", "spool", {"spool": SpoolStatus(3, 95, 100, NOW)}),
        ("warning", "spool", {"spool_error": "disk full"}),
        ("warning", "notifications", {"unreached": {"admins": NOW}}),
    ],
)
def test_each_rule(level, part, changes):
    report = judged(**changes)
    assert report.level.name == level
    assert {one.part for one in report.troubles} == ({part} if level != "ok" else set())
    assert first_line(report).startswith(f"labmon {level.upper()} - ")


@pytest.mark.parametrize(
    "age, gap, due, level",
    [
        (119, 10, True, "ok"),  # never below two minutes
        (130, 10, True, "warning"),
        (901, 10, True, "critical"),
        (179, 60, True, "ok"),
        (181, 60, True, "warning"),
        (3 * 3600 - 1, 3600, True, "ok"),  # measured by cron every hour
        (3 * 3600 + 1, 3600, True, "warning"),
        (10 * 3600 + 1, 3600, True, "critical"),
        (10**6, 60, False, "ok"),  # every system is closed, or in maintenance
        (200, None, True, "warning"),
    ],
)
def test_a_newest_reading_that_is_too_old(age, gap, due, level):
    at = NOW - timedelta(seconds=age)
    report = judged(newest_reading_at=at, usual_gap_seconds=gap, reading_due=due)
    assert report.level.name == level
    assert first_line(report).count("newest reading") == 1


def test_nothing_measured_yet_is_no_trouble():
    report = judged(newest_reading_at=None, usual_gap_seconds=None, reading_due=False)
    assert first_line(report) == "labmon OK - 312 systems, 0 failing, 0 alerts, nothing measured yet"


def test_the_worst_is_said_first():
    report = judged(unreached={"admins": NOW}, workers=WorkersStatus(0, 0, [], 0.0))
    assert first_line(report).startswith(
        "labmon CRITICAL - no worker is running, and 5 messages wait; admins "
    )


def test_the_line_of_a_database_that_is_away_has_no_figures():
    report = judged(database_error="PostgreSQL at db: Connection refused. Is it running?")
    assert first_line(report) == "labmon CRITICAL - PostgreSQL at db: Connection refused"
    assert performance_data(report).startswith("waiting=5 dead=0")
    assert performance_data(judged()) == "systems=312 failing=0 alerts=0 waiting=5 dead=0 age=42s"
