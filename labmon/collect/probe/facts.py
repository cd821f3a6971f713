"""What facts.sh printed: what the machine is. Pure.

A fact that cannot be read is absent, each by itself; so is what its maker left unfilled ("To be filled by
O.E.M."). A list is there where it could be looked for, also when it is empty.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from labmon.collect.probe.output import Lines
from labmon.facts import MAX_LIST, Disk, Gpu, MachineFacts, NetworkCard, told

LONGEST = 100
"""Characters of one fact, so that all of them fit into a message."""

SECTOR = 512
MOST = 2**63 - 1

T = TypeVar("T")
_CPU = re.compile(r"(?:model name|cpu model|uarch|Model name)\s*:\s*(.+)")


def read(lines: Lines) -> MachineFacts | None:
    """None when the machine was not asked."""
    if not lines:
        return None
    words: dict[str, list[str]] = {}
    for line in lines:
        name, _, value = line.partition(" ")
        words.setdefault(name, []).append(value)

    def text(*names: str) -> str | None:
        return next((found for name in names if (found := line_of(words.get(name, [""])[0]))), None)

    def number(name: str) -> int | None:
        return count(words.get(name, [""])[0])

    release = dict(value.partition("=")[::2] for value in words.get("release", []))
    found: dict[str, Any] = {
        "hostname": text("hostname"),
        "os": line_of(_unquoted(release.get("NAME", release.get("PRETTY_NAME", "")))),
        "os_version": line_of(_unquoted(release.get("VERSION", release.get("VERSION_ID", "")))),
        "kernel": text("kernel"),
        "architecture": text("architecture"),
        "cpu_model": next((line_of(match[1]) for line in lines if (match := _CPU.fullmatch(line))), None),
        "cpu_cores": number("cores") or None,
        "cpu_threads": number("threads") or None,
        "ram_total_bytes": _memory(words.get("MemTotal:", [""])[0]),
        "vendor": told(text("sys_vendor")) or told(text("board_vendor")),
        "model": _model(text),
        "serial": told(text("product_serial")) or told(text("tree_serial")) or told(text("board_serial")),
        "boot_at": _moment(number("btime")),
        "reboot_required": {"yes": True, "no": False}.get(text("reboot") or ""),
        "pending_updates": _updates(words),
        "time_synchronised": {"yes": True, "no": False}.get(text("synchronised") or ""),
        "image_version": text("image"),
        "failed_units": _each(words, "units", "unit", line_of),
        "disks": _each(words, "sys", "disk", _disk, "block"),
        "gpus": _gpus(words),
        "network_cards": _each(words, "sys", "card", _card, "net"),
    }
    return MachineFacts(**{name: value for name, value in found.items() if value is not None})


def line_of(text: str) -> str | None:
    """One printable line of at most `LONGEST` characters; None when nothing is left."""
    plain = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return plain[:LONGEST].strip() or None


def count(word: str) -> int | None:
    """A whole number that a message can hold."""
    word = word.strip()
    number = int(word) if word.isascii() and word.isdigit() and len(word) < 20 else None
    return number if number is not None and number <= MOST else None


def _each(
    words: dict[str, list[str]], mark: str, name: str, read: Callable[[str], T | None], value: str = ""
) -> list[T] | None:
    """The things of that name; None where the line that says that they were looked for is missing."""
    if value not in words.get(mark, []):
        return None
    found = (read(one) for one in words.get(name, []))
    return [one for one in found if one is not None][:MAX_LIST]


def _columns(text: str, many: int) -> list[str | None]:
    columns = [line_of(one) for one in text.split("\t")]
    return (columns + [None] * many)[:many]


def _disk(text: str) -> Disk | None:
    name, size, model, serial = _columns(text, 4)
    if name is None:
        return None
    sectors = count(size or "")
    in_bytes = sectors * SECTOR if sectors is not None and sectors <= MOST // SECTOR else None
    model = (model or "").replace("_", " ")
    return Disk(name=name, model=told(model), serial=told(serial), size_bytes=in_bytes)


def _card(text: str) -> NetworkCard | None:
    name, mac, speed = _columns(text, 3)
    if name is None:
        return None
    is_mac = mac and re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", mac, re.ASCII | re.IGNORECASE)
    return NetworkCard(name=name, mac_address=mac if is_mac else None, speed_mbps=count(speed or "") or None)


def _gpus(words: dict[str, list[str]]) -> list[Gpu] | None:
    """`lspci` knows their names: "0000:01:00.0 VGA compatible controller: NVIDIA GA102 (rev a1)"."""
    names = dict(line.partition(" ")[::2] for line in words.get("pci", []))

    def one(text: str) -> Gpu | None:
        slot, number, driver = _columns(text, 3)
        name = names.get(slot or "", "").partition(": ")[2]
        model = re.sub(r" \(rev [^)]*\)$", "", name)
        return Gpu(id=number, model=line_of(model), driver=driver) if number else None

    return _each(words, "sys", "gpu", one, "pci")


def _model(text: Callable[..., str | None]) -> str | None:
    """Lenovo has the name that people know in the version, and a number in the name."""
    name = told(text("product_name")) or told(text("tree_model")) or told(text("board_name"))
    version = told(text("product_version"))
    if name and version and (text("sys_vendor") or "").upper().startswith("LENOVO"):
        return f"{version} ({name})"[:LONGEST]
    return name


def _updates(words: dict[str, list[str]]) -> int | None:
    """Ubuntu writes "12 updates can be applied immediately.", or "0 updates can be ..."."""
    for line in words.get("notifier", []):
        if match := re.match(r"(\d{1,6}) (?:updates?|packages?) can be", line, re.ASCII):
            return int(match[1])
    return count(words.get("updates", [""])[0])


def _memory(text: str) -> int | None:
    kib = count(text.strip().partition(" ")[0])
    return kib * 1024 if kib and kib <= MOST // 1024 else None


def _moment(seconds: int | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds and seconds < 10**11 else None


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text.strip("\"'"))


def in_bounds(facts: MachineFacts, limit: int) -> MachineFacts:
    """With lists cut until the JSON has at most `limit` bytes; letters may take four each."""
    while len(msgspec.json.encode(facts)) > limit:
        lists = {
            name: getattr(facts, name)
            for name in ("disks", "network_cards", "gpus", "failed_units")
            if getattr(facts, name)
        }
        if not lists:
            break
        longest = max(lists, key=lambda name: len(msgspec.json.encode(lists[name])))
        kept = lists[longest][: len(lists[longest]) // 2]
        facts = msgspec.structs.replace(facts, **{longest: kept})
    return facts
