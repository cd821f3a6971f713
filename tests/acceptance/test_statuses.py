"""Who fails is left for later; how machines fare is stored and shown; a missing database loses nothing."""

import json
import socket
import subprocess
import time

import psycopg
import pytest

from labmon.demo.sshd import DemoServer

LEFT = "that failed before are left for later, the first for"


@pytest.fixture
def machines(lab, own_postgres_server):
    """127.0.0.1 and .2 can be measured; .3 refuses, on a store that can be stopped."""
    lab.environ |= {
        "LABMON_DATABASE_URL": own_postgres_server.url(),
        "LABMON_DATABASE_CONNECT_TIMEOUT": "2",
        "LABMON_COLLECT_KEY_FILES": str(lab.folder / "key"),
    }
    lab.run("db", "migrate")
    with DemoServer(["127.0.0.1", "127.0.0.2"], key_file=lab.folder / "key") as server:
        lab.environ["LABMON_COLLECT_PORT"] = str(server.port)
        lab.run("scan", "127.0.0.1-3", "--dept", "1", "--no-names")
        yield server


def listed(lab, *arguments):
    return {
        row["ip_address"]: row
        for row in json.loads(lab.run("systems", "list", "-f", "json", *arguments).stdout)
    }


def readings(server):
    with psycopg.connect(server.url()) as connection:
        return dict(
            connection.execute(
                "SELECT system_id, count(*) FROM metrics GROUP BY system_id ORDER BY 1"
            ).fetchall()
        )


def test_who_failed_is_left_for_later_until_it_is_asked_for_or_seen(lab, machines, own_postgres_server):
    assert "1 failed: 1 refused" in lab.run("collect", "--all", code=6).stderr
    refused = listed(lab)["127.0.0.3"]
    assert (refused["status"], refused["status_error"]) == (
        "refused",
        "refused: nothing listens on that port",
    )
    assert refused["status_since"] > refused["first_seen"]

    done = lab.run("collect", "--all")
    assert f"2 of 2 measured, stored; 1 {LEFT}" in done.stderr
    assert "127.0.0.3" not in done.stdout
    assert LEFT in lab.run("collect", "--dept", "1").stderr
    for asked in (["--all", "--retry-all"], ["--system", "3"], ["--host", "127.0.0.3"]):
        assert LEFT not in lab.run("collect", *asked, code=6).stderr
    again = listed(lab)["127.0.0.3"]
    assert again["status_since"] == refused["status_since"]

    lab.run("scan", "127.0.0.3", "--dept", "1", "--no-names")
    assert "1 of 1 measured" not in lab.run("collect", "--all", code=6).stderr
    with DemoServer(["127.0.0.3"], key_file=lab.folder / "other") as server:
        lab.run("systems", "set", "3", "--port", server.port)
        done = lab.run("collect", "--system", "3", LABMON_COLLECT_KEY_FILES=str(lab.folder / "other"))
    assert "1 of 1 measured, stored" in done.stderr
    well = listed(lab)["127.0.0.3"]
    assert (well["status"], well["status_error"], well["ssh_port"]) == ("active", None, server.port)
    assert well["status_since"] > again["status_since"]


# findings A16: a run in which nothing could be measured is no success, however it comes about
def test_a_run_with_all_of_its_machines_left_for_later_says_how_to_retry(lab, machines):
    lab.run("labs", "set", "off", "--dept", "1", "--add", "127.0.0.3")
    lab.run("collect", "--lab", "off", code=6)
    done = lab.run("collect", "--lab", "OFF", code=6)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        "nothing measured: all of them failed before. 1 that failed before are left for later"
    )
    assert "--retry-all" in line
    assert json.loads(lab.run("collect", "--lab", "1", "-f", "json", code=6).stdout) == []
    assert "--retry-all" in lab.run("collect", "--lab", "1", "--quiet", code=6).stderr
    assert "1 failed: 1 refused" in lab.run("collect", "--lab", "1", "--retry-all", code=6).stderr
    lab.run("collect", "--lab", "off", code=6, LABMON_COLLECT_RETRY_MAX="0s")


