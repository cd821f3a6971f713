"""Every table fits a terminal of 80 columns."""

import json
import os
import pty
import re
import subprocess
from datetime import timedelta

import psycopg
import pytest
import typer

from labmon.app.open import open_broker
from labmon.brokers.base import Message
from labmon.cli import app
from labmon.config.load import load
from labmon.messages import utcnow
from labmon.table import _width
from tests.acceptance.conftest import LABMON, temporary_lab

WIDTH = 80

LISTS = {
    "alerts deliveries": "",
    "alerts history": "",
    "alerts list": "",
    "alerts rules list": "",
    "alerts show": "1",
    "alerts test": "hot",
    "collect": "--host 127.0.0.1 --port 1",
    "config check": "",
    "config show": "",
    "consume": "--status",
    "dashboard users list": "",
    "db status": "",
    "dead-letters list": "metrics",
    "departments list": "",
    "doctor": "",
    "events show": "",
    "labs list": "",
    "maintenance list": "",
    "metrics latest": "",
    "metrics range": "1",
    "metrics summary": "",
    "metrics top": "",
    "queue-depth": "",
    "scan": "127.0.0.1-2 --dept 1 --dry-run",
    "spool list": "",
    "spool status": "",
    "status": "",
    "systems facts": "",
    "systems history": "",
    "systems list": "",
    "systems show": "1",
    "systems trust": "",
}
"""Every command with a table, and what it is run with here."""

CHANGES = {
    "setup-queues": "",
    "replay": "--queue metrics --from 1h",
    "dead-letters show": "metrics ",
    "dead-letters replay": "metrics --limit 1",
    "dead-letters purge": "metrics --yes",
    "spool flush": "",
    "spool drop": "--all --yes",
    "dashboard users add": "ada --role viewer --password-file pw",
    "dashboard users set": "ada --role operator",
    "dashboard users remove": "ada --yes",
    "systems set": "2 --port 22",
    "systems undo": "2",
    "systems retire": "3",
    "systems restore": "3",
    "systems ignore": "3",
    "systems accept": "--all",
    "systems merge": "2 3",
    "systems split": "2",
    "systems remove": "3 --yes",
    "alerts ack": "1",
    "alerts unack": "1",
    "alerts silence": "--system 2",
    "alerts rules add": "odd --metric cpu_percent --above 98",
    "alerts rules set": "odd --above 97",
    "alerts rules remove": "odd --yes",
    "alerts rules import": "rules.toml",
    "maintenance add": "--system 2 --for 1h",
    "maintenance remove": "1 --yes",
    "departments set": "2 --name Chemistry",
    "labs set": "B-7 --dept 2",
    "labs remove": "B-7 --yes",
    "db migrate": "",
    "db maintain": "",
    "db pack": "2026-03-01",
    "db unpack": "2026-03-01",
    "config init": "new.toml",
}
"""Every command that changes something and prints that with --format, in an order in which they work."""

EMPTY = [
    "alerts deliveries",
    "alerts test hot",
    "config check",
    "dashboard users list",
    "systems facts",
    "systems trust",
]
"""Here they have no rows."""

MORE = [
    "systems history --scans",
    "metrics summary --by-lab",
    "metrics latest --busy",
    "systems list --present",
]


def commands(group, path=()):
    """The path of every command that prints rows: it has --format."""
    for name, one in group.commands.items():
        if hasattr(one, "commands"):
            yield from commands(one, (*path, name))
        elif any("--format" in parameter.opts for parameter in one.params):
            yield " ".join((*path, name))


SYSTEMS = """
INSERT INTO systems (dept_id, lab_id, ip_address, hostname, mac_address, status, status_error, first_seen,
                     last_seen)
SELECT 1, 1, '10.30.255.0'::inet + n, repeat('workstation-', 5) || n || '.example.edu', '00:1b:44:11:3a:b7',
       'auth failed', repeat('Permission denied ', 9), now(), now() FROM generate_series(1, 3) AS n
"""
SCAN = """
INSERT INTO scans (scan_id, dept_id, scan_type, target_range, started_at, finished_at, systems_found, status)
VALUES (1700000000000000, 1, 'arp+ndp+ping+tcp', '10.30.255.0-10.30.255.254, 10.31.255.0-10.31.255.254',
        now(), now(), 3, 'interrupted')
"""
RENAMED = """
INSERT INTO system_history (system_id, at, scan_id, change, old_value, new_value)
VALUES (1, now(), 1700000000000000, 'renamed', repeat('workstation-', 5), repeat('laptop-', 9))
"""


WORKER = """
INSERT INTO workers (host, main_pid, number, queue, pid, state, state_since, stored, rejected,
                     per_second, restarts)
VALUES (repeat('worker-', 9) || 'example.edu', 4194304, 1, 'discovery_queue', 4194304, 'waiting', now(),
        123456789, 1234567, 12345.6, 12)
"""


