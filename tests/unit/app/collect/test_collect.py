import subprocess
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from labmon.app.collect.collect import CollectRun, _taken, held
from labmon.app.fleet import Selection
from labmon.collect.failures import Failure
from labmon.collect.hostkeys.pins import Pins
from labmon.collect.hostkeys.policy import pin_of
from labmon.collect.once import Result, Target
from labmon.config.tables import CollectConfig
from labmon.errors import AlreadyRunning
from labmon.fleet import Fleet, Machine
from labmon.messages import Readings, SystemStatus
from labmon.sinks.spool.spool import SpoolError

FLEET = Fleet(
    read_at=datetime(2026, 3, 2, 9, tzinfo=UTC),
    machines=[Machine(address=f"10.0.0.{n}", system_id=n, dept_id=1, lab_id=n + 10) for n in (1, 2, 3)],
)
OFF = Failure("refused", "nothing listens")


class Sink:
    rejected = spooled = 0

    def __init__(self):
        self.sent = []

    def send(self, message, *, dept=None, lab=None, database=""):
        self.sent.append((message, dept, lab))


@pytest.fixture
def new_run(tmp_path, monkeypatch):
    """new_run(**settings) -> a run over all machines, on the files of the last one."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    make_key(tmp_path / "key")
    (tmp_path / "ssh_config").write_text("")
    (tmp_path / "ssh_config").chmod(0o600)
    with ExitStack() as stack:

        def make(**settings):
            settings = {
                "key_files": [str(tmp_path / "key")],
                "ssh_config": str(tmp_path / "ssh_config"),
                "allow": ["10.0.0.0/8"],
                **settings,
            }
            made = CollectRun(CollectConfig(**settings), tmp_path, Selection(everything=True))
            return stack.enter_context(closing(made))

        yield make


def make_key(path):
    path.unlink(missing_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)


def test_a_result_goes_to_the_sink_with_its_place_and_a_failure_as_a_status(new_run):
    run, sink = new_run(), Sink()
    run.update(FLEET)
    now = datetime.now(UTC)
    run.take(Result(Target("10.0.0.1", 22, 1), Readings(load1=1.0), now, None, 1.0), sink)
    run.take(Result(Target("10.0.0.3", 22, 3), None, None, OFF, 1.0), sink)
    assert [(message.system_id, dept, lab) for message, dept, lab in sink.sent] == [(1, 1, 11), (3, 1, 13)]
    assert isinstance(sink.sent[1][0], SystemStatus)


def test_an_error_that_nobody_foresaw_while_sending_is_that_machines_failure(new_run, caplog):
    # findings A5
    run, sink = new_run(), Sink()
    run.update(FLEET)
    result = Result(Target("10.0.0.1", 22, 1), Readings(load1=1.0), datetime.now(UTC), None, 1.0)
    for error in (
        OverflowError("int too big"),
        ValueError("no"),
        UnicodeEncodeError("utf-8", "x", 0, 1, "no"),
    ):
        sink.send = raises(error)
        failed = run.take(result, sink)
        assert (failed.failure.reason, failed.message) == ("local error", None)
        assert "a bug, met at 10.0.0.1" in caplog.text
    no_moment = replace(result, collected_at=datetime(1, 1, 1, tzinfo=UTC))
    assert run.take(no_moment, Sink()).failure.reason == "local error"
    assert run.take(result, Sink()) is result


def test_a_sink_that_takes_nothing_from_anyone_is_no_machines_fault(new_run):
    run, sink = new_run(), Sink()
    run.update(FLEET)
    sink.send = raises(SpoolError("the disk is full"))
    result = Result(Target("10.0.0.1", 22, 1), Readings(load1=1.0), datetime.now(UTC), None, 1.0)
    with pytest.raises(SpoolError):
        run.take(result, sink)
    sink.flush = raises(SpoolError("the disk is full"))
    taken = _taken(run, iter([result, result]), sink)
    assert [next(taken), next(taken)] == [result, result]  # measured and shown all the same
    with pytest.raises(SpoolError):
        next(taken)


def raises(error):
    def call(*_, **__):
        raise error

    return call


CHANGES = {
    "account": lambda folder: {"user": "monitor"},
    "port": lambda folder: {"port": 2222},
    "bastion": lambda folder: {"proxy_jump": "gate"},
    "password": lambda folder: {"password": "x"},
    "allowed networks": lambda folder: {"allow": ["192.168.0.0/16"]},
    "policy of host keys": lambda folder: {"host_keys": "strict"},
    "key file": lambda folder: make_key(folder / "key"),
    "ssh_config: account": lambda folder: write(folder, "User bob"),
    "ssh_config: port": lambda folder: write(folder, "Host 10.*\n Port 2222"),
    "ssh_config: bastion": lambda folder: write(folder, "ProxyJump gate"),
    "ssh_config: alias": lambda folder: write(folder, "HostKeyAlias pc"),
    "ssh_config: cannot be followed": lambda folder: write(folder, "ProxyCommand nc"),
    "pin": lambda folder: pinned(folder),
    "next key expected": lambda folder: pinned(folder, expect=True),
}


def write(folder, text):
    (folder / "ssh_config").write_text(text + "\n")


def pinned(folder, *, expect=False):
    with closing(Pins(folder / "host_keys.sqlite")) as pins:
        for number in (1, 2, 3):
            name = pin_of(number, FLEET.inventory)
            pins.expect([name]) if expect else pins.learn(name, ("ssh-ed25519", b"key"))


# findings A16
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_in_what_the_connection_is_made_of_ends_the_backoff(new_run, tmp_path, change):
    fail_all(new_run())
    again = new_run()
    assert (again.update(FLEET).now, again.due().later) == ([], 3)
    settings = CHANGES[change](tmp_path) or {}
    assert len(new_run(**settings).update(FLEET).now) == 3
    fail_all(new_run(**settings))
    assert new_run(**settings).update(FLEET).now == []


def fail_all(run):
    run.update(FLEET)
    for number in (1, 2, 3):
        target = Target.of(FLEET.machines[number - 1], run._settings.port, FLEET.inventory)
        run.take(Result(target, None, None, OFF, 1.0), Sink())
    run.retries.save()


@pytest.mark.parametrize("line", ["User eve", "IdentityFile ~/other", "Port 2200", "HostKeyAlias pc"])
def test_what_the_ssh_config_says_of_a_bastion_is_of_the_connection(new_run, tmp_path, line):  # findings A16
    make_key(tmp_path / "other")
    behind = "Host 10.*\n ProxyJump gate\nHost gate\n "
    settings = {"key_files": [], "password": "x"}
    write(tmp_path, behind)
    fail_all(new_run(**settings))
    assert new_run(**settings).update(FLEET).now == []
    write(tmp_path, behind + line)
    assert len(new_run(**settings).update(FLEET).now) == 3


def test_known_hosts_count_anew_for_a_machine_whose_key_was_refused(new_run, tmp_path):  # findings A16
    known = tmp_path / "known_hosts_of_mine"
    settings = {"known_hosts": [str(known)], "host_keys": "strict"}
    fail_all(new_run(**settings))
    known.write_text("10.0.0.1 ssh-ed25519 AAAA\n")
    assert new_run(**settings).update(FLEET).now == []  # its file says nothing about a machine that is off
    with closing(Pins(tmp_path / "host_keys.sqlite")) as pins:
        pins.refuse(pin_of(2, FLEET.inventory), ("ssh-ed25519", b"key"), "10.0.0.2", changed=False)
    fail_all(new_run(**settings))
    assert new_run(**settings).update(FLEET).now == []
    known.write_text("10.0.0.2 ssh-ed25519 AAAA\n10.0.0.3 ssh-ed25519 AAAA\n")
    assert [one.system_id for one in new_run(**settings).update(FLEET).now] == [2]


def test_the_account_that_let_labmon_in_is_used_and_named_where_another_is_refused(new_run):
    # findings A16
    denied = Failure("auth failed", "no key")
    target = Target.of(FLEET.machines[0], 22, FLEET.inventory)
    run = new_run(user="monitor")
    machine = run.connector.plan(target).machine
    run.connector._host_keys.remember_account(machine, "monitor")
    without = new_run()
    assert without.connector.plan(target).login.user == "monitor"
    other = new_run(user="root")
    for one, name in ((without, None), (run, None), (other, "monitor")):
        one.update(FLEET)
        one.take(Result(target, None, None, denied, 1.0), Sink())
        one.take(Result(target, None, None, OFF, 1.0), Sink())
        assert one.other_accounts == ({name: 1} if name else {})
    assert new_run(user="root", host_keys="off").connector.other_account(target) is None


def test_a_machine_that_failed_is_left_out_and_comes_first_when_all_are_wanted(new_run):
    run = new_run()
    run.update(FLEET)
    run.take(Result(Target("10.0.0.3", 22, 3), None, None, OFF, 1.0), Sink())
    assert [target.system_id for target in run.targets(run.due())] == [1, 2]
    due = run.update(FLEET, retry=True)
    assert [target.system_id for target in run.targets(due)] == [3, 1, 2]


def test_two_runs_over_the_same_machines_are_one_too_many(tmp_path):
    everyone, lab = Selection(everything=True), Selection(dept=1)
    with held(tmp_path, everyone, FLEET.machines):
        with pytest.raises(AlreadyRunning, match="measured already: process"):
            with held(tmp_path, lab, FLEET.machines[:1]):
                pass
        with held(tmp_path, Selection(systems=(1,)), FLEET.machines[:1]):
            pass
    with held(tmp_path, lab, FLEET.machines[:2]), held(tmp_path, lab, FLEET.machines[2:]):
        pass
