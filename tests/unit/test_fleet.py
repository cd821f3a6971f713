import os
from datetime import UTC, datetime, timedelta

import pytest

from labmon.errors import UsageError
from labmon.fleet import Fleet, Lab, Machine, find_lab, labs_called

NOW = datetime.now(UTC)
LABS = [Lab(3, 1, "A-101"), Lab(4, 1, "12"), Lab(12, 2, "B"), Lab(13, 2, "a-101")]


def fleet(*, seen_at=None, name="pc-1"):
    machine = Machine(
        address="10.0.0.1", system_id=1, dept_id=1, lab_id=3, name=name, port=2222, seen_at=seen_at
    )
    return Fleet(NOW, [machine, Machine(address="2001:db8::1", system_id=2, dept_id=1)], LABS)


def test_what_is_kept_is_read_back_with_its_age(tmp_path):
    path = tmp_path / "state" / "inventory.json"
    fleet().save(path)
    back = Fleet.load(path)
    assert (back.machines, back.labs) == (fleet().machines, fleet().labs)
    assert abs(back.read_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert os.listdir(path.parent) == ["inventory.json"]


def test_it_is_written_only_when_something_changed_and_its_time_is_kept_up(tmp_path):
    path = tmp_path / "inventory.json"
    fleet().save(path)
    inode = path.stat().st_ino
    os.utime(path, (0, 0))
    fleet(seen_at=NOW).save(path)
    assert path.stat().st_ino == inode
    assert Fleet.load(path).read_at > NOW - timedelta(minutes=1)
    fleet(name="other").save(path)
    assert Fleet.load(path).machines[0].name == "other"


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff", b'{"machines": [{}], "labs": []}'])
def test_what_cannot_be_read_is_as_good_as_none(tmp_path, content):
    path = tmp_path / "inventory.json"
    assert Fleet.load(path) is None
    path.write_bytes(content)
    assert Fleet.load(path) is None


def test_a_place_that_takes_nothing_is_no_error(tmp_path):
    (tmp_path / "state").write_text("no folder")
    fleet().save(tmp_path / "state" / "inventory.json")


@pytest.mark.parametrize("text, number", [("3", 3), ("12", 12), ("4", 4), ("b", 12), (" B ", 12)])
def test_a_lab_is_found_by_number_and_then_by_name(text, number):
    assert find_lab(text, LABS) == number


def test_a_number_that_no_lab_has_may_be_a_name():
    assert find_lab("12", LABS[:2]) == 4


def test_an_unknown_and_an_ambiguous_name_say_the_next_step():
    with pytest.raises(UsageError, match="no lab 'C'. See: labmon labs list"):
        find_lab("C", LABS)
    with pytest.raises(UsageError, match=r"3 \(department 1\), 13 \(department 2\)"):
        find_lab("a-101", LABS)
    assert labs_called("C", LABS) == []