# findings A16: a flag forgotten costs one run
def test_another_account_key_or_port_is_tried_at_once(lab, machines):
    good = lab.folder / "key"
    assert "2 of 3 measured" in lab.run("collect", "--all", "--user", "monitor", code=6).stderr
    bad = lab.folder / "bad"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", bad], check=True)
    two = ["collect", "--dept", "1"]
    refused = lab.run(*two, "--key", bad, code=6).stderr
    assert "2 auth failed" in refused
    lab.run(*two, "--key", bad, code=6)  # the backoff holds
    refused = lab.run(*two, "--user", "somebody", "--key", bad, code=6).stderr
    assert "2 of them were measured with the account monitor before: add --user monitor" in refused
    done = lab.run(*two, "--user", "monitor", "--key", good, code=None).stderr
    assert "2 of " in done and "stored" in done
    lab.run("collect", "--all", "--port", "1", code=6)
    assert "2 of " in lab.run("collect", "--all", code=None).stderr


# findings C3: another account's database, new and empty, is not a campus where all is well
def test_an_empty_inventory_is_an_error_under_quiet_too(lab, own_postgres_server):
    lab.environ["LABMON_DATABASE_URL"] = own_postgres_server.url()
    lab.run("db", "migrate")
    for chosen in (["--all"], ["--dept", "3"], ["--all", "-f", "json"]):
        done = lab.run("collect", *chosen, "--quiet", code=2)
        (line,) = done.stderr.splitlines()
        assert f"the inventory of PostgreSQL at 127.0.0.1:{own_postgres_server.port}" in line
        assert " has none. Find some" in line and "labmon scan" in line
        assert done.stdout == ""


def test_a_department_or_lab_without_machines_is_an_error(lab, machines):
    assert "department 7 has no machine" in lab.run("collect", "--dept", "7", "-q", code=2).stderr
    lab.run("labs", "set", "empty", "--dept", "1")
    assert "lab empty has no machine" in lab.run("collect", "--lab", "empty", "-q", code=2).stderr


def test_a_new_embedded_database_is_announced_with_its_place(lab):
    said = lab.run("collect", "--all", "--quiet", code=2).stderr
    assert f"making one in {lab.folder / 'state' / 'postgres' / 'data'}" in said
    assert f"the inventory of the embedded database in {lab.folder / 'state'} has none" in said
    assert "making one" not in lab.run("collect", "--all", "--quiet", code=2).stderr


# findings A3: the numbers of one database mean nothing in another
def test_the_inventory_on_disk_is_used_for_its_own_database_only(
    lab, machines, own_postgres_server, store_url
):
    lab.run("collect", "--system", "1")
    copy = lab.folder / "state" / "inventory.json"
    identity = json.loads(copy.read_text())["inventory"]
    mistyped = {
        "LABMON_DATABASE_URL": "postgresql://127.0.0.1:1/labmon",
        "LABMON_DATABASE_CONNECT_TIMEOUT": "2",
    }
    for chosen in (["--all"], ["--system", "1"]):
        said = lab.run("collect", *chosen, code=5, **mistyped).stderr
        assert f"The inventory in {copy} is of PostgreSQL at 127.0.0.1:{own_postgres_server.port}" in said
    assert "Nothing will be stored" in lab.run("collect", "--host", "127.0.0.1", **mistyped).stderr

    # Another database that answers: the copy is set aside, and found again when its own database is away.
    said = lab.run("collect", "--all", code=2, LABMON_DATABASE_URL=store_url).stderr
    aside = copy.with_name(f"inventory-{identity[:8]}.json")
    assert f"set aside as {aside.name}" in said
    assert json.loads(aside.read_text())["inventory"] == identity
    own_postgres_server.stop()
    done = lab.run("collect", "--system", "1")
    assert "Using the inventory of " in done.stderr and f"({aside})" in done.stderr
    own_postgres_server.start()
    lab.run("collect", "--system", "1")
    assert json.loads(copy.read_text())["inventory"] == identity
    assert not aside.exists()


def test_a_database_without_a_schema_is_another_one(lab, machines, own_postgres_server, postgres_url):
    lab.run("collect", "--system", "1")
    said = lab.run("collect", "--all", code=5, LABMON_DATABASE_URL=postgres_url).stderr
    assert "labmon db migrate" in said and "so it is not used" in said


