"""`labmon metrics` and `labmon db`, as a user runs them."""

import json
import subprocess
import sys
from datetime import timedelta

import pytest

from labmon.messages import utcnow


@pytest.fixture
def labmon(store_url, tmp_path):
    def labmon(*arguments, code=0):
        ended = subprocess.run(
            [sys.executable, "-m", "labmon", *arguments],
            env={"LABMON_DATABASE_URL": store_url, "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert ended.returncode == code, ended.stderr
        return ended

    return labmon


def test_what_was_measured_is_shown_now_and_before(labmon, put):
    now = utcnow()
    put(
        *((1, now - timedelta(minutes=m), {"cpu_percent": m, "logged_in_users": 0}) for m in range(10)),
        (2, now, {"cpu_percent": 80, "logged_in_users": 1}),
    )
    free = json.loads(labmon("metrics", "latest", "--free", "--format", "json").stdout)
    assert [(one["system_id"], one["usage"], one["cpu_percent"]) for one in free] == [(1, "free", 0)]
    assert "no department 7" in labmon("metrics", "latest", "--dept", "7", code=2).stderr
    series = labmon("metrics", "range", "1", "cpu", "--from", "1h", "--format", "csv").stdout.splitlines()
    assert [line.split(",")[1] for line in series] == ["avg", *(f"{m}.0" for m in range(9, -1, -1))]
    shown = labmon("metrics", "range", "1", "cpu", "--from", "1h", "--resolution", "1d")
    assert "Average" in shown.stdout and "cpu_percent, 1d: " in shown.stderr
    assert "there is no system 9" in labmon("metrics", "range", "9", code=2).stderr
    top = json.loads(labmon("metrics", "top", "cpu", "-n", "1", "--format", "json").stdout)
    assert [(one["system_id"], one["value"]) for one in top] == [(2, 80)]
    assert "there is no metric 'frob'" in labmon("metrics", "top", "frob", code=2).stderr
    (summary,) = json.loads(labmon("metrics", "summary", "--format", "json").stdout)
    assert (summary["systems"], summary["measured"], summary["free"], summary["busy"]) == (3, 2, 1, 1)


def test_days_are_packed_and_unpacked_by_hand_and_the_status_tells(labmon, put, connection):
    day = utcnow().replace(hour=12) - timedelta(days=3)
    put(*((1, day + timedelta(minutes=m), {"load1": 1}) for m in range(30)))
    labmon("db", "maintain")
    assert labmon("db", "pack", f"{day:%Y-%m-%d}").stderr == "30 readings packed\n"
    assert "nothing to pack" in labmon("db", "pack", f"{day:%Y-%m-%d}", code=2).stderr
    tables = {
        one["table"]: one for one in json.loads(labmon("db", "status", "--tables", "-f", "json").stdout)
    }
    assert (tables["metrics"]["parts"], tables["metrics_packed"]["parts"]) == (0, 1)
    assert tables["metrics_5m"]["first"] == f"{day:%Y-%m-%d}"
    assert "summing up: up to date" in labmon("db", "status", "--tables").stderr
    assert labmon("db", "unpack", f"{day:%Y-%m-%d}").stderr == "30 readings unpacked\n"
    assert "is not packed" in labmon("db", "unpack", f"{day:%Y-%m-%d}").stderr
    assert connection.execute("SELECT count(*) FROM metrics").fetchone() == (30,)
