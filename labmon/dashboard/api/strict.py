"""What a request may not hold: a parameter that its route does not know, or one name twice.

Whoever mistypes `stat=down` would be answered with all systems, and of two values of one key a proxy, a log
and this program may each believe another.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from fastapi import Request
from fastapi.dependencies.models import Dependant
from pydantic import BaseModel

from labmon.dashboard.web import Problem
from labmon.text import foreign, nearest

LONGEST = 60
"""Characters of a name that are quoted."""

_known: dict[Callable[..., Any], frozenset[str]] = {}


async def strict(request: Request) -> None:
    """For the dependencies of a router, after those that say who asks. Raises Problem 422."""
    given = Counter(name for name, _ in request.query_params.multi_items())
    if given:
        known = _parameters(request)
        for name, times in given.items():
            said = foreign(name[:LONGEST])
            if name not in known:
                more = nearest(name[:LONGEST], sorted(known)) or ". This address takes none"
                raise Problem(422, f"there is no parameter {said!r} here{more}")
            if times > 1:
                raise Problem(422, f"{said}: it is given {times} times. Give it once")
    if request.method != "GET":
        _refuse_double_keys(await request.body())


def _parameters(request: Request) -> frozenset[str]:
    """Those that the route knows."""
    endpoint = request.scope["endpoint"]
    if endpoint not in _known:
        _known[endpoint] = frozenset(_names(request.scope["route"].dependant))
    return _known[endpoint]


def _names(dependant: Dependant) -> Iterator[str]:
    for one in dependant.query_params:
        kind = one.field_info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from (field.alias or name for name, field in kind.model_fields.items())
        else:
            yield one.alias
    for inner in dependant.dependencies:
        yield from _names(inner)


def _refuse_double_keys(body: bytes) -> None:
    try:
        json.loads(body or b"0", object_pairs_hook=_once)
    except (ValueError, RecursionError):
        pass  # it is no JSON, which was said where it was to be read


def _once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise Problem(422, f"{foreign(key[:LONGEST])}: it is given twice. Give it once")
        found[key] = value
    return found
