"""`labmon collect`: measure machines over SSH."""

import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labmon.cli import authorized_key
from labmon.cli.output import Column, Format, percent, print_rows, say, span, stderr
from labmon.cli.wiring import (
    LARGEST,
    As,
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
from labmon.errors import Exit, UsageError

if TYPE_CHECKING:
    from labmon.collect.runner import Result, Target
    from labmon.store.inventory import System


@dataclass(frozen=True)
class _Row:
    """A result as it is printed."""

    system_id: int | None
    address: str
    name: str | None
    collected_at: datetime | None
    cpu_percent: float | None
    ram_percent: float | None
    disk_percent: float | None
    network_recv_mbps: float | None
    network_sent_mbps: float | None
    logged_in_users: int | None
    uptime_seconds: int | None
    seconds: float
    failure: str | None


COLUMNS = [
    Column("system_id", "ID", right=True),
    Column("address", "Address"),
    Column("name", "Name", gives=True),
    Column("cpu_percent", "CPU", percent, right=True),
    Column("ram_percent", "RAM", percent, right=True),
    Column("disk_percent", "Disk", percent, right=True),
    Column("network_recv_mbps", "In Mbit/s", lambda rate: f"{rate:.1f}", right=True, extra=True),
    Column("network_sent_mbps", "Out Mbit/s", lambda rate: f"{rate:.1f}", right=True, extra=True),
    Column("logged_in_users", "Users", right=True),
    Column("uptime_seconds", "Up", span, right=True),
    Column("seconds", "Took", lambda seconds: f"{seconds:.1f} s", right=True, extra=True),
    Column("failure", "Failure", absent="", gives=True),
]

Ids = list[int] | None


def collect(
    ctx: typer.Context,
    all_systems: Annotated[bool, typer.Option("--all", help="Every machine in the inventory.")] = False,
    dept: Annotated[
        int | None,
        typer.Option(min=1, max=LARGEST, help="The machines of a department.", show_default=False),
    ] = None,
    lab: Annotated[
        int | None, typer.Option(min=1, max=LARGEST, help="The machines of a lab.", show_default=False)
    ] = None,
    system: Annotated[
        Ids,
        typer.Option(
            min=1, max=LARGEST, metavar="ID", help="This machine; may be repeated.", show_default=False
        ),
    ] = None,
    host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help="This address; may be repeated. Only shown, unless the inventory has it.",
            show_default=False,
        ),
    ] = None,
    user: Annotated[
        str | None, typer.Option(help="The account on the machines.", show_default="config")
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The private key to log in with.", show_default="config"),
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Their SSH port.", show_default="config")
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="Machines at the same time.", show_default="config")
    ] = None,
    deadline: Annotated[
        str | None,
        typer.Option(metavar="TIME", help='Hard limit per machine, such as "20s".', show_default="config"),
    ] = None,
    jump: Annotated[
        str | None,
        typer.Option("--jump", "-J", metavar="BASTION,...", help="Through these.", show_default="config"),
    ] = None,
    print_authorized_key: Annotated[
        bool,
        typer.Option(
            "--print-authorized-key",
            help="Measure nothing; print the line for authorized_keys that allows this and nothing else.",
        ),
    ] = False,
    sources: Annotated[
        str | None,
        typer.Option("--from", metavar="ADDRESS,...", help="In that line: from where.", show_default=False),
    ] = None,
    probe: Annotated[
        str | None,
        typer.Option(
            "--probe",
            metavar="PATH",
            help="In that line: the program to run there, instead of the probe itself.",
            show_default=False,
        ),
    ] = None,
    print_probe: Annotated[
        bool, typer.Option("--print-probe", help="Measure nothing; print that program.")
    ] = False,
    queue_enabled: QueueEnabled = None,
    queue_host: QueueHost = None,
    form: As = Format.table,
    quiet: Quiet = False,
) -> None:
    """Measure machines over SSH, all at the same time, with nothing installed on them.

    Exit code 6 when some of them could not be measured; the others are stored all the same.

    labmon collect --all --queue-enabled
    """
    from labmon.collect import runner
    from labmon.collect.hostkeys import report_changes
    from labmon.store import inventory

    config = load(
        ctx,
        {
            "collect.user": user,
            "collect.key_files": str(key) if key else None,
            "collect.port": port,
            "collect.concurrency": concurrency,
            "collect.deadline": deadline,
            "collect.proxy_jump": jump,
            "queue.enabled": queue_enabled,
            "queue.host": queue_host,
        },
    )
    if print_probe:
        authorized_key.print_probe()
        return
    if print_authorized_key:
        authorized_key.print_lines(config, sources, probe)
        return
    chosen = [all_systems, dept is not None, lab is not None, bool(system), bool(host)]
    if sum(chosen) != 1:
        raise UsageError("collect: say which machines, by one of --all, --dept, --lab, --system or --host")

    with open_store(config) as store:
        with store.transaction() as connection:
            known = inventory.systems(connection, dept=dept, lab=lab, ids=system)
        targets = _targets(known, config.collect.port, system, host)
        place = {one.system_id: (one.dept_id, one.lab_id) for one in known}
        if not targets:
            if form is not Format.table:
                print_rows(COLUMNS, [], form)
            if not quiet:
                say("no systems to measure. Find some with: labmon scan 10.30.5.0/24 --dept 1")
            return
        stop = threading.Event()
        results: list[Result] = []
        sent = 0
        with open_sink(config, store) as sink, stops_on_interrupt(stop):
            found = runner.collect(targets, config.collect, state_dir=config.state.path, stop=stop)
            for result in _drawn(found, len(targets)) if interactive(quiet) else found:
                results.append(result)
                if message := result.message:
                    sent += 1
                    dept, lab = place[message.system_id]
                    sink.send(message, dept=dept, lab=lab)
            changed = report_changes(config.state.path, sink)

    lost = sink.rejected
    failures = Counter(result.failure.reason for result in results if result.failure)
    if not (quiet and form is Format.table):
        _print(results, form)
    if not quiet or failures or lost:
        measured = len(results) - failures.total()
        stored = destination(config, config.queue.metrics_queue) if sent else "only shown"
        said = f"{measured} of {len(targets)} measured" + (f", {stored}" if measured else "")
        said += f"; {lost} could not be stored" if lost else ""
        if failures:
            reasons = ", ".join(f"{count} {reason}" for reason, count in failures.most_common())
            said += f"; {failures.total()} failed: {reasons}"
        say(said)
    if changed:
        say(f"{changed} changed their host key, which is reported as an alert. See: labmon systems trust")
    if stop.is_set():
        say("interrupted: what was measured by then is kept")
        raise typer.Exit(Exit.INTERRUPTED)
    if failures or lost:
        raise typer.Exit(Exit.SOME_FAILED)


