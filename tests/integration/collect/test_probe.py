"""The script itself, in the shells it may meet, on machines that are not as they should be."""

import ctypes
import os
import re
import shutil
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from labmon.collect.probe import script as probe
from labmon.collect.probe.parse import parse
from labmon.collect.probe.script import END, NEXT, SCRIPT, FactsRequest, request
from tests.support.clock import clock
from tests.support.sshd import can_make_accounts

DATA = Path(__file__).parents[2] / "data" / "probe"
PROBE = Path(probe.__file__).with_name("probe.sh")
SHELLS = ["dash", "bash", "busybox sh", "mksh"]

needs_mounts = pytest.mark.skipif(
    not can_make_accounts() and os.environ.get("CI") != "true", reason="needs root and mount namespaces"
)


def shells():
    for shell in SHELLS:
        there = shutil.which(shell.split()[0]) or os.environ.get("CI") == "true" and shell in SHELLS[:3]
        yield pytest.param(shell.split(), id=shell, marks=[] if there else pytest.mark.skip(f"no {shell}"))


every_shell = pytest.mark.parametrize("shell", list(shells()))


def run(shell, *, script=SCRIPT, before="", path=None, timeout=15, **options):
    """The report of the probe. `before` runs first in a mount namespace of its own."""
    command = [*shell, "-s"]
    if before:
        command = ["unshare", "--mount", "sh", "-c", f'set -e; {before}\nexec "$@"', "sh", *command]
    environ = {**os.environ, **({"PATH": f"{path}:{os.environ['PATH']}"} if path else {})}
    started = time.monotonic()
    # Its children may outlive it and hold the pipe, which over SSH nobody waits for either.
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ, **options
    )
    with process, process.stdin, process.stdout, process.stderr:
        process.stdin.write(script)
        process.stdin.close()
        output = b""
        while END not in output and (more := os.read(process.stdout.fileno(), 65536)):
            output += more
            assert time.monotonic() - started < timeout
        process.wait(timeout)
    return parse(output, datetime.now(UTC))


def fake(folder, name, text):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)
    return folder


@every_shell
def test_every_shell_reads_what_this_kernel_says(shell):
    report = run(shell)
    memory = dict(re.findall(r"^(\w+): +(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE))
    disk = os.statvfs("/")
    used = disk.f_blocks - disk.f_bfree
    assert report.readings.ram_total_bytes == int(memory["MemTotal"]) * 1024
    disks = [disk for disk in Path("/sys/block").glob("*/device") if disk.exists()]
    sizes = [int(disk.with_name("size").read_text()) * 512 for disk in disks]
    if all("virtio" in str(disk.resolve()) for disk in disks):  # of others it depends
        assert report.readings.disk_total_bytes == sum(sizes)
    assert report.readings.disk_percent == pytest.approx(100 * used / (used + disk.f_bavail), abs=1)
    assert report.readings.cpu_percent is not None
    assert report.readings.network_recv_mbps is not None
    assert report.readings.disk_write_mbps is not None
    assert report.readings.process_count > 5
    assert report.sample.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert abs(report.clock_skew) < 1
    assert set(report.missing) <= {"users"}


def this_boot():
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@every_shell
def test_who_has_counters_of_this_boot_waits_for_no_second_sample(shell):
    command, script = request(since=this_boot())
    started = clock()
    done = subprocess.run([*shell, *command.split()[1:]], input=script, capture_output=True)
    assert clock() - started < 0.9
    assert done.stdout.count(b"#sample") == 1
    assert done.stdout.endswith(END)


@every_shell
def test_who_has_counters_of_another_boot_gets_two_samples(shell):
    command, script = request(since="00000000-0000-0000-0000-000000000000")
    done = subprocess.run([*shell, *command.split()[1:]], input=script, capture_output=True)
    assert done.stdout.count(b"#sample") == 2


class Loop:
    """The probe that stays, in a shell of this machine."""

    def __init__(self, command, **options):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options)

    def write(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def block(self):
        output = b""
        while END not in output:
            more = os.read(self.process.stdout.fileno(), 65536)
            assert more, output
            output += more
        assert output.count(END) == 1
        return output

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


@every_shell
@pytest.mark.parametrize("way", ["from its input", "as a forced command"])
def test_the_probe_stays_and_rates_are_over_the_time_between_the_rounds(shell, way):
    command, script = request(since=this_boot(), loop=True)
    argv, environ = [*shell, *command.split()[1:]], dict(os.environ)
    if way == "as a forced command":
        argv, environ["SSH_ORIGINAL_COMMAND"] = [*shell, str(PROBE)], command
    with Loop(argv, env=environ) as loop:
        loop.write(script)
        report = parse(loop.block(), datetime.now(UTC))
        assert report.readings.cpu_percent is None
        for _ in range(2):
            time.sleep(0.6)
            loop.write(NEXT)
            report = parse(loop.block(), datetime.now(UTC), report.sample)
            assert report.readings.cpu_percent is not None
            assert report.readings.network_recv_mbps is not None
            assert report.readings.context_switch_rate > 0
        loop.process.stdin.close()
        assert loop.process.wait(5) == 0
        assert loop.process.stdout.read() == b""


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.99])
def test_a_script_cut_off_on_its_way_does_nothing(part):
    script = SCRIPT[: int(len(SCRIPT) * part)]
    done = subprocess.run(["dash", "-s"], input=script, capture_output=True)
    assert done.stdout == b""


