"""`labmon metrics`: current and past readings."""

from enum import StrEnum
from typing import Annotated

import typer

from labmon.app.inventory.metrics import (
    LATEST,
    MACHINE,
    ROLLED_UP,
    SUMMARY,
    is_stale,
    metric_called,
    number,
    sparkline,
)
from labmon.app.names import resolve_system
from labmon.app.open import open_store
from labmon.app.scope import dept_id, lab_id
from labmon.cli import complete
from labmon.cli.listing import View, listing
from labmon.cli.options import (
    Dept,
    FormatOption,
    From,
    Lab,
    SystemName,
    To,
    choices,
    connected,
    flag,
    lasting,
    load,
    numeric,
    option,
)
from labmon.cli.output import Format, print_rows, say
from labmon.cli.times import duration, moment, period
from labmon.errors import UsageError
from labmon.readable import shown
from labmon.table import Column

app = typer.Typer(no_args_is_help=True, help="Show current and past readings.")

NO_SYSTEMS = "no systems yet. Find some with: labmon scan 10.30.5.0/24 --dept 1"
NOT_MEASURED = "none of them was measured lately. Measure with: labmon collect --all"

Metric = Annotated[
    str,
    typer.Argument(
        metavar="METRIC", help="A metric: cpu_percent, or just cpu.", autocompletion=complete.metrics
    ),
]


@app.command()
@listing(LATEST, failed="Only systems that were not measured in the last 15 minutes.")
def latest(
    ctx: typer.Context,
    dept: Dept = None,
    lab: Lab = None,
    free: Annotated[
        bool | None,
        flag(
            "--free/--busy",
            "Of the systems measured in the last 15 minutes: only those with no user and an idle CPU, or "
            "only the others.",
        ),
    ] = None,
    form: FormatOption = Format.table,
    *,
    view: View,
) -> None:
    """List the newest readings, and which systems are free."""
    from labmon.messages import utcnow
    from labmon.store.metrics import latest

    usage = None if free is None else "free" if free else "busy"
    with connected(ctx) as connection:
        dept_number, lab_number = dept_id(connection, dept), lab_id(connection, lab)
        rows = latest.latest(connection, utcnow(), dept=dept_number, lab=lab_number, usage=usage)
    nothing = "no such systems" if view.narrows else f"no {usage} systems" if usage else NO_SYSTEMS
    view.print(LATEST, rows, form, nothing, failed=lambda one: is_stale(one, utcnow()))
    if form is Format.table and rows and all(row.collected_at is None for row in rows):
        say(NOT_MEASURED)


class Resolution(StrEnum):
    """The steps of `range`."""

    raw = "raw"
    minutes = "5m"
    hour = "1h"
    day = "1d"


@app.command("range")
@listing(ROLLED_UP)
def range_(
    ctx: typer.Context,
    system: SystemName,
    metric: Metric = "cpu_percent",
    first: From = None,
    past: To = None,
    points: Annotated[
        int,
        numeric("--points", "N", "Approximate maximum number of points.", max=100_000, show_default=True),
    ] = 800,
    resolution: Annotated[
        Resolution | None,
        option(
            "--resolution",
            choices(Resolution),
            "Single readings, or rollups.",
            show_default="chosen by period and points",
        ),
    ] = None,
    form: FormatOption = Format.table,
    *,
    view: View,
) -> None:
    """Show one metric of one system over time, by default of the last day."""
    from labmon.messages import utcnow
    from labmon.store.metrics import series

    metric = metric_called(metric)
    now = utcnow()
    begin, end = period(first, past)
    begin, end = begin or moment("1d"), end or now
    if begin >= end:
        raise UsageError(f"--to {shown(end)} is more than a day ago: give --from, too")
    config = load(ctx)
    chosen = resolution or series.resolution(begin, end, points, now, keep_5m=config.retention.rollup_5m)
    with open_store(config) as store, store.transaction() as connection:
        which = resolve_system(connection, system)
        rows = series.series(connection, which, metric, begin, end, str(chosen))
    columns = [Column("at", "From" if chosen != "raw" else "At", shown)]
    if chosen == "raw":
        columns.append(Column("avg", metric, number, right=True))
    else:
        columns += ROLLED_UP[1:]
    view.print(columns, rows, form, f"no readings of {metric} from system {which} in that time")
    if form is Format.table and rows:
        say(f"{metric}, {chosen}: {sparkline([row.avg for row in rows])}")


@app.command()
def top(
    ctx: typer.Context,
    metric: Metric = "cpu_percent",
    over: Annotated[
        str | None,
        lasting("--for", "By the average of the last TIME: 24h.", show_default="newest reading"),
    ] = None,
    lowest: Annotated[bool, flag("--lowest", "Lowest values first.")] = False,
    dept: Dept = None,
    lab: Lab = None,
    limit: Annotated[int, numeric("--limit", "N", "Maximum number of rows.", "-n", show_default=True)] = 10,
    form: FormatOption = Format.table,
) -> None:
    """List the systems with the highest values of a metric."""
    from labmon.messages import utcnow
    from labmon.store.metrics import top

    metric = metric_called(metric)
    with connected(ctx) as connection:
        rows = top.top(
            connection,
            metric,
            utcnow(),
            over=duration(over, "--for") if over else None,
            dept=dept_id(connection, dept),
            lab=lab_id(connection, lab),
            limit=limit,
            lowest=lowest,
        )
    columns = [
        *MACHINE,
        Column("value", metric, number, right=True),
        Column("highest", "Highest", number, right=True),
    ]
    print_rows(columns, rows, form, f"no recent readings of {metric}. Measure with: labmon collect --all")


@app.command()
@listing(SUMMARY, failed="Only those where some systems were not measured in the last 15 minutes.")
def summary(
    ctx: typer.Context,
    by_lab: Annotated[bool, flag("--by-lab", "A row per lab instead of per department.")] = False,
    dept: Dept = None,
    form: FormatOption = Format.table,
    *,
    view: View,
) -> None:
    """Show how many systems of each department or lab are free, and how busy the others are."""
    from labmon.messages import utcnow
    from labmon.store.metrics import summary

    with connected(ctx) as connection:
        rows = summary.summaries(connection, utcnow(), by_lab=by_lab, dept=dept_id(connection, dept))
    nothing = "no such rows" if view.narrows else NO_SYSTEMS
    view.print(SUMMARY, rows, form, nothing, failed=lambda one: one.measured < one.systems)
    if form is Format.table and rows and not any(row.measured for row in rows):
        say(NOT_MEASURED)
