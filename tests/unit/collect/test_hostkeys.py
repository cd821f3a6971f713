import base64
import fcntl
import multiprocessing
import os
import subprocess
import threading
import time

import pytest

from labmon.collect import hostkeys
from labmon.collect.failures import HostFailed
from labmon.collect.hostkeys import HostKeys, fingerprint, host_name
from labmon.errors import PermissionNeeded

KIND = "ssh-ed25519"


def blob(text="a"):
    """The public key of a type OpenSSH knows, so that its own tools accept the file."""
    name = KIND.encode()
    raw = text.encode().ljust(32, b".")
    return len(name).to_bytes(4, "big") + name + len(raw).to_bytes(4, "big") + raw


@pytest.fixture
def file(tmp_path):
    return tmp_path / "state" / "known_hosts"


def reason(call, *arguments):
    with pytest.raises(HostFailed) as caught:
        call(*arguments)
    return caught.value.failure


def test_a_new_key_is_remembered_and_a_changed_one_refused(file):
    keys = HostKeys(file, "accept-new")
    keys.check("10.0.0.1", KIND, blob("a"))
    keys.check("10.0.0.1", KIND, blob("a"))

    failure = reason(HostKeys(file, "accept-new").check, "10.0.0.1", KIND, blob("b"))

    assert failure.reason == "host key changed"
    assert fingerprint(blob("a")) in failure.detail
    assert fingerprint(blob("b")) in failure.detail
    assert f"ssh-keygen -R '10.0.0.1' -f {file}" in failure.detail
    assert file.read_text().count("\n") == 1
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


def test_a_key_of_another_type_is_a_changed_key(file):
    keys = HostKeys(file, "accept-new")
    keys.check("10.0.0.1", "ssh-rsa", blob())
    assert keys.types("10.0.0.1") == ["ssh-rsa"]
    assert reason(keys.check, "10.0.0.1", KIND, blob()).reason == "host key changed"


def test_strict_knows_only_what_is_in_the_file_and_writes_nothing(file):
    keys = HostKeys(file, "strict")
    failure = reason(keys.check, "10.0.0.1", KIND, blob())
    assert failure.reason == "host key unknown"
    assert fingerprint(blob()) in failure.detail
    assert not file.parent.exists()

    line = failure.detail.split(f"append to {file}: ")[1]
    file.parent.mkdir()
    file.write_text(line + "\n")
    keys.check("10.0.0.1", KIND, blob())
    assert reason(keys.check, "10.0.0.1", KIND, blob("b")).reason == "host key changed"


def test_off_takes_anything_and_touches_nothing(file):
    keys = HostKeys(file, "off")
    keys.check("10.0.0.1", KIND, blob("a"))
    keys.check("10.0.0.1", KIND, blob("b"))
    assert not file.parent.exists()


def test_openssh_finds_the_hosts_by_the_same_names(file):
    keys = HostKeys(file, "accept-new")
    names = [host_name("10.0.0.1", 22), host_name("10.0.0.1", 2222), host_name("2001:0DB8:0::1", 22)]
    for number, name in enumerate(names):
        keys.check(name, KIND, blob(str(number)))
    assert names == ["10.0.0.1", "[10.0.0.1]:2222", "2001:db8::1"]

    for number, name in enumerate(names):
        found = subprocess.run(
            ["ssh-keygen", "-l", "-F", name, "-f", file], capture_output=True, text=True, check=True
        )
        assert fingerprint(blob(str(number))) in found.stdout

    subprocess.run(["ssh-keygen", "-R", names[1], "-f", file], capture_output=True, check=True)
    keys.check(names[1], KIND, blob("another"))  # the removed line is noticed without a restart
    keys.check(names[0], KIND, blob("0"))


def test_what_another_process_has_learnt_counts(file):
    mine, theirs = HostKeys(file, "accept-new"), HostKeys(file, "accept-new")
    theirs.check("10.0.0.1", KIND, blob("a"))
    assert reason(mine.check, "10.0.0.1", KIND, blob("b")).reason == "host key changed"
    mine.check("10.0.0.1", KIND, blob("a"))
    assert file.read_text().count("10.0.0.1") == 1


def test_lines_it_cannot_use_stay_where_they_are(file):
    file.parent.mkdir()
    key = base64.b64encode(blob()).decode()
    lines = [
        "# a comment",
        "",
        "|1|c2FsdA==|aGFzaA== ssh-ed25519 " + key,
        "@revoked * ssh-ed25519 " + key,
        "half",
    ]
    lines += [f"10.0.0.1,10.0.0.2 {KIND} {key} with a comment"]
    file.write_text("\n".join(lines) + "\n")
    keys = HostKeys(file, "accept-new")

    keys.check("10.0.0.2", KIND, blob())
    keys.check("10.0.0.3", KIND, blob())

    assert file.read_text().split("\n")[:6] == lines
    assert len(keys) == 3


def test_a_line_cut_off_by_a_crash_spoils_no_other(file):
    file.parent.mkdir()
    file.write_bytes(b"10.0.0.1 ssh-ed2")
    keys = HostKeys(file, "accept-new")
    keys.check("10.0.0.1", KIND, blob())
    assert HostKeys(file, "accept-new").types("10.0.0.1") == [KIND]


def learn(file, start, first):
    start.wait(10)
    keys = HostKeys(file, "accept-new")
    for number in range(first, first + 60):
        keys.check(f"10.0.0.{number}", KIND, blob(str(number)))


def test_processes_and_threads_add_to_one_file_without_losing_or_doubling_a_line(file):
    context = multiprocessing.get_context("spawn")
    start = context.Event()
    workers = [context.Process(target=learn, args=(file, start, first)) for first in (0, 30, 60)]
    for worker in workers:
        worker.start()
    start.set()
    keys = HostKeys(file, "accept-new")
    threads = [
        threading.Thread(
            target=lambda i=i: [keys.check(f"10.0.0.{n}", KIND, blob(str(n))) for n in range(i, 120)]
        )
        for i in range(4)
    ]
    for thread in threads:
        thread.start()
    for worker in workers:
        worker.join(30)
    for thread in threads:
        thread.join(30)

    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    lines = file.read_text().splitlines()
    assert sorted(line.split()[0] for line in lines) == sorted(f"10.0.0.{n}" for n in range(120))


def test_a_lock_that_is_never_given_back_costs_a_bounded_time(file, monkeypatch):
    monkeypatch.setattr(hostkeys, "LOCK_TIMEOUT", 0.2)
    keys = HostKeys(file, "accept-new")
    with open(f"{file}.lock", "ab") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        started = time.monotonic()
        failure = reason(keys.check, "10.0.0.1", KIND, blob())
    assert failure.reason == "local error"
    assert "known_hosts.lock" in failure.detail
    assert time.monotonic() - started < 2


def test_a_store_that_cannot_be_used_says_so_before_anything_else(tmp_path):
    (tmp_path / "state").write_text("a file where the folder should be")
    with pytest.raises(PermissionNeeded, match="state/known_hosts: .*choose another"):
        HostKeys(tmp_path / "state" / "known_hosts", "accept-new")


def test_fifty_thousand_lines_are_read_in_a_moment(file):
    file.parent.mkdir()
    key = base64.b64encode(blob()).decode()
    file.write_text("".join(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255} {KIND} {key}\n" for n in range(50_000)))
    started = time.process_time()
    assert len(HostKeys(file, "accept-new")) == 50_000
    assert time.process_time() - started < 1.0
    assert os.path.getsize(file) > 4_000_000
