"""Scans, and what each of them changed."""

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.responses import Response

from labmon.dashboard.api.document import answers, page_of
from labmon.dashboard.api.parameters import LARGEST_ALERT, After, Limit, page, position
from labmon.dashboard.context import Uses
from labmon.dashboard.web import Json, Problem
from labmon.store.inventory import history
from labmon.store.inventory import scans as records

router = APIRouter(tags=["scans"])

MOST_CHANGES = 2000


@router.get("/scans", **answers(page_of(records.ScanRecord)))
def scans(context: Uses, after: After = None, limit: Limit = 50) -> Response:
    """Finished scans, the newest first."""
    with context.transaction() as connection:
        rows = records.recent(connection, before=position(after), limit=limit + 1)[::-1]
    return Json(page(rows, limit, lambda one: (one.started_at, one.scan_id)))


@router.get("/scans/{scan}")
def scan(scan: Annotated[int, Path(ge=0, le=LARGEST_ALERT)], context: Uses) -> Response:
    """One scan and what it changed: {scan, changes, since}.

    `since`: when the last whole scan of its addresses before it began.
    """
    with context.transaction() as connection:
        found = records.outcome(connection, scan)
        if found is None:
            raise Problem(404, f"there is no scan {scan}")
        changes = history.changes(connection, scan_id=scan, limit=MOST_CHANGES)
    return Json({"scan": found[0], "changes": changes, "since": found[1]})
