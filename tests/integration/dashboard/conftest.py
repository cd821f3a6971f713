"""The application over a fresh store, asked without a socket; and whole servers, with a user of each role."""

import asyncio
from contextlib import ExitStack

import httpx
import psycopg
import pytest

from labmon.dashboard.app import create_app
from labmon.dashboard.context import Context
from labmon.store.migrate import migrate
from tests.integration.dashboard.lab import campus
from tests.support.dashboard import Dashboard, add_user

ROLES = ("viewer", "operator", "admin")


class Client:
    """Asks the application as somebody on this machine."""

    def __init__(self, app, client=("127.0.0.1", 40000)):
        self.app = app
        self._client = client

    def ask(self, method, path, **more):
        async def ask():
            transport = httpx.ASGITransport(app=self.app, client=self._client, raise_app_exceptions=True)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8480") as client:
                return await client.request(method, path if path == "/metrics" else f"/api/v1{path}", **more)

        return asyncio.run(ask())

    def get(self, path, status=200, **more):
        answer = self.ask("GET", path, **more)
        assert answer.status_code == status, answer.text
        return answer.json()

    def post(self, path, body, status=200, method="POST"):
        token = self.app.state.context.local_csrf
        answer = self.ask(method, path, json=body, headers={"x-csrf-token": token})
        assert answer.status_code == status, answer.text
        return answer.json()


@pytest.fixture
def context(config, store):
    made = Context(config, store, is_own=lambda _: True)
    yield made
    if made.live is not None:
        made.live.close()


@pytest.fixture
def app(context):
    return create_app(context)


@pytest.fixture
def api(app):
    return Client(app)


@pytest.fixture
def lab(connection):
    campus(connection)


def rows(answer):
    """Systems of an answer by number, each as a dictionary."""
    return {row[0]: dict(zip(answer["columns"], row, strict=True)) for row in answer["rows"]}


@pytest.fixture(scope="module")
def shared_url(postgres_server):
    """A database with a user of each role, named after it."""
    with postgres_server.database() as name:
        with psycopg.connect(postgres_server.socket_conninfo(name)) as connection:
            migrate(connection)
        url = postgres_server.url(name)
        for role in ROLES:
            add_user(url, role, role)
        yield url


@pytest.fixture(scope="module")
def dashboard(shared_url):
    with Dashboard(shared_url) as dashboard:
        yield dashboard


@pytest.fixture(scope="module")
def browsers(dashboard):
    """A browser for each role, logged in."""
    with ExitStack() as stack:
        yield {role: stack.enter_context(dashboard.logged_in(role)) for role in ROLES}


@pytest.fixture
def new_dashboard(store_url):
    """A dashboard of a database without users, to be started with its options."""
    started = []

    def start(*options, **more):
        started.append(Dashboard(store_url, *options, **more).start())
        return started[-1]

    yield start
    for one in started:
        one.close()
