"""What an account at Redis has to be granted, and no more.

    publish   scan, collect
    work      consume, dead-letters, queue-depth; publishes too
    set up    setup-queues: makes the consumer groups; may do everything else as well

Beyond that, CLIENT LIST lets labmon count consumers and take at once what a killed one held, and CONFIG GET
and INFO let it warn of what the server may lose. They show nothing of other programs' data.
"""

import shlex
from collections.abc import Sequence
from enum import Enum

from labmon.brokers.redis.entries import dead, lane

PUBLISH = "client|setname type xinfo|groups multi exec xadd"
WORK = (
    f"{PUBLISH} eval time xlen xrange xrevrange xreadgroup xack xdel xtrim xclaim xpending "
    "xgroup|delconsumer xinfo|consumers xinfo|stream"
)
SET_UP = f"{WORK} xgroup|create"
TO_SEE = "client|list config|get info"


class Role(Enum):
    """What an account is for: the commands. A [queue] database other than 0 needs `select` as well."""

    publish = PUBLISH
    work = WORK
    set_up = SET_UP


def keys(queues: Sequence[str]) -> list[str]:
    """The rules for the queues' keys."""
    return [f"~{key}" for queue in queues for key in (lane(queue, False), lane(queue, True), dead(queue))]


def rules(role: Role, queues: Sequence[str], *, see: bool = False) -> list[str]:
    """All that the role needs, or all that it can use."""
    commands = role.value.split() + (TO_SEE.split() if see else [])
    return [*keys(queues), *(f"+{command}" for command in commands)]


def grant(user: str, rules: Sequence[str]) -> str:
    """The command that grants it. ACL SETUSER adds to what the account has."""
    return shlex.join(["redis-cli", "ACL", "SETUSER", user, *rules])
