"""What collecting costs, beside `xargs -P 20 ssh` in the same run.

    python -m tests.bench.collect [--only once|facts|every|execs|sessions|holes|start] [--hosts N]

Needs root. One sshd in a network namespace that leads nowhere owns a thousand addresses and stands for as
many machines; its account has a bare shell and home. Prints a table: each figure, its limit, its peer.

Processor time is user and system of the collecting process, everything included: start of the interpreter,
logins, parsing, and publishing to the queue (in the embedded PostgreSQL, whose own time is not in it).
"""

import argparse
import os
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from labmon.app.open import ingest_settings, open_spool, open_store
from labmon.collect.probe.script import SCRIPT
from labmon.config.tables import Config, StateConfig
from labmon.messages import Discovery, utcnow
from labmon.sinks.direct import DirectSink
from tests.support import netns
from tests.support.sshd import Sshd

LABMON = str(Path(sys.executable).with_name("labmon"))
DEADLINE = 20.0

LISTENER = """
import socket, sys, time
listener = socket.create_server(("0.0.0.0", int(sys.argv[1])), backlog=4096)
print("listens", flush=True)
listener.accept()
print(time.monotonic(), flush=True)
"""

SWALLOW = """
table ip hole {{
    chain in {{ type filter hook prerouting priority -300; ip daddr 10.99.0.1-{to} drop; }}
}}
"""


@dataclass
class Line:
    """A row of the table."""

    what: str
    figure: float
    unit: str
    limit: float | None = None
    peer: str = ""

    @property
    def holds(self) -> bool:
        return self.limit is None or self.figure <= self.limit


class FarSshd(Sshd):
    """On every address of a namespace."""

    def __init__(self, far: netns.Namespace) -> None:
        self._far = far
        super().__init__(["0.0.0.0"], accounts={"labuser": "/bin/dash"})

    def command(self) -> list[str]:
        return self._far.command(*super().command())

    def answers(self) -> bool:
        return bool(self._far.run("ss", "-Hltn", f"sport = :{self.port}").stdout)


def address(number: int) -> str:
    """250 in each /24, ascending."""
    return f"10.99.{number // 250}.{number % 250 + 1}"


@dataclass
class Campus:
    """The machines, the network in between, and labmon's own folder."""

    near: netns.Namespace
    far: netns.Namespace
    sshd: FarSshd
    folder: Path
    count: int

    @property
    def env(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "PYTHONPATH") if name in os.environ}
        return kept | {
            "HOME": str(self.folder),
            "LABMON_CONFIG": str(self.folder / "config.toml"),
            "LABMON_STATE_DIR": str(self.folder / "state"),
            "LABMON_COLLECT_USER": self.sshd.user,
            "LABMON_COLLECT_PORT": str(self.sshd.port),
            "LABMON_COLLECT_KEY_FILES": str(self.sshd.key_file),
            "LABMON_COLLECT_DEADLINE": str(DEADLINE),
            "QUEUE_ENABLED": "true",
        }

    def start(self, *arguments: str, **environ: str) -> subprocess.Popen[str]:
        """labmon in the near namespace; its talk is to be read from stderr."""
        command = self.near.command(LABMON, *arguments)
        return subprocess.Popen(
            command,
            env=self.env | environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )


@contextmanager
def campus(count: int) -> Iterator[Campus]:
    """So many machines, all in the inventory, and behind a router: nothing is on the same link."""
    with ExitStack() as stack:
        near, far = stack.enter_context(netns.pair())
        near.run("ip", "route", "add", "10.99.0.0/16", "via", netns.FAR)
        far.add_addresses(address(number) for number in range(count))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="labmon-bench-", dir="/tmp")))
        folder.chmod(0o711)
        (folder / "config.toml").touch()
        sshd = stack.enter_context(FarSshd(far))
        # Open as long as the bench runs, so that no figure has the start of the database in it.
        config = Config(state=StateConfig(dir=str(folder / "state")))
        store = stack.enter_context(open_store(config))
        inventory = stack.enter_context(
            DirectSink(lambda: store, ingest_settings(config), open_spool(config), print)
        )
        for number in range(count):
            found = {"ip_address": address(number), "discovered_at": utcnow(), "scan_type": "arp"}
            inventory.send(Discovery(scan_id=1, dept_id=1, **found))
        inventory.flush()
        yield Campus(near, far, sshd, folder, count)


def finish(process: subprocess.Popen[str]) -> tuple[float, float, str]:
    """CPU seconds of the process and of the children it waited for; MiB at most; what it said."""
    assert process.stderr is not None
    with process.stderr:
        said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, said


def once(
    lab: Campus, *arguments: str, measured: int | None = None, expected: str = "", **environ: str
) -> tuple[float, float]:
    """Seconds, and CPU seconds, of a run that has to measure everybody, or so many."""
    started = time.monotonic()
    cpu, _, said = finish(lab.start("collect", "--all", *arguments, **environ))
    seconds = time.monotonic() - started
    expected = expected or f"{lab.count if measured is None else measured} of {lab.count} measured, queued"
    assert expected in said, said
    return seconds, cpu


