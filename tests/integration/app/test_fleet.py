import pytest

from labmon.app.collect.setup import CollectSetup
from labmon.app.doctor import OK, examine
from labmon.app.fleet import Selection, inventory_file, known_database
from labmon.config.load import load
from labmon.fleet import Fleet
from labmon.messages import utcnow
from labmon.store.identity import database_id


@pytest.fixture
def config(store_url, tmp_path):
    return load(environ={"LABMON_DATABASE_URL": store_url, "LABMON_STATE_DIR": str(tmp_path)}).config


@pytest.fixture
def source(config, connection):
    connection.execute("INSERT INTO departments VALUES (1)")
    connection.execute("INSERT INTO systems (system_id, dept_id, ip_address) VALUES (42, 1, '10.0.0.1')")
    connection.commit()
    return CollectSetup.of(config).fleet


def test_the_machines_are_kept_on_disk_and_the_store_learns_how_full_the_spool_is(
    source, connection, tmp_path
):
    with source.open(Selection(everything=True), notice=print) as (store, fleet):
        assert store is not None
        assert [one.system_id for one in fleet.machines] == [42]
    assert known_database(tmp_path) == database_id(connection) == fleet.inventory
    assert Fleet.load(inventory_file(tmp_path)).database == source.place
    (file,) = connection.execute("SELECT file FROM spools").fetchone()
    assert file == str(tmp_path / "spool.db")


def test_the_copy_of_another_database_is_set_aside(source, tmp_path):
    Fleet(utcnow(), database="elsewhere", inventory="b" * 32).save(inventory_file(tmp_path))
    with source.open(Selection(everything=True), notice=print):
        pass
    assert Fleet.load(tmp_path / "inventory-bbbbbbbb.json").database == "elsewhere"
    assert Fleet.load(inventory_file(tmp_path)).database == source.place


def test_a_doctor_finds_a_good_database_and_no_worker(config):
    found = {one.check: one for one in examine(config)}
    assert (found["database"].state, found["alerts"].state) == (OK, OK)
    assert "no worker is running" in found["workers"].said
    assert "missing. Make them with: labmon setup-queues" in found["queue"].said
