"""`labmon status`: a campus, parts that are away, and the screen of a terminal."""

import json
import os
import pty
import re
import resource
import signal
import socket
import subprocess
import time

import psycopg
import pytest

from tests.acceptance.conftest import LABMON, temporary_lab
from tests.support import campus
from tests.support.clock import Stalled, clock


@pytest.fixture(scope="module")
def site(postgres_server, schema_template):
    """400 systems, measured just now, without alerts."""
    with postgres_server.database(schema_template) as name, temporary_lab() as lab:
        url = lab.environ["LABMON_DATABASE_URL"] = postgres_server.url(name)
        with psycopg.connect(url) as connection:
            campus.build(connection, systems=400, labs=10, detailed=2, hours=1)
            connection.execute("UPDATE systems SET hostname = hostname || '.lab.example.edu'")
            connection.execute("DELETE FROM alert_incidents")
            connection.execute("UPDATE systems SET last_collected = now() WHERE status = 'active'")
        yield lab


@pytest.fixture
def empty(lab, store_url):
    lab.environ["LABMON_DATABASE_URL"] = store_url
    return lab


def status(lab, code, *arguments, **environ):
    return json.loads(lab.run("status", "--format", "json", *arguments, code=code, **environ).stdout)


def test_a_new_database_is_well(empty):
    line = empty.run("status").stdout.splitlines()[0]
    assert line.startswith("labmon OK - 0 systems, 0 failing, 0 alerts, nothing measured yet | ")


def test_a_campus_is_shown_whole_and_failing_systems_first(site):
    lines = site.run("status", code=0).stdout.splitlines()
    assert lines[0].startswith("labmon OK - 400 systems, 7 failing, 0 alerts, newest reading ")
    assert " | systems=400 failing=7 alerts=0 " in lines[0]
    assert lines[2].split()[:5] == ["ID", "Name", "Status", "Since", "Reason"]
    assert ["no answer within 10 s" in line or "Permission denied" in line for line in lines[3:9]] == [
        True
    ] * 6
    text = "\n".join(lines)
    assert ".lab.example.edu" not in text
    for name in ("Systems", "Labs", "Queues", "Workers", "Spool", "Versions", "Dept"):
        assert re.search(rf"^{name}\b", text, re.MULTILINE), name
    assert re.search(r"Versions +labmon [\d.]+, PostgreSQL [\d.]+, schema \d+, Python [\d.]+", text)


def test_the_json_has_each_system_that_fails_with_reason_and_since(site):
    found = status(site, 0)
    assert (found["level"], found["systems"], len(found["failing"])) == ("ok", 400, 7)
    assert {one["status"] for one in found["failing"]} == {"unreachable", "auth failed"}
    assert all(one["reason"] and one["since"].endswith("Z") for one in found["failing"])
    since = [one["since"] for one in found["failing"]]
    assert since == sorted(since, reverse=True)
    assert sum(found["by_status"].values()) == 400
    assert {one["name"] for one in found["departments"]} == {"Engineering", "Science", "Medicine"}
    assert sum(one["failing"] for one in found["labs"]) == 7
    assert found["versions"].keys() == {"labmon", "python", "database", "schema", "broker"}
    assert found["newest_reading_age_seconds"] < 300
    assert len(status(site, 0, "--failed")["labs"]) < len(found["labs"])


def test_systems_in_maintenance_do_not_fail(site):
    number = status(site, 0)["failing"][0]["system_id"]
    site.run("maintenance", "add", "--system", number, "--for", "1h")
    assert number not in [one["system_id"] for one in status(site, 0)["failing"]]


def test_a_critical_alert_is_critical_until_it_is_acknowledged(empty):
    with psycopg.connect(empty.environ["LABMON_DATABASE_URL"]) as connection:
        campus.build(connection, systems=10, labs=1, detailed=0, hours=1)
        connection.execute("UPDATE systems SET last_collected = now()")
        connection.execute("DELETE FROM alert_incidents WHERE severity <> 'critical'")
    ids = [str(one["alert_id"]) for one in status(empty, 2)["alerts"]]
    line = empty.run("status", code=2).stdout.splitlines()[0]
    assert line.startswith(f"labmon CRITICAL - {len(ids)} critical alert")
    empty.run("alerts", "ack", *ids)
    assert status(empty, 0)["level"] == "ok"


