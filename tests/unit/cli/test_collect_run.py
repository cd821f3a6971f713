from datetime import UTC, datetime

import pytest

from labmon.cli.collect_run import Run, held
from labmon.cli.targets import Choice
from labmon.collect.failures import Failure
from labmon.collect.runner import Result, Target
from labmon.config import Config, State
from labmon.errors import AlreadyRunning
from labmon.fleet import Fleet, Machine
from labmon.messages import Readings, SystemStatus

FLEET = Fleet(
    read_at=datetime(2026, 3, 2, 9, tzinfo=UTC),
    machines=[Machine(address=f"10.0.0.{n}", system_id=n, dept_id=1, lab_id=n + 10) for n in (1, 2, 3)],
)
OFF = Failure("refused", "nothing listens")


class Sink:
    rejected = spooled = 0

    def __init__(self):
        self.sent = []

    def send(self, message, *, dept=None, lab=None):
        self.sent.append((message, dept, lab))


@pytest.fixture
def config(tmp_path):
    return Config(state=State(dir=str(tmp_path)))


def test_a_result_goes_to_the_sink_with_its_place_and_a_failure_as_a_status(config):
    run, sink = Run(config, Choice(everything=True)), Sink()
    run.look(FLEET)
    now = datetime.now(UTC)
    run.take(Result(Target("10.0.0.1", 22, 1), Readings(load1=1.0), now, None, 1.0), sink)
    run.take(Result(Target("10.0.0.3", 22, 3), None, None, OFF, 1.0), sink)
    assert [(message.system_id, dept, lab) for message, dept, lab in sink.sent] == [(1, 1, 11), (3, 1, 13)]
    assert isinstance(sink.sent[1][0], SystemStatus)


def test_who_failed_is_left_out_and_begins_when_everybody_is_wanted(config):
    run = Run(config, Choice(everything=True))
    run.look(FLEET)
    run.take(Result(Target("10.0.0.3", 22, 3), None, None, OFF, 1.0), Sink())
    assert [target.system_id for target in run.targets(run.due())] == [1, 2]
    due = run.look(FLEET, retry=True)
    assert [target.system_id for target in run.targets(due)] == [3, 1, 2]


def test_two_runs_over_the_same_machines_are_one_too_many(config):
    everyone, lab = Choice(everything=True), Choice(dept=1)
    with held(config, everyone, FLEET.machines):
        with pytest.raises(AlreadyRunning, match="measured already: process"):
            with held(config, lab, FLEET.machines[:1]):
                pass
        with held(config, Choice(systems=(1,)), FLEET.machines[:1]):
            pass
    with held(config, lab, FLEET.machines[:2]), held(config, lab, FLEET.machines[2:]):
        pass
