"""A disk that is taken out of a machine, a GPU that is lost: by the installed command, over a real sshd."""

import json
import signal
import time

import psycopg
import pytest

from tests.conftest import started
from tests.support.sshd import Sshd, can_make_accounts

SECTOR = 512
SATA = "devices/pci0000:00/0000:00:17.0"
USB = "devices/pci0000:00/0000:00:14.0/usb2"


class Machine(Sshd):
    """Its /sys is a folder, in which disks and GPUs come and go."""

    @property
    def sys(self):
        return self.folder / "sys"

    def plug(self, name, size, place, *, removable=0):
        device, disk = self.sys / place / name, self.sys / "block" / name
        device.mkdir(parents=True)
        (device / "state").write_text("running\n")
        disk.mkdir(parents=True)
        (disk / "size").write_text(f"{size // SECTOR}\n")
        (disk / "removable").write_text(f"{removable}\n")
        (disk / "device").symlink_to(f"../../{place}/{name}")

    def pull(self, name):
        (self.sys / "block" / name).rename(self.sys / f"pulled-{name}")

    def put_back(self, name):
        (self.sys / f"pulled-{name}").rename(self.sys / "block" / name)

    def card(self, number):
        return self.sys / "class" / "drm" / f"card{number}" / "device" / "gpu_busy_percent"

    def command(self):
        mount = f'mount --bind {self.sys} /sys && exec "$@"'
        return ["unshare", "--mount", "sh", "-c", mount, "sh", *super().command()]


@pytest.fixture
def machine():
    if not can_make_accounts():
        pytest.skip("needs root and mount namespaces")

    def make():
        machine = Machine()
        machine.plug("sda", 1_000_204_886_016, SATA)
        machine.plug("sdb", 512_110_190_592, SATA)
        machine.plug("sdc", 30_752_000_000, USB, removable=1)
        machine.plug("sdd", 2_000_398_934_016, USB)
        for number in range(3):
            machine.card(number).parent.mkdir(parents=True)
            machine.card(number).write_text("7\n")
        return machine

    yield from started(make)


@pytest.fixture
def site(stored_lab, warm_labmon, machine):
    stored_lab.warm = warm_labmon
    stored_lab.environ |= {
        "LABMON_COLLECT_PORT": str(machine.port),
        "LABMON_COLLECT_KEY_FILES": str(machine.key_file),
    }
    stored_lab.run("scan", "127.0.0.1", "--dept", "1", "--quiet")
    with stored_lab.start("consume", start_new_session=True) as worker:
        yield stored_lab
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0


def looked_at(lab, rule):
    """Until the rules have been looked at once more, which they are every minute at most."""
    with psycopg.connect(lab.environ["LABMON_DATABASE_URL"], autocommit=True) as connection:
        connection.execute("UPDATE alert_rules SET evaluated_at = NULL WHERE name = %s", [rule])
        end = time.monotonic() + 60
        query = "SELECT evaluated_at IS NOT NULL FROM alert_rules WHERE name = %s"
        while not connection.execute(query, [rule]).fetchone()[0]:
            assert time.monotonic() < end
            time.sleep(0.2)


def alerts(lab, rule="disk_changed"):
    lab.run("collect", "--all", "--quiet")
    looked_at(lab, rule)
    rows = json.loads(lab.run("alerts", "list", "-f", "json").stdout)
    return [row for row in rows if row["alert_type"] == rule]


def test_a_disk_is_missed_and_a_stick_is_not(site, machine):
    assert alerts(site) == []
    (shown,) = json.loads(site.run("systems", "show", "1", "-f", "json").stdout)
    assert shown["disk_total_bytes"] == 1_512_315_076_608
    assert "disk total bytes 1512 GB" in site.run("systems", "show", "1").stdout

    machine.pull("sdc")
    machine.pull("sdd")
    assert alerts(site) == []

    machine.pull("sdb")
    (alert,) = alerts(site)
    assert (alert["state"], alert["severity"], alert["system_id"]) == ("firing", "critical", 1)
    assert "931.5 GiB" in site.run("alerts", "list").stdout
    assert "disk total bytes 1000 GB" in site.run("systems", "show", "1").stdout

    machine.put_back("sdb")
    (still,) = alerts(site)
    site.run("alerts", "ack", still["alert_id"], "-m", "a loose cable")
    assert alerts(site) == []


# findings A7: one of three GPUs lost, nothing tells
def test_a_gpu_is_missed_and_nobody_misses_none(site, machine):
    assert alerts(site, "gpu_changed") == []
    (shown,) = json.loads(site.run("systems", "show", "1", "-f", "json").stdout)
    assert shown["gpu_count"] == 3

    machine.card(1).unlink()
    (alert,) = alerts(site, "gpu_changed")
    assert (alert["state"], alert["severity"], alert["value"], alert["threshold"]) == (
        "firing",
        "critical",
        2,
        3,
    )
    assert "gpu count        2" in site.run("systems", "show", "1").stdout

    site.run("alerts", "ack", alert["alert_id"], "-m", "sent in")
    assert alerts(site, "gpu_changed") == []
