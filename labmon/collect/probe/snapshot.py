"""What one output of the probe says, before rates: the same for every system. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from labmon.collect.probe.counters import Hardware, Sample
from labmon.facts import FileSystem, MachineFacts


@dataclass(frozen=True)
class Snapshot:
    """`found` are readings under the names and in the units of `messages.Readings`, not yet checked."""

    found: Mapping[str, float]
    samples: list[Sample]
    hardware: Hardware
    time: datetime | None  #: by the machine's own clock
    missing: tuple[str, ...]  #: what every machine of its kind has and this output has not
    mounts: tuple[FileSystem, ...] | None = None  #: the local file systems; None where nobody looked
    facts: MachineFacts | None = None  #: where the machine was asked for them
    age: float | None = None  #: seconds for which its counters have been counting
