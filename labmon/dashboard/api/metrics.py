"""/metrics: labmon's own numbers in Prometheus' text format."""

from fastapi import APIRouter
from starlette.responses import PlainTextResponse, Response

from labmon.dashboard.context import Uses

router = APIRouter(tags=["health"])

QUEUE = {
    "ready": "Messages that wait, both lanes.",
    "in_flight": "Messages that a worker holds.",
    "dead": "Messages that could not be stored.",
}


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(context: Uses) -> Response:
    """Systems by state, firing alerts by severity, messages by queue."""
    from prometheus_client import CollectorRegistry, Gauge, generate_latest

    registry = CollectorRegistry()
    summary, queues = context.live.summary.get(), context.live.queues.get()
    systems = Gauge("labmon_systems", "Systems in this state.", ["state"], registry=registry)
    for state, count in summary.states.items():
        systems.labels(state).set(count)
    alerts = Gauge("labmon_alerts", "Alerts that are firing.", ["severity"], registry=registry)
    for severity, count in summary.alerts.items():
        alerts.labels(severity).set(count)
    for name, help_ in QUEUE.items():
        gauge = Gauge(f"labmon_queue_{name}", help_, ["queue"], registry=registry)
        for row in () if queues.error else queues.queues:  # what was last known is not true now
            if row[name] is not None:
                gauge.labels(row["queue"]).set(row[name])
    return PlainTextResponse(generate_latest(registry), media_type="text/plain; version=0.0.4; charset=utf-8")
