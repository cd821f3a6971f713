"""What a sweep does where packets are lost, in a network with a clock of its own."""

import random
from functools import partial
from threading import Event
from types import SimpleNamespace

import pytest

from labmon.config.tables import ScanConfig
from labmon.scan.methods import rounds
from labmon.scan.methods.context import SweepContext
from labmon.scan.methods.ping import Packet, Ping
from labmon.scan.pacing.rate import RateLimiter
from labmon.scan.progress import Progress

TARGETS = [f"10.30.5.{n}" for n in range(1, 255)]


class Network:
    """Lets questions through while `passes(now)` says so; hosts answer after their delay."""

    identifier = 7

    def __init__(self, live, passes=lambda now: True, delay=lambda address: 0.001):
        self.now = 1000.0
        self.sent = 0
        self._live = set(live)
        self._passes = passes
        self._delay = delay
        self._inbox = []

    def clock(self):
        return self.now

    def send(self, message, address):
        self.now += 5e-6
        self.sent += 1
        if self._passes(self.now) and address in self._live:
            self._inbox.append((self.now + self._delay(address), b"\x00" + message[1:], address))

    def wait(self, seconds):
        self.now += max(0.0, seconds)

    def receive(self):
        arrived = [one for one in self._inbox if one[0] <= self.now]
        self._inbox = [one for one in self._inbox if one[0] > self.now]
        for at, message, address in arrived:
            yield Packet(message, address, int(at * 1e9), ttl=64)


def limit(rate, burst):
    """A router that lets so many packets a second through, and a burst at first."""
    tokens, last = float(burst), None

    def passes(now):
        nonlocal tokens, last
        tokens = min(burst, tokens + (now - (now if last is None else last)) * rate)
        last = now
        if tokens < 1:
            return False
        tokens -= 1
        return True

    return passes


@pytest.fixture
def swept(monkeypatch):
    def run(network, targets=TARGETS, **settings):
        clock = network.clock
        time = SimpleNamespace(monotonic=clock, time_ns=lambda: int(clock() * 1e9))
        monkeypatch.setattr(rounds, "time", time)
        monkeypatch.setattr("labmon.scan.methods.ping.time", time)
        monkeypatch.setattr(rounds, "RateLimiter", partial(RateLimiter, clock=clock))
        settings = ScanConfig(**{"rate": 10_000, **settings})
        progress, began = Progress(), network.now
        context = SweepContext(settings, progress, Event(), RateLimiter(settings.rate, clock))
        sweep = Ping(network, targets, context)
        found = {host.address for host in sum(sweep, [])}
        return found, progress, network.now - began

    return run


# findings D6
@pytest.mark.parametrize("usual", [0, 1000, 10_000])
@pytest.mark.parametrize("rate, burst", [(50, 5), (50, 50), (20, 5), (20, 50), (200, 20), (1000, 100)])
def test_a_router_that_limits_pings_is_asked_at_a_rate_that_it_lets_through(swept, rate, burst, usual):
    live = random.Random(rate + burst).sample(TARGETS, 100)
    found, progress, seconds = swept(Network(live, limit(rate, burst)), rate=usual)
    assert len(found) >= 95
    assert found == set(live) or progress.gaps, "a scan that missed machines has to say so"
    assert seconds < 5 + 2.2 * len(TARGETS) / rate


# findings D6
@pytest.mark.parametrize("burst", [1, 5])
def test_a_burst_that_only_reaches_empty_addresses_hides_no_machine(swept, burst):
    found, progress, _ = swept(Network(TARGETS[60:160], limit(50, burst)))
    assert len(found) >= 95


# findings D6
def test_machines_side_by_side_at_the_start_of_the_range_hide_no_loss(swept):
    found, progress, _ = swept(Network(TARGETS[:100], limit(50, 5)))
    assert len(found) >= 95
    assert found == set(TARGETS[:100]) or progress.gaps


# findings D6
def test_a_range_too_large_for_that_rate_is_named_with_the_rate(swept):
    targets = [f"10.30.{n >> 8}.{n & 255}" for n in range(1, 8000)]
    found, progress, seconds = swept(Network(targets[::10], limit(50, 5)), targets)
    assert len(found) < 800
    assert any("packets a second get through" in gap and "--rate" in gap for gap in progress.gaps)
    assert seconds < 90


@pytest.mark.parametrize("lost", [0.3, 0.51])
def test_loss_by_chance_is_not_asked_more_slowly(swept, lost):
    slowed = 0
    for seed in range(100):
        chance = random.Random(seed)
        live = chance.sample(TARGETS, 50)
        found, progress, seconds = swept(Network(live, lambda now, chance=chance: chance.random() >= lost))
        assert len(found) >= 46
        assert seconds < 20
        slowed += seconds > 3
        # findings D6: the loss is said, unless so many rounds were made that it can have cost no machine.
        assert found == set(live) or progress.gaps
    assert slowed <= 3, "chance looks like a limit once in two hundred tests"


def test_without_loss_nothing_is_said_and_the_known_are_hardly_asked_again(swept):
    network = Network(TARGETS[::2])
    found, progress, seconds = swept(network)
    assert (found, progress.gaps) == (set(TARGETS[::2]), {})
    assert seconds < 0.5
    assert network.sent <= len(TARGETS) + len(TARGETS) // 2 + 32


# findings D6
def test_slow_machines_beside_quick_ones_are_found_while_the_socket_is_open(monkeypatch, swept):
    slow = TARGETS[::40]
    network = Network(TARGETS[::2], delay=lambda address: 0.8 if address in slow else 0.001)
    found, progress, _ = swept(network)
    assert found == set(TARGETS[::2]) - set(slow), "the sweep itself does not wait for them"
    assert progress.gaps == {}
