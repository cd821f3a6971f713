"""How long is waited."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labmon.scan.pacing.timeout import AT_THE_END, BETWEEN, AdaptiveTimeout


def test_while_nobody_has_answered_the_whole_wait_is_due():
    assert AdaptiveTimeout(1.0).at_the_end == 1.0
    assert AdaptiveTimeout(1.0).between == 0.25


def test_prompt_answers_shorten_it_to_the_floor():
    timeout = AdaptiveTimeout(1.0)
    timeout.observe(0.001)
    assert (timeout.between, timeout.at_the_end) == (BETWEEN, AT_THE_END)


def test_the_slowest_host_so_far_decides():
    timeout = AdaptiveTimeout(1.0)
    for rtt in (0.002, 0.1, 0.003, None):
        timeout.observe(rtt)
    assert timeout.at_the_end == pytest.approx(0.3)
    assert timeout.between == 0.25  # whoever takes longer is asked twice and still heard


@given(st.lists(st.floats(), max_size=20), st.floats(0, 100))
def test_no_answer_can_make_it_longer_than_the_cap(rtts, cap):
    timeout = AdaptiveTimeout(cap)
    for rtt in rtts:
        timeout.observe(rtt)
    assert 0 <= timeout.between <= cap
    assert 0 <= timeout.at_the_end <= cap
