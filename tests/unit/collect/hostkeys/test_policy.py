"""The policy, and the pins in their file."""

import base64
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, closing

import pytest

from labmon.collect.failures import HostFailed
from labmon.collect.hostkeys.pins import Pins
from labmon.collect.hostkeys.policy import (
    FILE,
    HostIdentity,
    HostKeys,
    check_file,
    fingerprint,
    pin_of,
    report_changes,
)
from labmon.errors import LabmonError, PermissionNeeded, StateDamaged
from tests.support.clock import clock
from tests.support.small_disk import small_disk
from tests.unit.collect.hostkeys.test_known_hosts import KIND, blob, hashed, line

PC1 = HostIdentity.of("10.0.0.1", 22, "pc1", system_id=1)


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def known(tmp_path):
    return tmp_path / "known_hosts"


@pytest.fixture
def keys(state, known):
    """keys(policy) -> the one who decides, with the user's file of known hosts beside it."""
    opened = []

    def make(policy="accept-new"):
        opened.append(HostKeys(state, policy, [known]))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def check(keys, machine, key="a", kind=KIND, asked=()):
    return list(keys.check(machine, (kind, blob(key)), asked).ask_for)


def refusal(keys, machine, key="a", kind=KIND, asked=(KIND, "ssh-rsa")):
    with pytest.raises(HostFailed) as caught:
        check(keys, machine, key, kind, asked)
    return caught.value.failure


def test_a_new_key_is_pinned_and_a_changed_one_refused(keys, state):
    assert check(keys(), PC1) == []
    assert check(keys(), PC1) == []

    failure = refusal(keys(), PC1, "b")

    assert failure.reason == "host key changed"
    assert fingerprint(blob("a")) in failure.detail and fingerprint(blob("b")) in failure.detail
    assert "labmon systems trust 1;" in failure.detail
    assert (state / FILE).stat().st_mode & 0o777 == 0o600
    assert state.stat().st_mode & 0o777 == 0o700


def test_the_pin_goes_with_the_system_wherever_it_moves(keys):
    keys = keys()
    check(keys, PC1, "a")
    check(keys, HostIdentity.of("10.0.0.2", 22, "pc2", system_id=2), "b")
    # DHCP has them swap their addresses.
    assert check(keys, HostIdentity.of("10.0.0.2", 22, "pc1", system_id=1), "a") == []
    assert check(keys, HostIdentity.of("10.0.0.1", 22, "pc2", system_id=2), "b") == []
    assert (
        refusal(keys, HostIdentity.of("10.0.0.1", 22, "pc2", system_id=2), "a").reason == "host key changed"
    )


def test_an_address_without_a_system_is_pinned_by_itself_and_its_port(keys):
    keys = keys()
    check(keys, HostIdentity.of("10.0.0.1", 22), "a")
    check(keys, HostIdentity.of("10.0.0.1", 2222), "b")
    failure = refusal(keys, HostIdentity.of("10.0.0.1", 2222), "a")
    assert "labmon systems trust '[10.0.0.1]:2222'" in failure.detail


def test_a_system_takes_over_the_pin_of_its_address_when_it_gets_a_number(keys, state):
    check(keys(), HostIdentity.of("10.0.0.1", 22), "a")
    assert refusal(keys(), PC1, "b").reason == "host key changed"
    assert check(keys(), PC1, "a") == []
    with closing(Pins(state / FILE)) as pins:
        assert pins.keys("10.0.0.1") == []
        assert pins.keys(PC1.pin) == [(KIND, blob("a"))]


def test_another_type_of_key_is_asked_for_before_it_counts_as_changed(keys):
    keys = keys()
    check(keys, PC1, kind="ssh-rsa")
    assert keys.types(PC1) == ["ssh-rsa"]
    assert check(keys, PC1, kind=KIND, asked=[]) == ["ssh-rsa"]
    assert refusal(keys, PC1, kind=KIND, asked=["ssh-rsa"]).reason == "host key changed"


