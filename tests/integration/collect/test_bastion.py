"""Machines behind bastions: real sshd before real sshd, and bastions that are down, deaf, frozen or false."""

import os
import signal
import socket
import threading
import time
from contextlib import closing

import psutil
import pytest

from labmon.collect.deadline import Deadline
from labmon.collect.failures import HostFailed
from labmon.collect.hostkeys.pins import Pins
from labmon.collect.hostkeys.policy import FILE
from labmon.collect.once import Target
from labmon.collect.ssh.connector import Connector
from labmon.config.tables import CollectConfig
from labmon.config.units import Seconds
from tests.integration.collect.conftest import through
from tests.integration.collect.test_hostile import silent
from tests.support.clock import clock


def logins(server):
    return server.log.count("Accepted publickey")


def test_one_connection_to_the_bastion_serves_all_behind_it(sshd, bastion, measure, no_leaks):
    """MaxSessions 1 is no bound on forwarding."""
    results = measure(sshd, *sshd.addresses, deadline=20, **through(sshd, bastion))
    assert [str(result.failure) for result in results if result.failure] == []
    assert len(results) == 16
    assert logins(bastion) == 1


@pytest.fixture
def two_bastions(bastions):
    return bastions(), bastions()


def test_bastions_behind_bastions(sshd, two_bastions, measure, no_leaks):
    first, second = two_bastions
    results = measure(sshd, "127.0.0.1", "127.0.0.2", **through(sshd, first, second))
    assert [str(result.failure) for result in results if result.failure] == []
    assert logins(first) == logins(second) == 1


def test_the_ssh_config_may_know_the_way(sshd, bastions, measure, tmp_path):
    gate = bastions()
    file = tmp_path / "ssh_config"
    file.touch(mode=0o600)
    file.write_text(
        f"Host gate\n HostName 127.0.0.30\n Port {gate.port}\n User {gate.user}\n"
        f" IdentityFile {gate.key_file}\n"
        f"Host 127.0.0.2\n ProxyJump gate\nHost 127.*\n User {sshd.user}\n IdentityFile {sshd.key_file}\n"
        "Match exec false\n User nobody\n"
    )
    results = measure(sshd, "127.0.0.1", "127.0.0.2", user="", key_files=[], ssh_config=str(file))
    assert [str(result.failure) for result in results if result.failure] == []
    assert logins(gate) == 1


def test_a_proxy_command_is_not_run_and_said(sshd, measure, tmp_path):
    file = tmp_path / "ssh_config"
    file.touch(mode=0o600)
    file.write_text(f"Host *\n ProxyCommand touch {tmp_path}/ran\n")
    [result] = measure(sshd, ssh_config=str(file))
    assert str(result.failure).startswith(f"local error: {file}: ProxyCommand is never run. Write it as")
    assert not (tmp_path / "ran").exists()


def check_all_fail_fast(results, words, seconds, stalled):
    assert {result.failure.reason for result in results} == {"unreachable"}
    for result in results:
        assert words in result.failure.detail, result.failure
    assert max(result.seconds for result in results) < seconds + stalled()


def test_a_bastion_that_is_down(sshd, measure, no_leaks, stalled):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        began = clock()
        results = measure(sshd, *["127.0.0.1"] * 30, concurrency=5, proxy_jump=f"127.0.0.1:{port}")
    check_all_fail_fast(results, f"bastion 127.0.0.1:{port}: refused: nothing listens", 1, stalled)
    assert clock() - began < 2


def test_a_bastion_that_swallows_packets_costs_one_wait_for_all(sshd, measure, black_hole, no_leaks, stalled):
    began = clock()
    results = measure(
        sshd, *["127.0.0.1"] * 40, concurrency=5, deadline=4, proxy_jump=f"127.0.0.1:{black_hole}"
    )
    check_all_fail_fast(results, "timed out: after 2 s", 3, stalled)
    assert clock() - began < 4


