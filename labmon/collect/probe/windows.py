"""What the probe read on Windows, with probe.ps1. Pure.

Written after Microsoft's descriptions of the classes that it asks, and not yet tried on Windows.
"""

import re

from labmon.collect.probe import programs
from labmon.collect.probe.counters import Hardware, Sample
from labmon.collect.probe.output import INT, Lines, ProbeOutput, ints, known, match, share
from labmon.collect.probe.snapshot import Snapshot

_NAME = r'"([^"]{1,200})"'


def read(output: ProbeOutput) -> Snapshot:
    """Every number that can be read, each by itself."""
    now = output.lines("now")
    boot = match(r"boot ([0-9A-Za-z-]{1,40})", now)
    samples = [_sample(part.lines, boot[1] if boot else None) for part in output.samples()] or [Sample()]
    memory = _memory(now)
    disk = match(rf"disk ({INT}) ({INT})", now)
    users, processes = (match(rf"{what} ({INT})", now) for what in ("users", "processes"))
    time = programs.time(output.lines("time"))
    there = {
        "uptime": samples[-1].uptime is not None,
        "cpu": samples[-1].cpu,
        "network": samples[-1].links,
        "disk I/O": samples[-1].disks,
        "memory": memory,
        "disk": disk,
        "users": users,
        "processes": processes,
        "boot id": boot,
        "time": time,
        "gpu": "hangs" not in output.lines("gpu"),
    }
    return Snapshot(
        found={
            **memory,
            **known(
                disk_percent=share(int(disk[1]) - int(disk[2]), int(disk[1])) if disk else None,
                logged_in_users=int(users[1]) if users else None,
                process_count=int(processes[1]) if processes else None,
            ),
            **_disk_total(output.lines("disks")),
            **programs.gpu(output.lines("gpu")),
        },
        samples=samples,
        hardware=_hardware(output.lines("hardware")),
        time=time,
        age=samples[-1].uptime,
        missing=tuple(name for name, is_there in there.items() if not is_there),
    )


def _sample(lines: Lines, boot_id: str | None) -> Sample:
    uptime = match(r"uptime (\d{1,10}\.\d{1,9})", lines)
    cpu = match(rf"cpu ({INT}) ({INT})", lines)
    events: dict[str, int] = {}
    links: dict[str, tuple[int, ...]] = {}
    disks: dict[str, tuple[int, ...]] = {}
    for line in lines:
        if found := re.fullmatch(rf"event (ctxt|pgmajfault) ({INT})", line, re.ASCII):
            events[found[1]] = int(found[2])
        elif found := re.fullmatch(rf"(link|disk) {_NAME} ({INT}) ({INT})", line, re.ASCII):
            of = links if found[1] == "link" else disks
            of[found[2]] = (int(found[3]), int(found[4]))
    return Sample(
        float(uptime[1]) if uptime else None,
        boot_id,
        # Windows does not say which kind of work it was.
        (max(int(cpu[1]) - int(cpu[2]), 0), 0, 0, int(cpu[2])) if cpu else None,
        events,
        links,
        disks,
    )


def _hardware(lines: Lines) -> Hardware:
    """The counters know a card by its name too, with other characters where these mean something to them."""
    names = (found[1] for line in lines if (found := re.fullmatch(rf"link {_NAME}", line)))
    return Hardware(links=frozenset(name.translate(str.maketrans("()#/\\", "[]___")) for name in names))


def _disk_total(lines: Lines) -> dict[str, float]:
    """Of Win32_DiskDrive: Size, InterfaceType, Capabilities (7: has removable media), MediaType.

    A USB disk that speaks SCSI (UAS) is known by its MediaType alone. The members of a storage pool are not
    in this class, but the pool is.
    """
    total = None
    for line in lines:
        found = re.fullmatch(r'disk "(\d{0,19})" "([^"]*)" "([\d ]*)" "([^"]*)"', line, re.ASCII)
        if not found:
            return {}
        total = total or 0
        size, interface, capabilities, media = found.groups()
        if interface in ("USB", "1394") or "7" in capabilities.split():
            continue
        if media.startswith(("External", "Removable")):
            continue
        if not size:
            return {}
        total += int(size)
    return known(disk_total_bytes=total)


def _memory(lines: Lines) -> dict[str, float]:
    """KiB of memory: there, free for programs. MiB of each page file: there, used."""
    found: dict[str, float] = {}
    if memory := match(rf"memory ({INT}) ({INT})", lines):
        total, free = int(memory[1]), int(memory[2])
        found |= known(ram_total_bytes=total * 1024 or None, ram_percent=share(total - free, total))
    files = [sizes for line in lines if line.startswith("pagefile ") and (sizes := ints(line.split(), 1, 2))]
    return found | known(swap_percent=share(sum(used for _, used in files), sum(all_ for all_, _ in files)))
