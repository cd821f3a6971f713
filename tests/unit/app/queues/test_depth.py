from labmon.app.queues.depth import evaluated, exposition, queue_rows
from labmon.brokers.base import Depth
from labmon.config.tables import Config

DEPTHS = {
    "metrics_queue": Depth(1500, ready_high=None, in_flight=3, dead=0, consumers=1, oldest_age_seconds=2.5),
    "alert_queue": Depth(0, ready_high=0, in_flight=0, dead=0, consumers=1, oldest_age_seconds=0.0),
}


def test_rows_have_a_level_and_the_rate_since_the_last_look():
    before = {queue: Depth(500, None, 0, 0, 1, None) for queue in DEPTHS}
    deep, shallow = queue_rows(DEPTHS, Config().queue, before, 10.0)
    assert (deep.level, deep.ready_per_second, shallow.level, shallow.ready_per_second) == (
        "warning",
        100.0,
        "ok",
        -50.0,
    )
    assert [row.ready_per_second for row in queue_rows(DEPTHS, Config().queue)] == [None, None]


def test_prometheus_gets_no_number_that_the_server_cannot_say():
    text = exposition(DEPTHS)
    assert 'labmon_queue_ready{queue="metrics_queue"} 1500.0' in text
    assert 'labmon_queue_oldest_age_seconds{queue="metrics_queue"} 2.5' in text
    assert 'labmon_queue_ready_high{queue="metrics_queue"}' not in text


def test_without_an_alert_nothing_is_opened():
    with evaluated(Config(), False) as judge:
        assert judge(DEPTHS) is None
