"""The life of a system: what `labmon systems` and the dashboard do with it, each with its audit and history.

A system is measured unless people took it out: retired (kept with its history), ignored (a printer, a
router) or not let in yet (quarantined). All but `remove` can be undone, step by step.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from labmon.app.audit import WHERE
from labmon.app.scope import current_user
from labmon.errors import UsageError

if TYPE_CHECKING:
    from labmon.pg import Connection
    from labmon.store.inventory.life.merge import Merged
    from labmon.store.inventory.life.steps import Undone

VERBS = {"retired": "retire", "ignored": "ignore"}


class Who(NamedTuple):
    """Who does it, and from where."""

    name: str
    address: str


def ourselves() -> Who:
    """The account that runs the command."""
    return Who(current_user(), WHERE)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was done with one system."""

    system_id: int
    action: str
    done: bool  #: False where there was nothing to do
    did: str  #: in words
    notes: list[str] = field(default_factory=list)  #: what came with it, or could not be


@dataclass(frozen=True, slots=True)
class Removed:
    """How many of what went with a system."""

    removed: str
    count: int


@dataclass(frozen=True, slots=True)
class Changes:
    """What `set_` changes; None leaves as it is."""

    hostname: str | None = None  #: "": none
    lab_id: int | None = None
    no_lab: bool = False
    seat: tuple[int, int] | None = None  #: column and row
    no_seat: bool = False
    port: int | None = None  #: 0: as configured
    user: str | None = None  #: "": as configured
    key: str | None = None  #: "": as configured
    shared_mac: bool | None = None
    status: Literal["maintenance", "active"] | None = None


def take_out(
    connection: "Connection[Any]",
    systems: Sequence[int],
    status: Literal["retired", "ignored"],
    who: Who,
    *,
    comment: str | None = None,
) -> list[Outcome]:
    """Retire or ignore systems: they are not measured, counted or listed; their alerts end.

    Raises UsageError.
    """
    from labmon.store.inventory.life import states

    def act() -> None:
        states.take(connection, systems, status, comment)

    return _stepped(connection, systems, VERBS[status], who, act, comment=comment)


def restore(connection: "Connection[Any]", systems: Sequence[int], who: Who) -> list[Outcome]:
    """Have retired and ignored systems measured again. Raises UsageError."""
    return _let_in(connection, systems, "restore", ("retired", "ignored"), who)


def accept(connection: "Connection[Any]", systems: Sequence[int], who: Who) -> list[Outcome]:
    """Let systems out of quarantine. Raises UsageError."""
    return _let_in(connection, systems, "accept", ("quarantined",), who)


def quarantined(
    connection: "Connection[Any]", *, dept: int | None = None, lab: int | None = None
) -> list[int]:
    """The systems that wait to be let in, by number; None does not restrict."""
    from labmon.store.inventory.life import states

    return states.in_status(connection, "quarantined", dept=dept, lab=lab)


def set_(connection: "Connection[Any]", systems: Sequence[int], changes: Changes, who: Who) -> list[Outcome]:
    """Change what labmon cannot find out by itself. Raises UsageError: a seat that another system has."""
    from labmon.store.inventory import labs, statuses
    from labmon.store.inventory.life import edit, states

    def act() -> None:
        if changes.status is not None:
            _check_watched(states.statuses(connection, systems))
            statuses.set_status(connection, systems, changes.status)
        if changes.shared_mac:
            edit.check_macs(connection, systems)
        if changes.no_lab or changes.lab_id is not None:
            labs.place(connection, systems, changes.lab_id)
        edit.edit(
            *(connection, systems),
            hostname=changes.hostname,
            port=changes.port,
            user=changes.user,
            key=changes.key,
            shared_mac=changes.shared_mac,
        )
        for one in systems if changes.seat or changes.no_seat else ():
            labs.seat(connection, one, changes.seat)

    return _stepped(connection, systems, "set", who, act)


def merge(connection: "Connection[Any]", into: int, other: int, who: Who) -> Outcome:
    """Make `other` a part of `into`: one history, one number. Raises UsageError."""
    from labmon.store.inventory.life import states, steps
    from labmon.store.inventory.statuses import UNWATCHED

    if into == other:
        raise UsageError(f"system {into} cannot be merged with itself: name two systems")
    with _alone(connection, [into, other]):
        called = _called(connection, other)
        done = _merge(connection, into, other)
        steps.add(connection, into, "merge", who.name, {}, {}, merged=other)
        _record(connection, who, "merge", into, {"other": other, "readings": done.readings})
        status = states.statuses(connection, [into])[into]
    notes = [_moved(done)]
    if status in UNWATCHED:
        notes.append(f"it is {status}. To have it measured: labmon systems {_verb(status)} {into}")
    return Outcome(into, "merge", True, f"{called} is part of it now", notes)