@every_shell
def test_other_locales_change_nothing(shell, monkeypatch):
    for name in ("LC_ALL", "LANG", "LC_NUMERIC", "LANGUAGE"):
        monkeypatch.setenv(name, "de_DE.UTF-8")
    assert run(shell).readings.ram_percent > 0


@every_shell
def test_gpus_are_read(shell, tmp_path):
    path = fake(
        tmp_path / "bin", "nvidia-smi", "sleep 0.3; echo '40, 1000, 4000, 60'; echo '[N/A], 1000, 4000, 70'"
    )
    readings = run(shell, path=path).readings
    assert (readings.gpu_percent, readings.gpu_memory_percent, readings.gpu_temperature_celsius) == (
        40,
        25,
        70,
    )


@every_shell
def test_a_gpu_driver_that_hangs_costs_a_moment_and_nothing_else(shell, tmp_path, stalled):
    assert SCRIPT.count(b"-ge 50") == 1  # tenths of a second; this test has less patience
    path = fake(tmp_path / "bin", "nvidia-smi", "printf '40, 10'; exec sleep 60")
    started = time.monotonic()
    report = run(shell, path=path, script=SCRIPT.replace(b"-ge 50", b"-ge 10"))
    assert 2 < time.monotonic() - started < 5 + stalled()
    assert "gpu" in report.missing
    assert report.readings.gpu_percent is None
    assert report.readings.cpu_percent is not None


def test_a_gpu_tool_that_fails_is_no_gpu(tmp_path):
    path = fake(tmp_path / "bin", "nvidia-smi", "echo 'NVIDIA-SMI has failed because ...'; exit 9")
    report = run(["dash"], path=path)
    assert report.readings.gpu_percent is None
    assert report.readings.ram_percent is not None


@every_shell
def test_a_sleep_without_fractions_will_do(shell, tmp_path):
    path = fake(tmp_path / "bin", "nvidia-smi", "/bin/sleep 0.5; echo '40, 1000, 4000, 60'")
    fake(path, "sleep", 'case $1 in *.*) exit 1 ;; esac; exec /bin/sleep "$1"')
    assert run(shell, path=path).readings.gpu_percent == 40


SESSIONS = """
mount -t tmpfs none /run
mkdir -p /run/systemd/seats /run/systemd/sessions
touch /run/systemd/seats/seat0
cd /run/systemd/sessions
mkfifo 1.ref 2.ref
printf 'UID=1000\\nUSER=alice\\nSTATE=active\\nCLASS=user\\nTTY=tty2\\nSEAT=seat0\\n' >1
printf 'UID=1000\\nUSER=alice\\nSTATE=online\\nCLASS=user\\n' >2
printf 'UID=1001\\nUSER=bob\\nSTATE=online\\nCLASS=user\\nREMOTE=1\\n' >3
printf 'UID=1002\\nUSER=carol\\nSTATE=closing\\nCLASS=user\\n' >4
printf 'UID=112\\nUSER=gdm\\nSTATE=active\\nCLASS=greeter\\nSEAT=seat0\\n' >c1
printf 'UID=0\\nUSER=root\\nSTATE=active\\nCLASS=user\\n' >5
"""


