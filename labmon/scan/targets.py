"""What an administrator types, as addresses to ask. No I/O."""

import socket
import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Interface, ip_address, ip_interface
from itertools import accumulate
from typing import overload

from labmon.errors import UsageError

VALID = "write 10.30.5.0/24, 10.30.5.10, 10.30.5.10-80 or 10.30.5.10-10.30.5.80"

Span = tuple[int, int]  # first and last address, both included


def _span(network: str) -> Span:
    net = IPv4Network(network)
    return int(net.network_address), int(net.broadcast_address)


NEARBY = sorted(
    map(
        _span,
        [
            "10.0.0.0/8",  # RFC 1918
            "172.16.0.0/12",
            "192.168.0.0/16",
            "100.64.0.0/10",  # carrier-grade NAT, RFC 6598
            "127.0.0.0/8",  # loopback, RFC 1122
            "169.254.0.0/16",  # link-local, RFC 3927
        ],
    )
)
"""Where one's own computers are. Anything else is somebody's on the Internet."""

NOBODY = [_span("0.0.0.0/8"), _span("224.0.0.0/3")]
""""This network", multicast and reserved (RFC 1122, 5771, 1112): no computer has such an address."""


class Targets(Sequence[str]):
    """Addresses in ascending order, each once. Holds the spans, and makes an address when it is asked for."""

    def __init__(self, spans: Iterable[Span]) -> None:
        self.spans = _merged(spans)
        self._ends = list(accumulate(last - first + 1 for first, last in self.spans))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __iter__(self) -> Iterator[str]:
        for first, last in self.spans:
            for number in range(first, last + 1):
                yield _text(number)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(index)
        at = bisect_right(self._ends, index)
        return _text(self.spans[at][1] + 1 - (self._ends[at] - index))

    def __contains__(self, address: object) -> bool:
        try:
            number = int(IPv4Address(address))
        except ValueError:
            return False
        return any(first <= number <= last for first, last in self.spans)

    def __str__(self) -> str:
        """The spans, such as "10.30.5.1-10.30.5.254, 10.30.6.10"."""
        return ", ".join(
            _text(first) if first == last else f"{_text(first)}-{_text(last)}" for first, last in self.spans
        )


def parse(
    texts: Sequence[str],
    *,
    max_hosts: int,
    force: bool = False,
    exclude: Sequence[str] = (),
    allow: Sequence[str] = (),
) -> Targets:
    """Read networks, addresses and ranges; overlaps and repeats count once.

    A network stands for its hosts: below /31 the network and broadcast addresses are left out, unless
    named by themselves. Host bits are fine, since 10.30.5.7/24 can only mean that /24. A range is taken
    as it is written. `exclude` is taken away, `allow` is all that may be asked; there a network is all of it.

    Raises UsageError naming what cannot be read, lies outside `allow`, outside private, loopback and
    link-local ranges, or makes more than `max_hosts`. `force` lifts the last two, and what `allow` names
    is one's own wherever it lies.
    """
    if not texts:
        raise UsageError(f"no addresses to scan: {VALID}")
    allowed = [_read(text, whole=True) for text in allow]
    spans = []
    for text in texts:
        span = _read(text)
        _check_place(span, text, _merged([*allowed, *NEARBY]), force)
        spans.append(span)
    targets = Targets(_without(_merged(spans), _merged(_read(text, whole=True) for text in exclude)))
    if not targets:
        raise UsageError("nothing is left to scan: every address is excluded")
    if allow:
        _check_allowed(targets, _merged(allowed), allow)
    if len(targets) > max_hosts and not force:
        what = _shown(texts[0]) if len(texts) == 1 else f"these {len(texts)} ranges"
        raise UsageError(
            f"{what}: {len(targets):,} addresses are more than [scan] max_hosts = {max_hosts:,}; "
            "raise it, or say --force"
        )
    return targets


def check(text: str) -> None:
    """Raises UsageError when this is nothing that `parse` can read."""
    _read(text)


