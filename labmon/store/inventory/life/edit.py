"""What labmon cannot find out by itself: people say it."""

from collections.abc import Sequence
from typing import Any

from psycopg import Connection

from labmon.errors import UsageError


def check_macs(connection: Connection[Any], system_ids: Sequence[int]) -> None:
    """Raises UsageError for the first of these machines whose MAC address is not known."""
    row = connection.execute(
        "SELECT min(system_id) FROM systems WHERE system_id = ANY(%s) AND mac_address IS NULL",
        [list(system_ids)],
    ).fetchone()
    if row and row[0] is not None:
        raise UsageError(
            f"system {row[0]} has no MAC address that could be shared: a scan on its own link learns it"
        )


def edit(
    connection: Connection[Any],
    system_ids: Sequence[int],
    *,
    hostname: str | None = None,
    port: int | None = None,
    user: str | None = None,
    key: str | None = None,
    shared_mac: bool | None = None,
) -> None:
    """Change what is given, None leaves as it is. "" is no host name, and the usual account and key; port 0
    is the usual one again.

    `shared_mac`: the MAC addresses of these machines belong to others as well (a docking station, a router),
    so each is known by its IP address and none of them moves.
    """
    connection.execute(
        """
        UPDATE systems SET hostname = NULLIF(COALESCE(%(hostname)s, hostname), ''),
            ssh_port = NULLIF(COALESCE(%(port)s, ssh_port), 0),
            ssh_user = NULLIF(COALESCE(%(user)s, ssh_user), ''),
            ssh_key = NULLIF(COALESCE(%(key)s, ssh_key), ''),
            mac_shared = COALESCE(%(shared)s::boolean, mac_shared),
            mac_flag = CASE
                WHEN %(shared)s::boolean THEN 'shared'
                WHEN %(shared)s::boolean IS NULL THEN mac_flag
                WHEN labmon_mac_is_random(mac_address) THEN 'random' END
        WHERE system_id = ANY(%(ids)s)
        """,
        {
            "hostname": hostname,
            "port": port,
            "user": user,
            "key": key,
            "shared": shared_mac,
            "ids": list(system_ids),
        },
    )
