import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labmon.collect.failures import HostFailed
from labmon.collect.probe.counters import Sample
from labmon.collect.probe.parse import MAX_SKEW, parse
from labmon.messages import Metrics, Readings, decode, encode

DATA = Path(__file__).parents[3] / "data" / "probe"
CASES = sorted(path.stem for path in DATA.glob("*.json"))
NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
DESKTOP = (DATA / "desktop-with-gpus.txt").read_bytes()


@pytest.mark.parametrize("case", CASES)
def test_outputs_on_file_give_what_is_written_beside_them(case):
    output = (DATA / f"{case}.txt").read_bytes()
    expected = json.loads((DATA / f"{case}.json").read_text())
    received_at = datetime.fromisoformat(expected["received_at"])

    if "failure" in expected:
        with pytest.raises(HostFailed) as caught:
            parse(output, received_at)
        reason, words = expected["failure"]
        assert caught.value.failure.reason == reason
        assert words in caught.value.failure.detail
        return

    report = parse(output, received_at)
    assert msgspec.to_builtins(report.readings) == expected["readings"]
    assert list(report.missing) == expected["missing"]
    assert report.collected_at == datetime.fromisoformat(expected["collected_at"])
    assert report.clock_skew == expected["clock_skew"]
    assert report.sample.boot_id == expected["boot_id"]


def test_every_output_on_file_has_its_expectation():
    assert {path.stem for path in DATA.glob("*.txt")} == set(CASES)


@pytest.mark.parametrize(
    "part, fields",
    {
        "hardware": set(),
        "disks": {"disk_total_bytes"},
        "temperature": {"cpu_temperature_celsius"},
        "users": {"logged_in_users"},
        "processes": {"process_count"},
        "root": {"disk_percent"},
        "gpu": {"gpu_percent", "gpu_memory_percent", "gpu_temperature_celsius", "gpu_count"},
        "time": set(),
    }.items(),
)
def test_a_missing_part_costs_only_itself(part, fields):
    whole = msgspec.to_builtins(parse(DESKTOP, NOW).readings)
    before, _, rest = DESKTOP.partition(b"#" + part.encode() + b"\n")
    without = before + b"#" + rest.split(b"\n#", 1)[1]

    left = msgspec.to_builtins(parse(without, NOW).readings)

    assert left == {name: value for name, value in whole.items() if name not in fields}


DISKS_ON_FILE = (1000215216 + 3907029168) * 512


