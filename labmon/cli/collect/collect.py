"""`labmon collect`: measure machines over SSH."""

import threading
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from labmon.app.collect import rows as rows
from labmon.app.fleet import Selection
from labmon.app.names import system_numbers
from labmon.app.scope import dept_number
from labmon.cli.collect import view as view
from labmon.cli.options import (
    CALLED,
    Dept,
    FormatOption,
    Lab,
    QueueEnabled,
    QueueHost,
    Quiet,
    destination,
    flag,
    interactive,
    lasting,
    load,
    option,
    setting,
)
from labmon.cli.output import Format, notice, say
from labmon.config.units import Seconds
from labmon.errors import Exit, UsageError
from labmon.signals import exit_code, stops_on_interrupt

if TYPE_CHECKING:
    from labmon.app.collect.collect import Finished, Started
    from labmon.config.tables import Config

SHORTEST = 5.0
"""Seconds between two rounds at least: measuring must not become the machine's load."""

All = Annotated[bool, flag("--all", "All systems in the inventory.")]
Systems = Annotated[list[str] | None, option("--system", "SYSTEM", f"The system: {CALLED}")]
Hosts = Annotated[
    list[str] | None,
    option("--host", "HOST", "An address or name. Printed but not stored if it is not in the inventory."),
]
User = Annotated[str | None, setting("--user", "NAME", "The account on the machines.")]
Key = Annotated[Path | None, setting("--key", "PATH", "The private key to log in with.")]
Port = Annotated[int | None, setting("--port", "N", "The SSH port.", min=1, max=65535)]
RetryAll = Annotated[bool, flag("--retry-all", "Also retry machines that failed and are being skipped.")]
Every = Annotated[
    str | None,
    lasting(
        "--every",
        "Repeat at this interval, such as 60s, until SIGTERM; SIGHUP reloads configuration and inventory.",
    ),
]
Concurrency = Annotated[
    int | None, setting("--concurrency", "N", "Number of machines measured at the same time.", min=1)
]
Deadline = Annotated[
    str | None, lasting("--deadline", "Time limit per machine, such as 20s.", show_default="config")
]
Jump = Annotated[str | None, setting("--jump", "HOST,...", "Bastions on the way.", "-J")]
PrintAuthorizedKey = Annotated[
    bool,
    flag(
        "--print-authorized-key",
        "Only print the line for authorized_keys that permits measuring and nothing else.",
    ),
]
Sources = Annotated[str | None, option("--from", "HOST,...", "In that line: where logins may come from.")]
ProbeProgram = Annotated[
    str | None, option("--probe", "PATH", "In that line: the program to run, instead of the probe itself.")
]
PrintProbe = Annotated[bool, flag("--print-probe", "Only print that program.")]


def collect(
    ctx: typer.Context,
    all_systems: All = False,
    dept: Dept = None,
    lab: Lab = None,
    system: Systems = None,
    host: Hosts = None,
    user: User = None,
    key: Key = None,
    port: Port = None,
    retry_all: RetryAll = False,
    every: Every = None,
    concurrency: Concurrency = None,
    deadline: Deadline = None,
    jump: Jump = None,
    print_authorized_key: PrintAuthorizedKey = False,
    sources: Sources = None,
    probe: ProbeProgram = None,
    print_probe: PrintProbe = False,
    queue_enabled: QueueEnabled = None,
    queue_host: QueueHost = None,
    form: FormatOption = Format.table,
    quiet: Quiet = False,
) -> None:
    """Measure machines over SSH, all at the same time, with nothing installed on them.

    Exit code 6 when some of them could not be measured; the others are stored. Machines that failed are
    retried with exponential backoff (up to [collect] retry_max) and skipped in between; exit code 6, too,
    when all are skipped. Exit code 7 when another run is measuring the same machines.

    labmon collect --all --queue-enabled

    labmon collect --all --queue-enabled --every 60s
    """

    def configure() -> "Config":
        return load(
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

    from labmon.app.collect import authorized_key

    if print_probe:
        typer.echo(authorized_key.probe_script(), nl=False)
        return
    if print_authorized_key:
        for line in authorized_key.authorized_lines(configure().collect, sources, probe, say):
            typer.echo(line)
        return
    config = configure()
    selection = Selection(
        all_systems,
        None if dept is None else dept_number(config, dept),
        lab,
        tuple(system_numbers(config, system or ())),
        tuple(host or ()),
    )
    if every is None:
        _once(config, selection, retry=retry_all, form=form, quiet=quiet)
        return
    if form is not Format.table:
        raise UsageError("collect: --every prints a line per round and no results; leave out --format")
    from labmon.cli.collect.every import collect_every

    collect_every(configure, selection, every=_interval(every), retry=retry_all, quiet=quiet)


def _interval(text: str) -> float:
    try:
        interval = Seconds.parse(text)
    except ValueError as error:
        raise UsageError(f"collect: --every {text!r}: {error}") from error
    if interval < SHORTEST:
        raise UsageError(f"collect: --every {text!r}: at least {SHORTEST:g}s")
    return interval


def _once(config: "Config", selection: Selection, *, retry: bool, form: Format, quiet: bool) -> None:
    from labmon.app.collect.collect import Finished, Started, collect_once
    from labmon.app.collect.setup import CollectSetup

    stop = threading.Event()
    with ExitStack() as stack:
        line: view.Live | None = None
        signals: Sequence[int] = ()
        for event in stack.enter_context(
            closing(collect_once(CollectSetup.of(config), selection, retry=retry, stop=stop, notice=notice))
        ):
            if isinstance(event, Started):
                signals = stack.enter_context(stops_on_interrupt(stop))
                if event.resting and not quiet:
                    say(f"left out: {event.resting} in maintenance. See: labmon maintenance list")
                if not event.due.now:
                    _print_nothing(event, form)
                elif interactive(quiet):
                    line = stack.enter_context(view.live(len(event.due.now)))
            elif isinstance(event, Finished):
                stack.close()
                _print_finished(event, config, form, quiet=quiet, signals=signals)
            elif line:
                line.add(event)


def _print_nothing(started: "Started", form: Format) -> None:
    """No machine is measured: all are in maintenance, or failed before, which is wrong under --quiet too."""
    if form is not Format.table:
        view.print_results([], form)
    if started.due.later:
        say(rows.nothing_due(started.due))
        raise typer.Exit(Exit.SOME_FAILED)


def _print_finished(
    run: "Finished", config: "Config", form: Format, *, quiet: bool, signals: Sequence[int]
) -> None:
    failed = any(result.failure for result in run.results)
    if not (quiet and form is Format.table):
        view.print_results(run.results, form)
    if not quiet or failed or run.rejected:
        say(rows.summary(run, destination(config, config.queue.metrics_queue, run)))
        for hint in rows.other_accounts(run.other_accounts):
            say(hint)
    if run.key_changes:
        say(
            f"{run.key_changes} changed their host key, which is reported as an alert. "
            "See: labmon systems trust"
        )
    if not quiet and (wrong := rows.clocks(run.results)):
        say(wrong)
    if signals:
        say("interrupted: what was measured by then is kept")
        raise typer.Exit(exit_code(signals))
    if failed or run.rejected:
        raise typer.Exit(Exit.SOME_FAILED)
