import socket
from datetime import UTC, datetime

import pytest

from labmon.collect.lookup import Lookup
from labmon.config.tables import CollectConfig
from labmon.errors import UsageError
from labmon.fleet import Fleet, Machine

PC7 = Machine(address="10.0.0.7", system_id=7, name="pc7.cs.example.edu")
PC8 = Machine(address="10.0.0.8", system_id=8, name="pc8.cs.example.edu", port=2222)
FLEET = Fleet(
    datetime.now(UTC), [PC7, PC8, Machine(address="10.0.0.9", system_id=9, name="pc8.math.example.edu")]
)


@pytest.fixture
def asked(monkeypatch):
    """What the resolver is asked: it knows box.example.edu, and nothing goes out."""
    names = []

    def resolve(name, *_, **__):
        names.append(name)
        if name == "box.example.edu":
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.8", 0))]
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return names


@pytest.fixture
def lookup(tmp_path):
    """lookup(lines of the ssh_config, **settings) -> Lookup"""

    def make(text="", **settings):
        file = tmp_path / "ssh_config"
        file.write_text(text)
        file.chmod(0o600)
        return Lookup(CollectConfig(ssh_config=str(file), **settings))

    return make


def test_an_address_is_the_machine_that_has_it_and_else_itself(lookup, asked):
    assert lookup().machine("10.0.0.7", FLEET) == PC7
    assert lookup().machine("2001:DB8:0::1", FLEET) == Machine(address="2001:db8::1")
    assert asked == []


def test_a_name_of_the_inventory_needs_no_resolver_and_may_be_short(lookup, asked):
    assert lookup().machine("PC7", FLEET) == lookup().machine("pc7.cs.example.edu", FLEET) == PC7
    with pytest.raises(UsageError, match="2 machines are called pc8"):
        lookup().machine("pc8", FLEET)
    assert asked == []


def test_an_alias_of_the_ssh_config_is_the_machine_at_its_address(lookup, asked):
    book = lookup("Host seven\n HostName 10.0.0.7\nHost far box\n HostName %h.example.edu\n Port 2200\n")
    seven = book.machine("seven", FLEET)
    assert (seven.system_id, seven.name, seven.port) == (7, "seven", None)
    assert [book.machine("box", FLEET).system_id for _ in range(3)] == [8] * 3
    assert asked == ["box.example.edu"]


def test_two_aliases_of_one_address_are_two_machines(lookup):
    book = lookup("Host a\n HostName 10.1.1.1\n Port 2201\nHost b\n HostName 10.1.1.1\n Port 2202\n")
    assert [book.machine(name, FLEET).port for name in "ab"] == [2201, 2202]
    assert lookup("Host a\n HostName 10.1.1.1\n Port 2201\n", port=2300).machine("a", FLEET).port is None


@pytest.mark.parametrize(
    "text, jump",
    [("Host deep\n HostName deep.lan\n ProxyJump gate\n", ""), ("Host deep\n HostName deep.lan\n", "gate")],
)
def test_behind_a_bastion_a_name_is_left_to_it(lookup, asked, text, jump):
    assert lookup(text, proxy_jump=jump).machine("deep", FLEET) == Machine(address="deep.lan", name="deep")
    assert asked == []


def test_who_is_nowhere_is_said(lookup, asked):
    with pytest.raises(UsageError, match="no machine nobody: neither .* resolver says: Name or service not"):
        lookup().machine("nobody", FLEET)
    with pytest.raises(UsageError, match="neither an address nor a name"):
        lookup().machine("-oProxyCommand=x", FLEET)
