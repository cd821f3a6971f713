"""The counters of each machine as they were last time, so that rates cover all the time since.

    state/counters      MessagePack: {machine: [time of the collector, Sample]}

The next run that finds them fresh need not wait a second between two samples. A machine is known by its
number and its database (`Target.key`): two databases have a machine 1 each.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec

from labmon import files
from labmon.collect.probe.counters import Sample, physical_links, whole_disks
from labmon.collect.probe.parse import Report

logger = logging.getLogger(__name__)

MAX_AGE = 3600.0
"""Seconds. An average over more than an hour says little about a machine."""

MIN_AGE = 1.0

MAX_DEVICES = 1000
"""Disks, and network cards, of one machine. One that has more is making them up."""

_Entry = tuple[float, Sample]


class CounterCache:
    """The last samples, read once, and written by `save`. Without a path: for as long as the process lives.

    Any thread may use it. What cannot be read or written is logged and done without: it costs each machine a
    second, and nothing else.
    """

    def __init__(
        self, path: Path | None = None, *, max_age: float = MAX_AGE, clock: Callable[[], float] = time.time
    ) -> None:
        self._path = path
        self._max_age = max_age
        self._clock = clock
        self._samples: dict[str, _Entry] = self._read() if path else {}
        self._changed: dict[str, _Entry] = {}

    def of(self, key: str) -> Sample | None:
        """The last sample of a machine, unless it is too old, or so new that rates would say nothing."""
        at, sample = self._samples.get(key, (0.0, None))
        return sample if MIN_AGE <= self._clock() - at <= self._max_age else None

    def keep(self, key: str, report: Report) -> None:
        """Keep what the next sample will be compared with; nothing of a machine that does not tell its boot.

        Raises ValueError, OverflowError or the like for what the file cannot hold: at the one machine that
        said so, and not when all are saved.
        """
        sample, hardware = report.sample, report.hardware
        links = physical_links(sample.links, hardware)
        disks = whole_disks(sample.disks, hardware)
        if sample.boot_id is None or max(len(links), len(disks)) > MAX_DEVICES:
            return
        counted = replace(
            sample,
            links={name: sample.links[name] for name in links},
            disks={name: sample.disks[name] for name in disks},
        )
        msgspec.msgpack.encode(counted)
        self._samples[key] = self._changed[key] = (self._clock(), counted)

    def save(self) -> None:
        """Add what is new to the file, in place of the old one or not at all. Other processes may, too."""
        if self._path is None or not self._changed:
            return
        with files.locked(self._path):
            oldest = self._clock() - self._max_age
            fresh = {key: entry for key, entry in self._read().items() if entry[0] >= oldest}
            changed = dict(self._changed)
            if files.replace(self._path, msgspec.msgpack.encode(fresh | changed)):
                for key, entry in changed.items():
                    if self._changed.get(key) is entry:
                        del self._changed[key]

    def _read(self) -> dict[str, _Entry]:
        assert self._path is not None
        try:
            return msgspec.msgpack.decode(self._path.read_bytes(), type=dict[str, _Entry])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError, ValueError) as error:
            logger.warning("%s: cannot be read, so it is written anew: %s", self._path, error)
            return {}