def test_readings_that_stay_out_are_critical(empty):
    with psycopg.connect(empty.environ["LABMON_DATABASE_URL"]) as connection:
        campus.build(connection, systems=10, labs=1, detailed=0, hours=1)
        connection.execute("DELETE FROM alert_incidents")
        connection.execute("UPDATE systems SET last_collected = now() - interval '20 minutes'")
    troubles = status(empty, 2)["troubles"]
    assert [(one["part"], one["level"], one["text"]) for one in troubles] == [
        ("readings", "critical", "newest reading 20 min old")
    ]


def test_no_worker_and_dead_letters(empty):
    empty.run("setup-queues")
    assert status(empty, 0)["queues"][0].keys() >= {"queue", "ready", "dead", "consumers", "level"}
    enabled = {"QUEUE_ENABLED": "true"}
    assert [one["text"] for one in status(empty, 2, **enabled)["troubles"]] == ["no worker is running"]
    with psycopg.connect(empty.environ["LABMON_DATABASE_URL"]) as connection:
        connection.execute("SELECT labmon_publish('metrics_queue', 'not json')")
    empty.run("consume", "--until-empty", "--quiet")
    (trouble,) = status(empty, 1)["troubles"]
    assert trouble["text"] == "1 dead letter in metrics_queue"
    assert trouble["more"] == "See: labmon dead-letters list metrics_queue"
    rows = empty.run("status", "--format", "csv", code=1).stdout.splitlines()
    assert rows == [
        "level,part,text,more",
        "warning,queues,1 dead letter in metrics_queue,See: labmon dead-letters list metrics_queue",
    ]


