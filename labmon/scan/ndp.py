"""A sweep of one link by IPv6 neighbour solicitation, which no firewall that lets IPv6 work can drop."""

import socket

from labmon.scan.arp import Arp
from labmon.scan.link_socket import Frames, LinkSocket
from labmon.scan.linux import ETH_P_IPV6
from labmon.scan.ndp_frame import ONLY_ADVERTISEMENTS, NdpFrames


class NdpSocket(LinkSocket):
    """Sends neighbour solicitations on one interface, and receives the advertisements."""

    protocol = ETH_P_IPV6
    family = socket.AF_INET6
    what = "neighbour discovery"
    only = ONLY_ADVERTISEMENTS

    def _make_frames(self, mac: str, address: str) -> Frames:
        return NdpFrames(mac, address, self._device)


class Ndp(Arp):
    """The same as ARP is for IPv4. Link-local targets carry their zone."""

    phase = "ndp"
