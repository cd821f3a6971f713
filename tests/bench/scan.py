"""How fast and how complete a scan is, beside nmap in the same run.

    python -m tests.bench.scan [--runs 3] [--only link|ipv6|campus|rate|loss|store]

Needs root. Everything happens between network namespaces that it makes and that lead nowhere; prints a
table: each figure, its peer from the same run, and whether it is what it shall be; else exit code 1.
"""

import argparse
import csv
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from labmon.scan.pacing.timeout import AT_THE_END
from tests.support import netns
from tests.support.servers import PostgresServer

RUN_SWEEP = Path(__file__).parents[1] / "integration" / "scan" / "run_sweep.py"
LABMON = str(Path(sys.executable).with_name("labmon"))

NMAP_LINK = "nmap -sn -n"
NMAP_IPV6 = "nmap -6 -sn -n -e cable --script targets-ipv6-multicast-echo --script-args newtargets"
NMAP_CAMPUS = "nmap -sn -n -PE -T5 --min-rate 50000 --max-retries 1"

COUNTER = """
table ip counted {{
    chain in {{ type filter hook prerouting priority -300; ip protocol icmp {match} counter; }}
}}
"""
LOSSY = """
table arp lossy {{
    chain in {{ type filter hook input priority 0; numgen random mod 100 < {percent} drop; }}
    chain out {{ type filter hook output priority 0; numgen random mod 100 < {back} drop; }}
}}
table ip lossy {{
    chain in {{ type filter hook prerouting priority -300; numgen random mod 100 < {percent} drop; }}
    chain out {{ type filter hook output priority 0; numgen random mod 100 < {back} drop; }}
}}
"""


@dataclass
class Run:
    """One program, once."""

    seconds: float
    found: int
    memory: float = 0.0  #: MiB at most


@dataclass
class Line:
    """A row of the table."""

    what: str
    live: int
    ours: list[Run]
    peer: str = ""
    peers: list[Run] = field(default_factory=list)
    limit: float | None = None  #: of the ratio of the medians
    least: float = 1.0  #: share of the live that every run must find
    remark: str = ""
    also: bool = True  #: whether the remark says what it shall

    @property
    def met(self) -> bool:
        """Whether all limits are kept."""
        in_time = self.limit is None or self.ratio is None or self.ratio <= self.limit
        return in_time and self.also and all(run.found >= self.least * self.live for run in self.ours)

    @property
    def ratio(self) -> float | None:
        if not self.peers:
            return None
        return statistics.median(r.seconds for r in self.ours) / statistics.median(
            r.seconds for r in self.peers
        )


