"""What a Redis server may lose by the way it is set up."""

import logging
from collections.abc import Sequence

from labmon.brokers.redis.connection import RedisConnection

logger = logging.getLogger(__name__)

_logged: set[str] = set()
"""What this process has logged, to do so once."""


def durability_warnings(connection: RedisConnection) -> list[tuple[int, str]]:
    """What the server may lose by the way it is set up: a line each, with the way out and its logging level.

    Nothing of what the account may not see.
    """
    wanted = ("maxmemory", "maxmemory-policy", "appendonly", "appendfsync", "save")
    found = _parsed_info(connection.ask([("INFO", name) for name in ("memory", "persistence")]))
    for reply in connection.ask([("CONFIG", "GET", name) for name in wanted]):
        if reply:
            found[reply[0].decode()] = reply[1].decode()
    policy = found.get("maxmemory-policy") or found.get("maxmemory_policy", "")
    if "appendonly" not in found and found.get("loading") == "0":  # else it is off until all is loaded
        found["appendonly"] = "yes" if found.get("aof_enabled") == "1" else "no"
    lines = []
    if found.get("maxmemory", "0") != "0" and policy.startswith("allkeys"):
        drops = f"it drops whole queues when its memory is full (maxmemory-policy {policy})"
        lines.append((logging.WARNING, f"{drops}. Set maxmemory-policy noeviction"))
    if found.get("appendonly") == "no":
        lost = "everything" if found.get("save") == "" else "the last minutes"
        crash = f"it keeps messages in memory only (appendonly no): a crash may lose {lost}"
        lines.append((logging.WARNING, f"{crash}. Set appendonly yes and appendfsync always"))
    elif (fsync := found.get("appendfsync", "always")) != "always":
        # A choice, and Redis's default: no reason to write to stderr each time that cron runs a command.
        lost = "the last second or two" if fsync == "everysec" else "the last half minute"
        crash = f"a power cut or a crash of its machine may lose {lost} (appendfsync {fsync})"
        lines.append((logging.INFO, f"{crash}. Set appendfsync always"))
    return lines


def log_once(level: int, text: str) -> None:
    """Log it, unless this process has."""
    if text not in _logged:
        _logged.add(text)
        logger.log(level, "%s", text)


def _parsed_info(sections: Sequence[bytes | None]) -> dict[str, str]:
    lines = b"\n".join(section or b"" for section in sections).decode(errors="replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)
