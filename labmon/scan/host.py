"""A host that answered."""

from dataclasses import dataclass
from datetime import datetime

from labmon.messages import Discovery


@dataclass(frozen=True, slots=True)
class Host:
    """What a sweep knows about one address that answered."""

    address: str
    seen: str  #: "ping", or "tcp/" and the port that answered
    seen_at: datetime  #: UTC, with its zone
    rtt: float | None = None  #: seconds to the answer; for TCP to when we looked, a few ms later
    port_open: bool | None = None  #: of the port in `seen`: False when it refused, which a live host does
    hostname: str | None = None
    mac: str | None = None

    @property
    def scan_type(self) -> str:
        """How it was seen, without the port: what the message says."""
        return self.seen.partition("/")[0]

    def discovery(self, scan_id: int, dept_id: int) -> Discovery:
        """The message for this host."""
        return Discovery(
            scan_id=scan_id,
            dept_id=dept_id,
            ip_address=self.address,
            hostname=self.hostname,
            mac_address=self.mac,
            discovered_at=self.seen_at,
            scan_type=self.scan_type,
        )