def _read(text: str, *, whole: bool = False) -> Span:
    plain = text.strip()
    if not plain:
        raise UsageError(f"an empty address: {VALID}")
    if "-" in plain:
        return _read_range(plain)
    try:
        found = ip_interface(plain)
    except ValueError:
        raise UsageError(f"{_shown(text)} is no address, network or range: {VALID}") from None
    if isinstance(found, IPv6Interface) and found.network.prefixlen < 128 and not found.ip.ipv4_mapped:
        raise UsageError(
            f"{_shown(text)}: an IPv6 network cannot be swept, since at a million packets a second a /64 "
            "takes 584,942 years; name IPv4 networks"
        )
    _check_family(found.ip, text)
    network = IPv4Network(str(found.network))
    first, last = int(network.network_address), int(network.broadcast_address)
    return (first, last) if whole or network.prefixlen >= 31 else (first + 1, last - 1)


def _read_range(text: str) -> Span:
    left, _, right = (part.strip() for part in text.partition("-"))
    if right.isascii() and right.isdigit():
        right = f"{left.rpartition('.')[0]}.{right}"
    try:
        ends = ip_address(left), ip_address(right)
    except ValueError:
        raise UsageError(f"{_shown(text)} is no range of addresses: {VALID}") from None
    for end in ends:
        _check_family(end, text)
    first, last = map(int, ends)
    if first > last:
        raise UsageError(f"{_shown(text)} runs backwards: write {ends[1]}-{ends[0]}")
    return first, last


def _check_family(address: IPv4Address | IPv6Address, text: str) -> None:
    if isinstance(address, IPv4Address):
        return
    if address.ipv4_mapped:
        raise UsageError(f"{_shown(text)} is an IPv4 address in IPv6 form: write {address.ipv4_mapped}")
    raise UsageError(f"{_shown(text)} is IPv6, which labmon cannot scan yet: {VALID}")


def _check_place(span: Span, text: str, nearby: list[Span], force: bool) -> None:
    for first, last in NOBODY:
        if span[0] <= last and first <= span[1]:
            address = _text(max(span[0], first))
            raise UsageError(f"{_shown(text)}: {address} is reserved or multicast, no computer's address")
    outside = _first_outside(span, nearby)
    if outside is not None and not force:
        raise UsageError(
            f"{_shown(text)}: {_text(outside)} is outside the private, loopback and link-local ranges; "
            "if it is yours to scan, say --force"
        )


def _check_allowed(targets: Targets, allowed: list[Span], texts: Sequence[str]) -> None:
    for span in targets.spans:
        outside = _first_outside(span, allowed)
        if outside is not None:
            shown = ", ".join(texts[:5]) + (", ..." if len(texts) > 5 else "")
            raise UsageError(f"{_text(outside)} may not be scanned: [scan] allow is {shown}")


def _first_outside(span: Span, spans: list[Span]) -> int | None:
    """The first address of the span that is in none of these, which are in ascending order."""
    at, end = span
    for first, last in spans:
        if first <= at <= last:
            at = last + 1
        if at > end:
            return None
    return at


def _without(spans: list[Span], holes: list[Span]) -> list[Span]:
    """What the holes leave of the spans; both in ascending order and without overlap."""
    left = []
    for first, last in spans:
        for start, end in holes:
            if end < first or last < start:
                continue
            if first < start:
                left.append((first, start - 1))
            first = end + 1
            if first > last:
                break
        if first <= last:
            left.append((first, last))
    return left


def _merged(spans: Iterable[Span]) -> list[Span]:
    merged: list[Span] = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(merged[-1][1], last)
        else:
            merged.append((first, last))
    return merged


def _text(number: int) -> str:
    return socket.inet_ntoa(struct.pack("!I", number))  # five times as fast as IPv4Address


def _shown(text: str) -> str:
    """The user's words, on one line and not too long."""
    return repr(text if len(text) <= 60 else text[:57] + "...")
