import pytest

from labmon.app.fleet import inventory_file
from labmon.app.open import open_spool
from labmon.app.queues.spool import Selected, flush, report
from labmon.brokers.base import Message
from labmon.config.load import load
from labmon.errors import BrokerUnavailable, UsageError
from labmon.fleet import Fleet
from labmon.messages import utcnow

OURS, OTHER = "a" * 32, "b" * 32


@pytest.fixture
def config(tmp_path):
    """A spool with a message about this database, one about another, and one about none."""
    environ = {
        "LABMON_STATE_DIR": str(tmp_path),
        "QUEUE_ENABLED": "true",
        "QUEUE_TYPE": "redis",
        "QUEUE_HOST": "127.0.0.1",
        "QUEUE_PORT": "1",
    }
    config = load(environ=environ).config
    for queue, database in (("metrics_queue", OURS), ("metrics_queue", OTHER), ("alert_queue", "")):
        open_spool(config).append(queue, [Message.new(b"{}")], database=database)
    return config


@pytest.fixture
def known(config, tmp_path):
    Fleet(utcnow(), inventory=OURS).save(inventory_file(tmp_path))
    return config


def test_a_report_counts_messages_about_another_database_apart(known):
    found = report(known)
    assert (found.found.messages, found.other) == (3, 1)
    assert {row.queue: row.messages for row in found.rows} == {"metrics_queue": 2, "alert_queue": 1}
    assert dict(found.facts())["Set aside"].startswith("1 about another database")
    assert found.whole()["other_database"] == 1


def test_messages_are_selected_by_queue_or_by_database(known):
    assert Selected(known, "metrics_queue", other_database=False).count() == 2
    (row,) = Selected(known, None, other_database=True).rows(10)
    assert row.database == f"another ({OTHER})"
    assert Selected(known, None, other_database=True).drop() == 1
    assert {row.database for row in Selected(known, None, other_database=False).rows(10)} == {"this", "any"}


def test_another_database_is_one_only_where_ours_is_known(config):
    with pytest.raises(UsageError, match="not known on this machine yet"):
        Selected(config, None, other_database=True)
    with pytest.raises(UsageError, match="no queue 'metric_queue'"):
        Selected(config, "metric_queue", other_database=False).check_queue()


def test_what_a_flush_cannot_send_stays(known):
    steps = flush(known, print)
    assert next(steps).total == 3
    with pytest.raises(BrokerUnavailable):
        list(steps)
    assert open_spool(known).count() == 3
