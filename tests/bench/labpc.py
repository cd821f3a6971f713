"""A lab PC's day, made up: what its people and its jobs do to processor, memory, disk and network.

    python labpc.py far              the rest of the network: sends what is asked for, swallows what comes
    python labpc.py near KIND FOLDER the machine: `night`, `lesson` or `busy`, writing below FOLDER

Run by `tests.bench.record` in two network namespaces of its own that are joined to nobody else.
"""

import multiprocessing
import os
import random
import socket
import struct
import sys
import threading
import time
from pathlib import Path

ADDRESS = ("10.77.0.2", 7777)
ASKED = struct.Struct("!II")
LONGEST = 600
"""Seconds after which all of it ends by itself."""


def far() -> None:
    with socket.create_server(ADDRESS, backlog=64) as server:
        while True:
            threading.Thread(target=_serve, args=(server.accept()[0],), daemon=True).start()


def _serve(link: socket.socket) -> None:
    with link:
        head = link.recv(ASKED.size, socket.MSG_WAITALL)
        wanted, coming = ASKED.unpack(head) if len(head) == ASKED.size else (0, 0)
        while coming > 0 and (got := link.recv(min(coming, 65536))):
            coming -= len(got)
        link.sendall(bytes(wanted))


def transfer(down: int, up: int) -> None:
    with socket.create_connection(ADDRESS, timeout=30) as link:
        link.sendall(ASKED.pack(down, up) + bytes(up))
        while link.recv(65536):
            pass


def compute(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(n * n for n in range(2000))


def write(file: Path, size: int) -> None:
    with file.open("ab" if file.exists() and file.stat().st_size < 300_000_000 else "wb") as out:
        out.write(os.urandom(size))
        os.fsync(out.fileno())


def some(median: float, spread: float = 1.0) -> float:
    """Of a distribution with a long tail, as file sizes and pauses have."""
    return min(random.lognormvariate(0, spread) * median, 50 * median)


def housekeep(file: Path) -> None:
    """What a machine does when nobody is there."""
    while True:
        transfer(int(some(2_000)), int(some(1_000)))
        if random.random() < 0.2:
            write(file, int(some(20_000)))
        if random.random() < 0.05:
            compute(some(0.1))
        time.sleep(some(2))


def browse(file: Path) -> None:
    """Pages that are loaded, looked at, and kept in a cache and in memory."""
    kept: list[bytes] = []
    while True:
        transfer(int(some(400_000, 1.3)), int(some(15_000)))
        helpers = [
            multiprocessing.Process(target=compute, args=(some(0.1),)) for _ in range(random.randint(0, 3))
        ]
        for helper in helpers:
            helper.start()
        write(file, int(some(150_000)))
        kept.append(b"x" * int(some(30_000_000)))
        del kept[: max(0, len(kept) - random.randint(4, 25))]
        for helper in helpers:
            helper.join()
        time.sleep(some(2.5))


def call(_: Path) -> None:
    """A video call: evenly both ways."""
    while True:
        transfer(int(random.gauss(30_000, 6_000)), int(random.gauss(22_000, 5_000)))
        compute(0.01)
        time.sleep(0.1)


def build(file: Path) -> None:
    """A compiler's run: short processes on a core or more, results on the disk, now and then a download."""
    while True:
        steps = [
            multiprocessing.Process(target=compute, args=(some(0.4, 0.6),))
            for _ in range(random.randint(1, 4))
        ]
        for step in steps:
            step.start()
        for step in steps:
            step.join()
        write(file, int(some(2_000_000)))
        if random.random() < 0.15:
            transfer(int(some(6_000_000)), int(some(60_000)))
        time.sleep(some(0.2))


def copy(file: Path) -> None:
    """Homework to and from the file server."""
    while True:
        transfer(int(some(3_000_000, 1.5)), int(some(1_500_000, 1.5)))
        write(file, int(some(3_000_000, 1.2)))
        time.sleep(some(4))


KINDS = {
    "night": [housekeep],
    "lesson": [housekeep, browse, call],
    "busy": [housekeep, browse, browse, build, copy],
}


def near(kind: str, folder: Path) -> None:
    for _ in range(100):  # until the far side listens
        with socket.socket() as link:
            if link.connect_ex(ADDRESS) == 0:
                break
        time.sleep(0.1)
    work = [
        multiprocessing.Process(target=act, args=(folder / f"{act.__name__}-{n}",))
        for n, act in enumerate(KINDS[kind])
    ]
    for one in work:
        one.start()
    for one in work:
        one.join(LONGEST)


if __name__ == "__main__":
    far() if sys.argv[1] == "far" else near(sys.argv[2], Path(sys.argv[3]))
