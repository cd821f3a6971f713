"""`labmon status`: is everything well?"""

import json
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labmon.cli.options import FormatOption, QueueHost, flag, load
from labmon.cli.output import Format, print_rows
from labmon.colour import coloured
from labmon.errors import UsageError
from labmon.table import Column

if TYPE_CHECKING:
    from labmon.app.status.report import Report

TROUBLES = [
    Column("level", "Level", colour=True),
    Column("part", "Part"),
    Column("text", "What"),
    Column("more", "More"),
]

SECONDS = 5.0
"""Between two drawings."""


def status(
    ctx: typer.Context,
    seconds: Annotated[
        float | None,
        typer.Argument(metavar="N", min=0.2, max=86400, help="With --watch: seconds between two updates. 5."),
    ] = None,
    watch: Annotated[bool, flag("--watch", "Draw it again and again, until Ctrl-C.", "-w")] = False,
    failed: Annotated[bool, flag("--failed", "Only what is wrong, and all of it.")] = False,
    queue_host: QueueHost = None,
    form: FormatOption = Format.table,
) -> None:
    """Show on one screen how everything is: failing systems first, alerts, queues, workers, departments.

    Exit code and first line are those of a monitoring plugin. 2, critical: the database is away; with the
    queue enabled, the broker is away or no worker runs; a critical alert is firing that is neither
    acknowledged nor silenced; a queue is over [queue] depth_critical; the newest reading is 10 usual
    intervals old, and at least 15 minutes; the spool is nearly full. 1, warning: the same with a warning
    alert, depth_warning, 3 intervals and 2 minutes; dead letters; messages in the spool; a worker died; a
    target of notifications is not reached. Else 0: a system that fails alone is what alert rules are for.

    labmon status --watch 10
    """
    from labmon.app.status.read import StatusReader

    if seconds is not None and not watch:
        raise UsageError("the number of seconds is for --watch")
    if watch and form is not Format.table:
        raise UsageError("--watch is for people: leave out --format")
    config = load(ctx, {"queue.host": queue_host})
    with StatusReader(config) as reader:
        if watch:
            _watch(reader.read, seconds or SECONDS, failed)
        report = reader.read()
    if form is Format.table:
        _print(report, failed)
    elif form is Format.json:
        typer.echo(json.dumps(_whole(report, failed), indent=2))
    else:
        print_rows(TROUBLES, report.troubles, form)
    raise typer.Exit(report.level)


def _print(report: "Report", failed: bool) -> None:
    from labmon.app.status.judge import performance_data
    from labmon.cli.status.screen import Screen

    if sys.stdout.isatty():
        size = shutil.get_terminal_size()
        height = None if failed else size.lines - 1  # the prompt is below
        lines = Screen(size.columns, height, colour=coloured(sys.stdout)).lines(report, only_failed=failed)
    else:
        lines = Screen(None, None, colour=False).lines(report, only_failed=failed)
        lines[0] += f" | {performance_data(report)}"
    sys.stdout.writelines(f"{line}\n" for line in lines)


def _whole(report: "Report", failed: bool) -> dict[str, Any]:
    """What programs read."""
    from labmon.app.status.judge import first_line
    from labmon.table import plain

    found = asdict(report)
    ages = {"level": report.level.name, "summary": first_line(report)}
    found["newest_reading_age_seconds"] = report.newest_reading_age
    if failed:
        found["labs"] = [one for one in found["labs"] if one["failing"]]
        found["departments"] = [one for one in found["departments"] if one["failing"]]
        found["queues"] = [one for one in found["queues"] if one["level"] != "ok"]
    whole: dict[str, Any] = json.loads(json.dumps(ages | found, default=plain))
    return whole


def _watch(read: Any, seconds: float, failed: bool) -> None:
    """Until Ctrl-C. On a terminal each screen takes the place of the last one; elsewhere each is printed."""
    from labmon.cli.status.screen import Screen

    colour = coloured(sys.stdout)
    with _own_screen() as is_terminal:
        while True:
            report = read()
            if is_terminal:
                size = shutil.get_terminal_size()
                lines = Screen(size.columns, size.lines, colour=colour).lines(report, only_failed=failed)
                text = "\n".join(f"{line}\x1b[K" for line in lines[: size.lines])
                sys.stdout.write(f"\x1b[H{text}\x1b[J")
            else:
                lines = Screen(None, None, colour=False).lines(report, only_failed=failed)
                sys.stdout.writelines(f"{line}\n" for line in [*lines, ""])
            sys.stdout.flush()
            time.sleep(seconds)


@contextmanager
def _own_screen() -> Iterator[bool]:
    """The terminal's other screen, without a cursor; what was there before is back at the end."""
    if not sys.stdout.isatty():
        yield False
        return
    sys.stdout.write("\x1b[?1049h\x1b[?25l")
    try:
        yield True
    finally:
        sys.stdout.write("\x1b[?25h\x1b[?1049l")
        sys.stdout.flush()