@pytest.mark.parametrize("hide", [False, True])
@pytest.mark.parametrize("name", ["10.0.0.1", "pc1"])
def test_what_the_user_knows_counts_at_first_sight(keys, known, hide, name):
    known.write_text(line(name, "a") + line("another", "b"))
    if hide:
        hashed(known)
    assert refusal(keys("accept-new"), PC1, "b").reason == "host key changed"
    assert check(keys("strict"), PC1, "a") == []
    # From then on its pin decides, whatever becomes of the file.
    known.write_text(line(name, "b"))
    assert check(keys("strict"), PC1, "a") == []
    assert refusal(keys("strict"), PC1, "b").reason == "host key changed"


def test_a_key_known_without_its_port_counts_and_another_is_no_change(keys, known):
    """As for ssh, which looks for the bare name when it knows none with the port."""  # findings C9
    known.write_text(line("10.0.0.1", "a") + line("pc2", "b"))
    with_port = HostIdentity.of("10.0.0.1", 2299, "pc1", system_id=1)
    assert keys("strict").check(with_port, (KIND, blob("a"))).was_known
    assert check(keys("strict"), HostIdentity.of("10.0.0.2", 2299, "pc2", system_id=2), "b") == []
    # Another key, on another port, is not the machine's that the line is about.
    other = HostIdentity.of("10.0.0.1", 2300, system_id=3)
    assert refusal(keys("strict"), other, "c").reason == "host key unknown"
    assert check(keys("accept-new"), other, "c") == []


def test_a_name_with_another_port_does_not_count(keys, known):  # findings C9
    known.write_text(line("[10.0.0.1]:2222", "a"))
    for port in (22, 2299):
        machine = HostIdentity.of("10.0.0.1", port, system_id=port)
        assert refusal(keys("strict"), machine, "a").reason == "host key unknown"


def test_a_host_key_alias_is_the_only_name_and_has_no_port(keys, known):  # findings C9
    known.write_text(line("10.0.0.1", "old") + line("lab-1", "a") + line("[lab-1]:2299", "no"))
    machine = HostIdentity.of("10.0.0.1", 2299, "pc1", alias="lab-1", system_id=1)
    assert check(keys("strict"), machine, "a") == []
    other = HostIdentity.of("10.0.0.1", 22, "pc1", alias="lab-1", system_id=2)
    assert refusal(keys("strict"), other, "old").reason == "host key changed"


def at(address, number, inventory=""):
    return HostIdentity.of(address, 22, f"pc{number}", system_id=number, inventory=inventory)


def test_a_new_system_at_an_address_with_the_pin_of_another_counts_as_changed(keys, state):  # findings B2
    mine = keys()
    check(mine, at("10.0.0.1", 1), "a")
    failure = refusal(mine, at("10.0.0.1", 2), "b")
    assert failure.reason == "host key changed"
    assert "10.0.0.1 was the address of system 1, whose key is ssh-ed25519" in failure.detail
    assert "labmon systems trust 2;" in failure.detail
    with closing(Pins(state / FILE)) as pins:
        assert [one.machine for one in pins.refused(unreported=True)] == [pin_of(2, "")]
        pins.trust(pins.refused())
    assert check(mine, at("10.0.0.1", 2), "b") == []
    assert check(mine, at("10.0.0.9", 1), "a") == []


def test_the_same_machine_under_another_number_is_known_by_its_key(keys):  # findings B2
    mine = keys()
    check(mine, at("10.0.0.1", 1), "a")
    assert mine.check(at("10.0.0.1", 2), (KIND, blob("a"))).was_known


def test_an_address_that_its_machine_has_left_is_free(keys):  # findings B2
    mine = keys()
    check(mine, at("10.0.0.1", 1), "a")
    check(mine, at("10.0.0.7", 1), "a")  # DHCP has moved it
    assert check(mine, at("10.0.0.1", 2), "b") == []
    assert refusal(mine, at("10.0.0.7", 3), "c").reason == "host key changed"
    # Of another inventory, and on another port, it is another place.
    assert check(mine, at("10.0.0.7", 1, "other"), "d") == []
    assert check(mine, HostIdentity.of("10.0.0.7", 2222, system_id=4), "e") == []


