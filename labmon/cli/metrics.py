"""`labmon metrics`: what the machines measured, now and before."""

from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Annotated

import typer

from labmon.cli.moments import From, To, moment, shown
from labmon.cli.output import Column, Format, ago, percent, print_rows, say, span
from labmon.cli.wiring import LARGEST, As, load, open_store
from labmon.errors import UsageError
from labmon.units import Seconds

app = typer.Typer(no_args_is_help=True, help="What the machines measured, now and before.")

Dept = Annotated[int | None, typer.Option(min=1, max=LARGEST, help="Only this department.")]
Lab = Annotated[int | None, typer.Option(min=1, max=LARGEST, help="Only this lab.")]


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


MACHINE = [
    Column("system_id", "ID", right=True),
    Column("ip_address", "Address"),
    Column("hostname", "Name", gives=True),
    Column("dept_id", "Dept", right=True),
    Column("lab_id", "Lab", right=True),
]

LATEST = [
    *MACHINE,
    Column("usage", "Use"),
    Column("collected_at", "Measured", ago, right=True),
    Column("cpu_percent", "CPU", percent, right=True),
    Column("ram_percent", "RAM", percent, right=True),
    Column("disk_percent", "Disk", percent, right=True),
    Column("gpu_percent", "GPU", percent, right=True),
    Column("load1", "Load", _number, right=True, extra=True),
    Column("network_recv_mbps", "In Mbit/s", _number, right=True, extra=True),
    Column("network_sent_mbps", "Out Mbit/s", _number, right=True, extra=True),
    Column("cpu_temperature_celsius", "Temp °C", _number, right=True, extra=True),
    Column("logged_in_users", "Users", right=True),
    Column("uptime_seconds", "Up", span, right=True, extra=True),
]


@app.command()
def latest(
    ctx: typer.Context,
    dept: Dept = None,
    lab: Lab = None,
    free: Annotated[
        bool | None,
        typer.Option(
            "--free/--busy",
            help="Only machines with nobody logged in and an idle CPU; or only the others, of those measured "
            "in the last 15 minutes.",
        ),
    ] = None,
    form: As = Format.table,
) -> None:
    """List the newest readings of the machines, and who of them is free."""
    from labmon.messages import utcnow
    from labmon.store.reads import latest

    usage = None if free is None else "free" if free else "busy"
    with open_store(load(ctx)) as store, store.transaction() as connection:
        rows = latest.latest(connection, utcnow(), dept=dept, lab=lab, usage=usage)
    _print(LATEST, rows, form, f"no {usage} machines" if usage else "no machines")


class Resolution(StrEnum):
    """How finely `range` shows."""

    raw = "raw"
    minutes = "5m"
    hour = "1h"
    day = "1d"


@app.command("range")
def range_(
    ctx: typer.Context,
    system: Annotated[int, typer.Argument(min=1, max=LARGEST, metavar="ID", help="The system.")],
    metric: Annotated[str, typer.Argument(help="Such as cpu_percent, or cpu.")] = "cpu_percent",
    first: From = None,
    past: To = None,
    points: Annotated[int, typer.Option(min=1, max=100_000, help="About so many at most.")] = 800,
    resolution: Annotated[
        Resolution | None,
        typer.Option(help="Readings, or sums of so long.", show_default="by range and points"),
    ] = None,
    form: As = Format.table,
) -> None:
    """Show one metric of one machine over time: of the last day, unless said otherwise."""
    from labmon.messages import utcnow
    from labmon.store import inventory
    from labmon.store.reads import series

    metric = _metric(metric)
    now = utcnow()
    begin, end = moment(first or "1d"), moment(past) if past else now
    config = load(ctx)
    chosen = resolution or series.resolution(begin, end, points, now, keep_5m=config.retention.rollup_5m)
    with open_store(config) as store, store.transaction() as connection:
        if not inventory.systems(connection, ids=[system]):
            raise UsageError(f"there is no system {system}; labmon systems list has them all")
        rows = series.series(connection, system, metric, begin, end, str(chosen))
    columns = [Column("at", "From" if chosen != "raw" else "At", shown)]
    if chosen == "raw":
        columns.append(Column("avg", metric, _number, right=True))
    else:
        headings = {"count": "Readings", "min": "Least", "avg": "Average", "max": "Most"}
        columns += [
            Column(name, heading, str if name == "count" else _number, right=True)
            for name, heading in headings.items()
        ]
    _print(columns, rows, form, f"system {system} said nothing about {metric} then")
    if form is Format.table and rows:
        say(f"{metric}, {chosen}: {sparkline([row.avg for row in rows])}")


