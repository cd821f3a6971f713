"""What facts.sh prints, read: from recorded outputs, and from what no machine should print."""

import json
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labmon.collect.probe import facts, mounts
from labmon.collect.probe.parse import parse
from labmon.collect.probe.script import FACTS, SCRIPT, SETTINGS, FactsRequest, request
from labmon.facts import Disk, Facts, FileSystem, MachineFacts, told
from labmon.messages import MAX_BODY, decode, encode

DATA = Path(__file__).parents[3] / "data" / "facts"
CASES = sorted(path.stem for path in DATA.glob("*.txt"))
NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


@pytest.mark.parametrize("case", CASES)
def test_outputs_on_file_give_what_is_written_beside_them(case):
    output = (DATA / f"{case}.txt").read_bytes()
    expected = json.loads((DATA / f"{case}.json").read_text())
    report = parse(output, NOW)
    assert msgspec.to_builtins(report.facts) == expected["facts"]
    assert list(msgspec.to_builtins(report.mounts)) == expected["filesystems"]
    message = Facts(system_id=1, asked_at=NOW, facts=report.facts, filesystems=list(report.mounts or ()))
    assert decode(Facts, encode(message)) == message


def test_there_are_recordings_of_all_kinds():
    assert {"ubuntu-24", "debian-12", "fedora-41", "raspberry-pi-5", "container"} <= set(CASES)


def test_who_was_not_asked_has_told_nothing_and_windows_is_not_asked():
    probe = DATA.parent / "probe"
    for name in ("debian-12-dash", "windows-11", "macos-14"):
        report = parse((probe / f"{name}.txt").read_bytes(), NOW)
        assert (report.facts, report.mounts) == (None, None)
    command, script = request("OpenSSH_for_Windows_9.5", facts=FactsRequest())
    assert (command, script) == request("OpenSSH_for_Windows_9.5")


def test_the_usual_probe_is_sent_as_it_was():
    assert request("OpenSSH_9.2p1") == ("sh -s", SCRIPT)
    assert request("", facts=FactsRequest(), loop=True) == ("sh -s facts loop", FACTS + SCRIPT)


@pytest.mark.parametrize("path", ["/etc/image", "/etc/it's", "/a'; touch /tmp/x; '", "/$(id)`id`\\"])
def test_a_path_is_quoted(path):
    script = FactsRequest(path, sudo=True).script
    assert SETTINGS.sub(b"", script, count=1) == FACTS
    assert script.count(b"\n") == FACTS.count(b"\n") + 2


@pytest.mark.parametrize(
    "text",
    [
        *(
            "To be filled by O.E.M.",
            "To Be Filled By O.E.M",
            "Default string",
            "0123456789",
            "None",
            "00000000",
        ),
        *("System Serial Number", " ", "", "...", "N/A", "Not Specified", "FFFFFFFF", "xxxxxxx", "123456789"),
        *("0", "-", "INVALID", "System manufacturer", "not  applicable", "1111111111", "0000-0000"),
    ],
)
def test_what_nobody_filled_in_is_nothing(text):
    assert told(text) is None


@pytest.mark.parametrize("text", ["PF3ABC12", "5CG1234XYZ", "0012345", "MJ0", "Dell Inc."])
def test_what_somebody_filled_in_is_kept(text):
    assert told(text) == text


@given(st.lists(st.text(max_size=400)))
def test_whatever_it_says_fits_into_a_message_or_is_left_out(lines):
    for prefix in (
        "",
        "hostname ",
        "disk a\t",
        "gpu a\t",
        "unit ",
        "MemTotal: ",
        "btime ",
        "threads ",
        "mount ",
    ):
        said = ["sys block", "sys pci", "sys net", "units", *(prefix + line for line in lines)]
        found = facts.in_bounds(facts.read(said), MAX_BODY // 2)
        disks = list(mounts.read(said))
        message = Facts(system_id=1, asked_at=NOW, facts=found, filesystems=disks)
        assert decode(Facts, encode(message)) == message


def test_lists_are_cut_until_they_fit():
    long = "\N{SNOWMAN}" * 100
    disks = [Disk(name=f"{n}{long}", model=long, serial=long) for n in range(64)]
    cut = facts.in_bounds(MachineFacts(os="Debian", disks=disks, failed_units=["one"]), 20_000)
    assert len(encode(Facts(system_id=1, asked_at=NOW, facts=cut))) < 20_100
    assert (cut.os, cut.failed_units) == ("Debian", ["one"])
    assert cut.disks == disks[: len(cut.disks)] and cut.disks


def test_mounts_of_stat_and_of_df():
    assert mounts.read(
        [
            "mount 1000 400 300 4096 200 150 /",
            "mount 1000 400 300 4096 0 0 /srv/a b",
            "mount 0 0 0 4096 0 0 /proc",
            "mount 1000 400 300 4096 200 150 /",
            "mount 1000 400 x 4096 200 150 /bad",
            "/dev/sdb1  100 60 30 67% /data",
            "Filesystem 1024-blocks Used Available Capacity Mounted on",
        ]
    ) == (
        FileSystem(
            mount="/", total_bytes=4096000, used_bytes=2457600, used_percent=66.67, inodes_percent=25.0
        ),
        FileSystem(mount="/srv/a b", total_bytes=4096000, used_bytes=2457600, used_percent=66.67),
        FileSystem(mount="/data", total_bytes=102400, used_bytes=61440, used_percent=66.67),
    )
