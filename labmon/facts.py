"""What a machine is: the message of it, and which of its words mean nothing."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from labmon.message_fields import Count, Id, Line, Mac, Moment, Percent, settle_moments


class Disk(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A disk that is built in."""

    name: Line
    model: Line | None = None
    serial: Line | None = None
    size_bytes: Count | None = None


class Gpu(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A graphics processor; `id` is vendor and device on the PCI bus, such as "10de:2204"."""

    id: Line
    model: Line | None = None
    driver: Line | None = None


class NetworkCard(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A network card; `speed_mbps` is what it has negotiated."""

    name: Line
    mac_address: Mac | None = None
    speed_mbps: Count | None = None


class FileSystem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A local file system. `used_percent` is used / (used + free for users), as `df` has it."""

    mount: Line
    total_bytes: Count
    used_bytes: Count
    used_percent: Percent
    inodes_percent: Percent | None = None


MAX_LIST = 64
"""Disks, GPUs, cards, failed units and file systems of one machine, each."""


class MachineFacts(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a machine is. What is absent could not be read, and is left as it was known."""

    hostname: Line | None = None
    os: Line | None = None
    os_version: Line | None = None
    kernel: Line | None = None
    architecture: Line | None = None
    cpu_model: Line | None = None
    cpu_cores: Count | None = None
    cpu_threads: Count | None = None
    ram_total_bytes: Count | None = None
    vendor: Line | None = None
    model: Line | None = None
    serial: Line | None = None
    boot_at: Moment | None = None
    reboot_required: bool | None = None
    pending_updates: Count | None = None
    time_synchronised: bool | None = None
    ssh_server: Line | None = None
    image_version: Line | None = None
    failed_units: Annotated[list[Line], Meta(max_length=MAX_LIST)] | None = None
    disks: Annotated[list[Disk], Meta(max_length=MAX_LIST)] | None = None
    gpus: Annotated[list[Gpu], Meta(max_length=MAX_LIST)] | None = None
    network_cards: Annotated[list[NetworkCard], Meta(max_length=MAX_LIST)] | None = None


class Facts(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a machine says of itself, asked once a day and after a boot; and its local file systems, all of
    them, when the use of one changed. Routing key `discovery.facts`.

    `asked_at`, by the clock of whoever asked, decides which of two is newer.
    """

    system_id: Id
    asked_at: Moment
    facts: MachineFacts | None = None
    filesystems: Annotated[list[FileSystem], Meta(max_length=MAX_LIST)] | None = None

    def __post_init__(self) -> None:
        if self.facts is None and self.filesystems is None:
            raise ValueError("neither `facts` nor `filesystems`")
        mounts = [one.mount for one in self.filesystems or ()]
        if len(set(mounts)) < len(mounts):
            raise ValueError("`filesystems` has a mount twice")
        settle_moments(self)

    @property
    def moments(self) -> dict[str, datetime]:
        return {"asked_at": self.asked_at}

    @property
    def routing_key(self) -> str:
        return "discovery.facts"


_PLACEHOLDERS = frozenset(
    {
        *("none", "null", "nil", "unknown", "default", "default string", "empty", "invalid", "oem", "o.e.m."),
        *("to be filled by o.e.m", "to be filled by oem", "not specified", "not applicable", "not available"),
        *("n/a", "na", "no", "tbd", "type1productconfigid", "undefined", "unspecified", "not present"),
        *("system serial number", "serial number", "serial", "system product name", "system manufacturer"),
        *("system version", "system name", "chassis serial number", "base board serial number", "asset tag"),
        *("0123456789", "123456789", "1234567890", "01234567", "12345678", "empty string", "sample", "test"),
        *("default_string", "no asset tag", "not set", "not settable", "oem_serial", "ssn12345678901234567"),
    }
)


def told(text: str | None) -> str | None:
    """A word of the machine's maker; None for one that nobody filled in, such as "To be filled by O.E.M.", or
    a number of one repeated digit."""
    plain = " ".join((text or "").split())
    bare = plain.lower().strip(" .-_")
    letters = {one for one in bare if one.isalnum()}
    if bare in _PLACEHOLDERS or bare.startswith("to be filled") or letters <= {"0"} or letters <= {"f", "x"}:
        return None
    return None if len(letters) == 1 and len(bare) > 3 else plain


def without_placeholders(facts: MachineFacts) -> MachineFacts:
    """Without the serial numbers and models that nobody filled in."""
    return replace(
        facts,
        serial=told(facts.serial),
        model=told(facts.model),
        vendor=told(facts.vendor),
        disks=facts.disks and [replace(one, serial=told(one.serial)) for one in facts.disks],
    )
