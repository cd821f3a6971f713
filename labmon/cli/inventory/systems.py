"""`labmon systems`: the inventory, and what happened to the machines in it."""

from dataclasses import asdict
from datetime import datetime
from enum import StrEnum
from typing import Annotated

import typer

from labmon.app.audit import record
from labmon.app.inventory.systems import (
    COLUMNS,
    HISTORY,
    MEANING,
    SCANS,
    SIZES,
    checked_hostname,
    seat_called,
    status_called,
)
from labmon.app.scope import check_dept, lab_id
from labmon.cli.inventory import trust
from labmon.cli.inventory.facts import Where, facts
from labmon.cli.options import (
    LARGEST,
    Dept,
    FormatOption,
    Lab,
    Limit,
    SystemID,
    choices,
    connected,
    flag,
    numeric,
    option,
)
from labmon.cli.output import Format, print_facts, print_rows, say
from labmon.errors import UsageError
from labmon.readable import shown
from labmon.table import Column
from labmon.text import nearest

app = typer.Typer(no_args_is_help=True, help="List, show and change the systems in the inventory.")
app.command()(trust.trust)
app.command()(facts)


class SetStatus(StrEnum):
    """The statuses that an administrator sets; labmon finds out the others."""

    maintenance = "maintenance"
    active = "active"


@app.command("list")
def list_(
    ctx: typer.Context,
    dept: Dept = None,
    lab: Lab = None,
    status: Annotated[
        list[str] | None, option("--status", "STATUS", "Only systems that are active, offline, refused, ...")
    ] = None,
    gone: Annotated[
        bool | None,
        flag("--gone/--present", "Only systems that the last scan of their address did not find, or did."),
    ] = None,
    where: Where = None,
    form: FormatOption = Format.table,
) -> None:
    """List systems: status, since when, and newest readings.

    Measured is the time of the last successful measurement, Seen the last time that a scan or a measurement
    found the machine.
    """
    from labmon.app.inventory.facts import conditions
    from labmon.store.inventory import facts, systems

    wanted = conditions(where or ())
    statuses = [status_called(text) for text in status or ()] or None
    with connected(ctx) as connection:
        check_dept(connection, dept)
        rows = systems.stream(
            connection,
            dept=dept,
            lab=lab_id(connection, lab),
            ids=facts.matching(connection, wanted) if wanted else None,
            gone=gone,
            statuses=statuses,
        )
        filtered = gone is not None or statuses or lab or dept or wanted
        hint = "no systems yet. Find some with: labmon scan 10.30.5.0/24 --dept 1"
        print_rows(COLUMNS, rows, form, "no such systems" if filtered else hint)


@app.command("set")
def set_(
    ctx: typer.Context,
    system: Annotated[list[int], typer.Argument(min=1, max=LARGEST, metavar="ID", help="The systems' IDs.")],
    lab: Lab = None,
    no_lab: Annotated[bool, flag("--no-lab", "Take them out of their lab.")] = False,
    status: Annotated[
        SetStatus | None,
        option("--status", choices(SetStatus), "maintenance stays until you set active."),
    ] = None,
    port: Annotated[
        int | None, option("--port", "N", "Their SSH port. 0: [collect] port.", min=0, max=65535)
    ] = None,
    hostname: Annotated[
        str | None, option("--hostname", "NAME", "The name of one system, until a scan finds another.")
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
) -> None:
    """Change what labmon cannot find out by itself.

    labmon systems set 12 13 14 --lab A-101
    """
    from labmon.store.inventory import labs, statuses, systems

    if lab is not None and no_lab:
        raise UsageError("only one of --lab and --no-lab can be given")
    if hostname is not None and len(system) > 1:
        raise UsageError("--hostname names one system, and several are given")
    hostname = None if hostname is None else checked_hostname(hostname)
    if seat is not None and (len(system) > 1 or no_seat or no_lab):
        raise UsageError("--seat takes the seat of one system, which is in a lab")
    if (lab, status, port, hostname, shared_mac, seat) == (None,) * 6 and not (no_lab or no_seat):
        raise UsageError(
            "say what to change: --lab, --no-lab, --seat, --no-seat, --status, --port, --hostname "
            "or --shared-mac"
        )
    place = None if seat is None else seat_called(seat)
    changes = {
        "lab": "none" if no_lab else lab,
        "seat": "none" if no_seat else seat,
        "status": status and status.value,
        "port": "as configured" if port == 0 else port,
        "hostname": hostname,
        "MAC": None if shared_mac is None else "shared" if shared_mac else "its own",
    }
    with connected(ctx) as connection:
        systems.check_known(connection, system)
        if shared_mac:
            systems.check_macs(connection, system)
        if no_lab or lab is not None:
            labs.place(connection, system, lab_id(connection, lab))
        if status is not None:
            statuses.set_status(connection, system, status.value)
        systems.edit(connection, system, hostname=hostname, port=port, shared_mac=shared_mac)
        for one in system if place or no_seat else ():
            labs.seat(connection, one, place)
        for one in dict.fromkeys(system):
            record(connection, "systems.set", f"system {one}", changes)
    did = ", ".join(f"{name} {value}" for name, value in changes.items() if value is not None)
    which = ", ".join(map(str, dict.fromkeys(system)))
    say(f"system{'s' if ',' in which else ''} {which}: {did}")


@app.command()
def history(
    ctx: typer.Context,
    system: Annotated[int | None, typer.Argument(metavar="ID", help="Only this system.")] = None,
    scan: Annotated[
        int | None, numeric("--scan", "ID", "Only changes found by this scan.", min=0, max=2**63 - 1)
    ] = None,
    change: Annotated[
        list[str] | None, option("--change", "CHANGE", "Only such changes: found, moved, status, ...")
    ] = None,
    scans: Annotated[bool, flag("--scans", "List the scans instead.")] = False,
    limit: Limit = 100,
    form: FormatOption = Format.table,
) -> None:
    """List what happened to the systems: found, moved, renamed, gone, back, and changes of status."""
    from labmon.store.inventory import history, systems
    from labmon.store.inventory import scans as scan_records

    for one in change or ():
        if one not in history.KINDS:
            raise UsageError(f"there is no change {one!r}{nearest(one, history.KINDS)}")
    with connected(ctx) as connection:
        if scans:
            print_rows(SCANS, scan_records.recent(connection, limit=limit), form, "no scans yet")
            return
        if system is not None:
            systems.check_known(connection, [system])
        rows = history.changes(connection, system_id=system, scan_id=scan, kinds=change, limit=limit)
        if not rows and scan is not None and scan_records.outcome(connection, scan) is None:
            raise UsageError(f"there is no scan {scan}. See: labmon systems history --scans")
    print_rows(HISTORY, rows, form, "no such changes" if change or scan else "nothing has happened yet")


@app.command()
def show(
    ctx: typer.Context,
    system: SystemID,
    form: FormatOption = Format.table,
) -> None:
    """Show everything known about one system, and its history."""
    from labmon.app.inventory.facts import MOUNTS, SHOWN_IN_SHORT, SystemReport, facts_of_one
    from labmon.store.inventory import facts, history, systems

    with connected(ctx) as connection:
        systems.check_known(connection, [system])
        (one,) = systems.systems(connection, ids=[system])
        told = facts.facts(connection, ids=[system])
        mounts = facts.mounts(connection, system)
        happened = history.changes(connection, system_id=system, limit=20)
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
