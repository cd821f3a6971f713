"""Run one sweep, described by JSON in the first argument, and print JSON lines: where, hosts, the end."""

import json
import os
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path

import psutil

from labmon.config.tables import ScanConfig
from labmon.errors import LabmonError
from labmon.scan.kernel import ipv6
from labmon.scan.sweep import Sweep
from labmon.scan.targets.target_set import parse


class FileWatch:
    """How many files this process has open at most, by looking 200 times a second."""

    def __init__(self):
        self._most = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self):
        while not self._done.wait(0.005):
            self._most = max(self._most, psutil.Process().num_fds())

    def peak(self):
        self._done.set()
        self._thread.join()
        return self._most


def clock():
    """Seconds, none of which the main thread spent waiting for a processor that others had.

    So differences tell how long a sweep takes, on a busy machine too (Linux, sched-stats.rst).
    """
    try:
        waited = int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9
    except OSError:  # a kernel that does not count it
        waited = 0.0
    return time.monotonic() - waited


class Stopper(threading.Thread):
    """Stops a sweep as soon as its progress has come so far, such as {"phase": "ping", "asked": 50}."""

    def __init__(self, progress, stop, far):
        super().__init__(daemon=True)
        self._progress, self._stop, self._far = progress, stop, far
        self.stopped_at = None

    def run(self):
        while not self._is_there():
            time.sleep(0.002)
        self.stopped_at = clock()
        self._stop.set()

    def _is_there(self):
        now = asdict(self._progress)
        return all(
            now[name] >= value if isinstance(value, int) else now[name] == value
            for name, value in self._far.items()
        )


def load_what_is_used(method, names):
    """Beforehand, so that it is the sweep that is timed."""
    if method in ("auto", "arp"):
        import labmon.scan.methods.arp
        import labmon.scan.methods.ndp
    if names:
        import labmon.scan.names.local_names
        import labmon.scan.names.resolve  # noqa: F401


def main() -> None:
    print(json.dumps({"netns": os.stat("/proc/self/ns/net").st_ino}))
    options = json.loads(sys.argv[1])
    targets = parse(options.pop("targets"), max_hosts=70000, links=ipv6.networks(ipv6.own()))
    method = options.pop("method", "auto")
    stop_at = options.pop("stop_at", None)
    files = FileWatch() if options.pop("watch_files", False) else None
    settings, stop = ScanConfig(**options), threading.Event()
    load_what_is_used(method, settings.names)
    sweep = Sweep(targets, settings, method=method, stop=stop)
    stopper = Stopper(sweep.progress, stop, stop_at) if stop_at else None
    if stopper:
        stopper.start()
    began, cpu, elapsed = clock(), time.process_time(), time.monotonic()
    end = {}
    try:
        for host in sweep:
            told = asdict(host) | {"evidence": host.evidence, "system": host.system}
            print(json.dumps({"host": told}, default=str))
    except LabmonError as error:
        end["error"] = f"{type(error).__name__}: {error}"
    ended = clock()
    end |= {
        "seconds": ended - began,
        "elapsed": time.monotonic() - elapsed,
        "cpu": time.process_time() - cpu,
        "files": files.peak() if files else 0,
        "notes": sweep.notes,
        "progress": asdict(sweep.progress),
    }
    if stopper:
        assert stopper.stopped_at, "it was never so far"
        end["stopping"] = ended - stopper.stopped_at
    print(json.dumps(end))


if __name__ == "__main__":
    main()
