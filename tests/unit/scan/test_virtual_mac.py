"""MACs that are of no machine."""

from datetime import UTC, datetime

import pytest

from labmon.scan.host import Host
from labmon.scan.virtual_mac import is_virtual

VIRTUAL = [
    "00:00:5e:00:01:0a",  # VRRP, CARP
    "00:00:5e:00:02:ff",
    "00:00:0c:07:ac:01",  # HSRP
    "00:00:0c:9f:f0:01",
    "00:00:0c:9f:ff:ff",
    "00:05:73:a0:00:01",
    "00:07:b4:00:01:02",  # GLBP
]


# findings A8
@pytest.mark.parametrize("mac", VIRTUAL)
def test_a_virtual_mac_is_shown_but_is_nobodys_identity(mac):
    host = Host("10.30.5.1", "arp", datetime(2025, 11, 25, tzinfo=UTC), mac=mac)
    assert is_virtual(mac)
    assert host.mac == mac
    assert host.discovery(1, 1).mac_address is None


# findings A8
@pytest.mark.parametrize(
    "mac",
    ["00:00:5e:00:03:01", "00:00:0c:9f:e0:01", "00:00:0c:11:22:33", "00:1b:21:00:00:01", "02:00:00:00:00:01"],
)
def test_a_machines_own_mac_is_sent(mac):
    host = Host("10.30.5.1", "arp", datetime(2025, 11, 25, tzinfo=UTC), mac=mac)
    assert host.discovery(1, 1).mac_address == mac