def labmon(near: netns.Namespace, *arguments: str, database: str = "", timeout: str = "1s") -> Run:
    """A whole process, from the start of the interpreter to its end. Without a database a dry run."""
    command = [LABMON, "scan", *arguments, "--dept", "1", "--quiet", "--format", "csv"]
    command += [] if database else ["--dry-run"]
    env = QUIET | ({"LABMON_DATABASE_URL": database} if database else {})
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryDirectory() as nowhere:
        began = time.monotonic()
        process = near.start(
            *command,
            env=env | {"LABMON_STATE_DIR": nowhere, "LABMON_SCAN_TIMEOUT": timeout},
            cwd=nowhere,
            stdout=output,
            stderr=None,
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, command
        output.seek(0)
        return Run(seconds, len(list(csv.DictReader(output))), usage.ru_maxrss / 1024)


def count_macs(near: netns.Namespace, network: str, macs: dict[str, str]) -> int:
    """How many are right, in a run of its own, since a table may not show them."""
    done = near.python(RUN_SWEEP, json.dumps({"targets": [network], "names": False}))
    hosts = [line["host"] for line in map(json.loads, done.stdout.splitlines()) if "host" in line]
    return sum(macs.get(host["address"]) == host["mac"] for host in hosts)


def nmap(near: netns.Namespace, command: str, *targets: str) -> Run:
    began = time.monotonic()
    done = near.run(*command.split(), *targets, timeout=300)
    return Run(time.monotonic() - began, done.stdout.count("Host is up"))


QUIET = {k: v for k, v in os.environ.items() if not k.startswith(("LABMON_", "QUEUE_"))}
"""The environment without any configuration of the user's."""


@contextmanager
def link(live: int) -> Iterator[tuple[netns.Namespace, netns.Namespace, dict[str, str]]]:
    """A /24 with that many machines, each with a network card, and so a MAC, of its own.

    They are in fd00:5::/64 too, at the same number.
    """
    with netns.pair() as (near, far):
        # On one cable every card of the far side hears every question; each must answer for itself only.
        far.sysctl("net.ipv4.conf.all.arp_ignore=1")
        far.sysctl("net.ipv4.conf.default.arp_ignore=1")
        numbers = random.Random(7).sample(range(10, 250), live - 1)
        batch, macs = [], {}
        for index, number in enumerate(numbers):
            mac = f"02:00:00:00:{index >> 8:02x}:{index & 255:02x}"
            macs[f"10.77.0.{number}"] = mac
            batch += [
                f"link add link cable name m{index} address {mac} type macvlan mode bridge",
                f"address add 10.77.0.{number}/32 dev m{index}",
                f"address add fd00:5::{number}/64 dev m{index} nodad",
                f"link set m{index} up",
            ]
        far.run("ip", "-batch", "-", input="\n".join(batch) + "\n")
        for namespace, address in ((near, "fd00:5::1"), (far, "fd00:5::2")):
            namespace.run("ip", "address", "add", f"{address}/64", "dev", "cable", "nodad")
        macs[netns.FAR] = far.run("cat", "/sys/class/net/cable/address").stdout.strip()
        macs[netns.NEAR] = near.run("cat", "/sys/class/net/cable/address").stdout.strip()
        yield near, far, macs


@contextmanager
def campus(live: int) -> Iterator[tuple[netns.Namespace, netns.Namespace]]:
    """A /16 behind a router, with that many addresses that answer."""
    with netns.pair() as (near, far):
        near.run("ip", "route", "add", "10.99.0.0/16", "via", netns.FAR)
        numbers = random.Random(7).sample(range(1, 65535), live)
        far.add_addresses(f"10.99.{number >> 8}.{number & 255}" for number in numbers)
        yield near, far


def bench_link(runs: int) -> Iterator[Line]:
    with link(50) as (near, _, macs):
        ours, patient, peers = [], [], []
        for _ in range(runs):
            ours.append(labmon(near, "10.77.0.0/24", "--no-names", timeout="300ms"))
            patient.append(labmon(near, "10.77.0.0/24", "--no-names"))
            peers.append(nmap(near, NMAP_LINK, "10.77.0.0/24"))
        right = count_macs(near, "10.77.0.0/24", macs)
    # Both find the machine that they run on as well.
    # The usual second is for slow machines; where answers are quick, nmap waits for less.
    yield Line("/24 on-link, the usual timeout of 1 s", 51, patient, NMAP_LINK, peers, 1.0)
    yield Line(
        *("/24 on-link, timeout 0.3 s", 51, ours, NMAP_LINK, peers, 0.6),
        remark=f"{right} of {len(macs)} MAC addresses right",
        also=right == len(macs),
    )


def bench_ipv6(runs: int) -> Iterator[Line]:
    """One question to all. nmap finds its neighbours so too, but not itself."""
    with link(50) as (near, far, macs):
        near.settle()
        far.settle()
        macs = {address.replace("10.77.0.", "fd00:5::"): mac for address, mac in macs.items()}
        ours, peers = [], []
        for _ in range(runs):
            ours.append(labmon(near, "fd00:5::/64", "--no-names"))
            peers.append(nmap(near, NMAP_IPV6))
        right = count_macs(near, "fd00:5::/64", macs)
    yield Line(
        *("/64 on-link, 50 live and ourselves", 51, ours, NMAP_IPV6, peers, 0.6),
        remark=f"{right} of {len(macs)} MAC addresses right",
        also=right == len(macs),
    )


def bench_campus(runs: int) -> Iterator[Line]:
    with campus(2000) as (near, _):
        ours, peers = [], []
        for _ in range(runs):
            ours.append(labmon(near, "10.99.0.0/16", "--rate", "0", "--type", "ping", "--no-names"))
            peers.append(nmap(near, NMAP_CAMPUS, "10.99.0.0/16"))
    yield Line("/16 routed, 2,000 live, rate 0", 2000, ours, NMAP_CAMPUS, peers, 0.5)
    most = max(run.memory for run in ours)
    yield Line("  memory of that", 2000, ours, remark=f"{most:.0f} MiB at most", also=most < 150)


def bench_rate(runs: int) -> Iterator[Line]:
    """The far side counts what arrives in the middle of the run, second by second."""
    with campus(2000) as (near, far):
        for retries in (0, 7):
            ours, rates, questions = [], [], 0
            for _ in range(min(runs, 1 if retries else runs)):
                far.firewall(COUNTER.format(match="icmp type echo-request"))
                counted = sample(far)
                QUIET["LABMON_SCAN_RETRIES"] = str(retries)
                ours.append(labmon(near, "10.99.0.0/16", "--type", "ping", "--no-names"))
                del QUIET["LABMON_SCAN_RETRIES"]
                rates += counted()
                questions = count(far)
            yield Line(
                f"/16 routed, rate 10,000, retries {retries}",
                2000,
                ours,
                f"{questions:,} packets / rate + last wait",
                [Run(questions / 10_000 + AT_THE_END, 2000)],
                1.1,
                remark=f"{min(rates):,.0f} to {max(rates):,.0f} packets/s seen by the far side",
                also=9_000 <= min(rates) and max(rates) <= 11_000,
            )


def count(far: netns.Namespace) -> int:
    words = far.run("nft", "list", "ruleset").stdout.split()
    return int(words[words.index("packets") + 1])


def sample(far: netns.Namespace):
    """Start looking at the counter; calling the result gives the rates while packets came."""
    looker = far.start(sys.executable, "-c", LOOK, bufsize=1)

    def rates() -> list[float]:
        looker.terminate()
        output, _ = looker.communicate(timeout=30)
        points = [tuple(map(float, line.split())) for line in output.splitlines() if line.count(" ") == 1]
        steps = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in zip(points, points[1:], strict=False)]
        busy = [index for index, step in enumerate(steps) if step > 1000]
        # The first and the last interval are only partly filled.
        return steps[busy[0] + 1 : busy[-1]] if len(busy) > 2 else []

    return rates


