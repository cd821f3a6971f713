"""The embedded server, for real: started by the first user, stopped by the last."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest

from labmon.errors import PermissionNeeded
from labmon.store.embedded import Embedded

HOLD = """
import sys
from pathlib import Path
from labmon.store.embedded import Embedded
with Embedded(Path(sys.argv[1])):
    print("up", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def state():
    # Not tmp_path: when the tests run as root, the server's account must be able to enter.
    folder = Path(tempfile.mkdtemp(prefix="labmon-state-", dir="/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


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
