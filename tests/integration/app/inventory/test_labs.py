import pytest

from labmon.app.alerts import maintenance
from labmon.app.inventory import labs
from labmon.app.scope import dept_id, lab_id, scope
from labmon.errors import UsageError
from labmon.store.inventory.maintenance import Scope


@pytest.fixture
def rooms(connection):
    """rooms(lab, dept, **what) changes a lab of department 1, which has machines 1 to 3 at 10.0.0.1 to 3."""
    connection.execute("INSERT INTO departments VALUES (1), (2)")
    connection.execute(
        "INSERT INTO systems (system_id, dept_id, ip_address) "
        "SELECT n, 1, '10.0.0.0'::inet + n FROM generate_series(1, 3) AS n"
    )

    def change(lab, dept=None, *, name=None, add=(), remove=()):
        return labs.set_lab(
            connection, lab, dept, name=name, add=add, remove=remove, notice=change.lines.append
        )

    change.lines = []
    return change


def test_a_lab_is_made_with_its_systems_and_changing_it_again_changes_nothing(rooms):
    made = rooms("A-101", 1, add=["10.0.0.1-10.0.0.2", "3"])
    assert (made.made, made.added, made.lab.systems) == (True, 3, 3)
    again = rooms("A-101", add=["10.0.0.1"], remove=["2"], name="A-102")
    assert (again.made, again.added, again.removed, again.lab.name) == (False, 0, 1, "A-102")


def test_an_address_without_a_system_is_noticed_and_an_unknown_id_refused(rooms):
    rooms("A-101", 1, add=["10.0.9.0/24"])
    assert "no system of department 1 is at 10.0.9.0/24" in rooms.lines[0]
    with pytest.raises(UsageError, match="no system 99"):
        rooms("A-101", add=["99"])
    with pytest.raises(UsageError, match="give its department"):
        rooms("B-1")


def test_a_lab_takes_its_maintenance_along(rooms, connection):
    number = rooms("A-101", 1).lab.lab_id
    made = maintenance.plan(
        connection, "skip", Scope(lab_id=number), None, None, weekly="Sun", timezone="UTC", comment=None
    )
    assert labs.find(connection, "a-101", None).lab_id == number
    assert labs.depending(connection, number) == [f"maintenance {made.maintenance_id} (lab {number}, Sun)"]


def test_a_scope_is_one_thing_that_exists(rooms, connection):
    number = rooms("A-101", 1).lab.lab_id
    assert scope(connection, None, "A-101", None) == Scope(lab_id=number)
    assert scope(connection, "2", None, None) == Scope(2)
    assert scope(connection, None, None, "10.0.0.3") == Scope(system_id=3)
    assert lab_id(connection, None) is None
    with pytest.raises(UsageError, match="only one of"):
        scope(connection, "1", "A-101", None)
    with pytest.raises(UsageError, match="no department 3"):
        dept_id(connection, "3")
    with pytest.raises(UsageError, match="no system 9"):
        scope(connection, None, None, "9")
