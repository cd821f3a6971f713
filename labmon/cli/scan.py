"""`labmon scan`: find the machines of a network."""

import threading
from collections.abc import Iterator
from contextlib import nullcontext
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from labmon.cli.output import Column, Format, print_rows, say, stderr
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
    stops_on_interrupt,
)
from labmon.errors import Exit

if TYPE_CHECKING:
    from labmon.scan.host import Host
    from labmon.scan.sweep import Sweep


class Type(StrEnum):
    """How addresses are asked."""

    auto = "auto"
    ping = "ping"
    tcp = "tcp"


COLUMNS = [
    Column("address", "Address"),
    Column("hostname", "Name", gives=True),
    Column("seen", "Seen by"),
    Column("rtt", "Answered in", lambda seconds: f"{seconds * 1000:.2f} ms", right=True),
]


def scan(
    ctx: typer.Context,
    targets: Annotated[
        list[str], typer.Argument(metavar="CIDR...", help="Networks, ranges (10.30.5.10-80) or addresses.")
    ],
    dept: Annotated[int, typer.Option(min=1, max=LARGEST, help="The department they belong to.")],
    type: Annotated[
        Type, typer.Option(help="auto: ping, and TCP to those that drop pings; or one of them alone.")
    ] = Type.auto,
    rate: Annotated[
        int | None,
        typer.Option(min=0, help="Packets per second; 0: as fast as possible.", show_default="config"),
    ] = None,
    names: Annotated[
        bool | None,
        typer.Option("--names/--no-names", help="Look names up by reverse DNS.", show_default="config"),
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
    from labmon.messages import ScanFinished, new_scan_id, utcnow
    from labmon.scan.sweep import Sweep
    from labmon.scan.targets import parse

    config = load(
        ctx,
        {
            "scan.rate": rate,
            "scan.names": names,
            "queue.enabled": queue_enabled,
            "queue.host": queue_host,
        },
    )
    addresses = parse(targets, max_hosts=config.scan.max_hosts, force=force)
    stop = threading.Event()
    sweep = Sweep(addresses, config.scan, method=type.value, stop=stop)
    scan_id = new_scan_id()
    hosts: list[Host] = []
    kinds: set[str] = set()

    with nullcontext(Nowhere()) if dry_run else open_sink(config) as sink, stops_on_interrupt(stop):
        started_at = utcnow()
        for host in _drawn(sweep) if interactive(quiet) else sweep:
            hosts.append(host)
            kinds.add(host.scan_type)
            sink.send(host.discovery(scan_id, dept))
        finished_at = utcnow()
        sink.send(
            ScanFinished(
                scan_id=scan_id,
                dept_id=dept,
                scan_type="+".join(sorted(kinds)) or type.value,
                target_range=" ".join(targets),
                started_at=started_at,
                finished_at=finished_at,
                systems_found=len(hosts),
                status="interrupted" if stop.is_set() else "completed",
            )
        )
    hosts.sort(key=lambda host: [int(part) for part in host.address.split(".")])
    if not (quiet and form is Format.table):
        print_rows(COLUMNS, hosts, form)
    if not quiet:
        for note in sweep.notes:
            say(note)
        done = "not stored (--dry-run)" if dry_run else destination(config, config.queue.discovery_queue)
        lost = f"; {sink.rejected} messages could not be stored" if sink.rejected else ""
        seconds = (finished_at - started_at).total_seconds()
        say(f"{len(hosts)} of {len(addresses)} addresses answered in {seconds:.1f} s; {done}{lost}")
    if stop.is_set():
        say("interrupted: what was found by then is kept")
        raise typer.Exit(Exit.INTERRUPTED)
    if sink.rejected:
        raise typer.Exit(Exit.SOME_FAILED)


def _drawn(sweep: "Sweep") -> Iterator["Host"]:
    """The sweep's hosts, with a line on the terminal that tells how far it is."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    state = sweep.progress
    with Progress(
        TextColumn("{task.description:<8}"),
        BarColumn(),
        TextColumn("{task.completed:,}/{task.total:,} asked, {task.fields[found]:,} found"),
        TimeElapsedColumn(),
        console=stderr(),
        transient=True,
        auto_refresh=False,
    ) as bar:
        task = bar.add_task(state.phase, total=state.total, found=0)

        def draw() -> None:
            bar.update(
                task, description=state.phase, completed=state.asked, total=state.total, found=state.found
            )
            bar.refresh()

        done = threading.Event()

        def paint() -> None:
            while not done.wait(0.1):
                draw()

        # In a thread of its own: the sweep gives up control only when somebody answers.
        painter = threading.Thread(target=paint, daemon=True)
        painter.start()
        try:
            yield from sweep
        finally:
            done.set()
            painter.join()
