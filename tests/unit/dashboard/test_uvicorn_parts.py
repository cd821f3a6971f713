"""The parts of uvicorn that are not promised, and that deadlines for connections stand on."""

import inspect

import pytest
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

METHODS = [
    ("connection_made", ["self", "transport"]),
    ("data_received", ["self", "data"]),
    ("on_response_complete", ["self"]),
    ("pause_writing", ["self"]),
    ("resume_writing", ["self"]),
    ("connection_lost", ["self", "exc"]),
    ("shutdown", ["self"]),
]
ATTRIBUTES = [
    (H11Protocol, "cycle"),
    (H11Protocol, "transport"),
    (H11Protocol, "loop"),
    (RequestResponseCycle, "response_complete"),
    (RequestResponseCycle, "more_body"),
]
MEND = "Mend labmon/dashboard/connections.py, or keep to an older uvicorn in pyproject.toml"


@pytest.mark.parametrize(("name", "parameters"), METHODS)
def test_uvicorn_has_the_method_that_labmon_stands_on(name, parameters):
    lacks = f"uvicorn {uvicorn.__version__} has no H11Protocol.{name}({', '.join(parameters)}). {MEND}"
    method = getattr(H11Protocol, name, None)
    assert method is not None and list(inspect.signature(method).parameters) == parameters, lacks


@pytest.mark.parametrize(("owner", "name"), ATTRIBUTES)
def test_uvicorn_has_the_attribute_that_labmon_stands_on(owner, name):
    lacks = f"uvicorn {uvicorn.__version__} no longer sets {owner.__name__}.{name}. {MEND}"
    assert f"self.{name}" in inspect.getsource(owner), lacks
