"""The overview."""

from fastapi import APIRouter
from starlette.responses import Response

from labmon.dashboard.api.document import answers
from labmon.dashboard.context import Uses
from labmon.dashboard.live.summary import Summary
from labmon.dashboard.web import Json

router = APIRouter(tags=["overview"])


@router.get("/summary", **answers(Summary))
def summary(context: Uses) -> Response:
    """How many systems are in which state, what is wrong, and how the queues are."""
    return Json(context.live.summary.get())
