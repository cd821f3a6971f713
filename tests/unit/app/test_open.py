import pytest

from labmon.app.open import ingest_settings, named_queue, open_broker, open_sink, open_spool, worker_settings
from labmon.config.load import load
from labmon.errors import BrokerUnavailable, UsageError
from labmon.messages import Metrics, Readings, utcnow

READING = Metrics(system_id=1, collected_at=utcnow(), metrics=Readings(load1=1.0))


@pytest.fixture
def config(tmp_path):
    """A broker and a database that nothing answers for, at port 1."""
    environ = {
        "LABMON_STATE_DIR": str(tmp_path),
        "LABMON_DATABASE_URL": "postgresql://127.0.0.1:1/labmon?connect_timeout=1",
        "QUEUE_TYPE": "redis",
        "QUEUE_HOST": "127.0.0.1",
        "QUEUE_PORT": "1",
    }
    return load(environ=environ).config


@pytest.mark.parametrize("queued", [True, False])
def test_what_a_sink_cannot_send_stays_in_the_spool(config, queued):
    lines = []
    with open_sink(config, notice=lines.append, queued=queued) as sink:
        sink.send(READING, database="here")
    (waiting,) = open_spool(config).browse(10)
    assert (waiting.queue, waiting.database, sink.spooled) == ("metrics_queue", "here", 1)
    assert lines


def test_a_sink_is_flushed_also_when_the_block_raises(config):
    with pytest.raises(KeyboardInterrupt), open_sink(config, notice=lambda _: None, queued=True) as sink:
        sink.send(READING)
        raise KeyboardInterrupt
    assert open_spool(config).count() == 1


def test_a_broker_with_a_host_of_its_own_needs_no_store(config):
    with open_broker(config) as broker, pytest.raises(BrokerUnavailable, match="Redis at 127.0.0.1:1"):
        broker.declare("metrics_queue")


def test_a_queue_is_named_by_the_start_of_its_name(config):
    assert named_queue("metrics", config) == named_queue("metrics_queue", config) == "metrics_queue"
    for name in ("", "metricsx"):
        with pytest.raises(UsageError, match="There are: discovery_queue, metrics_queue, alert_queue"):
            named_queue(name, config)


def test_a_worker_gets_the_tables_that_it_reads_and_no_others(config):
    settings = worker_settings(config)
    assert settings.ingest == ingest_settings(config)
    assert (settings.database, settings.state, settings.log) == (config.database, config.state, config.log)
    assert settings.ingest.retention is config.retention
