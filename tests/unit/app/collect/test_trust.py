from contextlib import closing

import pytest

from labmon.app.collect.setup import CollectSetup
from labmon.app.collect.trust import key_changes
from labmon.app.fleet import inventory_file
from labmon.collect.hostkeys.pins import Pins
from labmon.collect.hostkeys.policy import FILE, pin_of
from labmon.config.load import load
from labmon.errors import UsageError
from labmon.fleet import Fleet, Machine
from labmon.messages import utcnow

OURS = "a" * 32
KEY, NEW = ("ssh-ed25519", b"old"), ("ssh-ed25519", b"new")


@pytest.fixture
def setup(tmp_path):
    """Two machines known from the last time; the first showed another key than before. The store is away."""
    environ = {
        "LABMON_STATE_DIR": str(tmp_path),
        "LABMON_DATABASE_URL": "postgresql://127.0.0.1:1/labmon?connect_timeout=1",
    }
    setup = CollectSetup.of(load(environ=environ).config)
    machines = [Machine(address=f"10.0.0.{n}", system_id=n, dept_id=n, name=f"pc-{n}") for n in (1, 2)]
    fleet = Fleet(utcnow(), machines=machines, database=setup.fleet.place, inventory=OURS)
    fleet.save(inventory_file(tmp_path))
    with closing(Pins(tmp_path / FILE)) as pins:
        pins.refuse(pin_of(1, OURS), NEW, "10.0.0.1", changed=True)
        pins.refuse(pin_of(7, "b" * 32), NEW, "10.0.0.7", changed=True)  # of another database
    return setup


def changes(setup, *machines, dept=None, unseen=False):
    return key_changes(setup, machines, None, dept, unseen=unseen, notice=lambda _: None)


def test_without_a_name_it_is_every_refused_machine_of_this_inventory(setup):
    with changes(setup) as found:
        assert [(row.system_id, row.hostname) for row in found.rows] == [(1, "pc-1")]


def test_an_accepted_key_is_no_change_any_more(setup, tmp_path):
    with changes(setup, "pc-1") as found:
        found.accept()
    with changes(setup, "1") as found:
        assert (found.rows, found.refused) == ([], [])
    with closing(Pins(tmp_path / FILE)) as pins:
        assert pins.keys(pin_of(1, OURS)) == [NEW]


def test_machines_are_named_by_department_id_address_or_name(setup):
    with changes(setup, dept=2, unseen=True) as found:
        assert [row.system_id for row in found.rows] == [2]
        found.expect()
    for name in ("2", "10.0.0.2", "PC-2"):
        with changes(setup, name) as found:
            assert list(found.wanted) == [pin_of(2, OURS)]
    with pytest.raises(UsageError, match="no machine pc-9"), changes(setup, "pc-9"):
        pass