LOOK = """
import subprocess, time
for _ in range(120):
    words = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True).stdout.split()
    print(time.monotonic(), words[words.index("packets") + 1] if "packets" in words else 0, flush=True)
    time.sleep(1)
"""


def bench_loss(runs: int) -> Iterator[Line]:
    for what, back in (("on the way there", 0), ("each way", 30)):
        with link(50) as (near, far, _):
            far.firewall(LOSSY.format(percent=30, back=back))
            ours = [labmon(near, "10.77.0.0/24", "--no-names") for _ in range(runs)]
            peers = [nmap(near, NMAP_LINK, "10.77.0.0/24") for _ in range(runs)]
        yield Line(f"/24 on-link, 30 % lost {what}", 51, ours, NMAP_LINK, peers, least=0.97)
        with campus(2000) as (near, far):
            far.firewall(LOSSY.format(percent=30, back=back))
            arguments = "10.99.0.0/16", "--rate", "0", "--type", "ping", "--no-names"
            ours = [labmon(near, *arguments) for _ in range(runs)]
            peers = [nmap(near, NMAP_CAMPUS, "10.99.0.0/16") for _ in range(runs)]
        yield Line(f"/16 routed, 30 % lost {what}", 2000, ours, NMAP_CAMPUS, peers, least=0.97)


def bench_store(runs: int) -> Iterator[Line]:
    """The same scan with and without its 2,000 hosts going into a PostgreSQL that waits for the disk."""
    arguments = "10.99.0.0/16", "--rate", "0", "--type", "ping", "--no-names"
    with PostgresServer(fsync=True) as server, campus(2000) as (near, _):
        new, again, dry = [], [], []
        for _ in range(runs):
            with server.database() as name:
                url = server.socket_url(name)
                near.run(LABMON, "db", "migrate", env=QUIET | {"LABMON_DATABASE_URL": url})
                new.append(labmon(near, *arguments, database=url))
                again.append(labmon(near, *arguments, database=url))
            dry.append(labmon(near, *arguments))
    for what, ours in (("new", new), ("known", again)):
        added = statistics.median(r.seconds for r in ours) - statistics.median(r.seconds for r in dry)
        yield Line(
            *(f"/16 routed and stored, 2,000 {what}", 2000, ours, "the same, --dry-run", dry),
            remark=f"storing takes {added:.2f} s",
            also=added <= 1,
        )


BENCHES = {
    "link": bench_link,
    "ipv6": bench_ipv6,
    "campus": bench_campus,
    "rate": bench_rate,
    "loss": bench_loss,
    "store": bench_store,
}


def main(argv: list[str] | None = None) -> list[Line]:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--runs", type=int, default=3)
    options.add_argument("--only", choices=sorted(BENCHES))
    chosen = options.parse_args(argv)
    if os.geteuid() != 0:
        options.error("network namespaces need root")
    lines = []
    for name, bench in BENCHES.items():
        if chosen.only in (None, name):
            for line in bench(chosen.runs):
                lines.append(line)
                print(f"{line.what}: done", file=sys.stderr)
    Console(width=150).print(draw(lines))
    return lines


def draw(lines: list[Line]) -> Table:
    table = Table(
        *(
            "what",
            "live",
            "labmon: seconds",
            "found",
            "peer",
            "peer: seconds",
            "found",
            "ratio",
            "limit",
            "met",
        )
    )
    for line in lines:
        table.add_row(
            line.what,
            f"{line.live:,}",
            " ".join(f"{run.seconds:.2f}" for run in line.ours),
            " ".join(str(run.found) for run in line.ours),
            line.peer or line.remark,
            " ".join(f"{run.seconds:.2f}" for run in line.peers),
            " ".join(str(run.found) for run in line.peers),
            f"{line.ratio:.2f}" if line.ratio is not None else "",
            f"{line.limit:.2f}" if line.limit is not None else "",
            "yes" if line.met else "NO",
        )
        if line.peer and line.remark:
            table.add_row("  " + line.remark)
    return table


if __name__ == "__main__":
    sys.exit(not all(line.met for line in main()))
