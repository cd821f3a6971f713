"""The brokers of the contract suite, for the worker to empty."""

import pytest

from tests.contract.conftest import memory, postgres, rabbitmq, redis  # noqa: F401


@pytest.fixture(params=["postgres", "redis", "rabbitmq"])
def any_server(request):
    """A clean broker on a real server."""
    server = request.getfixturevalue(request.param)
    yield server
    server.close()
