"""A broker that is away: the queues say so, and the rest works."""

import os
import signal
import time

import pytest

from labmon.app.open import open_broker, open_store
from labmon.brokers.base import Message
from labmon.config.load import load
from labmon.dashboard.api.queues import dead_letters
from labmon.dashboard.api.queues.dead_letters import SILENT
from labmon.dashboard.app import create_app
from labmon.dashboard.context import Context
from labmon.dashboard.live.queues import PATIENCE
from tests.integration.dashboard.conftest import Client
from tests.support.clock import clock

QUEUE = "metrics_queue"


@pytest.fixture
def config(store_url):
    environ = {
        "LABMON_DATABASE_URL": store_url,
        "LABMON_QUEUE_TYPE": "redis",
        "LABMON_QUEUE_HOST": "127.0.0.1",
    }
    return load(environ=environ | {"LABMON_QUEUE_PORT": "1"}).config


@pytest.fixture
def store(config):
    with open_store(config) as store:
        yield store


def test_the_queues_say_so_and_the_rest_works(api, lab):
    until = time.monotonic() + 30
    while "Redis" not in (found := api.get("/queues"))["error"]:  # the driver may load for longer than a look
        assert "no answer so far" in found["error"] and time.monotonic() < until, found
    assert found["queues"] == []
    summary = api.get("/summary")
    assert (summary["queues"], summary["queue_error"]) == (None, found["error"])
    assert summary["systems"] == 4
    answer = api.ask("GET", "/dead-letters")
    assert (answer.status_code, "retry-after" in answer.headers) == (503, True)


def test_prometheus_gets_counts_of_alerts_and_systems(api, lab):
    text = api.ask("GET", "/metrics").text
    assert 'labmon_alerts{severity="critical"} 0.0' in text
    assert 'labmon_systems{state="new"} 4.0' in text


@pytest.fixture
def queued(own_redis_server, store_url):
    """The application with a Redis that has one message."""
    own_redis_server.cli("FLUSHALL")
    environ = {"TYPE": "redis", "HOST": "127.0.0.1", "PORT": own_redis_server.port}
    environ |= {"PASSWORD": own_redis_server.PASSWORD}
    environ = {f"LABMON_QUEUE_{name}": str(value) for name, value in environ.items()}
    config = load(environ=environ | {"LABMON_DATABASE_URL": store_url}).config
    with open_broker(config) as broker:
        broker.declare(QUEUE)
        broker.publish(QUEUE, [Message.new(b"1")])
    with open_store(config) as store:
        context = Context(config, store, is_own=lambda _: True)
        yield Client(create_app(context))
        context.live.close()


def ask(api):
    api.app.state.context.live.queues.expire()
    return api.get("/queues")


def test_a_broker_that_does_not_answer_keeps_nobody_waiting(queued, own_redis_server, connection, lab):
    before = ask(queued)
    assert ([one["ready"] for one in before["queues"]], before["error"]) == ([1], None)
    assert "labmon_queue_ready{" in queued.ask("GET", "/metrics").text
    os.kill(own_redis_server.pid, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        for _ in range(20):  # far longer than one question may take
            found = ask(queued)
            assert [one["ready"] for one in found["queues"]] == [1]
            assert "no answer so far" in found["error"] or "Redis" in found["error"]
            assert found["queues"][0]["in_per_second"] is None
        assert time.monotonic() - begun < 20 * PATIENCE
        summary = queued.get("/summary")
        assert summary["queues"][0]["ready"] == 1
        assert summary["queue_error"]
        assert "labmon_queue_ready{" not in queued.ask("GET", "/metrics").text  # it is of no use as of now
    finally:
        os.kill(own_redis_server.pid, signal.SIGCONT)
    deadline = time.monotonic() + 60
    while ask(queued)["error"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_dead_letters_of_a_silent_broker_are_given_up_within_seconds(queued, own_redis_server, lab):
    assert queued.get(f"/dead-letters?queue={QUEUE}")["items"] == []
    body = {"queue": QUEUE, "ids": ["x"]}
    headers = {"x-csrf-token": queued.app.state.context.local_csrf}
    os.kill(own_redis_server.pid, signal.SIGSTOP)
    try:
        for method, path, more in (
            ("GET", f"/dead-letters?queue={QUEUE}", {}),
            ("GET", f"/dead-letters?queue={QUEUE}", {}),
            ("POST", "/dead-letters/discard", {"json": body, "headers": headers}),
        ):
            begun = clock()
            answer = queued.ask(method, path, **more)
            assert clock() - begun < SILENT + 1
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
            assert "redis at 127.0.0.1: no answer" in answer.json()["detail"]
    finally:
        os.kill(own_redis_server.pid, signal.SIGCONT)
    deadline = time.monotonic() + 60
    while queued.ask("GET", f"/dead-letters?queue={QUEUE}").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert queued.post("/dead-letters/discard", body) == {"count": 0}


def test_a_broker_that_falls_silent_during_a_look_keeps_nobody_waiting(
    queued, own_redis_server, lab, monkeypatch
):
    def look(broker, queue, limit, known):
        os.kill(own_redis_server.pid, signal.SIGSTOP)
        return broker.depth(queue)

    monkeypatch.setattr(dead_letters, "_places", look)
    begun = clock()
    try:
        answer = queued.ask("GET", f"/dead-letters?queue={QUEUE}")
    finally:
        os.kill(own_redis_server.pid, signal.SIGCONT)
    assert clock() - begun < 2 * SILENT + 1
    assert answer.status_code == 503 and "redis at" in answer.json()["detail"]
