import pytest

from labmon.config.load import load
from labmon.errors import ConfigError
from labmon.messages import Alert, Discovery, Metrics, SystemStatus, decode
from labmon.sinks.priority import Priorities
from tests.unit.test_messages import SEED_ALERT, SEED_DISCOVERY, SEED_METRICS, STATUS

MESSAGES = {
    "discovery of dept 1": decode(Discovery, SEED_DISCOVERY),
    "metrics of system 42": decode(Metrics, SEED_METRICS),
    "alert of system 42": decode(Alert, SEED_ALERT),
    "status of system 42": decode(SystemStatus, STATUS),
}
OF_SYSTEM = ["metrics of system 42", "alert of system 42", "status of system 42"]


def high(chosen, **place):
    priorities = Priorities(load(environ={"LABMON_QUEUE_HIGH_PRIORITY": chosen}).config.queue)
    return [name for name, message in MESSAGES.items() if priorities.is_high(message, **place)]


def test_nobody_is_first_unless_somebody_is_named():
    assert high("", dept=1, lab=3) == []


def test_a_system_a_lab_or_a_department_can_be_named():
    assert high("system:42") == OF_SYSTEM
    assert high("lab:3", dept=1, lab=3) == OF_SYSTEM
    assert high("dept:1", dept=1, lab=3) == list(MESSAGES)
    assert high("dept:2,lab:4,system:43", dept=1, lab=3) == []


# findings D5: a consumer written after the guide never saw the critical ones
@pytest.mark.parametrize("severity", [b"info", b"warning", b"critical"])
def test_no_alert_is_first_by_default(severity):
    alert = decode(Alert, SEED_ALERT.replace(b"warning", severity))
    assert not Priorities(load(environ={}).config.queue).is_high(alert)


@pytest.mark.parametrize("text", ["dept", "dept:0", "room:1", "system:x"])
def test_what_names_nobody_is_refused(text):
    with pytest.raises(ConfigError, match="high_priority"):
        load(environ={"LABMON_QUEUE_HIGH_PRIORITY": text})
