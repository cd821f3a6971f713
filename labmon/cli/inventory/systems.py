"""`labmon systems`: the inventory, and what happened to the machines in it."""

from dataclasses import asdict
from datetime import datetime
from enum import StrEnum
from typing import Annotated

import typer

from labmon.app.inventory.systems import (
    COLUMNS,
    HISTORY,
    MEANING,
    MORE,
    SCANS,
    SIZES,
    checked_account,
    checked_hostname,
    checked_key,
    is_bad_change,
    is_bad_scan,
    is_failing,
    seat_called,
    status_called,
)
from labmon.app.names import resolve_system, resolve_systems
from labmon.app.scope import dept_id, lab_id
from labmon.cli import complete
from labmon.cli.inventory import life, trust
from labmon.cli.inventory.facts import Where, facts
from labmon.cli.listing import View, listing
from labmon.cli.options import (
    Dept,
    FormatOption,
    Lab,
    SystemName,
    Systems,
    choices,
    connected,
    flag,
    numeric,
    option,
)
from labmon.cli.output import Format, print_facts, print_rows
from labmon.errors import UsageError
from labmon.readable import shown
from labmon.table import Column
from labmon.text import nearest

app = typer.Typer(no_args_is_help=True, help="List, show and change the systems in the inventory.")
app.command()(trust.trust)
app.command()(facts)
for command in (life.retire, life.ignore, life.restore, life.accept, life.merge, life.split, life.undo):
    app.command()(command)
app.command()(life.remove)


class SetStatus(StrEnum):
    """The statuses that an administrator sets; labmon finds out the others."""

    maintenance = "maintenance"
    active = "active"


@app.command("list")
@listing(COLUMNS, more=MORE, failed="Only systems that cannot be measured, or are gone.")
def list_(
    ctx: typer.Context,
    dept: Dept = None,
    lab: Lab = None,
    status: Annotated[
        list[str] | None,
        option(
            "--status",
            "STATUS",
            "Only systems that are active, offline, refused, ...",
            autocompletion=complete.statuses,
        ),
    ] = None,
    gone: Annotated[
        bool | None,
        flag("--gone/--present", "Only systems that the last scan of their address did not find, or did."),
    ] = None,
    where: Where = None,
    everything: Annotated[
        bool, flag("--all", "Also systems that are retired, ignored or in quarantine.")
    ] = False,
    form: FormatOption = Format.table,
    *,
    view: View,
) -> None:
    """List systems: status, since when, and newest readings.

    Measured is the time of the last successful measurement, Seen the last time that a scan or a measurement
    found the machine. Retired, ignored and quarantined systems are hidden without --status or --all.
    """
    from labmon.app.inventory.facts import conditions
    from labmon.store.inventory import facts, systems

    wanted = conditions(where or ())
    statuses = [status_called(text) for text in status or ()] or None
    with connected(ctx) as connection:
        rows = systems.stream(
            *(connection,),
            dept=dept_id(connection, dept),
            lab=lab_id(connection, lab),
            ids=facts.matching(connection, wanted) if wanted else None,
            gone=gone,
            statuses=statuses,
            everything=everything,
        )
        filtered = gone is not None or statuses or lab or dept or wanted or view.narrows
        hint = "no systems yet. Find some with: labmon scan 10.30.5.0/24 --dept 1"
        view.print(COLUMNS, rows, form, "no such systems" if filtered else hint, failed=is_failing)


@app.command("set")
def set_(
    ctx: typer.Context,
    system: Systems,
    lab: Lab = None,
    no_lab: Annotated[bool, flag("--no-lab", "Take them out of their lab.")] = False,
    status: Annotated[
        SetStatus | None,
        option("--status", choices(SetStatus), "maintenance stays until you set active."),
    ] = None,
    port: Annotated[
        int | None, option("--port", "N", "Their SSH port. 0: [collect] port.", min=0, max=65535)
    ] = None,
    user: Annotated[
        str | None, option("--user", "NAME", "The account on them. Empty: as configured in [collect].")
    ] = None,
    key: Annotated[
        str | None, option("--key", "PATH", "Their private key, the only one to try. Empty: as configured.")
    ] = None,
    hostname: Annotated[
        str | None,
        option("--hostname", "NAME", "The name of one system, until a scan finds another. Empty: none."),
    ] = None,
    shared_mac: Annotated[
        bool | None,
        flag(
            "--shared-mac/--own-mac",
            "Other machines have their MAC address, too (a dock): the IP address identifies them.",
        ),
    ] = None,
    seat: Annotated[
        str | None,
        option("--seat", "COLUMN,ROW", "Where one system stands in its lab: from the left, from the front."),
    ] = None,
    no_seat: Annotated[bool, flag("--no-seat", "Take their seats away.")] = False,
    form: FormatOption = Format.table,
) -> None:
    """Change what labmon cannot find out by itself.

    labmon systems set 12 pc-13 10.30.5.14 --lab A-101
    """
    from labmon.app.inventory.life import Changes, ourselves
    from labmon.app.inventory.life import set_ as set_systems

    if lab is not None and no_lab:
        raise UsageError("only one of --lab and --no-lab can be given")
    if seat is not None and (no_seat or no_lab):
        raise UsageError("--seat takes the seat of one system, which is in a lab")
    if (lab, status, port, user, key, hostname, shared_mac, seat) == (None,) * 8 and not (no_lab or no_seat):
        raise UsageError(
            "say what to change: --lab, --no-lab, --seat, --no-seat, --status, --port, --user, --key, "
            "--hostname or --shared-mac"
        )
    with connected(ctx) as connection:
        numbers = resolve_systems(connection, system)
        if len(numbers) > 1 and (hostname is not None or seat is not None):
            raise UsageError("--hostname and --seat are of one system, and several are given")
        changes = Changes(
            hostname=checked_hostname(hostname) if hostname else hostname,
            lab_id=lab_id(connection, lab),
            no_lab=no_lab,
            seat=None if seat is None else seat_called(seat),
            no_seat=no_seat,
            port=port,
            user=checked_account(user) if user else user,
            key=checked_key(key) if key else key,
            shared_mac=shared_mac,
            status=None if status is None else status.value,
        )
        outcomes = set_systems(connection, numbers, changes, ourselves())
    life.report(outcomes, form)