def _targets(known: "list[System]", port: int, system: Ids, host: list[str] | None) -> "list[Target]":
    from labmon.collect.runner import Target

    missing = set(system or []) - {one.system_id for one in known}
    if missing:
        raise UsageError(f"there is no system {min(missing)}. See: labmon systems list")
    by_address = {
        one.ip_address: Target(one.ip_address, one.ssh_port or port, one.system_id, one.hostname)
        for one in known
        if one.ip_address
    }
    if host is None:
        return list(by_address.values())
    return [by_address.get(address) or Target(address, port, None, None) for address in dict.fromkeys(host)]


def _print(results: "list[Result]", form: Format) -> None:
    # Machines in the inventory's order, not in that of their answers: two runs can be compared.
    results.sort(key=lambda one: (one.target.system_id is None, one.target.system_id, one.target.address))
    print_rows(COLUMNS, [_row(one) for one in results], form)


def _row(result: "Result") -> _Row:
    values: dict[str, Any] = {
        name: getattr(result.readings, name, None) for name in _Row.__dataclass_fields__
    }
    values |= {
        "system_id": result.target.system_id,
        "address": result.target.address,
        "name": result.target.name,
        "collected_at": result.collected_at,
        "seconds": result.seconds,
        "failure": f"{result.failure.reason}: {result.failure.detail}" if result.failure else None,
    }
    return _Row(**values)


def _drawn(results: "Iterable[Result]", total: int) -> "Iterator[Result]":
    """The results, with a line on the terminal that tells how many there are."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    failed = 0
    with Progress(
        TextColumn("measuring"),
        BarColumn(),
        TextColumn("{task.completed:,}/{task.total:,}, {task.fields[failed]:,} failed"),
        TimeElapsedColumn(),
        console=stderr(),
        transient=True,
    ) as bar:
        task = bar.add_task("", total=total, failed=0)
        for result in results:
            failed += result.failure is not None
            bar.update(task, advance=1, failed=failed)
            yield result