def test_the_status_travels_through_the_queue_and_the_newest_counts(lab, machines, own_postgres_server):
    lab.environ["QUEUE_ENABLED"] = "true"
    lab.run("setup-queues")
    lab.run("collect", "--all", code=6)
    rows = {row["queue"]: row["ready"] for row in json.loads(lab.run("queue-depth", "-f", "json").stdout)}
    assert (rows["discovery_queue"], rows["metrics_queue"]) == (3, 2)  # a status, and facts of both
    assert listed(lab)["127.0.0.3"]["status"] == "discovered"
    with psycopg.connect(own_postgres_server.url()) as connection:
        late = {
            "system_id": 3,
            "status": "auth failed",
            "since": "2025-01-01T00:00:00Z",
            "checked_at": "2025-01-01T00:00:00Z",
        }
        for body in (late, late | {"system_id": 77}, late | {"status": "broken"}):
            connection.execute("SELECT labmon_publish('discovery_queue', %s)", [json.dumps(body)])
    said = lab.run("consume", "--until-empty", code=6).stderr
    assert "discovery_queue: 4 stored, 2 to the dead letters" in said
    assert listed(lab)["127.0.0.3"]["status"] == "refused"
    letters = lab.run("dead-letters", "list", "discovery").stdout
    assert "system_id 77 is not in the inventory" in letters
    assert "$.status" in letters
    assert listed(lab, "--status", "refused").keys() == {"127.0.0.3"}


def test_a_machine_that_says_nothing_is_offline_and_one_that_hangs_timed_out(lab, machines):
    hangs = socket.create_server(("127.0.0.4", 0))
    full = socket.create_server(("127.0.0.5", 0), backlog=0)  # whose queue takes nobody else: packets vanish
    with hangs, full, socket.create_connection(full.getsockname()), socket.socket() as second:
        second.setblocking(False)
        second.connect_ex(full.getsockname())
        lab.run("scan", "127.0.0.4-5", "--dept", "1", "--no-names")
        lab.run("systems", "set", "4", "--port", hangs.getsockname()[1])
        lab.run("systems", "set", "5", "--port", full.getsockname()[1])
        lab.run("collect", "--system", "4", "--system", "5", "--deadline", "1s", code=6)
    found = listed(lab)
    assert (found["127.0.0.4"]["status"], found["127.0.0.5"]["status"]) == ("timed out", "offline")
    assert "connecting" in found["127.0.0.5"]["status_error"]
    shown = lab.run("systems", "show", "5").stdout
    assert "offline (nothing at its address answers" in shown


def test_the_database_is_down_and_collecting_goes_on_by_the_last_inventory(
    lab, machines, own_postgres_server
):
    lab.run("labs", "set", "A-101", "--dept", "1", "--add", "127.0.0.1")
    lab.run("collect", "--all", code=6)
    assert readings(own_postgres_server) == {1: 1, 2: 1}
    own_postgres_server.stop()
    for chosen, count in (
        (["--all"], 2),
        (["--dept", "1"], 2),
        (["--lab", "a-101"], 1),
        (["--system", "2"], 1),
    ):
        done = lab.run("collect", *chosen)
        first, *others = done.stderr.splitlines()
        assert f"PostgreSQL at 127.0.0.1:{own_postgres_server.port}" in first
        assert "Using the inventory of " in first and str(lab.folder / "state/inventory.json") in first
        assert f"{count} of {count} measured, kept in the spool" in others[-1]
    done = lab.run("collect", "--host", "127.0.0.1", "--host", "127.0.0.9", code=6)
    assert "1 of 2 measured, kept in the spool; 1 failed" in done.stderr
    assert "(7 in all); they are stored first next time" in done.stderr

    own_postgres_server.start()
    lab.run("collect", "--system", "2")
    assert readings(own_postgres_server) == {1: 5, 2: 5}
    assert json.loads(lab.run("spool", "status", "-f", "json").stdout)["messages"] == 0


def test_the_database_is_down_and_the_queue_takes_the_results(
    lab, machines, own_postgres_server, postgres_server
):
    lab.run("collect", "--all", code=6)
    with postgres_server.database() as name:
        lab.environ |= {
            "QUEUE_ENABLED": "true",
            "QUEUE_TYPE": "postgres",
            "QUEUE_HOST": "127.0.0.1",
            "QUEUE_PORT": str(postgres_server.port),
            "QUEUE_USER": postgres_server.USER,
            "QUEUE_PASSWORD": postgres_server.PASSWORD,
            "LABMON_QUEUE_DATABASE": name,
        }
        own_postgres_server.stop()
        assert "2 of 2 measured, queued for metrics_queue" in lab.run("collect", "--all").stderr
        own_postgres_server.start()
        assert "metrics_queue: 2 stored" in lab.run("consume", "--until-empty").stderr
    assert readings(own_postgres_server) == {1: 2, 2: 2}


