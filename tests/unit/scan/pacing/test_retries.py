"""How often is asked, where packets get lost and where not."""

import random

import pytest

from labmon.config.tables import ScanConfig
from labmon.scan.pacing.retries import CERTAIN, CHEAP, RetryPolicy


def swept(live, lost=0.0, chance=random):
    """(found, rounds) of a sweep with the default retries that loses so many of all questions and answers."""
    policy, found, rounds = RetryPolicy(), 0, 0
    while rounds < 1 + ScanConfig().retries:
        found += sum(chance.random() >= lost for _ in range(live - found))
        rounds += 1
        if not policy.goes_on(found):
            break
    return found, rounds


@pytest.mark.parametrize("live", [1, 2, 3, 5, 8, 15, 19, 20, 25, 50])
def test_three_of_ten_packets_lost_each_way_cost_few_hosts_however_few_there_are(live):
    sweeps, chance = 4000 // live, random.Random(7)
    found = sum(swept(live, 1 - 0.7 * 0.7, chance)[0] for _ in range(sweeps))
    assert found >= 0.97 * live * sweeps


@pytest.mark.parametrize("live, rounds", [(0, 6), (1, 6), (10, 4), (CERTAIN - 1, 3), (CERTAIN, 2), (250, 2)])
def test_where_nothing_is_lost_many_hosts_soon_show_it(live, rounds):
    assert swept(live) == (live, rounds)


def test_few_hosts_are_no_reason_to_ask_slowly_again_and_again():
    policy = RetryPolicy()
    assert [policy.goes_on(3, 1000, seconds=3.0) for _ in range(3)] == [True, True, False]


def test_a_few_late_answers_among_many_are_no_loss():
    policy = RetryPolicy()
    assert [policy.goes_on(found) for found in (96, 99, 100, 100)] == [True, True, True, False]


def test_where_many_were_missed_all_rounds_are_made():
    policy = RetryPolicy()
    assert all(policy.goes_on(found) for found in (50, 75, 75, 75, 75, 75))


def test_a_large_silent_network_is_asked_again_only_while_that_finds_somebody():
    policy = RetryPolicy()
    assert [policy.goes_on(found, CHEAP + 1) for found in (0, 9, 12, 12)] == [True, True, True, False]
