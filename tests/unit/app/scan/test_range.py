import pytest

from labmon.app.scan.range import asked, targets
from labmon.config.tables import Config, ScanConfig
from labmon.errors import UsageError
from labmon.messages import MAX_RANGE
from labmon.scan.targets.target_set import Targets, parse


def chosen(*typed, exclude=()):
    return str(targets(typed, exclude, 1, Config().scan, None, force=False))


def test_what_is_excluded_is_left_out():
    assert (
        chosen("10.0.0.0/29", exclude=["10.0.0.3", "10.0.9.0/24"]) == "10.0.0.1-10.0.0.2, 10.0.0.4-10.0.0.6"
    )


def test_what_is_left_counts_against_the_limit():
    with pytest.raises(UsageError, match="max_hosts"):
        chosen("10.0.0.0/15", exclude=["10.0.0.1"])
    assert chosen("10.0.0.0/15", exclude=["10.1.0.0-10.1.255.255"]) == "10.0.0.1-10.0.255.255"


def test_a_file_of_ranges_and_what_the_configuration_excludes(tmp_path):
    (tmp_path / "labs.txt").write_text("10.0.0.0/30, 10.0.1.1  # two labs\n")
    config = Config(scan=ScanConfig(exclude=["10.0.0.2"], allow=["10.0.0.0/8"]))
    found = targets([f"@{tmp_path}/labs.txt"], [], 1, config.scan, None, force=False)
    assert str(found) == "10.0.0.1, 10.0.1.1"
    with pytest.raises(UsageError, match="allow"):
        targets(["192.168.0.1"], [], 1, config.scan, None, force=False)


def test_nothing_left_is_said():
    with pytest.raises(UsageError, match="nothing is left"):
        chosen("10.0.0.1", exclude=["10.0.0.0/24"])


def test_a_scan_asked_what_it_could_send_to():
    addresses = parse(["10.0.0.1-10.0.0.9"], max_hosts=100)
    assert asked(addresses, []) == "10.0.0.1-10.0.0.9"
    assert asked(addresses, ["10.0.0.9", "10.0.0.5"]) == "10.0.0.1-10.0.0.4, 10.0.0.6-10.0.0.8"
    assert asked(addresses, list(addresses)) == ""


def test_too_long_a_range_loses_its_end():
    odd = Targets((n, n) for n in range(10 << 24, (10 << 24) + 10_000, 2))
    text = asked(odd, [])
    assert len(text) <= MAX_RANGE
    assert str(odd).startswith(text + ", ")
