"""A question whose answer may never come."""

import threading
import time

import pytest

from labmon.dashboard.asking import Asking, NoAnswer


@pytest.fixture
def open_question():
    """One that is answered when the event is set, and the numbers of its answers."""
    answered, count = threading.Event(), iter(range(1, 100))

    def ask():
        answered.wait(30)
        return next(count)

    yield Asking("test", ask), answered
    answered.set()


def test_who_asks_waits_for_a_while_and_the_next_not_at_all(open_question):
    asking, answered = open_question
    begun = time.monotonic()
    with pytest.raises(NoAnswer):
        asking.answer(0.2)
    assert 0.2 <= time.monotonic() - begun < 10
    with pytest.raises(NoAnswer):
        asking.answer(30)  # or the test would take as long
    with pytest.raises(NoAnswer):
        asking.answer(30, late=0.1)
    assert time.monotonic() - begun < 10
    assert asking.is_open
    answered.set()
    while asking.is_open:
        time.sleep(0.001)
    assert asking.answer(30) == 2  # asked anew: the first answer came too late to be true of now


def test_all_who_ask_at_once_get_one_answer(open_question):
    asking, answered = open_question
    found = []
    threads = [threading.Thread(target=lambda: found.append(asking.answer(30))) for _ in range(10)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    answered.set()
    for thread in threads:
        thread.join()
    assert found == [1] * 10


def test_what_the_question_raises_is_raised_even_a_timeout():
    def ask():
        raise TimeoutError("of the server's own")

    with pytest.raises(TimeoutError, match="own"):
        Asking("test", ask).answer(30)