@pytest.mark.parametrize(
    "line, more",
    {
        "disk sdx 100 0 0 running 0 /sys/devices/pci0000:00/ata3/host2": 100 * 512,
        "disk sdx 100 0 - - - /sys/devices/pci0000:00/ata3/host2": 100 * 512,  # an old kernel
        "disk vda 100 0 0 - - /sys/devices/pci0000:00/0000:00:02.0/virtio1": 100 * 512,
        "disk cciss!c0d0 100 0 0 - - /sys/devices/pci0000:00/cciss0/c0d0": 100 * 512,
        "disk mmcblk1 100 0 0 - MMC /sys/devices/platform/emmc/mmc_host/mmc1/mmc1:0001": 100 * 512,
        "disk mmcblk1boot0 8 0 0 - - /sys/devices/platform/emmc/mmc_host/mmc1/mmc1:0001/block/mmcblk1": 0,
        "disk mmcblk1 100 0 0 - SD /sys/devices/platform/emmc/mmc_host/mmc1/mmc1:0001": 0,
        "disk sdx 100 1 0 running 0 /sys/devices/pci0000:00/ata3/host2": 0,
        "disk nvme1c0n1 100 0 1 live - /sys/devices/pci0000:00/nvme/nvme1": 0,
        "disk sdx 100 0 0 offline 0 /sys/devices/pci0000:00/ata3/host2": 0,
        "disk nvme1n1 100 0 0 dead - /sys/devices/pci0000:00/nvme/nvme1": 0,
        "disk nvme1n1 100 0 0 resetting - /sys/devices/pci0000:00/nvme/nvme1": 100 * 512,  # it comes back
        "disk sdx 100 0 0 running 0 /sys/devices/pci0000:00/0000:00:14.0/usb2/2-1/2-1:1.0/host7": 0,
        "disk sdx 100 0 0 running 0 /sys/devices/pci0000:00/0000:04:00.0/fw1/fw1.0/host7": 0,
        "disk sdx 100 0 0 running 0 /sys/devices/platform/host9/session1/target9:0:0/9:0:0:0": 0,
        "disk sdx 100 0 0 running 0 /sys/devices/pci0000:00/host1/rport-1:0-2/target1:0:0/1:0:0:0": 0,
        "disk nvme1n1 100 0 0 live - /sys/devices/virtual/nvme-fabrics/ctl/nvme1": 0,
        "disk rbd0 100 0 0 - - /sys/devices/rbd/0": 0,
        "disk mtdblock0 100 0 0 - nor /sys/devices/platform/spi/mtd/mtd0": 0,
        "disk sdx - 1 0 running 0 /sys/devices/pci0000:00/ata3/host2": 0,  # not counted anyway
        "disk sdx 0 0 0 running 0 /sys/devices/pci0000:00/ata3/host2": 0,
        "disk sdx - 0 0 running 0 /sys/devices/pci0000:00/ata3/host2": None,
        "disk sdx 100 0 0 running 0 -": None,  # pulled out this moment, and perhaps a stick
        "disk sdx 99999999999999999999 0 0 running 0 /sys/devices/pci0000:00/ata3/host2": None,
        "disk sdx": None,
    }.items(),
)
def test_a_disk_counts_when_it_is_built_in_and_works(line, more):
    """None: one that is not understood makes the sum unknown, not smaller."""
    output = DESKTOP.replace(b"#disks\nsys block\n", b"#disks\nsys block\n" + line.encode() + b"\n")
    total = parse(output, NOW).readings.disk_total_bytes
    assert total == (None if more is None else DISKS_ON_FILE + more)


def test_a_machine_that_lists_no_disk_at_all_has_an_unknown_total():
    start = DESKTOP.index(b"#disks\nsys block\n") + len(b"#disks\nsys block\n")
    output = DESKTOP[:start] + DESKTOP[DESKTOP.index(b"#", start) :]
    assert parse(output, NOW).readings.disk_total_bytes is None
    stick = b"disk sdx 100 1 0 running 0 /sys/devices/pci0000:00/usb1/host2\n"
    assert parse(DESKTOP[:start] + stick + output[start:], NOW).readings.disk_total_bytes == 0


NVME = "/sys/devices/virtual/nvme-subsystem/nvme-subsys4"
PCI = "/sys/devices/pci0000:00/nvme/nvme4"
FABRICS = "/sys/devices/virtual/nvme-fabrics/ctl/nvme4"


# findings A7: a disk on the network is none of the machine, however the kernel bundles the ways to it
@pytest.mark.parametrize(
    "paths, more",
    [
        ([f"nvme4c4n1 100 0 1 live - {PCI}"], 100),
        ([f"nvme4c4n1 100 0 1 live - {FABRICS}"], 0),
        ([f"nvme4c4n1 100 0 1 live - {FABRICS}", f"nvme4c5n1 100 0 1 live - {FABRICS}5"], 0),
        ([f"nvme4c4n1 100 0 1 dead - {PCI}"], 0),
        ([f"nvme4c4n1 100 0 1 dead - {PCI}", f"nvme4c5n1 100 0 1 live - {PCI}5"], 100),  # two ports
        ([f"nvme4c4n2 100 0 1 live - {PCI}"], 0),  # of another namespace
        ([], 0),  # its last way is gone, and with it the disk
    ],
)
def test_an_nvme_disk_is_where_its_paths_are(paths, more):
    lines = "".join(f"disk {path}\n" for path in [*paths, f"nvme4n1 100 0 0 - - {NVME}"])
    output = DESKTOP.replace(b"#disks\nsys block\n", b"#disks\nsys block\n" + lines.encode())
    assert parse(output, NOW).readings.disk_total_bytes == DISKS_ON_FILE + more * 512