@app.command()
@listing(
    HISTORY,
    instead={"scans": SCANS},
    failed="Only changes for the worse, or scans that failed.",
    limit=100,
    newest=True,
)
def history(
    ctx: typer.Context,
    system: Annotated[str | None, typer.Argument(metavar="SYSTEM", help="Only this system.")] = None,
    scan: Annotated[
        int | None, numeric("--scan", "ID", "Only changes found by this scan.", min=0, max=2**63 - 1)
    ] = None,
    change: Annotated[
        list[str] | None, option("--change", "CHANGE", "Only such changes: found, moved, status, ...")
    ] = None,
    scans: Annotated[bool, flag("--scans", "List the scans instead.")] = False,
    form: FormatOption = Format.table,
    *,
    view: View,
) -> None:
    """List what happened to the systems: found, moved, renamed, gone, back, and changes of status."""
    from labmon.store.inventory import history
    from labmon.store.inventory import scans as scan_records

    for one in change or ():
        if one not in history.KINDS:
            raise UsageError(f"there is no change {one!r}{nearest(one, history.KINDS)}")
    with connected(ctx) as connection:
        if scans:
            rows = scan_records.recent(connection, limit=view.to_fetch)
            view.print(SCANS, rows, form, "no scans yet", failed=is_bad_scan)
            return
        number = None if system is None else resolve_system(connection, system)
        changes = history.changes(
            connection, system_id=number, scan_id=scan, kinds=change, limit=view.to_fetch
        )
        if not changes and scan is not None and scan_records.outcome(connection, scan) is None:
            raise UsageError(f"there is no scan {scan}. See: labmon systems history --scans")
    nothing = "no such changes" if change or scan or view.narrows else "nothing has happened yet"
    view.print(HISTORY, changes, form, nothing, failed=is_bad_change)


@app.command()
def show(
    ctx: typer.Context,
    system: SystemName,
    form: FormatOption = Format.table,
) -> None:
    """Show everything known about one system, and its history."""
    from labmon.app.inventory.facts import MOUNTS, SHOWN_IN_SHORT, SystemReport, facts_of_one
    from labmon.store.inventory import facts, history, systems

    with connected(ctx) as connection:
        number = resolve_system(connection, system)
        (one,) = systems.systems(connection, ids=[number])
        told = facts.facts(connection, ids=[number])
        mounts = facts.mounts(connection, number)
        happened = history.changes(connection, system_id=number, limit=20)
    if form is not Format.table:
        columns = [Column(name, name) for name in asdict(one)]
        whole = SystemReport.of(one, told, mounts)
        print_rows(columns, [whole], form)
        return
    known = {column.field: column for column in COLUMNS + SIZES}
    pairs = []
    for name, value in asdict(one).items():
        if value is not None:
            column = known.get(name, Column(name, name))
            text = shown(value) if isinstance(value, datetime) else column.show(value)
            means = f" ({MEANING[text]})" if name == "status" else ""
            pairs.append((name.replace("_", " "), f"{text}{means}"))
    taken = {name for name, _ in pairs}
    for known_fact in facts_of_one(told[0]) if told else ():
        if known_fact[0] in SHOWN_IN_SHORT and known_fact[0] not in taken:
            pairs.append(known_fact)
    print_facts(pairs, 17)
    if mounts:
        typer.echo()
        print_rows(MOUNTS, mounts, form)
    if happened:
        typer.echo()
        columns = [
            column for column in HISTORY if column.field not in ("system_id", "ip_address", "hostname")
        ]
        print_rows(columns, happened, form)
