"""For those who watch the dashboard itself: no login and no data."""

from fastapi import APIRouter

from labmon.dashboard.context import Uses

router = APIRouter(include_in_schema=False)


@router.api_route("/healthz", methods=["GET", "HEAD"])
def healthz() -> dict[str, str]:
    """This process answers."""
    return {"status": "ok"}


@router.api_route("/readyz", methods=["GET", "HEAD"])
def readyz(context: Uses) -> dict[str, str]:
    """The database answers too; else 503, within a second."""
    context.check()
    return {"status": "ok"}
