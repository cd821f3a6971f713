"""Every operation of the API, by its OpenAPI document, asked with made-up values in an admin's name.

SCHEMATHESIS_EXAMPLES=N: N random requests of each operation. Without it few, and the same in every run.
"""

import json
import os
import re
import subprocess
from itertools import cycle, islice
from urllib.parse import quote

import psycopg
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from labmon.config.tables import Config
from labmon.dashboard.app import create_app
from labmon.dashboard.context import Context
from labmon.store.migrate import migrate
from tests.support import campus
from tests.support.dashboard import LABMON, PASSWORD, Dashboard, add_user

EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES")
SETTINGS = settings(
    max_examples=int(EXAMPLES or 4),
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
]
ENDLESS = "/api/v1/stream"
"""Does not end; test_stream reads it."""

ALWAYS = ["a\0b", "\ud800", "9" * 400]
TEXTS = [
    *("\0", "", " ", "%s %(x)s", "';--", "x" * 5000, "../../etc/passwd"),
    *(
        "0",
        "-1",
        str(2**31),
        str(2**63),
        "9" * 400,
        "1e400",
        "nan",
        "٣",
        "1" + 30 * "0" + "_1",
        "1_" + 30 * "9",
    ),
    *("0001-01-01", "9999-12-31T23:59:59+14:00", "2026-02-30", "-5000-01-01", "2026-13-45T99:99Z"),
]
"""Each means something else somewhere, or nothing. Each place gets those of ALWAYS and the next four."""

OTHERS = [0, -1, 2**63, 10**400, -0.5, True, None, [], {}, [[]], {"a": [{"b": "\ud800"}]}]
OTHERS += [float("nan"), float("inf"), -float("inf")]
USUAL = {"ids": [1], "until": 2e9, "queue": "metrics", "name": "x", "password": "correct horse", "old": "x"}

DOCUMENT = create_app(Context(Config(), None)).openapi()
schema = schemathesis.openapi.from_dict(DOCUMENT)
schema.config.generation.with_security_parameters = False  # who asks is real


@pytest.fixture(scope="module")
def dashboard(postgres_server):
    """A dashboard on a small campus, with queues and two admins."""
    with postgres_server.database() as name:
        with psycopg.connect(postgres_server.socket_conninfo(name)) as connection:
            migrate(connection)
            campus.build(connection, systems=60, labs=6, detailed=2, hours=2)
        url = postgres_server.url(name)
        for user in ("ada", "anna"):
            add_user(url, user, "admin")
        with Dashboard(url) as running:
            subprocess.run([LABMON, "setup-queues"], env=running.environ, check=True, capture_output=True)
            yield running


@pytest.fixture(scope="module")
def token(dashboard):
    """A token of an admin's, as a header."""
    return dashboard.token("ada", "admin")


@pytest.fixture(scope="module")
def session(dashboard):
    """What asks in a session, and logs in again when a request has ended it."""
    with dashboard.browser() as browser:

        def headers():
            me = browser.get("/api/v1/me")
            if me.status_code == 401:
                browser.post("/login", data={"name": "anna", "password": PASSWORD})
                me = browser.get("/api/v1/me")
            cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
            return {"Cookie": cookies, "X-CSRF-Token": me.json()["csrf"]}

        yield headers


@schema.exclude(path=ENDLESS).parametrize()
@SETTINGS
def test_each_answer_is_documented_and_none_is_an_error_of_ours(case, dashboard, token):
    answer = case.call_and_validate(base_url=dashboard.url, headers=token, checks=CHECKS)
    assert answer.status_code != 401 or case.path.endswith("/login")


@schema.include(tag="account").parametrize()
@SETTINGS
def test_the_same_in_a_session(case, dashboard, session):
    answer = case.call_and_validate(base_url=dashboard.url, headers=session(), checks=CHECKS)
    assert answer.status_code != 401 or case.path.endswith("/login")


def odd_requests():
    """Requests with one odd value each, all others usual: (method, path, query, body)."""
    texts, others = cycle(TEXTS), cycle(TEXTS + OTHERS)
    most = len(OTHERS + TEXTS) if EXAMPLES else 4
    for path, operations in DOCUMENT["paths"].items():
        for method, operation in operations.items():
            if path == ENDLESS or path.endswith("/login"):
                continue
            usual = dict.fromkeys(re.findall(r"{(\w+)}", path), "1")
            fields = fields_of(operation)
            body = {name: value for name, value in USUAL.items() if name in fields}
            for one in operation.get("parameters", []):
                for value in [*ALWAYS, *islice(texts, most)]:
                    if one["in"] == "query":
                        yield method, path.format(**usual), {one["name"]: value}, body
                    elif value:
                        yield method, path.format(**usual | {one["name"]: quoted(value)}), {}, body
            for name in fields:
                for value in [*ALWAYS, *islice(others, most)]:
                    yield method, path.format(**usual), {}, body | {name: value}


def fields_of(operation):
    if "requestBody" not in operation:
        return {}
    name = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    return DOCUMENT["components"]["schemas"][name]["properties"]


def quoted(text):
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


def test_an_odd_value_in_any_place_is_refused_in_words_or_taken(dashboard, token):
    faults = []
    with dashboard.browser(headers=token | {"content-type": "application/json"}) as program:
        for method, path, query, body in odd_requests():
            asked = path + "".join(f"?{name}={quoted(value)}" for name, value in query.items())
            answer = program.request(method, asked, content=json.dumps(body) if body else None)
            kind = answer.headers.get("content-type", "")
            if answer.status_code >= 500 or answer.status_code >= 400 and kind != "application/problem+json":
                faults.append((method, asked[:200], str(body)[:200], answer.status_code, answer.text[:200]))
    assert not faults
    assert "Traceback" not in dashboard.log


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b'{"ids": ' + b"[" * 100_000, b"\xff\xfe{}", b"{", b"9" * 10_000, b"null"]
)
def test_a_body_that_cannot_be_read_is_a_problem(dashboard, token, body):
    with dashboard.browser(headers=token | {"content-type": "application/json"}) as program:
        answer = program.post("/api/v1/alerts/ack", content=body)
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_document_says_in_words_what_each_operation_does_who_may_and_what_it_answers():
    operations = {
        (method, path): one for path, methods in DOCUMENT["paths"].items() for method, one in methods.items()
    }
    summaries = [one["summary"] for one in operations.values()]
    assert all(len(text.split()) > 1 or text.endswith("systems") for text in summaries), summaries
    assert len({one["operationId"] for one in operations.values()}) == len(operations)
    assert {path for (_, path), one in operations.items() if not one["security"]} == {"/api/v1/login"}
    assert "Needs the role operator." in operations["post", "/api/v1/alerts/ack"]["description"]
    assert "Needs the role admin." in operations["get", "/api/v1/audit"]["description"]
    for one in operations.values():
        assert "application/problem+json" in one["responses"]["default"]["content"]
    alerts = operations["get", "/api/v1/alerts"]["responses"]["200"]["content"]["application/json"]
    assert alerts["schema"]["$ref"].endswith("/IncidentPage")
    assert "acknowledged_by" in DOCUMENT["components"]["schemas"]["Incident"]["properties"]
