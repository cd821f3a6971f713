import pytest
from hypothesis import given
from hypothesis import strategies as st

from labmon.cli.scan_range import asked, targets, without
from labmon.config import Config
from labmon.errors import UsageError
from labmon.messages import MAX_RANGE
from labmon.scan.targets import Targets, parse

spans = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9)).map(lambda one: (one[0], sum(one))))


@given(spans, spans)
def test_without_is_the_difference_of_sets(wanted, holes):
    wanted, holes = Targets(wanted), Targets(holes)
    assert set(without(wanted, holes.spans)) == set(wanted) - set(holes)


def chosen(*typed, exclude=()):
    return str(targets(typed, exclude, 1, Config(), None, force=False))


def test_what_is_excluded_is_left_out():
    assert (
        chosen("10.0.0.0/29", exclude=["10.0.0.3", "10.0.9.0/24"]) == "10.0.0.1-10.0.0.2, 10.0.0.4-10.0.0.6"
    )


def test_what_is_left_counts_against_the_limit():
    with pytest.raises(UsageError, match="max_hosts"):
        chosen("10.0.0.0/15", exclude=["10.0.0.1"])
    assert chosen("10.0.0.0/15", exclude=["10.1.0.0-10.1.255.255"]) == "10.0.0.1-10.0.255.255"


def test_nothing_left_is_said():
    with pytest.raises(UsageError, match="nothing is left"):
        chosen("10.0.0.1", exclude=["10.0.0.0/24"])


def test_a_scan_asked_what_it_could_send_to():
    addresses = parse(["10.0.0.1-10.0.0.9"], max_hosts=100)
    assert asked(addresses, []) == "10.0.0.1-10.0.0.9"
    assert asked(addresses, ["10.0.0.9", "10.0.0.5"]) == "10.0.0.1-10.0.0.4, 10.0.0.6-10.0.0.8"
    assert asked(addresses, list(addresses)) == ""


def test_too_long_a_range_loses_its_end():
    odd = Targets((n, n) for n in range(10 << 24, (10 << 24) + 10_000, 2))
    text = asked(odd, [])
    assert len(text) <= MAX_RANGE
    assert str(odd).startswith(text + ", ")
