"""Run one sweep, described by JSON in the first argument, and print JSON lines: where, hosts, the end."""

import json
import os
import sys
import threading
import time
from dataclasses import asdict

import psutil

from labmon.config import Scan
from labmon.errors import LabmonError
from labmon.scan import links6
from labmon.scan.sweep import Sweep
from labmon.scan.targets import parse


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


def main() -> None:
    print(json.dumps({"netns": os.stat("/proc/self/ns/net").st_ino}))
    options = json.loads(sys.argv[1])
    targets = parse(options.pop("targets"), max_hosts=70000, links=links6.networks(links6.own()))
    method = options.pop("method", "auto")
    stop_after = options.pop("stop_after", None)
    stop = threading.Event()
    stopped = []
    if stop_after is not None:
        timer = threading.Timer(stop_after, lambda: (stopped.append(time.monotonic()), stop.set()))
        timer.start()
    files = FileWatch() if options.pop("watch_files", False) else None
    sweep = Sweep(targets, Scan(**options), method=method, stop=stop)
    began = time.monotonic()
    end = {}
    try:
        for host in sweep:
            told = asdict(host) | {"evidence": host.evidence, "system": host.system}
            print(json.dumps({"host": told}, default=str))
    except LabmonError as error:
        end["error"] = f"{type(error).__name__}: {error}"
    ended = time.monotonic()
    if files:
        end["files"] = files.peak()
    end |= {
        "seconds": ended - began,
        "cpu": time.process_time(),
        "notes": sweep.notes,
        "progress": asdict(sweep.progress),
    }
    if stopped:
        end["stopping"] = ended - stopped[0]
    print(json.dumps(end))


if __name__ == "__main__":
    main()
