"""File descriptors: one per connection, and a process gets 1,024 unless it asks for more."""

import logging
import resource

logger = logging.getLogger(__name__)

RESERVED = 100
"""For the store, the broker, files and libraries."""


def room_for(connections: int, *, least: int | None = None) -> int:
    """Raise the soft limit as far as needed. Returns how many of these connections may be open at once.

    When the hard limit leaves room for fewer than `least` (else all of them), one line of the log says so.
    """
    wanted = connections + RESERVED
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections
    limit = wanted if hard == resource.RLIM_INFINITY else max(soft, min(wanted, hard))
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    except (ValueError, OSError):
        limit = soft
    if limit >= wanted:
        return connections
    room = max(1, limit - RESERVED)
    if room < (connections if least is None else least):
        logger.warning(
            "only %s machines at once: more need more file descriptors than the %s this process may have. "
            "Raise them with ulimit -n, or LimitNOFILE= in the systemd unit",
            room,
            limit,
        )
    return room
