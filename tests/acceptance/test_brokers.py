"""The same commands over each broker, and messages that other programs put in by their own means."""

import json
from urllib.parse import quote

import pika
import psycopg
import pytest

from labmon.demo.sshd import DemoServer
from tests.unit.test_messages import SEED_METRICS


def depth(lab, queue="metrics_queue"):
    rows = json.loads(lab.run("queue-depth", "-f", "json").stdout)
    return next(row for row in rows if row["queue"] == queue)


def test_scan_and_collect_and_consume(shared_broker, lab):
    with DemoServer(["127.0.0.1"], key_file=lab.folder / "key") as server:
        lab.environ |= {
            "QUEUE_ENABLED": "true",
            "LABMON_COLLECT_PORT": str(server.port),
            "LABMON_COLLECT_KEY_FILES": str(lab.folder / "key"),
        }
        assert lab.run("setup-queues", "--dry-run").stderr.count("would be made") >= 3
        lab.run("setup-queues")
        assert "was there" in lab.run("setup-queues").stderr
        lab.run("scan", "127.0.0.1", "--dept", "1")
        assert "discovery_queue: 2 stored" in lab.run("consume", "--until-empty").stderr
        lab.run("collect", "--dept", "1", code=0)
        assert depth(lab)["ready"] == 1
        assert "metrics_queue: 1 stored" in lab.run("consume", "--until-empty").stderr
        assert depth(lab)["ready"] == 0


def test_a_machine_that_cannot_be_measured_is_told_through_the_queue(shared_broker, lab, store_url):
    with psycopg.connect(store_url) as connection:
        connection.execute("UPDATE systems SET ip_address = '127.0.0.1', ssh_port = 1 WHERE system_id = 42")
    lab.run("setup-queues")
    (lab.folder / "password").write_text("x\n")
    lab.environ["LABMON_COLLECT_PASSWORD_FILE"] = str(lab.folder / "password")
    lab.run("collect", "--all", "--queue-enabled", code=6)
    assert (depth(lab, "discovery_queue")["ready"], depth(lab)["ready"]) == (1, 0)
    if lab.environ["QUEUE_TYPE"] == "rabbitmq":  # the exchange takes another program's to the same queue
        body = {"system_id": 42, "status": "offline", "since": "2025-11-25T10:00:00Z"}
        payload = json.dumps(body | {"checked_at": "2025-11-25T10:35:00Z"})
        message = {"properties": {}, "routing_key": "discovery.status", "payload": payload}
        exchange = f"exchanges/{quote(lab.environ['LABMON_QUEUE_VHOST'])}/labmon/publish"
        routed = shared_broker.api("POST", exchange, message | {"payload_encoding": "string"})
        assert routed == {"routed": True}
    assert "to the dead letters" not in lab.run("consume", "--until-empty").stderr
    (row,) = json.loads(lab.run("systems", "list", "--status", "refused", "-f", "json").stdout)
    assert (row["system_id"], row["status_error"]) == (42, "refused: nothing listens on that port")


FOREIGN = {
    "postgres": lambda server, environ, body: server.execute(
        psycopg.sql.SQL("SELECT labmon_publish('metrics_queue', {})").format(body),
        environ["LABMON_QUEUE_DATABASE"],
    ),
    "redis": lambda server, environ, body: server.cli("XADD", "metrics_queue", "*", "body", body),
    "rabbitmq": lambda server, environ, body: server.api(
        "POST",
        f"exchanges/{quote(environ['LABMON_QUEUE_VHOST'])}/labmon/publish",
        {"properties": {}, "routing_key": "metrics.collected", "payload": body, "payload_encoding": "string"},
    ),
}


def test_a_message_of_the_guide_sent_by_another_client_is_stored(shared_broker, lab):
    lab.run("setup-queues")
    without = json.loads(SEED_METRICS)
    del without["system_id"]
    for body in (SEED_METRICS.decode(), json.dumps(without)):
        FOREIGN[lab.environ["QUEUE_TYPE"]](shared_broker, lab.environ, body)
    assert "1 stored, 1 to the dead letters" in lab.run("consume", "--until-empty", code=6).stderr
    with psycopg.connect(lab.environ["LABMON_DATABASE_URL"]) as connection:
        assert connection.execute("SELECT system_id, logged_in_users FROM metrics").fetchall() == [(42, 3)]
    (letter,) = json.loads(lab.run("dead-letters", "list", "metrics", "-f", "json").stdout)
    assert "system_id" in letter["reason"]
    assert json.loads(letter["body"]) == without
    assert "1 back in" in lab.run("dead-letters", "replay", "metrics").stderr
    assert depth(lab)["ready"] == 1


def test_a_broker_that_is_away_or_says_no_is_one_line(broker, lab):
    lab.run("setup-queues")
    done = lab.run("queue-depth", code=4, QUEUE_PASSWORD="wrong")
    assert len(done.stderr.splitlines()) == 1
    assert "127.0.0.1" in done.stderr
    broker.stop()
    done = lab.run("queue-depth", code=4)
    assert len(done.stderr.splitlines()) == 1
    assert "127.0.0.1" in done.stderr
    done = lab.run("scan", "127.0.0.1", "--dept", "1", "--queue-enabled")
    assert "in the spool: 2" in done.stderr


@pytest.mark.parametrize("shared_broker", ["rabbitmq"], indirect=True)
def test_a_pika_client_without_any_headers(shared_broker, lab):
    lab.run("setup-queues")
    where = pika.ConnectionParameters("127.0.0.1", shared_broker.port, lab.environ["LABMON_QUEUE_VHOST"])
    with pika.BlockingConnection(where) as connection:
        channel = connection.channel()
        channel.basic_publish("labmon", "metrics.collected", SEED_METRICS)
        channel.basic_publish("", "metrics_queue", SEED_METRICS)
        connection.sleep(0.5)
    assert depth(lab)["ready"] == 2
    assert "metrics_queue: 2 stored" in lab.run("consume", "--until-empty").stderr


@pytest.mark.parametrize("shared_broker", ["redis"], indirect=True)
def test_the_depth_is_what_redis_cli_says(shared_broker, lab):
    lab.run("setup-queues")
    for _ in range(3):
        shared_broker.cli("XADD", "metrics_queue", "*", "body", "{}")
    assert shared_broker.cli("XLEN", "metrics_queue") == "3"
    assert depth(lab)["ready"] == 3