def test_the_database_goes_down_while_machines_are_measured(lab, machines, own_postgres_server):
    hangs = socket.create_server(("127.0.0.4", 0))
    with hangs:
        lab.run("scan", "127.0.0.4", "--dept", "1", "--no-names")
        lab.run("systems", "set", "4", "--port", hangs.getsockname()[1])
        with lab.start("collect", "--all", "--deadline", "6s") as running:
            connection, _ = hangs.accept()  # it is under way
            time.sleep(1)
            own_postgres_server.stop()
            out, said = running.communicate(timeout=60)
            connection.close()
    assert (running.returncode, "Traceback" in said) == (6, False), said
    assert "2 of 4 measured, kept in the spool; 2 failed" in said
    assert len([line for line in said.splitlines() if "PostgreSQL at" in line]) == 1, said
    own_postgres_server.start()
    lab.run("collect", "--system", "1")
    assert readings(own_postgres_server) == {1: 2, 2: 1}
    assert {row["ip_address"]: row["status"] for row in listed(lab).values()} == {
        "127.0.0.1": "active",
        "127.0.0.2": "active",
        "127.0.0.3": "refused",
        "127.0.0.4": "timed out",
    }


def test_an_address_needs_no_database_and_nothing_else_does_without(lab, machines):
    elsewhere = {
        "LABMON_DATABASE_URL": "postgresql://127.0.0.1:1/x",
        "LABMON_STATE_DIR": str(lab.folder / "elsewhere"),
    }
    done = lab.run("collect", "--host", "127.0.0.1", **elsewhere)
    assert "1 of 1 measured, only shown" in done.stderr
    assert done.stderr.splitlines()[0].endswith("Nothing will be stored")
    lab.run("collect", "--all", code=5, **elsewhere)


def test_what_is_measured_before_the_database_is_migrated_is_kept(lab, machines, own_postgres_server):
    lab.run("collect", "--system", "1")
    with psycopg.connect(own_postgres_server.url()) as connection:
        connection.execute("UPDATE labmon_schema_functions SET sha256 = 'another' WHERE name = 'events'")
    done = lab.run("collect", "--system", "1")
    assert "labmon db migrate. Using the inventory of " in done.stderr
    assert "1 of 1 measured, kept in the spool" in done.stderr
    lab.run("db", "migrate")
    lab.run("collect", "--system", "1")
    assert readings(own_postgres_server) == {1: 3}


def test_labs_are_made_filled_named_and_removed(lab, machines):
    said = lab.run("labs", "set", "A-101", "--dept", "1", "--add", "127.0.0.0/30", "--add", "3").stderr
    assert said == "lab 1, A-101: 3 systems (made, 3 added)\n"
    assert lab.run("labs", "set", "a-101", "--add", "127.0.0.1-2").stderr == "lab 1, A-101: 3 systems\n"
    assert "1 removed" in lab.run("labs", "set", "1", "--remove", "3", "--name", "B-7").stderr
    assert json.loads(lab.run("labs", "list", "-f", "json").stdout) == [
        {"lab_id": 1, "dept_id": 1, "name": "B-7", "systems": 2, "active": 0}
    ]
    assert listed(lab, "--lab", "b-7").keys() == {"127.0.0.1", "127.0.0.2"}
    lab.run("systems", "set", "3", "1", "--no-lab", "--status", "maintenance")
    assert {row["lab"]: row["status"] for row in listed(lab).values()} == {
        None: "maintenance",
        "B-7": "discovered",
    }
    lab.run("systems", "set", "3", "--lab", "B-7", "--hostname", "printer")
    assert "2 systems without a lab now" in lab.run("labs", "remove", "B-7").stderr
    assert listed(lab)["127.0.0.3"]["hostname"] == "printer"


