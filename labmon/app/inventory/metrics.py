"""Readings as `labmon metrics` lists them."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from labmon.errors import UsageError
from labmon.readable import ago, percent, shown, span
from labmon.table import Column
from labmon.text import nearest

if TYPE_CHECKING:
    from labmon.store.metrics.latest import Latest


def number(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


MACHINE = [
    Column("system_id", "ID", right=True),
    Column("ip_address", "Address"),
    Column("hostname", "Name", gives=True, name=True, host=True),
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
    Column("load1", "Load", number, right=True, extra=True),
    Column("network_recv_mbps", "In Mbit/s", number, right=True, extra=True),
    Column("network_sent_mbps", "Out Mbit/s", number, right=True, extra=True),
    Column("cpu_temperature_celsius", "Temp °C", number, right=True, extra=True),
    Column("logged_in_users", "Users", right=True),
    Column("uptime_seconds", "Up", span, right=True, extra=True),
]

ROLLED_UP = [
    Column("at", "From", shown),
    Column("count", "Readings", right=True),
    Column("min", "Minimum", number, right=True),
    Column("avg", "Average", number, right=True),
    Column("max", "Maximum", number, right=True),
]


def is_stale(one: "Latest", now: datetime) -> bool:
    """True for a system that was not measured lately."""
    from labmon.store.metrics.latest import FRESH

    return one.collected_at is None or one.collected_at <= now - FRESH


SUMMARY = [
    Column("dept_id", "Dept", right=True),
    Column("lab_id", "Lab", right=True),
    Column("name", "Name", gives=True, name=True),
    Column("systems", "Systems", right=True),
    Column("measured", "Measured", right=True),
    Column("free", "Free", right=True),
    Column("busy", "Busy", right=True),
    Column("logged_in_users", "Users", right=True),
    Column("cpu_percent", "CPU", percent, right=True),
    Column("ram_percent", "RAM", percent, right=True),
    Column("disk_percent", "Fullest disk", percent, right=True),
]


def metric_called(name: str) -> str:
    """A metric by its name or by how it begins. Raises UsageError."""
    from labmon.store.metrics.rollup import METRICS

    near = [known for known in METRICS if known == name or known == f"{name}_percent"]
    near = near or [known for known in METRICS if known.startswith(name)]
    if len(near) != 1:
        raise UsageError(f"there is no metric {name!r}{nearest(name, METRICS)}")
    return near[0]


def sparkline(values: Sequence[float], width: int = 60) -> str:
    """The values in one line, scaled from the smallest to the largest."""
    step = max(1, -(-len(values) // width))
    means = [sum(part) / len(part) for part in (values[n : n + step] for n in range(0, len(values), step))]
    least, most = min(means), max(means)
    scale = 7 / (most - least) if most > least else 0
    bars = "".join("▁▂▃▄▅▆▇█"[round((mean - least) * scale)] for mean in means)
    return f"{bars} {number(least)} to {number(most)}"
