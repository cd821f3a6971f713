from datetime import UTC, datetime

import pytest

from labmon.app.fleet import FleetSource, Selection, inventory_file, known_database
from labmon.app.open import open_spool
from labmon.collect.lookup import Lookup
from labmon.collect.result import Target
from labmon.config.load import load
from labmon.config.tables import CollectConfig
from labmon.errors import StoreUnavailable, UsageError
from labmon.fleet import Fleet, Lab, Machine

FLEET = Fleet(
    read_at=datetime(2026, 3, 2, 9, tzinfo=UTC),
    machines=[
        Machine(address="10.0.0.1", system_id=1, dept_id=1, lab_id=11),
        Machine(address="10.0.0.2", system_id=2, dept_id=2, port=2222),
    ],
    labs=[Lab(lab_id=11, dept_id=1, name="A-101")],
    database="PostgreSQL at 127.0.0.1:1, database labmon",
    inventory="f" * 32,
)


@pytest.fixture
def source(tmp_path):
    environ = {
        "LABMON_STATE_DIR": str(tmp_path),
        "LABMON_DATABASE_URL": "postgresql://eva:secret@127.0.0.1:1/labmon?connect_timeout=1",
    }
    config = load(environ=environ).config
    return FleetSource(config.database, config.state, open_spool(config))


@pytest.mark.parametrize(
    ("selection", "ids"),
    [
        (Selection(everything=True), [1, 2]),
        (Selection(dept=2), [2]),
        (Selection(lab="a-101"), [1]),
        (Selection(lab="11"), [1]),
        (Selection(systems=(2,)), [2]),
        (Selection(hosts=("10.0.0.1", "10.0.0.1")), [1]),
    ],
)
def test_a_selection_names_machines_in_one_way(selection, ids):
    assert [one.system_id for one in selection.of(FLEET, Lookup(CollectConfig()))] == ids


def test_a_selection_says_it_in_exactly_one_way():
    for choice in ({}, {"everything": True, "dept": 1}, {"systems": (1,), "hosts": ("a",)}):
        with pytest.raises(UsageError, match="choose machines by one of"):
            Selection(**choice)
    with pytest.raises(UsageError, match="no system 3"):
        Selection(systems=(3,)).of(FLEET, Lookup(CollectConfig()))


def test_a_target_has_the_usual_port_unless_the_machine_has_its_own():
    assert [Target.of(one, 22, "here").port for one in FLEET.machines] == [22, 2222]
    assert Target.of(Machine(address="pc-1.example.edu"), 22, "here").is_name


def test_while_the_store_is_away_the_machines_are_those_of_the_last_time(source, tmp_path):
    FLEET.save(inventory_file(tmp_path))
    lines = []
    with source.open(Selection(everything=True), notice=lines.append) as (store, fleet):
        assert store is None
        assert [one.system_id for one in fleet.machines] == [1, 2]
    (line,) = lines
    assert "Using the inventory of" in line and "secret" not in line
    assert known_database(tmp_path) == FLEET.inventory


def test_the_copy_of_another_database_is_not_used(source, tmp_path):
    from msgspec.structs import replace

    replace(FLEET, database="elsewhere").save(inventory_file(tmp_path))
    with (
        pytest.raises(StoreUnavailable, match="is of elsewhere, so it is not used"),
        source.open(Selection(everything=True), notice=print),
    ):
        pass


def test_addresses_are_measured_without_any_database(source):
    lines = []
    with source.open(Selection(hosts=("10.0.0.9",)), notice=lines.append) as (store, fleet):
        assert (store, list(fleet.machines)) == (None, [])
    assert lines[0].endswith("Nothing will be stored")


def test_a_place_names_no_user_and_no_password(source, tmp_path):
    assert source.place == "PostgreSQL at 127.0.0.1:1, database labmon"
    config = load(environ={"LABMON_STATE_DIR": str(tmp_path)}).config
    embedded = FleetSource(config.database, config.state, open_spool(config))
    assert embedded.place == f"the embedded database in {tmp_path}"
    assert known_database(tmp_path) == ""
