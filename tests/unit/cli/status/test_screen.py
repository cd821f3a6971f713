"""`labmon status` in terminals of several sizes."""

from dataclasses import replace
from datetime import timedelta

import pytest

from labmon.app.status.judge import troubles
from labmon.app.status.report import DepartmentStatus, FailingSystem, LabStatus
from labmon.cli.status.screen import Screen
from labmon.messages import utcnow
from labmon.table import _width
from tests.unit.app.status.test_judge import WELL


def report(failing=40, departments=9, **changes):
    now = utcnow()
    systems = [
        FailingSystem(
            *(n, f"10.0.0.{n}", f"pc-{n:02}.lab.example.edu", "ENG-101", "auth failed"),
            since=now - timedelta(hours=n),
            reason="Permission denied (publickey,password) for labmon",
        )
        for n in range(1, failing + 1)
    ]
    rooms = [LabStatus(1, n, f"ENG-1{n:02}", 50, 1, {"active": 49}) for n in range(9)]
    every = [
        DepartmentStatus(n, f"Dept {n}", 9, n, now, "completed", 9, now) for n in range(1, departments + 1)
    ]
    made = replace(
        WELL,
        now=now,
        newest_reading_at=now - timedelta(seconds=42),
        failing=systems,
        labs=rooms,
        departments=every,
        by_status={"active": 272, "auth failed": 40},
        **changes,
    )
    made.troubles = troubles(made)
    return made


@pytest.mark.parametrize("width, height", [(80, 24), (80, 23), (120, 40), (60, 24), (100, 60)])
def test_it_fits_the_screen(width, height):
    lines = Screen(width, height, colour=False).lines(report())
    assert len(lines) <= height
    assert [line for line in lines if _width(line) > width] == []
    assert lines[0].startswith("labmon OK - 312 systems, 40 failing")
    assert any(line.startswith("Versions") for line in lines)


def test_what_is_cut_is_said_with_the_command_that_shows_it():
    lines = Screen(80, 24, colour=False).lines(report())
    (said,) = [line for line in lines if line.endswith("more: labmon systems list --failed")]
    shown = sum("auth failed" in line for line in lines if not line.startswith("Systems"))
    assert said == f"... {40 - shown} more: labmon systems list --failed"
    assert shown >= 2


def test_a_high_screen_cuts_nothing():
    lines = Screen(120, 200, colour=False).lines(report())
    assert not any("more:" in line for line in lines)
    assert sum("Permission denied" in line for line in lines) == 40


def test_only_what_is_wrong():
    lines = Screen(None, None, colour=False).lines(report(2), only_failed=True)
    assert [line.split()[0] for line in lines if line] == ["labmon", "ID", "1", "2"]
    assert Screen(None, None, colour=False).lines(report(0), only_failed=True) == [
        "labmon OK - 312 systems, 0 failing, 0 alerts, newest reading 42 s old"
    ]


def test_the_level_and_the_statuses_are_coloured_and_take_no_more_room():
    plain = Screen(80, 24, colour=False).lines(report())
    coloured = Screen(80, 24, colour=True).lines(report())
    assert coloured[0].startswith("labmon \x1b[1;32mOK\x1b[0m - ")
    assert len(coloured) == len(plain)
    assert any("\x1b[31mauth failed\x1b[0m" in line for line in coloured)


def test_foreign_text_does_nothing_on_the_screen():
    away = report(0, database_error="PostgreSQL: \x1b[2J\x07 no")
    text = "\n".join(Screen(80, 24, colour=False).lines(away))
    assert "\x1b" not in text
    assert "\\x1b[2J" in text
