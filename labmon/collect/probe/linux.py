"""What the probe read on Linux: /proc, /sys, logind. Pure."""

import re
from datetime import datetime

from labmon.collect.probe import disks, facts, mounts, programs, temperature
from labmon.collect.probe.counters import EVENTS, MAX_PROCESSORS, SECTOR, TICKS, Hardware, Sample
from labmon.collect.probe.output import INT, Lines, Part, ProbeOutput, ints, known, match, share
from labmon.collect.probe.snapshot import Snapshot

_BOOT_ID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_ARCSTATS = "/proc/spl/kstat/zfs/arcstats"


def read(output: ProbeOutput) -> Snapshot:
    """Every number that can be read, each by itself."""
    boot = match(_BOOT_ID, output.file("/proc/sys/kernel/random/boot_id"))
    boot_id = boot[0] if boot else None
    processors = _processors(output.lines("hardware"))
    samples = [_sample(part, boot_id, processors) for part in output.samples()] or [Sample()]
    last = samples[-1]
    # In a container that has a meminfo of its own (lxcfs), the ARC is still the host's.
    has_own = match(r"\S+ /proc/meminfo .*", output.file("/proc/mounts"))
    memory = _memory(output.file("/proc/meminfo"), [] if has_own else output.file(_ARCSTATS))
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
    return Snapshot(
        found={
            **memory,
            **load,
            **disk,
            **disks.total(output.lines("disks"), output.lines("wwids")),
            **users,
            **processes,
            **programs.gpu(output.lines("gpu")),
            **temperature.cpu(output.lines("temperature")),
        },
        samples=samples,
        hardware=_hardware(output.lines("hardware")),
        time=time,
        mounts=mounts.read(output.lines("mounts")) if output.has("mounts") else None,
        facts=facts.read(output.lines("facts")),
        age=_age(output.file("/proc/stat"), last, time),
        missing=tuple(name for name, is_there in there.items() if not is_there),
    )


def _sample(part: Part, boot_id: str | None, processors: int) -> Sample:
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
    transferred: dict[str, tuple[int, ...]] = {}
    for line in part.files.get("/proc/diskstats", []):
        words = line.split()
        if sectors := ints(words, 5, 9):
            transferred[words[2]] = (sectors[0] * SECTOR, sectors[1] * SECTOR)
    seconds = float(uptime[1]) if uptime else None
    return Sample(seconds, boot_id, cpu, events, links, transferred, TICKS * processors)


def _processors(lines: Lines) -> int:
    """How many are there, from a list such as "0-3,8-11"; the most that there can be, where /sys is
    silent."""
    found = match(r"processors ([\d,-]{1,2000})", lines)
    ranges = [re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", one) for one in found[1].split(",")] if found else []
    count = sum(int(one[2] or one[1]) - int(one[1]) + 1 for one in ranges if one)
    return count if ranges and all(ranges) and count > 0 else MAX_PROCESSORS


def _age(stat: Lines, last: Sample, time: datetime | None) -> float | None:
    """Seconds for which the kernel has been counting. A container may have an uptime of its own, while its
    counters are those of the host: these are as old as `btime`, the time at which the kernel started."""
    if last.uptime is None:
        return None
    started = match(r"btime (\d{1,12})", stat)
    return max(last.uptime, time.timestamp() - int(started[1]) if started and time else 0.0)


def _hardware(lines: Lines) -> Hardware:
    def of(kind: str, folder: str) -> frozenset[str] | None:
        if f"sys {kind}" not in lines:
            return None
        names = (
            line.removeprefix(folder).removesuffix("/device") for line in lines if line.startswith(folder)
        )
        return frozenset(name.replace("!", "/") for name in names)  # cciss!c0d0 is cciss/c0d0 elsewhere

    return Hardware(of("net", "/sys/class/net/"), of("block", "/sys/block/"))


def _memory(lines: Lines, arc: Lines) -> dict[str, float]:
    """What programs can have is available: page cache is, and so is the cache of ZFS (the ARC) down to its
    least size, which the kernel counts as used though ZFS gives it back."""
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
    if available is not None and available + (cache := _reclaimable_arc(arc)) <= total:
        available += cache
    swap = kib.get("SwapTotal", 0)
    return known(
        ram_total_bytes=total * 1024 or None,
        ram_percent=share(total - available, total) if available is not None else None,
        swap_percent=share(swap - kib["SwapFree"], swap) if "SwapFree" in kib else None,
    )


def _reclaimable_arc(lines: Lines) -> int:
    """KiB, from lines `NAME TYPE BYTES` of arcstats."""
    size, least = (match(rf"{name} +\d+ +({INT})", lines) for name in ("size", "c_min"))
    return max(int(size[1]) - int(least[1]), 0) // 1024 if size and least else 0


def _load(lines: Lines) -> dict[str, float]:
    found = match(r"(\d{1,9}\.\d+) .*", lines)
    return {"load1": float(found[1])} if found else {}


def _processes(lines: Lines) -> dict[str, float]:
    found = match(INT, lines)
    return {"process_count": int(found[0])} if found else {}


def _users(output: ProbeOutput) -> dict[str, float]:
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
