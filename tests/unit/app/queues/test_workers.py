from dataclasses import fields, replace
from datetime import timedelta

from labmon.app.queues.workers import judged
from labmon.messages import utcnow
from labmon.store.workers import Seen


def test_a_worker_that_stopped_writing_is_dead_and_stores_nothing():
    row = Seen(**{field.name: None for field in fields(Seen)})
    alive = replace(row, state="idle", per_second=5.0, is_alive=True, beat_at=utcnow())
    assert judged(alive) is alive
    dead = judged(replace(alive, is_alive=False, beat_at=utcnow() - timedelta(minutes=2)))
    assert (dead.state, dead.per_second) == ("dead for 2 min", 0.0)
