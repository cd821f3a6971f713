"""What others put into the embedded server's folder is not believed, and nothing is given away to them."""

import os
import pwd
from pathlib import Path

import pytest

from labmon.errors import PermissionNeeded
from labmon.store.embedded import Embedded

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")


@pytest.fixture
def ours(tmp_path):
    """A folder that must stay ours, with a file in it."""
    folder = tmp_path / "ours"
    folder.mkdir(mode=0o755)
    (folder / "file").touch(mode=0o644)
    yield folder
    for path in (folder, folder / "file"):
        assert path.stat().st_uid == os.geteuid()
    assert folder.stat().st_mode & 0o777 == 0o755
    assert (folder / "file").stat().st_mode & 0o777 == 0o644


def test_a_link_in_the_place_of_the_socket_s_folder_is_not_followed(kept, ours):
    sockets = kept / "postgres/socket"
    sockets.rmdir()
    sockets.symlink_to(ours)
    with pytest.raises(PermissionNeeded, match="socket is a symbolic link"):
        Embedded(kept)


def test_a_link_in_the_place_of_the_short_socket_s_folder_is_not_followed(state, ours, tmp_path, monkeypatch):
    deep = state / ("d" * 100)
    deep.mkdir(mode=0o711)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Embedded(deep) as server:
        short = server._sockets
    assert short.parent in (tmp_path, Path("/tmp"))
    short.symlink_to(ours)
    try:
        with pytest.raises(PermissionNeeded, match="is a symbolic link"):
            Embedded(deep)
    finally:
        short.unlink()


def test_new_data_is_not_made_through_a_link(state, ours):
    (state / "postgres").mkdir(mode=0o711)
    (state / "postgres/data.new").symlink_to(ours)
    with pytest.raises(PermissionNeeded, match=r"data\.new is a symbolic link"):
        Embedded(state)


@pytest.mark.parametrize("name", ["server.lock", "users.lock", "running.lock"])
@pytest.mark.parametrize("make", ["symlink_to", "hardlink_to"])
def test_a_lock_that_is_a_link_is_refused(kept, ours, name, make):
    lock = kept / "postgres" / name
    lock.unlink()
    getattr(lock, make)(ours / "file")
    with pytest.raises(PermissionNeeded, match=f"{name} is"):
        Embedded(kept)


def test_a_lock_that_is_no_file_is_refused(kept):
    (kept / "postgres/users.lock").unlink()
    os.mkfifo(kept / "postgres/users.lock")
    with pytest.raises(PermissionNeeded, match=r"users\.lock is no file"):
        Embedded(kept)


@as_root
def test_a_lock_of_another_account_is_refused(kept):
    os.chown(kept / "postgres/users.lock", NOBODY, NOBODY)
    with pytest.raises(PermissionNeeded, match=r"users\.lock is no file that root made"):
        Embedded(kept)


def test_locks_are_for_nobody_else_to_open(kept):
    locks = [kept / "postgres" / name for name in ("server.lock", "users.lock", "running.lock")]
    for lock in locks:
        lock.chmod(0o666)
    with Embedded(kept):
        pass
    assert [lock.stat().st_mode & 0o777 for lock in locks] == [0o600] * 3


@as_root
@pytest.mark.parametrize("whose", [".", "postgres"])
def test_a_folder_of_another_account_is_refused(kept, whose):
    os.chown(kept / whose, NOBODY, NOBODY)
    with pytest.raises(PermissionNeeded, match="belongs to nobody, and root keeps no database there"):
        Embedded(kept)


@as_root
def test_root_makes_nothing_where_another_account_s_link_leads(state, ours):
    theirs = state / "theirs"
    theirs.mkdir()
    (theirs / "state").symlink_to(ours)
    os.chown(theirs / "state", NOBODY, NOBODY, follow_symlinks=False)
    os.chown(theirs, NOBODY, NOBODY)
    with pytest.raises(PermissionNeeded, match="belongs to nobody"):
        Embedded(theirs / "state")
    assert [path.name for path in ours.iterdir()] == ["file"]


@as_root
def test_root_keeps_no_database_below_a_folder_of_another_account(state):
    os.chown(state, NOBODY, NOBODY)
    (state / "of-root").mkdir(mode=0o711)
    with pytest.raises(PermissionNeeded, match=f"{state} belongs to nobody"):
        Embedded(state / "of-root/state")
    assert not list((state / "of-root").iterdir())


@pytest.mark.parametrize("whose", [".", "postgres"])
def test_a_folder_where_everybody_may_write_is_refused(kept, whose):
    (kept / whose).chmod(0o777)
    with pytest.raises(PermissionNeeded, match="Run: chmod go-w"):
        Embedded(kept)


def test_a_folder_where_its_owner_s_own_group_may_write_is_taken(kept):
    if any(entry.pw_gid == os.getegid() and entry.pw_uid != os.geteuid() for entry in pwd.getpwall()):
        pytest.skip("the group of this account is others' too")
    kept.chmod(0o775)
    with Embedded(kept):
        pass


@as_root
def test_a_folder_where_a_group_of_others_may_write_is_refused(kept):
    os.chown(kept, 0, NOBODY)
    kept.chmod(0o775)
    with pytest.raises(PermissionNeeded, match="other accounts may write there"):
        Embedded(kept)
