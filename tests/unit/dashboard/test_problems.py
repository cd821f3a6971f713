"""Errors as answers: the right status, and nothing that is nobody's business."""

import pytest
from fastapi.exceptions import RequestValidationError
from psycopg.errors import NumericValueOutOfRange
from starlette.exceptions import HTTPException

from labmon.dashboard.accounts import NoSuchUser
from labmon.dashboard.api import problems
from labmon.dashboard.security.passwords import Busy
from labmon.errors import AlreadyRunning, BrokerUnavailable, StoreUnavailable, UsageError


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UsageError("x"), 422),
        (NoSuchUser("x"), 404),
        (Busy("x"), 503),
        (AlreadyRunning("x"), 409),
        (StoreUnavailable("x"), 503),
        (BrokerUnavailable("x"), 503),
        (NumericValueOutOfRange("x"), 422),
        (HTTPException(404), 404),
        (HTTPException(405), 405),
        (ZeroDivisionError("x"), 500),
    ],
    ids=lambda one: type(one).__name__,
)
def test_each_error_has_its_status(error, status):
    assert problems.of(error).status == status


def test_a_bug_says_nothing_of_itself():
    assert "secret" not in problems.of(RuntimeError("secret")).detail


def test_a_password_in_a_text_is_masked():
    told = problems.of(StoreUnavailable("postgresql://labmon:hunter2@db/labmon: away")).detail
    assert "hunter2" not in told and "db/labmon" in told


def test_what_is_wrong_with_a_field_is_said_without_its_value():
    faults = [{"loc": ("body", "password"), "msg": "Value is too short", "input": "hunter2"}]
    assert problems.of(RequestValidationError(faults)).detail == "password: Value is too short"