@pytest.mark.parametrize(
    "first, second, more",
    [
        ("naa.5000c50000000001", "naa.5000c50000000001", 100),
        ("naa.5000c50000000001", "naa.5000c50000000002", 200),
        ("t10.QEMU HARDDISK", "t10.QEMU HARDDISK", 200),  # no name that the world has once
        (None, None, 200),
    ],
)
def test_a_sas_disk_with_two_controllers_is_one(first, second, more):
    place = "/sys/devices/pci0000:80/host{0}/port-{0}:0/end_device-{0}:0/target{0}:0:0"
    lines = "".join(f"disk sd{c} 100 0 0 running 0 {place.format(c)}\n" for c in "yz")
    ids = "".join(f"wwid sd{c} {wwid}\n" for c, wwid in (("y", first), ("z", second)) if wwid)
    output = DESKTOP.replace(b"#disks\nsys block\n", f"#wwids\n{ids}#disks\nsys block\n{lines}".encode())
    assert parse(output, NOW).readings.disk_total_bytes == DISKS_ON_FILE + more * 512


def arcstats(size, least):
    file = "/proc/spl/kstat/zfs/arcstats"
    return f"{file}:size 4 {size}\n{file}:c_min 4 {least}\n"


# findings A7: memory that ZFS gives back when it is asked is not used
@pytest.mark.parametrize(
    "arc, percent",
    [
        ("", 75.0),  # 16,000,000 KiB, of which 4,000,000 are available
        (arcstats(4915200000, 819200000), 50.0),  # 4,000,000 more
        (arcstats(819200000, 4915200000), 75.0),
        (arcstats(4915200000, "nonsense"), 75.0),
        (arcstats(16384000000, 0), 75.0),  # more than there is used: of another machine
        (
            arcstats(4915200000, 819200000) + "/proc/mounts:lxcfs /proc/meminfo fuse.lxcfs rw 0 0\n",
            75.0,
        ),  # the host's
    ],
)
def test_the_cache_of_zfs_is_available_but_for_its_least_size(arc, percent):
    output = DESKTOP.replace(b"/proc/loadavg:", arc.encode() + b"/proc/loadavg:")
    assert parse(output, NOW).readings.ram_percent == percent


# findings A7: one of several GPUs is lost
@pytest.mark.parametrize(
    "lines, count",
    [
        ("40, 2000, 8000, 61\n60, 4000, 8000, 66\n", 2),
        ("Unable to determine the device handle for gpu 0000:18:00.0: Unknown Error\n20, 100, 1000, 50\n", 1),
        ("[GPU is lost], [GPU is lost], [GPU is lost], [GPU is lost]\n20, 100, 1000, 50\n", 1),
        ("[N/A], [N/A], [N/A], 44\n", 1),  # shares the machine's memory
        ("No devices were found\n", 0),
        ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n", 0),
        ("amd 10 1 2 50000\namd - - - -\namd 0 - - -\n", 2),  # the third is asleep
        ("40, 2000, 8000, 61\n\nhangs\n", None),
        ("", None),
    ],
)
def test_the_gpus_that_answer_are_counted(lines, count):
    output = DESKTOP.replace(b"40, 2000, 8000, 61\n60, 4000, 8000, 66\n", lines.encode())
    assert parse(output, NOW).readings.gpu_count == count


# findings A5: numbers larger than what a message can hold
@pytest.mark.parametrize(
    "old, new, name",
    [
        ("MemTotal:       16000000", "MemTotal:       9223372036854775807", "ram_total_bytes"),
        ("#processes\n312", "#processes\n9999999999999999999", "process_count"),
        ("uptime:345601.00", "uptime:9999999999999999999.00", "uptime_seconds"),
        ("disk sda 3907029168", "disk sda 9223372036854775807", "disk_total_bytes"),
        ("disk sda 3907029168", "disk sda 9999999999999999999", "disk_total_bytes"),
    ],
)
def test_a_reading_that_no_message_can_hold_is_left_out_and_named(old, new, name):
    assert old.encode() in DESKTOP
    report = parse(DESKTOP.replace(old.encode(), new.encode()), NOW)
    assert getattr(report.readings, name) is None
    assert report.impossible == (name,)
    encode(Metrics(system_id=1, collected_at=report.collected_at, metrics=report.readings))


