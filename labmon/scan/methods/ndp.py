"""A sweep of one link by IPv6 neighbour solicitation: a firewall that drops it leaves no IPv6 at all."""

import socket

from labmon.scan.kernel.constants import ETH_P_IPV6
from labmon.scan.kernel.link_socket import Frames, LinkSocket
from labmon.scan.methods.arp import Arp
from labmon.scan.wire.ndp_frame import ONLY_ADVERTISEMENTS, NdpFrames


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
