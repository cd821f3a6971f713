import pytest

from labmon.collect.failures import HostFailed
from labmon.collect.ssh.networks import AllowedNetworks
from labmon.config.tables import CollectConfig

DEFAULT = AllowedNetworks(CollectConfig().allow)


@pytest.mark.parametrize(
    "host",
    [
        *(
            "10.1.2.3",
            "172.31.0.1",
            "192.168.7.7",
            "127.9.9.9",
            "169.254.1.1",
            "::1",
            "fd00::1",
            "fe80::1%eth0",
        ),
        *("::ffff:10.0.0.1", "gate", "pc1.example.edu", "0x7f.1"),
    ],
)
def test_private_addresses_and_names_pass_by_default(host):  # findings B2
    DEFAULT.check(host)


@pytest.mark.parametrize(
    "host",
    [
        *(
            "192.0.2.1",
            "172.32.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "100.64.0.1",
            "2001:db8::1",
            "::",
            "ff02::1",
        ),
        *("::ffff:192.0.2.1", "3221225985", "0xC0000201", "192.0.513", "fec0::1"),
    ],
)
def test_other_addresses_do_not_however_they_are_written(host):  # findings B2
    with pytest.raises(HostFailed, match=r"not allowed: .* is in none of the networks of \[collect\] allow"):
        DEFAULT.check(host)


def test_the_failure_names_the_network_to_add():  # findings B2
    with pytest.raises(HostFailed, match="add its network there: 192.0.2.0/24$"):
        DEFAULT.check("192.0.2.7")
    with pytest.raises(HostFailed, match="2001:db8:0:1::/64$"):
        DEFAULT.check("2001:db8:0:1::7")
    AllowedNetworks(["192.0.2.0/24"]).check("192.0.2.7")
    AllowedNetworks(["0.0.0.0/0", "::/0"]).check("2001:db8::1")
