"""What `labmon setup-queues` does at RabbitMQ, and the lines it prints."""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from labmon.brokers.rabbitmq import topology
from labmon.brokers.rabbitmq.management import Management
from labmon.brokers.rabbitmq.session import Session
from labmon.errors import BrokerError

Policies = dict[str, dict[str, Any]]


def made(session: Session, patterns: Mapping[str, str | None], *, dry_run: bool) -> dict[str, bool]:
    """Everything that the queues need, and whether it was missing. Made now, unless it is a dry run."""
    found: dict[str, bool] = {}
    for queue, pattern in patterns.items():
        queues, exchanges = topology.missing(session, queue, pattern)
        if pattern:
            found |= {f"exchange {name}": name in exchanges for name in topology.EXCHANGES}
        found |= {name: name in queues for name in sorted(topology.queues_of(queue))}
    if not dry_run:
        for queue, pattern in patterns.items():
            topology.declare(session, queue, pattern)
    return found


def differences(session: Session, queue: str) -> list[str]:
    """A line for each queue that is there but not as labmon would have made it."""
    lines = []
    for name in sorted(topology.queues_of(queue)):
        if topology.look(session, name) is None:
            continue
        if difference := topology.difference(session, name, queue):
            lines.append(
                f"{name}: is {difference}. It works, but may lose what it has confirmed, or drop what was "
                f"delivered often. When it is empty: rabbitmqctl delete_queue {name}; labmon setup-queues"
            )
    return lines


def policies(queues: Sequence[str], ttl: Mapping[str, float]) -> Policies:
    """What is worth setting at the server, by name: one policy for all, one more for each queue with a `ttl`.

    Only one policy is ever in force for a queue, so that the latter have to repeat the former.
    """
    # Without the two, the server moves a message to the dead letters as best it can, and may lose it.
    safe = {"dead-letter-strategy": "at-least-once", "overflow": "reject-publish"}
    found = {"labmon": _policy(queues, safe, priority=1)} if queues else {}
    for queue in queues:
        if queue in ttl:
            definition = safe | {"message-ttl": int(ttl[queue] * 1000)}
            found[f"labmon-{queue}"] = _policy([queue], definition, priority=2)
    return found


def _policy(queues: Sequence[str], definition: dict[str, Any], *, priority: int) -> dict[str, Any]:
    names = "|".join(re.escape(queue).replace("\\-", "-") for queue in queues)
    return {
        "pattern": f"^({names})(\\.high)?$",
        "definition": definition,
        "priority": priority,
        "apply-to": "queues",
    }


def set_policies(management: Management | None, wanted: Policies, *, dry_run: bool) -> list[str]:
    """A line for each policy that is there, or set, or would be. What cannot be set is a matter of advice."""
    lines: list[str] = []
    if management is None:
        return lines
    for name, policy in wanted.items():
        with suppress(BrokerError):
            there = management.policy(name)
            if there == policy:
                lines.append(f"policy {name}: was there")
                continue
            if not dry_run:
                management.set_policy(name, policy)
            verb = "changed" if there else "set"
            lines.append(f"policy {name}: {f'would be {verb}' if dry_run else verb}")
    return lines


def missing_policies(
    management: Management | None, vhost: str, queues: Sequence[str], wanted: Policies
) -> list[str]:
    """A line for each policy that is not set, cannot be looked at, or is kept out by another one."""
    unknown = [_by_hand(vhost, name, policy, "worth setting") for name, policy in wanted.items()]
    if management is None:
        return unknown
    try:
        lines = [
            _by_hand(vhost, name, policy, "not set")
            for name, policy in wanted.items()
            if management.policy(name) != policy
        ]
        for queue in queues:
            other = management.policy_of(queue)
            if other is not None and other not in wanted:
                lines.append(f"policy {other}: is in force for {queue}, and only one can be. Merge the two")
        return lines
    except BrokerError as error:
        return [f"policies: {error}", *unknown]


def _by_hand(vhost: str, name: str, policy: dict[str, Any], why: str) -> str:
    words = ["rabbitmqctl", "set_policy", "-p", vhost, "--apply-to", policy["apply-to"]]
    words += [
        "--priority",
        str(policy["priority"]),
        name,
        policy["pattern"],
        json.dumps(policy["definition"]),
    ]
    return f"policy {name}: {why}: {shlex.join(words)}"
