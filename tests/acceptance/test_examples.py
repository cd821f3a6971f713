"""The examples do what their READMEs say: every `sh` block is run as it stands, in an empty environment."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import psycopg
import pytest

from labmon.config.load import load
from tests.acceptance.conftest import LABMON
from tests.acceptance.test_every import machines, service  # noqa: F401
from tests.support import machine as machines_of_their_own
from tests.support.machine import ADDRESSES, CLONE, Machine

EXAMPLES = Path(__file__).parents[2] / "examples"
STORIES = sorted(folder.name for folder in EXAMPLES.iterdir() if folder.is_dir())
UNITS = sorted((EXAMPLES / "systemd").glob("*.service"))

POSTGRES = r"""
bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)
install -d -o postgres -g postgres /run/postgresql /var/lib/pgtest
cd /var/lib/pgtest
runuser -u postgres -- $bin/initdb -D data --locale=C.UTF-8 --encoding=UTF8 --no-sync >/dev/null
cat >data/pg_hba.conf <<END
local all all peer
host all postgres 127.0.0.1/32 trust
host all all 127.0.0.1/32 scram-sha-256
END
runuser -u postgres -- $bin/pg_ctl -D data -l log -w -o '-c fsync=off -k /run/postgresql' start
"""
SSHD = """
test -f /root/.ssh/id_ed25519 || ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519
useradd --create-home --shell /bin/sh --password '*' monitor
install -d -o monitor -m 0700 /home/monitor/.ssh
install -o monitor -m 0600 /root/.ssh/id_ed25519.pub /home/monitor/.ssh/authorized_keys
ssh-keygen -A
mkdir -p /run/sshd
/usr/sbin/sshd -o UsePAM=no -o ListenAddress=10.30.5.10
"""
# The embedded database is started once, and not by each command of a README.
KEEP_EMBEDDED = """
import time
from pathlib import Path
from labmon.config.load import load
from labmon.store.embedded import Embedded
with Embedded(load().config.state.path):
    Path("/run/embedded").touch()
    time.sleep(600)
"""


def blocks(story, language="sh"):
    """The fenced blocks of a language in the README of a story."""
    text = (EXAMPLES / story / "README.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)


@pytest.fixture
def machine():
    """A machine with an address of the documentation's and nothing but labmon."""
    machines_of_their_own.require()
    with Machine() as machine:
        yield machine


@pytest.fixture
def site(machine):
    """A machine with a PostgreSQL and an SSH server, on which `site` was followed."""
    machine.run(POSTGRES)
    machine.run(SSHD)
    follow(machine, "site", before_last="let_in")
    return machine


def follow(machine, story, *, before_last=""):
    """Run a README as it stands. `let_in` is what a person does between two of its commands."""
    commands = blocks(story)
    if before_last:
        *commands, last = commands
        machine.run("\n".join(commands), folder=f"{CLONE}/examples/{story}")
        let_in(machine)
        commands = [last]
    return machine.run("\n".join(commands), folder=f"{CLONE}/examples/{story}").stdout


def let_in(machine):
    """Put the line that `collect --print-authorized-key` prints where the machine has it."""
    machine.run(
        f"runuser -u labmon -- labmon collect --print-authorized-key --from {ADDRESSES[0]} "
        ">/home/monitor/.ssh/authorized_keys"
    )


def systems(machine):
    return json.loads(machine.run("runuser -u labmon -- labmon systems list --format json").stdout)


def test_every_example_is_listed_and_has_a_readme():
    listed = (EXAMPLES / "README.md").read_text()
    for story in STORIES:
        assert (EXAMPLES / story / "README.md").exists()
        assert f"[{story}]({story})" in listed


def test_every_story_is_run_by_a_test():
    run_here = Path(__file__).read_text()
    elsewhere = (Path(__file__).parents[1] / "integration/brokers/test_accounts.py").read_text()
    for story in STORIES:
        if story == "output":  # names, not steps: tests/acceptance/test_output.py compares them
            continue
        if story == "accounts":  # each command for an account is run and tried there, with and without it
            assert "examples/accounts" in elsewhere
        else:
            assert blocks(story), f"examples/{story}/README.md has no command"
            assert f'"{story}"' in run_here, f"no test runs examples/{story}/README.md"


