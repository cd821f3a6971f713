"""Systems, scans and changes as `labmon systems` lists them."""

import re
from typing import TYPE_CHECKING

from labmon.errors import UsageError
from labmon.readable import ago, percent, shown, span, volume
from labmon.table import Column
from labmon.text import foreign, is_name, nearest

if TYPE_CHECKING:
    from labmon.store.inventory.history import Change
    from labmon.store.inventory.scans import ScanRecord
    from labmon.store.inventory.systems import System

# Where a terminal is too narrow, the last of the extra ones goes first.
COLUMNS = [
    Column("system_id", "ID", right=True),
    Column("ip_address", "Address"),
    Column("hostname", "Name", gives=True, name=True, host=True),
    Column("status", "Status", colour=True),
    Column("status_since", "Since", ago, right=True),
    Column("status_error", "Reason", absent="", gives=True),
    Column("lab", "Lab", extra=True),
    Column("last_collected", "Measured", ago, right=True),
    Column("cpu_percent", "CPU", percent, right=True, extra=True),
    Column("ram_percent", "RAM", percent, right=True, extra=True),
    Column("disk_percent", "Disk", percent, right=True, extra=True),
    Column("last_seen", "Seen", ago, right=True, extra=True),
    Column("gone_since", "Gone", ago, right=True, extra=True),
    Column("logged_in_users", "Users", right=True, extra=True),
    Column("uptime_seconds", "Up", span, right=True, extra=True),
    Column("dept_id", "Dept", right=True, extra=True),
    Column("mac_flag", "Flag", extra=True),
    Column("mac_address", "MAC", extra=True),
    Column("seat_column", "Seat column", right=True, extra=True),
    Column("seat_row", "Seat row", right=True, extra=True),
    Column("ssh_user", "Account", extra=True),
    Column("ssh_key", "Key", extra=True),
]

# Shown of one machine, and where they are asked for.
SIZES = [
    Column("ram_total_bytes", "Memory", volume, right=True),
    Column("disk_total_bytes", "Disk size", volume, right=True),
]

MORE = [
    *SIZES,
    Column("lab_id", "Lab ID", right=True),
    Column("gpu_count", "GPUs", right=True),
    Column("ssh_port", "Port", right=True),
    Column("first_seen", "First seen", shown),
]

MEANING = {
    "discovered": "found by a scan, not measured yet",
    "active": "measured",
    "offline": "nothing at its address answers: switched off, or a firewall drops everything",
    "unreachable": "the network has no route to its address, which says nothing about the machine",
    "refused": "it is there, and nothing listens on its SSH port",
    "auth failed": "it is there, and accepts none of our keys and passwords",
    "timed out": "it is there, and did not finish within the deadline",
    "failed": "it is there, and something else went wrong",
    "maintenance": "set by an administrator; until labmon systems set ID --status active",
    "retired": "kept with its history, and not measured; until labmon systems restore ID",
    "ignored": "no lab PC, and passed over; until labmon systems restore ID",
    "quarantined": "found by a scan, and not let in yet: labmon systems accept ID",
}

HISTORY = [
    Column("at", "When", shown),
    Column("system_id", "ID", right=True),
    Column("ip_address", "Address", extra=True),
    Column("hostname", "Name", gives=True, name=True, host=True, extra=True),
    Column("change", "Change", colour=True),
    Column("old_value", "Before", colour=True),
    Column("new_value", "After", colour=True),
    Column("error", "Reason", absent="", gives=True),
    Column("scan_id", "Scan", right=True, extra=True),
]

SCANS = [
    Column("scan_id", "Scan", right=True),
    Column("started_at", "Began", shown),
    Column("dept_id", "Dept", right=True),
    Column(
        "target_range", "Addresses", lambda text: text if len(text) <= 60 else text[:57] + "...", gives=True
    ),
    Column("scan_type", "By", extra=True),
    Column("status", "Status", colour=True),
    Column("systems_found", "Found", right=True),
    Column("systems_new", "New", right=True),
    Column("systems_moved", "Moved", right=True, extra=True),
    Column("systems_gone", "Gone", right=True),
    Column("errors", "Errors", right=True, extra=True),
]


def is_failing(one: "System") -> bool:
    """True for a system that cannot be measured, or that the last scan of its address did not find."""
    from labmon.store.inventory.states import DOWN

    return one.status in DOWN or one.gone_since is not None


def is_bad_change(one: "Change") -> bool:
    """True for a change to a status that says what is wrong, and for a system that is gone."""
    from labmon.store.inventory.states import DOWN

    return one.change == "gone" or one.change == "status" and one.new_value in DOWN


def is_bad_scan(one: "ScanRecord") -> bool:
    """True for a scan that did not end, or that could not ask some addresses."""
    return one.status != "completed" or one.errors > 0


LARGEST_SEAT = 1000
"""Columns and rows of a lab, at most."""


def seat_called(text: str) -> tuple[int, int]:
    """A seat as it is typed, "3,2": column from the left, row from the front. Raises UsageError."""
    column, _, row = text.partition(",")
    numbers = [int(one) if one.isascii() and one.isdigit() else 0 for one in (column.strip(), row.strip())]
    if not all(1 <= one <= LARGEST_SEAT for one in numbers):
        raise UsageError(
            f'--seat {text[:40]!r}: expected column and row, such as "3,2", each 1 to {LARGEST_SEAT}'
        )
    return numbers[0], numbers[1]


def checked_hostname(text: str) -> str:
    """The name of a machine. Raises UsageError for one that lists cannot show."""
    if not is_name(text):
        raise UsageError(f"--hostname '{foreign(text)[:60]}' is no name for a machine, such as pc-17")
    return text.strip()


def checked_account(text: str) -> str:
    """An account on a machine. Raises UsageError."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.@\\-]{0,63}\$?", text):
        raise UsageError(f"--user '{foreign(text)[:60]}' is no account, such as monitor")
    return text


def checked_key(text: str) -> str:
    """The file of a private key, by its whole path or from the home. Raises UsageError."""
    if not (text.startswith(("/", "~")) and text.isprintable() and len(text) <= 1000):
        raise UsageError(
            f"--key '{foreign(text)[:60]}' is no whole path of a private key, such as ~/.ssh/lab_ed25519"
        )
    return text


def status_called(text: str) -> str:
    """A status as it is typed: "auth-failed" is one, too. Raises UsageError with the nearest one."""
    from labmon.store.inventory.statuses import STATUSES

    status = text.strip().lower().replace("-", " ").replace("_", " ")
    if status not in STATUSES:
        raise UsageError(f"there is no status {text!r}{nearest(status, STATUSES)}")
    return status