@pytest.mark.parametrize(
    "arguments, named",
    [
        (["labs", "set", "new"], "there is no lab 'new'"),
        (["labs", "set", "new", "--dept", "1", "--add", "10.0.0.300"], "10.0.0.300"),
        (["labs", "set", "new", "--dept", "1", "--add", "99"], "no system 99"),
        (["labs", "set", " ", "--dept", "1"], "no name for a lab"),
        (["labs", "remove", "5"], "there is no lab '5'"),
        (["systems", "set", "1"], "say what to change"),
        (["systems", "set", "1", "2", "--hostname", "x"], "--hostname"),
        (["systems", "set", "1", "--lab", "x", "--no-lab"], "--no-lab"),
        (["systems", "set", "99", "--no-lab"], "no system 99"),
        (["systems", "list", "--status", "broken"], "discovered, active, offline"),
        (["systems", "list", "--lab", "x"], "there is no lab 'x'"),
        (["collect", "--lab", "x"], "there is no lab 'x'"),
        (["collect", "--system", "99"], "no system 99"),
    ],
)
def test_a_wrong_argument_is_named_in_one_line(machines_once, arguments, named):
    done = machines_once.run(*arguments, code=2)
    assert named in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.fixture
def machines_once(stored_lab):
    """A store with two machines in department 1."""
    with psycopg.connect(stored_lab.environ["LABMON_DATABASE_URL"]) as connection:
        connection.execute("INSERT INTO departments (dept_id) VALUES (1)")
        connection.execute(
            "INSERT INTO systems (dept_id, ip_address) VALUES (1, '127.0.0.1'), (1, '127.0.0.2')"
        )
    return stored_lab


def test_the_list_fits_a_terminal_of_80_columns(machines_once):
    with psycopg.connect(machines_once.environ["LABMON_DATABASE_URL"]) as connection:
        connection.execute(
            "UPDATE systems SET hostname = 'lab-a101-pc-01.cs.example.edu', status = 'auth failed', "
            "status_since = now() - interval '3 days', status_error = 'auth failed: no key was accepted', "
            "ip_address = ('10.130.155.' || 100 + system_id)::inet, mac_address = '00:1b:44:11:3a:b7', "
            "last_seen = now(), last_collected = now() - interval '4 days'"
        )
        connection.execute("INSERT INTO labs (dept_id, name) VALUES (1, 'A-101')")
        connection.execute("UPDATE systems SET lab_id = 1, status = 'maintenance' WHERE system_id = 1")
        connection.execute(
            "SELECT labmon_metrics_day((now() - interval '4 days')::date); "
            "INSERT INTO metrics (system_id, collected_at, cpu_percent, ram_percent, disk_percent) "
            "SELECT system_id, last_collected, 100, 100, 100 FROM systems"
        )
    shown = _on_a_terminal(machines_once, "systems", "list", columns=80)
    assert max(map(len, shown.splitlines())) <= 80, shown
    for words in ("10.130.155.102", "auth failed", "maintenance", "3 d", "4 d", "key was accepted"):
        assert words in shown, shown


def test_the_history_of_statuses_fits_80_columns_and_says_why(machines_once):
    with psycopg.connect(machines_once.environ["LABMON_DATABASE_URL"]) as connection:
        connection.execute(
            "UPDATE systems SET hostname = 'lab-a101-pc-01.cs.example.edu', ip_address = '10.130.155.201', "
            "status = 'timed out', status_since = now(), status_error = 'timed out: after 20 s, logging in' "
            "WHERE system_id = 1"
        )
        connection.execute("UPDATE systems SET status = 'active', status_since = now() WHERE system_id = 1")
    shown = _on_a_terminal(machines_once, "systems", "history", columns=80)
    assert max(map(len, shown.splitlines())) <= 80, shown
    for words in ("status", "timed out", "active", "logging in"):
        assert words in shown, shown
    rows = json.loads(machines_once.run("systems", "history", "--change", "status", "-f", "json").stdout)
    assert [(row["old_value"], row["new_value"]) for row in rows] == [
        (None, "timed out"),
        ("timed out", "active"),
    ]


def _on_a_terminal(lab, *arguments, columns):
    import fcntl
    import os
    import pty
    import struct
    import subprocess
    import termios

    from tests.acceptance.conftest import LABMON

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environ = {name: value for name, value in lab.env.items() if name != "COLUMNS"} | {"NO_COLOR": "1"}
    with subprocess.Popen([LABMON, *arguments], env=environ, stdin=theirs, stdout=theirs) as process:
        os.close(theirs)
        text = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:
                break
            if not part:
                break
            text += part
    os.close(ours)
    assert process.returncode == 0
    return text.decode().replace("\r\n", "\n")
