"""The bench runs, and finds everybody."""

import shutil

import pytest

from tests import netns
from tests.bench import scan


@pytest.fixture
def nmap():
    if not shutil.which("nmap"):
        pytest.skip("needs nmap: apt-get install nmap")


def test_the_bench_finds_everybody(nmap, capsys):
    netns.require()
    (line,) = scan.main(["--runs", "1", "--only", "link"])
    assert [run.found for run in line.ours] == [51]
    assert line.remark == "51 of 51 MAC addresses right"
    assert "nmap -sn -n" in capsys.readouterr().out
