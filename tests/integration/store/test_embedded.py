"""The embedded server, for real: started by the first user, stopped by the last."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time

import psycopg
import pytest

from labmon.errors import PermissionNeeded, StoreRefused, StoreUnavailable
from labmon.store.embedded import Embedded

HOLD = """
import sys
import threading
import time
from pathlib import Path
from labmon.store.embedded import Embedded
with Embedded(Path(sys.argv[1])):
    print("up", flush=True)
    sys.stdin.read()
"""


def running(state):
    return (state / "postgres/data/postmaster.pid").exists()


def holder(state):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, state], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "up\n"
    return process


def test_it_keeps_its_data_from_one_use_to_the_next(state):
    with Embedded(state) as server, psycopg.connect(server.url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
    assert not running(state)
    with Embedded(state) as server, psycopg.connect(server.url) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (7,)


def test_it_is_shared_by_processes_and_stopped_by_the_last(state):
    with holder(state) as other:
        with Embedded(state) as server, psycopg.connect(server.url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert running(state)
        other.stdin.close()
        assert other.wait(30) == 0
    assert not running(state)


def test_a_killed_user_does_not_keep_it_running_for_ever(state):
    with holder(state) as other:
        os.kill(other.pid, signal.SIGKILL)
        other.wait(30)
    assert running(state)
    with Embedded(state):
        pass
    assert not running(state)


def test_it_recovers_when_the_server_itself_was_killed(state):
    with Embedded(state) as server:
        with psycopg.connect(server.url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
        pid = int((state / "postgres/data/postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)
    with Embedded(state) as server, psycopg.connect(server.url) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (7,)


def test_it_listens_on_no_network_address_and_its_socket_is_private(state):
    with Embedded(state) as server, psycopg.connect(server.url) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
        assert (state / "postgres/socket").stat().st_mode & 0o777 == 0o700


def test_a_path_too_long_for_a_socket_is_no_obstacle(state):
    deep = state / ("d" * 100)
    deep.mkdir(mode=0o711)
    with Embedded(deep) as server, psycopg.connect(server.url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another account for the server")
def test_a_folder_closed_to_the_server_s_account_is_named(state):
    closed = state / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(PermissionNeeded, match="may not enter"):
        Embedded(closed / "state")
    assert closed.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_folder_of_somebody_else_is_named(state):
    with Embedded(state):
        pass
    # Forked and not run: another account may not be able to enter the folder of this Python.
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        said = "no error"
        try:
            os.setgid(65534)
            os.setuid(65534)
            Embedded(state)
        except PermissionNeeded as error:
            said = str(error)
        finally:
            os.write(writing, said.encode())
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with open(reading) as pipe:
        said = pipe.read()
    assert said.startswith(str(state))
    assert "belongs to root" in said


def as_the_server(state):
    """Arguments of Popen: the account that the data belongs to."""
    owner = (state / "postgres/data").stat()
    if owner.st_uid == os.geteuid():
        return {"cwd": "/"}
    return {"cwd": "/", "user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}


def pid_file(state, pid):
    """As the server writes it."""
    return f"{pid}\n{state}/postgres/data\n1796024000\n5432\n\n\n  1234567   32768\nready   \n"


@pytest.fixture
def bystander(kept):
    """A process of the server's account that has nothing to do with it."""
    with subprocess.Popen(["sleep", "600"], **as_the_server(kept)) as process:
        yield process
        assert process.poll() is None
        process.kill()


@pytest.fixture
def by_hand(kept):
    """A server on the data that labmon did not start, and the folder of its socket."""
    with Embedded(kept) as server:
        programs = server._programs.folder
    sockets = kept / "by-hand"
    sockets.mkdir()
    owner = (kept / "postgres/data").stat()
    os.chown(sockets, owner.st_uid, owner.st_gid)
    command = [programs / "postgres", "-D", kept / "postgres/data", "-k", sockets, "-c", "listen_addresses="]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, **as_the_server(kept)) as process:
        for _ in range(600):
            if "ready" in pid_text(kept):
                break
            time.sleep(0.05)
        yield f"postgresql://labmon@/postgres?host={sockets}"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0


def pid_text(state):
    try:
        return (state / "postgres/data/postmaster.pid").read_text()
    except FileNotFoundError:
        return ""


def is_kept(url):
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT n FROM kept").fetchone() == (7,)


# findings A11
@pytest.mark.parametrize("with_socket", [False, True], ids=["data", "data and socket"])
def test_a_pid_file_left_behind_that_names_a_living_process_is_no_obstacle(kept, bystander, with_socket):
    (kept / "postgres/data/postmaster.pid").write_text(pid_file(kept, bystander.pid))
    if with_socket:
        (kept / "postgres/socket/.s.PGSQL.5432").touch()
        (kept / "postgres/socket/.s.PGSQL.5432.lock").write_text(pid_file(kept, bystander.pid))
    with Embedded(kept) as server:
        assert is_kept(server.url)


@pytest.mark.parametrize("content", ["", "\0" * 60, "no number\n", "-1\n", pid_file("/x", 4_194_000)])
def test_a_pid_file_left_behind_with_anything_in_it_is_no_obstacle(kept, content):
    for name in ("data/postmaster.pid", "socket/.s.PGSQL.5432.lock"):
        (kept / "postgres" / name).write_text(content)
    with Embedded(kept) as server:
        assert is_kept(server.url)


def test_stopping_leaves_alone_the_process_that_has_the_number_of_a_killed_server(kept, bystander):
    with Embedded(kept):
        path = kept / "postgres/data/postmaster.pid"
        os.kill(int(path.read_text().split()[0]), signal.SIGKILL)
        with open(kept / "postgres/running.lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # its children have noticed
        path.write_text(pid_file(kept, bystander.pid))
    assert bystander.poll() is None


@pytest.mark.parametrize("content", [None, "", "no number\n"], ids=["as it is", "empty", "garbage"])
def test_a_server_on_the_data_that_somebody_else_started_is_named_and_left_running(kept, by_hand, content):
    path = kept / "postgres/data/postmaster.pid"
    before = path.read_text()
    if content is not None:
        path.write_text(content)
    with pytest.raises(StoreUnavailable, match="did not start runs in .*: process [0-9]+"):
        Embedded(kept)
    assert path.read_text() == (before if content is None else content)
    path.write_text(before)
    assert is_kept(by_hand)


def test_a_server_that_is_just_stopping_is_waited_for(kept):
    with Embedded(kept) as first, psycopg.connect(first.url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        # It stops once the last client has gone.
        os.kill(int(pid_text(kept).split()[0]), signal.SIGTERM)
        for _ in range(600):
            if "stopping" in pid_text(kept):
                break
            time.sleep(0.05)
        threading.Timer(1, connection.close).start()
        with Embedded(kept) as second:
            assert is_kept(second.url)


def test_data_whose_version_cannot_be_read_is_named(kept):
    (kept / "postgres/data/PG_VERSION").write_bytes(bytes(3))
    with pytest.raises(StoreRefused, match="PG_VERSION: no version of PostgreSQL"):
        Embedded(kept)
