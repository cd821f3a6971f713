"""A host that answered."""

from dataclasses import dataclass
from datetime import datetime

from msgspec import UNSET

from labmon.messages import Discovery
from labmon.scan.virtual_mac import is_virtual


@dataclass(frozen=True, slots=True)
class Host:
    """What a sweep knows about one address that answered."""

    address: str
    seen: str
    """The first answer: "arp", "ndp", "ping", "nmap/" and its reason, or "tcp/" and the port."""
    seen_at: datetime  #: UTC, with its zone
    rtt: float | None = None  #: seconds to the answer; for TCP to when we looked, a few ms later
    port_open: bool | None = None  #: of the port in `seen`: False when the host refused the connection
    hostname: str | None = None
    mac: str | None = None  #: lower case, with colons
    ttl: int | None = None  #: of its ping reply, as it arrived
    also: tuple[str, ...] = ()  #: further answers, written as in `seen`
    ports: tuple[int, ...] = ()  #: open, of those that were tried; ascending

    @property
    def zone(self) -> str:
        """The link of a link-local IPv6 address, without which it means nothing; else empty."""
        return self.address.partition("%")[2]

    @property
    def evidence(self) -> str:
        """All its answers, such as "arp, ping, tcp/22"."""
        return ", ".join((self.seen, *self.also))

    @property
    def system(self) -> str | None:
        """A guess at its operating system by the TTL: systems start at 64, 128 or 255, and each router takes
        one."""
        if self.ttl is None:
            return None
        return "Linux/Unix" if self.ttl <= 64 else "Windows" if self.ttl <= 128 else "network device"

    @property
    def vendor(self) -> str | None:
        """Who made its network card. The first call loads a table for 0.1 s."""
        if self.mac is None:
            return None
        from labmon.scan.names.vendor import vendor

        return vendor(self.mac)

    @property
    def scan_type(self) -> str:
        """The first answer without the port or reason: what the message says."""
        return self.seen.partition("/")[0]

    def discovery(self, scan_id: int, dept_id: int, *, waits: bool = False) -> Discovery:
        """The message for this host. Raises ValueError when its address has a zone.

        `waits`: if it is new, it is for quarantine.

        Without a virtual MAC: it belongs to a service of several routers, and would make one machine of all
        whose MAC it is.
        """
        return Discovery(
            scan_id=scan_id,
            dept_id=dept_id,
            ip_address=self.address,
            hostname=self.hostname,
            mac_address=None if self.mac is None or is_virtual(self.mac) else self.mac,
            discovered_at=self.seen_at,
            scan_type=self.scan_type,
            new_as="quarantine" if waits else UNSET,
        )
