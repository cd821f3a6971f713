import logging
import multiprocessing
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from labmon.collect.counter_cache import MAX_AGE, MAX_DEVICES, CounterCache
from labmon.collect.probe.counters import Hardware, Sample
from labmon.collect.probe.parse import Report
from labmon.collect.result import Target
from labmon.messages import Readings

SAMPLE = Sample(
    uptime=1000.5,
    boot_id="d0e086e9-6b4c-48e2-91fb-18d2e85aa30f",
    cpu=(1, 2, 3, 4, 5, 6, 7, 8),
    events={"ctxt": 12},
    links={"eth0": (10, 20), "docker0": (1, 2)},
    disks={"sda": (512, 1024), "sda1": (512, 0)},
)


def report(sample=SAMPLE):
    return Report(Readings(load1=1.0), datetime.now(UTC), 0.0, sample, Hardware(), ())


class Clock:
    def __init__(self):
        self.now = 1e9

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_what_was_counted_is_there_for_the_next_run(tmp_path, clock):
    memory = CounterCache(tmp_path / "state" / "counters", clock=clock)
    memory.keep("7", report())
    memory.save()
    clock.now += 300
    again = CounterCache(tmp_path / "state" / "counters", clock=clock)
    counted = replace(SAMPLE, links={"eth0": (10, 20)}, disks={"sda": (512, 1024)})
    assert again.of("7") == counted
    assert again.of("8") is None
    assert (tmp_path / "state" / "counters").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "age, there", [(0.4, False), (1, True), (MAX_AGE, True), (MAX_AGE + 1, False), (-9, False)]
)
def test_counters_that_are_too_old_or_too_new_are_none(clock, age, there):
    memory = CounterCache(clock=clock)
    memory.keep("7", report())
    clock.now += age
    assert (memory.of("7") is not None) is there


def test_a_machine_that_does_not_tell_its_boot_or_makes_up_disks_is_not_remembered(clock):
    memory = CounterCache(clock=clock)
    memory.keep("7", report(replace(SAMPLE, boot_id=None)))
    memory.keep("8", report(replace(SAMPLE, disks={f"disk{n}x": (1, 1) for n in range(MAX_DEVICES + 1)})))
    clock.now += 60
    assert memory.of("7") is memory.of("8") is None


def test_what_is_stale_leaves_the_file(tmp_path, clock):
    path = tmp_path / "counters"
    memory = CounterCache(path, clock=clock)
    memory.keep("old", report())
    memory.save()
    clock.now += MAX_AGE + 1
    memory.keep("new", report())
    memory.save()
    assert b"new" in path.read_bytes() and b"old" not in path.read_bytes()


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x81\xa17\x92\x01\x02"])
def test_a_file_that_cannot_be_read_is_said_and_written_anew(tmp_path, clock, caplog, content):
    path = tmp_path / "counters"
    path.write_bytes(content)
    memory = CounterCache(path, clock=clock)
    assert memory.of("7") is None
    assert "written anew" in caplog.text
    memory.keep("7", report())
    memory.save()
    clock.now += 60
    assert CounterCache(path, clock=clock).of("7") is not None


def test_a_place_that_cannot_be_written_is_said_and_no_more(tmp_path, clock, caplog):
    (tmp_path / "file").touch()
    memory = CounterCache(tmp_path / "gone" / "counters", clock=clock)
    memory._path = tmp_path / "file" / "counters"
    memory.keep("7", report())
    with caplog.at_level(logging.WARNING):
        memory.save()
    assert "not written" in caplog.text


def _keep(path, name):
    for number in range(20):
        memory = CounterCache(path)
        memory.keep(f"{name}{number}", report())
        memory.save()


def test_runs_beside_each_other_lose_nothing_of_each_other(tmp_path):
    path = tmp_path / "counters"
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=_keep, args=(path, name)) for name in "ab"]
    for other in others:
        other.start()
    for other in others:
        other.join(60)
        assert other.exitcode == 0
    assert len(CounterCache(path)._samples) == 40


# findings A5: what the file cannot hold is one machine's failure, and not the end of the run that saves
def test_a_counter_that_the_file_cannot_hold_is_refused_at_once(tmp_path):
    counters = CounterCache(tmp_path / "counters")
    counters.keep("7", report())
    with pytest.raises(OverflowError):
        counters.keep("8", report(replace(SAMPLE, disks={"sda": (2**72, 0)})))
    counters.save()
    assert set(CounterCache(tmp_path / "counters")._samples) == {"7"}


# findings A3
def test_the_same_number_in_another_database_is_another_machine(clock):
    one, other = (Target("10.0.0.1", 22, 7, inventory=inventory).key for inventory in ("a", "b"))
    counters = CounterCache(clock=clock)
    counters.keep(one, report())
    clock.now += 60
    assert counters.of(one) is not None
    assert counters.of(other) is None
