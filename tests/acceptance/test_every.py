"""`labmon collect --every` and the lock, by the installed command over a real sshd."""

import json
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from labmon.collect.probe.script import SCRIPT
from tests.acceptance.conftest import LABMON
from tests.conftest import started
from tests.support.clock import clock
from tests.support.sshd import Sshd, can_make_accounts

DATA = Path(__file__).parents[1] / "data" / "probe"


@pytest.fixture
def machines(lab, store_url):
    """Two machines, 127.0.0.1 and .2, in the inventory of the lab. Its database is a server: an embedded one
    would be stopped with whoever uses it last, which takes its time."""
    lab.environ["LABMON_DATABASE_URL"] = store_url
    accounts = {"labuser": "/bin/dash"} if can_make_accounts() else None
    for sshd in started(lambda: Sshd(["127.0.0.1", "127.0.0.2"], accounts=accounts)):
        lab.environ |= {
            "LABMON_COLLECT_PORT": str(sshd.port),
            "LABMON_COLLECT_USER": sshd.user,
            "LABMON_COLLECT_KEY_FILES": str(sshd.key_file),
        }
        for _ in range(5):  # a machine that has no processor for us may answer later than a scan waits
            table = lab.run("scan", "127.0.0.1", "127.0.0.2", "--dept", "1", "-f", "csv").stdout
            if len(table.splitlines()) == 3:
                break
        yield sshd


