"""The output of `nmap -oX`, read as it comes. No I/O.

Every value is checked: nmap copies names and MACs from the network, and its output may be cut or wrong.
"""

import re
from collections.abc import Container
from datetime import datetime
from ipaddress import ip_address
from xml.parsers import expat

from labmon.scan.host import Host
from labmon.scan.names.hostname import clean

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_WORD = re.compile(r"[a-z0-9-]{1,32}")


class NotNmap(ValueError):
    """The text is no XML of nmap's, or defines entities, which nmap never does."""


class NmapXml:
    """Feed it pieces; it returns the hosts that are complete, each address once."""

    def __init__(self, seen_at: datetime, targets: Container[str] | None = None) -> None:
        """`seen_at` is for hosts without a time of their own, in a ping scan all of them. Other addresses
        than `targets`, where given, are left out."""
        self.percent = 0.0  #: of the scan, as nmap estimates; 0 to 100
        self.skipped: set[str] = set()  #: addresses without a route, which nmap has not asked
        self.finished = False
        """Whether nmap has said that it finished with success: else hosts may be missing."""
        self._targets = targets
        self._seen_at = seen_at
        self._found: set[str] = set()
        self._hosts: list[Host] = []
        self._host: dict[str, str] | None = None
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        # Entities are how a small document grows without end, or makes the reader open other files.
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
            percent = _number(values.get("percent"))
            self.percent = self.percent if percent is None else min(max(percent, 0.0), 100.0)
        elif tag == "finished":
            self.finished = values.get("exit") == "success"
        elif tag == "target" and values.get("status") == "skipped":
            if skipped := self._address(values.get("specification", "")):
                self.skipped.add(skipped)
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
        values, self._host = self._host, None
        address = self._address(values.get("ipv4") or values.get("ipv6") or "")
        if values.get("state") != "up" or address is None or address in self._found:
            return
        self._found.add(address)
        srtt, ttl = _number(values.get("srtt")), _number(values.get("ttl"))
        reason, mac = values.get("reason", ""), values.get("mac", "").lower()
        self._hosts.append(
            Host(
                address=address,
                seen=f"nmap/{reason if _WORD.fullmatch(reason) else 'unknown'}",
                seen_at=self._seen_at,
                rtt=srtt / 1e6 if srtt and 0 < srtt < 1e9 else None,
                hostname=clean(values.get("name", "")),
                mac=mac if _is_machine(mac) else None,
                # Of an ARP answer it is 0; of a TCP answer it says as much as of a ping.
                ttl=int(ttl) if ttl and 1 <= ttl <= 255 else None,
            )
        )

    def _address(self, text: str) -> str | None:
        """The address in its usual form, if it is one that was to be asked."""
        try:
            address = str(ip_address(text))
        except ValueError:
            return None
        if "%" in address:  # a zone, which may be any text; no target has one
            return None
        return address if self._targets is None or address in self._targets else None


def _is_machine(mac: str) -> bool:
    """Whether it is the MAC of a network card: not empty, not multicast."""
    return bool(_MAC.fullmatch(mac)) and mac != "00:00:00:00:00:00" and not int(mac[:2], 16) & 1


def _refuse(*_: object) -> int:
    raise NotNmap("it defines entities")


def _number(text: str | None) -> float | None:
    """None for what is no number, infinity and NaN included."""
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None
