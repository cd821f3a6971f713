"""The networks that collecting may connect to: `[collect] allow`."""

import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from labmon.collect.failures import HostFailed
from labmon.errors import ConfigError


class AllowedNetworks:
    """Asked once for every connection, where it is made: whatever named the address has passed by then.

    Addresses come from the inventory, which any publisher can fill, from the command line, the
    ssh_config and the DNS. Raises ConfigError for what is no network.
    """

    def __init__(self, networks: Iterable[str]) -> None:
        self._ranges: list[tuple[int, int, int]] = []
        for text in networks:
            try:
                network = ip_network(text.strip(), strict=False)
            except ValueError as error:
                raise ConfigError(
                    f"[collect] allow: {text!r} is no network. Write it like 10.30.0.0/16 or fd00:1::/48"
                ) from error
            first, last = int(network.network_address), int(network.broadcast_address)
            self._ranges.append((network.version, first, last))

    def contain(self, host: str) -> bool:
        """False for an address outside.

        A name is left to the bastion that will look it up: without one, names are looked up before.
        """
        address = _address(host)
        return address is None or any(
            address.version == version and first <= int(address) <= last
            for version, first, last in self._ranges
        )

    def check(self, host: str) -> None:
        """Raises `HostFailed` (not allowed) for what they do not contain."""
        address = _address(host)
        if address is None or self.contain(host):
            return
        raise HostFailed(
            "not allowed",
            f"{address} is in none of the networks of [collect] allow. If it is a machine of yours, add its "
            f"network there: {ip_network((int(address), 24 if address.version == 4 else 64), strict=False)}",
        )


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """The address that a connection to this would go to; None for a name."""
    try:
        address = ip_address(host)
    except ValueError:
        try:  # 0x7f.1 and 2130706433 are addresses to every resolver
            address = IPv4Address(socket.inet_aton(host))
        except (OSError, UnicodeError):
            return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
