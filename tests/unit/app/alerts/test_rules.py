import pytest

from labmon.alerts.rules import Rule
from labmon.app.alerts.rules import RuleRow, condition
from labmon.config.units import Seconds


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (Rule(name="a", metric="cpu_percent", threshold=90), "cpu_percent > 90"),
        (
            Rule(name="a", kind="rate", metric="disk_percent", comparison="<", threshold=24),
            "disk_percent at 100 in < 24 h",
        ),
        (Rule(name="a", kind="no_data", threshold=600, steady=Seconds(3600)), "silent > 600 s, steady 1h"),
        (Rule(name="a", kind="lab_down", threshold=50), "silent > 50 %, 3 at least"),
        (Rule(name="a", kind="spool_full", threshold=80), "spool > 80 %"),
    ],
)
def test_a_condition_in_words(rule, words):
    assert condition(rule) == words


def test_without_a_time_of_its_own_a_rule_clears_after_as_long_as_it_fires():
    rule = Rule(name="a", metric="cpu_percent", threshold=90, clear=80, hold=Seconds(300), lab=3)
    row = RuleRow.of(7, rule)
    assert (row.rule_id, row.hold_seconds, row.clears, row.scope) == (7, 300, "80, 5m", "lab 3")