def _merge(connection: "Connection[Any]", into: int, other: int) -> "Merged":
    from labmon.alerts import ended
    from labmon.store.inventory.life import merge as merging
    from labmon.store.inventory.life import steps

    ended.end(connection, [other], f"merged into system {into}")
    called = _called(connection, other)
    done = merging.merge(connection, into, other)
    steps.happened(connection, into, "merged", called)
    return done


def _moved(done: "Merged") -> str:
    dropped = f" ({done.dropped} of a time of which it had one were left out)" if done.dropped else ""
    return f"{done.readings} readings{dropped}, {done.events} changes and {done.alerts} alerts came with it"


def split(connection: "Connection[Any]", into: int, other: int | None, who: Who) -> Outcome:
    """Take apart what a merge joined: the system that is named, or the only one. Raises UsageError."""
    from labmon.store.inventory.life import merge as merging
    from labmon.store.inventory.life import steps

    with _alone(connection, [into]):
        parts = merging.parts(connection, into)
        if not parts:
            raise UsageError(f"nothing was merged into system {into}")
        if other is None and len(parts) > 1:
            numbers = ", ".join(map(str, parts))
            raise UsageError(f"several systems were merged into system {into}: name one of {numbers}")
        other = parts[0] if other is None else other
        if other not in parts:
            numbers = ", ".join(map(str, parts))
            raise UsageError(f"system {other} was not merged into system {into}; these were: {numbers}")
        outcome = _split(connection, into, other)
        steps.mark_merge(connection, into, other, undone=True)
        steps.add(connection, into, "split", who.name, {}, {}, merged=other)
        _record(connection, who, "split", into, {"other": other})
    return outcome


def _split(connection: "Connection[Any]", into: int, other: int) -> Outcome:
    from labmon.store.inventory.life import merge as merging
    from labmon.store.inventory.life import steps

    done = merging.split(connection, into, other)
    called = _called(connection, other)
    steps.happened(connection, into, "split", called)
    steps.happened(connection, other, "split", _called(connection, into))
    return Outcome(into, "split", True, f"{called} is a system of its own again", done.left)


def undo(connection: "Connection[Any]", systems: Sequence[int], who: Who) -> list[Outcome]:
    """Take back the last step with each of these systems that is not undone yet. Raises UsageError."""
    with _alone(connection, systems):
        return [_undo(connection, system, who) for system in dict.fromkeys(systems)]


def _undo(connection: "Connection[Any]", system: int, who: Who) -> Outcome:
    from labmon.alerts import ended
    from labmon.readable import shown
    from labmon.store.inventory.life import states, steps
    from labmon.store.inventory.statuses import UNWATCHED

    step = steps.last(connection, system)
    if step is None:
        raise UsageError(f"nothing is left to undo for system {system}")
    label = f"{step.action} of {shown(step.at)} by {step.said_by}"
    notes: list[str] = []
    if step.merged_id is not None and step.action == "merge":
        done = _split(connection, system, step.merged_id)
        steps.mark_undone(connection, step)
        did, notes = done.did, done.notes
    elif step.merged_id is not None:
        called = _called(connection, step.merged_id)
        notes = [_moved(_merge(connection, system, step.merged_id))]
        steps.mark_undone(connection, step)
        steps.mark_merge(connection, system, step.merged_id, undone=False)
        did = f"{called} is part of it again"
    else:
        undone = steps.take_back(connection, step)
        did, notes = _again(undone), _kept(undone)
        status = states.statuses(connection, [system])[system]
        if status in UNWATCHED:
            ended.end(connection, [system], f"the system is {status}")
    steps.happened(connection, system, "undone", label)
    _record(connection, who, "undo", system, {"action": step.action, "said_by": step.said_by})
    return Outcome(system, "undo", True, f"{label} is undone: {did}", notes)


def _again(undone: "Undone") -> str:
    return f"{', '.join(undone.restored)} again" if undone.restored else "nothing is left of it"


def _kept(undone: "Undone") -> list[str]:
    return [f"changed since, and left: {one}" for one in undone.left]


