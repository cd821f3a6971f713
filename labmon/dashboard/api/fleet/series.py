"""Readings over time."""

from datetime import timedelta
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from labmon.dashboard.api.fleet.systems import missing
from labmon.dashboard.api.parameters import SystemId, period
from labmon.dashboard.context import Context, Uses
from labmon.dashboard.web import Problem, encoded, prepared
from labmon.store.inventory import systems as inventory
from labmon.store.metrics.chart import POINTS, Values, chart
from labmon.store.metrics.rollup import METRICS
from labmon.text import nearest

router = APIRouter(tags=["systems"])

USUAL = "cpu_percent,ram_percent,disk_percent"


def named(text: str) -> list[str]:
    """Metrics, separated by commas. Raises Problem 422 with the nearest name."""
    names = [name for name in text.split(",") if name]
    for name in names:
        if name not in METRICS:
            raise Problem(422, f"metrics: there is no metric {name[:60]!r}{nearest(name[:60], METRICS)}")
    if not names:
        raise Problem(422, f"metrics: name one at least, of {', '.join(METRICS)}")
    return names


@router.get("/systems/{system}/series")
def series(
    request: Request,
    system: SystemId,
    context: Uses,
    first: Annotated[str | None, Query(alias="from", max_length=40)] = None,
    past: Annotated[str | None, Query(alias="to", max_length=40)] = None,
    metrics: Annotated[str, Query(max_length=2000)] = USUAL,
    points: Annotated[int, Query(ge=10, le=POINTS)] = POINTS,
) -> Response:
    """Metrics over time; null where a reading is missing.

    Answers {from, to, step, resolution, t, METRIC: {avg, max}}.

    `from` and `to`: seconds since 1970 or ISO 8601; the last 24 hours without them. The resolution is chosen
    so that there are `points` at most.
    """
    names = named(metrics)

    def make() -> bytes:
        return _series(context, system, names, first, past, points)

    return prepared(request, context.live.series.get((system, *names, first, past, points), make))


def _series(
    context: Context, system: int, names: list[str], first: str | None, past: str | None, points: int
) -> bytes:
    now = context.now()
    begin, end = period(first, past, now, timedelta(days=1))
    with context.transaction() as connection:
        if system not in inventory.known(connection, [system]):
            raise missing(system)
        found = chart(
            *(connection, system, names, begin, end),
            points=points,
            now=now,
            keep=context.config.retention,
        )
    answer = {
        "from": begin.timestamp(),
        "to": end.timestamp(),
        "step": found.step,
        "resolution": found.resolution,
        "t": found.t,
    }
    return encoded(answer | {name: _lines(found.average[name], found.most[name]) for name in names})


def _lines(average: Values, most: Values) -> dict[str, msgspec.Raw]:
    written = msgspec.Raw(msgspec.json.encode(average))
    return {"avg": written, "max": written if most is average else msgspec.Raw(msgspec.json.encode(most))}
