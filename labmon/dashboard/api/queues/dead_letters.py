"""Dead letters: what could not be stored, why, and what becomes of it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from threading import Lock
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import Response

from labmon.app.open import named_queue
from labmon.app.queues.dead_letters import DeadLetterRow
from labmon.brokers.base import Broker, DeadLetter
from labmon.dashboard.access import Operator
from labmon.dashboard.api.parameters import Body, Limit
from labmon.dashboard.asking import Asking, NoAnswer
from labmon.dashboard.context import Context, Uses
from labmon.dashboard.web import Json, Problem
from labmon.masking import mask_secrets

router = APIRouter(tags=["queues"])

MOST = 1000
"""Dead letters that one request acts on, and the oldest of each queue that are looked through at first."""

FARTHEST = 64 * MOST
"""Of each queue are looked through until a page is full."""

WAIT = 5.0
"""Seconds until who looks is told that somebody else does."""

SILENT = 2.0
"""Seconds for the broker's sign of life, before a look and while one takes longer."""

LONGEST_BODY = 20_000
"""Characters of a body that are shown."""

_one_at_a_time = Lock()
"""With RabbitMQ to look at dead letters is to take them: two who look would hide some from each other."""

MessageIds = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=1000)]], Field(min_length=1, max_length=MOST)
]


@dataclass(frozen=True)
class Shown(DeadLetterRow):
    """A dead letter without what is nobody's business."""

    queue: str
    body_bytes: int  #: of the whole body
    truncated: bool


def shown(queue: str, letter: DeadLetter) -> Shown:
    """What people may see of it: passwords and keys are masked, long bodies cut."""
    row = DeadLetterRow.of(letter)
    body = mask_secrets(row.body)
    values = asdict(row) | {
        "reason": mask_secrets(row.reason),
        "error": mask_secrets(row.error),
        "body": body[:LONGEST_BODY],
    }
    return Shown(
        **values, queue=queue, body_bytes=len(letter.message.body), truncated=len(body) > LONGEST_BODY
    )


@dataclass(frozen=True)
class _Wanted:
    """Which dead letters, and which page of them."""

    queues: Sequence[str]
    words: Sequence[str]
    begin: str
    limit: int


@router.get("/dead-letters")
def dead_letters(
    context: Uses,
    queue: Annotated[str | None, Query(max_length=200)] = None,
    q: Annotated[str, Query(max_length=200)] = "",
    after: Annotated[str | None, Query(max_length=2000)] = None,
    limit: Limit = 50,
) -> Response:
    """Dead letters, of one queue or of all, oldest first: {items, next, total, unseen}.

    `q`: words that reason, error, key or body hold. `unseen`: how many were not looked through, after the
    64,000 oldest of each queue; 0 where `next` leads on.
    """
    names = [named_queue(queue, context.config)] if queue else context.config.queue.names
    if after is not None and not _is_place(after, context.config.queue.names):
        raise Problem(422, "after: expected `next` of the page before")
    wanted = _Wanted(names, q.casefold().split(), after or "", limit)
    asking = Asking("dead letters", lambda: _look(context, wanted))
    while True:  # a look may take long; where the broker is silent meanwhile, it is given up
        context.live.check_broker(SILENT)
        with suppress(NoAnswer):
            return Json(asking.answer(SILENT, late=SILENT))


def _look(context: Context, wanted: _Wanted) -> dict[str, Any]:
    look = MOST
    known: dict[str, Shown] = {}
    with _broker(context) as broker:
        while True:
            seen = {name: _places(broker, name, look, known) for name in wanted.queues}
            longer = [one for one in seen.values() if len(one) >= look]
            # What is behind the last one of a queue that goes on may have to stand between what is known.
            settled = min(map(max, longer), default=None)
            places = [
                place
                for place in sorted(set().union(*seen.values()))
                if place > wanted.begin
                and (settled is None or place <= settled)
                and all(word in _text(known[place]) for word in wanted.words)
            ]
            if len(places) > wanted.limit or not longer or look >= FARTHEST:
                break
            look *= 8
        total = sum(
            len(one) if len(one) < look else max(len(one), broker.depth(name).dead)
            for name, one in seen.items()
        )
    following = places[wanted.limit - 1] if len(places) > wanted.limit else None
    items = [known[place] for place in places[: wanted.limit]]
    unseen = 0 if following else total - sum(map(len, seen.values()))
    return {"items": items, "next": following, "total": total, "unseen": unseen}


def _places(broker: Broker, queue: str, limit: int, known: dict[str, Shown]) -> list[str]:
    """Where the oldest of a queue stand; each is added to those `known` by its place."""
    found = []
    for letter in broker.dead_letters(queue, limit=limit):
        place = _place(queue, letter)
        if place not in known:
            known[place] = shown(queue, letter)
        found.append(place)
    return found


@contextmanager
def _broker(context: Context) -> Iterator[Broker]:
    """The broker, while nobody else looks at dead letters. Raises Problem 503, and as `Context.broker`."""
    if not _one_at_a_time.acquire(timeout=WAIT):
        raise Problem(
            503, "somebody else is looking through the dead letters: try again", headers={"retry-after": "5"}
        )
    try:
        with context.broker() as broker:
            yield broker
    finally:
        _one_at_a_time.release()


def _place(queue: str, letter: DeadLetter) -> str:
    """Where it stands among all, oldest first: the same whatever comes and goes."""
    died_at = letter.died_at.astimezone(UTC).isoformat(timespec="microseconds")
    return f"{died_at} {queue} {letter.message.id}"[:2000]


def _is_place(text: str, queues: Sequence[str]) -> bool:
    died_at, _, rest = text.partition(" ")
    try:
        is_time = datetime.fromisoformat(died_at).tzinfo is not None
    except ValueError:
        return False
    return is_time and any(rest.startswith(f"{name} ") for name in queues)


def _text(one: Shown) -> str:
    return "\n".join((one.id, one.reason, one.error, one.routing_key, one.body)).casefold()


class _Letters(Body):
    queue: Annotated[str, Field(max_length=200)]
    ids: MessageIds


@router.post("/dead-letters/replay")
def replay(body: _Letters, caller: Operator, context: Uses) -> Response:
    """Put dead letters back into their queue; attempts are counted from the start. Answers {count}."""
    return _act("replay", body, caller, context)


@router.post("/dead-letters/discard")
def discard(body: _Letters, caller: Operator, context: Uses) -> Response:
    """Delete dead letters for good. Answers {count}."""
    return _act("discard", body, caller, context)


def _act(action: str, body: _Letters, caller: Operator, context: Context) -> Response:
    queue = named_queue(body.queue, context.config)
    context.live.check_broker(SILENT)
    # The record is written in a transaction that is open by then, so nothing is done that cannot be recorded.
    with context.transaction() as connection:
        with _broker(context) as broker:
            act = broker.requeue_dead if action == "replay" else broker.purge_dead
            count = act(queue, ids=set(body.ids))
        detail = {"count": count, "ids": body.ids[:20]}
        caller.record(connection, f"dead_letters.{action}", queue, detail)
    context.live.touch()
    return Json({"count": count})
