"""Host keys that change, the alert, and `labmon systems trust`: by the installed command, over real SSH."""

import json
import os
import pty
import re
import subprocess

import psycopg
import pytest

from tests.acceptance.conftest import LABMON
from tests.conftest import started
from tests.support.sshd import Sshd


@pytest.fixture
def sshd():
    yield from started(lambda: Sshd([f"127.0.0.{n}" for n in range(1, 4)]))


@pytest.fixture
def machines(stored_lab, sshd):
    """Systems 1 to 3, measured once."""
    lab = stored_lab
    lab.environ |= {"LABMON_COLLECT_PORT": str(sshd.port), "LABMON_COLLECT_KEY_FILES": str(sshd.key_file)}
    lab.run("scan", "127.0.0.1-3", "--dept", "1", "--quiet")
    lab.run("collect", "--all", "--quiet")
    return sshd


def install_anew(sshd):
    sshd.stop()
    sshd.keygen("host_key")
    sshd.start()


def alerts(lab):
    with psycopg.connect(lab.environ["LABMON_DATABASE_URL"]) as connection:
        return connection.execute(
            "SELECT system_id, alert_type, severity FROM alerts ORDER BY system_id"
        ).fetchall()


def test_a_changed_key_is_refused_reported_once_and_trusted_when_told(lab, machines):
    install_anew(machines)
    for _ in range(2):
        done = lab.run("collect", "--all", "--retry-all", "-f", "json", code=6)
        for row in json.loads(done.stdout):
            assert row["failure"].startswith("host key changed: it was ssh-ed25519 SHA256:")
            assert f"labmon systems trust {row['system_id']};" in row["failure"]
    assert "changed their host key" not in done.stderr  # the second time it is no news
    assert alerts(lab) == [(n, "host_key_changed", "critical") for n in (1, 2, 3)]

    shown = json.loads(lab.run("systems", "trust", "-f", "json").stdout)
    assert [row["ip_address"] for row in shown] == ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
    assert all(row["known"] != row["shown"] for row in shown)

    refused = lab.run("systems", "trust", "127.0.0.1", code=2)
    assert "say --yes" in refused.stderr
    assert "1 new key accepted" in lab.run("systems", "trust", "127.0.0.1", "--yes").stderr
    assert "none of them was refused" in lab.run("systems", "trust", "1", "--yes").stderr
    lab.run("collect", "--host", "127.0.0.1", "--quiet")
    assert "2 new keys accepted" in lab.run("systems", "trust", "--dept", "1", "-y").stderr
    # Who was left for later is measured again at once.
    done = lab.run("collect", "--all", "-f", "json")
    assert [row["failure"] for row in json.loads(done.stdout)] == [None] * 3


def test_every_round_reports_what_changed_and_goes_on(lab, machines):
    install_anew(machines)
    with lab.start("collect", "--all", "--retry-all", "--every", "5s") as process:
        try:
            changed = 0  # the first round may have begun before all three were due
            while changed < 3 and (line := process.stderr.readline()):
                changed += sum(map(int, re.findall(r"(\d+) host key changed", line)))
        finally:
            process.terminate()
            process.communicate(timeout=20)
    assert changed >= 3
    assert len(alerts(lab)) == 3


def test_trust_asks_on_a_terminal(lab, machines):
    install_anew(machines)
    lab.run("collect", "--host", "127.0.0.2", "--quiet", code=6)

    def ask(answer):
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            [LABMON, "systems", "trust", "2"], env=lab.env, stdin=theirs, stdout=theirs, stderr=theirs
        ) as process:
            os.close(theirs)
            os.write(ours, answer)
            said = b""
            try:
                while data := os.read(ours, 4096):
                    said += data
            except OSError:
                pass  # its end
        os.close(ours)
        return process.returncode, said.decode()

    code, said = ask(b"n\n")
    assert code == 0 and "nothing has changed" in said and said.count("SHA256:") == 2
    lab.run("collect", "--host", "127.0.0.2", "--quiet", code=6)
    code, said = ask(b"y\n")
    assert code == 0 and "1 new key accepted" in said
    lab.run("collect", "--host", "127.0.0.2", "--quiet")


def test_a_lab_may_be_trusted_before_it_is_installed_anew(lab, machines):
    lab.run("systems", "trust", "--next", code=2)
    lab.run("systems", "trust", "--dept", "1", "--next", "--yes")
    install_anew(machines)
    lab.run("collect", "--all", "--quiet")
    install_anew(machines)
    lab.run("collect", "--all", "--quiet", code=6)


