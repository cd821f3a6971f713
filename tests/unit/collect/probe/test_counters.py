from dataclasses import replace

import pytest

from labmon.collect.probe.counters import (
    Hardware,
    Sample,
    physical_links,
    rates,
    whole_disks,
    without_impossible,
)

NOTHING = Hardware()


def cpu(*ticks):
    return Sample(cpu=(*ticks, *[0] * (8 - len(ticks))))


def test_rates_are_per_second_of_the_real_interval():
    before = Sample(uptime=10.0, events={"ctxt": 100}, links={"eth0": (0, 0)}, disks={"sda": (0, 0)})
    after = Sample(
        uptime=310.0, events={"ctxt": 700}, links={"eth0": (300_000_000, 0)}, disks={"sda": (0, 600_000_000)}
    )

    found = rates(before, after, NOTHING)

    assert found == {
        "context_switch_rate": 2.0,
        "network_recv_mbps": 8.0,
        "network_sent_mbps": 0.0,
        "disk_read_mbps": 0.0,
        "disk_write_mbps": 2.0,
    }


@pytest.mark.parametrize(
    "grown, mbps, per_second",
    [
        (0, 0.0, 0.0),
        (5, 0.0, 0.08),
        (123_456, 0.016, 2060.0),
        (123_456_789, 16.5, 2_060_000.0),
        (12_345_678_901, 1650.0, 206_000_000.0),
    ],
)
def test_a_rate_has_three_digits_and_no_decimals_that_say_nothing(grown, mbps, per_second):
    before = Sample(uptime=100.0, events={"ctxt": 0}, links={"eth0": (0, 0)})
    after = Sample(uptime=160.0, events={"ctxt": grown}, links={"eth0": (grown, 0)})

    found = rates(before, after, NOTHING)

    assert (found["network_recv_mbps"], found["context_switch_rate"]) == (mbps, per_second)


@pytest.mark.parametrize(
    "before, after, expected",
    [
        ((0, 0, 0, 0), (25, 5, 20, 50), 50.0),
        ((0, 0, 0, 0, 0), (20, 0, 0, 40, 40), 20.0),  # waiting for the disk is not being busy
        ((0,) * 8, (0, 0, 0, 80, 0, 5, 5, 10), 20.0),  # interrupts and what the hypervisor took are
        ((10, 0, 0, 1000, 50), (60, 0, 0, 1050, 45), 50.0),  # iowait goes back a little
    ],
)
def test_cpu_is_what_is_neither_idle_nor_waiting(before, after, expected):
    assert rates(cpu(*before), cpu(*after), NOTHING)["cpu_percent"] == expected


@pytest.mark.parametrize(
    "before, after",
    [
        ((100, 0, 0, 0), (50, 0, 0, 100)),  # reset
        ((100, 0, 0, 9000), (200, 0, 0, 8000)),  # a processor was taken away, with its idle time
        ((5, 5, 5, 5), (5, 5, 5, 5)),  # no time has passed
    ],
)
def test_cpu_counters_that_make_no_sense_give_nothing(before, after):
    assert rates(cpu(*before), cpu(*after), NOTHING) == {}


def test_a_device_that_came_or_went_counts_no_more_than_its_growth():
    before = Sample(uptime=1.0, links={"eth0": (10**9, 0), "eth1": (5, 5)})
    after = Sample(uptime=2.0, links={"eth1": (5 + 125_000, 5), "usb0": (10**9, 10**9)})
    assert rates(before, after, NOTHING)["network_recv_mbps"] == 1.0


def test_one_device_that_was_reset_leaves_the_sum_unknown_in_that_direction():
    before = Sample(uptime=1.0, disks={"sda": (100, 0), "sdb": (10**9, 0)})
    after = Sample(uptime=2.0, disks={"sda": (500, 0), "sdb": (0, 10**6)})
    assert rates(before, after, NOTHING) == {"disk_write_mbps": 1.0}


LINKS = [
    "lo",
    "eth0",
    "docker0",
    "br-0a1b2c3d4e5f",
    "br0",
    "veth1a2b3c4",
    "vetha1b2c3d",
    "virbr0",
    "tun0",
    "wg0",
]


def test_only_hardware_is_counted():
    assert physical_links([*LINKS, "enp1s0", "bond0"], Hardware(links=frozenset({"enp1s0"}))) == {"enp1s0"}
    assert whole_disks(["sda", "sda1", "dm-0"], Hardware(disks=frozenset({"sda"}))) == {"sda"}


