"""What the probe read on Linux: /proc, /sys, logind. Pure."""

import re

from labmon.collect import programs
from labmon.collect.counters import EVENTS, SECTOR, Hardware, Sample
from labmon.collect.look import Look
from labmon.collect.output import INT, Lines, Output, Part, ints, known, match, share

_BOOT_ID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_DISK = re.compile(rf"disk (\S+) ({INT}|-) (\S+) (\S+) (\S+) (\S+) (.+)", re.ASCII)
_NOT_A_DISK = re.compile(r"(rbd|mtdblock)\d.*")
_NOT_BUILT_IN = re.compile(r"/(usb\d|fw\d|session\d|rport-|nvme-fabrics/)")
_CPU_ZONE = re.compile(r"x86_pkg_temp|.*(cpu|soc|package).*", re.IGNORECASE)


def read(output: Output) -> Look:
    """Every number that can be read, each by itself."""
    boot = match(_BOOT_ID, output.file("/proc/sys/kernel/random/boot_id"))
    boot_id = boot[0] if boot else None
    samples = [_sample(part, boot_id) for part in output.samples()] or [Sample()]
    last = samples[-1]
    memory = _memory(output.file("/proc/meminfo"))
    load = _load(output.file("/proc/loadavg"))
    disk = programs.disk(output.lines("root"))
    users = _users(output)
    processes = _processes(output.lines("processes"))
    time = programs.time(output.lines("time"))
    there = {
        "uptime": last.uptime is not None,
        "cpu": last.cpu is not None,
        "vmstat": "pgmajfault" in last.events,
        "network": bool(last.links),
        "disk I/O": bool(last.disks),
        "memory": memory,
        "load": load,
        "disk": disk,
        "users": users,
        "processes": processes,
        "boot id": boot_id,
        "time": time,
        "gpu": "hangs" not in output.lines("gpu"),
    }
    return Look(
        found={
            **memory,
            **load,
            **disk,
            **_disk_total(output.lines("disks")),
            **users,
            **processes,
            **programs.gpu(output.lines("gpu")),
            **_temperature(output.lines("temperature")),
        },
        samples=samples,
        hardware=_hardware(output.lines("hardware")),
        time=time,
        missing=tuple(name for name, is_there in there.items() if not is_there),
    )


def _sample(part: Part, boot_id: str | None) -> Sample:
    uptime = match(rf"({INT}(?:\.\d{{1,9}})?) [\d.]+", part.files.get("/proc/uptime", []))
    events: dict[str, int] = {}
    cpu: tuple[int, ...] | None = None
    for line in part.files.get("/proc/stat", []) + part.files.get("/proc/vmstat", []):
        words = line.split() or [""]
        if words[0] == "cpu":
            # guest and guest_nice, at the end, are within user and nice already.
            cpu = ints(words, 1, 2, 3, 4, 5, 6, 7, 8)
        elif words[0] in EVENTS and (number := ints(words, 1)):
            events[words[0]] = number[0]
    links: dict[str, tuple[int, ...]] = {}
    for line in part.files.get("/proc/net/dev", []):
        name, _, rest = line.rpartition(":")  # an alias, eth0:1, has one in its name
        if bytes_ := ints(rest.split(), 0, 8):
            links[name.strip()] = bytes_
    disks: dict[str, tuple[int, ...]] = {}
    for line in part.files.get("/proc/diskstats", []):
        words = line.split()
        if sectors := ints(words, 5, 9):
            disks[words[2]] = (sectors[0] * SECTOR, sectors[1] * SECTOR)
    return Sample(float(uptime[1]) if uptime else None, boot_id, cpu, events, links, disks)


def _hardware(lines: Lines) -> Hardware:
    def of(kind: str, folder: str) -> frozenset[str] | None:
        if f"sys {kind}" not in lines:
            return None
        names = (
            line.removeprefix(folder).removesuffix("/device") for line in lines if line.startswith(folder)
        )
        return frozenset(name.replace("!", "/") for name in names)  # cciss!c0d0 is cciss/c0d0 elsewhere

    return Hardware(of("net", "/sys/class/net/"), of("block", "/sys/block/"))


