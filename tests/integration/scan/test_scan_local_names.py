"""What hosts on the link call themselves."""

import sys
from pathlib import Path

import pytest

from tests.support import netns

RESPONDER = Path(__file__).with_name("name_responder.py")


@pytest.fixture
def lab(near, far):
    """10: NetBIOS, 11: mDNS if asked itself, 12: none, 13: forged answers, 14 and 15: mDNS if all are asked,
    16: an impostor of 12. No DNS server anywhere."""
    near.write_etc("resolv.conf", "")
    far.add_addresses([f"10.77.0.{n}" for n in range(10, 17)], "cable")
    responder = far.start(sys.executable, str(RESPONDER))
    assert responder.stdout.readline() == "ready\n"


@pytest.mark.parametrize("method", ["auto", "ping"])
def test_hosts_without_a_name_in_the_dns_are_asked_themselves(sweep, lab, method):
    outcome = sweep("10.77.0.10-16", method=method)
    assert {address: host["hostname"] for address, host in outcome.hosts.items()} == {
        "10.77.0.10": "LAB-PC-10",
        "10.77.0.11": "lab-pc-11.local",
        "10.77.0.12": None,
        "10.77.0.13": None,
        "10.77.0.14": "lab-pc-14.local",
        "10.77.0.15": "lab-pc-15.local",
        "10.77.0.16": None,
    }
    assert outcome.seconds < 2.5


def test_a_dead_resolver_leaves_them_time(sweep, near, far, lab):
    near.write_etc("resolv.conf", f"nameserver {netns.FAR}\n")
    far.start(sys.executable, "-c", f"import socket, time\n{MUTE}")
    outcome = sweep("10.77.0.10-13", name_timeout=2)
    assert outcome.hosts["10.77.0.10"]["hostname"] == "LAB-PC-10"
    assert outcome.seconds < 2 + 1.2


MUTE = f"""
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("{netns.FAR}", 53))
time.sleep(60)
"""


def test_a_stop_does_not_wait_for_them(sweep, lab):
    outcome = sweep("10.77.0.10-13", stop_at={"phase": "names"})
    assert len(outcome.hosts) == 4
    assert outcome.stopping < 0.3


def test_one_question_goes_to_all(sweep, near, far, lab):
    far.firewall(
        "table ip counted { chain in { type filter hook input priority 0; "
        "ip daddr 224.0.0.251 udp dport 5353 counter; }; }"
    )
    outcome = sweep("10.77.0.14-15")
    assert [host["hostname"] for host in outcome.hosts.values()] == ["lab-pc-14.local", "lab-pc-15.local"]
    words = far.run("nft", "list", "ruleset").stdout.split()
    assert int(words[words.index("packets") + 1]) in (1, 2)  # two when they were found at different moments
    assert outcome.seconds < 1.5