@needs_mounts
@every_shell
def test_people_are_counted_and_not_their_sessions(shell):
    """Two people; a third has left; the greeter is nobody; root is who measures. The pipes are not opened."""
    report = run(shell, before=SESSIONS)
    assert report.readings.logged_in_users == 2
    assert "users" not in report.missing


@needs_mounts
def test_nobody_there_is_zero_and_nobody_to_ask_is_nothing():
    prepare = "mount -t tmpfs none /run; mkdir -p /run/systemd/sessions"
    assert run(["dash"], before=prepare).readings.logged_in_users is None
    prepare += "; mkdir /run/systemd/seats; touch /run/systemd/seats/seat0"
    assert run(["dash"], before=prepare).readings.logged_in_users == 0


@needs_mounts
def test_without_logind_who_is_asked_when_there_is_a_record(tmp_path):
    path = fake(
        tmp_path / "bin", "who", "echo 'alice tty1 now'; echo 'alice pts/0 now'; echo 'bob pts/1 now'"
    )
    prepare = "mount -t tmpfs none /run; printf x >/run/utmp"
    assert run(["dash"], before=prepare, path=path).readings.logged_in_users == 2
    prepare = "mount -t tmpfs none /run; touch /run/utmp"
    assert run(["dash"], before=prepare, path=path).readings.logged_in_users is None


SENSORS = """
mount -t tmpfs none /sys
mkdir -p /sys/class/hwmon/hwmon0 /sys/class/hwmon/hwmon1 /sys/class/thermal/thermal_zone0
cd /sys/class/hwmon
echo drivetemp >hwmon0/name; echo 99000 >hwmon0/temp1_input
echo coretemp >hwmon1/name
echo 51000 >hwmon1/temp1_input; echo 'Package id 0' >hwmon1/temp1_label
echo 48000 >hwmon1/temp2_input
echo acpitz >../thermal/thermal_zone0/type; echo 27800 >../thermal/thermal_zone0/temp
"""


@needs_mounts
@every_shell
def test_the_processors_temperature_is_read_and_no_disks(shell):
    report = run(shell, before=SENSORS)
    assert report.readings.cpu_temperature_celsius == 51
    assert report.readings.disk_write_mbps is not None  # by the names of the disks


OLD_SENSORS = """
mount -t tmpfs none /sys
mkdir -p /sys/class/hwmon/hwmon0/device /sys/class/hwmon/hwmon1/device /sys/class/hwmon/hwmon2
cd /sys/class/hwmon
echo coretemp >hwmon0/device/name
echo 51000 >hwmon0/device/temp1_input; echo 'Core 0' >hwmon0/device/temp1_label
echo it8720 >hwmon1/device/name
echo 44000 >hwmon1/device/temp1_input; echo 'CPU Temp' >hwmon1/device/temp1_label
mkfifo hwmon1/device/temp2_input
echo drivetemp >hwmon2/name; mkfifo hwmon2/temp1_input
"""


# findings E4: until Linux 3.13 the files were in `device`; what is nobody's processor is not even opened
@needs_mounts
@every_shell
def test_the_old_layout_of_sensors_is_read_and_no_other_sensor_is_asked(shell):
    assert run(shell, before=OLD_SENSORS).readings.cpu_temperature_celsius == 51
    board = OLD_SENSORS + "rm -r hwmon0"
    assert run(shell, before=board).readings.cpu_temperature_celsius == 44


ZONES = """
mount -t tmpfs none /sys
mkdir -p /sys/class/thermal/thermal_zone0 /sys/class/thermal/thermal_zone1 /sys/class/hwmon/hwmon0
cd /sys/class
echo soc-thermal >thermal/thermal_zone0/type; echo 60000 >thermal/thermal_zone0/temp
echo CPU-therm >thermal/thermal_zone1/type; echo 52500 >thermal/thermal_zone1/temp
echo cpu_thermal >hwmon/hwmon0/name; echo 53000 >hwmon/hwmon0/temp1_input
"""


