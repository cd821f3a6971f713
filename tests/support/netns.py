"""Network namespaces for tests: machines that are real to the kernel and can reach nobody else.

    with netns.pair() as (near, far):
        far.add_addresses(["10.77.0.10"])
        near.run("ping", "-c1", "10.77.0.10")

A pair is joined by one virtual cable and has no other interface, hence no way out. Names hold the
process id, and everything is removed at the end, processes included.
"""

import functools
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

NEAR, FAR = "10.77.0.1", "10.77.0.2"
"""The addresses of a pair, in one /24."""

NOBODY = 65534

_ETC = Path("/etc/netns")
_IPV6 = Path("/proc/sys/net/ipv6")
_numbers = itertools.count()


def require() -> None:
    """Skip the test where namespaces cannot be made; fail it there when CI=true."""
    reason = _obstacle()
    if reason and os.environ.get("CI") == "true":
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


@functools.cache
def _obstacle() -> str | None:
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not shutil.which("ip"):
        return "network namespaces need the ip command: apt-get install iproute2"
    try:
        with pair():
            return None
    except subprocess.CalledProcessError as error:
        return f"this kernel forbids network namespaces: {error.stderr.strip()}"


class Namespace:
    """One machine. Made and removed by `pair`."""

    def __init__(self, label: str) -> None:
        self.name = f"labmon-{os.getpid()}-{next(_numbers)}-{label}"
        self._processes: list[subprocess.Popen[str]] = []

    @property
    def inode(self) -> int:
        """What `stat("/proc/self/ns/net").st_ino` says in there."""
        return os.stat(f"/run/netns/{self.name}").st_ino

    def command(self, *argv: str, uid: int | None = None) -> list[str]:
        """The command line that runs `argv` in there, as root or without any privilege as `uid`."""
        drop = [] if uid is None else ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
        return ["ip", "netns", "exec", self.name, *drop, *argv]

    def run(self, *argv: str, uid: int | None = None, **options) -> subprocess.CompletedProcess[str]:
        """Run to the end, within a minute; raises when it fails."""
        options = {"check": True, "timeout": 60, "capture_output": True, "text": True, **options}
        return subprocess.run(self.command(*argv, uid=uid), **options)

    def start(self, *argv: str, uid: int | None = None, **options) -> subprocess.Popen[str]:
        """Start, and have it ended with the namespace."""
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
        process = subprocess.Popen(self.command(*argv, uid=uid), **options)
        self._processes.append(process)
        return process

    def python(self, script: Path, *argv: str, uid: int | None = None, **options):
        """Run a Python script with this interpreter."""
        return self.run(sys.executable, str(script), *argv, uid=uid, **options)

    def add_addresses(self, addresses: Iterable[str], device: str = "lo") -> None:
        """Own these as well; they answer whatever device they are on."""
        lines = "".join(f"address add {address}/32 dev {device}\n" for address in addresses)
        self.run("ip", "-batch", "-", input=lines)

    def sysctl(self, setting: str) -> None:
        """Such as "net.ipv4.icmp_echo_ignore_all=1"; in this namespace only."""
        self.run("sysctl", "-qw", setting)

    def firewall(self, rules: str) -> None:
        """What `nft -f` reads, in place of what was there."""
        self.run("nft", "-f", "-", input=f"flush ruleset\n{rules}\n")

    def settle(self) -> None:
        """Wait until every link that is up has its link-local IPv6 address."""
        deadline = time.monotonic() + 20
        while not all(
            any(address["scope"] == "link" for address in link["addr_info"])
            for link in json.loads(self.run("ip", "-json", "address").stdout)
            if "UP" in link["flags"] and "LOOPBACK" not in link["flags"]
        ):
            assert time.monotonic() < deadline, "no link-local address"
            time.sleep(0.02)

    def write_etc(self, name: str, text: str) -> None:
        """What /etc/NAME holds for commands in there (`ip netns exec` mounts it over the real one)."""
        folder = _ETC / self.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)

    def _create(self) -> None:
        _ip("netns", "add", self.name)
        self.run("ip", "link", "set", "lo", "up")
        if _IPV6.exists():
            # IPv6 addresses may be used at once, not after two seconds of asking whether others have them.
            self.sysctl("net.ipv6.conf.default.accept_dad=0")

    def _remove(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.communicate()
        shutil.rmtree(_ETC / self.name, ignore_errors=True)
        with suppress(OSError):  # not there, or another test's are still in it
            _ETC.rmdir()
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True)


@contextmanager
def pair() -> Iterator[tuple[Namespace, Namespace]]:
    """Two namespaces and a cable between them: NEAR/24 and FAR/24. No route leads anywhere else."""
    with ExitStack() as stack:
        near, far = Namespace("near"), Namespace("far")
        for namespace in (near, far):
            stack.callback(namespace._remove)
            namespace._create()
        _ip(
            *("link", "add", "cable", "netns", near.name, "type", "veth"),
            *("peer", "name", "cable", "netns", far.name),
        )
        for namespace, address in ((near, NEAR), (far, FAR)):
            namespace.run("ip", "address", "add", f"{address}/24", "dev", "cable")
            namespace.run("ip", "link", "set", "cable", "up")
        yield near, far


def _ip(*argv: str) -> None:
    subprocess.run(["ip", *argv], check=True, capture_output=True, text=True, timeout=60)