def doomed(connection: "Connection[Any]", systems: Sequence[int]) -> dict[str, int]:
    """What `remove` would delete with these systems: how many of what. Raises UsageError."""
    from labmon.store.inventory import systems as inventory
    from labmon.store.inventory.life import remove as removing

    inventory.check_known(connection, systems)
    return removing.counts(connection, systems)


def remove(connection: "Connection[Any]", systems: Sequence[int], who: Who) -> dict[str, int]:
    """Delete systems with all that is known of them, for good. Returns what went. Raises UsageError."""
    from labmon.store.inventory.life import remove as removing

    with _alone(connection, systems):
        gone = removing.counts(connection, systems)
        called = {one: _called(connection, one) for one in dict.fromkeys(systems)}
        removing.remove(connection, systems)
        for one, name in called.items():
            _record(connection, who, "remove", one, {"name": name, "with": gone})
    return gone


@contextmanager
def _alone(connection: "Connection[Any]", systems: Sequence[int]) -> Iterator[None]:
    """Nobody else changes any system meanwhile, nor stores anything of these. Raises UsageError."""
    from labmon.alerts import ended
    from labmon.store.inventory import history
    from labmon.store.inventory import systems as inventory

    connection.execute(ended.LOCK)
    connection.execute(history.LOCK)
    inventory.check_known(connection, systems)
    inventory.hold(connection, systems)
    yield


def _stepped(
    connection: "Connection[Any]",
    systems: Sequence[int],
    action: str,
    who: Who,
    act: Callable[[], None],
    *,
    comment: str | None = None,
) -> list[Outcome]:
    """Do something with systems that can be undone, and end the alerts of those that are not watched then."""
    from labmon.alerts import ended
    from labmon.store.inventory import systems as inventory
    from labmon.store.inventory.life import states, steps
    from labmon.store.inventory.statuses import UNWATCHED

    systems = list(dict.fromkeys(systems))
    inventory.check_known(connection, systems)
    connection.execute(ended.LOCK)
    with steps.step(connection, systems, action, who.name) as changed:
        act()
    now = states.statuses(connection, systems)
    outcomes = []
    for one in systems:
        notes = []
        if one in changed:
            step = steps.last(connection, one)
            did = ", ".join(steps.words(connection, step.after)) if step else ""
            detail = {"did": did, "comment": comment}
            _record(connection, who, action, one, detail)
            if now[one] in UNWATCHED and (count := ended.end(connection, [one], f"the system is {now[one]}")):
                notes.append(f"{count} of its alerts ended")
        else:
            did = f"is {now[one]} already" if action in VERBS.values() else "nothing changed"
        outcomes.append(Outcome(one, action, one in changed, did, notes))
    return outcomes


def _let_in(
    connection: "Connection[Any]", systems: Sequence[int], action: str, statuses: Sequence[str], who: Who
) -> list[Outcome]:
    from labmon.store.inventory import systems as inventory
    from labmon.store.inventory.life import states

    inventory.check_known(connection, systems)
    waiting = [one for one, status in states.statuses(connection, systems).items() if status in statuses]
    lost: dict[int, list[str]] = {}

    def act() -> None:
        for one in waiting:
            lost[one] = states.let_in(connection, one)

    outcomes = _stepped(connection, systems, action, who, act)
    for one in outcomes:
        one.notes.extend(f"without its {what}" for what in lost.get(one.system_id, ()))
    return outcomes


def _check_watched(statuses: dict[int, str]) -> None:
    """Raises UsageError for the first system that people took out: another command lets it in."""
    from labmon.store.inventory.statuses import UNWATCHED

    for one, status in sorted(statuses.items()):
        if status in UNWATCHED:
            raise UsageError(
                f"system {one} is {status}. Let it in first: labmon systems {_verb(status)} {one}"
            )


def _verb(status: str) -> str:
    return "accept" if status == "quarantined" else "restore"


def _called(connection: "Connection[Any]", system: int) -> str:
    """A system as people find it: "system 7 (pc-17, 10.30.5.7)"."""
    from labmon.store.inventory import systems as inventory

    return inventory.called(connection, system)


def _record(
    connection: "Connection[Any]", who: Who, action: str, system: int, detail: dict[str, Any]
) -> None:
    from labmon.store.accounts import audit

    audit.record(connection, who.name, f"systems.{action}", f"system {system}", detail, address=who.address)