def _memory(lines: Lines) -> dict[str, float]:
    kib = {
        found[1]: int(found[2])
        for line in lines
        if (found := re.match(rf"(\w+): *({INT})\b", line, re.ASCII))
    }
    total = kib.get("MemTotal", 0)
    available = kib.get("MemAvailable")
    if available is None and "MemFree" in kib:  # kernels before 3.14
        reclaimable = kib.get("SReclaimable", 0) - kib.get("Shmem", 0)
        available = kib["MemFree"] + kib.get("Buffers", 0) + max(kib.get("Cached", 0) + reclaimable, 0)
    swap = kib.get("SwapTotal", 0)
    return known(
        ram_total_bytes=total * 1024 or None,
        ram_percent=share(total - available, total) if available is not None else None,
        swap_percent=share(swap - kib["SwapFree"], swap) if "SwapFree" in kib else None,
    )


def _disk_total(lines: Lines) -> dict[str, float]:
    """The disks that are built in and work; unknown when one of them does not tell its size, or where it is.

    Not what can be pulled out (removable, USB, FireWire, SD cards), is on the network (iSCSI, Fibre Channel,
    NVMe over fabrics, Ceph), is the second way to a disk (hidden), or was given up by the kernel: it keeps
    the size of a SCSI disk that is "offline", and of an NVMe one whose controller is "dead". Volumes, RAIDs,
    loops and the like have no device, and are not in these lines.
    """
    if "sys block" not in lines:
        return {}
    sectors = 0
    for line in lines:
        if line == "sys block":
            continue
        if not (found := _DISK.fullmatch(line)):
            return {}
        name, size, removable, hidden, state, kind, place = found.groups()
        if (
            "1" in (removable, hidden)
            or state in ("offline", "dead")
            or (name.startswith("mmcblk") and kind != "MMC")  # the soldered kind, and not its boot areas
            or _NOT_A_DISK.fullmatch(name)
            or _NOT_BUILT_IN.search(place)
        ):
            continue
        if "-" in (size, place):
            return {}
        sectors += int(size)
    return {"disk_total_bytes": sectors * SECTOR}


def _load(lines: Lines) -> dict[str, float]:
    found = match(r"(\d{1,9}\.\d+) .*", lines)
    return {"load1": float(found[1])} if found else {}


def _processes(lines: Lines) -> dict[str, float]:
    found = match(INT, lines)
    return {"process_count": int(found[0])} if found else {}


def _users(output: Output) -> dict[str, float]:
    head = output.lines("users")
    if head[:1] == ["utmp"]:
        return programs.people(head[1:])
    if head[:1] != ["logind"]:
        return {}
    ourselves = match(r"Uid:\t(\d+)\t.*", output.file("/proc/self/status"))
    uid = ourselves[1] if ourselves else None
    sessions = [
        dict(line.partition("=")[::2] for line in lines)
        for part in output.parts
        for file, lines in part.files.items()
        if file.startswith("/run/systemd/sessions/")
    ]
    people = {
        session.get("UID")
        for session in sessions
        if session.get("CLASS", "").startswith("user")  # not a greeter, a job of cron, a lock screen
        and session.get("STATE") in ("active", "online")
        and (session.get("UID") != uid or session.get("TTY") or session.get("SEAT"))
    }
    return {"logged_in_users": len(people)}


def _temperature(lines: Lines) -> dict[str, float]:
    """Millidegrees of hwmon chips, else of thermal zones; acpitz and its like measure the case."""
    chips, package, zones = [], [], []
    tdie = any(line.endswith(" Tdie") for line in lines)
    for line in lines:
        if found := re.fullmatch(r"hwmon \S+ (-?\d{1,7}) ?(.*)", line, re.ASCII):
            # Tctl of some AMD processors has an offset of up to 27 degrees; Tdie beside it has none.
            if not (tdie and found[2] == "Tctl"):
                chips.append(int(found[1]))
        elif found := re.fullmatch(r"zone (-?\d{1,7}) (.+)", line, re.ASCII):
            if found[2] == "x86_pkg_temp":
                package.append(int(found[1]))
            elif _CPU_ZONE.fullmatch(found[2]):
                zones.append(int(found[1]))
    for readings in (chips, package, zones):
        possible = [value / 1000 for value in readings if -50_000 < value < 150_000 and value != 0]
        if possible:
            return {"cpu_temperature_celsius": max(possible)}
    return {}
