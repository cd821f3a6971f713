"""A database that is away: said, and over by itself."""

import asyncio

import psycopg
import pytest

from labmon.dashboard.live import hub as hub_module
from labmon.store.migrate import migrate
from tests.integration.dashboard.test_stream import Stream
from tests.support.clock import clock
from tests.support.frozen import frozen

SAID = 3.0
"""Seconds after which everybody who looks at a page knows."""


@pytest.fixture
def store_url(own_postgres_server):
    """On a server that may be stopped."""
    with psycopg.connect(own_postgres_server.socket_conninfo("postgres")) as connection:
        migrate(connection)
    return own_postgres_server.url("postgres")


def test_a_database_that_is_away_is_said_once_and_it_recovers_by_itself(
    app, api, own_postgres_server, lab, monkeypatch
):
    monkeypatch.setattr(hub_module, "POLL", 0.5)

    async def run():
        stream = Stream(app)
        await stream.event("summary")
        seen = len(stream.text)
        begun = clock()
        await asyncio.to_thread(own_postgres_server.stop)
        assert "PostgreSQL" in (await stream.event("problem", seen))["detail"]
        assert clock() - begun < SAID
        answer = await asyncio.to_thread(api.ask, "GET", "/systems")
        assert (answer.status_code, answer.json()["title"]) == (503, "Service Unavailable")
        await asyncio.to_thread(own_postgres_server.start)
        await stream.event("reset", seen)
        await stream.leave()
        assert stream.text[seen:].count("event: reset") == 1
        assert (await asyncio.to_thread(api.ask, "GET", "/alerts")).status_code == 200

    asyncio.run(run())


def test_a_database_that_hangs_is_said_as_soon(app, own_postgres_server, lab):
    async def run():
        stream = Stream(app)
        await stream.event("summary")
        await asyncio.sleep(1)  # until it also waits to be woken
        seen = len(stream.text)
        with frozen(own_postgres_server.pid):
            begun = clock()
            assert "no answer" in (await stream.event("problem", seen))["detail"]
            assert clock() - begun < SAID
        await stream.event("reset", seen)
        await stream.leave()

    asyncio.run(run())