@needs_mounts
@every_shell
def test_zones_of_small_boards_are_classed_too(shell):
    assert run(shell, before=ZONES).readings.cpu_temperature_celsius == 53
    assert run(shell, before=ZONES + "rm -r hwmon").readings.cpu_temperature_celsius == 52.5
    chip = ZONES + "rm -r hwmon thermal/thermal_zone1"
    assert run(shell, before=chip).readings.cpu_temperature_celsius == 60


# findings A7: where the root is of a kind that is not met every day
@every_shell
@pytest.mark.parametrize(
    "mounts, has_size",
    [
        ("rootfs / rootfs rw 0 0\n/dev/root / ext4 rw 0 0\n", True),
        ("/vz/private/101 / simfs rw 0 0\n", True),
        ("rootfs / wslfs rw,noatime 0 0\n", True),
        ("rootfs / rootfs rw 0 0\nproc /proc proc rw 0 0\n", True),
        ("/dev/loop0 / squashfs ro 0 0\n", False),
        ("/dev/mmcblk0p2 / erofs ro 0 0\n", False),
        ("rootfs / rootfs rw 0 0\nserver:/root / nfs4 rw 0 0\n", False),
        ("proc /proc proc rw 0 0\n", False),
    ],
)
def test_the_kinds_of_root_that_have_a_size_to_tell(shell, tmp_path, mounts, has_size):
    (tmp_path / "mounts").write_text(mounts)
    assert SCRIPT.count(b"done </proc/mounts") == 2  # the root, and the others
    script = SCRIPT.replace(b"done </proc/mounts", b"done <%s" % bytes(tmp_path / "mounts"))
    disk = os.statvfs("/")
    used = disk.f_blocks - disk.f_bfree
    share = run(shell, script=script).readings.disk_percent
    assert share == (pytest.approx(100 * used / (used + disk.f_bavail), abs=1) if has_size else None)


@every_shell
def test_local_file_systems_are_asked_once_and_nothing_behind_the_network(shell, tmp_path):
    names = ("home", "a b", "net", "net/disk", "snap", "bound", "tmp", "auto", "image", "overlay")
    for name in names:
        (tmp_path / name).mkdir()
    (tmp_path / "file").touch()
    lines = [
        "sysfs /sys sysfs rw 0 0",
        "/dev/root / ext4 rw 0 0",
        "/dev/sda2 {}/home xfs rw 0 0",
        "/dev/sda3 {}/a\\040b btrfs rw 0 0",
        "server:/net {}/net nfs4 rw 0 0",
        "/dev/sda4 {}/net/disk ext4 rw 0 0",
        "/dev/loop3 {}/snap squashfs ro 0 0",
        "/dev/loop4 {}/image ext4 ro 0 0",
        "/dev/sda2 {}/bound xfs rw 0 0",
        "tmpfs {}/tmp tmpfs rw 0 0",
        "systemd-1 {}/auto autofs rw 0 0",
        "overlay {}/overlay overlay rw 0 0",
        "/dev/sda5 {}/file ext4 rw 0 0",
        "/dev/sda6 {}/missing ext4 rw 0 0",
    ]
    (tmp_path / "mounts").write_text("".join(f"{line}\n".replace("{}", str(tmp_path)) for line in lines))
    script = SCRIPT.replace(b"done </proc/mounts", b"done <%s" % bytes(tmp_path / "mounts"))
    found = run(shell, script=script).mounts
    assert [one.mount for one in found] == ["/", f"{tmp_path}/home", f"{tmp_path}/a b"]
    disk = os.statvfs("/")
    assert found[0].total_bytes == disk.f_blocks * disk.f_frsize
    assert found[0].inodes_percent == pytest.approx(100 * (1 - disk.f_ffree / disk.f_files), abs=1)


@every_shell
def test_what_it_is_is_told_by_every_shell_and_only_when_asked(shell, tmp_path):
    image = tmp_path / "it's the image"
    image.write_text("lab 2026-03\nmore\n")
    piece = FactsRequest(str(image)).script
    asked = subprocess.run([*shell, "-s", "facts"], input=piece + SCRIPT, capture_output=True).stdout
    facts = parse(asked, datetime.now(UTC)).facts
    assert (facts.hostname, facts.kernel) == (os.uname().nodename, os.uname().release)
    assert facts.image_version == "lab 2026-03"
    assert facts.os and facts.cpu_threads == os.cpu_count() and facts.ram_total_bytes
    assert abs(facts.boot_at.timestamp() - psutil.boot_time()) < 5
    for script, words in ((SCRIPT, ["facts"]), (piece + SCRIPT, [])):
        done = subprocess.run([*shell, "-s", *words], input=script, capture_output=True).stdout
        assert parse(done, datetime.now(UTC)).facts is None