def test_a_bastion_without_a_banner(sshd, measure, hostile, no_leaks, stalled):
    port = hostile(silent)
    results = measure(sshd, *["127.0.0.1"] * 10, deadline=2, proxy_jump=f"127.0.0.1:{port}")
    check_all_fail_fast(results, "timed out: after 1 s", 1.5, stalled)


def test_a_bastion_that_refuses_the_login(sshd, bastion, measure, no_leaks, stalled):
    results = measure(sshd, *["127.0.0.1"] * 3, **through(sshd, bastion, key_files=[str(sshd.key_file)]))
    check_all_fail_fast(results, "auth failed: as ", 3, stalled)
    assert bastion.log.count("Connection from") <= 1


def test_a_bastion_gets_no_password(sshd, bastions, measure, tmp_path):
    gate = bastions("PasswordAuthentication yes", "LogLevel VERBOSE")
    file = tmp_path / "password"
    file.touch(mode=0o600)
    file.write_text(sshd.PASSWORD)
    settings = through(sshd, gate, key_files=[], password_file=str(file))
    [result] = measure(sshd, **settings)
    assert "auth failed" in result.failure.detail
    assert "password" not in gate.log.lower().replace("passwordauthentication", "")


def test_a_bastion_with_another_host_key(sshd, bastion, measure, tmp_path, no_leaks, stalled):
    settings = through(sshd, bastion)
    assert measure(sshd, **settings)[0].failure is None
    bastion.stop()
    bastion.keygen("host_key")
    bastion.start()
    results = measure(sshd, *["127.0.0.1"] * 3, **settings)
    name = f"[127.0.0.30]:{bastion.port}"
    check_all_fail_fast(results, f"labmon systems trust '{name}'", 3, stalled)
    with closing(Pins(tmp_path / "state" / FILE)) as pins:
        assert [one.machine for one in pins.refused(unreported=True)] == [name]
        pins.trust(pins.refused())
    assert measure(sshd, **settings)[0].failure is None


def test_a_machine_behind_a_bastion_with_another_host_key(own_sshd, bastion, measure):
    settings = through(own_sshd, bastion)
    assert measure(own_sshd, **settings)[0].failure is None
    own_sshd.stop()
    own_sshd.keygen("host_key")
    own_sshd.start()
    assert measure(own_sshd, **settings)[0].failure.reason == "host key changed"


def test_a_bastion_that_may_not_forward(sshd, bastions, measure):
    [result] = measure(sshd, **through(sshd, bastions("AllowTcpForwarding no")))
    assert result.failure.reason == "unreachable"
    assert "AllowTcpForwarding" in result.failure.detail


def test_what_is_dead_behind_a_bastion_costs_the_others_nothing(
    sshd, bastion, measure, hostile, black_hole, tmp_path, no_leaks
):
    """Each fails by itself: refused, swallowed and silent ones, many at once on one connection."""
    from labmon.collect.once import collect

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        ports = [sshd.port, taken.getsockname()[1], black_hole, hostile(silent)]
        targets = [Target("127.0.0.1", ports[n % 4], n + 1) for n in range(24)]
        settings = CollectConfig(user=sshd.user, deadline=Seconds(6), **through(sshd, bastion))
        results = sorted(collect(targets, settings, state_dir=tmp_path), key=lambda one: one.target.system_id)
    reasons = [result.failure.reason if result.failure else "" for result in results]
    assert reasons == ["", "refused", "timed out", "timed out"] * 6
    assert max(result.seconds for result in results) < 6.5
    assert logins(bastion) == 1


@pytest.fixture
def access(sshd, bastion, tmp_path, monkeypatch):
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    settings = CollectConfig(user=sshd.user, deadline=Seconds(4), **through(sshd, bastion))
    with closing(Connector.load(settings, tmp_path / "state")) as access:
        yield access


def session(access, sshd, number=1, seconds=4.0):
    session = access.session(Target(f"127.0.0.{number}", sshd.port, number))
    session.open(Deadline.after(seconds))
    return session


