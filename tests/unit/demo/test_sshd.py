import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from labmon.collect.once import Target, collect
from labmon.collect.probe.script import COMMAND, END, NEXT, SCRIPT, request
from labmon.config.tables import CollectConfig
from labmon.config.units import Seconds
from labmon.demo.sshd import DemoServer
from labmon.errors import UsageError
from tests.support.clock import clock

ADDRESSES = [f"127.0.0.{n}" for n in range(1, 13)]


@pytest.fixture
def server(tmp_path):
    with DemoServer(ADDRESSES, key_file=tmp_path / "key") as server:
        yield server


@pytest.fixture
def client(server, tmp_path):
    """The words that start OpenSSH's client: client(command, options)."""

    def make(command, options=(), key=None):
        words = [
            "ssh",
            "-F",
            "none",
            "-i",
            key or server.key_file,
            "-p",
            str(server.port),
            "-o",
            "BatchMode=yes",
        ]
        words += ["-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={tmp_path}/known"]
        words += ["-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR", *options, "127.0.0.1", *command]
        return ["env", "SSH_AUTH_SOCK=", *words]

    return make


@pytest.fixture
def ssh(client):
    """ssh(command, stdin, options) as OpenSSH's client does it."""

    def run(command, stdin=b"", options=(), key=None):
        return subprocess.run(client(command, options, key), input=stdin, capture_output=True, timeout=20)

    return run


def block(stream):
    """What is printed up to the end of a round."""
    output = b""
    while not output.endswith(END) and (more := stream.read(1)):
        output += more
    return output


def test_it_is_measured_like_a_lab(server, tmp_path):
    settings = CollectConfig(key_files=[str(server.key_file)], deadline=Seconds(20))
    targets = [Target(address, server.port, number) for number, address in enumerate(ADDRESSES * 3, 1)]
    results = list(collect(targets, settings, state_dir=tmp_path / "state"))
    assert [str(result.failure) for result in results if result.failure] == []
    assert len(results) == 36


def test_it_runs_the_probe_for_any_client(ssh):
    done = ssh([COMMAND], SCRIPT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(END)


def test_it_runs_the_probe_for_who_has_counters_already(ssh):
    boot_id = "d0e086e9-6b4c-48e2-91fb-18d2e85aa30f"
    command, script = request(since=boot_id)
    done = ssh([command], script)
    assert done.stdout.endswith(END), done.stderr


def test_it_runs_the_probe_that_stays_and_gives_it_nothing_but_next(client):
    command, script = request(loop=True)
    with subprocess.Popen(client([command]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as ssh:
        ssh.stdin.write(script)
        assert block(ssh.stdout).endswith(END)
        for _ in range(2):
            ssh.stdin.write(NEXT)
            assert block(ssh.stdout).endswith(END)
        ssh.stdin.write(b"id #\n" + NEXT)
        assert ssh.stdout.read() == b""


@pytest.mark.parametrize(
    "command, stdin",
    [
        ("id", b""),
        ("sh", b"id\n"),
        ("sh -s", b"id\n"),
        ("sh -s", SCRIPT + b"id\n"),
        ("sh -s", SCRIPT[:-1]),
        ("sh -s ", SCRIPT),
        ("sh -s; id", SCRIPT),
        ("sh -s since 1; id", SCRIPT),
        ("sh -s loop; id", SCRIPT),
        ("sh -s loop", b"id;" + SCRIPT),
    ],
)
def test_it_runs_nothing_else(ssh, command, stdin):
    done = ssh([command], stdin)
    assert done.returncode == 126
    assert done.stdout == b""
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    "options", [["-N", "-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:1"], ["-s"], ["-tt"]]
)
def test_it_forwards_nothing_and_has_no_shell_and_no_subsystem(ssh, options):
    done = ssh(["sftp"] if options == ["-s"] else [], options=options)
    assert done.returncode not in (0, 126)


def test_only_its_own_key_is_let_in(ssh, tmp_path):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    done = ssh([COMMAND], SCRIPT, key=tmp_path / "other")
    assert done.returncode == 255
    assert b"Permission denied" in done.stderr


def test_the_key_is_for_its_owner_and_goes_with_the_server(tmp_path):
    key_file = tmp_path / "key"
    key_file.write_text("of an earlier run")
    key_file.chmod(0o644)
    with DemoServer(["127.0.0.1"], key_file=key_file):
        assert key_file.stat().st_mode & 0o777 == 0o600
        first = key_file.read_text()
        assert "OPENSSH PRIVATE KEY" in first
    assert not key_file.exists()
    with DemoServer(["127.0.0.1"], key_file=key_file):
        assert key_file.read_text() != first


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "10.0.0.1", "localhost", "", "128.0.0.1"])
def test_no_address_but_loopback_is_listened_on(tmp_path, address):
    with pytest.raises(UsageError, match="not a loopback address"):
        DemoServer(["127.0.0.1", address], key_file=tmp_path / "key")


def test_a_port_that_is_taken_is_said_and_nothing_is_left_behind(tmp_path):
    with socket.create_server(("127.0.0.2", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {port}: Address already in use"):
            with DemoServer(["127.0.0.1", "127.0.0.2"], port, key_file=tmp_path / "key"):
                pass
    assert not (tmp_path / "key").exists()
    with DemoServer(["127.0.0.1", "127.0.0.2"], port, key_file=tmp_path / "key") as server:
        assert server.port == port


def test_leaving_ends_everything_at_once(tmp_path):
    threads = threading.active_count()
    with DemoServer(ADDRESSES, key_file=tmp_path / "key") as server:
        idle = [socket.create_connection((address, server.port)) for address in ADDRESSES]
        for connection in idle:
            connection.settimeout(5)
            assert connection.recv(4) == b"SSH-"
        settings = CollectConfig(key_files=[str(server.key_file)], deadline=Seconds(20))
        with ThreadPoolExecutor() as pool:
            found = pool.submit(
                lambda: list(collect([Target("127.0.0.1", server.port)], settings, state_dir=tmp_path))
            )
            until = time.monotonic() + 20
            while [one.name for one in threading.enumerate()].count("labmon-demo") <= len(idle):
                assert time.monotonic() < until, "it never came"
                time.sleep(0.01)
            time.sleep(0.5)  # it is in the middle of the probe
            started = clock()
            server.__exit__()
            took = clock() - started
            assert found.result()[0].failure.reason in ("connection lost", "probe failed", "output unusable")
    assert took < 1.0
    for connection in idle:
        connection.close()
    until = time.monotonic() + 3
    while threading.active_count() > threads and time.monotonic() < until:
        time.sleep(0.05)
    assert threading.active_count() <= threads
