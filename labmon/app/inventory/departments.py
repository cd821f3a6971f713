"""Departments as `labmon departments` reads and lists them."""

from ipaddress import ip_interface, ip_network

from labmon.errors import UsageError
from labmon.table import Column
from labmon.text import foreign, is_name

COLUMNS = [
    Column("dept_id", "Dept", right=True),
    Column("code", "Code"),
    Column("name", "Name"),
    Column("subnets", "Subnets", lambda subnets: ", ".join(subnets) or "-"),
    Column("systems", "Systems", right=True),
    Column("new_as", "New as", extra=True),
    Column(
        "quarantined", "Quarantined", lambda number: str(number) if number else "-", right=True, extra=True
    ),
]


def checked_name(text: str, key: str) -> str:
    """A department's name or code. Raises UsageError for one that lists cannot show."""
    if not is_name(text):
        raise UsageError(f"{key} '{foreign(text)[:60]}' is no name for a department, such as Physics")
    return text.strip()


def network(text: str) -> str:
    """A network as the database takes it. Raises UsageError."""
    try:
        return str(ip_network(text.strip(), strict=False))
    except ValueError:
        raise UsageError(f"--subnet {text[:60]!r} is not a network, such as 10.30.5.0/24") from None


def host_in(text: str, network: str) -> str:
    """The address with its length where `text` is not the network itself but a machine in it, else ""."""
    interface = ip_interface(text.strip())
    return "" if interface.ip == ip_network(network).network_address else str(interface)
