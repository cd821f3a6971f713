"""Nothing is sent to an address outside `[collect] allow`, wherever the address comes from (findings B2).

The machines are all on loopback; what is not allowed here is a part of it.
"""

import socket

import pytest

from labmon.collect.lookup import Lookup
from labmon.collect.once import Target, collect
from labmon.config.tables import CollectConfig
from labmon.fleet import Fleet
from labmon.messages import utcnow
from tests.integration.collect.conftest import through
from tests.integration.collect.test_sshd import failure

ONLY_ONE = {"allow": ["127.0.0.1"]}


def test_an_address_outside_is_not_connected_to(sshd, measure):  # findings B2
    before = len(sshd.log)
    one, two = measure(sshd, "127.0.0.1", "127.0.0.2", **ONLY_ONE)
    assert one.failure is None
    reason, detail = failure(two)
    assert reason == "not allowed"
    assert "127.0.0.2 is in none of the networks of [collect] allow" in detail and "127.0.0.0/24" in detail
    assert two.failure.status is None  # it says nothing of the machine
    assert "on 127.0.0.2" not in sshd.log[before:]


def test_a_bastion_outside_is_not_connected_to(sshd, bastion, measure):  # findings B2
    [result] = measure(sshd, **through(sshd, bastion), **ONLY_ONE)
    assert failure(result)[0] == "unreachable"
    assert "127.0.0.30 is in none of the networks" in failure(result)[1]
    assert "Connection from" not in bastion.log


def test_a_machine_outside_is_not_connected_to_through_a_bastion(sshd, bastion, measure):  # findings B2
    settings = through(sshd, bastion)
    one, two = measure(sshd, "127.0.0.1", "127.0.0.2", allow=["127.0.0.1", "127.0.0.30"], **settings)
    assert one.failure is None
    assert failure(two)[0] == "not allowed"


@pytest.mark.parametrize("name", ["gate", "0x7f.30", "2130706462"])
def test_a_name_of_a_bastion_is_judged_by_its_address(sshd, bastion, measure, tmp_path, name):  # findings B2
    file = tmp_path / "ssh_config"
    file.touch(mode=0o600)
    gate = f"Host gate\n HostName 127.0.0.30\nHost {name}\n Port {bastion.port}\n"
    file.write_text(f"{gate}Host 127.0.0.1\n ProxyJump {name}\n")
    [result] = measure(sshd, ssh_config=str(file), **ONLY_ONE)
    assert "127.0.0.30 is in none of the networks" in failure(result)[1]
    assert "Connection from" not in bastion.log


def test_public_addresses_are_outside_by_default(sshd, measure):  # findings B2
    """Of documentation (RFC 5737, 3849), and nothing is sent there."""
    for address in ("192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"):
        assert failure(measure(sshd, address)[0])[0] == "not allowed"


def test_no_word_of_the_resolver_and_of_the_ssh_config_leads_outside(
    sshd, monkeypatch, tmp_path
):  # findings B2
    """`--host NAME`: what the DNS says, and HostName."""
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda name, *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))],
    )
    file = tmp_path / "ssh_config"
    file.touch(mode=0o600)
    file.write_text("Host alias\n HostName 192.0.2.7\n")
    settings = CollectConfig(ssh_config=str(file), key_files=[str(sshd.key_file)], user=sshd.user)
    for name, address in (("rebound.example.edu", "192.0.2.1"), ("alias", "192.0.2.7")):
        machine = Lookup(settings).machine(name, Fleet(utcnow()))
        assert machine.address == address
        [result] = collect([Target(machine.address, 22, 1)], settings, state_dir=tmp_path / "state")
        assert failure(result)[0] == "not allowed"
