from datetime import UTC, datetime

import pytest

from labmon.errors import UsageError
from labmon.messages import Discovery
from labmon.store.inventory import labs
from labmon.store.inventory.life.edit import edit
from labmon.store.inventory.statuses import set_status
from labmon.store.inventory.systems import check_known, record_discoveries, systems

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def machines(connection):
    """1 to 4 in department 1, 5 in department 2."""
    found = [
        Discovery(
            scan_id=1, dept_id=1 + n // 5, ip_address=f"10.0.0.{n}", discovered_at=NOON, scan_type="ping"
        )
        for n in range(1, 6)
    ]
    record_discoveries(connection, found)
    connection.commit()


def span(first, last):
    return f"10.0.0.{first}", f"10.0.0.{last}"


def test_machines_are_put_into_a_lab_by_address_and_number(connection, machines):
    lab = labs.make(connection, 1, "A-101")
    assert labs.within(connection, [span(1, 2), span(2, 3), span(5, 9)], dept=1) == [1, 2, 3]
    assert labs.place(connection, [1, 2, 3], lab) == 3
    assert labs.place(connection, [1, 2, 3, 4], lab) == 1
    set_status(connection, [1], "active")
    assert labs.labs(connection, dept=1) == [labs.LabSummary(lab, 1, "A-101", 4, 1)]
    assert [one.system_id for one in systems(connection, lab=lab)] == [1, 2, 3, 4]
    assert {one.lab for one in systems(connection, lab=lab)} == {"A-101"}
    assert labs.take_out(connection, [1, 5], lab) == 1
    assert labs.remove(connection, lab) == 3
    assert labs.labs(connection) == []
    assert {one.lab_id for one in systems(connection)} == {None}


def test_a_machine_of_another_department_is_refused(connection, machines):
    lab = labs.make(connection, 1, "A-101")
    with pytest.raises(UsageError, match="system 5 belongs to department 2, and the lab to department 1"):
        labs.place(connection, [4, 5], lab)
    labs.place(connection, [5], None)


def test_names_are_unique_within_a_department(connection, machines):
    lab = labs.make(connection, 1, "A-101")
    connection.execute("INSERT INTO departments (dept_id) VALUES (3)")
    labs.make(connection, 3, "A-101")
    other = labs.make(connection, 1, "A-102")
    with pytest.raises(UsageError, match="department 1 has a lab 'A-101' already"):
        labs.make(connection, 1, "A-101")
    with pytest.raises(UsageError, match="'A-101' already"):
        labs.rename(connection, other, "A-101")
    labs.rename(connection, lab, "A-101")
    labs.rename(connection, lab, "A-100")
    assert [(one.dept_id, one.name) for one in labs.names(connection)] == [
        (1, "A-100"),
        (3, "A-101"),
        (1, "A-102"),
    ]


def test_a_port_and_a_name_are_set_and_the_usual_port_comes_back(connection, machines):
    edit(connection, [1, 2], port=2222)
    edit(connection, [1], hostname="pc-1")
    one, two, *_ = systems(connection)
    assert (one.ssh_port, one.hostname, two.ssh_port, two.hostname) == (2222, "pc-1", 2222, None)
    edit(connection, [1], port=0)
    assert (systems(connection)[0].ssh_port, systems(connection)[0].hostname) == (None, "pc-1")


def test_the_first_unknown_number_is_named(connection, machines):
    check_known(connection, [1, 5])
    check_known(connection, [])
    with pytest.raises(UsageError, match="no system 6"):
        check_known(connection, [7, 1, 6])
    with pytest.raises(UsageError, match="no system 99999999999"):
        check_known(connection, [99999999999])
