"""The queues, now and over time."""

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from labmon.dashboard.api.document import answers
from labmon.dashboard.api.parameters import period
from labmon.dashboard.context import Uses
from labmon.dashboard.live.queues import Queues
from labmon.dashboard.web import Json
from labmon.store import queue_history
from labmon.store.queue_history import QueuePoint

router = APIRouter(tags=["queues"])

SHOWN = ("ready", "ready_max", "in_flight", "dead", "in_per_second", "out_per_second")


@router.get("/queues", **answers(Queues))
def queues(context: Uses) -> Response:
    """Every queue as `labmon queue-depth` shows it, with rates, and the workers. Also without the broker:
    `error` says what is wrong."""
    return Json(context.live.queues.get())


@router.get("/queues/series")
def series(
    context: Uses,
    first: Annotated[str | None, Query(alias="from", max_length=40)] = None,
    past: Annotated[str | None, Query(alias="to", max_length=40)] = None,
) -> Response:
    """The queues over time: {from, to, step, t, queues: {NAME: {ready, ready_max, ...}}}. null where nobody
    measured them."""
    begin, end = period(first, past, context.now(), timedelta(hours=6))
    begin = max(begin, end - queue_history.KEEP - timedelta(days=1))
    with context.transaction() as connection:
        step, points = queue_history.series(connection, begin, end)
    times = [point.at.timestamp() for one in points.values() for point in one]
    t = [] if not times else list(range(int(min(times)), int(max(times)) + 1, step))
    return Json(
        {
            "from": begin.timestamp(),
            "to": end.timestamp(),
            "step": step,
            "t": t,
            "queues": {queue: _columns(t, one) for queue, one in points.items()},
        }
    )


def _columns(t: list[int], points: list[QueuePoint]) -> dict[str, list[Any]]:
    known = {int(point.at.timestamp()): point for point in points}
    return {name: [getattr(known[at], name) if at in known else None for at in t] for name in SHOWN}
