"""A real worker process, without any server: its database is away, so it waits for it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labmon.app.open import worker_settings
from labmon.config.load import load
from labmon.consume.supervisor.heartbeat import WorkerJob
from labmon.consume.supervisor.process import Process


@pytest.fixture
def process():
    environ = {
        "LABMON_DATABASE_URL": "postgresql://labmon@127.0.0.1:1/none",
        "LABMON_DATABASE_CONNECT_TIMEOUT": "1",
    }
    process = Process(WorkerJob(worker_settings(load(environ=environ).config), ["metrics_queue"]))
    yield process
    process.kill()
    eventually(lambda: process.has_ended)


def eventually(true, seconds=60):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_it_sends_heartbeats_and_ends_when_it_is_drained(process):
    eventually(lambda: process.heartbeat)
    assert process.heartbeat.rss > 2**20
    first = process.heartbeat
    eventually(lambda: process.heartbeat is not first)
    assert not process.has_ended
    process.drain()
    process.drain()
    eventually(lambda: process.has_ended)
    assert (process.exit_code, process.heartbeat.error) == (0, None)
    assert process.draining_since is not None


def test_a_stopped_process_is_silent_and_the_silence_can_be_reset(process):
    eventually(lambda: process.heartbeat)
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(0.2)
    eventually(lambda: process.silent_for(time.monotonic()) > 1.5)
    process.reset_heartbeat()
    assert process.silent_for(time.monotonic()) < 1.5
    process.kill()
    eventually(lambda: process.has_ended)
    assert (process.is_killed, process.exit_code) == (True, -signal.SIGKILL)


def test_it_ignores_ctrl_c_which_is_for_its_supervisor(process):
    eventually(lambda: process.heartbeat)
    os.kill(process.pid, signal.SIGINT)
    before = process.heartbeat
    eventually(lambda: process.heartbeat is not before)
    os.kill(process.pid, signal.SIGTERM)
    eventually(lambda: process.has_ended)
    assert process.exit_code == 0


def test_it_ends_with_its_supervisor_however_that_ends():
    """The supervisor is killed; the end of its input ends the worker."""
    code = (
        "import time; from tests.unit.consume.supervisor.test_process import started;"
        "process = started(); print(process.pid, flush=True); time.sleep(60)"
    )

    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as supervisor:
        pid = int(supervisor.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        supervisor.kill()
    eventually(lambda: not running(pid))


def started():
    environ = {"LABMON_DATABASE_URL": "postgresql://labmon@127.0.0.1:1/none"}
    process = Process(WorkerJob(worker_settings(load(environ=environ).config), ["metrics_queue"]))
    eventually(lambda: process.heartbeat)
    return process


def running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
