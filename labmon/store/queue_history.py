"""How full the queues were: a row for each queue and `EVERY` seconds, kept for `KEEP`.

Several processes may measure: whoever comes first in a slot writes it. What comes in is worked out from what
the workers took out and from how the depth changed, since no broker counts it the same way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import Connection

EVERY = 30.0
"""Seconds that a row stands for."""

LEAST, MOST = 5.0, 45.0
"""Seconds between two looks that a rate is worked out from."""

KEEP = timedelta(days=30)

_STEPS = (30, 60, 300, 900, 1800, 3600, 7200, 21600, 86400)
"""Seconds between two points of a series."""


@dataclass(frozen=True, slots=True)
class QueueSample:
    """A queue as its broker counted it."""

    queue: str
    ready: int
    ready_high: int | None
    in_flight: int | None
    dead: int
    consumers: int | None
    oldest_age_seconds: float | None


@dataclass(frozen=True, slots=True)
class QueuePoint:
    """A queue within one step: averages; of `dead` and `ready_max` the most."""

    at: datetime
    ready: float
    ready_max: int
    in_flight: float | None
    dead: int
    in_per_second: float | None
    out_per_second: float | None


@dataclass(frozen=True, slots=True)
class QueueRate:
    """What goes through a queue now, in messages per second. None where nobody has looked twice yet."""

    in_per_second: float | None
    out_per_second: float


@dataclass(frozen=True, slots=True)
class _Look:
    at: datetime
    stored: dict[tuple[Any, ...], int]  #: by worker, whose last part is its queue
    held: dict[str, int]


class Flow:
    """What went through the queues between two looks, from the counters of the workers and the depths.

    For one thread at a time. The rate that a worker names is that of its last batch, which says little about
    half a minute.
    """

    def __init__(self) -> None:
        self._looks: list[_Look] = []

    def rates(
        self, connection: Connection[Any], samples: Sequence[QueueSample], now: datetime
    ) -> dict[str, QueueRate]:
        """By queue, since a look of half a minute ago; empty before the second look."""
        rows = connection.execute("SELECT host, main_pid, number, queue, stored + rejected FROM workers")
        held = {one.queue: one.ready + (one.in_flight or 0) for one in samples}
        look = _Look(now, {tuple(row[:-1]): row[-1] for row in rows}, held)
        self._looks = [one for one in self._looks if LEAST <= (now - one.at).total_seconds() <= MOST] + [
            one for one in self._looks if 0 <= (now - one.at).total_seconds() < LEAST
        ]
        base = self._looks[0] if self._looks else None
        self._looks.append(look)
        if base is None or (now - base.at).total_seconds() < LEAST:
            return {}
        return {one.queue: _between(base, look, one.queue) for one in samples}


def _between(base: _Look, look: _Look, queue: str) -> QueueRate:
    seconds = (look.at - base.at).total_seconds()
    taken = sum(
        # one that began anew counts from zero
        count - base.stored[key] if count >= base.stored.get(key, 0) and key in base.stored else count
        for key, count in look.stored.items()
        if key[-1] == queue and (key in base.stored or count)
    )
    came = None
    if queue in base.held:
        came = max(0.0, (taken + look.held[queue] - base.held[queue]) / seconds)
    return QueueRate(came, taken / seconds)


def record(
    connection: Connection[Any],
    samples: Sequence[QueueSample],
    now: datetime,
    rates: Mapping[str, QueueRate] | None = None,
) -> int:
    """Write this slot, unless somebody has, in the caller's transaction. Returns how many rows are new."""
    slot = datetime.fromtimestamp(now.timestamp() // EVERY * EVERY, UTC)
    known = rates or {}
    return sum(
        connection.execute(
            """
            INSERT INTO queue_history (
                queue, ready, ready_high, in_flight, dead, consumers, oldest_age_seconds, at, out_per_second
            ) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
            """,
            [*astuple(one), slot, known[one.queue].out_per_second if one.queue in known else 0.0],
        ).rowcount
        for one in samples
    )


def series(
    connection: Connection[Any], first: datetime, past: datetime, *, points: int = 1440
) -> tuple[int, dict[str, list[QueuePoint]]]:
    """Seconds between two points, and the points of each queue, oldest first, at most `points` of each."""
    span = (past - first).total_seconds()
    step = next((one for one in _STEPS if span / one + 1 <= points), _STEPS[-1])
    rows = connection.execute(
        """
        SELECT queue, date_bin(make_interval(secs => %(step)s), at, '2000-01-01Z') AS bin,
               avg(ready)::float8, max(ready), avg(in_flight)::float8, max(dead),
               avg(came)::float8, avg(out_per_second)::float8
        FROM (
            SELECT *, CASE WHEN seconds BETWEEN 1 AND 300 THEN
                       GREATEST(0, out_per_second + (held - before) / seconds) END AS came
            FROM (
                SELECT *, ready + COALESCE(in_flight, 0) AS held,
                       lag(ready + COALESCE(in_flight, 0)) OVER each AS before,
                       extract(epoch FROM at - lag(at) OVER each)::float8 AS seconds
                FROM queue_history WHERE at >= %(first)s AND at < %(past)s
                WINDOW each AS (PARTITION BY queue ORDER BY at)
            ) AS row
        ) AS row GROUP BY queue, bin ORDER BY queue, bin
        """,
        {"step": step, "first": first, "past": past},
    )
    found: dict[str, list[QueuePoint]] = {}
    for queue, *values in rows:
        found.setdefault(queue, []).append(QueuePoint(*values))
    return step, found


def waiting(connection: Connection[Any], first: datetime, *, step: float = 60) -> list[tuple[datetime, int]]:
    """How many messages waited in all queues together, once for every `step` seconds, oldest first."""
    return connection.execute(
        """
        SELECT bin, max(total)::bigint FROM (
            SELECT date_bin(make_interval(secs => %(step)s), at, '2000-01-01Z') AS bin, sum(ready) AS total
            FROM queue_history WHERE at >= %(first)s GROUP BY at
        ) AS slot GROUP BY bin ORDER BY bin
        """,
        {"step": step, "first": first},
    ).fetchall()