@pytest.mark.slow
@pytest.mark.parametrize("story", ["scan", "systems", "collect", "facts", "queue", "alerts", "status"])
def test_a_story_is_run_as_written_with_nothing_but_labmon(machine, story):  # findings C2
    machine.run("mkdir -p /etc/labmon && touch /etc/labmon/config.toml")
    machine.run(SSHD)
    machine.start("/opt/labmon/bin/python", "-c", KEEP_EMBEDDED)
    machine.until("test -e /run/embedded")
    assert ADDRESSES[0] in follow(machine, story)


@pytest.mark.slow
def test_the_first_steps_of_the_readme_are_run_as_written(machine):  # findings C1
    machine.run("mkdir -p /etc/labmon && touch /etc/labmon/config.toml")
    machine.run(SSHD)
    machine.start("/opt/labmon/bin/python", "-c", KEEP_EMBEDDED)
    machine.until("test -e /run/embedded")
    steps = [block for block in blocks("..") if block.startswith("labmon ")]
    assert len(steps) == 4
    printed = machine.run("".join(steps))
    assert "metrics_queue: 1 stored" in printed.stderr


@pytest.mark.slow
def test_the_demo_is_run_as_written(machine):
    assert "12 of 14 measured" in machine.run(blocks("demo")[0] + "true").stderr


@pytest.mark.slow
def test_a_site_is_set_up_as_written(site):  # findings C2
    (row,) = systems(site)
    assert (row["ip_address"], row["status"]) == (ADDRESSES[0], "active")
    assert (
        site.run("stat -c '%U %a' /var/lib/labmon /etc/labmon/config.toml").stdout == "labmon 700\nroot 640\n"
    )


@pytest.mark.slow
def test_the_services_run_as_written_under_systemd(site):  # findings C2, B11
    printed = follow(site, "systemd")
    assert printed.count("active (running)") == 3
    site.until("runuser -u labmon -- labmon metrics latest --format json | grep -q cpu_percent")
    site.run("systemctl start labmon-scan@1")
    assert site.run("systemctl show --value --property=Result labmon-scan@1").stdout == "success\n"
    # The first scan was made by hand, by TCP; this one could ping, which the account by itself may not.
    site.until("runuser -u labmon -- labmon systems history --scans --format json | grep -q ping")
    site.run("systemctl reload labmon-collect && systemctl stop labmon-collect labmon-consume")
    site.run("curl --fail --silent http://127.0.0.1:8480/readyz && systemctl stop labmon-dashboard")
    for unit in ("labmon-collect", "labmon-consume", "labmon-dashboard"):
        assert site.run(f"systemctl show --value --property=Result {unit}").stdout == "success\n"


@pytest.mark.slow
def test_the_lines_of_cron_do_what_they_should_in_cron_s_environment(site):  # findings C2, C3
    follow(site, "cron")
    lines = site.run("cat /etc/cron.d/labmon").stdout.splitlines()
    settings = [line for line in lines if re.match(r"\w+=", line)]
    jobs = [line.split(None, 6)[5:] for line in lines if re.match(r"[\d*]", line)]
    assert len(jobs) == 4
    for account, command in jobs:
        done = site.run(
            f"runuser -u {account} -- env -i SHELL=/bin/sh PATH=/usr/bin:/bin LOGNAME={account} "
            f"HOME=/var/lib/labmon {' '.join(settings)} /bin/sh -c '{command}'"
        )
        assert (done.stdout, done.stderr) == ("", ""), command
    (row,) = systems(site)
    assert row["status"] == "active"


@pytest.mark.slow
def test_roles_backups_and_tables_as_written(machine):
    machine.run(POSTGRES)
    printed = follow(machine, "database")
    assert printed.count(ADDRESSES[0]) >= 3


