from collections import Counter
from datetime import UTC, datetime, timedelta

from labmon.app.collect.collect import Finished
from labmon.app.collect.rows import clocks, other_accounts, reasons, result_row, summary
from labmon.collect.failures import Failure
from labmon.collect.result import Result, Target
from labmon.collect.retry import Due
from labmon.fleet import Machine
from labmon.messages import Readings, utcnow

NOW = datetime.now(UTC)
GOOD = Result(Target("10.0.0.1", 22, 1), Readings(cpu_percent=5.0), NOW, None, 0.5, clock_skew=0.0)
SHOWN = Result(Target("10.0.0.9", 22, None), Readings(cpu_percent=5.0), NOW, None, 0.5)
OFF = Result(Target("10.0.0.2", 22, 2), None, None, Failure("refused", "nothing listens"), 0.1)


def finished(*results, later=0, rejected=0):
    due = Due(
        [Machine(address=one.target.address) for one in results], later, utcnow() + timedelta(minutes=2)
    )
    return Finished(due, list(results), rejected, 0, 0, Counter())


def test_a_failure_is_a_row_without_readings():
    assert (result_row(GOOD).cpu_percent, result_row(GOOD).failure) == (5.0, None)
    assert (result_row(OFF).cpu_percent, result_row(OFF).failure) == (None, "refused: nothing listens")


def test_the_closing_line_counts_everything():
    assert summary(finished(GOOD, OFF), "stored") == "1 of 2 measured, stored; 1 failed: 1 refused"
    assert summary(finished(SHOWN), "stored") == "1 of 1 measured, only shown"
    text = summary(finished(GOOD, later=3, rejected=1), "stored")
    assert "1 could not be stored" in text and "3 that failed before are left for later" in text


def test_the_most_frequent_reason_comes_first():
    assert reasons(Counter({"refused": 1, "timed out": 4})) == "; 5 failed: 4 timed out, 1 refused"
    assert reasons(Counter()) == ""
    assert list(other_accounts(Counter(ada=2))) == [
        "2 of them were measured with the account ada before: add --user ada"
    ]


def test_only_a_clock_that_is_wrong_is_named():
    from dataclasses import replace

    assert clocks([GOOD]) == ""
    wrong = [replace(GOOD, target=Target(f"10.0.0.{n}", 22, n), clock_skew=900.0) for n in range(1, 6)]
    assert clocks(wrong).endswith("and 2 more")
