"""The pool, with machines that are made up: what goes wrong at one of them is its own failure."""

import logging
from datetime import UTC, datetime
from queue import SimpleQueue

import pytest

from labmon.collect.failures import HostFailed
from labmon.collect.pool.workers import MeasuringJob, Pool
from labmon.collect.probe.counters import Hardware, Sample
from labmon.collect.probe.parse import Report
from labmon.collect.result import Target
from labmon.messages import Readings


class Session:
    phase = "running the probe"
    server = "OpenSSH_9.2p1"

    def close(self): ...

    def abort(self): ...


class Job(MeasuringJob):
    def __init__(self, number, done, *, begin=None, measure=None, impossible=()):
        super().__init__(Target("10.0.0.1", 22, number))
        self.done, self.begin_error, self.measure_error = done, begin, measure
        self.impossible = impossible

    def begin(self):
        if self.begin_error:
            raise self.begin_error
        return Session()

    def measure(self, session, deadline, logged_in):
        logged_in()
        if self.measure_error:
            raise self.measure_error
        now = datetime.now(UTC)
        return Report(Readings(load1=1.0), now, 0.0, Sample(), Hardware(), (), self.impossible)

    def deliver(self, result):
        self.done.put(result)


@pytest.fixture
def run():
    """run(jobs) -> the results by system id. One thread and one login per subnet: nothing may stay taken."""
    done = SimpleQueue()
    pool = Pool(1, 10.0, per_subnet=1)

    def run(*jobs):
        made = [Job(number, done, **job) for number, job in enumerate(jobs)]
        for job in made:
            pool.put(job)
        pool.start()
        return {result.target.system_id: result for result in (done.get(timeout=10) for _ in made)}

    yield run
    pool.close()


# findings A5: nothing that goes wrong at one machine ends a run
@pytest.mark.parametrize("step", ["begin", "measure"])
@pytest.mark.parametrize(
    "error", [OverflowError("int too big"), ValueError("no"), RecursionError(), MemoryError()]
)
def test_an_error_that_nobody_foresaw_is_that_machines_failure(run, caplog, step, error):
    results = run({}, {step: error}, {})
    assert results[1].failure.reason == "local error"
    assert type(error).__name__ in results[1].failure.detail
    assert results[0].readings == results[2].readings == Readings(load1=1.0)
    assert "a bug, met at 10.0.0.1" in caplog.text


def test_a_failure_that_was_foreseen_is_told_as_it_is(run):
    assert run({"measure": HostFailed("no ssh", "it says HTTP")})[0].failure.reason == "no ssh"


def test_what_cannot_be_is_logged_once_for_each_reading_of_a_machine(run, caplog):
    with caplog.at_level(logging.WARNING):
        run({"impossible": ("disk I/O",)}, {"impossible": ("disk I/O", "cpu")})
        run({"impossible": ("disk I/O",)})
    assert [record.getMessage() for record in caplog.records].count(
        "10.0.0.1: left out disk I/O: the machine says what cannot be"
    ) == 2  # of two machines, which share this address here
    assert len(caplog.records) == 3