def test_a_file_of_the_earlier_format_is_taken_over(keys, state):
    state.mkdir()
    with closing(sqlite3.connect(state / FILE)) as old:
        old.executescript(
            "CREATE TABLE pin (machine TEXT NOT NULL, kind TEXT NOT NULL, key BLOB NOT NULL, "
            "PRIMARY KEY (machine, kind, key)) WITHOUT ROWID;"
            "CREATE TABLE refused (machine TEXT PRIMARY KEY, kind TEXT NOT NULL, key BLOB NOT NULL, "
            "address TEXT NOT NULL, at INTEGER NOT NULL, changed INTEGER NOT NULL, "
            "reported INTEGER NOT NULL) WITHOUT ROWID;"
            "CREATE TABLE expected (machine TEXT PRIMARY KEY) WITHOUT ROWID; PRAGMA user_version = 1;"
        )
        old.execute("INSERT INTO pin VALUES (?, ?, ?)", (PC1.pin, KIND, blob("a")))
        old.commit()
    mine = keys()
    assert refusal(mine, PC1, "b").reason == "host key changed"
    assert check(mine, PC1, "a") == []
    assert refusal(mine, at("10.0.0.1", 2), "b").reason == "host key changed"  # its place is known by now


def test_what_was_known_before_is_told_from_what_is_new(keys, known):  # findings B2
    known.write_text(line("10.0.0.3", "c"))
    mine = keys()
    first = mine.check(PC1, (KIND, blob("a")))
    assert not first.was_known and mine.check(PC1, (KIND, blob("a"))).was_known
    assert mine.check(at("10.0.0.3", 3), (KIND, blob("c"))).was_known
    assert not keys("off").check(PC1, (KIND, blob("a"))).was_known


def test_the_account_that_let_us_in_is_remembered_per_machine(keys):  # findings A16
    mine = keys()
    assert mine.account(PC1) is None
    mine.remember_account(PC1, "monitor")
    mine.remember_account(at("10.0.0.1", 1, "other"), "else")
    assert keys().account(PC1) == "monitor"
    mine.remember_account(PC1, "root")
    assert mine.account(PC1) == "root"
    off = keys("off")
    off.remember_account(PC1, "x")
    assert off.account(PC1) is None


@pytest.mark.parametrize("hide", [False, True])
def test_the_type_that_the_user_knows_is_asked_for(keys, known, hide):
    known.write_text(line("10.0.0.1", "a"))
    if hide:
        hashed(known)
    keys = keys()
    asked = keys.types(PC1)
    assert asked == ([] if hide else [KIND])
    assert check(keys, PC1, kind="ssh-rsa", asked=[]) == [KIND]
    assert check(keys, PC1, kind=KIND, asked=[KIND]) == []


def test_the_file_of_earlier_versions_is_taken_over(keys, state):
    state.mkdir()
    (state / "known_hosts").write_text(line("10.0.0.1", "a"))
    assert refusal(keys(), PC1, "b").reason == "host key changed"
    assert check(keys(), PC1, "a") == []
    assert check(keys(), HostIdentity.of("10.0.0.9", 22, system_id=1), "a") == []


def test_a_revoked_key_is_refused_even_where_it_is_pinned(keys, known):
    keys = keys()
    check(keys, PC1)
    known.write_text(line("*", "a", "@revoked"))
    assert refusal(keys, PC1).reason == "host key revoked"


def test_strict_wants_the_key_beforehand_and_trust_takes_it(keys, state):
    keys = keys("strict")
    failure = refusal(keys, PC1)
    assert failure.reason == "host key unknown"
    assert fingerprint(blob()) in failure.detail and "labmon systems trust 1" in failure.detail
    with closing(Pins(state / FILE)) as pins:
        assert pins.refused(unreported=True) == []  # nobody's key has changed
        pins.trust(pins.refused())
    assert check(keys, PC1) == []


def test_off_takes_anything_and_touches_nothing(keys, state):
    keys = keys("off")
    assert check(keys, PC1, "a") == check(keys, PC1, "b") == keys.types(PC1) == []
    assert not state.exists()


