"""Locks between processes: their deadline, and whose files they are (findings A13, B1)."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest

from labmon import files

HOLDER = """
import fcntl, sys, time
file = open(sys.argv[1])  # for reading: enough to lock it
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(120)
"""


@contextmanager
def held_by_another_process(lock):
    lock.touch()
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(lock)], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        try:
            yield
        finally:
            process.kill()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "counters"


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(files, "LOCK_TIMEOUT", 0.3)
    monkeypatch.setattr(files, "_timed_out", set())
    acquire = files.acquire
    monkeypatch.setattr(
        files,
        "acquire",
        lambda descriptor, lock, **given: acquire(descriptor, lock, **{"timeout": 0.3, **given}),
    )


def test_a_lock_that_somebody_keeps_is_waited_for_once_and_said(path, caplog, stalled):
    path.parent.mkdir()
    with held_by_another_process(path.with_name("counters.lock")):
        waits = []
        for _ in range(3):
            began = time.monotonic()
            with files.locked(path):
                waits.append(time.monotonic() - began)
    assert waits[0] >= 0.3
    assert max(waits[1:]) < 0.2 + stalled()
    assert "counters: not locked: another process holds counters.lock" in caplog.text


def test_it_is_waited_for_again_after_it_was_free(path):
    path.parent.mkdir()
    lock = path.with_name("counters.lock")
    with held_by_another_process(lock), files.locked(path):
        pass
    with files.locked(path):
        assert not is_free(lock)
    assert is_free(lock)


def is_free(lock):
    with open(lock) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def test_shared_locks_go_together_and_exclude_the_others(tmp_path):
    lock = tmp_path / "x.lock"
    with files.holding(lock, shared=True) as one, files.holding(lock, shared=True, timeout=0) as two:
        with files.holding(lock, timeout=0) as alone:
            assert (one, two, alone) == (True, True, False)


WAITER = """
import signal, sys, threading
from pathlib import Path
from labmon import files
from labmon.signals import stops_on_interrupt

stop = threading.Event()
with stops_on_interrupt(stop):
    print("waiting", flush=True)
    with files.locked(Path(sys.argv[1])):
        pass
print("stopped" if stop.is_set() else "not stopped")
"""


def test_sigterm_ends_a_process_that_waits_for_a_lock(path):
    path.parent.mkdir()
    with held_by_another_process(path.with_name("counters.lock")):
        process = subprocess.Popen(
            [sys.executable, "-c", WAITER, str(path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=60)[0] == "stopped\n"


def test_a_lock_file_is_for_its_owner_alone_also_an_older_one(path):
    with files.locked(path):
        pass
    lock = path.with_name("counters.lock")
    assert lock.stat().st_mode & 0o777 == 0o600
    lock.chmod(0o666)
    with files.locked(path):
        assert lock.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("kind", ["symlink", "fifo", "folder"])
def test_what_is_no_lock_file_is_not_followed_or_opened(path, tmp_path, kind, caplog):
    path.parent.mkdir()
    lock, other = path.with_name("counters.lock"), tmp_path / "other"
    other.write_text("precious")
    other.chmod(0o644)
    if kind == "symlink":
        lock.symlink_to(other)
    elif kind == "fifo":
        os.mkfifo(lock)
    else:
        lock.mkdir()
    with files.locked(path):
        pass
    assert "not locked" in caplog.text
    assert (other.read_text(), other.stat().st_mode & 0o777) == ("precious", 0o644)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files to others")


@needs_root
def test_a_lock_of_another_user_is_not_trusted(path):
    path.parent.mkdir()
    lock = path.with_name("counters.lock")
    lock.touch()
    os.chown(lock, 65534, 65534)
    with pytest.raises(PermissionError, match="belongs to another user"):
        files.open_lock(lock)


def test_threads_of_one_process_exclude_each_other(tmp_path):
    lock, inside, most = tmp_path / "x.lock", [], []

    def work():
        for _ in range(20):
            with files.holding(lock, timeout=30) as held:
                assert held
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (max(most), len(most)) == (1, 80)
