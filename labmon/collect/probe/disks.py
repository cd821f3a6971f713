"""How much disk is built into a Linux machine, from what /sys says of each block device. Pure."""

import re
from typing import NamedTuple

from labmon.collect.probe.counters import SECTOR
from labmon.collect.probe.output import INT, Lines

_DISK = re.compile(rf"disk (\S+) ({INT}|-) (\S+) (\S+) (\S+) (\S+) (.+)", re.ASCII)
_NOT_A_DISK = re.compile(r"(rbd|mtdblock)\d.*")
_NOT_BUILT_IN = re.compile(r"/(usb\d|fw\d|session\d|rport-|nvme-fabrics/)")
_NVME_PATH = re.compile(r"(nvme\d+)c\d+(n\d+)")
_SAS = "/end_device-"
"""In the place of a disk behind a SAS controller, of which there may be two, with a way to the disk each."""


class _Disk(NamedTuple):
    """A block device with hardware behind it, as the probe printed it; "-" where /sys says nothing."""

    name: str
    sectors: str
    removable: str
    hidden: str
    state: str
    kind: str
    place: str

    @property
    def works(self) -> bool:
        """False when the kernel gave it up. It keeps the size of a SCSI disk that is "offline", and of an
        NVMe disk whose controller is "dead"."""
        return self.state not in ("offline", "dead")

    @property
    def is_built_in(self) -> bool:
        """False for what can be pulled out (removable, USB, FireWire, SD cards), is on the network (iSCSI,
        Fibre Channel, NVMe over fabrics, Ceph), or is no disk."""
        return not (
            self.removable == "1"
            or (
                self.name.startswith("mmcblk") and self.kind != "MMC"
            )  # the soldered kind, not its boot areas
            or _NOT_A_DISK.fullmatch(self.name)
            or _NOT_BUILT_IN.search(self.place)
        )


def total(lines: Lines, ids: Lines) -> dict[str, float]:
    """The size of the disks that are built in and work; unknown when one of them does not tell its size, or
    where it is, and where no device is listed at all: a machine without any is rarer than a list that failed.

    `ids` are lines `wwid NAME ID`, which tell two ways to one SAS disk from two disks. An NVMe disk that may
    have several ways (`nvme0n1` of an nvme-subsystem) is where its hidden ways (`nvme0c1n1`) are, and works
    while one of them does. Volumes, RAIDs, loops and the like have no device, and are not in these lines.
    """
    if "sys block" not in lines:
        return {}
    disks = []
    for line in lines:
        if line != "sys block":
            if not (found := _DISK.fullmatch(line)):
                return {}
            disks.append(_Disk(*found.groups()))
    ways = {
        "".join(found.groups())
        for disk in disks
        if (found := _NVME_PATH.fullmatch(disk.name)) and disk.works and disk.is_built_in
    }
    if not disks:
        return {}
    wwids = dict(line.split(" ")[1:3] for line in ids if re.fullmatch(r"wwid \S+ (naa|eui)\.\S+", line))
    sectors = 0
    counted = set()
    for disk in disks:
        if disk.hidden == "1" or not (disk.works and disk.is_built_in):
            continue
        if "/nvme-subsystem/" in disk.place and disk.name not in ways:
            continue
        if "-" in (disk.sectors, disk.place):
            return {}
        if _SAS in disk.place and (wwid := wwids.get(disk.name)):
            if wwid in counted:
                continue
            counted.add(wwid)
        sectors += int(disk.sectors)
    return {"disk_total_bytes": sectors * SECTOR}