def xargs_ssh(lab: Campus) -> tuple[float, float]:
    """What one would write by hand: the same probe, 20 at a time, over OpenSSH."""
    script = lab.folder / "probe.sh"
    script.write_bytes(SCRIPT)
    options = f"-o BatchMode=yes -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile={lab.folder}/hosts"
    ssh = f"ssh -q -i {lab.sshd.key_file} -p {lab.sshd.port} -l {lab.sshd.user} {options}"
    each = f"{ssh} {{}} sh -s <{shlex.quote(str(script))} | tail -n 1"
    command = lab.near.command("xargs", "-P", "20", "-I{}", "sh", "-c", each)
    started = time.monotonic()
    process = subprocess.Popen(
        command, env=lab.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("".join(f"{address(number)}\n" for number in range(lab.count)))
    process.stdin.close()
    with process.stdout:
        printed = process.stdout.read().count("#end")
    cpu, _, said = finish(process)
    assert printed == lab.count, said
    return time.monotonic() - started, cpu


def bench_once(hosts: int) -> Iterator[Line]:
    with campus(hosts) as lab:
        once(lab)  # host keys are known to both from now on
        xargs_ssh(lab)
        (lab.folder / "state" / "counters").unlink()
        cold, cold_cpu = once(lab)
        seconds, cpu = once(lab)
        peer, peer_cpu = xargs_ssh(lab)
    each, peers = f"{hosts} hosts, once", f"xargs -P 20 ssh: {1000 * peer_cpu / hosts:.1f} ms, {peer:.1f} s"
    yield Line(f"{each}: CPU per host, no counters of before", 1000 * cold_cpu / hosts, "ms", 12, peers)
    yield Line("  that to its peer's", cold_cpu / peer_cpu, "", 1 / 7)
    yield Line("  seconds to its peer's", cold / peer, "", 1, f"{cold:.1f} s")
    yield Line(f"{each}: CPU per host, counters fresh", 1000 * cpu / hosts, "ms", 12, peers)
    yield Line("  that to its peer's", cpu / peer_cpu, "", 1 / 7)
    yield Line("  seconds to its peer's", seconds / peer, "", 1, f"{seconds:.1f} s")


def bench_facts(hosts: int) -> Iterator[Line]:
    """The same run with and without being asked what the machines are; the difference is of the medians."""
    with campus(hosts) as lab:
        once(lab)
        asked, usual, off = [], [], []
        for _ in range(3):
            (lab.folder / "state" / "facts").unlink()
            asked.append(once(lab)[1])
            usual.append(once(lab)[1])
            off.append(once(lab, LABMON_COLLECT_FACTS="false")[1])
    ms = [1000 * statistics.median(costs) / hosts for costs in (asked, usual, off)]
    yield Line(f"{hosts} hosts, once: CPU per host, facts asked", ms[0], "ms", None)
    yield Line("  that less the usual", ms[0] - ms[1], "ms", 1, f"usual: {ms[1]:.2f} ms")
    yield Line("  the usual less never asked", ms[1] - ms[2], "ms", None, f"never asked: {ms[2]:.2f} ms")


class Every:
    """A labmon that measures every so often; `rounds` are the lines that it says at their ends."""

    def __init__(self, lab: Campus, interval: str, **environ: str) -> None:
        self._process = lab.start("collect", "--all", "--every", interval, **environ)
        self._watched = psutil.Process(self._process.pid)

    @property
    def cpu(self) -> float:
        times = self._watched.cpu_times()
        return times.user + times.system

    @property
    def memory(self) -> float:
        """MiB that are its own or shared with others."""
        return self._watched.memory_info().rss / 2**20

    def round(self) -> str:
        assert self._process.stderr is not None
        while " round " not in (line := self._process.stderr.readline()):
            assert line, f"it ended with {self._process.wait()}"
            print(line, end="", file=sys.stderr)
        return line

    def stop(self) -> float:
        """Seconds that it took to end."""
        started = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        finish(self._process)
        assert self._process.returncode == 0
        return time.monotonic() - started


def bench_every(hosts: int) -> Iterator[Line]:
    with campus(hosts) as lab:
        line, ended = every(lab, 5)
    yield line
    yield Line("  SIGTERM to its end", ended, "s", 1)


def bench_execs(hosts: int) -> Iterator[Line]:
    """The sessions are kept, but the program at their other end ends with each block it prints."""
    with campus(hosts) as lab:
        program = lab.sshd.folder / "probe.sh"
        program.write_bytes(SCRIPT)
        lab.sshd.authorize(f'command="SSH_ORIGINAL_COMMAND=${{SSH_ORIGINAL_COMMAND% loop}} sh {program}"')
        line, _ = every(lab, 3)
    yield replace(line, what=f"{line.what}, by an exec instead of a loop", limit=None)


def every(lab: Campus, rounds: int) -> tuple[Line, float]:
    """What a round costs, from the second on; and seconds that it took to end."""
    interval = 20 if lab.count > 100 else 5
    labmon = Every(lab, f"{interval}s")
    labmon.round()
    costs = []
    for _ in range(rounds):
        before = labmon.cpu
        said = labmon.round()
        costs.append(1000 * (labmon.cpu - before) / lab.count)
        assert f": {lab.count} measured" in said, said
    told = " ".join(f"{cost:.2f}" for cost in costs)
    what = f"{lab.count} hosts, every {interval} s: CPU per host and round"
    return Line(what, sum(costs) / rounds, "ms", 3, told), labmon.stop()


def bench_sessions(hosts: int) -> Iterator[Line]:
    """Its end, too, beside the ends of so many sshds on the same processors, and beside sshds that are held
    still meanwhile, as if they had processors of their own."""
    with campus(hosts) as lab:
        labmon = Every(lab, "60s")
        said = [labmon.round(), labmon.round()]
        memory = labmon.memory
        ended = labmon.stop()
        labmon = Every(lab, "60s")
        said.append(labmon.round())
        with still(lab.sshd.sessions()):
            alone = labmon.stop()
    assert all(f": {hosts} measured" in one for one in said[1:]), said
    yield Line(f"{hosts} sessions: memory after two rounds", memory, "MiB", 300)
    yield Line("  SIGTERM to its end", alone, "s", 1)
    yield Line("  the same, with the ends of the sshds on these processors", ended, "s", 1)


@contextmanager
def still(processes: list[psutil.Process]) -> Iterator[None]:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.suspend()
    try:
        yield
    finally:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.resume()


def bench_holes(hosts: int) -> Iterator[Line]:
    """Half of them swallow packets."""
    with campus(hosts) as lab:
        lab.far.firewall(SWALLOW.format(to=address(hosts // 2 - 1)))
        alive = hosts - hosts // 2
        counters = lab.folder / "state" / "counters"
        first, _ = once(lab, measured=alive)
        # The live half alone: the dead are not due, for they have just failed.
        counters.unlink()
        alone, _ = once(lab, expected=f"{alive} of {alive} measured")
        counters.unlink()
        again, _ = once(lab, "--retry-all", measured=alive)
    told = f"{alone:.1f} s for the live half + {DEADLINE:.0f} s"
    what = f"{hosts} addresses, half of them black holes"
    yield Line(f"{what}, for the first time", first, "s", alone + DEADLINE, told)
    yield Line(f"{what}, known to have failed", again, "s", alone + DEADLINE, told)


def bench_start(hosts: int) -> Iterator[Line]:
    """From the start of the process to its first connection."""
    with campus(hosts) as lab:
        ssh = lab.folder / ".ssh"
        ssh.mkdir()
        key = lab.sshd.public(lab.sshd.host_key).split()[:2]
        names = (
            f"host{number}.example.edu,10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
            for number in range(50_000)
        )
        (ssh / "known_hosts").write_text("".join(f"{name} {' '.join(key)}\n" for name in names))
        seconds = []
        for port in (2001, 2002, 2003):
            listener = lab.far.start(sys.executable, "-c", LISTENER, str(port))
            assert listener.stdout is not None and listener.stdout.readline() == "listens\n"
            started = time.monotonic()
            process = lab.start(
                "collect", "--all", LABMON_COLLECT_PORT=str(port), LABMON_COLLECT_DEADLINE="2s"
            )
            seconds.append(float(listener.stdout.readline()) - started)
            process.send_signal(signal.SIGTERM)
            finish(process)
    told = " ".join(f"{one:.2f}" for one in seconds)
    yield Line(f"{hosts} hosts, 50,000 known hosts: until the first connection", min(seconds), "s", 1, told)


BENCHES = {
    "once": (bench_once, 200),
    "facts": (bench_facts, 200),
    "every": (bench_every, 300),
    "execs": (bench_execs, 300),
    "sessions": (bench_sessions, 1000),
    "holes": (bench_holes, 1000),
    "start": (bench_start, 1000),
}


def main(argv: list[str] | None = None) -> list[Line]:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--only", choices=sorted(BENCHES))
    options.add_argument("--hosts", type=int, help="instead of 200, 300, 1000")
    chosen = options.parse_args(argv)
    if os.geteuid() != 0:
        options.error("network namespaces need root")
    lines = []
    for name, (bench, hosts) in BENCHES.items():
        if chosen.only in (None, name):
            for line in bench(chosen.hosts or hosts):
                lines.append(line)
                print(f"{line.what}: {line.figure:.2f} {line.unit}", file=sys.stderr)
    Console(width=150).print(draw(lines))
    return lines


def draw(lines: list[Line]) -> Table:
    table = Table("what", "figure", "limit", "holds", "peer, or how it came about")
    for line in lines:
        limit = f"{line.limit:.2f} {line.unit}" if line.limit is not None else ""
        table.add_row(
            line.what, f"{line.figure:.2f} {line.unit}", limit, "yes" if line.holds else "NO", line.peer
        )
    return table


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and leave nothing behind
    main()
