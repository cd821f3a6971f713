"""`labmon collect`: measure machines over SSH."""

import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labmon.cli.output import Column, Format, percent, print_rows, say, span, stderr
from labmon.cli.targets import Choice, open_fleet, target
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
    stops_on_interrupt,
)
from labmon.errors import Exit

if TYPE_CHECKING:
    from labmon.collect.lane import Due
    from labmon.collect.runner import Result


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


def collect(
    ctx: typer.Context,
    all_systems: Annotated[bool, typer.Option("--all", help="Every machine in the inventory.")] = False,
    dept: Annotated[
        int | None,
        typer.Option(min=1, max=LARGEST, help="The machines of a department.", show_default=False),
    ] = None,
    lab: Annotated[
        str | None,
        typer.Option(metavar="LAB", help="The machines of a lab, by number or name.", show_default=False),
    ] = None,
    system: Annotated[
        list[int] | None,
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
    retry_all: Annotated[
        bool, typer.Option("--retry-all", help="Those too that failed before and would be left for later.")
    ] = False,
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="Machines at the same time.", show_default="config")
    ] = None,
    deadline: Annotated[
        str | None,
        typer.Option(metavar="TIME", help='Hard limit per machine, such as "20s".', show_default="config"),
    ] = None,
    queue_enabled: QueueEnabled = None,
    queue_host: QueueHost = None,
    form: As = Format.table,
    quiet: Quiet = False,
) -> None:
    """Measure machines over SSH, all at the same time, with nothing installed on them.

    Exit code 6 when some of them could not be measured; the others are stored all the same. Who failed before
    is tried again at growing intervals ([collect] retry_max), and is left out in between.

    labmon collect --all --queue-enabled
    """
    from labmon.collect import runner
    from labmon.collect.lane import Lane
    from labmon.messages import utcnow

    config = load(
        ctx,
        {
            "collect.user": user,
            "collect.key_files": str(key) if key else None,
            "collect.port": port,
            "collect.concurrency": concurrency,
            "collect.deadline": deadline,
            "queue.enabled": queue_enabled,
            "queue.host": queue_host,
        },
    )
    choice = Choice(all_systems, dept, lab, tuple(system or ()), tuple(host or ()))
    with open_fleet(config, choice) as (store, fleet):
        lane = Lane(config.state.path / "lane.json", config.collect)
        lane.update(fleet)
        machines = choice.of(fleet)
        if retry_all or choice.names_machines:
            lane.retry(machines)
        due = lane.due(machines, utcnow())
        targets = [target(one, config.collect.port) for one in due.now]
        place = {one.system_id: (one.dept_id, one.lab_id) for one in machines}
        if not targets:
            if form is not Format.table:
                print_rows(COLUMNS, [], form)
            if not quiet:
                nobody = "no systems to measure. Find some with: labmon scan 10.30.5.0/24 --dept 1"
                say(f"nothing to measure now: {_left(due)}" if due.later else nobody)
            return
        stop = threading.Event()
        results: list[Result] = []
        sent = 0
        with lane, open_sink(config, store, away=store is None) as sink, stops_on_interrupt(stop):
            found = runner.collect(targets, config.collect, state_dir=config.state.path, stop=stop)
            for result in _drawn(found, len(targets)) if interactive(quiet) else found:
                results.append(result)
                sent += result.message is not None
                for message in (result.message, lane.record(result, utcnow())):
                    if message:
                        dept_id, lab_id = place[message.system_id]
                        sink.send(message, dept=dept_id, lab=lab_id)

    lost = sink.rejected
    failures = Counter(result.failure.reason for result in results if result.failure)
    if not (quiet and form is Format.table):
        _print(results, form)
    if not quiet or failures or lost:
        measured = len(results) - failures.total()
        stored = destination(config, config.queue.metrics_queue, sink) if sent else "only shown"
        said = f"{measured} of {len(targets)} measured" + (f", {stored}" if measured else "")
        said += f"; {lost} could not be stored" if lost else ""
        if failures:
            reasons = ", ".join(f"{count} {reason}" for reason, count in failures.most_common())
            said += f"; {failures.total()} failed: {reasons}"
        said += f"; {_left(due)}" if due.later else ""
        say(said)
    if stop.is_set():
        say("interrupted: what was measured by then is kept")
        raise typer.Exit(Exit.INTERRUPTED)
    if failures or lost:
        raise typer.Exit(Exit.SOME_FAILED)


def _left(due: "Due") -> str:
    """The machines that are not tried this time, and when the first of them is."""
    assert due.next_at is not None
    wait = span((due.next_at - datetime.now(UTC)).total_seconds())
    return f"{due.later} that failed before are left for later, the first for {wait} (now: --retry-all)"


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
