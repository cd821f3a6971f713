"""Networks, ranges and addresses as an administrator types them, and the addresses they stand for. No I/O."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_interface, ip_network
from itertools import accumulate
from typing import overload

from labmon.address import LINK_LOCAL, NO_MACHINE
from labmon.errors import UsageError
from labmon.scan.targets.address import IPV6, Span, is_ipv6, number
from labmon.scan.targets.address import text as text_of

VALID = "write 10.30.5.0/24, 10.30.5.10, 10.30.5.10-80, 10.30.5.10-10.30.5.80 or fd00:5::/64"

ALL_NODES = "ff02::1"
"""Every IPv6 machine on a link listens to it (RFC 4291, section 2.7.1)."""

SWEPT = 1 << 32
"""IPv6 addresses that a network or range may have at most to be asked one by one: as many as IPv4 has."""

A_MILLION_A_SECOND = 1_000_000 * 60 * 60 * 24 * 365


def _span(network: str) -> Span:
    net = ip_network(network)
    beginning = IPV6 if net.version == 6 else 0
    return beginning + int(net.network_address), beginning + int(net.broadcast_address)


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
            "::1/128",
            "fc00::/7",  # unique local, RFC 4193
        ],
    )
)
"""Where one's own computers are. Any other address is of a stranger on the Internet."""

_NO_MACHINE = [_span(one) for one in NO_MACHINE]
_LINK_LOCAL = _span(LINK_LOCAL)

MAX_TEXT = 200
"""Characters of one network, range or address; the longest possible has about 100."""


@dataclass(frozen=True, slots=True)
class OnLink:
    """The machines of a link in these spans, found by one question to all: an IPv6 network is too large to
    ask each address."""

    device: str
    network: IPv6Network
    spans: tuple[Span, ...]  #: of the network, without what is excluded

    def __contains__(self, address: str) -> bool:
        return _holds(self.spans, number(address))

    def __str__(self) -> str:
        return str(self.network) if self.spans == (_span(str(self.network)),) else _words(self.spans)


class Targets(Sequence[str]):
    """Addresses in ascending order, each once. Holds the spans, and makes an address when it is asked for.

    `on_link` comes in addition: the machines there, at addresses that are too many to list.
    """

    def __init__(self, spans: Iterable[Span], on_link: Iterable[OnLink] = ()) -> None:
        self.spans = _merged(spans)
        self.on_link = tuple(on_link)
        self._ends = list(accumulate(last - first + 1 for first, last in self.spans))

    @property
    def claims(self) -> list[Span]:
        """All that may be asked. Without link-local addresses: they are different machines on each link."""
        found = [span for one in self.on_link for span in one.spans]
        return _merged([*self.spans, *_without(_merged(found), [_LINK_LOCAL])])

    def without(self, refused: Iterable[str]) -> "Targets":
        """The same without these addresses, and without these networks of `on_link`, written as by `str`."""
        refused = set(refused)
        networks = {str(one) for one in self.on_link}
        places = (number(address.partition("%")[0]) for address in refused - networks)
        holes = _merged((place, place) for place in places)
        return Targets(
            _without(self.spans, holes),
            [
                replace(one, spans=tuple(_without(list(one.spans), holes)))
                for one in self.on_link
                if str(one) not in refused
            ],
        )

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __iter__(self) -> Iterator[str]:
        for first, last in self.spans:
            for place in range(first, last + 1):
                yield text_of(place)

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
        return text_of(self.spans[at][1] + 1 - (self._ends[at] - index))

    def __contains__(self, address: object) -> bool:
        try:
            place = number(str(ip_address(str(address))))
        except (ValueError, OSError):
            return False
        return _holds(self.spans, place)

    def __str__(self) -> str:
        """The spans, such as "10.30.5.1-10.30.5.254, 10.30.6.10"."""
        return ", ".join(filter(None, [_words(self.spans), *dict.fromkeys(map(str, self.on_link))]))