@pytest.mark.slow
def test_the_webhook_is_called_as_written(machine):  # findings C2
    machine.run("mkdir -p /etc/labmon && touch /etc/labmon/config.toml")
    assert "test: labmon" in follow(machine, "webhook")


@pytest.mark.slow
def test_the_dashboard_is_started_as_written(machine):
    machine.run("mkdir -p /etc/labmon && touch /etc/labmon/config.toml")
    machine.start("/opt/labmon/bin/python", "-c", KEEP_EMBEDDED)
    machine.until("test -e /run/embedded")
    printed = follow(machine, "dashboard")
    assert "alice" in printed
    assert "dashboard at http://127.0.0.1:8480/" in printed


@pytest.mark.slow
def test_a_message_of_one_s_own_is_stored_as_written(machine):  # findings C2
    machine.run(POSTGRES)
    machine.run("\n".join(blocks("database")[:1]), folder=f"{CLONE}/examples/database")
    printed = follow(machine, "send_your_own")
    assert "sent as " in printed


@pytest.mark.parametrize("known", [True, False])
def test_a_message_before_there_is_a_queue_is_refused_in_one_line(lab, store_url, known):  # findings C2
    lab.environ["LABMON_DATABASE_URL"] = store_url
    if known:
        lab.run("setup-queues")
        with psycopg.connect(store_url) as connection:
            connection.execute("DELETE FROM labmon_queue_name")
    sent = subprocess.run(
        [sys.executable, EXAMPLES / "send_your_own/send.py", store_url, "1"], capture_output=True, text=True
    )
    assert sent.returncode == 1
    assert sent.stderr == "there is no queue in this database yet. Make it with: labmon setup-queues\n"


def test_machines_that_are_off_are_no_news_to_cron_but_a_wrong_file_is(stored_lab):
    lab = stored_lab
    lab.run("scan", "127.0.0.1", "--dept", "1")
    key = lab.folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    ours = {"LABMON_COLLECT_PORT": "1", "LABMON_COLLECT_KEY_FILES": str(key)}
    script = (EXAMPLES / "cron/measure.sh").read_text().replace("/usr/local/bin/labmon", LABMON)

    def measure(**environ):
        return subprocess.run(
            ["/bin/sh", "-c", script],
            env=lab.env | {"PATH": "/usr/bin:/bin"} | ours | environ,
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
    lab.run("setup-queues")
    running = service(*command)
    running.tells("READY=1")
    running.tells("STATUS=")
    assert running.end() < 1.0
    running.tells("STOPPING=1")
    assert running.process.returncode == 0


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_a_unit_may_do_little(unit, tmp_path):  # findings B11
    analyze = shutil.which("systemd-analyze")
    if analyze is None and os.environ.get("CI") == "true":
        pytest.fail("systemd is not installed: apt-get install systemd")
    if analyze is None:
        pytest.skip("systemd is not installed: apt-get install systemd")
    done = subprocess.run([analyze, "security", "--offline=true", unit], capture_output=True, text=True)
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found[1]) < 3


def test_only_the_unit_that_scans_may_open_raw_sockets():  # findings B11
    for unit in UNITS:
        text = unit.read_text()
        ambient = re.findall(r"^AmbientCapabilities=(.*)$", text, re.M)
        assert ambient == (["CAP_NET_RAW"] if unit.name.startswith("labmon-scan") else []), unit.name


def test_the_sql_in_the_readme_is_that_of_the_files():
    shown = blocks("database", "sql")
    assert shown == [(EXAMPLES / "database" / name).read_text() for name in ("role.sql", "viewer.sql")]


def test_the_target_in_the_readme_of_alerts_is_that_of_the_file():
    shown, *more = blocks("alerts", "toml")
    assert shown == (EXAMPLES / "alerts/notify.toml").read_text()
    for block in more:
        config = load(environ={}, flags=_flags(tomllib.loads(block))).config
        assert config.heartbeat.url or config.notify.targets


def _flags(document):
    return {f"{table}.{key}": value for table, keys in document.items() for key, value in keys.items()}
