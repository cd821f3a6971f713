"""Measuring again and again, on sessions that stay open: what goes wrong costs a round at most."""

import contextlib
import subprocess
import threading
import time
from pathlib import Path

import psutil
import pytest

from labmon.collect import interval, once
from labmon.collect.counter_cache import CounterCache
from labmon.collect.interval import IntervalCollector, Round
from labmon.collect.once import Result, Target
from labmon.collect.probe import script as probe
from labmon.config.tables import CollectConfig
from labmon.config.units import Seconds
from tests.integration.collect.conftest import through
from tests.integration.collect.test_hostile import silent
from tests.support.clock import clock

EVERY = 2.0
PROBE = Path(probe.__file__).with_name("probe.sh")


class Watched:
    """Rounds under way: `round()` waits for one to end, and gives it with its results by system id."""

    def __init__(self, rounds_):
        self.rounds = rounds_
        self.stop = threading.Event()
        self._events = rounds_.run(self.stop)

    def round(self):
        results = {}
        for event in self._events:
            if isinstance(event, Result):
                results[event.target.system_id] = event
            elif isinstance(event, Round):
                return event, results
        raise AssertionError("it ended")

    def complete(self, machines):
        """The first round in which all are measured: a busy machine may need more than one for them."""
        for _ in range(10):
            over, _ = self.round()
            assert over.measured + over.late == machines
            if not over.late:
                return over
        raise AssertionError(over)

    def failures(self):
        """Of the next round: the reason by system id."""
        _, results = self.round()
        return {number: result.failure.reason for number, result in results.items() if result.failure}


@pytest.fixture
def watch(tmp_path, monkeypatch):
    """watch(sshd, address..., targets=, every=, deadline=, **settings) -> Watched"""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with contextlib.ExitStack() as stack:

        def start(sshd, *addresses, targets=None, every=EVERY, deadline=10.0, memory=None, **settings):
            targets = targets or [
                Target(address, sshd.port, number) for number, address in enumerate(addresses, 1)
            ]
            settings = {"key_files": [str(sshd.key_file)], "user": sshd.user, **settings}
            made = IntervalCollector(
                targets,
                CollectConfig(deadline=Seconds(deadline), **settings),
                every=every,
                state_dir=tmp_path / "state",
                counters=memory or CounterCache(),
            )
            return Watched(stack.enter_context(made))

        yield start


def loops(sshd):
    """The shells on the far side that wait for the next round."""
    found = []
    for process in sshd.sessions():
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.cmdline()[:2] == ["sh", "-s"]:
                found.append(process)
    return found


def servers(sshd):
    """The processes of sshd that hold a session."""
    return {process.pid for process in sshd.sessions() if process.name().startswith("sshd")}


