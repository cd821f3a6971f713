"""The examples do what their READMEs say."""

import re
import subprocess
import sys
from pathlib import Path

import psycopg

from tests.acceptance.conftest import LABMON
from tests.acceptance.test_every import machines, service  # noqa: F401

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_every_example_is_listed_and_has_a_readme():
    listed = (EXAMPLES / "README.md").read_text()
    for folder in EXAMPLES.iterdir():
        if folder.is_dir():
            assert (folder / "README.md").exists()
            assert f"[{folder.name}]({folder.name})" in listed


def test_a_message_of_one_s_own_is_stored(lab, store_url):
    lab.environ["LABMON_DATABASE_URL"] = store_url
    lab.run("setup-queues")
    lab.run("scan", "127.0.0.1", "--dept", "1")
    sent = subprocess.run(
        [sys.executable, EXAMPLES / "send_your_own/send.py", store_url, "1"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert sent.stdout.startswith("sent as ")
    assert "metrics_queue: 1 stored" in lab.run("consume", "--until-empty").stderr
    with psycopg.connect(store_url) as connection:
        assert connection.execute("SELECT load1 IS NOT NULL FROM metrics").fetchall() == [(True,)]


def test_machines_that_are_off_are_no_news_to_cron_but_a_wrong_file_is(stored_lab):
    lab = stored_lab
    lab.run("scan", "127.0.0.1", "--dept", "1")
    key = lab.folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    ours = {"LABMON_COLLECT_PORT": "1", "LABMON_COLLECT_KEY_FILES": str(key)}
    path = f"{Path(LABMON).parent}:/usr/bin:/bin"

    def measure(**environ):
        return subprocess.run(
            [EXAMPLES / "cron/measure.sh"],
            env=lab.env | {"PATH": path} | ours | environ,
            capture_output=True,
            text=True,
        )

    done = measure()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = measure(LABMON_COLLECT_DEDLINE="1s")
    assert done.returncode == 2
    assert "LABMON_COLLECT_DEADLINE" in done.stderr


def test_the_service_does_what_systemd_is_told_it_does(lab, machines, service):  # noqa: F811
    unit = (EXAMPLES / "systemd/labmon-collect.service").read_text()
    command = re.search(r"^ExecStart=/usr/local/bin/labmon collect (.*)$", unit, re.M)[1].split()
    command[command.index("60s")] = "5s"
    running = service(*command)
    running.tells("READY=1")
    running.tells("STATUS=")
    assert running.end() < 1.0
    running.tells("STOPPING=1")
    assert running.process.returncode == 0
