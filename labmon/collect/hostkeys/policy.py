"""Whether a machine is the one it was: the policy over labmon's own pins and OpenSSH's known hosts.

A key is pinned to the machine, not to its address: with DHCP another machine may have the address tomorrow.
What OpenSSH's files know of an address or a name counts at first sight, and never again. A machine that
labmon has not seen before, at an address where another one was the last to answer, has to show that one's
key: otherwise anybody could take the place of a machine by taking its address with a new MAC address.
"""

import base64
import hashlib
import logging
import re
import shlex
import sqlite3
from collections.abc import Collection, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, Self

from labmon import files
from labmon.collect.failures import HostFailed
from labmon.collect.hostkeys.known_hosts import KnownHosts, host_name
from labmon.collect.hostkeys.pins import Pins, Refused
from labmon.collect.hostkeys.public_key import HostKey
from labmon.errors import PermissionNeeded
from labmon.messages import KEY_CHANGED, LINE, OURSELVES, Alert

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
class HostIdentity:
    """Which machine it has to be: the name of its pin, and its names in files of known hosts."""

    pin: str
    address: str  #: with its port, as OpenSSH's files write it
    place: str  #: the address among those of the same inventory; "" for what is pinned by its address anyway
    names: tuple[str, ...]
    without_port: tuple[str, ...] = ()
    """Names under which a known key counts too, though another one is no change: the same names on the usual
    port. As in OpenSSH, which takes a key that it knows for the host, whatever the port."""

    @classmethod
    def of(
        cls,
        address: str,
        port: int,
        *names: str | None,
        alias: str | None = None,
        system_id: int | None = None,
        inventory: str = "",
    ) -> Self:
        """A system of an inventory; or, where there is no `system_id`, what answers at this address.

        `alias` is HostKeyAlias of the ssh_config: then no other name counts, and it never has a port.
        """
        here = host_name(address, port)
        pin, place = here, ""
        if system_id is not None:
            pin, place = pin_of(system_id, inventory), f"{here} of {inventory}"
        if alias:
            return cls(pin, here, place, (host_name(alias),))
        every = [one for one in (address, *names) if one]
        known_as = dict.fromkeys(host_name(one, port) for one in every)
        bare = dict.fromkeys(host_name(one) for one in every) if port != 22 else {}
        return cls(pin, here, place, tuple(known_as), tuple(bare))

    @property
    def trusted_by(self) -> str:
        """The command that accepts a new key of the machine."""
        return _trusted_by(self.pin)


def _trusted_by(pin: str) -> str:
    system = _SYSTEM.fullmatch(pin)
    return f"labmon systems trust {system['number'] if system else shlex.quote(pin)}"


def pin_of(system_id: int, inventory: str) -> str:
    """The name of a system's pin: the same number is another machine's in another database."""
    return f"system {system_id} of {inventory}"


def concerns(pin: str, inventory: str) -> bool:
    """False for a system of another inventory."""
    system = _SYSTEM.fullmatch(pin)
    return system is None or system["inventory"] == inventory


class HostKeyCheck(NamedTuple):
    """What came of the check of a key that a machine has shown."""

    ask_for: Sequence[str] = ()  #: types of key to ask the machine for instead; none: it may be trusted
    was_known: bool = False  #: the key was pinned, or vouched for, before this connection


