"""Record what the real probe says of a lab PC, hour by hour of three kinds, for `tests.bench.store`.

    python -m tests.bench.record tests/data/lab-pc.jsonl.gz [--seconds 90]        (as root)

The machine is this one in a network namespace of its own, with one card, eth0, behind which a second
namespace stands for the network. What its people do is `tests.bench.labpc`: processor, memory, disk and
network by bursts with long tails; and they come and go, as logind would write it down. `night` has nobody
there, `lesson` one or two who browse and talk, `busy` two to four, with a build and copies to a file server
beside it. The load of this machine itself is in it too: while lab-pc.jsonl.gz was made, others kept most of a
processor busy, so even its nights are not quiet.

Readings are about a second apart, and rates are means over the last ten of them, where in use it is a minute.
Who makes hours of them takes readings that are a minute apart (every 61st) of one kind.
"""

import argparse
import gzip
import random
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from labmon.collect.probe.counters import Sample
from labmon.collect.probe.parse import Report, parse
from labmon.collect.probe.script import SCRIPT
from labmon.messages import Readings
from tests.bench import labpc
from tests.support import netns

WINDOW = 10
"""Readings, over which rates are means."""

PEOPLE = {"night": (0, 0), "lesson": (1, 2), "busy": (2, 4)}


class Recorded(msgspec.Struct):
    """A line of a recording."""

    kind: str
    collected_at: datetime
    metrics: Readings


def probe(machine: netns.Namespace, systemd: Path, before: Sample | None) -> Report:
    words = f"since {before.boot_id}" if before else ""
    inside = f"mount --bind {systemd} /run/systemd && exec sh -s {words}"
    said = machine.run("unshare", "-m", "sh", "-c", inside, input=SCRIPT, text=False).stdout
    return parse(said, datetime.now(UTC), before)


def record(seconds: int) -> Iterator[Recorded]:
    with netns.pair() as (near, far), tempfile.TemporaryDirectory(dir=Path.home()) as scratch:
        near.run("ip", "link", "set", "cable", "down")
        near.run("ip", "link", "set", "cable", "name", "eth0")  # a name that a real card could have
        near.run("ip", "link", "set", "eth0", "up")
        far.start(sys.executable, labpc.__file__, "far")
        systemd = Path(scratch) / "systemd"
        for folder in ("seats", "sessions"):
            (systemd / folder).mkdir(parents=True)
        (systemd / "seats" / "seat0").touch()
        for kind, (fewest, most) in PEOPLE.items():
            work = subprocess.Popen(
                near.command(sys.executable, labpc.__file__, "near", kind, scratch), start_new_session=True
            )
            try:
                yield from _readings(near, systemd, kind, seconds, fewest, most)
            finally:
                subprocess.run(["kill", "--", f"-{work.pid}"], check=True)
                work.wait()


def _readings(
    machine: netns.Namespace, systemd: Path, kind: str, seconds: int, fewest: int, most: int
) -> Iterator[Recorded]:
    samples: deque[Sample] = deque(maxlen=WINDOW)
    people = set(range(fewest))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if random.random() < 0.05:  # somebody comes or goes
            people ^= {random.randrange(most + 1)} - ({0} if len(people) <= fewest else set())
        for user in range(5):
            session = systemd / "sessions" / str(user)
            if user in people:
                session.write_text(f"UID={1000 + user}\nSTATE=active\nCLASS=user\nTTY=tty{user}\n")
            else:
                session.unlink(missing_ok=True)
        report = probe(machine, systemd, samples[0] if samples else None)
        if len(samples) == WINDOW:
            yield Recorded(kind, report.collected_at, report.readings)
        samples.append(report.sample)
        time.sleep(0.9)


def read(file: Path) -> list[Recorded]:
    """A recording, in the order of its making."""
    return msgspec.json.Decoder(Recorded).decode_lines(gzip.decompress(file.read_bytes()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--seconds", type=int, default=90, help="of each kind")
    chosen = parser.parse_args()
    lines = msgspec.json.Encoder().encode_lines(record(chosen.seconds))
    chosen.file.write_bytes(gzip.compress(lines, mtime=0))


if __name__ == "__main__":
    main()