@pytest.fixture(scope="module")
def site(postgres_server, schema_template):
    """Long names everywhere, readings, alerts, messages on disk and in the dead letters."""
    with postgres_server.database(schema_template) as name, temporary_lab() as lab:
        url = lab.environ["LABMON_DATABASE_URL"] = postgres_server.url(name)
        long = "a-department-with-a-rather-long-name-of-its-own"
        lab.run("departments", "set", "1", "--name", long, "--code", long, "--subnet", "10.30.0.0/16")
        lab.run("labs", "set", "Laboratory-of-experimental-physics-101", "--dept", "1")
        with psycopg.connect(url) as connection:
            connection.execute(SYSTEMS)
            connection.execute(SCAN)
            connection.execute(RENAMED)
            connection.execute(WORKER)
        lab.environ["LABMON_COLLECT_PASSWORD"] = "secret"
        lab.run("setup-queues")
        lab.run("alerts", "rules", "add", "hot", "--metric", "cpu_percent", "--above", "90")
        _measured(url)
        lab.run("consume", "--until-empty", "--quiet", code=6)  # one is in the dead letters
        lab.run("alerts", "silence", "--rule", "cpu_high", "-m", "somebody is at it " * 9)
        weekly = ["--weekly", "Mon-Fri 20:00-07:00, Sat-Sun", "--timezone", "America/Argentina/Buenos_Aires"]
        lab.run("maintenance", "add", "--lab", "1", "--mode", "record", *weekly, "-m", "closed " * 30)
        yield lab


def _measured(url):
    """Readings of one system, and one of a system that there is not, for the dead letters."""
    reading = {"cpu_percent": 99.0, "ram_percent": 55.5, "disk_percent": 99.5, "uptime_seconds": 10**6}
    bodies = [
        {
            "system_id": number,
            "collected_at": (utcnow() - timedelta(minutes=ago)).isoformat(),
            "metrics": reading,
        }
        for number, ago in ((1, 20), (1, 10), (1, 0), (99, 0))
    ]
    config = load(environ={"LABMON_DATABASE_URL": url}).config
    with open_broker(config) as broker:
        broker.publish("metrics_queue", [Message.new(json.dumps(body).encode()) for body in bodies])


def _spooled(lab):
    """A scan while the broker is away leaves messages on disk."""
    away = {"QUEUE_TYPE": "redis", "QUEUE_HOST": "127.0.0.1", "QUEUE_PORT": "1"}
    lab.run("scan", "127.0.0.1-3", "--dept", "1", "--no-names", "--quiet", "--queue-enabled", **away)


def on_a_terminal(lab, command):
    """What it prints there, without colours."""
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [LABMON, *command.split()],
        env=lab.env | {"COLUMNS": str(WIDTH), "NO_COLOR": "1", "TERM": "xterm"},
        cwd=lab.folder,
        stdin=subprocess.DEVNULL,
        stdout=follower,
        stderr=subprocess.PIPE,
    ) as process:
        os.close(follower)
        data = b""
        while True:
            try:
                part = os.read(leader, 65536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            data += part
        said = process.stderr.read().decode()
    os.close(leader)
    assert "Traceback" not in said, said
    return data.decode().replace("\r\n", "\n").splitlines()


def test_the_list_of_commands_with_a_table_is_complete():
    assert sorted(commands(typer.main.get_command(app))) == sorted({**LISTS, **CHANGES})


@pytest.mark.parametrize("command", [*(f"{name} {more}".strip() for name, more in LISTS.items()), *MORE])
def test_a_table_fits_eighty_columns(site, command):
    if command.startswith("spool"):
        _spooled(site)  # another command may have sent it by now
    lines = on_a_terminal(site, command)
    assert lines or command in EMPTY
    assert [line for line in lines if _width(line) > WIDTH] == []


def test_hidden_columns_are_said_under_the_table_on_a_terminal_only(site):
    said = site.run("systems", "list").stderr
    assert "hidden" not in said
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [LABMON, "systems", "list"],
        env=site.env | {"COLUMNS": str(WIDTH), "TERM": "xterm"},
        stdout=follower,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        said = process.communicate(timeout=60)[1]
    os.close(follower)
    os.close(leader)
    assert re.fullmatch(r"\d+ columns hidden(, names without [.\w]+)?: --wide\n", said)


def test_a_message_in_the_spool_is_shortened_for_people_only(site):
    _spooled(site)
    body = json.loads(site.run("spool", "list", "--format", "json").stdout)[0]["body"]
    assert json.loads(body)["dept_id"] == 1
    assert max(map(len, site.run("spool", "list").stdout.splitlines())) < 160
