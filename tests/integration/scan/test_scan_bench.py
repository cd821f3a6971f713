"""The bench runs, and finds everybody."""

import os
import shutil

import pytest

from tests.bench import scan
from tests.support import netns


@pytest.fixture
def nmap():
    """Skip at the desk where it is not installed; fail where CI=true."""
    if not shutil.which("nmap"):
        reason = "needs nmap: apt-get install nmap"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)


def test_the_bench_finds_everybody_beside_nmap(nmap, capsys):
    netns.require()
    patient, line = scan.main(["--runs", "1", "--only", "link"])
    assert [run.found for run in (*patient.ours, *line.ours)] == [51, 51]
    assert line.remark == "51 of 51 MAC addresses right" and line.also
    assert "nmap -sn -n" in capsys.readouterr().out


def test_the_bench_stores_what_it_finds(postgres_server, capsys):
    netns.require()
    new, known = scan.main(["--runs", "1", "--only", "store"])
    assert [run.found for run in (*new.ours, *known.ours, *new.peers)] == [2000] * 3
    assert "storing takes" in capsys.readouterr().out


@pytest.mark.parametrize(
    "changed, met",
    [({}, True), ({"limit": 0.4}, False), ({"also": False}, False), ({"live": 11}, False)],
)
def test_a_line_is_met_when_all_its_limits_are(changed, met):
    run, peer = scan.Run(1.0, 10), scan.Run(2.0, 10)
    line = scan.Line(**{"what": "", "live": 10, "ours": [run], "peers": [peer], "limit": 0.5, **changed})
    assert line.met is met
