"""labmon where a newcomer puts it: in a folder of one's own that is closed to everybody else."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

NOBODY = 65534
REPOSITORY = Path(__file__).parents[2]
NOT_NEEDED = ("mypy*", "*__mypyc*", "pip", "pip-*", "hypothesis*", "ruff*", "setuptools*", "pkg_resources*")

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")


def identity(uid):
    return {} if uid == os.geteuid() else {"user": uid, "group": uid, "extra_groups": []}


def can_run(uid, python):
    try:
        return subprocess.run([python, "-c", "import ensurepip"], cwd="/", **identity(uid)).returncode == 0
    except OSError:
        return False


def python_for(uid):
    """A Python of the version of the tests that the account may run: the one of the tests may be root's."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (Path(sys.base_prefix, "bin", version), Path("/usr/bin", version)):
        if can_run(uid, python):
            return python
    pytest.skip(f"no {version} that the account {uid} may run")


def link_or_copy(source, target):
    try:
        os.link(source, target)
    except OSError:  # another disk
        shutil.copy2(source, target)


def install(folder, python):
    """A virtual environment with labmon itself and all that it needs in it. Links keep it cheap."""
    subprocess.run([python, "-m", "venv", "--without-pip", folder], check=True)
    (ours,) = folder.glob("lib/python*/site-packages")
    theirs = Path(pytest.__file__).parents[1]
    ignored = shutil.ignore_patterns(*NOT_NEEDED)
    shutil.copytree(theirs, ours, dirs_exist_ok=True, copy_function=link_or_copy, ignore=ignored)
    shutil.copytree(REPOSITORY / "labmon", ours / "labmon")
    return folder / "bin/python"


@pytest.fixture
def closed():
    """A folder in a place where everybody may enter; itself it is closed as a home is."""
    folder = Path(tempfile.mkdtemp(prefix="labmon-closed-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


def demo(closed, uid):
    python = install(closed / "venv", python_for(uid))
    if uid != os.geteuid():
        os.chown(closed, uid, uid)
    assert closed.stat().st_mode & 0o777 == 0o700
    return subprocess.run(
        [python, "-m", "labmon", "demo"],
        env={"HOME": str(closed), "PATH": os.environ["PATH"]},
        cwd=closed,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        **identity(uid),
    )


@pytest.mark.parametrize("uid", [os.geteuid(), pytest.param(NOBODY, marks=as_root)], ids=["us", "another"])
def test_the_demo_runs_from_a_folder_closed_to_others(closed, uid):
    done = demo(closed, uid)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.count("127.0.0.") >= 12
