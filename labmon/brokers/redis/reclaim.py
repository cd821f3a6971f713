"""Taking back what other consumers hold and should not: they are gone, or their leases have ended."""

import os
import re
import secrets
import socket
from itertools import chain

from labmon.brokers.redis.connection import RedisConnection
from labmon.brokers.redis.entries import GROUP, fields, lane
from labmon.brokers.redis.scripts import load

FORGOTTEN = 3600.0
"""Seconds of silence after which a consumer is gone, where the account may not see which are connected."""

_OURS = re.compile(rb"[A-Za-z0-9.-]+-\d+-[0-9a-f]{8}/(\d{1,15})")
"""The names that `consumer_name` makes."""

RECLAIM = load("reclaim")


def consumer_name(lease: float) -> str:
    """A new, unique name: host and process for people, the lease (ms) for the other consumers."""
    host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())
    return f"{host}-{os.getpid()}-{secrets.token_hex(4)}/{max(1, round(lease * 1000))}"


def connection_name(queue: str, consumer: str) -> str:
    """What CLIENT LIST shows for a consumer."""
    return f"labmon/{queue}/{consumer}"


def reclaim(connection: RedisConnection, queue: str, database: int, lease: float) -> bool:
    """Give back what such consumers hold, and remove those that are gone. True when there was any.

    `lease`, in seconds, is for consumers of other programs, whose names do not contain one.
    """
    keys = (lane(queue, True), lane(queue, False))
    # First the consumers, then the connections: one that is in both lists is there.
    *groups, clients = connection.ask(
        [*(("XINFO", "CONSUMERS", key, GROUP) for key in keys), ("CLIENT", "LIST")]
    )
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
    moved = connection.calls([("EVAL", RECLAIM, 1, key, GROUP, round(1000 * lease), *gone) for key in keys])
    return any(moved)


def connected(clients: bytes, queue: str, database: int) -> set[bytes]:
    """The names of a queue's consumers, from the reply to CLIENT LIST."""
    pattern = rf"^.* name={re.escape(connection_name(queue, ''))}(\S+) .*\bdb={database} "
    return set(re.findall(pattern.encode(), clients, re.MULTILINE))