class HostKeys:
    """Decides whether a machine's key may be trusted. For any thread. Opening raises what opening `Pins`
    raises."""

    def __init__(self, state_dir: Path, policy: Policy, known_hosts: Iterable[Path] = ()) -> None:
        self.policy = policy
        self._known = KnownHosts([state_dir / OLD_FILE, *known_hosts])
        self._pins = Pins(state_dir / FILE, or_read_only=True) if policy != "off" else None

    def close(self) -> None:
        """Close the file of pins."""
        if self._pins is not None:
            self._pins.close()

    def types(self, machine: HostIdentity) -> list[str]:
        """The types of key to ask a machine for first: those it is known by. Otherwise a machine that has got
        a key of a better type would seem to have changed."""
        if self._pins is None:
            return []
        try:
            known = self._pins.keys(machine.pin) or self._pins.keys(machine.address)
            known = known or [key for _, key in self._pins.others_at(machine.place, machine.pin)]
        except sqlite3.Error as error:
            raise self._broken(error) from error
        return [kind for kind, _ in known or self._known.lookup_plain(machine.names)]

    def fingerprint(self, machine: HostIdentity) -> str:
        """Another text when the machine's key may be judged otherwise than before: by the policy, its pin, or
        the files of known hosts. Raises `HostFailed`: local error.

        The files say something new about a machine only when its key was refused: any change of theirs
        counts then, since to look for a name among 50,000 hashed lines takes too long.
        """
        if self._pins is None:
            return self.policy
        parts: list[object] = [self.policy, machine.pin, machine.names, self._known.revoked_keys()]
        try:
            parts += [sorted(self._pins.keys(machine.pin)), self._pins.expected(machine.pin)]
            if self._pins.was_refused(machine.pin):
                parts += [self._pins.others_at(machine.place, machine.pin), self._known.version]
        except sqlite3.Error as error:
            raise self._broken(error) from error
        return hashlib.sha256(repr(parts).encode("utf-8", "surrogateescape")).hexdigest()

    def account(self, machine: HostIdentity) -> str | None:
        """The account that last let labmon in there; None where none has, and without pins (`off`).

        It is used where neither the settings nor the ssh_config name one, and named in the report where the
        one that they name is refused. It is kept nowhere else.
        """
        if self._pins is None:
            return None
        try:
            return self._pins.account(machine.pin)
        except sqlite3.Error as error:
            raise self._broken(error) from error

    def remember_account(self, machine: HostIdentity, user: str) -> None:
        """This account has let labmon in."""
        if self._pins is not None:
            try:
                self._pins.remember_account(machine.pin, user)
            except sqlite3.Error as error:
                raise self._broken(error) from error

    def check(self, machine: HostIdentity, key: HostKey, asked: Collection[str] = ()) -> HostKeyCheck:
        """Whether this key is the machine's. A key that is new, and may be, is pinned.

        A machine that is known by keys of other types than those it was `asked` for is to be asked again.
        Raises `HostFailed`: host key changed, host key unknown, host key revoked, or local error.
        """
        if self._pins is None:
            return HostKeyCheck()
        if self._known.revoked(key[1]):
            raise HostFailed(
                "host key revoked", f"{shown(key)} is marked @revoked in {' or '.join(self._files())}"
            )
        try:
            return self._checked(self._pins, machine, key, asked)
        except sqlite3.Error as error:
            raise self._broken(error) from error

    def _checked(
        self, pins: Pins, machine: HostIdentity, key: HostKey, asked: Collection[str]
    ) -> HostKeyCheck:
        known: Sequence[HostKey] = pins.keys(machine.pin)
        was = "it was"
        if key in known:
            pins.mark_ok(machine.pin, machine.place)
            return HostKeyCheck(was_known=True)
        if not known:
            first = self._first_sight(pins, machine, key)
            known, was = first.known, first.was
            if first.may_learn:
                by_address = machine.address if machine.address != machine.pin else None
                known = pins.learn(machine.pin, key, machine.place, instead_of=by_address)
                if key in known:
                    logger.info("pinned the host key of %s: %s", machine.pin, shown(key))
                    return HostKeyCheck(was_known=first.is_vouched_for)
        types = [kind for kind, _ in known]
        if key[0] not in types and not set(types) <= set(asked):
            return HostKeyCheck(types)
        pins.refuse(machine.pin, key, machine.address, changed=bool(known))
        if not known:
            raise HostFailed(
                "host key unknown",
                f"{shown(key)}, and [collect] host_keys is strict. If that is its key: {machine.trusted_by}",
            )
        raise HostFailed(
            "host key changed",
            f"{was} {', '.join(shown(one) for one in known)} and is now {shown(key)}. If the machine was "
            f"installed anew: {machine.trusted_by}; if not, somebody may be listening in",
        )

    def _first_sight(self, pins: Pins, machine: HostIdentity, key: HostKey) -> "_FirstSight":
        """What there is about a machine without a pin of its own."""
        if pins.expected(machine.pin):
            return _FirstSight(may_learn=True)
        # It may have been pinned by its address before the inventory had it, or be a new entry in the
        # inventory for a machine that is pinned under another number.
        by_address = pins.keys(machine.address) if machine.address != machine.pin else []
        others = pins.others_at(machine.place, machine.pin)
        there = [one for _, one in others]
        if (
            key in by_address
            or key in there
            or self._known.has_key(machine.names + machine.without_port, key)
        ):
            return _FirstSight(may_learn=True, is_vouched_for=True)
        if by_address:
            return _FirstSight(by_address)
        if others:
            system = _SYSTEM.fullmatch(others[0][0])
            name = f"system {system['number']}" if system else others[0][0]
            return _FirstSight(there, f"{machine.address} was the address of {name}, whose key is")
        known = self._known.keys(machine.names)
        return _FirstSight(known, may_learn=not known and self.policy == "accept-new")

    def _files(self) -> list[str]:
        return [str(path) for path in self._known.files if path.exists()]

    def _broken(self, error: sqlite3.Error) -> HostFailed:
        assert self._pins is not None
        return HostFailed("local error", f"{self._pins.file}: {self._pins.unwritten or error}")