def by_family(targets: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """The IPv4 addresses and the IPv6 addresses. `Targets` stay spans."""
    if not isinstance(targets, Targets):
        ipv6 = [address for address in targets if is_ipv6(address)]
        return ([address for address in targets if not is_ipv6(address)], ipv6) if ipv6 else (targets, [])
    return (
        Targets(span for span in targets.spans if span[0] < IPV6),
        Targets(span for span in targets.spans if span[0] >= IPV6),
    )


def _words(spans: Iterable[Span]) -> str:
    return ", ".join(
        text_of(first) if first == last else f"{text_of(first)}-{text_of(last)}" for first, last in spans
    )


def parse(
    texts: Sequence[str],
    *,
    max_hosts: int,
    force: bool = False,
    exclude: Sequence[str] = (),
    allow: Sequence[str] = (),
    links: Sequence[tuple[str, IPv6Network]] = (),
) -> Targets:
    """Read networks, addresses and ranges; overlaps and repeats count once.

    A network stands for its hosts: below /31 the network and broadcast addresses are left out, unless
    named by themselves. Host bits are fine, since 10.30.5.7/24 can only mean that /24. A range is taken
    as it is written. `exclude` is left out, `allow` is all that may be asked; a network in these is whole.

    An IPv6 network of more than `max_hosts` cannot be asked one by one; it is taken `on_link` when it is in
    one of `links`, the networks of this machine, each with its device. ff02::1%eth0 is all those of eth0.

    Raises UsageError naming what cannot be read, lies outside `allow`, outside private, loopback and
    link-local ranges, or makes more than `max_hosts`. `force` lifts the last two. What `allow`
    names may be public.
    """
    if not texts:
        raise UsageError(f"no addresses to scan: {VALID}")
    allowed = _merged(_read(text, whole=True) for text in allow)
    holes = _merged(_read(text, whole=True) for text in exclude)
    own = _merged([*allowed, *NEARBY])
    spans: list[Span] = []
    nearby: dict[tuple[str, IPv6Network], None] = {}  # in order, each once
    for text in texts:
        if _is_all_nodes(text):
            nearby |= dict.fromkeys(_all_of_link(text, links))
        elif network := _too_large(text, max_hosts):
            nearby[_link_of(network, text, links)] = None
        else:
            span = _read(text)
            _check_place(span, text, own, force)
            spans.append(span)
    on_link = [
        OnLink(device, network, tuple(_without([_span(str(network))], holes))) for device, network in nearby
    ]
    targets = Targets(_without(_merged(spans), holes), filter(lambda one: one.spans, on_link))
    if not (targets or targets.on_link):
        raise UsageError("nothing is left to scan: every address is excluded")
    if allow:
        _check_allowed(targets, allowed, allow)
    if len(targets) > max_hosts and not force:
        what = _shown(texts[0]) if len(texts) == 1 else f"these {len(texts)} ranges"
        raise UsageError(
            f"{what}: {len(targets):,} addresses are more than [scan] max_hosts = {max_hosts:,}; "
            "raise it, or say --force"
        )
    return targets


def check(text: str) -> None:
    """Raises UsageError for text that `parse` cannot read."""
    if not _is_all_nodes(text):
        _read(text, whole=True)


def _is_all_nodes(text: str) -> bool:
    address, percent, device = text.strip().partition("%")
    return address.lower() == ALL_NODES and not (percent and not device)


def _all_of_link(text: str, links: Sequence[tuple[str, IPv6Network]]) -> list[tuple[str, IPv6Network]]:
    _, _, device = text.strip().partition("%")
    found = [(name, network) for name, network in links if name == device]
    if not found:
        names = ", ".join(f"{ALL_NODES}%{name}" for name in dict.fromkeys(name for name, _ in links))
        known = f"write {names}" if names else "this machine has no IPv6 address on any link"
        raise UsageError(f"{_shown(text)} names no link of this machine: {known}")
    return found


def _too_large(text: str, max_hosts: int) -> IPv6Network | None:
    """The IPv6 network, if it is one with more addresses than can be asked one by one."""
    if "/" not in text or ":" not in text or "-" in text:
        return None
    span = _read(text, whole=True)
    size = span[1] - span[0] + 1
    if span[0] < IPV6 or size <= min(max_hosts, SWEPT):
        return None
    return IPv6Network((span[0] - IPV6, 128 - (size.bit_length() - 1)))


def _link_of(
    network: IPv6Network, text: str, links: Sequence[tuple[str, IPv6Network]]
) -> tuple[str, IPv6Network]:
    for device, near in links:
        if network.subnet_of(near):
            return device, network
    years = network.num_addresses / A_MILLION_A_SECOND
    time = f"{years:,.0f} years" if years >= 1 else f"{years * 365 * 24:,.1f} hours"
    raise UsageError(
        f"{_shown(text)} is on no link of this machine, and cannot be swept: at a million packets a second "
        f"that takes {time}; name its addresses, or scan it from a machine on that link"
    )


def _read(text: str, *, whole: bool = False) -> Span:
    if len(text) > MAX_TEXT:
        raise UsageError(f"{_shown(text)} is no address, network or range: {VALID}")
    plain = text.strip()
    if not plain:
        raise UsageError(f"an empty address: {VALID}")
    if "-" in plain and "%" not in plain:
        return _read_range(plain)
    try:
        found = ip_interface(plain)
    except ValueError:
        raise UsageError(f"{_shown(text)} is no address, network or range: {VALID}") from None
    _check_form(found.ip, text, plain.partition("%")[2].partition("/")[0])
    first, last = _span(str(found.network))
    if whole or last - first <= 1:
        return first, last
    # The last address of an IPv6 network is as good as any, the first is any router's (RFC 4291, 2.6.1).
    return first + 1, last if first >= IPV6 else last - 1


def _read_range(text: str) -> Span:
    left, _, right = (part.strip() for part in text.partition("-"))
    mark = ":" if ":" in left else "."
    if mark not in right and right.isascii() and right.isalnum():  # the last part of it alone
        right = f"{left.rpartition(mark)[0]}{mark}{right}"
    try:
        ends = ip_address(left), ip_address(right)
    except ValueError:
        raise UsageError(f"{_shown(text)} is no range of addresses: {VALID}") from None
    for end in ends:
        _check_form(end, text)
    if ends[0].version != ends[1].version:
        raise UsageError(f"{_shown(text)} begins in IPv{ends[0].version} and ends in IPv{ends[1].version}")
    first, last = number(str(ends[0])), number(str(ends[1]))
    if first > last:
        raise UsageError(f"{_shown(text)} runs backwards: write {ends[1]}-{ends[0]}")
    if last - first >= SWEPT:
        raise UsageError(f"{_shown(text)}: {last - first + 1:,} addresses cannot be asked one by one")
    return first, last


def _check_form(address: IPv4Address | IPv6Address, text: str, zone: str = "") -> None:
    if isinstance(address, IPv4Address):
        return
    if address.ipv4_mapped:
        raise UsageError(f"{_shown(text)} is an IPv4 address in IPv6 form: write {address.ipv4_mapped}")
    if address.is_link_local:
        raise UsageError(
            f"{_shown(text)}: a link-local address means nothing on another machine; "
            f"write {ALL_NODES}%{zone or 'eth0'} to see everybody on that link"
        )
    if zone:
        raise UsageError(f"{_shown(text)}: only link-local addresses have a link: leave %{zone} out")


def _check_place(span: Span, text: str, nearby: list[Span], force: bool) -> None:
    for first, last in _NO_MACHINE:
        if span[0] <= last and first <= span[1]:
            address = text_of(max(span[0], first))
            raise UsageError(f"{_shown(text)}: {address} is reserved or multicast, no computer's address")
    outside = _first_outside(span, nearby)
    if outside is not None and not force:
        raise UsageError(
            f"{_shown(text)}: {text_of(outside)} is outside the private, loopback and link-local ranges; "
            "if it is yours to scan, say --force"
        )


def _check_allowed(targets: Targets, allowed: list[Span], texts: Sequence[str]) -> None:
    for span in [*targets.spans, *(span for one in targets.on_link for span in one.spans)]:
        outside = _first_outside(span, allowed)
        if outside is not None:
            shown = ", ".join(texts[:5]) + (", ..." if len(texts) > 5 else "")
            raise UsageError(f"{text_of(outside)} may not be scanned: [scan] allow is {shown}")


def _first_outside(span: Span, spans: list[Span]) -> int | None:
    """The first address of the span that is in none of these, which are merged."""
    at, end = span
    place = bisect_right(spans, at, key=lambda one: one[0]) - 1
    for first, last in (spans[index] for index in range(max(place, 0), len(spans))):
        if first <= at <= last:
            at = last + 1
        if at > end:
            return None
        if first > at:
            break
    return at


def _holds(spans: Sequence[Span], place: int) -> bool:
    """Whether one of the spans, in ascending order and without overlap, has this address."""
    at = bisect_right(spans, place, key=lambda one: one[0]) - 1
    return at >= 0 and place <= spans[at][1]


def _without(spans: list[Span], holes: list[Span]) -> list[Span]:
    """What the holes leave of the spans; both in ascending order and without overlap."""
    left = []
    for first, last in spans:
        for at in range(bisect_left(holes, first, key=lambda hole: hole[1]), len(holes)):
            start, end = holes[at]
            if last < start:
                break
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


def _shown(text: str) -> str:
    """Typed text for an error, quoted, and cut when it is long."""
    return repr(text if len(text) <= 60 else text[:57] + "...")
