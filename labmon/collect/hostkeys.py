"""Whether a machine is the one it was: the policy over labmon's own pins and OpenSSH's known hosts.

A key is pinned to the machine, not to its address: with DHCP an address is somebody else's tomorrow. What
OpenSSH's files know of an address or a name counts at first sight, and never again.
"""

import base64
import hashlib
import logging
import re
import shlex
import sqlite3
from collections.abc import Collection, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, Self

from labmon.collect.failures import HostFailed
from labmon.collect.known_hosts import HostKey, KnownHosts, host_name
from labmon.collect.pins import Pins, Refused
from labmon.messages import OURSELVES, Alert

logger = logging.getLogger(__name__)

Policy = Literal["accept-new", "strict", "off"]

FILE = "host_keys.sqlite"
"""In the state folder."""

OLD_FILE = "known_hosts"
"""Where earlier versions kept the keys, by address; still read as one more file of known hosts."""

_SYSTEM = re.compile(r"system (?P<number>\d+) of (?P<inventory>.*)")


def fingerprint(blob: bytes) -> str:
    """SHA256:..., as `ssh-keygen -l` shows it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


@dataclass(frozen=True)
class Machine:
    """Whose key it is: the name of its pin, and the names that files of known hosts may have for it."""

    pin: str
    names: tuple[str, ...]

    @classmethod
    def of(
        cls,
        address: str,
        port: int,
        *aliases: str | None,
        system_id: int | None = None,
        inventory: str = "",
    ) -> Self:
        """A system of an inventory; or, where there is no `system_id`, what answers at this address."""
        names = dict.fromkeys(host_name(one, port) for one in (address, *aliases) if one)
        pin = next(iter(names)) if system_id is None else pin_of(system_id, inventory)
        return cls(pin, tuple(names))

    @property
    def trusted_by(self) -> str:
        """The command that takes a new key of it."""
        system = _SYSTEM.fullmatch(self.pin)
        return f"labmon systems trust {system['number'] if system else shlex.quote(self.pin)}"


def pin_of(system_id: int, inventory: str) -> str:
    """The name of a system's pin: the same number is another machine's in another database."""
    return f"system {system_id} of {inventory}"


def concerns(pin: str, inventory: str) -> bool:
    """False for a system of another inventory."""
    system = _SYSTEM.fullmatch(pin)
    return system is None or system["inventory"] == inventory


class HostKeys:
    """The one who decides. For any thread. Opening it raises what opening `Pins` raises."""

    def __init__(self, state_dir: Path, policy: Policy, known_hosts: Iterable[Path] = ()) -> None:
        self.policy = policy
        self._known = KnownHosts([state_dir / OLD_FILE, *known_hosts])
        self._pins = Pins(state_dir / FILE) if policy != "off" else None

    def close(self) -> None:
        """Let go of the file."""
        if self._pins is not None:
            self._pins.close()

    def types(self, machine: Machine) -> list[str]:
        """The types of key to ask a machine for first: those it is known by. Else one that has got a key of a
        better type would seem to have changed."""
        if self._pins is None:
            return []
        try:
            known = self._pins.keys(machine.pin) or self._pins.keys(machine.names[0])
        except sqlite3.Error as error:
            raise self._broken(error) from error
        return [kind for kind, _ in known or self._known.plainly(machine.names)]

    def check(self, machine: Machine, key: HostKey, asked: Collection[str] = ()) -> list[str]:
        """Return nothing if the machine may be trusted to be itself, having pinned a key that is new and may
        be; or the types to ask it for instead, since it is known by other ones than those it was `asked` for.

        Raises `HostFailed`: host key changed, host key unknown, host key revoked, or local error.
        """
        if self._pins is None:
            return []
        if self._known.revoked(key[1]):
            raise HostFailed(
                "host key revoked", f"{shown(key)} is marked @revoked in {' or '.join(self._files())}"
            )
        try:
            return self._checked(self._pins, machine, key, asked)
        except sqlite3.Error as error:
            raise self._broken(error) from error

    def _checked(self, pins: Pins, machine: Machine, key: HostKey, asked: Collection[str]) -> list[str]:
        pinned = pins.keys(machine.pin)
        if key in pinned:
            pins.good(machine.pin)
            return []
        known = pinned
        if not pinned:
            # Who was pinned by its address before the inventory had it.
            address = machine.names[0] if machine.names[0] != machine.pin else None
            known = pins.keys(address) if address else []
            if pins.expected(machine.pin) or key in known or self._known.vouches(machine.names, key):
                may_learn, known = True, []
            else:
                known = known or self._known.keys(machine.names)
                may_learn = not known and self.policy == "accept-new"
            if may_learn:
                known = pins.learn(machine.pin, key, instead_of=address)
                if key in known:
                    logger.info("pinned the host key of %s: %s", machine.pin, shown(key))
                    return []
        types = [kind for kind, _ in known]
        if key[0] not in types and not set(types) <= set(asked):
            return types
        pins.refuse(machine.pin, key, machine.names[0], changed=bool(known))
        if not known:
            raise HostFailed(
                "host key unknown",
                f"{shown(key)}, and [collect] host_keys is strict. If that is its key: {machine.trusted_by}",
            )
        raise HostFailed(
            "host key changed",
            f"it was {', '.join(shown(one) for one in known)} and is now {shown(key)}. If the machine was "
            f"installed anew: {machine.trusted_by}; if not, somebody may be listening in",
        )

    def _files(self) -> list[str]:
        return [str(path) for path in self._known.files if path.exists()]

    def _broken(self, error: sqlite3.Error) -> HostFailed:
        assert self._pins is not None
        return HostFailed("local error", f"{self._pins.file}: {error}")


def shown(key: HostKey) -> str:
    """Type and fingerprint."""
    return f"{key[0]} {fingerprint(key[1])}"


class _Sink(Protocol):
    def send(self, message: Alert) -> None: ...

    def flush(self) -> None: ...


def report_changes(state_dir: Path, sink: _Sink, inventory: str = "") -> int:
    """Send an alert for each changed key that was refused and not reported yet, of a system of this inventory
    or of none; returns how many.

    An alert may be sent twice, with the same time, when the process dies at the wrong moment. Raises what
    the sink raises.
    """
    file = state_dir / FILE
    if not file.exists():
        return 0
    with closing(Pins(file)) as pins:
        changes = [one for one in pins.refused(unreported=True) if concerns(one.machine, inventory)]
        if changes:
            for one in changes:
                sink.send(_alert(one))
            sink.flush()
            pins.reported(changes)
    return len(changes)


def _alert(change: Refused) -> Alert:
    system = _SYSTEM.fullmatch(change.machine)
    return Alert(
        system_id=int(system["number"]) if system else OURSELVES,
        alert_type="host_key_changed",
        severity="critical",
        value=1,
        threshold=0,
        at=change.at,
    )
