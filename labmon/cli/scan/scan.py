"""`labmon scan`: find the machines of a network."""

from contextlib import nullcontext
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from labmon.app.scan.rows import COLUMNS, Found, answered
from labmon.app.scope import dept_number
from labmon.cli.options import (
    FormatOption,
    NewAs,
    QueueEnabled,
    QueueHost,
    Quiet,
    choices,
    destination,
    flag,
    interactive,
    lasting,
    load,
    option,
    setting,
)
from labmon.cli.output import Format, notice, print_rows, say
from labmon.cli.scan.view import live, say_changes
from labmon.errors import Exit
from labmon.readable import plural
from labmon.signals import exit_code, stops_on_interrupt
from labmon.text import foreign

if TYPE_CHECKING:
    from labmon.app.scan.scan import ScanResult
    from labmon.config.tables import Config


class Type(StrEnum):
    """How addresses are asked."""

    auto = "auto"
    arp = "arp"
    ping = "ping"
    tcp = "tcp"
    nmap = "nmap"


Ranges = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="CIDR",
        help="Networks, ranges (10.30.5.10-80), addresses, ff02::1%eth0 (all of IPv6 on that link), "
        "or @PATH, a file with a list of them. Without any: the department's subnets.",
        show_default=False,
    ),
]
ScanType = Annotated[
    Type,
    option(
        "--type",
        "auto|arp|ping|tcp|nmap",
        "auto: ARP or IPv6 neighbour discovery on a local link, ping elsewhere, and TCP for addresses "
        "that do not answer. arp, ping, tcp: only that. nmap: the installed nmap.",
        show_default=True,
    ),
]
Excluded = Annotated[list[str] | None, option("--exclude", "CIDR", "Do not probe these addresses.")]
Rate = Annotated[int | None, setting("--rate", "N", "Packets per second. 0: as fast as possible.", min=0)]
Names = Annotated[
    bool | None,
    flag(
        "--names/--no-names",
        "Look up host names: reverse DNS, then NetBIOS and multicast DNS.",
        show_default="config",
    ),
]
NameTimeout = Annotated[
    str | None,
    lasting("--name-timeout", "Maximum wait for host names at the end of the scan.", show_default="config"),
]
Force = Annotated[
    bool,
    flag("--force", "Allow large networks and public addresses, and store answers that prove no machine."),
]


def scan(
    ctx: typer.Context,
    dept: Annotated[
        str, option("--dept", "DEPT", "The department that they belong to: its number, name or code.")
    ],
    targets: Ranges = None,
    type: ScanType = Type.auto,
    exclude: Excluded = None,
    rate: Rate = None,
    names: Names = None,
    name_timeout: NameTimeout = None,
    queue_enabled: QueueEnabled = None,
    queue_host: QueueHost = None,
    force: Force = False,
    new_as: Annotated[
        NewAs | None,
        option(
            "--new-as",
            choices(NewAs),
            "Measure new machines from now on, or have them wait for labmon systems accept.",
            show_default="the department's",
        ),
    ] = None,
    dry_run: Annotated[bool, flag("--dry-run", "Print what is found and store nothing.")] = False,
    form: FormatOption = Format.table,
    quiet: Quiet = False,
) -> None:
    """Find the machines of a network and add them to the inventory.

    labmon scan 10.30.5.0/24 --dept 1
    """
    from labmon.app.scan.scan import ScanRequest, open_scan

    config = load(
        ctx,
        {
            "scan.rate": rate,
            "scan.names": names,
            "scan.name_timeout": name_timeout,
            "queue.enabled": queue_enabled,
            "queue.host": queue_host,
        },
    )
    request = ScanRequest(
        dept_number(config, dept),
        tuple(targets or ()),
        tuple(exclude or ()),
        method=type.value,
        force=force,
        dry_run=dry_run,
        new_as=None if new_as is None else new_as.value,
    )
    with open_scan(config, request, notice=notice) as opened:
        drawn = live(opened.progress, opened.hosts) if interactive(quiet) else nullcontext()
        with stops_on_interrupt(opened.stop) as signals, drawn:
            result = opened.run()
    if not (quiet and form is Format.table):
        print_rows(COLUMNS, [Found.of(host) for host in result.hosts], form)
    if not quiet:
        _say(result, config, dry_run)
    if result.unproven:
        notice(
            f"{foreign(result.unproven)}. They are not stored; --force stores them, "
            "--type ping leaves them out"
        )
    if signals:
        say("interrupted: what was found by then is kept")
        raise typer.Exit(exit_code(signals))
    if result.rejected or (result.unproven and not dry_run):
        raise typer.Exit(Exit.SOME_FAILED)


def _say(result: "ScanResult", config: "Config", dry_run: bool) -> None:
    """The lines after the table."""
    for note in result.notes:
        say(foreign(note))
    seconds = (result.finished_at - result.started_at).total_seconds()
    stored = destination(config, config.queue.discovery_queue, result.sink)
    done = "not stored (--dry-run)" if dry_run else stored
    lost = f"; {plural(result.rejected, 'message')} could not be stored" if result.rejected else ""
    say(f"{answered(result.hosts, result.targets)} in {seconds:.1f} s; {done}{lost}")
    if not dry_run and result.link_local:
        say(f"not stored: {result.link_local} at link-local addresses, which mean nothing on another machine")
    if result.changes:
        say_changes(result.changes)
