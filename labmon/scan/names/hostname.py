"""What may be taken for a host name, and the names in /etc/hosts. No I/O."""

from ipaddress import ip_address

_FORMULA = ("=", "+", "-", "@")
"""How a spreadsheet's formula begins; no host name may begin so (RFC 1123, section 2.1)."""


def clean(name: str) -> str | None:
    """The name if it can be shown and stored: printable, without spaces, 1 to 253 long; else None.

    The owner of a network writes its reverse DNS and may write anything. Printable excludes what a terminal
    or a log obeys: control characters, line separators, marks that reverse the direction of text.
    """
    name = name.removesuffix(".")
    if not 1 <= len(name) <= 253 or not name.isprintable() or " " in name or name.startswith(_FORMULA):
        return None
    return name


def parse_hosts(text: str) -> dict[str, str]:
    """/etc/hosts as address -> name. The first line of an address wins, and its first name (hosts(5))."""
    names: dict[str, str] = {}
    for line in text.splitlines():
        fields = line.partition("#")[0].split()
        if len(fields) < 2:
            continue
        try:
            address = str(ip_address(fields[0]))
        except ValueError:
            continue
        name = clean(fields[1])
        if name:
            names.setdefault(address, name)
    return names
