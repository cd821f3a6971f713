"""What the probe read on macOS: sysctl, vm_stat, netstat, ioreg, top, df, who. Pure.

Written after the manual pages and published output of these programs, and not yet tried on a Mac.
"""

import re

from labmon.collect.probe import programs
from labmon.collect.probe.counters import Hardware, Sample
from labmon.collect.probe.output import INT, Lines, Part, ProbeOutput, ints, known, match, share
from labmon.collect.probe.snapshot import Snapshot

_DECIMAL = r"\d{1,12}(?:[.,]\d{1,12})?"
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "": 1}


def read(output: ProbeOutput) -> Snapshot:
    """Every number that can be read, each by itself. top's CPU is that of its own second."""
    samples = [_sample(part.lines) for part in output.samples()] or [Sample()]
    last = output.samples()[-1:] or [Part("sample")]
    top, now, users = output.lines("top"), output.lines("now"), output.lines("users")
    memory = _memory(now, last[0].lines)
    cpu = _cpu(top)
    load = match(rf"vm\.loadavg: {{ ({_DECIMAL}) .*", now)
    disk = programs.disk(output.lines("root"))
    processes = match(rf"Processes: ({INT}) total.*", top)
    people = programs.people(users[1:]) if users[:1] == ["utmp"] else {}
    time = programs.time(output.lines("time"))
    there = {
        "uptime": samples[-1].uptime is not None,
        "cpu": cpu,
        "network": samples[-1].links,
        "disk I/O": samples[-1].disks,
        "memory": memory,
        "load": load,
        "disk": disk,
        "users": people,
        "processes": processes,
        "boot id": samples[-1].boot_id,
        "time": time,
    }
    return Snapshot(
        found={
            **memory,
            **cpu,
            **known(
                load1=_number(load[1]) if load else None,
                process_count=int(processes[1]) if processes else None,
                gpu_percent=_gpu(output.lines("gpu")),
            ),
            **disk,
            **_disk_total(output.lines("disks")),
            **people,
        },
        samples=samples,
        hardware=Hardware(links=frozenset(name for name in samples[-1].links if re.match(r"en\d", name))),
        time=time,
        age=samples[-1].uptime,
        missing=tuple(name for name, is_there in there.items() if not is_there),
    )


def _sample(lines: Lines) -> Sample:
    # Setting the clock moves the time of the boot along with it.
    clock = match(rf"clock: ({_DECIMAL})", lines)
    boot = match(rf"kern\.boottime: {{ sec = ({INT}), usec = (\d{{1,6}}) }}.*", lines)
    uptime = None
    if clock and boot:
        uptime = round(_number(clock[1]) - int(boot[1]) - int(boot[2]) / 1e6, 6)
    boot_id = match(r"kern\.bootsessionuuid: ([0-9A-Fa-f-]{36})", lines)
    swapped = {
        name: int(found[1])
        for name, label in (("pswpin", "Swapins"), ("pswpout", "Swapouts"))
        if (found := match(rf'"?{label}"?: +({INT})\.', lines))
    }
    return Sample(
        uptime if uptime is not None and uptime > 0 else None,
        boot_id[1] if boot_id else None,
        events=swapped,
        links=_links(lines),
        disks=_disks(lines),
    )


def _links(lines: Lines) -> dict[str, tuple[int, ...]]:
    """Of `netstat -ibn`: the rows of the link layer. Only these have every column but the address."""
    links = {}
    for line in lines:
        words = line.split()
        # From the right: Coll Obytes Oerrs Opkts Ibytes.
        if len(words) >= 10 and words[2].startswith("<Link#") and (bytes_ := ints(words, -5, -2)):
            links[words[0].rstrip("*")] = bytes_
    return links


def _disks(lines: Lines) -> dict[str, tuple[int, ...]]:
    """Of `ioreg`: the statistics of a driver, then the name of the disk that hangs on it."""
    disks = {}
    statistics: tuple[int, ...] | None = None
    for line in lines:
        read, written = (re.search(rf'"Bytes \({way}\)"=({INT})\b', line) for way in ("Read", "Write"))
        if read and written:
            statistics = (int(read[1]), int(written[1]))
        elif statistics and (name := re.search(r'"BSD Name" = "(disk\d+)"', line)):
            disks[name[1]] = statistics
            statistics = None
    return disks


def _disk_total(lines: Lines) -> dict[str, float]:
    """Of `ioreg`: where a device is attached, and then the size of what is in it and whether it comes out.

    Disk images ("File"), USB and Thunderbolt ("External") and cards (removable) do not count; APFS volumes
    are no devices.
    """
    devices: list[list[str]] = []
    for line in lines:
        if '"Protocol Characteristics" = ' in line:
            devices.append([])
        if devices:
            devices[-1].append(line)
    total = None
    for device in devices:
        if not re.search(r'"Physical Interconnect Location"="?Internal\b', device[0]):
            continue
        sizes = [int(found[1]) for line in device if (found := re.search(rf'"Size" = ({INT})\b', line))]
        if sizes and not any('"Removable" = Yes' in line for line in device):
            total = (total or 0) + sum(sizes)
    return known(disk_total_bytes=total)


def _memory(now: Lines, vm_stat: Lines) -> dict[str, float]:
    """Free and inactive pages are available, as psutil has it."""
    total = match(rf"hw\.memsize: ({INT})", now)
    page = match(r"Mach Virtual Memory Statistics: \(page size of (\d{4,6}) bytes\)", vm_stat)
    free, inactive = (match(rf"Pages {kind}: +({INT})\.", vm_stat) for kind in ("free", "inactive"))
    found: dict[str, float] = {}
    if total:
        found["ram_total_bytes"] = int(total[1])
    if total and page and free and inactive:
        available = (int(free[1]) + int(inactive[1])) * int(page[1])
        found |= known(ram_percent=share(int(total[1]) - available, int(total[1])))
    size = rf"({_DECIMAL})([KMG]?)"
    if swap := match(rf"vm\.swapusage: total = {size} +used = {size} .*", now):
        swap_total, used = _number(swap[1]) * _UNITS[swap[2]], _number(swap[3]) * _UNITS[swap[4]]
        found |= known(swap_percent=share(used, swap_total))
    return found


def _cpu(top: Lines) -> dict[str, float]:
    """Of the last of top's looks: the first is about all time since the start."""
    found = match(rf"CPU usage: .*?({_DECIMAL})% idle.*", reversed(top))
    return {"cpu_percent": 100 - _number(found[1])} if found else {}


def _gpu(lines: Lines) -> float | None:
    loads = [
        int(found[1]) for line in lines if (found := re.search(r'"Device Utilization %"=(\d{1,3})\b', line))
    ]
    return sum(loads) / len(loads) if loads else None


def _number(word: str) -> float:
    return float(word.replace(",", "."))