def test_trust_takes_exactly_the_key_that_was_shown(keys, state):
    mine = keys()
    check(mine, PC1, "a")
    refusal(mine, PC1, "b")
    with closing(Pins(state / FILE)) as pins:
        seen = pins.refused()
        refusal(mine, PC1, "c")  # a third one, after the list was shown
        pins.trust(seen)
    assert check(mine, PC1, "b") == []
    assert refusal(mine, PC1, "a").reason == refusal(mine, PC1, "c").reason == "host key changed"


def test_the_next_key_is_taken_unseen_once(keys, known, state):
    known.write_text(line("10.0.0.1", "a"))
    mine = keys("strict")
    check(mine, PC1, "a")
    with closing(Pins(state / FILE)) as pins:
        pins.expect([PC1.pin])
    assert check(mine, PC1, "b") == []
    assert refusal(mine, PC1, "a").reason == "host key changed"


class Sink:
    def __init__(self):
        self.sent, self.flushed = [], []

    def send(self, message, *, database=""):
        self.sent.append(message)

    def flush(self):
        self.flushed += self.sent


def test_a_change_is_reported_once_and_again_when_it_comes_back(keys, state):
    sink = Sink()
    assert report_changes(state, sink) == 0
    mine = keys()
    bastion = HostIdentity.of("gw.example.edu", 22)
    for machine in (PC1, bastion):
        check(mine, machine, "a")
        for _ in range(3):
            refusal(mine, machine, "b")
    assert report_changes(state, sink) == 2
    assert report_changes(state, sink) == 0
    assert sink.flushed == sink.sent
    assert sorted((one.system_id, one.alert_type, one.severity) for one in sink.sent) == [
        (0, "host_key_changed", "critical"),  # the bastion
        (1, "host_key_changed", "critical"),
    ]
    refusal(mine, PC1, "c")
    assert report_changes(state, sink) == 1
    check(mine, PC1, "a")  # all is well again
    refusal(mine, PC1, "c")
    assert report_changes(state, sink) == 1


def told(sink):
    return [(one.system_id, one.state) for one in sink.sent]


@pytest.mark.parametrize("way", ["trusted", "its own key again", "the next key"])
def test_a_change_that_is_over_is_reported_as_over_once(keys, state, way):
    sink, mine = Sink(), keys()
    check(mine, PC1, "a")
    refusal(mine, PC1, "b")
    report_changes(state, sink)
    with closing(Pins(state / FILE)) as pins:
        if way == "trusted":
            pins.trust(pins.refused())
        elif way == "the next key":
            pins.expect([PC1.pin])
    check(mine, PC1, "a" if way == "its own key again" else "b")
    for _ in range(2):
        assert report_changes(state, sink) == 0
    assert told(sink) == [(1, "firing"), (1, "resolved")]
    assert sink.sent[0].at < sink.sent[1].at


def test_what_was_never_reported_has_no_end(keys, state):
    sink, mine = Sink(), keys()
    check(mine, PC1, "a")
    refusal(mine, PC1, "b")
    with closing(Pins(state / FILE)) as pins:
        pins.trust(pins.refused())
    report_changes(state, sink)
    assert sink.sent == []


def test_of_two_bastions_the_alert_lasts_until_both_are_trusted(keys, state):
    sink, mine = Sink(), keys()
    bastions = [HostIdentity.of(name, 22) for name in ("gw.example.edu", "gx.example.edu")]
    for one in bastions:
        check(mine, one, "a")
        refusal(mine, one, "b")
    report_changes(state, sink)
    for one in bastions:
        with closing(Pins(state / FILE)) as pins:
            pins.trust([each for each in pins.refused() if each.machine == one.pin])
        report_changes(state, sink)
    assert told(sink) == [(0, "firing"), (0, "firing"), (0, "resolved")]


def test_the_alert_says_what_changed_and_what_to_do(keys, state):
    sink, mine = Sink(), keys()
    bastion = HostIdentity.of("gw.example.edu", 22)
    for machine in (PC1, bastion):
        check(mine, machine, "a")
        refusal(mine, machine, "b")
    report_changes(state, sink)
    notes = sorted(one.note for one in sink.sent)
    assert notes[0].startswith("gw.example.edu: the host key was ssh-")
    assert notes[1].startswith("the host key was ssh-") and " and is now ssh-" in notes[1]
    assert notes[0].endswith("labmon systems trust gw.example.edu")
    assert notes[1].endswith("labmon systems trust 1")
    assert all(len(one) <= 253 for one in notes)


