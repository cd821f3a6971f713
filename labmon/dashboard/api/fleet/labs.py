"""Labs, and the systems in each."""

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from labmon.dashboard.api.document import answers
from labmon.dashboard.api.parameters import LabId
from labmon.dashboard.context import Uses
from labmon.dashboard.live.summary import LabSummary, lab_summaries
from labmon.dashboard.live.systems import Snapshot
from labmon.dashboard.web import Json, Problem
from labmon.store.inventory.states import COLUMNS

router = APIRouter(tags=["labs"])


@router.get("/labs", **answers(list[LabSummary]))
def labs(context: Uses) -> Response:
    """Every lab, with how many of its systems are in which state."""
    return Json([one for one in lab_summaries(context.live.systems.get()) if one.lab_id is not None])


@router.get("/labs/{lab}")
def lab(lab: LabId, context: Uses) -> Response:
    """One lab and its systems: {lab, sequence, columns, systems}."""
    snapshot: Snapshot = context.live.systems.get()
    for one in lab_summaries(snapshot):
        if one.lab_id == lab:
            systems = [system for system in snapshot.systems if system.lab_id == lab]
            answer: dict[str, Any] = {
                "lab": one,
                "sequence": snapshot.sequence,
                "columns": COLUMNS,
                "systems": systems,
            }
            return Json(answer)
    raise Problem(404, f"there is no lab {lab}: it may have been removed")
