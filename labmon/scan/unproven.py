"""Answers that prove no machine. No I/O.

Some routers and firewalls answer for addresses that have no machine: with resets for every connection, or
with their own MAC for every ARP question (proxy ARP). One such answer looks like that of a machine that drops
pings and has no open port. What gives them away is that nearly no address of the range is silent.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address

from labmon.scan.host import Host
from labmon.scan.targets.address import Span, number, text

BLOCK = 64
"""Addresses that are judged together: a router answers for whole subnets, which are seldom smaller."""

FEWEST = 16
"""Answers of one kind in a block that are needed to judge it."""

NEARLY_ALL = 0.9
"""Share of the addresses without another answer."""

_RESETS = {"reset", "conn-refused"}  # reasons of nmap's


@dataclass
class UnprovenAnswers:
    """Hosts whose only answer could be that of a router; found out at the end of a sweep."""

    hosts: dict[str, Host] = field(default_factory=dict)  #: by address
    _proven: Counter[int] = field(default_factory=Counter)  # hosts in each block

    def holds(self, host: Host) -> bool:
        """Take this host. Returns whether it is held back; one that is proven need not wait for the end."""
        if kind_of(host) is None:
            self._proven[_block(host.address)] += 1
            return False
        self.hosts[host.address] = host
        return True

    def judge(self, asked: Iterable[Span]) -> list[Host]:
        """The hosts held that prove nothing, given all addresses (as numbers) that were asked."""
        groups: dict[tuple[int, str], list[Host]] = defaultdict(list)
        for host in self.hosts.values():
            groups[_block(host.address), kind_of(host) or ""].append(host)
        large = {key: hosts for key, hosts in groups.items() if len(hosts) >= FEWEST}
        if not large:
            return []
        sizes = _sizes(asked, {block for block, _ in large})
        answers = self._proven + Counter(_block(address) for address in self.hosts)
        return [
            host
            for (block, _), hosts in large.items()
            # Answers of other kinds are of machines, so their addresses are not a router's to answer for.
            if len(hosts) >= NEARLY_ALL * (sizes[block] - (answers[block] - len(hosts)))
            for host in hosts
        ]


def kind_of(host: Host) -> str | None:
    """What a router's answer in the host's place would have in common with this one; None when the host has
    answered a ping, has an open port, or is this machine itself."""
    if host.ports or host.port_open or "ping" in (host.seen, *host.also) or "%" in host.address:
        return None
    if ip_address(host.address).is_loopback:
        return None
    method, _, reason = host.seen.partition("/")
    if method in ("arp", "ndp") or reason in ("arp-response", "nd-response"):
        return host.mac or "proxy"
    return "reset" if method == "tcp" or reason in _RESETS else None


def describe(hosts: list[Host]) -> str:
    """One line for the user: how many, where, and why they count for nothing."""
    first, last = (text(pick(number(host.address) for host in hosts)) for pick in (min, max))
    macs = {host.mac for host in hosts if host.seen.partition("/")[0] != "tcp"}
    how = f"with one MAC, {macs.pop()}" if len(macs) == 1 and None not in macs else "in the same empty way"
    if all(kind_of(host) == "reset" for host in hosts):
        how = "only with resets"
    return (
        f"{len(hosts):,} addresses from {first} to {last} answered {how}, without a ping or an open port, "
        "and nearly none was silent: that is a router or firewall answering for addresses without a machine"
    )


def _block(address: str) -> int:
    return number(address.partition("%")[0]) // BLOCK


def _sizes(asked: Iterable[Span], blocks: set[int]) -> Counter[int]:
    """How many addresses of each of these blocks were asked."""
    sizes: Counter[int] = Counter()
    spans = sorted(asked)
    for block in blocks:
        start, end = block * BLOCK, (block + 1) * BLOCK - 1
        sizes[block] = sum(
            min(last, end) - max(first, start) + 1 for first, last in spans if first <= end and last >= start
        )
    return sizes