@every_shell
def test_the_cache_of_zfs_is_printed(shell, tmp_path):
    (tmp_path / "arcstats").write_text(
        "13 1 0x01 98 26656 1 2\nname                            type data\n"
        "hits                            4    12\n"
        "c_min                           4    2097152000\nc_max                           4    99\n"
        "size                            4    52428800000\ncompressed_size                 4    7\n"
    )
    script = SCRIPT.replace(b"/proc/spl/kstat/zfs/arcstats", bytes(tmp_path / "arcstats"))
    done = subprocess.run([*shell, "-s"], input=script, capture_output=True, text=False)
    lines = [line for line in done.stdout.decode().splitlines() if "arcstats:" in line]
    assert [line.split()[0].partition(":")[2] for line in lines] == ["c_min", "size"]


def blocks(name, size, device, *files, removable=0):
    """Shell that makes a block device of /sys; `files` are those of its device, with what is in them."""
    disk = f"/sys/block/{name}"
    return "\n".join(
        [
            f"mkdir -p /sys/devices/{device} {disk}",
            f"ln -s /sys/devices/{device} {disk}/device",
            f"echo {size} >{disk}/size; echo {removable} >{disk}/removable",
            *(f"echo '{text}' >{disk}/device/{file}" for file, text in files),
        ]
    )


DISKS = "\n".join(
    [
        "mount -t tmpfs none /sys; mkdir -p /sys/block/loop0 /sys/block/dm-0",
        "echo 5000 | tee /sys/block/loop0/size >/sys/block/dm-0/size",
        blocks("sda", 1000, "pci0000:00/ata1/host0/0:0:0:0", ("state", "running"), ("type", 0)),
        blocks("sdb", 3000, "pci0000:00/ata2/host1/1:0:0:0", ("state", "running"), ("type", 0)),
        blocks("nvme0n1", 7000, "pci0000:00/nvme/nvme0", ("state", "deleting (no IO)")),
        blocks("mmcblk0", 20000, "platform/mmc_host/mmc0/mmc0:0001", ("type", "MMC")),
        blocks("sdc", 100000, "pci0000:00/usb1/1-4/host2/2:0:0:0", ("state", "running")),
        blocks("sdd", 100000, "pci0000:00/usb1/1-5/host3/3:0:0:0", ("state", "running"), removable=1),
        blocks("sr0", 100000, "pci0000:00/ata3/host4/4:0:0:0", ("state", "running"), removable=1),
    ]
)


@needs_mounts
@every_shell
def test_the_disks_that_are_built_in_are_added_up(shell):
    assert run(shell, before=DISKS).readings.disk_total_bytes == (1000 + 3000 + 7000 + 20000) * 512
    assert run(shell, before=DISKS + "\nrm -r /sys/block/sdb").readings.disk_total_bytes == 28000 * 512
    dead = DISKS + "\necho offline >/sys/block/sda/device/state"
    assert run(shell, before=dead).readings.disk_total_bytes == 30000 * 512


# findings A7: two ways to one disk, and a disk on the network behind its subsystem
WAYS = "\n".join(
    [
        "mount -t tmpfs none /sys",
        blocks(
            "sda", 1000, "pci0/host1/end_device-1:0/1:0:0:0", ("state", "running"), ("wwid", "naa.5000c5001")
        ),
        blocks(
            "sdb", 1000, "pci0/host2/end_device-2:0/2:0:0:0", ("state", "running"), ("wwid", "naa.5000c5001")
        ),
        blocks(
            "sdc", 1000, "pci0/host2/end_device-2:1/2:0:1:0", ("state", "running"), ("wwid", "naa.5000c5002")
        ),
        blocks("nvme4n1", 7000, "virtual/nvme-subsystem/nvme-subsys4"),
        blocks("nvme4c4n1", 7000, "virtual/nvme-fabrics/ctl/nvme4", ("state", "live")),
        "echo 1 >/sys/block/nvme4c4n1/hidden; echo 0 >/sys/block/nvme4n1/hidden",
    ]
)


