"""[consume]"""

from typing import Annotated

from labmon.config.tables.fields import Table, comment
from labmon.config.units import Bytes, Seconds, Workers


class ConsumeConfig(Table, frozen=True, kw_only=True):
    """The workers that store messages from the queues."""

    workers: Annotated[
        Workers,
        comment(
            'Number of worker processes, such as "4", or "1..8" to add one for each queue that stays over '
            "[queue] depth_warning. 1: no supervisor, one process."
        ),
    ] = Workers("1")
    batch: Annotated[int, comment("Maximum number of messages per transaction.", ge=1, le=10000)] = 500
    flush: Annotated[
        Seconds, comment("Maximum time that a message waits for its batch to fill. 0s: no wait.")
    ] = Seconds(0.1)
    max_attempts: Annotated[
        int,
        comment("A message that failed this number of times becomes a dead letter.", ge=1, le=1000),
    ] = 5
    max_clock_skew: Annotated[
        Seconds,
        comment(
            "Messages dated further in the future than this, by the database's clock, become dead letters "
            "(without a queue: are not stored): a clock is wrong."
        ),
    ] = Seconds(3600)
    scale_up_after: Annotated[
        Seconds, comment("How long a queue must stay over [queue] depth_warning before a worker is added.")
    ] = Seconds(15)
    scale_down_after: Annotated[
        Seconds, comment("How long it must stay under half of depth_warning before a worker is removed.")
    ] = Seconds(300)
    stuck_after: Annotated[
        Seconds,
        comment(
            "Kill and replace a worker process without a heartbeat for this long. A worker that is busy or "
            "waits for the database sends one every second.",
            least=3,
        ),
    ] = Seconds(15)
    max_memory: Annotated[
        Bytes,
        comment("Replace a worker process that uses more memory, after its batch, such as 200MiB. 0: never."),
    ] = Bytes(0)
    grace: Annotated[
        Seconds,
        comment(
            "How long SIGTERM and Ctrl-C wait for the current batches. Messages not stored by then stay in "
            "the queue."
        ),
    ] = Seconds(30)
