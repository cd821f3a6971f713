"""`labmon scan`: find the machines of a network."""

import threading
from contextlib import ExitStack, nullcontext
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from labmon.cli.output import Format, print_rows, say
from labmon.cli.scan_view import COLUMNS, Found, answered, live, say_changes
from labmon.cli.wiring import (
    LARGEST,
    As,
    Nowhere,
    QueueEnabled,
    QueueHost,
    Quiet,
    destination,
    interactive,
    load,
    open_sink,
    open_store,
    stops_on_interrupt,
)
from labmon.errors import Exit

if TYPE_CHECKING:
    from labmon.config import Config
    from labmon.scan.host import Host
    from labmon.scan.targets import Targets
    from labmon.store.pool import Store


class Type(StrEnum):
    """How addresses are asked."""

    auto = "auto"
    arp = "arp"
    ping = "ping"
    tcp = "tcp"
    nmap = "nmap"


def scan(
    ctx: typer.Context,
    dept: Annotated[int, typer.Option(min=1, max=LARGEST, help="The department they belong to.")],
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CIDR...]",
            help="Networks, ranges (10.30.5.10-80), addresses, ff02::1%eth0 (all IPv6 of that link), "
            "@FILE with such in it; without any, the department's subnets.",
            show_default=False,
        ),
    ] = None,
    type: Annotated[
        Type,
        typer.Option(
            help="auto: ARP or IPv6 neighbour discovery on the own link, elsewhere ping, and TCP to those "
            "that drop pings; or one of them alone; or the installed nmap."
        ),
    ] = Type.auto,
    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="CIDR", help="Leave these out; may be repeated.", show_default=False),
    ] = None,
    rate: Annotated[
        int | None,
        typer.Option(min=0, help="Packets per second; 0: as fast as possible.", show_default="config"),
    ] = None,
    names: Annotated[
        bool | None,
        typer.Option(
            "--names/--no-names",
            help="Look names up: reverse DNS, then NetBIOS and multicast DNS.",
            show_default="config",
        ),
    ] = None,
    name_timeout: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="How much longer the scan may take for the sake of names.",
            show_default="config",
        ),
    ] = None,
    queue_enabled: QueueEnabled = None,
    queue_host: QueueHost = None,
    force: Annotated[
        bool, typer.Option("--force", help="Allow networks that are large, or not your own.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what is there and store nothing.")] = False,
    form: As = Format.table,
    quiet: Quiet = False,
) -> None:
    """Find the machines of a network and add them to the inventory.

    labmon scan 10.30.5.0/24 --dept 1
    """
    from labmon.cli import address_lock, scan_range
    from labmon.messages import ScanFinished, new_scan_id, utcnow
    from labmon.scan.address import order
    from labmon.scan.sweep import Sweep

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
    stop = threading.Event()
    hosts: list[Host] = []
    with ExitStack() as stack:
        store: Store | None = None
        if not targets:
            store = stack.enter_context(open_store(config))
        addresses = scan_range.targets(targets or [], exclude or [], dept, config, store, force=force)
        running = "a scan of these addresses is running"
        stack.enter_context(address_lock.held(config.state.path / "scans", addresses.claims, running))
        if store is None and not dry_run and not config.queue.enabled:
            store = stack.enter_context(open_store(config))
        known = _known(config, store, addresses) if addresses.on_link else []
        sweep = Sweep(addresses, config.scan, method=type.value, stop=stop, known=known)
        scan_id = new_scan_id()
        with (
            nullcontext(Nowhere()) if dry_run else open_sink(config, store) as sink,
            stops_on_interrupt(stop),
        ):
            started_at = utcnow()
            with live(sweep.progress, hosts) if interactive(quiet) else nullcontext():
                for host in sweep:
                    hosts.append(host)
                    if not host.zone:
                        sink.send(host.discovery(scan_id, dept))
            finished_at = utcnow()
            refused = sweep.progress.refused
            asked = scan_range.asked(addresses, refused)
            sink.send(
                ScanFinished(
                    scan_id=scan_id,
                    dept_id=dept,
                    scan_type="+".join(sorted({host.scan_type for host in hosts})) or type.value,
                    target_range=asked or str(addresses)[:4096],
                    started_at=started_at,
                    finished_at=finished_at,
                    systems_found=len(hosts),
                    status="interrupted" if stop.is_set() or not asked else "completed",
                    errors=len(refused),
                )
            )
        seconds = (finished_at - started_at).total_seconds()
        hosts.sort(key=lambda host: order(host.address))
        if not (quiet and form is Format.table):
            print_rows(COLUMNS, [Found.of(host) for host in hosts], form)
        if not quiet:
            for note in sweep.notes:
                say(note)
            lost = f"; {sink.rejected} messages could not be stored" if sink.rejected else ""
            done = (
                "not stored (--dry-run)"
                if dry_run
                else destination(config, config.queue.discovery_queue, sink)
            )
            say(f"{answered(hosts, addresses)} in {seconds:.1f} s; {done}{lost}")
            if not dry_run and (homeless := sum(bool(host.zone) for host in hosts)):
                say(f"not stored: {homeless} at link-local addresses, which mean nothing on another machine")
            if store and not (dry_run or config.queue.enabled or sink.spooled):
                _say_changes(store, scan_id)
    if stop.is_set():
        say("interrupted: what was found by then is kept")
        raise typer.Exit(Exit.INTERRUPTED)
    if sink.rejected:
        raise typer.Exit(Exit.SOME_FAILED)


def _known(config: "Config", store: "Store | None", targets: "Targets") -> list[str]:
    """Machines in the networks that are asked as a whole, which not everybody answers.

    By the store, or where only the queue is at hand by the inventory that collecting keeps on disk.
    """
    if store is None:
        from labmon.cli.targets import inventory_file
        from labmon.fleet import Fleet

        fleet = Fleet.load(inventory_file(config))
        machines = fleet.machines if fleet else []
        return [one.address for one in machines if any(one.address in network for network in targets.on_link)]
    from labmon.store import inventory

    with store.transaction() as connection:
        return inventory.addresses_in(connection, [str(one.network) for one in targets.on_link])


def _say_changes(store: "Store", scan_id: int) -> None:
    from labmon.store import history, scans

    with store.transaction() as connection:
        ended = scans.outcome(connection, scan_id)
        changes = history.changes(
            connection, scan_id=scan_id, kinds=["found", "moved", "gone", "shared", "unshared"]
        )
    if ended:
        say_changes(*ended, changes)
