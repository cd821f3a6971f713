"""Counters that only grow, two samples of them, and the rates in between. Pure.

Counters are those of proc(5): /proc/stat, /proc/vmstat, /proc/diskstats, /proc/net/dev. A counter that went
down has wrapped, or its device was reset, or the machine was restarted; which of these cannot be known, so
the rate is absent. The same goes for a counter that grew faster than any hardware, or that is larger than the
time since the start allows: containers and hypervisors make such counters up.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

SECTOR = 512
"""Bytes. The unit of /proc/diskstats, whatever the disk's own sectors are."""

EVENTS = {
    "ctxt": "context_switch_rate",
    "pgmajfault": "major_page_fault_rate",
    "pswpin": "swap_in_rate",
    "pswpout": "swap_out_rate",
}
"""Counters of single events, and the readings made of them. Swapping is counted in pages."""

MAX_MBPS = 1e6
MAX_EVENTS = 1e9
MAX_COUNTER = 2**64 - 1
"""What a counter of the kernel can hold, and what the file of counters can."""

MIN_SECONDS = 0.5
"""Uptime and ticks are in hundredths of a second; closer samples say more of those than of the machine."""

TICKS = 100
"""Per second and processor: USER_HZ of Linux, whatever the kernel's own frequency is."""

MAX_PROCESSORS = 8192
"""The most that Linux can be built for on x86: the bound where the machine does not tell its own number."""

MAX_BACKSTEP = 100
"""Ticks by which idle, iowait and steal may go back before it is a reset."""

_VIRTUAL_LINK = re.compile(
    r"lo|.+\.\d+|"  # loopback; a VLAN of another interface
    r"(docker|podman|cni|cali|flannel|veth|virbr|vnet|vmnet|vboxnet|lxcbr|lxdbr|br|bridge|bond|team|dummy|ifb|"
    r"tun|tunl|tap|wg|sit|gre|gretap|ip6tnl)([-_.\d].*|[0-9a-f]{6,}.*)?"
)
_VIRTUAL_DISK = re.compile(r"(loop|ram|zram|dm-|md|drbd|nbd|fd|sr)\d+.*")


@dataclass(frozen=True)
class Sample:
    """The counters at one moment. A file that was not there leaves its field None or empty. msgspec can write
    and read it."""

    uptime: float | None = None  #: seconds; the clock of the sample
    boot_id: str | None = None  #: which boot these counters are of, where the machine tells
    cpu: tuple[int, ...] | None = None  #: ticks: user nice system idle, on Linux iowait irq softirq steal
    events: Mapping[str, int] = field(default_factory=dict)  #: those of EVENTS
    links: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  #: name: bytes (received, sent)
    disks: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  #: name: bytes (read, written)
    cpu_per_second: int | None = None  #: the ticks that all its processors have in a second, at most


@dataclass(frozen=True)
class Hardware:
    """The names that stand for real network cards and disks. None: /sys does not say, names must do."""

    links: frozenset[str] | None = None
    disks: frozenset[str] | None = None


def without_impossible(
    sample: Sample, hardware: Hardware, age: float | None
) -> tuple[Sample, tuple[str, ...]]:
    """The sample without what no machine can have counted, and the names of what was left out.

    `age` is the seconds since the counters began; None where unknown. One impossible counter of a disk or
    network card that is added up takes all of its kind along: the sum would lack it.
    """
    seconds = math.inf if age is None else age + 1
    names = []
    if sample.cpu is not None:
        ticks = math.inf if sample.cpu_per_second is None else 1.05 * sample.cpu_per_second * seconds
        if sum(sample.cpu) > min(MAX_COUNTER, ticks):
            sample = replace(sample, cpu=None)
            names.append("cpu")
    byte_limit = min(MAX_COUNTER, MAX_MBPS * 1e6 * seconds)
    if (high := _above(sample.links, byte_limit / 8)) and high & physical_links(sample.links, hardware):
        sample = replace(sample, links={})
        names.append("network")
    if (high := _above(sample.disks, byte_limit)) and high & whole_disks(sample.disks, hardware):
        sample = replace(sample, disks={})
        names.append("disk I/O")
    event_limit = min(MAX_COUNTER, MAX_EVENTS * seconds)
    if impossible := [name for name, count in sample.events.items() if count > event_limit]:
        possible = {name: count for name, count in sample.events.items() if name not in impossible}
        sample = replace(sample, events=possible)
        names += impossible
    return sample, tuple(names)


def _above(counters: Mapping[str, tuple[int, ...]], limit: float) -> set[str]:
    return {name for name, values in counters.items() if max(values) > limit}


