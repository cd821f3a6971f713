"""What an account at RabbitMQ has to be granted, and no more.

    publish   scan, collect: straight to the queues
    work      consume, dead-letters, queue-depth; publishes too, for the copies that become dead letters
    set up    setup-queues: makes exchanges, queues and bindings; may do everything else as well

An account that may not bind publishes straight to the queues, where no other program can listen in.
"""

import re
import shlex
from collections.abc import Sequence
from enum import Enum

NOTHING = "^$"
DEFAULT_EXCHANGE = r"^amq\.default$"


class Role(Enum):
    """What an account is for."""

    publish = "publish"
    work = "work"
    set_up = "set up"


def permissions(role: Role, queues: Sequence[str]) -> tuple[str, str, str]:
    """The patterns to configure, to write, to read. Without names of queues: for all."""
    names = "|".join(re.escape(queue).replace("\\-", "-") for queue in queues) or ".*"
    queue = rf"({names})(\.high|\.dead)?"
    match role:
        case Role.publish:
            return NOTHING, DEFAULT_EXCHANGE, NOTHING
        case Role.work:
            return NOTHING, DEFAULT_EXCHANGE, f"^{queue}$"
    exchanges = r"labmon(\.high)?"
    return f"^({exchanges}|{queue})$", rf"^({exchanges}|{queue}|amq\.default)$", f"^({exchanges}|{queue})$"


def grant(role: Role, user: str, vhost: str, queues: Sequence[str]) -> str:
    """The command that grants it."""
    return shlex.join(["rabbitmqctl", "set_permissions", "-p", vhost, user, *permissions(role, queues)])
