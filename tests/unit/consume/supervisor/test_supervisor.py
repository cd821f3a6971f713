"""What the supervisor does about its processes, which are stand-ins here; time is told to it."""

import threading
from collections import Counter

import pytest

from labmon.app.open import worker_settings
from labmon.brokers.base import Depth
from labmon.config.load import load
from labmon.consume.supervisor import supervisor as module
from labmon.consume.supervisor.heartbeat import Heartbeat
from labmon.consume.supervisor.supervisor import Supervisor
from labmon.consume.worker import Progress, State
from labmon.errors import BrokerRefused
from labmon.messages import utcnow

QUEUES = ["discovery_queue", "metrics_queue"]


class FakeProcess:
    made = []
    fails_to_start = False

    def __init__(self, job):
        if FakeProcess.fails_to_start:
            raise OSError("too many processes")
        FakeProcess.made.append(self)
        self.job, self.pid = job, 1000 + len(FakeProcess.made)
        self.started = 0.0
        self.heartbeat, self.is_killed, self.draining_since = None, False, None
        self.exit_code, self.has_ended, self.silence = None, False, 0.0

    def silent_for(self, now):
        return self.silence

    def reset_heartbeat(self):
        self.silence = 0.0

    def drain(self):
        self.draining_since = 0.0

    def kill(self):
        self.is_killed = True

    def end(self, code=0):
        self.has_ended, self.exit_code = True, code

    def beat(self, stored=0, *, state=State.busy, rss=2**20, error=None):
        workers = [Progress(queue, state, utcnow(), stored) for queue in self.job.queues]
        self.heartbeat = Heartbeat(rss, workers, error)


@pytest.fixture
def processes(monkeypatch):
    monkeypatch.setattr(FakeProcess, "made", [])
    monkeypatch.setattr(FakeProcess, "fails_to_start", False)
    monkeypatch.setattr(module, "Process", FakeProcess)
    return FakeProcess.made


@pytest.fixture
def supervisor(processes):
    """supervisor(workers, **settings): its clock is its `now`, which its `tick(seconds)` moves on."""

    def make(workers="2", *, until_empty=False, depths=lambda: {}, **settings):
        environ = {"LABMON_CONSUME_WORKERS": workers}
        environ |= {f"LABMON_CONSUME_{name}".upper(): value for name, value in settings.items()}
        one = Supervisor(
            worker_settings(load(environ=environ).config),
            QUEUES,
            threading.Event(),
            depths,
            until_empty=until_empty,
        )
        one.now = one._checked = 100.0

        def tick(seconds=0.2):
            while seconds > 0:
                one.now += min(seconds, 0.2)
                seconds -= 0.2
                one._tick(one.now)

        one.tick = tick
        return one

    return make


def test_the_minimum_of_processes_serves_all_queues(supervisor, processes):
    supervisor("2").tick()
    assert [one.job.queues for one in processes] == [QUEUES, QUEUES]


def test_a_process_that_dies_is_replaced_with_backoff_and_its_counts_are_kept(supervisor, processes, caplog):
    one = supervisor("1")
    one.tick()
    waits = []
    for number in range(4):
        processes[-1].beat(stored=10)
        processes[-1].started = one.now
        processes[-1].end(-9)
        began, count = one.now, len(processes)
        while len(processes) == count:
            one.tick()
            assert one.now < began + 40, number
        waits.append(one.now - began)
    assert waits == sorted(waits) or waits[-1] > 1.5
    assert "process 1001 was killed by SIGKILL; replaced in" in caplog.text
    processes[-1].beat(stored=5)
    assert one.tally() == dict.fromkeys(QUEUES, (45, 0))
    assert one.processes()[0].restarts == 4


def test_a_process_that_lived_for_long_is_replaced_soon(supervisor, processes):
    one = supervisor("1")
    one.tick()
    for _ in range(5):
        processes[-1].started = one.now
        one.tick(61)
        processes[-1].end(1)
        count = len(processes)
        one.tick(1.2)
        assert len(processes) == count + 1


