"""What nmap says with -oX, read as it comes. No I/O."""

from datetime import datetime
from xml.parsers import expat

from labmon.scan.host import Host
from labmon.scan.hostname import clean


class NotNmap(ValueError):
    """The text is no XML of nmap's, or tries to define entities, which nmap never does."""


class NmapXml:
    """Feed it pieces; it gives the hosts that are complete."""

    def __init__(self, seen_at: datetime) -> None:
        """`seen_at` is for hosts that carry no time of their own, which in a ping scan is all of them."""
        self.percent = 0.0  #: of the scan, as nmap reckons
        self.skipped: set[str] = set()  #: whom it has no way to, and has not asked
        self._seen_at = seen_at
        self._hosts: list[Host] = []
        self._host: dict[str, str] | None = None
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        # Entities are how a small document grows without end, or has the reader open other files.
        self._parser.EntityDeclHandler = _refuse
        self._parser.ExternalEntityRefHandler = _refuse

    def feed(self, data: bytes, seen_at: datetime | None = None) -> list[Host]:
        """The hosts that end in this piece. Raises NotNmap."""
        self._seen_at = seen_at or self._seen_at
        try:
            self._parser.Parse(data, False)
        except expat.ExpatError as error:
            raise NotNmap(str(error)) from error
        hosts, self._hosts = self._hosts, []
        return hosts

    def _start(self, tag: str, values: dict[str, str]) -> None:
        if tag == "host":
            self._host = {}
        elif tag == "taskprogress":
            self.percent = _number(values.get("percent")) or self.percent
        elif tag == "target" and values.get("status") == "skipped":
            self.skipped.add(values.get("specification", ""))
        elif self._host is None:
            return
        elif tag == "status":
            self._host |= {"state": values.get("state", ""), "reason": values.get("reason", "")}
            self._host["ttl"] = values.get("reason_ttl", "")
        elif tag == "address":
            self._host[values.get("addrtype", "")] = values.get("addr", "")
        elif tag == "hostname":
            self._host.setdefault("name", values.get("name", ""))
        elif tag == "times":
            self._host["srtt"] = values.get("srtt", "")

    def _end(self, tag: str) -> None:
        if tag != "host" or self._host is None:
            return
        told, self._host = self._host, None
        address = told.get("ipv4") or told.get("ipv6")
        if told.get("state") != "up" or not address:
            return
        srtt, ttl = _number(told.get("srtt")), _number(told.get("ttl"))
        self._hosts.append(
            Host(
                address=address,
                seen=f"nmap/{told.get('reason') or 'unknown'}",
                seen_at=self._seen_at,
                rtt=srtt / 1e6 if srtt else None,
                hostname=clean(told.get("name", "")),
                mac=told["mac"].lower() if "mac" in told else None,
                # Of an ARP answer it is 0, of a TCP one as telling as of a ping.
                ttl=int(ttl) if ttl and 1 <= ttl <= 255 else None,
            )
        )


def _refuse(*_: object) -> int:
    raise NotNmap("it defines entities")


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None
