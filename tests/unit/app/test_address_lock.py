import subprocess
import sys

import pytest

from labmon.app.address_lock import _overlap, held
from labmon.errors import AlreadyRunning, PermissionNeeded

HOLDER = """
import sys
from pathlib import Path
from labmon.app.address_lock import held
with held(Path(sys.argv[1]), [(10, 20)], "running"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that has 10 to 20."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "scans")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_an_overlapping_scan_is_refused_and_says_who_has_the_addresses(tmp_path, holder):
    for spans in ([(20, 30)], [(1, 2), (5, 10)], [(12, 13)], [(0, 99)]):
        with pytest.raises(AlreadyRunning, match=f"running: process {holder.pid}, since 20"):
            with held(tmp_path / "scans", spans, "running"):
                pass


def test_a_scan_of_other_addresses_runs_beside_it(tmp_path, holder):
    with (
        held(tmp_path / "scans", [(1, 9), (21, 30)], "running"),
        held(tmp_path / "scans", [(40, 50)], "running"),
    ):
        pass


def test_the_kernel_lets_go_when_the_holder_is_killed(tmp_path, holder):
    holder.kill()
    holder.wait()
    with held(tmp_path / "scans", [(10, 20)], "running"):
        assert len(list((tmp_path / "scans").glob("*.lock"))) == 1
    assert list((tmp_path / "scans").glob("*.lock")) == []


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(PermissionNeeded, match=r"\[state\] dir"):
        with held(tmp_path / "file" / "scans", [(1, 2)], "running"):
            pass


@pytest.mark.parametrize(
    "ours, theirs, expected",
    [([], [(1, 2)], False), ([(1, 2)], [(3, 4)], False), ([(1, 5), (9, 9)], [(6, 8), (9, 12)], True)],
)
def test_overlaps(ours, theirs, expected):
    assert _overlap(ours, theirs) is _overlap(theirs, ours) is expected