def test_the_machines_of_another_database_are_others(lab, machines, postgres_url):
    """The same state folder, the same numbers and addresses, and other keys."""
    before = dict(lab.environ)
    lab.environ["LABMON_DATABASE_URL"] = postgres_url
    lab.run("db", "migrate")
    for other in started(lambda: Sshd([f"127.0.0.{n}" for n in range(1, 4)])):
        lab.environ |= {
            "LABMON_COLLECT_PORT": str(other.port),
            "LABMON_COLLECT_KEY_FILES": str(other.key_file),
        }
        lab.run("scan", "127.0.0.1-3", "--dept", "1", "--quiet")
        assert "3 of 3 measured, stored" in lab.run("collect", "--all").stderr
        assert "no machine is refused" in lab.run("systems", "trust").stderr
        install_anew(other)
        lab.run("collect", "--all", code=6)
        assert len(json.loads(lab.run("systems", "trust", "-f", "json").stdout)) == 3
    lab.environ |= before
    assert "no machine is refused" in lab.run("systems", "trust").stderr
    lab.run("collect", "--all", "--quiet")
    assert alerts(lab) == []


def test_through_the_queue_the_alert_goes_there(lab, machines):
    lab.run("setup-queues")
    install_anew(machines)
    lab.run("collect", "--all", "--queue-enabled", "--quiet", code=6)
    rows = json.loads(lab.run("queue-depth", "-f", "json").stdout)
    assert {row["queue"]: row["ready"] for row in rows}["alert_queue"] == 3
    lab.run("consume", "--until-empty")
    assert len(alerts(lab)) == 3


def test_who_is_not_known_cannot_be_trusted(lab, machines):
    assert "there is no machine nobody" in lab.run("systems", "trust", "nobody", code=2).stderr
    assert "no machine is refused" in lab.run("systems", "trust").stderr


def test_a_password_in_the_environment_is_nowhere_to_be_seen(lab, sshd):
    lab.environ |= {
        "LABMON_COLLECT_PASSWORD": "correct horse",
        "LABMON_COLLECT_PORT": str(sshd.port),
        "LABMON_LOG_LEVEL": "debug",
    }
    done = lab.run("collect", "--host", "127.0.0.1", code=6)
    shown = lab.run("config", "show")
    said = done.stdout + done.stderr + shown.stdout + shown.stderr
    assert "horse" not in said and "auth failed" in said


def test_the_line_for_authorized_keys_is_printed_and_nothing_else(lab, sshd):
    lab.environ["LABMON_COLLECT_KEY_FILES"] = str(sshd.key_file)
    done = lab.run("collect", "--print-authorized-key")
    assert done.stdout.startswith('restrict,from="') and done.stdout.count("\n") == 1
    assert machines_key(sshd) in done.stdout
    lab.run("collect", "--print-authorized-key", "--from", 'a",b', code=2)
    lab.run("collect", "--print-authorized-key", "--probe", "relative", code=2)
    assert lab.run("collect", "--print-probe").stdout.startswith("#!/bin/sh\n")


def machines_key(sshd):
    return sshd.public(sshd.key_file).split()[1]


def test_accepting_the_key_ends_the_alert_which_says_what_changed(lab, machines):
    lab.run("setup-queues")
    install_anew(machines)
    lab.run("collect", "--all", "--queue-enabled", "--quiet", code=6)
    lab.run("consume", "--until-empty", "-q")
    firing = json.loads(lab.run("alerts", "list", "-f", "json").stdout)
    assert sorted(one["system_id"] for one in firing) == [1, 2, 3]
    number = next(one["alert_id"] for one in firing if one["system_id"] == 2)
    said = lab.run("alerts", "show", str(number)).stdout
    assert "SHA256:" in said and "labmon systems trust 2" in said
    assert not re.search(r"^(value|limit)", said, re.MULTILINE)
    assert "Limit" not in lab.run("alerts", "list").stdout

    lab.run("systems", "trust", "2", "--yes")
    lab.run("collect", "--system", "2", "--queue-enabled", "--quiet")
    lab.run("consume", "--until-empty", "-q")
    firing = json.loads(lab.run("alerts", "list", "-f", "json").stdout)
    assert sorted(one["system_id"] for one in firing) == [1, 3]
    assert "resolved" in lab.run("alerts", "show", str(number)).stdout
