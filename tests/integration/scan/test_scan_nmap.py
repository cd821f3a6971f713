"""What a sweep makes of an nmap that fails, with a program that only pretends to be nmap."""

from threading import Event

import pytest

from labmon.config.tables import ScanConfig
from labmon.errors import LabmonError
from labmon.scan.sweep import Sweep
from labmon.scan.targets.target_set import parse

HOST = '<host><status state="up" reason="echo-reply"/><address addr="127.0.0.{}" addrtype="ipv4"/></host>'
WHOLE = f'<nmaprun>{HOST.format(1)}{HOST.format(2)}<runstats><finished exit="success"/></runstats></nmaprun>'


@pytest.fixture
def nmap(tmp_path, monkeypatch):
    def pretend(output, code=0, error="", then=""):
        (tmp_path / "output").write_text(output)
        (tmp_path / "error").write_text(error)
        program = tmp_path / "nmap"
        program.write_text(
            f"#!/bin/sh\ncat '{tmp_path}/output'\ncat '{tmp_path}/error' >&2\n{then}\nexit {code}\n"
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")

    return pretend


def swept(hosts):
    targets = parse(["127.0.0.1-3"], max_hosts=10)
    for host in Sweep(targets, ScanConfig(names=False), method="nmap", stop=Event()):
        hosts.append(host.address)


def test_a_whole_output(nmap):
    hosts = []
    nmap(WHOLE)
    swept(hosts)
    assert hosts == ["127.0.0.1", "127.0.0.2"]


# findings E5
@pytest.mark.parametrize(
    "at", [WHOLE.index("<host><status", 20), WHOLE.index("<runstats>"), WHOLE.index("exit=")]
)
def test_an_output_that_is_cut_is_no_whole_scan_and_keeps_what_was_found(nmap, at):
    hosts = []
    nmap(WHOLE[:at])
    with pytest.raises(LabmonError, match="before it was finished"):
        swept(hosts)
    assert hosts[:1] == ["127.0.0.1"]


# findings E5, B5
@pytest.mark.parametrize("error", ["no \x1b[31mroute", "no \u2028route", "x" * 10_000])
def test_its_error_is_one_harmless_line(nmap, error):
    nmap("<nmaprun>", code=1, error=error)
    with pytest.raises(LabmonError) as raised:
        swept([])
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 400


def test_an_nmap_that_does_not_end_is_ended(nmap, monkeypatch):
    monkeypatch.setattr("labmon.scan.methods.nmap.GRACE", 0.2)
    nmap(WHOLE, then="exec >&- 2>&-; sleep 60")
    with pytest.raises(LabmonError, match="did not end"):
        swept([])
