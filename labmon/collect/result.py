"""A machine to measure, and what came of it."""

import logging
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from ipaddress import ip_address
from typing import Self

from labmon.collect.failures import Failure, one_line
from labmon.errors import UsageError
from labmon.facts import FileSystem, MachineFacts
from labmon.fleet import Machine
from labmon.messages import Metrics, Readings
from labmon.text import is_address

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Target:
    """A machine to measure. `system_id` is None for one that the store does not know.

    `address` is an IP address: names are looked up beforehand, since a look-up has no deadline. Where a
    bastion does it, within ours, it `is_name`. Raises UsageError for anything else.
    """

    address: str
    port: int = 22
    system_id: int | None = None
    name: str | None = None
    inventory: str = ""  #: the database whose number `system_id` is, see `Fleet`
    is_name: bool = False
    user: str | None = None  #: the account there, where it is not the usual one
    key_file: str | None = None  #: the private key, the same

    def __post_init__(self) -> None:
        if not (self.is_name or is_address(self.address)):
            raise UsageError(f"{self.address!r} is not an IP address")
        if not 1 <= self.port <= 65535:
            raise UsageError(f"{self.address}: there is no port {self.port}")

    @classmethod
    def of(cls, machine: Machine, port: int, inventory: str) -> Self:
        """A machine of this inventory; `port` is the usual one, for machines that have none of their own."""
        return cls(
            machine.address,
            machine.port or port,
            machine.system_id,
            machine.name,
            inventory,
            is_name=not is_address(machine.address),
            user=machine.user,
            key_file=machine.key,
        )

    def __str__(self) -> str:
        return f"{self.name} ({self.address})" if self.name else self.address

    @property
    def key(self) -> str:
        """Which machine it is from one run to the next: a system of a database, wherever it moves; else an
        address."""
        if self.system_id is None:
            return f"[{self.address}]:{self.port}"
        return f"{self.system_id}@{self.inventory}" if self.inventory else str(self.system_id)

    @cached_property
    def subnet(self) -> str:
        """What it likely shares a switch or a firewall with: its /24, or its /64. A name is alone."""
        if self.is_name:
            return self.address
        return ip_address(self.address).packed[: 8 if ":" in self.address else 3].hex()


@dataclass(frozen=True)
class Result:
    """What came of one machine: readings with their time, or a failure."""

    target: Target
    readings: Readings | None
    collected_at: datetime | None
    failure: Failure | None
    seconds: float  #: from the start of the connection, or of the round where there was one already
    missing: tuple[str, ...] = ()  #: parts that could not be read, see `parse.Report`
    clock_skew: float | None = None  #: seconds by which the machine's clock is ahead of ours
    mounts: tuple[FileSystem, ...] | None = None  #: local file systems; None where nobody looked
    facts: MachineFacts | None = None  #: where it was asked for them
    ssh_server: str = ""

    @property
    def message(self) -> Metrics | None:
        """The message to publish; None after a failure, and for a machine that the store does not know."""
        if self.target.system_id is None or self.readings is None or self.collected_at is None:
            return None
        return Metrics(system_id=self.target.system_id, collected_at=self.collected_at, metrics=self.readings)


def bug(error: Exception, target: Target) -> Failure:
    """Log an unexpected exception, a bug, and make it the failure of the machine where it happened.

    For use in an `except` block: the log gets the trace.
    """
    logger.exception("a bug, met at %s", target)
    return Failure("local error", f"a bug: {one_line(repr(error))}")