@needs_mounts
@every_shell
def test_ways_to_a_disk_are_told_from_disks(shell):
    assert run(shell, before=WAYS).readings.disk_total_bytes == 2000 * 512


@needs_mounts
@every_shell
def test_no_disk_and_a_disk_without_a_size_are_not_known(shell):
    none = "mount -t tmpfs none /sys; mkdir /sys/block"
    assert run(shell, before=none).readings.disk_total_bytes is None
    assert run(shell, before=DISKS + "\nrm /sys/block/sdb/size").readings.disk_total_bytes is None
    assert run(shell, before="mount -t tmpfs none /sys").readings.disk_total_bytes is None


@needs_mounts
@every_shell
def test_a_disk_that_goes_while_it_is_looked_at_makes_no_sum(shell):
    gone = DISKS + "\nrm /sys/block/sda/device; touch /sys/block/sda/device"
    assert run(shell, before=gone).readings.disk_total_bytes is None


AMD = """
mount -t tmpfs none /sys
mkdir -p /sys/class/drm/card0 /sys/class/drm/card1-DP-1 /sys/class/drm/card1 /sys/class/drm/card2
cd /sys/class/drm
mkdir -p card0/device card1/device/hwmon/hwmon3 card1/device/power card2/device/power
echo 1234 >card0/device/vendor
echo active >card1/device/power/runtime_status
echo 30 >card1/device/gpu_busy_percent
echo 1073741824 >card1/device/mem_info_vram_used
echo 4294967296 >card1/device/mem_info_vram_total
echo 61000 >card1/device/hwmon/hwmon3/temp1_input
echo suspended >card2/device/power/runtime_status
mkfifo card2/device/gpu_busy_percent
"""


@needs_mounts
@every_shell
def test_amds_cards_are_read_and_one_that_sleeps_is_let_sleep(shell):
    """Who would read the load of the second would wait for ever."""
    readings = run(shell, before=AMD).readings
    assert (readings.gpu_percent, readings.gpu_memory_percent, readings.gpu_temperature_celsius) == (
        15,
        25,
        61,
    )


MAC = (DATA / "macos-14.txt").read_text()


def recorded(name, which=-1):
    """The lines of a part of the recording from a Mac."""
    return re.findall(rf"(?m)^#{name}\n((?:[^#\n].*\n|\n(?!#))*)", MAC)[which]


def mac_tools(folder):
    """The programs of a Mac, which print what was recorded; what counts, another time another sample."""

    def tool(name, *outputs):
        """`outputs` are those of one call after another."""
        for number, output in enumerate(outputs):
            (folder / f"{name}.{number}").write_text(output)
        fake(
            folder,
            name,
            f"""cd {folder}
read number 2>/dev/null <{name}.calls || number=0
echo $(((number + 1) % {len(outputs)})) >{name}.calls
while IFS= read -r line; do printf '%s\\n' "$line"; done <{name}.$number""",
        )

    folder.mkdir()
    samples = [recorded("sample", which) for which in (0, 1)]

    def of(pattern, sample):
        return "".join(re.findall(rf"(?m)^{pattern}.*\n", sample))

    tool("uname", "Darwin\n")
    tool("who", recorded("users").removeprefix("utmp\n"))
    tool("df", recorded("root"))
    tool("top", recorded("top"))
    tool("date", recorded("time"))
    tool("zsh", *(of("clock", sample).removeprefix("clock: ") for sample in samples))
    tool("sysctl", *(of(r"kern\.", sample) for sample in samples), recorded("now"))
    tool("vm_stat", *(sample[sample.index("Mach Virtual") :] for sample in samples))
    tool("netstat", *(of(r"(?:Name|[a-z]+\d\*?) ", sample) for sample in samples))
    disks = [of(r"  .*(?:Statistics|BSD Name)", sample) for sample in samples]
    noise = "+-o IOBlockStorageDriver  <class IOBlockStorageDriver>\n    | {\n"
    others = (recorded(name) for name in ("disks", "gpu"))
    tool("ioreg", *(noise + output for output in (*others, *disks)))
    return folder


