"""Which answers count, with a socket that only pretends."""

import errno
import time
from threading import Event

from labmon.config.tables import ScanConfig
from labmon.config.units import Seconds
from labmon.scan.methods import rounds
from labmon.scan.methods.context import SweepContext
from labmon.scan.methods.ping import Packet, Ping
from labmon.scan.pacing.rate import RateLimiter
from labmon.scan.progress import Progress

TARGETS = [f"10.30.5.{n}" for n in range(1, 5)]


def context(settings, progress=None):
    return SweepContext(settings, progress or Progress(), Event(), RateLimiter(settings.rate))


class Network:
    """Hands `answers(question, address)` back: what comes in for each packet that goes out."""

    identifier = 0xBEEF

    def __init__(self, answers):
        self._answers = answers
        self._inbox = []
        self.sent = []

    def send(self, message, address):
        self.sent.append(address)
        self._inbox += self._answers(message, address)

    def wait(self, seconds):
        time.sleep(min(seconds, 0.01))

    def receive(self):
        inbox, self._inbox = self._inbox, []
        for message, source in inbox:
            yield Packet(message, source, time.time_ns(), ttl=64)


def reply(question):
    return b"\x00" + question[1:]


def everybody(question, address):
    return [(reply(question), address)]


def sweep(answers, **settings):
    network = Network(answers)
    settings = ScanConfig(**{"rate": 0, "timeout": Seconds(0.05), **settings})
    progress = Progress()
    hosts = sum(Ping(network, TARGETS, context(settings, progress)), [])
    assert progress.found == len(hosts)
    return [host.address for host in hosts], network.sent


def test_only_the_silent_are_asked_again():
    found, sent = sweep(
        lambda question, address: [] if address == TARGETS[1] else everybody(question, address), retries=1
    )
    assert found == [TARGETS[0], TARGETS[2], TARGETS[3]]
    assert sent == [*TARGETS, TARGETS[1]]


def rounds_made(answers, hosts, **settings):
    """How often the silent one at the end was asked."""
    network = Network(answers)
    targets = [f"10.30.5.{n}" for n in range(1, hosts + 2)]
    settings = ScanConfig(rate=0, timeout=Seconds(0.02), **settings)
    sum(Ping(network, targets, context(settings)), [])
    return network.sent.count(targets[-1])


def all_but(silent):
    return lambda question, address: [] if address == silent else everybody(question, address)


def test_where_nothing_gets_lost_the_silent_are_asked_twice():
    assert rounds_made(all_but("10.30.5.21"), 20) == 2


def test_where_few_can_tell_they_are_asked_some_more():
    assert rounds_made(all_but("10.30.5.4"), 3) == 6
    assert rounds_made(lambda question, address: [], 3) == 6


def test_where_something_got_lost_they_are_asked_as_often_as_allowed():
    def lossy(*lost):
        lost = set(lost)

        def answers(question, address):
            if address in lost:
                lost.remove(address)
                return []
            return all_but("10.30.5.21")(question, address)

        return answers

    assert rounds_made(lossy("10.30.5.7", "10.30.5.8"), 20, retries=4) == 5
    assert rounds_made(lossy("10.30.5.7"), 20, retries=4) == 3  # it may as well have been late


def test_no_retries_are_none():
    assert rounds_made(lambda question, address: [], 3, retries=0) == 1


def test_nobody_is_asked_again_when_all_have_answered():
    found, sent = sweep(everybody, retries=5)
    assert found == sent == TARGETS


def test_an_answer_counts_once():
    assert sweep(lambda question, address: everybody(question, address) * 3)[0] == TARGETS


def test_an_answer_from_another_address_does_not_count():
    assert sweep(lambda question, address: [(reply(question), TARGETS[0])])[0] == TARGETS[:1]
    assert sweep(lambda question, address: [(reply(question), "10.30.6.1")])[0] == []


def test_rubbish_does_not_count():
    assert (
        sweep(lambda question, address: [(question, address), (b"", address), (bytes(40), address)])[0] == []
    )


def test_an_answer_to_a_question_not_yet_asked_does_not_count():
    """Somebody who sees our packets could make up the next ones."""
    early = {}

    def answers(question, address):
        forged = bytearray(reply(question))
        forged[16:20] = (3).to_bytes(4, "big")
        forged[20:24] = (3 ^ 0xFFFF_FFFF).to_bytes(4, "big")
        early[address] = True
        return [(bytes(forged), TARGETS[3])] if address == TARGETS[0] else []

    network = Network(answers)
    settings = ScanConfig(rate=100, retries=0, timeout=Seconds(0.05))  # looks for answers after each packet
    assert sum(Ping(network, TARGETS, context(settings)), []) == []
    assert list(early) == TARGETS


def test_an_answer_about_a_target_that_does_not_exist_does_not_count():
    def answers(question, address):
        forged = bytearray(reply(question))
        forged[16:24] = b"\xff" * 4 + bytes(4)
        return [(bytes(forged), address)]

    assert sweep(answers)[0] == []


def test_a_socket_that_is_never_free_is_not_waited_for_forever(monkeypatch):
    class Full:
        identifier = 1

        def send(self, message, address):
            raise OSError(errno.ENOBUFS, "No buffer space available")

        def wait(self, seconds):
            pass

        def receive(self):
            return iter(())

    monkeypatch.setattr(rounds, "STUCK", 0.1)
    progress = Progress()
    targets = [f"127.0.0.{n}" for n in range(1, 101)]
    assert sum(Ping(Full(), targets, context(ScanConfig(rate=0), progress)), []) == []
    assert progress.refusals() == [
        "100 addresses could not be asked, such as 127.0.0.100: No buffer space available: "
        "send queue or table of neighbours full"
    ]