def hello(session, seconds=4.0):
    return session.run("echo hello", b"", Deadline.after(seconds)).stdout


def test_a_bastion_that_was_lost_is_opened_again(sshd, bastion, access, no_leaks):
    one = session(access, sshd)
    assert hello(one) == b"hello\n"
    bastion.stop()
    with pytest.raises(HostFailed, match=r"unreachable: bastion .*ended|unreachable: bastion"):
        hello(one)
    one.close()
    bastion.start()
    with closing(session(access, sshd)) as again:
        assert hello(again) == b"hello\n"
    access.close()


def test_a_bastion_that_freezes_is_told_before_the_deadline_and_once_for_all(sshd, bastion, access, no_leaks):
    with closing(session(access, sshd)):
        time.sleep(1.1)  # past the time for which what it said last counts
        frozen = [psutil.Process(bastion.pid), *bastion.sessions()]
        for process in frozen:
            process.send_signal(signal.SIGSTOP)
        try:
            failures = []

            def attempt(number):
                began = clock()
                try:
                    session(access, sshd, number)
                except HostFailed as error:
                    failures.append((str(error), clock() - began))

            threads = [threading.Thread(target=attempt, args=(number,)) for number in range(2, 10)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(10)
        finally:
            for process in frozen:
                process.send_signal(signal.SIGCONT)
    assert len(failures) == 8
    for said, seconds in failures:
        assert said.startswith("unreachable: bastion ") and seconds < 3.5, (said, seconds)
    access.close()


def test_a_machine_that_answers_too_late_leaves_nothing_open_on_the_bastion(sshd, bastion, access, no_leaks):
    """The channel is opened after nobody wants it any more, and has to be closed."""
    with closing(session(access, sshd)):
        frozen = bastion.sessions()
        late = access.session(Target("127.0.0.2", sshd.port, 2))
        for process in frozen:
            process.send_signal(signal.SIGSTOP)
        with pytest.raises(HostFailed, match="timed out"):
            late.open(Deadline.after(0.5))
        late.close()
        for process in frozen:
            process.send_signal(signal.SIGCONT)

        def behind():
            found = psutil.net_connections("tcp")
            ours = {process.pid for process in bastion.sessions()}
            return [one for one in found if one.pid in ours and one.raddr and one.raddr.port == sshd.port]

        until = time.monotonic() + 5
        while len(behind()) != 1 and time.monotonic() < until:
            time.sleep(0.05)
        assert len(behind()) == 1
    access.close()


def test_a_hanging_machine_that_is_given_up_is_let_go_by_the_bastion(
    sshd, bastion, access, hostile, no_leaks
):
    port = hostile(silent)
    with closing(session(access, sshd)):
        hanging = access.session(Target("127.0.0.1", port, 2))
        timer = threading.Timer(0.5, hanging.abort)
        timer.start()
        with pytest.raises(HostFailed, match="timed out"):
            hanging.open(Deadline.after(4))
        hanging.close()
        until = time.monotonic() + 5

        def there():
            return [one for one in psutil.net_connections("tcp") if one.raddr and one.raddr.port == port]

        while [one for one in there() if one.pid != os.getpid()] and time.monotonic() < until:
            time.sleep(0.05)
        assert [one for one in there() if one.pid not in (os.getpid(), None)] == []
        timer.join()
    access.close()


def test_sessions_that_come_and_go_leave_the_others_alone(sshd, bastion, access, no_leaks):
    """What is sent for a channel that was closed a moment ago would end them all."""
    failed = []

    def come_and_go(number):
        for _ in range(6):
            try:
                with closing(session(access, sshd, number)) as one:
                    assert hello(one) == b"hello\n"
            except Exception as error:
                failed.append(error)

    threads = [threading.Thread(target=come_and_go, args=(number,)) for number in range(1, 11)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    assert logins(bastion) == 1
    access.close()