@pytest.mark.parametrize(
    "old, new, name",
    [
        ("nvme0n1 1000 10 1002000", "nvme0n1 1000 10 9223372036854775808", "disk I/O"),
        ("nvme0n1 1000 10 1002000", "nvme0n1 1000 10 99999999999999999999", "disk I/O"),
        ("enp3s0: 1001000000", "enp3s0: 18446744073709551616", "network"),
        ("ctxt 5012345", "ctxt 18446744073709551616", "ctxt"),
        ("cpu  1000300 0", "cpu  18446744073709551616 0", "cpu"),
    ],
)
def test_counters_that_cannot_be_are_left_out_and_the_rest_can_be_kept(old, new, name):
    assert old.encode() in DESKTOP
    report = parse(DESKTOP.replace(old.encode(), new.encode()), NOW)
    assert report.impossible == (name,)
    assert report.readings.ram_percent == 75.0
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(report.sample), type=Sample) == report.sample


def test_processors_are_counted_from_their_list():
    def per_second(line):
        output = DESKTOP.replace(b"#hardware\n", b"#hardware\n" + line)
        return parse(output, NOW).sample.cpu_per_second

    assert per_second(b"processors 0\n") == 100
    assert per_second(b"processors 0-3,8,10-11\n") == 700
    for unknown in (b"", b"processors \n", b"processors 0-\n", b"processors 5-2\n"):
        assert per_second(unknown) == 819_200


EVENTS = {"swap_in_rate", "swap_out_rate", "major_page_fault_rate"}
CPU = {"cpu_percent", "cpu_iowait_percent"}
NETWORK = {"network_recv_mbps", "network_sent_mbps"}
DISKS = {"disk_read_mbps", "disk_write_mbps"}


@pytest.mark.parametrize(
    "file, fields",
    {
        "/proc/uptime": {"uptime_seconds", "context_switch_rate"} | EVENTS | NETWORK | DISKS,
        "/proc/stat": CPU | {"context_switch_rate"},
        "/proc/vmstat": EVENTS,
        "/proc/net/dev": NETWORK,
        "/proc/diskstats": DISKS,
        "/proc/meminfo": {"ram_percent", "ram_total_bytes", "swap_percent"},
        "/proc/loadavg": {"load1"},
    }.items(),
)
def test_a_missing_file_costs_only_what_was_in_it(file, fields):
    whole = msgspec.to_builtins(parse(DESKTOP, NOW).readings)
    without = b"\n".join(line for line in DESKTOP.split(b"\n") if not line.startswith(file.encode() + b":"))

    report = parse(without, NOW)

    assert report.missing
    left = msgspec.to_builtins(report.readings)
    assert left == {name: value for name, value in whole.items() if name not in fields}


def test_a_believable_clock_is_the_targets_and_another_is_ours():
    def collected_at(seconds):
        off = int(NOW.timestamp() + seconds)
        return parse(DESKTOP.replace(b"1772442000.250000000", b"%d" % off), NOW).collected_at

    limit = int(MAX_SKEW.total_seconds())
    assert collected_at(-limit).timestamp() == NOW.timestamp() - limit
    assert collected_at(limit).timestamp() == NOW.timestamp() + limit
    assert collected_at(-limit - 1) == NOW
    assert collected_at(limit + 1) == NOW
    assert parse(DESKTOP.replace(b"1772442000.25", b"99999999999999"), NOW).collected_at == NOW


def one_sample(output):
    before, _, rest = output.partition(b"#sample\n")
    return before + b"#sample\n" + rest.partition(b"#sample\n")[2]