def until(condition, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_sessions_stay_and_rates_cover_the_time_between_rounds(no_leaks, sshd, watch, stalled):
    watched = watch(sshd, *sshd.addresses[:8])
    first = watched.complete(8)
    there = servers(sshd)
    _, results = watched.round()

    started = time.monotonic()
    subprocess.run(["dd", "if=/dev/zero", "of=/dev/null", "bs=1M", "count=5000"], stderr=subprocess.DEVNULL)
    busy = time.monotonic() - started
    third, again = watched.round()
    assert (third.number, third.measured) == (first.number + 2, 8)
    assert servers(sshd) == there
    for number, result in again.items():
        assert result.seconds < 1.0 + stalled()  # nobody waited a second between two samples
        between = (result.collected_at - results[number].collected_at).total_seconds()
        assert between == pytest.approx(EVERY, abs=0.8 + stalled())
        assert result.readings.context_switch_rate is not None
        assert result.readings.cpu_percent > 100 * min(busy, EVERY / 2) / between / psutil.cpu_count() / 2


def test_nothing_is_left_on_the_machine_when_the_session_goes(sshd, watch):
    watched = watch(sshd, *sshd.addresses[:4])
    watched.round()
    assert len(loops(sshd)) == 4
    started = clock()
    watched.rounds.__exit__()
    assert clock() - started < 1.0
    until(lambda: not sshd.sessions())


def test_abandoned_sessions_are_left_to_the_end_of_the_process(sshd, watch):
    """Nobody hangs up on them: a thousand would take seconds."""
    watched = watch(sshd, *sshd.addresses[:4])
    watched.round()
    there = servers(sshd)
    sessions = [machine.session for machine in watched.rounds._machines.values()]
    watched.rounds.abandon()
    started = clock()
    watched.rounds.__exit__()
    assert clock() - started < 0.2
    assert [session.alive for session in sessions] == [True] * 4
    assert servers(sshd) == there
    for session in sessions:
        session.close()
    watched.rounds.connector.close()


def test_nothing_is_left_on_the_machine_when_its_sshd_is_killed(own_sshd, watch):
    watched = watch(own_sshd, "127.0.0.1")
    watched.round()
    [loop] = loops(own_sshd)
    for process in own_sshd.sessions():
        if process != loop:
            process.kill()
    until(lambda: not loop.is_running() or loop.status() == psutil.STATUS_ZOMBIE)


def test_a_lost_session_is_opened_again_within_its_round(own_sshd, watch):
    watched = watch(own_sshd, "127.0.0.1")
    watched.round()
    for process in own_sshd.sessions():
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    assert watched.failures() == {}
    assert len(loops(own_sshd)) == 1


def test_a_loop_that_was_killed_is_started_again_on_the_same_session(own_sshd, watch):
    watched = watch(own_sshd, "127.0.0.1")
    watched.round()
    [loop] = loops(own_sshd)
    sessions = servers(own_sshd)
    loop.kill()
    assert watched.failures() == {}
    [another] = loops(own_sshd)
    assert another.pid != loop.pid
    assert servers(own_sshd) == sessions


def test_a_server_that_is_restarted_costs_the_rounds_it_misses(own_sshd, watch):
    watched = watch(own_sshd, "127.0.0.1")
    watched.round()
    own_sshd.stop()
    assert watched.failures() == {1: "refused"}
    own_sshd.start()
    assert watched.failures() == {}


@pytest.mark.parametrize(
    "later, reason",
    [
        ("sleep 60", "timed out"),
        ("yes", "output unusable"),
        ("sh {probe} | head -c 700; sleep 60", "timed out"),
        ("yes >&2", "timed out"),
    ],
)
def test_what_goes_wrong_in_a_later_round_costs_nobody_else_anything(
    no_leaks, own_sshd, sshd, watch, later, reason
):
    """The first block is right; what comes then is up to whoever owns the machine."""
    script = own_sshd.folder / "forced.sh"
    own_sshd.authorize(f'command="sh {script}"')
    # The script that comes on standard input has lines, too.
    script.write_text(
        f"SSH_ORIGINAL_COMMAND= sh {PROBE} </dev/null\n"
        f'while read -r line; do [ "$line" = next ] && break; done\n{later.format(probe=PROBE)}\n'
    )
    (own_sshd.folder / "client_key").replace(own_sshd.folder / "other_key")
    targets = [Target("127.0.0.1", own_sshd.port, 1), Target("127.0.0.2", sshd.port, 2)]
    keys = [str(own_sshd.folder / "other_key"), str(sshd.key_file)]
    watched = watch(sshd, targets=targets, every=3.0, deadline=1.8, key_files=keys)
    assert watched.failures() == {}
    assert watched.failures() == {1: reason}
    until(lambda: not own_sshd.sessions())


def test_a_forced_command_that_prints_once_is_run_in_each_round(own_sshd, watch):
    own_sshd.authorize(f'restrict,from="127.0.0.0/8",command="SSH_ORIGINAL_COMMAND= sh {PROBE}"')
    watched = watch(own_sshd, "127.0.0.1")
    assert watched.failures() == {}
    sessions = servers(own_sshd)
    over, results = watched.round()
    assert over.measured == 1
    assert results[1].readings.cpu_percent is not None
    assert servers(own_sshd) == sessions


def test_a_slow_machine_leaves_rounds_out_and_nothing_piles_up(own_sshd, sshd, watch):
    own_sshd.authorize(f'command="sleep 3; SSH_ORIGINAL_COMMAND= sh {PROBE}"')
    keys = [str(own_sshd.key_file), str(sshd.key_file)]
    targets = [Target("127.0.0.1", own_sshd.port, 1), Target("127.0.0.2", sshd.port, 2)]
    watched = watch(sshd, targets=targets, every=5.0, deadline=20, key_files=keys)
    for _ in range(2):
        over, results = watched.round()
        assert set(results) == {1, 2}
        assert over.late == 0
    assert len(own_sshd.sessions()) <= 4


def test_a_machine_that_hangs_for_longer_than_a_round_is_late_and_delays_no_other(sshd, hostile, watch):
    targets = [Target("127.0.0.1", hostile(silent), 1), Target("127.0.0.2", sshd.port, 2)]
    watched = watch(sshd, targets=targets, every=1.5, deadline=20, concurrency=1)
    seen = [watched.round() for _ in range(4)]
    assert all(over.measured == 1 for over, _ in seen[1:])
    assert {over.failures["timed out"] + over.late for over, _ in seen} == {1}


def test_machines_come_and_go_and_the_others_keep_their_sessions(sshd, watch):
    one, two, three = (Target(address, sshd.port, n) for n, address in enumerate(sshd.addresses[:3], 1))
    watched = watch(sshd, targets=[one, two])
    watched.round()
    kept = watched.rounds._machines["1"].session
    watched.rounds.update([one, three])
    _, results = watched.round()
    assert set(results) == {1, 3}
    assert watched.rounds._machines["1"].session is kept
    until(lambda: len(loops(sshd)) == 2)

    moved = Target(sshd.addresses[3], sshd.port, 1)
    watched.rounds.update([moved, three])
    _, results = watched.round()
    assert results[1].target == moved
    assert results[1].failure is None


def test_where_descriptors_are_few_some_sessions_are_not_kept(sshd, watch, monkeypatch):
    monkeypatch.setattr(interval, "room_for", lambda wanted: 6)
    watched = watch(sshd, *sshd.addresses[:8], concurrency=2)
    assert watched.failures() == {}
    until(lambda: len(loops(sshd)) == 4)
    assert watched.failures() == {}


def test_stopping_ends_the_rounds_at_once_with_machines_under_way(no_leaks, sshd, hostile, watch):
    targets = [Target("127.0.0.1", hostile(silent), n) for n in range(1, 6)]
    watched = watch(sshd, targets=[*targets, Target("127.0.0.1", sshd.port, 9)], every=60)
    assert next(event for event in watched._events if isinstance(event, Result)).target.system_id == 9
    watched.stop.set()
    started = clock()
    assert [event for event in watched._events if isinstance(event, Result)] == []
    watched.rounds.__exit__()
    assert clock() - started < 1.0


def test_one_shot_needs_no_second_when_the_counters_are_fresh(sshd, tmp_path, stalled):
    settings = CollectConfig(key_files=[str(sshd.key_file)], user=sshd.user, deadline=Seconds(10))
    targets = [Target("127.0.0.1", sshd.port, 1)]
    took = []
    for _ in range(2):
        memory = CounterCache(tmp_path / "counters")
        [result] = once.collect(targets, settings, state_dir=tmp_path, counters=memory)
        assert result.failure is None
        assert result.readings.cpu_percent is not None and result.readings.network_recv_mbps is not None
        took.append(result.seconds)
        memory.save()
        time.sleep(1.2)
    assert took[1] < 1.0 + stalled()
    assert took[0] >= 1.0


def test_counters_of_another_boot_cost_the_second(sshd, tmp_path):
    from dataclasses import replace

    settings = CollectConfig(key_files=[str(sshd.key_file)], user=sshd.user, deadline=Seconds(10))
    targets = [Target("127.0.0.1", sshd.port, 1)]
    memory = CounterCache()
    [result] = once.collect(targets, settings, state_dir=tmp_path, counters=memory)
    at, sample = memory._samples["1"]
    memory._samples["1"] = at - 60, replace(sample, boot_id="0" * 8 + sample.boot_id[8:], uptime=1e9)
    [result] = once.collect(targets, settings, state_dir=tmp_path, counters=memory)
    assert result.seconds >= 1.0
    assert result.readings.cpu_percent is not None


def test_the_line_of_print_authorized_key_lets_the_loop_stay_too(own_sshd, watch):
    from tests.integration.collect.test_sshd import authorized_line

    own_sshd.authorized.write_text(authorized_line(own_sshd))
    own_sshd.options.append("LogLevel DEBUG")
    own_sshd.stop()
    own_sshd.start()
    watched = watch(own_sshd, "127.0.0.1")
    for _ in range(3):
        over, results = watched.round()
        assert over.measured == 1, results
    assert own_sshd.log.count("Starting session: forced-command") == 1


def test_sessions_through_a_bastion_stay_and_come_back_with_it(sshd, bastion, watch):
    """Down, its machines are unreachable; up again, they are measured, on one new connection."""
    watched = watch(sshd, *sshd.addresses[:6], **through(sshd, bastion))
    for _ in range(2):
        assert watched.round()[0].measured == 6
    assert bastion.log.count("Accepted publickey") == 1
    bastion.stop()
    until = time.monotonic() + 15
    while len(failures := watched.failures()) < 6 and time.monotonic() < until:
        pass
    assert set(failures.values()) == {"unreachable"}
    bastion.start()
    while watched.failures() and time.monotonic() < until + 15:
        pass
    assert watched.round()[0].measured == 6
    assert bastion.log.count("Accepted publickey") <= 2