def test_a_process_that_sends_no_heartbeat_is_killed_and_shown_as_silent(supervisor, processes):
    one = supervisor("1", stuck_after="60s")
    one.tick()
    processes[0].beat()
    processes[0].silence = 5
    assert {worker.state for worker in one.processes()[0].workers} == {State.silent}
    one.tick()
    assert not processes[0].is_killed
    processes[0].silence = 61
    one.tick()
    assert processes[0].is_killed


def test_after_the_supervisor_itself_was_stopped_nobody_is_killed_for_silence(supervisor, processes):
    one = supervisor("2", stuck_after="60s")
    one.tick()
    for process in processes:
        process.beat()
        process.silence = 500
    one.now += 500  # a laptop's lid
    one._tick(one.now)
    assert not any(process.is_killed for process in processes)


def test_a_process_over_its_memory_is_drained_after_its_first_batch(supervisor, processes):
    one = supervisor("1", max_memory="100MiB")
    one.tick()
    processes[0].beat(stored=0, rss=2**28)
    one.tick()
    assert processes[0].draining_since is None
    processes[0].beat(stored=1, rss=2**28)
    one.tick()
    assert processes[0].draining_since is not None


def test_a_drained_process_that_does_not_end_is_killed_after_the_grace_time(supervisor, processes):
    one = supervisor("1", grace="10s")
    one.tick()
    processes[0].draining_since = one.now
    one.tick(9)
    assert not processes[0].is_killed
    one.tick(2)
    assert processes[0].is_killed


def test_an_error_that_will_not_go_away_ends_all(supervisor, processes):
    one = supervisor("2")
    one.tick()
    processes[0].beat(error=BrokerRefused("wrong password"))
    processes[0].end(4)
    with pytest.raises(BrokerRefused, match="wrong password"):
        one.tick()


def test_a_process_that_cannot_be_started_is_tried_again(supervisor, processes, monkeypatch, caplog):
    monkeypatch.setattr(FakeProcess, "fails_to_start", True)
    one = supervisor("1")
    one.tick()
    assert "worker 1: cannot be started: too many processes" in caplog.text
    assert one.processes()[0].workers[0].state is State.down
    monkeypatch.setattr(FakeProcess, "fails_to_start", False)
    one.tick(3)
    assert len(processes) == 1


def test_until_empty_a_process_that_ends_well_is_not_replaced(supervisor, processes):
    one = supervisor("2", until_empty=True)
    one.tick()
    processes[0].beat(stored=3)
    processes[0].end(0)
    processes[1].beat(stored=4)
    processes[1].end(1)
    one.tick()
    assert len(one.slots) == 1
    assert one.tally() == dict.fromkeys(QUEUES, (7, 0))


def test_a_deep_queue_gets_extra_processes_up_to_the_maximum_and_loses_them_again(supervisor, processes):
    ready = Counter(metrics_queue=50_000)

    def depths():
        return {queue: Depth(ready[queue], 0, 0, 0, 1, 0.0) for queue in QUEUES}

    one = supervisor("1..3", depths=depths, scale_up_after="1s", scale_down_after="2s")
    one.tick()
    for _ in range(30):
        for process in processes:
            process.beat()
        one.tick()
    assert [process.job.queues for process in processes] == [QUEUES, ["metrics_queue"], ["metrics_queue"]]
    ready.clear()
    for _ in range(50):
        for process in processes:
            if process.draining_since is not None:
                process.end(0)
        one.tick()
    assert [process.draining_since is not None for process in processes] == [False, True, True]
    assert len(one.slots) == 1


def test_no_process_is_added_for_a_queue_that_is_deep_since_the_database_is_away(supervisor, processes):
    def depths():
        return {"metrics_queue": Depth(50_000, 0, 0, 0, 1, 0.0)}

    one = supervisor("1..3", depths=depths, scale_up_after="1s")
    one.tick()
    for _ in range(30):
        processes[0].beat(state=State.no_database)
        one.tick()
    assert len(processes) == 1
