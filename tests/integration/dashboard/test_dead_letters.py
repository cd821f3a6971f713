"""Dead letters over each broker: seen without secrets, put back for good, discarded."""

import json
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Event

import pytest

from labmon.app.open import ingest_settings, open_broker, open_store
from labmon.brokers.base import Message
from labmon.config.load import load
from labmon.consume.worker_threads import WorkerThreads
from labmon.dashboard.api.queues import dead_letters
from labmon.dashboard.app import create_app
from labmon.dashboard.context import Context
from tests.integration.dashboard.conftest import Client

QUEUE = "metrics_queue"


@contextmanager
def place(kind, server):
    match kind:
        case "postgres":
            with server.database() as name:
                yield {"user": server.USER, "password": server.PASSWORD, "database": name}
        case "redis":
            server.cli("FLUSHALL")
            yield {"password": server.PASSWORD}
        case "rabbitmq":
            with server.vhost() as name:
                yield {"user": "guest", "password": "guest", "vhost": name}


@pytest.fixture(params=["postgres", "redis", "rabbitmq"])
def config(request, store_url, monkeypatch):
    monkeypatch.setattr("labmon.brokers.rabbitmq.publisher.NEW_QUEUE", 0.0)  # nobody kills this server
    server = request.getfixturevalue(f"{request.param}_server")
    with place(request.param, server) as more:
        environ = {f"LABMON_QUEUE_{name.upper()}": value for name, value in more.items()}
        environ |= {"LABMON_QUEUE_TYPE": request.param, "LABMON_QUEUE_HOST": "127.0.0.1"}
        environ |= {"LABMON_QUEUE_PORT": str(server.port), "LABMON_DATABASE_URL": store_url}
        yield load(environ=environ).config


@pytest.fixture
def store(config):
    with open_store(config) as store:
        yield store


@pytest.fixture
def broker(config):
    with open_broker(config) as broker:
        for queue in config.queue.names:
            broker.declare(queue)
        yield broker


@pytest.fixture
def api(config, store):
    context = Context(config, store, is_own=lambda _: True)
    yield Client(create_app(context))
    context.live.close()


def bury(broker, *bodies, reason="undecodable"):
    """Publish and reject these, in this order; their messages.

    Each at a moment of its own: those that Redis buries in one millisecond are listed in any order.
    """
    sent = [Message.new(body if isinstance(body, bytes) else json.dumps(body).encode()) for body in bodies]
    with broker.consume(QUEUE) as consumer:
        for message in sent:
            broker.publish(QUEUE, [message])
            taken = []
            while not taken:
                taken = consumer.receive(1, 5)
            consumer.reject(taken, reason, "of the test")
            time.sleep(0.002)
    return sent


def reading(system):
    return {
        "system_id": system,
        "collected_at": datetime.now(UTC).isoformat(),
        "metrics": {"cpu_percent": 7.5},
    }


def test_a_replayed_dead_letter_lands_in_metrics(api, broker, config, store, connection, lab):
    one, other = bury(broker, reading(1), reading(2))
    found = api.get(f"/dead-letters?queue={QUEUE}")
    assert [item["id"] for item in found["items"]] == [one.id, other.id]
    assert (found["total"], found["items"][0]["reason"], found["items"][0]["queue"]) == (
        2,
        "undecodable",
        QUEUE,
    )
    assert api.post("/dead-letters/replay", {"queue": QUEUE, "ids": [one.id]}) == {"count": 1}
    WorkerThreads.of(ingest_settings(config), [QUEUE], store, Event(), until_empty=True).run()
    assert connection.execute("SELECT system_id, cpu_percent FROM metrics").fetchall() == [(1, 7.5)]
    assert [item["id"] for item in api.get("/dead-letters")["items"]] == [other.id]


def test_a_discarded_one_is_gone_for_good(api, broker):
    one, other = bury(broker, b"odd", b"bad")
    assert api.post("/dead-letters/discard", {"queue": "metrics", "ids": [one.id, "nobody's"]}) == {
        "count": 1
    }
    assert [item["id"] for item in api.get("/dead-letters")["items"]] == [other.id]
    assert broker.depth(QUEUE).ready == 0


