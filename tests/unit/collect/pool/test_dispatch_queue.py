import threading
import time
from collections import Counter
from dataclasses import dataclass

import pytest

from labmon.collect.pool.dispatch_queue import DispatchQueue


@dataclass(frozen=True)
class Machine:
    name: str
    subnet: str = "a"


@pytest.fixture
def taken():
    """take(places, n) -> what n threads get, in the order in which they get it."""
    threads = []

    def take(places, number):
        got = []
        for _ in range(number):
            thread = threading.Thread(target=lambda: got.append((places.take(), time.monotonic())))
            thread.start()
            threads.append(thread)
        return got

    yield take
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()


def until(condition):
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_machines_come_in_their_order_whatever_their_subnet():
    places = DispatchQueue(0)
    for machine in [Machine("1"), Machine("2", "b"), Machine("3"), Machine("4", "c"), Machine("5", "b")]:
        places.put(machine)
    assert [places.take().name for _ in range(5)] == ["1", "2", "3", "4", "5"]


def test_who_is_behind_a_full_subnet_keeps_nobody_waiting():
    places = DispatchQueue(1)
    machines = [Machine("1"), Machine("2"), Machine("3", "b"), Machine("4", "c")]
    for machine in machines:
        places.put(machine)
    assert [places.take().name for _ in range(3)] == ["1", "3", "4"]
    places.logged_in(machines[0])
    assert places.take().name == "2"


def test_no_more_logins_of_one_subnet_than_may_be(taken):
    places = DispatchQueue(2)
    machines = [Machine(str(number)) for number in range(5)] + [Machine("other", "b")]
    for machine in machines:
        places.put(machine)
    got = taken(places, 6)
    until(lambda: len(got) == 3)
    time.sleep(0.05)
    assert Counter(machine.subnet for machine, _ in got) == {"a": 2, "b": 1}
    for number in range(3):
        places.logged_in(got[number][0])
    until(lambda: len(got) == 5)
    for number in range(3, 5):
        places.logged_in(got[number][0])
    until(lambda: len(got) == 6)
    assert {machine for machine, _ in got} == set(machines)


def test_a_machine_waits_for_its_time_and_one_that_is_due_before_overtakes_it(taken, stalled):
    places = DispatchQueue(1)
    got = taken(places, 3)
    started = time.monotonic()
    places.put(Machine("late", "a"), started + 0.3)
    places.put(Machine("soon", "b"), started + 0.1)
    places.put(Machine("now", "c"))
    until(lambda: len(got) == 3)
    assert [machine.name for machine, _ in got] == ["now", "soon", "late"]
    assert 0.02 <= got[1][1] - started <= 0.18 + stalled()
    assert 0.22 <= got[2][1] - started <= 0.38 + stalled()


def test_threads_that_wait_for_the_same_moment_all_get_something(taken, stalled):
    places = DispatchQueue(0)
    got = taken(places, 20)
    due = time.monotonic() + 0.1
    for number in range(20):
        places.put(Machine(str(number), str(number % 3)), due)
    until(lambda: len(got) == 20)
    assert max(at for _, at in got) - due < 0.3 + stalled()


def test_closing_sends_everybody_home(taken):
    places = DispatchQueue(1)
    places.put(Machine("late"), time.monotonic() + 60)
    got = taken(places, 3)
    time.sleep(0.05)
    places.close()
    until(lambda: len(got) == 3)
    assert [machine for machine, _ in got] == [None] * 3