@pytest.mark.parametrize("links", [None, frozenset(), frozenset({"gone0"})])
def test_names_tell_where_sys_does_not(links):
    more = ["bond0", "eth0.100", "tap0", "cali0123456789a", "enp0s31f6", "wlan0", "brass0", "lost", "vnet12"]
    assert physical_links(LINKS + more, Hardware(links=links)) == {
        "eth0",
        "enp0s31f6",
        "wlan0",
        "brass0",
        "lost",
    }


def test_partitions_and_what_is_built_on_disks_are_told_by_name_too():
    names = ["sda", "sda1", "sdb12", "nvme0n1", "nvme0n1p1", "mmcblk0", "mmcblk0p2", "xvda1", "dm-3", "md127"]
    names += ["loop7", "ram0", "zram1", "sr0", "vda", "vda15", "cciss/c0d0", "cciss/c0d0p1"]
    assert whole_disks(names, NOTHING) == {
        *("sda", "nvme0n1", "mmcblk0", "vda", "cciss/c0d0"),
        *("sdb12", "xvda1"),  # without their disk they are all there is of it
    }


TIME = Sample(uptime=3600.0, boot_id="b", cpu_per_second=400)  # four processors, an hour


# findings A6: counters that cannot be, whether they go back or stand still
@pytest.mark.parametrize(
    "ticks, possible",
    [
        ((700_000, 0, 0, 700_000), True),
        ((1_440_000, 0, 0, 0), True),  # all busy since the start
        ((57_356, 0, 0, 15_910_903_933_238_771_776), False),  # below zero, and constant
        ((0, 0, 0, 10**9, 0, 0, 0, 0), False),
        ((0, 0, 0, 100, 0, 0, 0, 2**63), False),  # what a hypervisor stole
        ((2**64, 0, 0, 0), False),
    ],
)
def test_ticks_are_no_more_than_the_processors_had_since_the_start(ticks, possible):
    sample = replace(TIME, cpu=ticks)
    checked, names = without_impossible(sample, NOTHING, 3600.0)
    assert (checked.cpu, names) == ((ticks, ()) if possible else (None, ("cpu",)))


def test_counters_of_the_host_may_be_older_than_the_container():
    sample = replace(TIME, uptime=60.0, cpu=(0, 0, 0, 10**9))
    assert without_impossible(sample, NOTHING, 60.0)[1] == ("cpu",)
    assert without_impossible(sample, NOTHING, 86400.0 * 100)[1] == ()


@pytest.mark.parametrize(
    "field, counters, name",
    [
        ("links", {"eth0": (2**63, 0)}, "network"),
        ("links", {"eth0": (0, 10**15)}, "network"),  # 2.2 Tbit/s all the time
        ("disks", {"sda": (2**72, 0)}, "disk I/O"),
        ("disks", {"sda": (5, 5), "sdb": (0, 10**16)}, "disk I/O"),  # a sum would lack sdb
        ("events", {"ctxt": 10**18}, "ctxt"),
    ],
)
def test_other_counters_are_bound_by_the_time_too(field, counters, name):
    checked, names = without_impossible(replace(TIME, **{field: counters}), NOTHING, 3600.0)
    assert (getattr(checked, field), names) == ({}, (name,))


def test_a_device_that_is_not_counted_may_say_what_it_likes():
    sample = replace(TIME, links={"eth0": (5, 5), "lo": (10**17, 10**17)}, disks={"loop0": (2**72, 0)})
    assert without_impossible(sample, NOTHING, 3600.0) == (sample, ())


def test_without_a_clock_a_counter_still_has_64_bits():
    sample = Sample(cpu=(2**63, 0, 0, 1), links={"eth0": (2**64, 0)}, disks={"sda": (10**18, 0)})
    checked, names = without_impossible(sample, NOTHING, None)
    assert names == ("network",)
    assert checked.cpu == sample.cpu and checked.disks == sample.disks


@pytest.mark.parametrize(
    "grown, expected", [(4000, 100.0), (5999, 100.0), (40_000, None), (10**15, None)], ids=str
)
def test_processors_count_no_more_ticks_than_there_is_time(grown, expected):
    """Ten seconds of four processors: 4,000."""
    before = replace(TIME, cpu=(0, 0, 0, 0))
    after = replace(TIME, uptime=3610.0, cpu=(grown, 0, 0, 0))
    assert rates(before, after, NOTHING).get("cpu_percent") == expected
