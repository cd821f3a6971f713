"""How long labmon takes to start with a thousand machines and 50,000 lines of known hosts.

    python -m tests.bench.trust [--runs 5]

From the start of the installed command to its first connection to a machine, in wall time and in processor
time of the whole command, with the user's known hosts empty, plain and hashed; beside `ssh` of the same
files, which looks up one machine. And what the first sight of each machine costs, once in its life.
"""

import argparse
import base64
import hashlib
import hmac
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from rich.console import Console
from rich.table import Table

from labmon.collect.hostkeys.known_hosts import KnownHosts
from labmon.store.embedded import Embedded
from tests.support.sshd import Sshd

LABMON = str(Path(sys.executable).with_name("labmon"))
MACHINES = 1000
LINES = 50_000
KIND = "ssh-ed25519"


def address(number: int) -> str:
    """127.1.0.1 and on: the first MACHINES are in the inventory."""
    return f"127.{1 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


def key(number: int) -> bytes:
    """Some machine's public key."""
    return b"\0\0\0\x0b" + KIND.encode() + b"\0\0\0\x20" + hashlib.sha256(str(number).encode()).digest()


def write(path: Path, lines: int, *, hide: bool) -> Path:
    """Known hosts; the machines that are asked about come last."""
    with path.open("w") as file:
        for number in range(lines, 0, -1):
            name = address(number)
            if hide:
                salt = os.urandom(20)
                digest = hmac.digest(salt, name.encode(), "sha1")
                name = f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"
            file.write(f"{name} {KIND} {base64.b64encode(key(number)).decode()}\n")
    return path


@contextmanager
def listener() -> Iterator[socket.socket]:
    """A port of every loopback address, and of no other."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
        server.bind(("", 0))
        server.listen(1024)
        yield server


def start(environ: dict[str, str], server: socket.socket) -> tuple[float, float]:
    """Seconds until the first connection, and of the processor until then and the end of the command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    with subprocess.Popen([LABMON, "collect", "--all", "--quiet"], env=environ) as process:
        connection, _ = server.accept()
        seconds = time.monotonic() - began
        process.terminate()
        connection.close()
        process.wait(30)
    while True:  # those that came meanwhile
        server.setblocking(False)
        try:
            server.accept()[0].close()
        except BlockingIOError:
            break
    server.setblocking(True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def ssh(sshd: Sshd, file: Path) -> float:
    """Seconds that the client takes for one machine that is not in the file."""
    options = ["-F", "/dev/null", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=accept-new"]
    options += ["-o", f"UserKnownHostsFile={file}", "-i", str(sshd.key_file), "-p", str(sshd.port)]
    began = time.monotonic()
    subprocess.run(["ssh", *options, "127.0.0.1", "true"], check=True, capture_output=True)
    return time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    # Not under the account's own folder: the embedded database's account has to enter.
    folder = Path(tempfile.mkdtemp(prefix="labmon-bench-", dir="/tmp"))
    folder.chmod(0o711)
    table = Table("known hosts", "first connection", "labmon's processor", "ssh, one machine", box=None)
    files = {
        "none": write(folder / "none", 0, hide=False),
        f"{LINES:,} lines": write(folder / "plain", LINES, hide=False),
        f"{LINES:,} lines, hashed": write(folder / "hashed", LINES, hide=True),
    }
    try:
        with Embedded(folder / "state") as database, listener() as server, Sshd() as sshd:
            environ = os.environ | {
                "LABMON_CONFIG": str(folder / "config.toml"),
                "LABMON_STATE_DIR": str(folder / "state"),
                "LABMON_COLLECT_KEY_FILES": str(sshd.key_file),
                "LABMON_COLLECT_PORT": str(server.getsockname()[1]),
            }
            (folder / "config.toml").touch()
            subprocess.run([LABMON, "db", "migrate"], env=environ, check=True, capture_output=True)
            with psycopg.connect(database.url) as connection:
                connection.execute("INSERT INTO departments (dept_id) VALUES (1)")
                connection.cursor().executemany(
                    "INSERT INTO systems (dept_id, ip_address) VALUES (1, %s)",
                    [(address(number),) for number in range(1, MACHINES + 1)],
                )
            for name, file in files.items():
                environ["LABMON_COLLECT_KNOWN_HOSTS"] = str(file)
                times = [start(environ, server) for _ in range(runs)]
                peer = []
                for _ in range(runs):
                    copy = Path(shutil.copy(file, folder / "copy"))
                    peer.append(ssh(sshd, copy))
                table.add_row(
                    name,
                    f"{statistics.median(one for one, _ in times):.2f} s",
                    f"{statistics.median(one for _, one in times):.2f} s",
                    f"{statistics.median(peer):.2f} s",
                )
        Console(width=110).print(table)
        for name, file in list(files.items())[1:]:
            known = KnownHosts([file])
            known.lookup_plain([""])
            began = time.process_time()
            for number in range(1, MACHINES + 1):
                assert known.has_key([address(number)], (KIND, key(number)))
            there = (time.process_time() - began) / MACHINES
            began = time.process_time()
            for number in range(20):
                assert known.keys([f"192.0.2.{number}"]) == []
            absent = (time.process_time() - began) / 20
            print(
                f"first sight, {name}: {there * 1e6:.0f} us of a machine that is in them, "
                f"{absent * 1e3:.2f} ms of another"
            )
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
