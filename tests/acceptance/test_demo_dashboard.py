"""The demo with the dashboard: live data of this machine in a browser, until Ctrl-C."""

import json
import os
import re
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

import pytest


def of_the_demo(process):
    """The folder of this demo, where it has files open. Another test's demo may run beside it."""
    opened = []
    for number in Path(f"/proc/{process.pid}/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            opened.append(os.readlink(number))
    [folder] = set(re.findall(r"/tmp/labmon-demo-\w+", "\n".join(opened)))
    return folder


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda one: one.name)
def test_the_demo_serves_new_measurements_until_it_is_stopped(lab, number):
    with lab.start("demo", "--dashboard", start_new_session=True) as labmon:
        for line in labmon.stderr:
            if found := re.search(r"dashboard at (http://127\.0\.0\.1:\d+/)", line):
                break
        else:
            pytest.fail("the dashboard never began")
        folder = of_the_demo(labmon)

        def summary():
            with urlopen(f"{found[1]}api/v1/summary", timeout=30) as answer:
                return json.load(answer)

        first = summary()
        assert first["systems"] == 14
        assert [one["name"] for one in first["labs"] if one["lab_id"]] == ["Demo lab"]
        until = time.monotonic() + 90
        while summary()["newest_reading_at"] <= first["newest_reading_at"]:
            assert time.monotonic() < until, "no new reading came"
            time.sleep(0.5)
        labmon.send_signal(number)
        _, said = labmon.communicate(timeout=60)
    assert labmon.returncode == 128 + number
    assert "Traceback" not in said
    assert not os.path.exists(folder)
    assert folder not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout


def test_the_demo_ends_by_naming_the_dashboard(lab):
    done = lab.run("demo")
    assert "labmon demo --dashboard" in done.stderr