def test_the_same_number_is_another_machine_in_another_database(keys, state):
    """Two databases in one state folder: neither vouches for the other's machines, nor reports them."""
    mine = keys()
    ours, theirs = (HostIdentity.of("10.0.0.1", 22, system_id=1, inventory=one) for one in ("a", "b"))
    check(mine, ours, "a")
    check(mine, theirs, "b")
    assert check(mine, ours, "a") == check(mine, theirs, "b") == []
    assert "labmon systems trust 1;" in refusal(mine, theirs, "c").detail
    sink = Sink()
    assert report_changes(state, sink, "a") == 0
    assert report_changes(state, sink, "b") == 1
    assert [one.system_id for one in sink.sent] == [1]


def test_an_alert_that_could_not_be_sent_is_sent_again_with_the_same_time(keys, state):
    class Broken(Sink):
        def flush(self):
            raise LabmonError("no room")

    mine = keys()
    check(mine, PC1, "a")
    refusal(mine, PC1, "b")
    broken, sink = Broken(), Sink()
    with pytest.raises(LabmonError):
        report_changes(state, broken)
    check(mine, PC1, "a")  # not forgotten for that
    assert report_changes(state, sink) == 1
    assert sink.sent == broken.sent


def learn(state, start, first):
    start.wait(10)
    keys = HostKeys(state, "accept-new")
    for number in range(first, first + 60):
        keys.check(HostIdentity.of(f"10.0.0.{number}", 22, system_id=number + 1), (KIND, blob(number)))


def test_processes_and_threads_learn_together(keys, state):
    context = multiprocessing.get_context("spawn")
    start = context.Event()
    workers = [context.Process(target=learn, args=(state, start, first)) for first in (0, 30, 60)]
    for worker in workers:
        worker.start()
    start.set()
    mine = keys()
    failed = []

    def work(first):
        try:
            for n in range(first, 120):
                check(mine, HostIdentity.of(f"10.0.0.{n}", 22, system_id=n + 1), n)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for worker in workers:
        worker.join(30)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert failed == []
    with closing(Pins(state / FILE)) as pins:
        assert len(pins) == 120
        assert [pins.keys(pin_of(n + 1, "")) for n in range(120)] == [[(KIND, blob(n))] for n in range(120)]


