"""A dashboard that serves a campus of 2,000 systems, one for each module of tests."""

import psycopg
import pytest

from labmon.store.migrate import migrate
from tests.support import campus
from tests.support.dashboard import Dashboard, add_user


@pytest.fixture(scope="session")
def campus_template(postgres_server):
    """The name of a database with the campus, of which modules get clones."""
    with postgres_server.database() as name:
        with psycopg.connect(postgres_server.socket_conninfo(name)) as connection:
            migrate(connection)
            connection.commit()
            campus.build(connection)
        yield name


@pytest.fixture(scope="module")
def campus_url(postgres_server, campus_template):
    """The URL of a campus of the module's own."""
    with postgres_server.database(campus_template) as name:
        url = postgres_server.url(name)
        for user, role in (("ada", "admin"), ("olga", "operator"), ("vera", "viewer")):
            add_user(url, user, role)
        yield url


@pytest.fixture(scope="module")
def dashboard(campus_url):
    """`labmon dashboard` on the campus."""
    with Dashboard(campus_url) as running:
        yield running


@pytest.fixture
def page(browsing, dashboard):
    """A page of the operator's, as wide as a desk's."""
    with browsing.page(dashboard.url, "olga", viewport={"width": 1440, "height": 900}) as page:
        yield page


def settled(page):
    """Wait until the page has drawn what it asked for."""
    page.wait_for_function(
        "() => document.querySelector('main h1') && !document.querySelector('[aria-busy=true]')"
    )
