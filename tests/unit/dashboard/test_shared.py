"""What is read once for all who ask."""

import threading
import time

import pytest

from labmon.dashboard.live.shared import Shared
from labmon.errors import StoreUnavailable


def test_many_at_once_are_one_read():
    reads = []

    def read():
        time.sleep(0.2)
        reads.append(1)
        return len(reads)

    shared = Shared(read, 60)
    threads = [threading.Thread(target=shared.get) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(reads) == 1
    shared.expire()
    assert shared.get() == 2


def test_an_error_is_raised_to_all_until_it_is_old():
    calls = []

    def read():
        calls.append(1)
        if len(calls) == 1:
            raise StoreUnavailable("away")
        return "back"

    shared = Shared(read, 60)
    for _ in range(5):
        with pytest.raises(StoreUnavailable):
            shared.get()
    assert len(calls) == 1
    shared.expire()
    assert shared.get() == "back"