def sparkline(values: Sequence[float], width: int = 60) -> str:
    """The values in one line, from the least to the most."""
    step = max(1, -(-len(values) // width))
    means = [sum(part) / len(part) for part in (values[n : n + step] for n in range(0, len(values), step))]
    least, most = min(means), max(means)
    scale = 7 / (most - least) if most > least else 0
    bars = "".join("▁▂▃▄▅▆▇█"[round((mean - least) * scale)] for mean in means)
    return f"{bars} {_number(least)} to {_number(most)}"


@app.command()
def top(
    ctx: typer.Context,
    metric: Annotated[str, typer.Argument(help="Such as cpu_percent, or cpu.")] = "cpu_percent",
    over: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="By the average of so long, such as 24h.", show_default="newest reading"
        ),
    ] = None,
    lowest: Annotated[bool, typer.Option("--lowest", help="The least first.")] = False,
    dept: Dept = None,
    lab: Lab = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=LARGEST, help="So many.")] = 10,
    form: As = Format.table,
) -> None:
    """List the machines that have the most of a metric."""
    from labmon.messages import utcnow
    from labmon.store.reads import top

    metric = _metric(metric)
    with open_store(load(ctx)) as store, store.transaction() as connection:
        rows = top.top(
            connection,
            metric,
            utcnow(),
            over=_span(over) if over else None,
            dept=dept,
            lab=lab,
            limit=limit,
            lowest=lowest,
        )
    columns = [
        *MACHINE,
        Column("value", metric, _number, right=True),
        Column("highest", "Highest", _number, right=True),
    ]
    _print(columns, rows, form, f"nobody said anything about {metric} lately")


SUMMARY = [
    Column("dept_id", "Dept", right=True),
    Column("lab_id", "Lab", right=True),
    Column("name", "Name", gives=True),
    Column("systems", "Systems", right=True),
    Column("measured", "Measured", right=True),
    Column("free", "Free", right=True),
    Column("busy", "Busy", right=True),
    Column("logged_in_users", "Users", right=True),
    Column("cpu_percent", "CPU", percent, right=True),
    Column("ram_percent", "RAM", percent, right=True),
    Column("disk_percent", "Fullest disk", percent, right=True),
]


@app.command()
def summary(
    ctx: typer.Context,
    by_lab: Annotated[bool, typer.Option("--by-lab", help="By lab instead of by department.")] = False,
    dept: Dept = None,
    form: As = Format.table,
) -> None:
    """Show how each department or lab does: how many are free, how busy the others are."""
    from labmon.messages import utcnow
    from labmon.store.reads import summary

    with open_store(load(ctx)) as store, store.transaction() as connection:
        rows = summary.summaries(connection, utcnow(), by_lab=by_lab, dept=dept)
    _print(SUMMARY, rows, form, "no machines")


def _print(columns: Sequence[Column], rows: Sequence[object], form: Format, nothing: str) -> None:
    if form is Format.table and not rows:
        say(nothing)
        return
    print_rows(columns, rows, form)


def _metric(name: str) -> str:
    """A metric by its name or by how it begins. Raises UsageError."""
    from labmon.store.rollup import METRICS

    near = [known for known in METRICS if known == name or known == f"{name}_percent"]
    near = near or [known for known in METRICS if known.startswith(name)]
    if len(near) != 1:
        raise UsageError(f"there is no metric {name!r}. There are: {', '.join(METRICS)}")
    return near[0]


def _span(text: str) -> timedelta:
    try:
        return timedelta(seconds=Seconds.parse(text))
    except ValueError as error:
        raise UsageError(f"--over {text!r}: {error}") from error
