"""Load this machine and measure it twice over the same seconds, by the probe and by psutil.

    run_accuracy.py serve                      the other end of the stream
    run_accuracy.py ADDRESS DEVICE FOLDER      the load; a line per try: {"probe": {...}, "psutil": {...}}

Each try lasts SECONDS, between two blocks of a probe that stays, as `collect --every` has it. psutil looks
just before and just after each block, and its counters are taken as of the middle.
"""

import contextlib
import ctypes
import json
import mmap
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import psutil

from labmon.collect.probe.parse import parse
from labmon.collect.probe.script import END, NEXT, request

PORT = 7777
PR_SET_PDEATHSIG = 1  # prctl(2)
SECONDS = 5.0
TRIES = 3
BLOCK = 1 << 20
MEMORY = 400 << 20


def serve():
    """Take everything, and send a quarter of it back."""
    with socket.create_server(("", PORT)) as listener:
        print("ready", flush=True)
        connection, _ = listener.accept()
        with connection:
            while data := connection.recv(65536):
                connection.sendall(data[: len(data) // 4])


def paced(work, per_second):
    """`work` so many times a second, as evenly as it goes."""
    at = time.monotonic()
    while True:
        work()
        at = max(at + 1 / per_second, time.monotonic() - 0.2)
        time.sleep(max(0.0, at - time.monotonic()))


def stream(address):
    connection = socket.create_connection((address, PORT))
    connection.settimeout(10)

    def send():
        connection.sendall(bytes(BLOCK // 4))
        left = BLOCK // 16
        while left > 0:
            left -= len(connection.recv(left))

    paced(send, 60)


def disk(folder):
    """Past the page cache, which would write when it likes; where that cannot be, and waited for."""
    block = mmap.mmap(-1, BLOCK)  # aligned, as O_DIRECT wants it
    block.write(os.urandom(BLOCK))
    path = os.path.join(folder, "load")
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_DIRECT)
    except OSError:
        file = os.open(path, os.O_RDWR | os.O_CREAT)
    blocks = 16
    os.posix_fallocate(file, 0, BLOCK * blocks)
    number = 0

    def write_and_read():
        nonlocal number
        number = (number + 1) % blocks
        os.pwritev(file, [block], number * BLOCK)
        os.fdatasync(file)
        os.preadv(file, [block], number * BLOCK)

    paced(write_and_read, 20)


def alone(load, *args):
    """Nobody is to burn on when the one who measures has been killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    load(*args)


def burn():
    while True:
        sum(range(10_000))


def fill():
    held = bytearray(os.urandom(1 << 20)) * (MEMORY >> 20)
    time.sleep(600)
    del held


class Look:
    """psutil's counters at one moment."""

    def __init__(self, device):
        disks = psutil.disk_io_counters(perdisk=True, nowrap=False)
        link = psutil.net_io_counters(pernic=True, nowrap=False)[device]
        real = [one for name, one in disks.items() if Path("/sys/block", name, "device").exists()]
        self.at = time.monotonic()
        self.counters = {
            "network_recv_mbps": link.bytes_recv * 8 / 1e6,
            "network_sent_mbps": link.bytes_sent * 8 / 1e6,
            "disk_read_mbps": sum(one.read_bytes for one in real) / 1e6,
            "disk_write_mbps": sum(one.write_bytes for one in real) / 1e6,
        }


class Pair:
    """A block of the probe between two looks of psutil."""

    def __init__(self, probe, before, device):
        first = Look(device)
        probe.stdin.write(NEXT)
        probe.stdin.flush()
        output = b""
        while END not in output:
            output += os.read(probe.stdout.fileno(), 65536)
        self.report = parse(output, datetime.now(UTC), before)
        last = Look(device)
        self.cpu_percent = psutil.cpu_percent()  # since the one before
        self.ram_percent = psutil.virtual_memory().percent
        self.at = (first.at + last.at) / 2
        self.counters = {name: (first.counters[name] + last.counters[name]) / 2 for name in first.counters}

    def since(self, other):
        seconds = self.at - other.at
        rates = {name: (self.counters[name] - other.counters[name]) / seconds for name in self.counters}
        return {"cpu_percent": self.cpu_percent, "ram_percent": self.ram_percent, **rates}


def measure(device):
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    command, script = request(since=boot_id, loop=True)
    with subprocess.Popen(command.split(), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as probe:
        probe.stdin.write(script)
        probe.stdin.flush()
        while not os.read(probe.stdout.fileno(), 65536).endswith(END):
            pass
        start = Pair(probe, None, device)
        for _ in range(TRIES):
            time.sleep(SECONDS)
            end = Pair(probe, start.report.sample, device)
            theirs = end.since(start)
            ours = {name: getattr(end.report.readings, name) for name in theirs}
            print(json.dumps({"probe": ours, "psutil": theirs}), flush=True)
            start = end
        probe.stdin.close()


def main(address, device, folder):
    loads = [(burn,), (fill,), (stream, address), (disk, folder)]
    processes = [multiprocessing.Process(target=alone, args=load, daemon=True) for load in loads]
    with contextlib.ExitStack() as stack:
        for process in processes:
            process.start()
            stack.callback(process.kill)
        time.sleep(2)
        assert all(process.is_alive() for process in processes)
        measure(device)
        assert all(process.is_alive() for process in processes)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        with tempfile.TemporaryDirectory(dir=sys.argv[3]) as folder:
            main(sys.argv[1], sys.argv[2], folder)
