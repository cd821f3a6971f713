"""What the probe printed -> readings. Pure: no clock, no files, no network.

What a number means where that is not obvious:

* `disk_percent` is the root file system, used / (used + free for users), as `df` has it. Not the fullest one:
  which that is changes from day to day, and read-only images are full for ever. A root on the network, or in
  a read-only image (squashfs), has no disk_percent. On macOS it is the volume with the users' data, on
  Windows the system's drive.
* `disk_total_bytes` is the size of all disks that are built in and work, so that one that was taken out or
  died is missed: whole disks (or what a RAID controller makes of them), and not what is made of them (file
  systems, partitions, LVM, software RAID: these would count them again, and can be resized). Not what comes
  and goes: USB, SD cards, optical drives; nor what is elsewhere: network storage. 0 where there are
  only such. A container has the disks of its host. Without /sys, without any device, or when a disk does not
  tell its size, it is absent.
* `logged_in_users` counts people, not terminals. With logind: distinct users with a session open and not
  closing; the account that measures counts only if it has a terminal or a seat. Else `who`, distinct names.
  On Windows, sessions with a desktop.
* `ram_percent` is what is not available to programs: 1 - MemAvailable / MemTotal; page cache is available,
  and so is what ZFS caches.
* `cpu_temperature_celsius` is the hottest sensor of the processor, else of its package, else of the chip it
  is in.
* Several GPUs: the mean load, the memory of all together, the hottest temperature. `gpu_count` is the GPUs
  that answer their driver, so that a lost one is missed; absent where there is no driver to ask, or it hangs.
* `swap_percent` is absent where there is no swap.

Impossible numbers are left out, each alone. Whatever the bytes, the only exception is `HostFailed`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from labmon.collect.failures import HostFailed, one_line
from labmon.collect.probe import darwin, linux, windows
from labmon.collect.probe.counters import Hardware, Sample, rates, without_impossible
from labmon.collect.probe.output import ProbeOutput
from labmon.collect.probe.snapshot import Snapshot
from labmon.facts import FileSystem, MachineFacts
from labmon.messages import Readings

MAX_SKEW = timedelta(minutes=5)
"""A target's clock further from the collector's than this is not believed (5 minutes is also what Kerberos
allows, so that a working campus machine is within it)."""

SYSTEMS: Mapping[str, Callable[[ProbeOutput], Snapshot]] = {
    "linux": linux.read,
    "darwin": darwin.read,
    "windows": windows.read,
}


@dataclass(frozen=True)
class Report:
    """One output of the probe, read. `collected_at` is by the target's clock, or by the collector's when the
    target's is missing or off by more than MAX_SKEW; `clock_skew` is target minus collector, in seconds.
    `sample` is the last sample of the counters, to be given to the next `parse`."""

    readings: Readings
    collected_at: datetime
    clock_skew: float | None
    sample: Sample
    hardware: Hardware
    missing: tuple[str, ...]  #: what every such system has and this output has not: "cpu", "memory", ...
    impossible: tuple[str, ...] = ()  #: counters and readings that were left out for being what cannot be
    mounts: tuple[FileSystem, ...] | None = None  #: the local file systems; None where nobody looked
    facts: MachineFacts | None = None  #: where the machine was asked for them


def parse(output: bytes, received_at: datetime, before: Sample | None = None) -> Report:
    """Read the output of the probe, which arrived at `received_at`.

    Rates are those since `before`, a sample of an earlier output of the same machine; where there is none, or
    the machine was restarted since, those between the samples of this output, if it has two.

    Noise before the first marker is skipped. Raises `HostFailed`, and nothing else, for any bytes at all.
    """
    whole = ProbeOutput.read(output)
    if whole.system not in SYSTEMS:
        raise HostFailed("output unusable", f"a probe of {one_line(whole.system, 20)!r}, unknown here")
    snapshot = SYSTEMS[whole.system](whole)
    checked = [without_impossible(one, snapshot.hardware, snapshot.age) for one in snapshot.samples]
    samples = [sample for sample, _ in checked]
    impossible = dict.fromkeys(name for _, names in checked for name in names)
    last = samples[-1]
    found = (rates(before, last, snapshot.hardware) if before else {}) or rates(
        samples[0], last, snapshot.hardware
    )
    if last.uptime is not None:
        found["uptime_seconds"] = int(last.uptime)
    readings, out_of_bounds = _readings({**found, **snapshot.found})
    time = snapshot.time
    skew = (time - received_at) if time else None
    collected_at = time if time and skew is not None and abs(skew) <= MAX_SKEW else received_at
    return Report(
        readings=readings,
        # To a millisecond: all the files of a sample take one to be read.
        collected_at=collected_at.replace(microsecond=collected_at.microsecond // 1000 * 1000),
        clock_skew=round(skew.total_seconds(), 3) if skew is not None else None,
        sample=last,
        hardware=snapshot.hardware,
        missing=snapshot.missing,
        mounts=snapshot.mounts,
        facts=snapshot.facts,
        impossible=(*impossible, *out_of_bounds),
    )


def _readings(found: Mapping[str, float]) -> tuple[Readings, list[str]]:
    """Percentages clamped and rounded; and the names of what the message has no room for, which is left
    out."""
    kept: dict[str, float] = {}
    left_out = []
    for name, value in found.items():
        if name.endswith("_percent"):
            value = round(min(max(value, 0.0), 100.0), 2)
        try:
            msgspec.convert({name: value}, Readings)
        except msgspec.ValidationError:
            left_out.append(name)
        else:
            kept[name] = value
    if not kept:
        raise HostFailed("output unusable", "the probe could read nothing: no /proc, so perhaps no Linux")
    return msgspec.convert(kept, Readings), left_out
