"""Run one sweep, described by JSON in the first argument, and print JSON lines: where, hosts, the end."""

import json
import os
import sys
import threading
import time
from dataclasses import asdict

from labmon.config import Scan
from labmon.errors import LabmonError
from labmon.scan.sweep import Sweep
from labmon.scan.targets import parse


def main() -> None:
    print(json.dumps({"netns": os.stat("/proc/self/ns/net").st_ino}))
    options = json.loads(sys.argv[1])
    targets = parse(options.pop("targets"), max_hosts=70000)
    method = options.pop("method", "auto")
    stop_after = options.pop("stop_after", None)
    stop = threading.Event()
    stopped = []
    if stop_after is not None:
        timer = threading.Timer(stop_after, lambda: (stopped.append(time.monotonic()), stop.set()))
        timer.start()
    sweep = Sweep(targets, Scan(**options), method=method, stop=stop)
    began = time.monotonic()
    end = {}
    try:
        for host in sweep:
            print(json.dumps({"host": asdict(host)}, default=str))
    except LabmonError as error:
        end["error"] = f"{type(error).__name__}: {error}"
    ended = time.monotonic()
    end |= {"seconds": ended - began, "notes": sweep.notes, "progress": asdict(sweep.progress)}
    if stopped:
        end["stopping"] = ended - stopped[0]
    print(json.dumps(end))


if __name__ == "__main__":
    main()