def rates(before: Sample, after: Sample, hardware: Hardware) -> dict[str, float]:
    """What happened between two samples, under the names and in the units of `messages.Readings`.

    They may be a second or a day apart. Only what can be known is in it: nothing across a restart, nor when
    `after` is the earlier one.
    """
    if before.boot_id != after.boot_id:
        return {}
    seconds = None
    if before.uptime is not None and after.uptime is not None:
        seconds = after.uptime - before.uptime
        if seconds < MIN_SECONDS:
            return {}
    found = _cpu(before.cpu, after.cpu, _most_ticks(seconds, after.cpu_per_second))
    if seconds is None:
        return found

    links = physical_links(after.links, hardware)
    disks = whole_disks(after.disks, hardware)
    received, sent = _grown(before.links, after.links, links)
    read, written = _grown(before.disks, after.disks, disks)
    amounts = {
        "network_recv_mbps": (received, 8 / 1e6, MAX_MBPS),
        "network_sent_mbps": (sent, 8 / 1e6, MAX_MBPS),
        "disk_read_mbps": (read, 1 / 1e6, MAX_MBPS),
        "disk_write_mbps": (written, 1 / 1e6, MAX_MBPS),
    }
    for counter, name in EVENTS.items():
        if counter in before.events and counter in after.events:
            amounts[name] = (after.events[counter] - before.events[counter], 1.0, MAX_EVENTS)
    for name, (amount, factor, limit) in amounts.items():
        if amount is not None and 0 <= amount * factor / seconds <= limit:
            found[name] = _rounded(amount * factor / seconds, 2 if name in EVENTS.values() else 3)
    return found


def _rounded(rate: float, decimals: int) -> float:
    """Three significant digits: what comes by chance, as packets do, varies by more than the rest, which is
    noise that no compression makes smaller."""
    return round(rate, min(decimals, 2 - math.floor(math.log10(rate)))) if rate else rate


def physical_links(names: Iterable[str], hardware: Hardware) -> set[str]:
    """The interfaces whose bytes are counted.

    Those with hardware behind them: a bond, a bridge or a tunnel would count the same bytes again. In a
    container none has, and then those whose names do not say that they are virtual.
    """
    real = {name for name in names if hardware.links is not None and name in hardware.links}
    return real or {name for name in names if not _VIRTUAL_LINK.fullmatch(name)}


def whole_disks(names: Iterable[str], hardware: Hardware) -> set[str]:
    """The block devices whose bytes are counted: disks, not their partitions nor what is built upon them."""
    names = set(names)
    real = {name for name in names if hardware.disks is not None and name in hardware.disks}
    if real:
        return real
    return {
        name
        for name in names
        if not _VIRTUAL_DISK.fullmatch(name)
        # sda1 of sda, nvme0n1p2 of nvme0n1
        and not ((parent := re.sub(r"(?<=\d)p\d+$|(?<=\D)\d+$", "", name)) != name and parent in names)
    }


def _grown(
    before: Mapping[str, tuple[int, ...]], after: Mapping[str, tuple[int, ...]], names: set[str]
) -> tuple[int | None, int | None]:
    """The growth of both counters over the devices that were there both times; None where one went down."""
    pairs = [(before[name], after[name]) for name in names if name in before]
    if not pairs:
        return None, None
    first = [new[0] - old[0] for old, new in pairs]
    second = [new[1] - old[1] for old, new in pairs]
    return (
        sum(first) if min(first) >= 0 else None,
        sum(second) if min(second) >= 0 else None,
    )


def _most_ticks(seconds: float | None, per_second: int | None) -> float:
    """What the processors can count in this time, generously: ticks are booked late, and in lumps.

    There is no least: a machine that slept, or whose hypervisor gave it little time, counts less.
    """
    return math.inf if seconds is None or per_second is None else 1.5 * per_second * (seconds + 1)


def _cpu(
    before: tuple[int, ...] | None, after: tuple[int, ...] | None, most_ticks: float
) -> dict[str, float]:
    """Busy is all but idle and waiting for I/O, as `top` and psutil have it.

    Guests' time is within user and nice already. Idle, iowait and steal go back a little now and then
    (proc(5) calls iowait unreliable), which counts as nothing; when any other does, they were reset.
    """
    if before is None or after is None or len(before) != len(after):
        return {}
    tells_iowait = len(after) > 4
    before, after = ((*ticks, 0, 0, 0, 0)[:8] for ticks in (before, after))
    user, nice, system, idle, iowait, irq, softirq, steal = (
        new - old for old, new in zip(before, after, strict=True)
    )
    if min(user, nice, system, irq, softirq) < 0 or min(idle, iowait, steal) < -MAX_BACKSTEP:
        return {}
    idle, iowait, steal = max(idle, 0), max(iowait, 0), max(steal, 0)
    busy = user + nice + system + irq + softirq + steal
    total = busy + idle + iowait
    if not 0 < total <= most_ticks:
        return {}
    found = {"cpu_percent": round(100 * busy / total, 2)}
    return found | {"cpu_iowait_percent": round(100 * iowait / total, 2)} if tells_iowait else found