class Service:
    """labmon as systemd runs it, with what it says and what it tells systemd."""

    def __init__(self, lab, *arguments, **environ):
        self.told = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(lab.folder / "notify"))
        self._lines = []
        self._came = threading.Condition()
        self.process = subprocess.Popen(
            [LABMON, "collect", *arguments],
            env=lab.env | environ | {"NOTIFY_SOCKET": str(lab.folder / "notify"), "WATCHDOG_USEC": "2000000"},
            cwd=lab.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        threading.Thread(target=self._hear, daemon=True).start()

    def _read(self):
        for line in self.process.stderr:
            with self._came:
                self._lines.append(line.rstrip("\n"))
                self._came.notify_all()

    def _hear(self):
        while True:
            try:
                text = self._socket.recv(4096).decode()
            except OSError:
                return
            with self._came:
                self.told.append((time.monotonic(), text))
                self._came.notify_all()

    def says(self, pattern, seconds=60.0):
        """The next line with this in it."""
        deadline = time.monotonic() + seconds
        with self._came:
            while True:
                while self._lines:
                    if re.search(pattern, line := self._lines.pop(0)):
                        return line
                assert self._came.wait(deadline - time.monotonic()), f"it never said {pattern}"

    def tells(self, text, seconds=60.0):
        deadline = time.monotonic() + seconds
        with self._came:
            while not any(one.startswith(text) for _, one in self.told):
                assert self._came.wait(deadline - time.monotonic()), (text, self.told)

    def end(self):
        """Seconds from SIGTERM to its end."""
        before = clock()
        self.process.terminate()
        self.process.wait(20)
        return clock() - before

    def close(self):
        self.process.kill()
        self.process.wait()
        self._reader.join(10)
        self.process.stdout.close()
        self.process.stderr.close()
        self._socket.close()


@pytest.fixture
def service(lab):
    """service(argument...) -> labmon collect with these, running."""
    made = []
    yield lambda *arguments, **environ: made.append(Service(lab, *arguments, **environ)) or made[-1]
    for one in made:
        one.close()


def waiting(lab):
    """Messages in the queue of metrics."""
    rows = json.loads(lab.run("queue-depth", "-f", "json").stdout)
    return next(row["ready"] for row in rows if row["queue"] == "metrics_queue")


def test_rounds_are_published_and_systemd_is_told_until_sigterm(lab, machines, service, stalled):
    lab.run("setup-queues")
    running = service("--all", "--every", "5s", "--queue-enabled")
    running.tells("READY=1")
    assert re.search(r"round 1: 2 measured in \d\.\d s$", running.says("round"))
    assert waiting(lab) >= 2  # by the time that this is asked, another round may have been
    second = re.search(r"round 2: 2 measured in (\d\.\d) s$", running.says("round"))
    assert float(second[1]) < 1.0 + stalled()
    assert waiting(lab) >= 4

    assert running.end() < 1.0
    assert running.process.returncode == 0
    rounds = max(
        int(found) for _, text in running.told for found in re.findall(r"round (\d+): 2 measured", text)
    )
    assert waiting(lab) - 2 * rounds in (0, 1, 2)  # the last may have been cut short
    running.tells("STOPPING=1")
    signs = [at for at, text in running.told if text == "WATCHDOG=1"]
    assert max(b - a for a, b in zip(signs, signs[1:], strict=False)) < 1.6 + stalled()
    assert any(text.startswith("STATUS=") and "round 2: 2 measured" in text for _, text in running.told)
    deadline = time.monotonic() + 5
    while machines.sessions():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_sighup_reads_configuration_and_inventory_anew(lab, machines, service):
    running = service("--all", "--every", "5s")
    running.says("round 1: 2 measured")
    lab.run("scan", "127.0.0.3", "--dept", "1")
    sessions = {process.pid for process in machines.sessions()}
    running.process.send_signal(signal.SIGHUP)
    running.tells("RELOADING=1")
    assert "2 measured in" in running.says("1 failed: 1 refused")  # nothing listens on the third
    assert sessions <= {process.pid for process in machines.sessions()}

    (lab.folder / "config.toml").write_text("[collect]\ndedline = '5s'\n")
    running.process.send_signal(signal.SIGHUP)
    assert "Did you mean deadline?" in running.says("dedline")
    running.says("2 measured in")

    (lab.folder / "config.toml").write_text("[collect]\nconcurrency = 2\n")
    running.process.send_signal(signal.SIGHUP)
    running.says("round 1: 2 measured in")  # from the beginning, with what is new
    assert running.end() < 1.0


def test_a_changed_ssh_config_is_seen_without_a_restart_and_ends_the_backoff(lab, machines, service):
    # findings A16
    config = lab.folder / "ssh_config"
    config.write_text(f"Host 127.0.0.2\n Port 1\nHost *\n Port {machines.port}\n")
    config.chmod(0o600)
    lab.environ |= {"LABMON_COLLECT_SSH_CONFIG": str(config)}
    del lab.environ["LABMON_COLLECT_PORT"]
    running = service("--all", "--every", "5s")
    running.says("1 measured in .*; 1 failed: 1 refused")
    config.write_text("ProxyJump a b\nMatch\n")
    assert "Going on as before" in running.says("ssh_config line 2")
    running.says("round .*: 1 measured in")
    config.write_text(f"Port {machines.port}\n")
    running.says("round .*: 2 measured in")


def test_a_run_that_has_not_ended_keeps_others_off_and_a_crash_lets_them_in(lab, machines, service):
    running = service("--all", "--every", "5s")
    running.says("round 1")
    for selection in (["--all"], ["--dept", "1"]):
        refused = lab.run("collect", *selection, code=7).stderr
        assert re.search(rf"measured already: process {running.process.pid}, since 20\d\d-", refused)
    lab.run("collect", "--host", "127.0.0.1")  # somebody looks for himself
    lab.run("collect", "--system", "1")
    running.process.send_signal(signal.SIGKILL)
    running.process.wait()
    lab.run("collect", "--all")


# findings A5: one lab computer could end every run, on purpose
def test_a_machine_that_says_what_cannot_be_ends_no_run_and_no_round(lab, machines, service):
    script = machines.folder / "forced.sh"
    probe, nonsense = machines.folder / "probe.sh", machines.folder / "nonsense"
    probe.write_bytes(SCRIPT)
    nonsense.write_bytes((DATA / "diskstats-two-to-the-63.txt").read_bytes())
    script.write_text(f'case $SSH_CONNECTION in *" 127.0.0.2 "*) cat {nonsense};; *) sh {probe};; esac\n')
    for file in (script, probe, nonsense):
        file.chmod(0o644)
    machines.authorize(f'command="sh {script}"')
    for _ in range(2):
        done = lab.run("collect", "--all")
        assert "2 of 2 measured, stored" in done.stderr
        assert "127.0.0.2: left out disk I/O: the machine says what cannot be" in done.stderr
    running = service("--all", "--every", "10s")
    running.says("left out disk I/O", 60)
    for _ in range(2):
        running.says(r"round \d+: 2 measured", 60)
    running.end()
    assert running.process.returncode == 0


def test_a_queue_that_goes_away_gets_everything_when_it_is_back(lab, machines, service, own_redis_server):
    queue = {
        "QUEUE_ENABLED": "true",
        "QUEUE_TYPE": "redis",
        "QUEUE_PORT": str(own_redis_server.port),
        "QUEUE_PASSWORD": own_redis_server.PASSWORD,
    }
    running = service("--all", "--every", "5s", **queue)
    running.says("round 1: 2 measured")
    own_redis_server.stop()
    assert "4 kept in the spool" in running.says("round 3: 2 measured")
    spooled = lab.run("spool", "status", "-f", "csv").stdout
    assert re.search(r"^metrics_queue,[46],", spooled, re.M), spooled
    own_redis_server.start()
    deadline = time.monotonic() + 60
    while "metrics_queue" in lab.run("spool", "status", "-f", "csv").stdout:
        running.says("2 measured")
        assert time.monotonic() < deadline
    assert running.end() < 1.0
    assert int(own_redis_server.cli("XLEN", "metrics_queue")) >= 8


def test_an_interval_has_to_be_one(lab):
    for text, words in (("soon", "expected a duration"), ("1s", "at least 5s")):
        assert words in lab.run("collect", "--all", "--every", text, code=2).stderr
    assert "--format" in lab.run("collect", "--all", "--every", "60s", "-f", "json", code=2).stderr
