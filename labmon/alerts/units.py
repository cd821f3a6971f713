"""Values of alerts in people's units: which unit belongs to which kind of rule and metric."""

from labmon.readable import span

_ENDINGS = (("_percent", "%"), ("_celsius", "°C"), ("_mbps", "Mbit/s"), ("_bytes", "bytes"))


def unit(kind: str | None, metric: str | None) -> str | None:
    """The unit of a value as it is stored; None for a number without one, and where it is unknown."""
    if kind in ("no_data", "collector_down"):
        return "s"
    if kind == "rate":
        return "h"
    if kind in ("lab_down", "network_down", "spool_full"):
        return "%"
    if kind == "queue_backlog":
        return "messages"
    return next((name for ending, name in _ENDINGS if (metric or "").endswith(ending)), None)


def amount(kind: str | None, metric: str | None, value: float) -> str:
    """A value of a rule in people's unit, such as "98.2 %", "1.5 GiB" or "10 min"."""
    match unit(kind, metric):
        case "s":
            return span(value)
        case "h":
            return f"{value:.0f} h" if value < 1000 else "never"
        case "bytes":
            return f"{value / 2**30:.1f} GiB"
        case "%" | "°C" | "Mbit/s" as name:
            return f"{value:.4g} {name}"
        case _:
            return f"{value:.6g}"
