"""What machines say of themselves, as `labmon systems facts` shows and searches it."""

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Self

import msgspec

from labmon.errors import UsageError
from labmon.facts import MachineFacts
from labmon.readable import ago, percent, shown, volume
from labmon.store.inventory.facts import Condition, Mount, SystemFacts
from labmon.store.inventory.systems import System
from labmon.table import Column
from labmon.text import nearest

FACTS = MachineFacts.__struct_fields__
LISTS = ("failed_units", "disks", "gpus", "network_cards")
SUDOERS = "labmon ALL=(root) NOPASSWD: /usr/sbin/dmidecode -s system-serial-number"
"""For an account named labmon."""


def _things(values: list[Any]) -> str:
    """A list in one cell: its things with what is known of each."""
    return "; ".join(one if isinstance(one, str) else _thing(one) for one in values) or "none"


def _thing(one: dict[str, Any]) -> str:
    size, speed = one.get("size_bytes"), one.get("speed_mbps")
    known = [one.get("name"), one.get("model"), one.get("driver"), one.get("serial")]
    known += [one.get("mac_address"), size and volume(size), speed and f"{speed} Mbit/s", one.get("id")]
    return " ".join(text for text in known if text)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


_HEADINGS = {
    "hostname": "Its name",
    "os": "OS",
    "os_version": "Version",
    "kernel": "Kernel",
    "architecture": "Arch",
    "cpu_model": "Processor",
    "cpu_cores": "Cores",
    "cpu_threads": "Threads",
    "ram_total_bytes": "Memory",
    "serial": "Serial number",
    "boot_at": "Booted",
    "reboot_required": "Reboot",
    "pending_updates": "Updates",
    "time_synchronised": "Clock set",
    "ssh_server": "SSH server",
    "image_version": "Image",
    "failed_units": "Failed units",
    "network_cards": "Network cards",
    "gpus": "GPUs",
}
_SHOWN: dict[str, Callable[[Any], str]] = {
    "ram_total_bytes": volume,
    "boot_at": shown,
    "reboot_required": _yes,
    "time_synchronised": _yes,
    **dict.fromkeys(LISTS, _things),
}
_FIRST = ("os", "os_version", "model", "cpu_model", "ram_total_bytes", "serial", "kernel")

COLUMNS = [
    Column("system_id", "ID", right=True),
    Column("ip_address", "Address"),
    Column("name", "Name", gives=True, name=True),
    *(
        Column(name, _HEADINGS.get(name, name.capitalize()), _SHOWN.get(name, str), gives=True, extra=at > 2)
        for at, name in enumerate([*_FIRST, *(one for one in FACTS if one not in _FIRST)])
    ),
    Column("asked_at", "Asked", ago, right=True, extra=True),
]
"""Of a list; where a terminal is too narrow, the last goes first."""

CHANGES = [
    Column("at", "When", shown),
    Column("system_id", "ID", right=True),
    Column("ip_address", "Address", extra=True),
    Column("hostname", "Name", gives=True, name=True, extra=True),
    Column("fact", "Fact"),
    Column("old_value", "Before", gives=True),
    Column("new_value", "After", gives=True),
]

MOUNTS = [
    Column("mount", "Mount", gives=True),
    Column("total_bytes", "Size", volume, right=True),
    Column("used_bytes", "Used", volume, right=True),
    Column("used_percent", "Used %", percent, right=True),
    Column("inodes_percent", "Inodes %", percent, right=True),
    Column("asked_at", "Since", ago, right=True, extra=True),
]


@dataclass(frozen=True)
class FactsRow:
    """A machine with its facts, each by itself. `name` is the inventory's, `hostname` what it says itself."""

    system_id: int
    ip_address: str | None
    name: str | None
    asked_at: datetime
    hostname: str | None = None
    os: str | None = None
    os_version: str | None = None
    kernel: str | None = None
    architecture: str | None = None
    cpu_model: str | None = None
    cpu_cores: int | None = None
    cpu_threads: int | None = None
    ram_total_bytes: int | None = None
    vendor: str | None = None
    model: str | None = None
    serial: str | None = None
    boot_at: datetime | None = None
    reboot_required: bool | None = None
    pending_updates: int | None = None
    time_synchronised: bool | None = None
    ssh_server: str | None = None
    image_version: str | None = None
    failed_units: list[str] | None = None
    disks: list[dict[str, Any]] | None = None
    gpus: list[dict[str, Any]] | None = None
    network_cards: list[dict[str, Any]] | None = None


@dataclass(frozen=True, slots=True)
class SystemReport(System):
    """A machine as `labmon systems show` has it for programs."""

    facts: dict[str, Any] | None
    filesystems: list[dict[str, Any]]

    @classmethod
    def of(cls, one: System, told: Sequence[SystemFacts], mounts: Sequence[Mount]) -> Self:
        """`told` is empty where the machine has told nothing."""
        facts = {"asked_at": told[0].asked_at} | msgspec.to_builtins(told[0].facts) if told else None
        return cls(**asdict(one), facts=facts, filesystems=[asdict(mount) for mount in mounts])


SHOWN_IN_SHORT = (
    *("os", "os version", "kernel", "cpu model", "cpu cores", "cpu threads", "vendor", "model", "serial"),
    *("boot at", "reboot required", "pending updates", "failed units", "image version", "gpus"),
)
"""The facts that `labmon systems show` has for people."""


def row(one: SystemFacts) -> FactsRow:
    """As it is printed."""
    values = msgspec.to_builtins(one.facts, builtin_types=(datetime,))
    return FactsRow(one.system_id, one.ip_address, one.hostname, one.asked_at, **values)


def facts_of_one(one: SystemFacts) -> list[tuple[str, str]]:
    """Names and values for people; without what is not known."""
    found = row(one)
    return [
        (name.replace("_", " "), _SHOWN.get(name, str)(value))
        for name in FACTS
        if (value := getattr(found, name)) is not None and not (name in LISTS and not value)
    ]


def conditions(texts: Sequence[str]) -> list[Condition]:
    """Of --where: "os~Ubuntu", "cpu_cores>8", "image_version!=2026-03". Raises UsageError."""
    found = []
    for text in texts:
        parts = re.fullmatch(r"\s*(\w+)\s*(!=|~|=|<|>)\s*(.*?)\s*", text)
        if not parts or not parts[3]:
            raise UsageError(f"--where {text[:60]!r}: expected FACT~TEXT, or =, !=, <, > in place of ~")
        fact, comparison, value = parts.groups()
        if fact not in FACTS:
            raise UsageError(f"--where: there is no fact {fact[:40]!r}{nearest(fact, FACTS)}")
        if comparison in "<>":
            try:
                number = float(value)
            except ValueError:
                number = float("nan")
            if not abs(number) < 1e300:
                raise UsageError(f"--where {text[:60]!r}: {comparison} compares with a number")
        found.append(Condition(fact, comparison, value))
    return found
