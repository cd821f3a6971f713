"""What `probe.sh` printed -> readings. Pure: no clock, no files, no network.

What a number means where that could be asked:

* `disk_percent` is the root file system, used / (used + free for users), as `df` has it. Not the fullest one:
  which that is changes from day to day, and read-only images are full for ever. A root on the network has
  no disk_percent.
* `logged_in_users` counts people, not terminals. With logind: distinct users with a session open and not
  closing; the account that measures counts only if it has a terminal or a seat. Else `who`, distinct names.
* `ram_percent` is what is not available to programs: 1 - MemAvailable / MemTotal; page cache is available.
* `cpu_temperature_celsius` is the hottest sensor of the processor.
* Several GPUs: the mean load, the memory of all together, the hottest temperature.
* `swap_percent` is absent where there is no swap.

Numbers that cannot be are left out, each alone. Whatever the bytes, the only exception is `HostFailed`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec

from labmon.collect.counters import EVENTS, SECTOR, Hardware, Sample, rates
from labmon.collect.failures import HostFailed, one_line
from labmon.collect.probe import BEGIN, BOOT_ID, END
from labmon.messages import Readings

MAX_SKEW = timedelta(minutes=5)
"""A target's clock further from the collector's than this is not believed (5 minutes is also what Kerberos
allows, so that a working campus machine is within it)."""

Lines = Mapping[str, list[str]]
"""The lines of a part by the file they came from; "" for those of a program."""

_INT = r"\d{1,19}"
_CPU_ZONE = re.compile(r"x86_pkg_temp|.*(cpu|soc|package).*", re.IGNORECASE)


@dataclass(frozen=True)
class Report:
    """One probe, read. `collected_at` is by the target's clock, or by the collector's when the target's is
    missing or off by more than MAX_SKEW; `clock_skew` is target minus collector, in seconds. `sample` is the
    last look at the counters, to be given to the next `parse`."""

    readings: Readings
    collected_at: datetime
    clock_skew: float | None
    sample: Sample
    hardware: Hardware
    missing: tuple[str, ...]  #: what every Linux has and this output has not: "cpu", "memory", ...


def parse(output: bytes, received_at: datetime, before: Sample | None = None) -> Report:
    """Read the output of the probe, which arrived at `received_at`.

    Rates are those since `before`, a sample of an earlier output of the same machine; where there is none, or
    the machine was restarted since, those between the samples of this output, if it has two.

    Noise before the first marker is skipped. Raises `HostFailed`, and nothing else, for any bytes at all.
    """
    parts = _split(output)
    once = {name: lines for name, lines in parts if name != "sample"}
    now = once.get("now", {})
    boot_id = _boot_id(now.get("/proc/sys/kernel/random/boot_id", []))
    samples = [_sample(lines, boot_id) for name, lines in parts if name == "sample"] or [Sample()]
    last = samples[-1]
    hardware = _hardware(_plain(once, "hardware"))

    found = (rates(before, last, hardware) if before else {}) or rates(samples[0], last, hardware)
    if last.uptime is not None:
        found["uptime_seconds"] = int(last.uptime)
    memory = _memory(now.get("/proc/meminfo", []))
    load = _load(now.get("/proc/loadavg", []))
    disk = _disk(_plain(once, "root"))
    users = _users(once.get("users", {}))
    processes = _one_number(_plain(once, "processes"))
    gpu, gpu_hangs = _gpu(_plain(once, "gpu"))
    for part in (memory, load, disk, users, processes, gpu, _temperature(_plain(once, "temperature"))):
        found |= part

    target_time = _time(_plain(once, "time"))
    skew = (target_time - received_at) if target_time else None
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
        "time": target_time,
        "gpu": not gpu_hangs,
    }
    return Report(
        readings=_readings(found),
        collected_at=target_time if target_time and skew and abs(skew) <= MAX_SKEW else received_at,
        clock_skew=round(skew.total_seconds(), 3) if skew is not None else None,
        sample=last,
        hardware=hardware,
        missing=tuple(name for name, is_there in there.items() if not is_there),
    )


def _split(output: bytes) -> list[tuple[str, Lines]]:
    """The parts in their order, each with its lines by file."""
    output = b"\n" + output.replace(b"\r\n", b"\n")
    start = output.find(BEGIN)
    if start < 0:
        said = one_line(output)
        raise HostFailed(
            "output unusable", f"not the probe's output: {said!r}" if said else "no output at all"
        )
    end = output.find(END, start)
    if end < 0:
        raise HostFailed("output unusable", f"the probe's output breaks off after {len(output) - 1} bytes")
    version, *lines = output[start + len(BEGIN) : end].decode("utf-8", "replace").split("\n")
    if version != "1":
        raise HostFailed("output unusable", f"a probe of version {one_line(version, 20)!r}, not 1")

    parts: list[tuple[str, Lines]] = []
    part: dict[str, list[str]] = {}
    for line in lines:
        if line.startswith("#"):
            part = {}
            parts.append((line[1:], part))
        elif line.startswith(("/proc/", "/run/")) and ":" in line:
            file, _, line = line.partition(":")
            part.setdefault(file, []).append(line)
        elif line:
            part.setdefault("", []).append(line)
    return parts


def _plain(parts: Mapping[str, Lines], name: str) -> list[str]:
    return parts.get(name, {}).get("", [])


def _match(pattern: str, lines: Iterable[str]) -> re.Match[str] | None:
    """The first line that is wholly the pattern."""
    return next((match for line in lines if (match := re.fullmatch(pattern, line, re.ASCII))), None)


def _is_int(word: str) -> bool:
    """Plain digits, and no more of them than a 64-bit counter has."""
    return len(word) <= 20 and word.isascii() and word.isdigit()


def _at(words: list[str], *places: int) -> tuple[int, ...] | None:
    """The whole numbers at these places of a line; None if one is none."""
    if len(words) <= max(places) or not all(_is_int(words[place]) for place in places):
        return None
    return tuple(int(words[place]) for place in places)


def _sample(lines: Lines, boot_id: str | None) -> Sample:
    uptime = _match(rf"({_INT}(?:\.\d{{1,9}})?) [\d.]+", lines.get("/proc/uptime", []))
    events: dict[str, int] = {}
    cpu: tuple[int, ...] | None = None
    for line in lines.get("/proc/stat", []) + lines.get("/proc/vmstat", []):
        words = line.split() or [""]
        if words[0] == "cpu":
            # guest and guest_nice, at the end, are within user and nice already.
            cpu = _at(words, 1, 2, 3, 4, 5, 6, 7, 8)
        elif words[0] in EVENTS and (number := _at(words, 1)):
            events[words[0]] = number[0]
    links: dict[str, tuple[int, ...]] = {}
    for line in lines.get("/proc/net/dev", []):
        name, _, rest = line.rpartition(":")  # an alias, eth0:1, has one in its name
        if bytes_ := _at(rest.split(), 0, 8):
            links[name.strip()] = bytes_
    disks: dict[str, tuple[int, ...]] = {}
    for line in lines.get("/proc/diskstats", []):
        words = line.split()
        if sectors := _at(words, 5, 9):
            disks[words[2]] = (sectors[0] * SECTOR, sectors[1] * SECTOR)
    return Sample(float(uptime[1]) if uptime else None, boot_id, cpu, events, links, disks)


def _hardware(lines: list[str]) -> Hardware:
    def of(kind: str, folder: str) -> frozenset[str] | None:
        if f"sys {kind}" not in lines:
            return None
        names = (
            line.removeprefix(folder).removesuffix("/device") for line in lines if line.startswith(folder)
        )
        return frozenset(name.replace("!", "/") for name in names)  # cciss!c0d0 is cciss/c0d0 elsewhere

    return Hardware(of("net", "/sys/class/net/"), of("block", "/sys/block/"))


def _memory(lines: list[str]) -> dict[str, float]:
    kib = {
        match[1]: int(match[2])
        for line in lines
        if (match := re.match(rf"(\w+): *({_INT})\b", line, re.ASCII))
    }
    found: dict[str, float] = {}
    total = kib.get("MemTotal", 0)
    available = kib.get("MemAvailable")
    if available is None and "MemFree" in kib:  # kernels before 3.14
        reclaimable = kib.get("SReclaimable", 0) - kib.get("Shmem", 0)
        available = kib["MemFree"] + kib.get("Buffers", 0) + max(kib.get("Cached", 0) + reclaimable, 0)
    if total:
        found["ram_total_bytes"] = total * 1024
        if available is not None:
            found["ram_percent"] = 100 * (total - available) / total
    if kib.get("SwapTotal") and "SwapFree" in kib:
        found["swap_percent"] = 100 * (kib["SwapTotal"] - kib["SwapFree"]) / kib["SwapTotal"]
    return found


def _load(lines: list[str]) -> dict[str, float]:
    match = _match(r"(\d{1,9}\.\d+) .*", lines)
    return {"load1": float(match[1])} if match else {}


def _disk(lines: list[str]) -> dict[str, float]:
    """Of `stat -f` (blocks: all, free, free for users) or of `df -P -k` (its last columns)."""
    if match := _match(rf"statfs ({_INT}) ({_INT}) ({_INT})", lines):
        total, free, available = int(match[1]), int(match[2]), int(match[3])
        used = total - free
    elif match := _match(rf"\S.* ({_INT}) +({_INT}) +({_INT}) +\d+% +/", lines):
        used, available = int(match[2]), int(match[3])
    else:
        return {}
    return {"disk_percent": 100 * used / (used + available)} if used >= 0 and used + available else {}


def _users(lines: Lines) -> dict[str, float]:
    head = lines.get("", [])
    if match := _match(rf"logind ({_INT})", head):
        sessions = [dict(line.partition("=")[::2] for line in of) for file, of in lines.items() if file]
        people = {
            session.get("UID")
            for session in sessions
            if session.get("CLASS", "").startswith("user")  # not a greeter, a job of cron, a lock screen
            and session.get("STATE") in ("active", "online")
            and (session.get("UID") != match[1] or session.get("TTY") or session.get("SEAT"))
        }
        return {"logged_in_users": len(people)}
    if head[:1] == ["utmp"]:
        return {"logged_in_users": len({line.split()[0] for line in head[1:] if line.split()})}
    return {}


def _one_number(lines: list[str]) -> dict[str, float]:
    match = _match(_INT, lines)
    return {"process_count": int(match[0])} if match else {}


def _temperature(lines: list[str]) -> dict[str, float]:
    """Millidegrees of hwmon chips, else of thermal zones; acpitz and its like measure the case."""
    chips, package, zones = [], [], []
    tdie = any(line.endswith(" Tdie") for line in lines)
    for line in lines:
        if match := re.fullmatch(r"hwmon \S+ (-?\d{1,7}) ?(.*)", line, re.ASCII):
            # Tctl of some AMD processors has an offset of up to 27 degrees; Tdie beside it has none.
            if not (tdie and match[2] == "Tctl"):
                chips.append(int(match[1]))
        elif match := re.fullmatch(r"zone (-?\d{1,7}) (.+)", line, re.ASCII):
            if match[2] == "x86_pkg_temp":
                package.append(int(match[1]))
            elif _CPU_ZONE.fullmatch(match[2]):
                zones.append(int(match[1]))
    for readings in (chips, package, zones):
        possible = [value / 1000 for value in readings if -50_000 < value < 150_000 and value != 0]
        if possible:
            return {"cpu_temperature_celsius": max(possible)}
    return {}


def _gpu(lines: list[str]) -> tuple[dict[str, float], bool]:
    """Of `nvidia-smi`: load %, memory used, memory there, degrees; "[N/A]" and the like where unknown. And
    whether it hung."""
    rows = [[float(w) if _is_int(w) else None for w in line.replace(" ", "").split(",")] for line in lines]
    rows = [row for row in rows if len(row) == 4]
    loads = [row[0] for row in rows if row[0] is not None]
    memory = [(row[1], row[2]) for row in rows if row[1] is not None and row[2]]
    degrees = [row[3] for row in rows if row[3] is not None and row[3] < 150]
    found = {}
    if loads:
        found["gpu_percent"] = sum(loads) / len(loads)
    if memory:
        found["gpu_memory_percent"] = 100 * sum(u or 0 for u, _ in memory) / sum(t or 0 for _, t in memory)
    if degrees:
        found["gpu_temperature_celsius"] = max(degrees)
    return found, "hangs" in lines


def _time(lines: list[str]) -> datetime | None:
    """`date +%s.%N`; where date has no %N it prints a letter, or nothing, for it."""
    match = _match(r"(\d{1,12})(?:\.(\d{1,9}))?\D{0,5}", lines)
    if not match:
        return None
    micro = int((match[2] or "0").ljust(9, "0")[:6])
    try:
        return datetime.fromtimestamp(int(match[1]), UTC).replace(microsecond=micro)
    except (ValueError, OverflowError, OSError):
        return None


def _boot_id(lines: list[str]) -> str | None:
    match = _match(BOOT_ID, lines)
    return match[0] if match else None


def _readings(found: Mapping[str, float]) -> Readings:
    """Percentages clamped and rounded; what is out of its bounds left out."""
    kept: dict[str, float] = {}
    for name, value in found.items():
        if name.endswith("_percent"):
            value = round(min(max(value, 0.0), 100.0), 2)
        try:
            msgspec.convert({name: value}, Readings)
        except msgspec.ValidationError:
            continue
        kept[name] = value
    if not kept:
        raise HostFailed("output unusable", "the probe could read nothing: no /proc, so perhaps no Linux")
    return msgspec.convert(kept, Readings)
