"""Answers that prove no machine, and those that only look so."""

from datetime import UTC, datetime

import pytest

from labmon.scan.host import Host
from labmon.scan.targets.target_set import parse
from labmon.scan.unproven import UnprovenAnswers, describe

AT = datetime(2025, 11, 25, 10, 30, tzinfo=UTC)
ROUTER = "00:1b:21:00:00:01"


def judged(network, hosts):
    targets = parse([network], max_hosts=70_000)
    answers = UnprovenAnswers()
    for host in hosts(list(targets)):
        answers.holds(host)
    return targets, answers.judge(targets.spans)


def reset(address, **fields):
    return Host(address, "tcp/22", AT, **{"port_open": False, **fields})


def arp(address, mac=ROUTER, **fields):
    return Host(address, "arp", AT, mac=mac, **fields)


def own_mac(address):
    return "00:1b:22:" + ":".join(f"{int(part):02x}" for part in address.split(".")[1:])


# findings A14, D7
@pytest.mark.parametrize("network", ["10.30.0.0/19", "10.30.5.0/24", "10.30.5.0/27"])
@pytest.mark.parametrize("answer", [reset, arp, lambda a: Host(a, "nmap/reset", AT)])
def test_when_nearly_every_address_answers_in_the_same_empty_way_none_counts(network, answer):
    targets, found = judged(network, lambda all_: map(answer, all_))
    assert [host.address for host in found] == list(targets)


# findings A14
def test_real_machines_among_them_are_kept():
    def hosts(all_):
        real = [Host(a, "ping", AT) for a in all_[:40]]
        real += [reset(a, port_open=True, ports=(22,)) for a in all_[40:60]]
        return real + [reset(a) for a in all_[60:] if not a.endswith("7")]

    _, found = judged("10.30.5.0/24", hosts)
    assert 100 < len(found) < 195
    assert all(host.port_open is False for host in found)


# findings D7
def test_machines_on_the_link_of_a_proxy_are_kept_by_their_own_mac():
    _, found = judged(
        "10.30.4.0/22",
        lambda all_: [arp(a, own_mac(a)) for a in all_[:300]] + [arp(a) for a in all_[300:]],
    )
    assert {host.mac for host in found} == {ROUTER}
    assert len(found) == 1022 - 300


@pytest.mark.parametrize(
    "hosts",
    [
        lambda all_: [reset(a) for a in all_[::2]],  # half of the range is silent
        lambda all_: [arp(a, own_mac(a)) for a in all_],  # each with a card of its own
        lambda all_: [arp(a, also=("ping",)) for a in all_],  # each answers pings
        lambda all_: [Host(a, "ping", AT) for a in all_],
        lambda all_: [reset(a, ports=(445,)) for a in all_],  # Windows machines that drop pings
        lambda all_: [arp(a) for a in all_[:15]],
    ],
)
def test_what_can_be_machines_is_kept(hosts):
    assert judged("10.30.5.0/24", hosts)[1] == []


def test_a_few_addresses_typed_one_by_one_are_no_range():
    assert judged("10.30.5.10-20", lambda all_: map(reset, all_))[1] == []


def test_this_machine_proves_itself():
    assert judged("127.0.1.0/24", lambda all_: map(reset, all_))[1] == []


def test_only_what_may_prove_nothing_waits_for_the_end():
    answers = UnprovenAnswers()
    assert not answers.holds(Host("10.30.5.1", "ping", AT))
    assert not answers.holds(reset("10.30.5.2", port_open=True))
    assert answers.holds(reset("10.30.5.3"))


def test_the_line_for_the_user_says_where_and_why():
    _, found = judged("10.30.4.0/22", lambda all_: map(arp, all_))
    assert "1,022 addresses from 10.30.4.1 to 10.30.7.254 answered with one MAC" in describe(found)
    _, found = judged("10.30.4.0/22", lambda all_: map(reset, all_))
    assert "only with resets" in describe(found)
