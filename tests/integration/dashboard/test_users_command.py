"""`labmon dashboard users`: who may log in, said at the command line."""

import json
import os
import pty
import select
import subprocess
import time

import psycopg
import pytest

from tests.support.dashboard import LABMON, PASSWORD, Dashboard


@pytest.fixture
def labmon(store_url, tmp_path):
    """Runs `labmon dashboard users ...`; asserts the exit code."""
    one = Dashboard(store_url)

    def run(*arguments, code=0, password=None):
        given = [f"--password-file={_file(tmp_path, password)}"] if password is not None else []
        done = subprocess.run(
            [LABMON, "dashboard", "users", *arguments, *given],
            env=one.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done

    run.environ = one.environ
    yield run
    one.close()


def _file(folder, password):
    file = folder / "password"
    file.write_bytes(password if isinstance(password, bytes) else password.encode())
    return file


def test_users_are_added_listed_changed_and_removed_and_each_is_recorded(labmon, store_url):
    assert "users add" in labmon("list").stderr
    assert (
        labmon("add", "Anna", "--role", "admin", password=f"{PASSWORD}\n").stderr
        == "user anna may log in as admin\n"
    )
    labmon("add", "bernd", password=PASSWORD)
    rows = json.loads(labmon("list", "--format", "json").stdout)
    assert [(row["name"], row["role"], row["sessions"]) for row in rows] == [
        ("anna", "admin", 0),
        ("bernd", "viewer", 0),
    ]
    labmon("set", "bernd", "--role", "operator")
    labmon("set", "bernd", password="another horse battery")
    labmon("remove", "bernd", "--yes")
    with psycopg.connect(store_url) as connection:
        rows = connection.execute(
            "SELECT action, object, detail, address FROM audit ORDER BY audit_id"
        ).fetchall()
    assert rows == [
        ("users.add", "user anna", {"role": "admin"}, "command line"),
        ("users.add", "user bernd", {"role": "viewer"}, "command line"),
        ("users.set", "user bernd", {"role": "operator"}, "command line"),
        ("users.set", "user bernd", {"password": "changed"}, "command line"),
        ("users.remove", "user bernd", {}, "command line"),
    ]


def test_the_password_is_stored_nowhere_and_never_printed(labmon, store_url):
    done = labmon("add", "anna", password=PASSWORD)
    assert PASSWORD not in done.stdout + done.stderr
    with psycopg.connect(store_url) as connection:
        rows = connection.execute(
            "SELECT users::text FROM users UNION ALL SELECT audit::text FROM audit"
        ).fetchall()
    assert len(rows) == 2 and not any(PASSWORD in text for (text,) in rows)


def test_a_password_can_come_from_stdin(labmon):
    done = subprocess.run(
        [LABMON, "dashboard", "users", "add", "anna", "--password-file=-"],
        env=labmon.environ,
        input=f"{PASSWORD}\r\n".encode(),
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "password", "said"),
    [
        (["add", "anna"], None, "--password-file"),
        (["add", "anna"], "short", "characters"),
        (["add", "anna"], "", "characters"),
        (["add", "anna"], b"\xff" * 20, "not UTF-8"),
        (["add", "anna"], "aaaaaaaaaaaaaaaa", "guessed"),
        (["add", "anna b"], PASSWORD, "a name has"),
        (["add", "<b>"], PASSWORD, "a name has"),
        (["add", "anna", "--role", "root"], PASSWORD, "no role 'root'"),
        (["set", "otto", "--role", "viewer"], None, "no user otto"),
        (["set", "otto"], None, "nothing to change"),
        (["remove", "otto", "--yes"], None, "no user otto"),
    ],
)
def test_what_cannot_be_meant_is_said_in_one_line(labmon, arguments, password, said):
    done = labmon(*arguments, password=password, code=2)
    assert said in done.stderr and done.stderr.count("\n") == 1


def test_a_file_that_cannot_be_read_is_named(labmon, tmp_path):
    done = labmon("add", "anna", f"--password-file={tmp_path}", code=2)
    assert str(tmp_path) in done.stderr


def test_the_only_admin_stays_until_everybody_else_has_gone(labmon):
    labmon("add", "anna", "--role", "admin", password=PASSWORD)
    labmon("add", "bernd", password=PASSWORD)
    assert "only admin" in labmon("remove", "anna", "--yes", code=2).stderr
    assert "only admin" in labmon("set", "anna", "--role", "viewer", code=2).stderr
    labmon("remove", "bernd", "--yes")
    labmon("remove", "anna", "--yes")


def test_on_a_terminal_the_password_is_asked_for_twice_and_not_shown(labmon):
    shown, code = typed(
        labmon.environ, ["add", "anna"], [PASSWORD, "not the same at all", PASSWORD, PASSWORD]
    )
    assert code == 0, shown
    assert shown.count("Password of anna") == 2 and "do not match" in shown
    assert PASSWORD not in shown and "not the same" not in shown


def typed(environ, arguments, lines):
    """Run it at a terminal of its own and type a line at each question; all that was shown, and the code."""
    process, terminal = pty.fork()
    if process == 0:
        os.execvpe(LABMON, [str(LABMON), "dashboard", "users", *arguments], environ)
    shown, deadline = "", time.monotonic() + 60
    try:
        while time.monotonic() < deadline:
            if not select.select([terminal], [], [], 1)[0]:
                continue
            try:
                shown += os.read(terminal, 1000).decode()
            except OSError:  # it has ended
                break
            if shown.endswith(": ") and lines:
                time.sleep(0.1)  # until the echo is off
                os.write(terminal, f"{lines.pop(0)}\n".encode())
    finally:
        os.close(terminal)
    return shown, os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
