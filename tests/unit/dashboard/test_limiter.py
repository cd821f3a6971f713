"""The limit on guessing passwords, with a clock that only moves when told."""

from labmon.dashboard.security import limiter
from labmon.dashboard.security.limiter import ADDRESS_FREE, LONGEST_DELAY, PAIR_FREE, LoginLimiter


def failures(limit, count, name="anna", address="10.0.0.1"):
    return [limit.begin(name, address) for _ in range(count)]


def test_the_first_failures_cost_nothing(clock):
    assert failures(LoginLimiter(clock), PAIR_FREE) == [0.0] * PAIR_FREE


def test_each_further_failure_doubles_the_delay_up_to_a_limit(clock):
    limit = LoginLimiter(clock)
    failures(limit, PAIR_FREE)
    delays = []
    for _ in range(14):
        delays.append(limit.begin("anna", "10.0.0.1"))
        clock.now += delays[-1]
        assert limit.begin("anna", "10.0.0.1") == 0.0
    assert delays[:4] == [1.0, 2.0, 4.0, 8.0]
    assert delays[-1] == LONGEST_DELAY


def test_a_refused_attempt_does_not_lengthen_the_delay(clock):
    limit = LoginLimiter(clock)
    failures(limit, PAIR_FREE)
    assert failures(limit, 50) == [1.0] * 50


def test_attempts_at_once_are_counted_one_by_one(clock):
    assert failures(LoginLimiter(clock), 100).count(0.0) == PAIR_FREE


def test_others_of_the_same_address_and_the_same_name_elsewhere_are_not_delayed(clock):
    limit = LoginLimiter(clock)
    failures(limit, PAIR_FREE + 1)
    assert limit.begin("bernd", "10.0.0.1") == 0.0
    assert limit.begin("anna", "10.0.0.2") == 0.0


def test_many_names_from_one_address_are_delayed_too(clock):
    limit = LoginLimiter(clock)
    answers = [limit.begin(f"user{number}", "10.0.0.1") for number in range(ADDRESS_FREE + 5)]
    assert answers.count(0.0) == ADDRESS_FREE
    assert limit.begin("somebody", "10.0.0.2") == 0.0


def test_a_success_forgets_the_failures_of_the_name_and_not_those_of_the_address(clock):
    limit = LoginLimiter(clock)
    for number in range(ADDRESS_FREE - 1):
        limit.begin(f"user{number}", "10.0.0.1")
    for _ in range(10):  # somebody with an account of their own does not reset the count
        assert limit.begin("anna", "10.0.0.1") == 0.0
        limit.succeeded("anna", "10.0.0.1")
    assert limit.begin("x", "10.0.0.1") == 0.0
    assert limit.begin("y", "10.0.0.1") > 0


def test_a_network_of_ipv6_counts_as_one_address(clock):
    limit = LoginLimiter(clock)
    answers = [limit.begin("anna", f"2001:db8::{number:x}") for number in range(PAIR_FREE + 1)]
    assert answers[-1] > 0
    assert limit.begin("anna", "2001:db8:0:1::1") == 0.0


def test_a_count_at_rest_is_forgotten(clock):
    limit = LoginLimiter(clock)
    failures(limit, PAIR_FREE)
    clock.now += limiter.FORGET_AFTER + 1
    assert failures(limit, PAIR_FREE) == [0.0] * PAIR_FREE


def test_an_attack_with_many_addresses_does_not_fill_the_memory(clock, monkeypatch):
    monkeypatch.setattr(limiter, "MOST_COUNTS", 100)
    limit = LoginLimiter(clock)
    for number in range(1000):
        limit.begin("anna", f"10.0.{number // 250}.{number % 250}")
    assert len(limit._counts) == 100


def test_a_login_after_failures_of_others_does_not_count_as_one(clock):
    limit = LoginLimiter(clock)
    for number in range(ADDRESS_FREE - 1):
        limit.begin(f"user{number}", "10.0.0.1")
    for _ in range(3):
        assert limit.begin("anna", "10.0.0.1") == 0.0
        limit.succeeded("anna", "10.0.0.1")


def test_a_name_that_is_guessed_from_many_addresses_is_slowed_and_not_locked(clock):
    limit = LoginLimiter(clock)
    for number in range(limiter.NAME_FREE):
        assert limit.pause("anna", f"10.0.1.{number}") == 0.0
        limit.begin("anna", f"10.0.1.{number}")
    assert limit.pause("anna", "10.0.0.9") == limiter.NAME_DELAY
    assert limit.begin("anna", "10.0.0.9") == 0.0
    assert limit.pause("otto", "10.0.0.9") == 0.0
    clock.now += limiter.NAME_WINDOW + 1
    assert limit.pause("anna", "10.0.0.9") == 0.0


def test_who_has_logged_in_from_there_waits_for_nobody_elses_failures(clock):
    limit = LoginLimiter(clock)
    limit.begin("anna", "10.0.0.1")
    limit.succeeded("anna", "10.0.0.1")
    for number in range(60):  # a room behind one address, where somebody guesses
        limit.begin(f"user{number}", "10.0.0.1")
        limit.begin("anna", f"10.0.1.{number}")  # and somebody elsewhere who guesses hers
    assert limit.begin("stranger", "10.0.0.1") > 0
    assert limit.pause("anna", "10.0.0.9") == limiter.NAME_DELAY
    assert limit.pause("anna", "10.0.0.1") == 0.0
    assert limit.begin("anna", "10.0.0.1") == 0.0
    limit.succeeded("anna", "10.0.0.1")
    assert limit.begin("stranger", "10.0.0.1") > 0  # her own login helps nobody to guess on


def test_the_own_failures_count_for_them_too(clock):
    limit = LoginLimiter(clock)
    limit.succeeded("anna", "10.0.0.1")
    assert failures(limit, PAIR_FREE + 1)[-1] > 0


def test_an_address_with_many_failures_is_never_closed_for_long(clock):
    limit = LoginLimiter(clock)
    for number in range(100):
        clock.now += limit.begin(f"user{number}", "10.0.0.1")
        limit.begin(f"user{number}", "10.0.0.1")
    assert 0 < limit.begin("anna", "10.0.0.1") <= limiter.ADDRESS_DELAY


def test_attempts_from_an_address_that_failed_come_last_but_for_those_who_logged_in_there(clock):
    limit = LoginLimiter(clock)
    assert limit.place("anna", "10.0.0.1") == ("10.0.0.1", False)
    limit.begin("anna", "10.0.0.1")
    limit.succeeded("anna", "10.0.0.1")
    failures(limit, limiter.SUSPECT, name="bernd")
    assert limit.place("bernd", "10.0.0.1") == ("10.0.0.1", True)
    assert limit.place("anna", "10.0.0.1")[1] is False
    assert limit.place("anna", "10.0.0.1")[0] != "10.0.0.1"