@dataclass(frozen=True)
class _FirstSight:
    """What is known of a machine that has no pin: its keys, whether the key it shows may be pinned, and
    whether that key was known before."""

    known: Sequence[HostKey] = ()
    was: str = "it was"  #: how the report of a changed key begins
    may_learn: bool = False
    is_vouched_for: bool = False


def shown(key: HostKey) -> str:
    """Type and fingerprint."""
    return f"{key[0]} {fingerprint(key[1])}"


def check_file(state_dir: Path) -> None:
    """Raise what opening `HostKeys` would, and make no file where there is none."""
    file = state_dir / FILE
    if file.exists():
        with closing(Pins(file, or_read_only=True)) as pins, pins.errors():
            pins.refused()
    elif not files.may_write(state_dir):
        raise PermissionNeeded(
            f"{file}: the host keys would be kept there, and {state_dir} cannot be written. "
            "Mend its permissions, or choose another [state] dir"
        )


class _Sink(Protocol):
    def send(self, message: Alert, *, database: str = "") -> None: ...

    def flush(self) -> None: ...


def report_changes(state_dir: Path, sink: _Sink, inventory: str = "") -> int:
    """Send an alert for each changed key that was refused and not reported yet, of a system of this inventory
    or of none, and the end of those that are over; returns how many changed.

    An alert may be sent twice, with the same time, when the process dies at the wrong moment. Raises what
    the sink raises, and what opening `Pins` raises.
    """
    file = state_dir / FILE
    if not file.exists():
        return 0
    with closing(Pins(file, or_read_only=True)) as pins:
        with pins.errors():
            changes = [one for one in pins.refused(unreported=True) if concerns(one.machine, inventory)]
            ends = [one for one in pins.ended() if concerns(one.machine, inventory)]
        if changes or ends:
            still = {_system(one.machine) for one in pins.refused() if one.changed}
            for end in ends:
                if _system(end.machine) not in still:  # of several bastions one may still be refused
                    sink.send(_alert(end.machine, end.at, "resolved"), database=inventory)
            for one in changes:
                note = _note(one, pins.keys(one.machine))
                sink.send(_alert(one.machine, one.at, note=note), database=inventory)
            sink.flush()
            with pins.errors():
                pins.reported(changes)
                pins.reported_ends(ends)
    return len(changes)


def _system(pin: str) -> int:
    system = _SYSTEM.fullmatch(pin)
    return int(system["number"]) if system else OURSELVES


def _alert(
    pin: str, at: datetime, state: Literal["firing", "resolved"] = "firing", note: str | None = None
) -> Alert:
    return Alert(
        system_id=_system(pin),
        alert_type=KEY_CHANGED,
        severity="critical",
        value=1,
        threshold=0,
        at=at,
        state=state,
        note=note,
    )


def _note(change: Refused, known: Sequence[HostKey]) -> str:
    """What changed, and what to do, in one line of at most `messages.LINE` characters."""
    new = shown((change.kind, change.key))
    trusted_by = _trusted_by(change.machine)
    before = ", ".join(shown(key) for key in known if key != (change.kind, change.key))
    where = "" if _SYSTEM.fullmatch(change.machine) else f"{change.machine}: "
    longest = f"{where}the host key was {before} and is now {new}. If it was installed anew: {trusted_by}"
    for text in (longest, f"{where}the host key is now {new}. If it was installed anew: {trusted_by}"):
        if len(text) <= LINE and (before or text is not longest):
            return text
    return "See: labmon systems trust"
