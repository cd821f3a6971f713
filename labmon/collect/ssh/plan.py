"""How one machine is reached: address, identity, login, and the bastion on the way."""

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from labmon.collect.deadline import Deadline
from labmon.collect.failures import HostFailed
from labmon.collect.hostkeys.policy import HostIdentity, HostKeys
from labmon.collect.ssh.credentials import Login
from labmon.collect.ssh.networks import AllowedNetworks

if TYPE_CHECKING:
    from labmon.collect.ssh.transport import Forwarded


class Gateway(Protocol):
    """A machine that forwards connections, as a session behind it needs to know it."""

    name: str

    def fingerprint(self) -> str:
        """See `ConnectionPlan.fingerprint`, of its own plan."""

    def channel(self, address: str, port: int, deadline: Deadline) -> "Forwarded":
        """A connection from there to an address of its network, for use as a socket.

        Raises `HostFailed`: refused, or unreachable with the bastion's name; TimeoutError at the deadline.
        """

    def lost(self, detail: str) -> HostFailed:
        """The failure of a machine behind it when the connection to the bastion is gone."""


@dataclass(frozen=True)
class ConnectionPlan:
    """Where a machine is, which machine it has to be, the login there, and the bastion on the way."""

    address: str
    port: int
    machine: HostIdentity
    login: Login
    networks: AllowedNetworks
    bastion: Gateway | None = None

    def fingerprint(self, host_keys: HostKeys) -> str:
        """Another text when anything is another that the connection is made of: address and port, account,
        keys and password, what decides about its host key, the permission to connect, and all that of each
        bastion. Then what failed before may work now. The same text in every process, so it can be kept.

        Raises `HostFailed` when the host keys cannot be read.
        """
        parts = (
            self.address,
            str(self.port),
            str(self.networks.contain(self.address)),
            self.login.fingerprint,
            host_keys.fingerprint(self.machine),
            self.bastion.fingerprint() if self.bastion is not None else "",
        )
        return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:32]