def test_rates_are_those_since_the_sample_of_an_earlier_run():
    first = parse(DESKTOP, NOW).sample
    kept = msgspec.json.decode(msgspec.json.encode(first), type=Sample)
    assert kept == first

    later = one_sample(DESKTOP).replace(b"uptime:345601.00", b"uptime:345611.00")
    later = later.replace(b"enp3s0: 1001000000", b"enp3s0: 1011000000")
    assert parse(later, NOW).readings.network_recv_mbps is None
    assert parse(later, NOW, kept).readings.network_recv_mbps == 8.0


def test_after_a_restart_the_earlier_sample_says_nothing():
    kept = dataclasses.replace(parse(DESKTOP, NOW).sample, uptime=5.0)
    other = dataclasses.replace(kept, boot_id="0" * 8 + "-0000" * 3 + "-" + "0" * 12)
    assert parse(one_sample(DESKTOP), NOW, kept).readings.context_switch_rate is not None
    assert parse(one_sample(DESKTOP), NOW, other).readings.context_switch_rate is None
    assert parse(DESKTOP, NOW, other).readings == parse(DESKTOP, NOW).readings


def test_what_is_read_can_be_sent():
    report = parse(DESKTOP, NOW)
    message = Metrics(system_id=42, collected_at=report.collected_at, metrics=report.readings)
    assert decode(Metrics, encode(message)) == message


def check(output):
    """Only a report in bounds, or one kind of exception."""
    try:
        report = parse(output, NOW)
    except HostFailed as error:
        assert error.failure.reason == "output unusable"
        assert "\n" not in error.failure.detail
        assert len(error.failure.detail) < 300
        return
    msgspec.convert(msgspec.to_builtins(report.readings), Readings)
    msgspec.msgpack.encode(report.sample)
    assert abs(report.collected_at - NOW) <= MAX_SKEW


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(output):
    check(output)
    check(b"\n#labmon 1\n" + output + b"\n#end\n")


OUTPUTS = [path.read_bytes() for path in sorted(DATA.glob("*.txt")) if path.stat().st_size < 10_000]
NUMBERS = st.sampled_from(
    [b"-1", b"0", b"1e9", b"9" * 19, b"9" * 20, b"9" * 5000, b"nan", b"inf", b"\xff", b"", b" "]
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(OUTPUTS), st.data())
def test_mangled_outputs_are_read_or_refused(output, data):
    lines = output.split(b"\n")
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(lines) - 1))
        match data.draw(st.sampled_from(["drop", "double", "number", "bytes", "cut"])):
            case "drop":
                lines[place] = b""
            case "double":
                lines.insert(place, lines[data.draw(st.integers(0, len(lines) - 1))])
            case "number":
                words = lines[place].split(b" ")
                words[data.draw(st.integers(0, len(words) - 1))] = data.draw(NUMBERS)
                lines[place] = b" ".join(words)
            case "bytes":
                lines[place] += data.draw(st.binary(max_size=20))
            case "cut":
                lines[place] = lines[place][: data.draw(st.integers(0, len(lines[place])))]
    check(b"\n".join(lines))


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["cpu", "ctxt", "up", "r", "s"]), st.tuples(*[st.integers(0, 10**20)] * 2)
    )
)
def test_no_pair_of_counters_gives_an_absurd_rate(pairs):
    def sample(i):
        n = {name: pairs.get(name, (0, 0))[i] for name in ("cpu", "ctxt", "up", "r", "s")}
        return (
            f"#sample\n/proc/uptime:{n['up']}.00 1.00\n/proc/stat:cpu  {n['cpu']} 0 0 5 5 0 0 0\n"
            f"/proc/stat:ctxt {n['ctxt']}\n/proc/net/dev: eth0: {n['r']} 0 0 0 0 0 0 0 {n['s']} 0\n"
        )

    check(f"\n#labmon 1\n{sample(0)}{sample(1)}#now\n/proc/meminfo:MemTotal: 5 kB\n#end\n".encode())
