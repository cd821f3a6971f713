"""Whatever a machine does, it costs no more than its deadline, and nobody else anything."""

import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time

import paramiko
import pytest

from labmon.collect import once
from labmon.collect.once import Target, collect
from labmon.collect.pool import workers
from labmon.collect.ssh.session import Session
from labmon.config.tables import CollectConfig
from labmon.config.units import Seconds
from tests.support.clock import clock

DEADLINE = 1.0


def silent(connection, stopped):
    stopped.wait(30)


def hangs_up(connection, stopped):
    pass


def resets(connection, stopped):
    connection.recv(1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def web(connection, stopped):
    connection.recv(1000)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nServer: \x1b[31mnginx\r\n\r\n")


def mail(connection, stopped):
    connection.sendall(b"220 mail.example.edu ESMTP\r\n")
    stopped.wait(30)


def drips(connection, stopped):
    while not stopped.wait(0.05):
        connection.sendall(b"S")


def endless_line(connection, stopped):
    while not stopped.is_set():
        connection.sendall(b"x" * 65536)


def endless_lines(connection, stopped):
    while not stopped.is_set():
        connection.sendall(b"hello\r\n" * 1000)


def old(connection, stopped):
    connection.sendall(b"SSH-1.5-OpenSSH_1.0\r\n")
    stopped.wait(30)


def nonsense(connection, stopped):
    connection.sendall(b"SSH-what\r\n")
    stopped.wait(30)


def stops_after_the_version(connection, stopped):
    connection.sendall(b"SSH-2.0-Hostile\r\n")
    stopped.wait(30)


def huge_packet(connection, stopped):
    connection.sendall(b"SSH-2.0-Hostile\r\n\x7f\xff\xff\xf4\x04")
    while not stopped.is_set():
        connection.sendall(b"x" * 65536)


def garbage(connection, stopped):
    connection.sendall(b"SSH-2.0-Hostile\r\n" + os.urandom(20_000))
    stopped.wait(30)


def chatters(connection, stopped):
    """Packets that mean nothing (SSH_MSG_IGNORE), for ever."""
    connection.sendall(b"SSH-2.0-Hostile\r\n")
    while not stopped.is_set():
        connection.sendall(b"\0\0\0\x0c\x06\x02\0\0\0\0" + b"\0" * 6)


def debugs(connection, stopped):
    """Large packets of SSH_MSG_DEBUG."""
    connection.sendall(b"SSH-2.0-Hostile\r\n")
    text = b"\0" + (60_000).to_bytes(4, "big") + b"x" * 60_000 + b"\0\0\0\0"
    payload = b"\x04" + text
    padding = 8 - (len(payload) + 5) % 8 + 8
    packet = (len(payload) + 1 + padding).to_bytes(4, "big") + bytes([padding]) + payload + b"\0" * padding
    while not stopped.is_set():
        connection.sendall(packet)


def asks_for_keys_again(connection, stopped):
    """Packets that are no answer to anything (SSH_MSG_UNIMPLEMENTED), for ever."""
    connection.sendall(b"SSH-2.0-Hostile\r\n")
    while not stopped.is_set():
        connection.sendall(b"\0\0\0\x0c\x06\x03\0\0\0\0" + b"\0" * 6)


@pytest.mark.parametrize(
    "behave, reason, words",
    [
        (silent, "timed out", "waiting for its banner"),
        (hangs_up, "connection lost", "without a word|Connection reset by peer"),
        (resets, "connection lost", "waiting for its banner: Connection reset by peer"),
        (web, "no ssh", "HTTP/1.1 400 Bad Request"),
        (mail, "no ssh|timed out", "220 mail.example.edu|waiting for its banner"),
        (drips, "timed out", "waiting for its banner"),
        (endless_line, "no ssh", "xxxx"),
        (endless_lines, "no ssh", "hello"),
        (old, "no ssh", "1.5"),
        (nonsense, "no ssh", "banner"),
        (stops_after_the_version, "timed out", "exchanging keys"),
        (huge_packet, "no ssh", "a packet of"),
        (garbage, "no ssh|connection lost|timed out", ""),
        (chatters, "no ssh", "packets of 1204 bytes before any login"),
        (debugs, "no ssh", "bytes before any login"),
        (asks_for_keys_again, "no ssh|connection lost", ""),
    ],
)
def test_a_port_that_speaks_no_proper_ssh(sshd, measure, hostile, no_leaks, stalled, behave, reason, words):
    [result] = measure(sshd, port=hostile(behave), deadline=DEADLINE)
    assert result.failure.reason in reason.split("|")
    assert any(word in result.failure.detail for word in words.split("|"))
    assert "\x1b" not in result.failure.detail
    assert result.seconds < DEADLINE + 0.3 + stalled()


@pytest.mark.parametrize("behave", [chatters, debugs, asks_for_keys_again])
def test_a_flood_before_any_login_costs_next_to_nothing(
    sshd, measure, hostile, no_leaks, stalled, behave
):  # findings D11
    port = hostile(behave)
    measure(sshd, port=port, deadline=10)  # what is loaded once is loaded
    began, cpu = clock(), time.thread_time()
    [result] = measure(sshd, port=port, deadline=10)
    assert result.failure.reason in ("no ssh", "connection lost")
    assert result.seconds < 5 + stalled() and clock() - began < 5
    assert time.thread_time() - cpu < 2


def test_a_mail_server_is_recognised_before_a_long_deadline(sshd, measure, hostile, stalled):
    [result] = measure(sshd, port=hostile(mail), deadline=20)
    assert result.failure.reason == "no ssh"
    assert "220 mail.example.edu ESMTP" in result.failure.detail
    assert result.seconds < 5 + stalled()


def test_a_port_where_nobody_listens(sshd, measure, no_leaks, stalled):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        [result] = measure(sshd, port=taken.getsockname()[1])
    assert result.failure.reason == "refused"
    assert result.seconds < 1 + stalled()


def test_packets_that_are_swallowed(sshd, measure, black_hole, no_leaks, stalled):
    [result] = measure(sshd, port=black_hole, deadline=DEADLINE)
    assert str(result.failure) == "timed out: after 1 s, connecting"
    assert result.seconds < DEADLINE + 0.3 + stalled()


def test_an_address_without_a_way(sshd, measure):
    # A broadcast address: refused by the kernel of this machine, so that nothing leaves it.
    [result] = measure(sshd, "127.255.255.255", deadline=DEADLINE)
    assert result.failure.reason == "unreachable"


class Hang(paramiko.ServerInterface):
    """A real SSH server that stops answering at one point."""

    def __init__(self, where, stopped):
        self.where, self.stopped = where, stopped

    def hang_at(self, here):
        if self.where == here:
            self.stopped.wait(30)

    def get_allowed_auths(self, username):
        return "publickey"

    def check_auth_publickey(self, username, key):
        self.hang_at("logging in")
        return paramiko.AUTH_SUCCESSFUL

    def check_channel_request(self, kind, chanid):
        self.hang_at("opening the session")
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel, command):
        self.hang_at("exec")
        return self.where != "refusing exec"


@pytest.fixture
def hanging(sshd, hostile):
    def make(where):
        host_key = paramiko.Ed25519Key.from_private_key_file(str(sshd.host_key))

        def behave(connection, stopped):
            transport = paramiko.Transport(connection)
            transport.add_server_key(host_key)
            transport.start_server(event=threading.Event(), server=Hang(where, stopped))
            stopped.wait(30)
            transport.close()

        return hostile(behave)

    return make


def test_a_flood_after_the_login_is_bounded_too(sshd, measure, hostile):  # findings D11
    """Any server may let us in, and then send what means nothing, for ever."""
    host_key = paramiko.Ed25519Key.from_private_key_file(str(sshd.host_key))

    def behave(connection, stopped):
        transport = paramiko.Transport(connection)
        transport.add_server_key(host_key)
        transport.start_server(event=threading.Event(), server=Hang("running", stopped))
        while not stopped.is_set() and transport.is_active():
            if transport.is_authenticated():
                with contextlib.suppress(EOFError):  # the client had enough
                    transport.send_ignore(10)
            else:
                stopped.wait(0.01)
        transport.close()

    [result] = measure(sshd, port=hostile(behave), deadline=20)
    assert result.failure.reason in ("connection lost", "no ssh")
    assert "packets without any use" in result.failure.detail
    assert result.seconds < 15


@pytest.mark.parametrize(
    "where, phase",
    [
        ("logging in", "logging in"),
        ("opening the session", "starting the probe"),
        ("exec", "starting the probe"),
        ("running", "running the probe"),
    ],
)
def test_a_server_that_stops_answering(sshd, measure, hanging, stalled, where, phase):
    [result] = measure(sshd, port=hanging(where), deadline=DEADLINE)
    assert str(result.failure) == f"timed out: after 1 s, {phase}"
    assert result.seconds < DEADLINE + 0.3 + stalled()


def test_a_server_that_will_not_run_anything(sshd, measure, hanging, stalled):
    [result] = measure(sshd, port=hanging("refusing exec"), deadline=5)
    assert result.failure.reason == "probe failed"
    assert result.seconds < 2 + stalled()


def test_hanging_machines_delay_no_other(sshd, measure, hostile, black_hole, tmp_path, no_leaks):
    dead = [hostile(silent), black_hole]
    targets = [Target("127.0.0.1", sshd.port, 100 + n) for n in range(8)]
    for n in range(40):
        targets.insert(n * 2 % len(targets), Target("127.0.0.1", dead[n % 2], n + 1))
    settings = CollectConfig(
        key_files=[str(sshd.key_file)], user=sshd.user, concurrency=64, deadline=Seconds(5)
    )
    started = time.monotonic()
    done = {True: [], False: []}
    for result in collect(targets, settings, state_dir=tmp_path):
        done[result.failure is None].append(time.monotonic() - started)
    assert len(done[True]) == 8
    assert len(done[False]) == 40
    assert max(done[True]) < 4.5
    assert max(done[False]) < 5.5


def test_black_holes_give_their_places_up_long_before_their_deadline(sshd, black_hole, tmp_path, no_leaks):
    """Forty of them, four at a time, would keep one another and the live ones waiting for 30 s."""
    targets = [Target("127.0.0.1", black_hole, n + 1) for n in range(40)]
    targets += [Target("127.0.0.1", sshd.port, 100 + n) for n in range(4)]
    settings = CollectConfig(
        key_files=[str(sshd.key_file)], user=sshd.user, concurrency=4, deadline=Seconds(3)
    )
    started = time.monotonic()
    done = {True: [], False: []}
    for result in collect(targets, settings, state_dir=tmp_path):
        done[result.failure is None].append(time.monotonic() - started)
    assert (len(done[True]), len(done[False])) == (4, 40)
    assert max(done[False]) < 40 / 4 * workers.CONNECT_TIMEOUT + 3 + 1.5
    assert max(done[True]) < 40 / 4 * workers.CONNECT_TIMEOUT + 3


def test_machines_that_hang_later_on_give_their_places_up_too(sshd, measure, hanging, monkeypatch, tmp_path):
    monkeypatch.setattr(workers, "MEASURE_TIMEOUT", 0.4)
    targets = [Target("127.0.0.1", hanging("running"), n + 1) for n in range(3)]
    targets += [Target("127.0.0.1", sshd.port, 9)]
    settings = CollectConfig(
        key_files=[str(sshd.key_file)], user=sshd.user, concurrency=1, deadline=Seconds(5)
    )
    first = next(results := collect(targets, settings, state_dir=tmp_path))
    assert (first.target.system_id, first.failure) == (9, None)
    assert [str(result.failure) for result in results] == ["timed out: after 5 s, running the probe"] * 3


def test_as_many_threads_as_may_be_and_no_more(hostile, sshd, tmp_path, monkeypatch):
    monkeypatch.setattr(once, "room_for", lambda wanted, least: 5)
    monkeypatch.setattr(workers, "CONNECT_TIMEOUT", 0.05)
    monkeypatch.setattr(workers, "MEASURE_TIMEOUT", 0.1)
    port, most = hostile(silent), 0
    settings = CollectConfig(
        key_files=[str(sshd.key_file)], user=sshd.user, concurrency=2, deadline=Seconds(1)
    )
    for _ in collect([Target("127.0.0.1", port)] * 12, settings, state_dir=tmp_path):
        most = max(most, sum(thread.name == "labmon-collect" for thread in threading.enumerate()))
    assert 3 <= most <= 6  # one may be on its way out


def test_more_hanging_machines_than_places_pass_one_after_another(sshd, measure, hostile, stalled):
    silent_port = hostile(silent)
    settings = dict(concurrency=2, deadline=0.5)
    started = time.monotonic()
    results = measure(sshd, *["127.0.0.1"] * 8, port=silent_port, **settings)
    assert [result.failure.reason for result in results] == ["timed out"] * 8
    assert 2.0 <= time.monotonic() - started < 3.0 + stalled()


def test_a_thread_that_cannot_be_ended_delays_nobody(sshd, measure, monkeypatch):
    """What no watchdog can end, such as a library that never returns, costs its own machine only."""
    stuck = threading.Event()
    really_open = Session.open

    def open_or_hang(session, *arguments):
        if session.address == "127.0.0.2":
            stuck.wait(20)
        really_open(session, *arguments)

    monkeypatch.setattr(Session, "open", open_or_hang)
    addresses = [f"127.0.0.{n}" for n in range(1, 5)]
    try:
        results = measure(sshd, *addresses, concurrency=1, deadline=3)
    finally:
        stuck.set()
    assert [result.failure and result.failure.reason for result in results] == [None, "timed out", None, None]


def test_a_bug_is_a_result_too_and_is_logged(sshd, measure, monkeypatch, caplog):
    monkeypatch.setattr(once, "parse", lambda *_: 1 / 0)
    [result] = measure(sshd)
    assert result.failure.reason == "local error"
    assert "ZeroDivisionError" in result.failure.detail
    assert "Traceback" in caplog.text


def test_no_file_descriptors_left_is_told_as_ours(sshd, measure, monkeypatch):
    monkeypatch.setattr(once, "room_for", lambda wanted, least: wanted)  # or it would get itself more
    measure(sshd)  # whatever is opened once is open now
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
        with contextlib.suppress(OSError):
            while True:
                held.append(os.dup(0))
        for fd in held[-3:]:
            os.close(held.pop(held.index(fd)))
        results = measure(sshd, *["127.0.0.1"] * 20)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in held:
            os.close(fd)
    assert {result.failure.reason for result in results if result.failure} == {"local error"}
    assert len(results) == 20


def test_setting_stop_ends_the_run_at_once(sshd, hostile, tmp_path, no_leaks):
    settings = CollectConfig(
        key_files=[str(sshd.key_file)], user=sshd.user, deadline=Seconds(20), concurrency=3
    )
    stop = threading.Event()
    timer = threading.Timer(0.5, stop.set)
    timer.start()
    started = clock()
    targets = [Target("127.0.0.1", hostile(silent))] * 10
    assert list(collect(targets, settings, state_dir=tmp_path, stop=stop)) == []
    assert clock() - started < 1.0
    timer.join()


def test_leaving_the_results_ends_the_run_too(sshd, hostile, tmp_path, no_leaks):
    settings = CollectConfig(key_files=[str(sshd.key_file)], user=sshd.user, deadline=Seconds(20))
    targets = [Target("127.0.0.1", hostile(silent))] * 5 + [Target("127.0.0.1", sshd.port)]
    results = collect(targets, settings, state_dir=tmp_path)
    assert next(results).failure is None
    started = clock()
    results.close()
    assert clock() - started < 1.0


SCRIPT = """
import sys
from pathlib import Path
from labmon.collect.once import Target, collect
from labmon.config.tables import CollectConfig
from labmon.config.units import Seconds
key, port, state = sys.argv[1:]
settings = CollectConfig(key_files=[key], deadline=Seconds(30))
print("ready", flush=True)
for result in collect([Target("127.0.0.1", int(port))] * 5, settings, state_dir=Path(state)):
    print(result)
"""


def test_control_c_ends_the_process_promptly_and_quietly(sshd, hostile, tmp_path):
    port = hostile(stops_after_the_version)
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, sshd.key_file, str(port), tmp_path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "ready\n"
        time.sleep(1.0)
        started = clock()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
    finally:
        process.kill()
        process.wait()
    assert clock() - started < 2.0
    assert err.strip().endswith("KeyboardInterrupt")
    assert err.count("Traceback") == 1
    assert out == ""