def test_those_who_start_together_make_the_file_together(tmp_path):
    together, failed = threading.Barrier(8), []

    def start(number):
        together.wait(10)
        try:
            Pins(tmp_path / str(number) / FILE).close()
        except Exception as error:
            failed.append(error)

    for number in range(40):
        threads = [threading.Thread(target=start, args=(number,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert failed == []


def test_two_who_see_a_machine_first_agree_on_one_key(keys):
    """Of two processes that saw different keys one has to lose, or the pin would be worth nothing."""
    first, second = keys(), keys()
    pin = second._pins.learn
    second._pins.learn = lambda *arguments, **options: (check(first, PC1, "a"), pin(*arguments, **options))[1]
    assert refusal(second, PC1, "b").reason == "host key changed"


LEARNER = """
import sys
from pathlib import Path
from labmon.collect.hostkeys.pins import Pins
pins = Pins(Path(sys.argv[1]))
for n in range(100_000):
    pins.learn(f"system {n}", ("ssh-ed25519", b"%d" % n))
    print(n, flush=True)
"""


def test_a_process_killed_in_the_middle_leaves_what_it_had_learnt(state):
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", LEARNER, state / FILE], stdout=subprocess.PIPE, text=True
        ) as process:
            for _ in range(200):
                last = int(process.stdout.readline())
            os.kill(process.pid, signal.SIGKILL)
        with closing(Pins(state / FILE)) as pins:
            assert pins.keys(f"system {last}") == [("ssh-ed25519", b"%d" % last)]
            assert pins._file.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_lock_that_is_never_given_back_costs_a_bounded_time(keys, state, monkeypatch):
    monkeypatch.setattr("labmon.collect.hostkeys.pins.BUSY", 0.2)
    keys = keys()
    with closing(sqlite3.connect(state / FILE, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        started = clock()
        failure = refusal(keys, PC1)
    assert failure.reason == "local error"
    assert FILE in failure.detail and "locked" in failure.detail
    assert clock() - started < 2


def test_a_store_that_cannot_be_used_says_so_before_anything_else(tmp_path):
    (tmp_path / "state").write_text("a file where the folder should be")
    with pytest.raises(PermissionNeeded, match=f"state/{FILE}: .*choose another"):
        HostKeys(tmp_path / "state", "accept-new")


def test_a_damaged_store_is_named_and_never_replaced(state):
    state.mkdir()
    (state / FILE).write_bytes(b"SQLite format 3\0" + b"nonsense" * 1000)
    with pytest.raises(StateDamaged, match="is damaged.*Move it away"):
        HostKeys(state, "accept-new")
    (state / FILE).unlink()
    with closing(Pins(state / FILE)) as pins:
        pins._file.execute("PRAGMA user_version = 99")
    with pytest.raises(StateDamaged, match="a newer labmon"):
        HostKeys(state, "accept-new")


def test_damage_that_shows_only_later_is_named_too(state):
    with closing(Pins(state / FILE)) as pins:
        for number in range(200):
            pins.refuse(f"machine {number}", (KIND, blob(str(number))), "10.0.0.1", changed=True)
        pins._file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = (state / FILE).read_bytes()
    (state / FILE).write_bytes(content[:4096] + os.urandom(len(content) - 4096))
    with pytest.raises(StateDamaged, match="is damaged.*Move it away"):
        report_changes(state, None)
    with pytest.raises(StateDamaged, match="is damaged.*Move it away"):
        check_file(state)


def test_on_a_full_disk_known_keys_are_checked_and_new_ones_are_not_taken(tmp_path):
    with small_disk(tmp_path / "state") as fill, ExitStack() as stack:
        with closing(HostKeys(tmp_path / "state", "accept-new")) as keys:
            check(keys, PC1)
        fill()
        keys = stack.enter_context(closing(HostKeys(tmp_path / "state", "accept-new")))
        assert check(keys, PC1) == []
        keys.remember_account(PC1, "somebody")
        assert refusal(keys, PC1, "b").reason == "host key changed"
        new = refusal(keys, HostIdentity.of("10.0.0.2", 22, system_id=2), "b")
        assert (new.reason, "the disk is full: no new key is taken" in new.detail) == ("local error", True)
        assert report_changes(tmp_path / "state", None) == 0
        with pytest.raises(PermissionNeeded, match="the disk is full. Make room"):
            Pins(tmp_path / "state" / FILE)


def test_on_a_disk_that_was_full_from_the_beginning_no_key_is_taken(tmp_path):
    with small_disk(tmp_path / "state") as fill, ExitStack() as stack:
        fill()
        keys = stack.enter_context(closing(HostKeys(tmp_path / "state", "accept-new")))
        assert [refusal(keys, PC1).reason for _ in range(2)] == ["local error"] * 2


def test_five_thousand_systems_are_checked_in_a_moment(keys):
    keys = keys()
    machines = [HostIdentity.of(f"10.0.{n >> 8}.{n & 255}", 22, system_id=n + 1) for n in range(5000)]
    for _ in range(2):  # learnt, then known
        started = time.process_time()
        for number, machine in enumerate(machines):
            keys.types(machine)
            assert check(keys, machine, number) == []
        assert time.process_time() - started < 2.0


def test_fingerprints_are_those_of_ssh_keygen(tmp_path):
    file = tmp_path / "key.pub"
    file.write_text(f"{KIND} {base64.b64encode(blob()).decode()}\n")
    shown = subprocess.run(["ssh-keygen", "-l", "-f", file], capture_output=True, text=True, check=True)
    assert fingerprint(blob()) in shown.stdout