@needs_mounts
@every_shell
def test_on_a_mac_its_own_programs_are_asked(shell, tmp_path):
    """The script's branch for macOS, with programs that print what is on file: it has to print all of it."""
    tools = mac_tools(tmp_path / "bin")
    command = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc; exec "$@"', "sh", *shell, "-s"]
    environ = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    environ.pop("EPOCHREALTIME", None)
    done = subprocess.run(command, input=SCRIPT, capture_output=True, env=environ, timeout=15)
    # Some shells tell the time themselves.
    got = re.sub(rb"(?m)^\d{10}\.\d{6,9}$", b"1772442002.N", done.stdout)
    assert got.decode() == MAC


@needs_mounts
@every_shell
def test_without_sys_only_the_temperature_is_lost(shell):
    report = run(shell, before="mount -t tmpfs none /sys")
    assert set(report.missing) <= {"users"}
    assert report.readings.network_recv_mbps is not None


@needs_mounts
@every_shell
def test_many_processors_and_many_disks_are_no_burden(shell, tmp_path):
    """The line that stands for all processors is sent, and none of the others."""
    processors = "".join(f"cpu{number} 1 2 3 4 5 6 7 8 0 0\n" for number in range(256))
    (tmp_path / "stat").write_text(
        f"cpu  10 20 30 40 50 60 70 80 0 0\n{processors}intr {'7 ' * 5000}\nctxt 9\n"
    )
    disks = [f"   8 {number} sd{number}x 1 2 3 4 5 6 7 8 9 10 11\n" for number in range(1000)]
    (tmp_path / "diskstats").write_text("".join(disks))
    binds = [f"mount --bind {tmp_path}/{name} /proc/{name}" for name in ("stat", "diskstats")]
    sample = run(shell, before="\n".join(binds)).sample
    assert sample.cpu == (10, 20, 30, 40, 50, 60, 70, 80)
    assert len(sample.disks) == 1000
    assert sample.disks["sd999x"] == (3 * 512, 7 * 512)


BARE = """
mkdir -p {0}/empty {0}/bare
cp /usr/bin/dash /usr/bin/sleep {0}/bare/
for folder in /usr/sbin /usr/local/bin /usr/local/sbin; do mount --bind {0}/empty $folder; done
mount --bind {0}/bare /usr/bin
"""


@needs_mounts
def test_with_no_program_but_sleep_most_is_still_read(tmp_path):
    report = run(["dash"], before=BARE.format(tmp_path))
    assert set(report.missing) <= {"disk", "users", "time"}
    assert report.readings.cpu_percent is not None
    assert report.readings.major_page_fault_rate is not None


@pytest.fixture
def dead_mount(tmp_path):
    """A file system whose server never answers: FUSE, with nobody behind it. Its folder, and how to mount it.

    Whoever touches it waits until the descriptor that stands for the server is closed.
    """
    try:
        fuse = os.open("/dev/fuse", os.O_RDWR)
    except OSError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"no FUSE: {error}")
    folder = tmp_path / "dead"
    folder.mkdir()
    yield folder, fuse
    os.close(fuse)


def mount_fuse(folder, fuse):
    """In the child, after it has a mount namespace of its own. mount(8) would look for a helper program."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x00020000) or libc.mount(b"none", b"/", None, 0x40000 | 0x4000, None):
        raise OSError(ctypes.get_errno(), "unshare")
    options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0".encode()
    if libc.mount(b"deadserver:/export", bytes(folder), b"fuse.sshfs", 0, options):
        raise OSError(ctypes.get_errno(), "mount")


@needs_mounts
@every_shell
def test_a_dead_network_mount_is_not_touched(shell, dead_mount):
    folder, fuse = dead_mount
    options = {"preexec_fn": lambda: mount_fuse(folder, fuse), "pass_fds": [fuse]}

    # It is as dead as it should be: df, which looks at every mount, does not come back.
    df = subprocess.Popen(["df", "-P"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            df.wait(0.5)
        report = run(shell, **options)
        assert report.readings.disk_percent is not None
    finally:
        df.kill()
        null = os.open("/dev/null", os.O_RDONLY)
        os.dup2(null, fuse)  # closes the server's side: whoever waits is told that it has gone
        os.close(null)
        df.wait(10)