def test_secrets_are_masked_and_hostile_text_stays_text(api, broker):
    bury(
        broker,
        {
            "url": "postgresql://lab:s3cret@db/labmon",
            "Password": "hunter22",
            "note": "<script>alert(1)</script>",
        },
        b"\xff\x00 Authorization: Bearer abcdefghijklmnop",
    )
    answer = api.ask("GET", "/dead-letters")
    for secret in ("s3cret", "hunter22", "abcdefghijklmnop"):
        assert secret not in answer.text
    first, second = answer.json()["items"]
    assert "<script>alert(1)</script>" in first["body"]
    assert "\\xff" in second["body"]


def test_pages_and_words(api, broker):
    sent = [
        one.id
        for one in bury(broker, *({"number": n, "word": "Even" if n % 2 == 0 else "odd"} for n in range(5)))
    ]
    seen, after = [], ""
    while after is not None:
        page = api.get("/dead-letters", params={"limit": 2} | ({"after": after} if after else {}))
        seen += [item["id"] for item in page["items"]]
        if len(seen) == 2:
            api.post("/dead-letters/discard", {"queue": QUEUE, "ids": [seen[0]]})  # shifts nothing
        after = page["next"]
    assert seen == sent or sorted(seen) == sorted(sent)
    found = api.get("/dead-letters", params={"q": "EVEN number"})
    assert {item["id"] for item in found["items"]} == {sent[2], sent[4]}
    api.get("/dead-letters?queue=nothing", 422)


def test_a_filter_goes_through_all_however_many_there_are(api, broker, monkeypatch):
    monkeypatch.setattr(dead_letters, "MOST", 4)
    sent = [one.id for one in bury(broker, *({"number": n, "last": n > 17} for n in range(20)))]
    seen, after = [], ""
    while after is not None:
        page = api.get("/dead-letters", params={"limit": 3} | ({"after": after} if after else {}))
        seen += [item["id"] for item in page["items"]]
        after = page["next"]
    assert (sorted(seen), len(seen), page["total"], page["unseen"]) == (sorted(sent), 20, 20, 0)
    found = api.get("/dead-letters", params={"q": '"last": true'})
    assert [item["id"] for item in found["items"]] == sent[18:]
    assert (found["next"], found["unseen"]) == (None, 0)


def test_where_the_looking_ends_the_answer_says_so(api, broker, monkeypatch):
    monkeypatch.setattr(dead_letters, "MOST", 4)
    monkeypatch.setattr(dead_letters, "FARTHEST", 4)
    bury(broker, *({"number": n} for n in range(9)))
    found = api.get("/dead-letters", params={"q": "number", "limit": 2})
    assert (len(found["items"]), found["unseen"]) == (2, 0)  # there is a next page
    found = api.get("/dead-letters", params={"q": "number"})
    assert len(found["items"]) == 4
    assert (found["next"], found["total"], found["unseen"]) == (None, 9, 5)


def test_queues_have_depths_rates_and_a_history(api, broker):
    bury(broker, b"odd")
    broker.publish(QUEUE, [Message.new(b"1"), Message.new(b"2", high=True)])
    for _ in range(200):
        api.app.state.context.live.queues.expire()
        found = {one["queue"]: one for one in api.get("/queues")["queues"]}
        if (found[QUEUE]["ready"], found[QUEUE]["dead"]) == (2, 1):  # some servers count late
            break
    assert (found[QUEUE]["ready"], found[QUEUE]["dead"], found[QUEUE]["level"]) == (2, 1, "warning")
    assert found[QUEUE]["lanes"] in ({"high": 1, "normal": 1}, None)
    series = api.get("/queues/series")
    assert len(series["t"]) in (1, 2)  # the next slot may have begun
    assert set(series["queues"]) == set(found)
