import pytest

from labmon.app.check_config import faults
from labmon.config.load import load


def found(**environ):
    return list(faults(load(environ=environ)))


def test_a_good_configuration_has_no_faults():
    assert found() == []
    assert found(LABMON_DATABASE_URL="postgresql://db.example.edu/labmon") == []


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        (
            {"LABMON_DATABASE_URL": "mysql://u:secret@db/x"},
            "[database] url: it does not begin with postgresql://",
        ),
        ({"LABMON_DATABASE_URL": "postgresql://db:port/x"}, "[database] url"),
        ({"LABMON_COLLECT_ALLOW": "10.0.0.0/99"}, "[collect] allow"),
        ({"LABMON_COLLECT_PROXY_JUMP": "a b"}, "[collect] proxy_jump"),
        ({"LABMON_SCAN_EXCLUDE": "10.0.0.0/99"}, "[scan] exclude"),
    ],
)
def test_each_fault_names_its_source_and_its_key(environ, says):
    (fault,) = found(**environ)
    assert says in fault
    assert next(iter(environ)) in fault
    assert "secret" not in fault
