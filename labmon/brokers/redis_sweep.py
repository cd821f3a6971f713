"""What others hold in a queue of `redis.py` and should not: they are gone, or their leases have ended."""

import os
import re
import secrets
import socket
from itertools import chain

from labmon.brokers.redis_connection import Link
from labmon.brokers.redis_entries import GROUP, fields, lane

FORGOTTEN = 3600.0
"""Seconds of silence after which a consumer is gone, where the account may not see who is connected."""

_OURS = re.compile(rb"[A-Za-z0-9.-]+-\d+-[0-9a-f]{8}/(\d+)")
"""The names that `consumer_name` makes."""

# Entries whose owner is gone, or has had them for longer than the lease in its name, are given back; then
# those who are gone are forgotten. In a script, because deleting a consumer drops what it holds, and because
# between a look at the idle time and the claim somebody may ack.
SWEEP = """
local lane, group, lease = KEYS[1], ARGV[1], ARGV[2]
local gone, moved = {}, 0
for i = 3, #ARGV do gone[ARGV[i]] = true end
for _, one in ipairs(redis.call('XPENDING', lane, group)[4] or {}) do
  local name = one[1]
  local idle = gone[name] and 0 or string.match(name, '%-%x%x%x%x%x%x%x%x/(%d+)$') or lease
  local found = name ~= 'released'
    and redis.call('XPENDING', lane, group, 'IDLE', idle, '-', '+', 5000, name) or {}
  if #found > 0 then
    local claim = {'XCLAIM', lane, group, 'released', 0}
    for _, entry in ipairs(found) do claim[#claim + 1] = entry[1] end
    claim[#claim + 1] = 'JUSTID'
    redis.call(unpack(claim))
    moved = moved + #found
  end
end
for name in pairs(gone) do
  if #redis.call('XPENDING', lane, group, '-', '+', 1, name) == 0 then
    redis.call('XGROUP', 'DELCONSUMER', lane, group, name)
  end
end
return moved
"""


def consumer_name(lease: float) -> str:
    """A name nobody has had: the host and the process for people, the lease (ms) for the other consumers."""
    host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())
    return f"{host}-{os.getpid()}-{secrets.token_hex(4)}/{max(1, round(lease * 1000))}"


def connection_name(queue: str, consumer: str) -> str:
    """What CLIENT LIST shows for a consumer."""
    return f"labmon/{queue}/{consumer}"


def sweep(link: Link, queue: str, database: int, lease: float) -> bool:
    """Give it back, and forget those who are gone. True when there was something to give back.

    `lease`, in seconds, is for the consumers of other programs, whose names tell none.
    """
    keys = (lane(queue, True), lane(queue, False))
    # First the consumers, then the connections: whoever is in both lists is there.
    *groups, clients = link.ask([*(("XINFO", "CONSUMERS", key, GROUP) for key in keys), ("CLIENT", "LIST")])
    silent: dict[bytes, int] = {}
    leases: dict[bytes, int] = {}
    for about in map(fields, chain.from_iterable(group or () for group in groups)):
        name, idle = about[b"name"], about[b"idle"]
        if ours := _OURS.fullmatch(name):
            silent[name] = min(idle, silent.get(name, idle))
            leases[name] = int(ours[1])
    if clients is None:
        gone = [name for name, idle in silent.items() if idle > max(1000 * FORGOTTEN, leases[name])]
    else:
        gone = list(silent.keys() - connected(clients, queue, database))
    moved = link.calls([("EVAL", SWEEP, 1, key, GROUP, round(1000 * lease), *gone) for key in keys])
    return any(moved)


def connected(clients: bytes, queue: str, database: int) -> set[bytes]:
    """The names of a queue's consumers, from the reply to CLIENT LIST."""
    pattern = rf"^.* name={re.escape(connection_name(queue, ''))}(\S+) .*\bdb={database} "
    return set(re.findall(pattern.encode(), clients, re.MULTILINE))
