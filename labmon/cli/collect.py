"""`labmon collect`: measure machines over SSH."""

import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from labmon.cli import authorized_key
from labmon.cli import collect_view as view
from labmon.cli.output import Format, say
from labmon.cli.targets import Choice, open_fleet
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
from labmon.config import Config
from labmon.errors import Exit, UsageError
from labmon.units import Seconds

if TYPE_CHECKING:
    from labmon.collect.runner import Result

SHORTEST = 5.0
"""Seconds between two rounds at least: a machine is not measured to death."""


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
            metavar="HOST",
            help="This address or name; may be repeated. Only shown, unless the inventory has it.",
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
    every: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help='Again and again, such as every "60s", until SIGTERM; SIGHUP reads everything anew.',
            show_default=False,
        ),
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

    Exit code 6 when some of them could not be measured; the others are stored all the same. Who failed before
    is tried again at growing intervals ([collect] retry_max), and is left out in between. Exit code 7 when
    another run over the same machines has not ended yet.

    labmon collect --all --queue-enabled

    labmon collect --all --queue-enabled --every 60s
    """

    def configure() -> Config:
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

    if print_probe:
        authorized_key.print_probe()
        return
    if print_authorized_key:
        authorized_key.print_lines(configure(), sources, probe)
        return
    choice = Choice(all_systems, dept, lab, tuple(system or ()), tuple(host or ()))
    if every is None:
        _once(configure(), choice, retry_all=retry_all, form=form, quiet=quiet)
        return
    if form is not Format.table:
        raise UsageError("collect: --every prints a line per round and no results; leave out --format")
    from labmon.cli.collect_every import collect_every

    collect_every(configure, choice, every=_interval(every), retry_all=retry_all, quiet=quiet)


def _interval(text: str) -> float:
    try:
        interval = Seconds.parse(text)
    except ValueError as error:
        raise UsageError(f"collect: --every {text!r}: {error}") from error
    if interval < SHORTEST:
        raise UsageError(f"collect: --every {text!r}: at least {SHORTEST:g}s")
    return interval


def _once(config: Config, choice: Choice, *, retry_all: bool, form: Format, quiet: bool) -> None:
    from labmon.cli.collect_run import Run, held
    from labmon.collect import runner
    from labmon.collect.hostkeys import report_changes
    from labmon.collect.memory import Memory

    with ExitStack() as stack:
        store, fleet = stack.enter_context(open_fleet(config, choice))
        run = Run(config, choice)
        due = run.look(fleet, retry=retry_all or choice.names_machines)
        if run.resting and not quiet:
            say(f"left alone: {run.resting} in maintenance. See: labmon maintenance list")
        if not due.now:
            if form is not Format.table:
                view.print_results([], form)
            if not quiet and (due.later or not run.resting):
                say(view.nothing_to_do(due))
            return
        stop = threading.Event()
        results: list[Result] = []
        with (
            held(config, choice, run.machines),
            open_sink(config, store, away=store is None) as sink,
            stops_on_interrupt(stop),
        ):
            memory = Memory(config.state.path / "counters")
            found = runner.collect(
                run.targets(due), config.collect, state_dir=config.state.path, stop=stop, memory=memory
            )
            try:
                for result in view.drawn(found, len(due.now)) if interactive(quiet) else found:
                    results.append(result)
                    run.take(result, sink)
                changed = report_changes(config.state.path, sink, run.inventory)
            finally:
                memory.save()
                run.lane.save()

    lost = sink.rejected
    failed = any(result.failure for result in results)
    if not (quiet and form is Format.table):
        view.print_results(results, form)
    if not quiet or failed or lost:
        stored = destination(config, config.queue.metrics_queue, sink)
        say(view.summary(results, len(due.now), due, stored, lost))
    if changed:
        say(f"{changed} changed their host key, which is reported as an alert. See: labmon systems trust")
    if not quiet and (wrong := view.clocks(results)):
        say(wrong)
    if stop.is_set():
        say("interrupted: what was measured by then is kept")
        raise typer.Exit(Exit.INTERRUPTED)
    if failed or lost:
        raise typer.Exit(Exit.SOME_FAILED)