@pytest.fixture
def silent_port():
    """A server that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


SECONDS = {"LABMON_DATABASE_CONNECT_TIMEOUT": "2s"}


@pytest.mark.parametrize("answers", ["refuses", "is silent"])
def test_a_database_that_is_away_is_critical_in_bounded_time(lab, silent_port, answers):
    port = silent_port if answers == "is silent" else 1
    lab.environ["LABMON_DATABASE_URL"] = f"postgresql://labmon:secret@127.0.0.1:{port}/labmon"
    stalled, begun = Stalled(), time.monotonic()
    lines = lab.run("status", code=2, **SECONDS).stdout.splitlines()
    assert time.monotonic() - begun < 2 + 3 + stalled()
    assert lines[0].startswith(f"labmon CRITICAL - PostgreSQL at 127.0.0.1:{port}, database labmon: ")
    assert "secret" not in "".join(lines)
    assert [line.split()[0] for line in lines if line][1:] == ["critical", "Queues", "Spool", "Versions"]


@pytest.mark.parametrize("kind", ["redis", "rabbitmq", "postgres"])
@pytest.mark.parametrize("answers", ["refuses", "is silent"])
def test_a_broker_that_is_away_is_critical_in_bounded_time(site, silent_port, kind, answers):
    port = silent_port if answers == "is silent" else 1
    away = {"QUEUE_TYPE": kind, "QUEUE_HOST": "127.0.0.1", "QUEUE_PORT": str(port), "QUEUE_ENABLED": "true"}
    stalled, begun = Stalled(), time.monotonic()
    found = status(site, 2, **away, **SECONDS)
    assert time.monotonic() - begun < 2 + 3 + stalled()
    assert "127.0.0.1" in found["queue_error"]
    assert found["systems"] == 400


def test_versions_of_the_broker_in_use(shared_broker, lab):
    lab.run("setup-queues")
    found = status(lab, 0)["versions"]
    assert re.fullmatch(r"(PostgreSQL|Redis|RabbitMQ) [\d.]+", found["broker"])


def test_a_schema_that_is_behind_says_how_to_mend_it(lab, postgres_url):
    lab.environ["LABMON_DATABASE_URL"] = postgres_url
    assert "labmon db migrate" in status(lab, 2)["database_error"]


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["5"], "the number of seconds is for --watch"),
        (["--watch", "-f", "json"], "--watch is for people"),
        (["--watch", "0"], "0"),
    ],
)
def test_wrong_usage(lab, arguments, said):
    assert said in lab.run("status", *arguments, code=2).stderr


class Terminal:
    """`labmon` on a terminal of some size."""

    def __init__(self, lab, *arguments, columns=80, rows=24, **environ):
        self.leader, follower = pty.openpty()
        self.process = subprocess.Popen(
            [LABMON, *arguments],
            env={k: v for k, v in lab.env.items() if k not in ("COLUMNS", "LINES")}
            | {"COLUMNS": str(columns), "LINES": str(rows), "TERM": "xterm"}
            | environ,
            stdin=follower,
            stdout=follower,
            stderr=subprocess.PIPE,
        )
        os.close(follower)
        self.shown = ""

    def read_until(self, text, count=1):
        deadline = time.monotonic() + 60
        while self.shown.count(text) < count and time.monotonic() < deadline:
            self.shown += os.read(self.leader, 65536).decode()
        assert self.shown.count(text) >= count, self.shown

    def end(self):
        """What is left to read, and the exit code."""
        while True:
            try:
                part = os.read(self.leader, 65536)
            except OSError:
                break
            self.shown += part.decode()
        os.close(self.leader)
        with self.process.stderr as stderr:
            assert b"Traceback" not in stderr.read()
        return self.process.wait(30)


def bare(text):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


@pytest.mark.parametrize("columns, rows", [(80, 24), (120, 40)])
def test_it_fits_a_terminal(site, columns, rows):
    terminal = Terminal(site, "status", columns=columns, rows=rows)
    assert terminal.end() == 0
    lines = bare(terminal.shown).splitlines()
    assert len(lines) < rows
    assert max(map(len, lines)) <= columns
    assert "\x1b[1;32mOK\x1b[0m" in terminal.shown


def test_no_colours_where_they_are_not_wanted(site):
    terminal = Terminal(site, "status", NO_COLOR="1")
    terminal.end()
    assert "\x1b" not in terminal.shown


def test_it_is_drawn_again_until_ctrl_c_which_gives_the_terminal_back(site):
    terminal = Terminal(site, "status", "--watch", "0.5")
    terminal.read_until("\x1b[J", 2)
    screens = bare(terminal.shown).split("labmon OK")
    assert len(screens) >= 3
    assert screens[1].count("\n") < 24
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 130
    assert terminal.shown.endswith("\x1b[?25h\x1b[?1049l")


def test_a_database_that_goes_while_it_is_watched_comes_back(lab, own_postgres_server):
    server = own_postgres_server
    with server.database() as name:
        lab.environ["LABMON_DATABASE_URL"] = server.url(name)
        lab.run("db", "migrate")
        terminal = Terminal(lab, "status", "--watch", "0.3", LABMON_DATABASE_CONNECT_TIMEOUT="2s")
        terminal.read_until("\x1b[1;32mOK")
        server.stop()
        terminal.read_until("CRITICAL")
        before = terminal.shown.count("\x1b[1;32mOK")
        server.start()
        terminal.read_until("\x1b[1;32mOK", before + 1)
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.end() == 143


@pytest.mark.parametrize("command", [["status"], ["systems", "list", "--search", "eng auth"]])
def test_two_thousand_systems_are_shown_in_less_than_a_second(lab, store_url, command):
    lab.environ["LABMON_DATABASE_URL"] = store_url
    with psycopg.connect(store_url) as connection:
        campus.build(connection, systems=2000, labs=40, detailed=1, hours=1)
    took = []
    for _ in range(5):
        before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), clock()
        lab.run(*command, code=None)
        wall, after = clock() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append((after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall))
    cpu, wall = map(min, zip(*took, strict=True))
    assert cpu < 0.8, took
    assert wall < 1.0, took
